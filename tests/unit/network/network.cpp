// SPDX-License-Identifier: Apache-2.0
// Networks as values: copies, averages, names, files.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cstring>
#include <filesystem>

using namespace espalier;
using espalier_test::temporary_folder;

namespace {

using pruned = prune::policy<prune::by_magnitude, prune::per_layer, 0.5, prune::hard>;
using stack =
    sequence<input<6>, dense<9, activation::tanh, pruned>, residual<batch_norm<>, dense<9, no_bias>>, dense<3>>;
using net_type = naive::network<stack>;

std::vector<std::int32_t> const labels = naive::cyclic_labels(16, 3);

template <class Run> void train(Run& run, int steps) {
    for (int i = 0; i < steps; ++i) {
        auto const x = naive::random(16, 6, run.time().step);
        run.step({x.view(), naive::tags_of(16, &labels), {}});
    }
}

bool same_bits(net_type const& a, net_type const& b) {
    auto const same = [](auto const& x, auto const& y) {
        return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.bytes()) == 0;
    };
    return same(a.values().weights(), b.values().weights()) && same(a.values().state(), b.values().state()) &&
           same(a.values().masks(), b.values().masks());
}

net_type trained(int steps, seed s = {1}) {
    net_type net(s, 16);
    training run(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    train(run, steps);
    return net;
}

} // namespace

TEST_CASE("network: tensors by name, in the order of the layers", "[network]") {
    std::vector<std::string> names;
    index_t trained_values = 0;
    for (tensor_info const& t : net_type::tensors()) {
        names.push_back(t.name);
        if (t.trained) trained_values += t.rows * t.columns;
    }
    CHECK(names == std::vector<std::string>{"1.kernel", "1.bias", "2.0.running_mean", "2.0.running_variance",
                                            "2.0.largest_batch", "2.0.scale", "2.0.shift", "2.1.kernel", "3.kernel",
                                            "3.bias"});
    CHECK(net_type::parameter_count() == trained_values);
    CHECK(trained_values == 6 * 9 + 9 + 9 + 9 + 9 * 9 + 9 * 3 + 3);
    net_type net({1}, 4);
    std::string const text = message_of<data_error>([&] { net.tensor("4.kernel"); });
    CHECK_THAT(text, contains_text("no tensor \"4.kernel\""));
    CHECK_THAT(text, contains_text("2.1.kernel"));
    // tensors do not overlap: what is written to one is read from it alone
    double value = 1.0;
    for (tensor_info const& t : net.tensors())
        for (index_t i = 0; i < t.size(); ++i)
            net.tensor(t.name).data[i] = value++;
    value = 1.0;
    for (tensor_info const& t : net.tensors())
        for (index_t i = 0; i < t.size(); ++i)
            REQUIRE(net.tensor(t.name).data[i] == value++);
}

TEST_CASE("network: a copy is independent", "[network]") {
    net_type a = trained(3);
    net_type b = a;
    CHECK(same_bits(a, b));
    auto const x = naive::random(16, 6, 50);
    auto const before = naive::forward<mode::evaluate>(b, x);
    training run(a, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    train(run, 2);
    CHECK_FALSE(same_bits(a, b));
    CHECK(naive::forward<mode::evaluate>(b, x).values == before.values);
    // assignment, and a move, take all of it
    net_type c({9}, 4);
    c = a;
    CHECK(same_bits(a, c));
    CHECK(c.capacity() >= 16);
    net_type const d = std::move(c);
    CHECK(same_bits(a, d));
}

TEST_CASE("network: larger batches after reserve, in parts before", "[network]") {
    net_type net = trained(2);
    auto const x = naive::random(100, 6, 51);
    naive::matrix parts(100, 3), whole(100, 3);
    net.predict(x.view(), parts.view());
    CHECK_THROWS_AS((naive::forward<mode::evaluate>(net, x)), shape_error);
    net.reserve(100);
    whole = naive::forward<mode::evaluate>(net, x);
    CHECK(naive::distance(parts, whole) < 1e-14);
    naive::matrix narrow(100, 2);
    CHECK_THROWS_AS(net.predict(x.view(), narrow.view()), shape_error);
}

TEST_CASE("parameters: an average of two", "[network]") {
    net_type a = trained(2), b = trained(5);
    auto mean = a.values();
    mean.average(b.values(), 0.75);
    for (tensor_info const& t : net_type::tensors())
        for (index_t i = 0; i < t.size(); ++i)
            CHECK(mean.view(t).data[i] ==
                  Approx(0.75 * a.values().view(t).data[i] + 0.25 * b.values().view(t).data[i]));
}

TEST_CASE("checkpoint: what was saved is loaded, bit for bit", "[network]") {
    temporary_folder folder;
    net_type const saved = trained(4);
    save(saved, folder / "net.safetensors");
    net_type loaded({7}, 16);
    load(loaded, folder / "net.safetensors");
    CHECK(same_bits(saved, loaded));
    net_type copy = saved;
    auto const x = naive::random(16, 6, 52);
    CHECK(naive::forward<mode::evaluate>(copy, x).values == naive::forward<mode::evaluate>(loaded, x).values);
}

TEST_CASE("checkpoint: tied and foreign tensors", "[network]") {
    using tied_type = naive::network<sequence<input<4>, dense<4>, dense<4>>>;
    temporary_folder folder;
    std::vector<double> const square(16, 0.5), row{1, 2, 3, 4};
    std::vector<std::uint8_t> const bytes(16, 7);
    auto const values = [](std::vector<double> const& v) {
        return array_view<double const>{v.data(), static_cast<index_t>(v.size())};
    };
    // As safetensors.torch.save_model leaves tied weights, beside a tensor of a type that has no values here.
    std::vector<tensor_record> records{make_record("1.kernel", {4, 4}, values(square)),
                                       make_record("1.bias", {4}, values(row)),
                                       make_record("2.bias", {4}, values(row)),
                                       {"scales", dtype::f8_e8m0, {16}, std::as_bytes(std::span(bytes))}};
    write_safetensors(folder / "tied", records, {{"2.kernel", "1.kernel"}});
    tied_type net({3}, 16);
    load(net, folder / "tied");
    CHECK(naive::tensor(net, "1.kernel").values == square);
    CHECK(naive::tensor(net, "2.kernel").values == square);
    auto const refused = [&](tensor_metadata const& metadata) {
        write_safetensors(folder / "bad", records, metadata);
        return message_of<file_error>([&] { load(net, folder / "bad"); });
    };
    CHECK_THAT(refused({{"2.kernel", "gone"}}),
               contains_text("there is no tensor '2.kernel', nor one named 'gone', which the metadata have for it"));
    CHECK_THAT(refused({}), contains_text("there is no tensor '2.kernel'"));
    CHECK_THAT(refused({{"2.kernel", "1.bias"}}), contains_text("for '2.kernel': tensor '1.bias' has shape [4]"));
    records.back() = {"2.kernel", dtype::f8_e4m3, {4, 4}, std::as_bytes(std::span(bytes))};
    CHECK_THAT(refused({}), contains_text("tensor '2.kernel' is F8_E4M3, whose values are not read"));
    CHECK(naive::tensor(net, "2.kernel").values == square);
}

TEST_CASE("checkpoint: a whole training goes on as if it had not stopped", "[network]") {
    temporary_folder folder;
    net_type unbroken({1}, 16);
    training run(unbroken, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    train(run, 3);
    save_training(run, folder / "run.safetensors", {{"note", "kept"}});
    train(run, 3);
    net_type other({1}, 16);
    training resumed(other, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    CHECK(load_training(resumed, folder / "run.safetensors").at("note") == "kept");
    CHECK(resumed.time().step == 3);
    train(resumed, 3);
    CHECK(same_bits(unbroken, other));
}

TEST_CASE("checkpoint: a file that does not fit is refused, and nothing changes", "[network]") {
    temporary_folder folder;
    net_type const saved = trained(4);
    auto const file = folder / "net.safetensors";
    save(saved, file);
    net_type net = trained(2, {3});
    net_type const untouched = net;
    auto const refused = [&](std::filesystem::path const& path) {
        std::string const text = message_of<file_error>([&] { load(net, path); });
        CHECK(same_bits(net, untouched));
        return text;
    };
    CHECK_THAT(refused(folder / "missing.safetensors"), contains_text("missing.safetensors"));

    auto const content = espalier_test::content_of(file);
    for (std::size_t const length : {std::size_t{0}, std::size_t{5}, std::size_t{100}, content.size() - 1})
        CHECK_THAT(refused(folder.put("cut.safetensors", content.substr(0, length))), contains_text("cut.safetensors"));

    // a tensor less, one of another shape, one of another kind
    auto const records_without = [&](std::string const& name) {
        std::vector<tensor_record> records;
        for (tensor_info const& t : net_type::tensors())
            if (t.name != name)
                records.push_back(make_record(
                    t.name, t.vector ? std::vector<index_t>{t.columns} : std::vector<index_t>{t.rows, t.columns},
                    array_view<double const>{saved.values().view(t).data, t.size()}));
        return records;
    };
    auto records = records_without("2.0.running_mean");
    write_safetensors(folder / "less.safetensors", records, {});
    CHECK_THAT(refused(folder / "less.safetensors"), contains_text("no tensor '2.0.running_mean'"));

    records = records_without("3.kernel");
    std::vector<double> const numbers(27, 1.0);
    records.push_back(make_record("3.kernel", {3, 9}, array_view<double const>{numbers.data(), 27}));
    write_safetensors(folder / "shape.safetensors", records, {});
    auto const shape = refused(folder / "shape.safetensors");
    CHECK_THAT(shape, contains_text("'3.kernel' has shape [3, 9]"));
    CHECK_THAT(shape, contains_text("[9, 3]"));
    CHECK_THAT(shape, !contains_text("in this network")); // nothing is known of the file's

    // one whose layers are known: both are named, with their policies and numbers
    using other_stack = sequence<input<6>, dense<3, activation::tanh, penalty::l2<0.125>>>;
    network<other_stack, device::cpu, double> const other(seed{1}, 8);
    save(other, folder / "other.safetensors");
    auto const layers = read_safetensors(folder / "other.safetensors").metadata().at("layers");
    CHECK(layers == "0 input 6 -> 6\n1 dense 6 -> 3: activation tanh, penalty l2(coefficient 0.125)\n");
    auto const differs = refused(folder / "other.safetensors");
    INFO(differs);
    CHECK_THAT(differs, contains_text("in this network it belongs to layer 1 dense"));
    CHECK_THAT(differs,
               contains_text("the file's network has 1 dense 6 -> 3: activation tanh, penalty l2(coefficient 0.125)"));

    records = records_without("3.kernel");
    std::vector<std::int32_t> const integers(27, 1);
    records.push_back(make_record("3.kernel", {9, 3}, array_view<std::int32_t const>{integers.data(), 27}));
    write_safetensors(folder / "kind.safetensors", records, {});
    CHECK_THAT(refused(folder / "kind.safetensors"), contains_text("a floating-point tensor is needed"));

    // a checkpoint of a network is not one of a training
    training run(net, loss::cross_entropy{}, optimizer::adam{});
    auto const refused_training = [&](auto& of, std::filesystem::path const& path) {
        return message_of<file_error>([&] { load_training(of, path); });
    };
    CHECK_THAT(refused_training(run, file), contains_text("this is not a training checkpoint"));
    // and one with another optimizer's numbers would not go on as it was, be they more or fewer
    training plain(net, loss::cross_entropy{}, optimizer::sgd{});
    save_training(run, folder / "adam.safetensors");
    save_training(plain, folder / "sgd.safetensors");
    CHECK_THAT(refused_training(plain, folder / "adam.safetensors"),
               contains_text("kept 2 numbers for each weight of '1.kernel'"));
    CHECK_THAT(refused_training(run, folder / "sgd.safetensors"),
               contains_text("kept 0 numbers for each weight of '1.kernel'"));
    CHECK(same_bits(net, untouched));
}
