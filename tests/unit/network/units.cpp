// SPDX-License-Identifier: Apache-2.0
// Masks of units: what a network is with them, what comes and goes with files, and the smaller network that it is.
#include "../io/temporary_folder.hpp"

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/sigmoid.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/compact.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>
#include <espalier/weight/fixed_mask.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace espalier;

namespace {

/// The same stack with other widths. The stream behind layer 1 has two layers that add to it and one mask; the
/// normalisation behind it takes any bias away again.
template <int Stream, int Inner, int Last>
using stack =
    sequence<input<6>, dense<Stream, activation::sigmoid, units::fixed_mask, activation_penalty::l1<0.01>>,
             residual<dense<Inner, activation::tanh, units::fixed_mask>, dense<Stream, units::fixed_mask, no_bias>>,
             batch_norm<>, elementwise<activation::relu, units::fixed_mask>,
             dense<Last, activation::gelu, units::fixed_mask, penalty::anchor<0.5>, weight::fixed_mask>, dense<3>>;
using large = stack<19, 9, 10>;
using small = stack<11, 4, 7>;
using large_net = network<large, device::cpu, double>;
using small_net = network<small, device::cpu, double>;

std::vector<bool> mask(index_t width, index_t kept, index_t step) {
    std::vector<bool> m(static_cast<std::size_t>(width));
    for (index_t i = 0; i < kept; ++i)
        m[static_cast<std::size_t>((1 + i * step) % width)] = true;
    return m;
}
std::vector<bool> const stream = mask(19, 11, 7), inner = mask(9, 4, 2), last = mask(10, 7, 3);

template <class Net> void mask_stream(Net& net) {
    for (char const* path : {"1", "2.1", "4"})
        set_units(net, path, stream);
    set_units(net, "2.0", inner);
    set_units(net, "5", last);
}

struct data {
    std::vector<double> x = std::vector<double>(8 * 6);
    std::vector<std::int32_t> y = {0, 1, 2, 0, 2, 1, 1, 0};
    batch_view<double> batch;
    data() {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = std::sin(1.0 + 0.7 * static_cast<double>(i));
        batch.inputs = {x.data(), 8, 6, 6};
        batch.tags.count = 8;
        batch.tags.label = y.data();
    }
    data(data const&) = delete;
};

template <class Net> std::vector<double> outputs(Net& net, data const& d) {
    std::vector<double> y(8 * 3);
    net.predict(d.batch.inputs, contiguous_view(y.data(), 8, 3));
    return y;
}

constexpr optimizer::sgd<> sgd{.learning_rate = 0.1};

/// Columns that a mask keeps.
std::vector<std::size_t> places(std::vector<bool> const& m) {
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < m.size(); ++i)
        if (m[i]) all.push_back(i);
    return all;
}

void close(std::vector<double> const& a, std::vector<double> const& b) {
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i)
        CHECK(a[i] == Approx(b[i]).margin(1e-12));
}

} // namespace

TEST_CASE("units: a unit that is left out is 0 in training and evaluation, and so are its gradients", "[network]") {
    data const d;
    large_net net{seed{3}, 8};
    training run{net, loss::cross_entropy{}, sgd};
    remember(net, "anchor");
    std::vector<double> const whole = outputs(net, d);
    mask_stream(net);
    CHECK(units_of(net, "2.1") == stream);
    CHECK(outputs(net, d) != whole);

    run.gradients_of(d.batch);
    auto const zero = [&](char const* name, std::vector<bool> const* rows, std::vector<bool> const* columns) {
        auto const g = run.gradient(name);
        bool zeros = true, others = false;
        for (index_t r = 0; r < g.rows; ++r)
            for (index_t c = 0; c < g.columns; ++c)
                if ((rows && !(*rows)[static_cast<std::size_t>(r)]) ||
                    (columns && !(*columns)[static_cast<std::size_t>(c)]))
                    zeros = zeros && g(r, c) == 0.0;
                else
                    others = others || g(r, c) != 0.0;
        CAPTURE(name);
        CHECK(zeros);
        CHECK(others);
    };
    zero("1.kernel", nullptr, &stream);
    zero("1.bias", nullptr, &stream);
    zero("2.0.kernel", &stream, &inner);
    zero("2.1.kernel", &inner, &stream);
    zero("3.scale", nullptr, &stream);
    zero("5.kernel", &stream, &last);
    zero("6.kernel", &last, nullptr);

    // What the weights of such a unit are is nobody's business.
    std::vector<double> const before = outputs(net, d);
    double const loss = run.objective(d.batch);
    for (std::size_t c = 0; c < stream.size(); ++c)
        if (!stream[c]) net.tensor("1.bias")(0, static_cast<index_t>(c)) = 1e3;
    CHECK(outputs(net, d) == before);
    CHECK(run.objective(d.batch) == loss);

    // All units come back as they were.
    for (std::size_t c = 0; c < stream.size(); ++c)
        if (!stream[c]) net.tensor("1.bias")(0, static_cast<index_t>(c)) = 0.0;
    for (tensor_info const& t : large_net::tensors())
        if (t.units)
            set_units(net, t.name.substr(0, t.name.rfind('.')),
                      std::vector<bool>(static_cast<std::size_t>(t.columns), true));
    CHECK(outputs(net, d) == whole);
    net.tensor("1.units")(0, 0) = 0.0;
    net.initialise();
    CHECK(units_of(net, "1") == std::vector<bool>(19, true));
}

TEST_CASE("units: gradients of a masked stack against central differences", "[network]") {
    data d;
    large_net net{seed{4}, 8};
    training run{net, loss::cross_entropy{}, sgd};
    mask_stream(net);
    auto const report = check_gradients(run, matrix_view<double>{d.x.data(), 8, 6, 6}, d.batch.tags);
    INFO(report.text());
    CHECK(report.ok());
}

TEST_CASE("units: an embedded dropout keeps its draws, and describe names the mask", "[network]") {
    using with = sequence<input<6>, dense<9, activation::tanh, dropout::bernoulli<0.5>, units::fixed_mask>, dense<3>>;
    using without = sequence<input<6>, dense<9, activation::tanh, dropout::bernoulli<0.5>>, dense<3>>;
    data const d;
    network<with, device::cpu, double> a{seed{5}, 8};
    network<without, device::cpu, double> b{seed{5}, 8};
    training x{a, loss::cross_entropy{}, sgd};
    training y{b, loss::cross_entropy{}, sgd};
    CHECK(x.objective(d.batch) == y.objective(d.batch));
    set_units(a, "1", inner);
    auto const kernel = b.tensor("2.kernel"); // rows that are 0 are what is left out
    for (index_t r = 0; r < 9; ++r)
        for (index_t c = 0; c < 3 && !inner[static_cast<std::size_t>(r)]; ++c)
            kernel(r, c) = 0.0;
    CHECK(x.objective(d.batch) == Approx(y.objective(d.batch)).epsilon(1e-14));
    CHECK(x.evaluate(d.batch) == Approx(y.evaluate(d.batch)).epsilon(1e-14));
    CHECK(describe<with>().find("units fixed_mask") != std::string::npos);
}

TEST_CASE("units: a file has the masks, and need not have them", "[network]") {
    espalier_test::temporary_folder const folder;
    data const d;
    large_net net{seed{6}, 8};
    mask_stream(net);
    save(net, folder / "masked.safetensors");
    large_net other{seed{7}, 8};
    load(other, folder / "masked.safetensors");
    CHECK(units_of(other, "2.0") == inner);
    CHECK(outputs(other, d) == outputs(net, d));

    network<sequence<input<6>, dense<9>>, device::cpu, double> plain{seed{1}, 8};
    network<sequence<input<6>, dense<9, units::fixed_mask>>, device::cpu, double> masked{seed{2}, 8};
    set_units(masked, "1", inner);
    save(plain, folder / "plain.safetensors");
    load(masked, folder / "plain.safetensors");
    CHECK(units_of(masked, "1") == inner);
}

TEST_CASE("units: masks that do not fit are refused", "[network]") {
    large_net net{seed{8}, 8};
    set_units(net, "2.0", inner);
    CHECK(message_of<data_error>([&] { set_units(net, "3", stream); }) ==
          "set_units: layer \"3\" has no mask of its units; those that have one are 1, 2.0, 2.1, 4, 5");
    CHECK(message_of<shape_error>([&] { set_units(net, "2.0", stream); }) ==
          "set_units: layer 2.0 has 9 units, and a mask of 19 was given");
    CHECK(message_of<data_error>([&] { set_units(net, "2.0", std::vector<bool>(9)); }) ==
          "set_units: no unit of layer 2.0 is kept: what follows would be constant");
    CHECK(units_of(net, "2.0") == inner);
    network<sequence<input<6>, dense<9>>, device::cpu, double> plain{seed{1}, 8};
    CHECK(message_of<data_error>([&] { units_of(plain, "1"); }) ==
          "units_of: layer \"1\" has no mask of its units; no layer of this network has units::fixed_mask");
}

TEST_CASE("compact: the smaller network is the same function and has the same gradients", "[network]") {
    data const d;
    large_net net{seed{9}, 8};
    training run{net, loss::cross_entropy{}, sgd};
    mask_stream(net);
    tensor_info const& kernel = net.values().find("5.kernel");
    for (index_t i = 0; i < kernel.size(); i += 3)
        net.values().masks().data()[kernel.mask_offset + i / 32] &= ~(1u << (i % 32));
    net.refresh();
    remember(net, "anchor");
    for (int i = 0; i < 5; ++i)
        run.step(d.batch);

    small_net child{seed{1}, 8};
    compact(net, child);
    CHECK(child.time().step == 5);
    CHECK(units_of(child, "2.0") == std::vector<bool>(4, true));
    close(outputs(child, d), outputs(net, d));

    // Steps of both, with statistics of batches, penalties, companions and pruned weights.
    training smaller{child, loss::cross_entropy{}, sgd};
    for (int i = 0; i < 3; ++i) {
        step_result const a = run.step(d.batch), b = smaller.step(d.batch);
        CHECK(a.loss == Approx(b.loss).epsilon(1e-12));
    }
    close(outputs(child, d), outputs(net, d));
    auto const of_large = net.tensor("2.1.kernel"), of_small = child.tensor("2.1.kernel");
    auto const rows = places(inner), columns = places(stream);
    for (std::size_t r = 0; r < rows.size(); ++r)
        for (std::size_t c = 0; c < columns.size(); ++c)
            CHECK(of_small(static_cast<index_t>(r), static_cast<index_t>(c)) ==
                  Approx(of_large(static_cast<index_t>(rows[r]), static_cast<index_t>(columns[c]))).margin(1e-12));
}

TEST_CASE("compact: what does not fit is refused before anything changes", "[network]") {
    data const d;
    large_net net{seed{10}, 8};
    small_net child{seed{11}, 8};
    std::vector<double> const before = outputs(child, d);
    CHECK(message_of<shape_error>([&] { compact(net, child); }) ==
          "compact: 6 x 19 numbers of 1.kernel are kept, and the smaller network has room for 6 x 11");
    set_units(net, "1", stream);
    CHECK(message_of<data_error>([&] { compact(net, child); }) ==
          "compact: the masks of what residual 2 adds differ; give the layers whose outputs are added one mask");
    set_units(net, "2.1", stream);
    set_units(net, "4", mask(19, 12, 7));
    CHECK(message_of<data_error>([&] { compact(net, child); }) ==
          "compact: the mask of layer 4 comes behind a product that reads the same columns without it");
    CHECK(outputs(child, d) == before);
    CHECK(child.time().step == 0);

    using namespace std::string_literals;
    auto const why = [](auto from, auto to) {
        network<typename decltype(from)::type, device::cpu, double> a{seed{1}, 8};
        network<typename decltype(to)::type, device::cpu, double> b{seed{1}, 8};
        for (tensor_info const& t : a.tensors())
            if (t.units) set_units(a, t.name.substr(0, t.name.rfind('.')), mask(t.columns, 3, 1)); // columns 1, 2, 3
        return message_of<data_error>([&] { compact(a, b); });
    };
    using std::type_identity;
    using masked = dense<5, activation::relu, units::fixed_mask>;
    using parent = type_identity<sequence<input<6>, masked, dense<2>>>;
    CHECK(why(parent{}, type_identity<sequence<input<6>, dense<3, activation::relu>, dense<2>>>{}) == "no exception");
    CHECK(why(parent{}, type_identity<sequence<input<6>, dense<3, activation::tanh>, dense<2>>>{}) ==
          "compact: layer 1 has activation relu, and in the smaller network activation tanh");
    CHECK(why(parent{}, type_identity<sequence<input<6>, dense<3, activation::relu, no_bias>, dense<2>>>{}) ==
          "compact: the smaller network has no tensor 1.bias");
    CHECK(why(parent{}, type_identity<sequence<input<6>, dense<3, activation::relu>>>{}) ==
          "compact: one network has 3 layers and the other one 2");
    CHECK(why(type_identity<sequence<input<6>, masked, batch_norm<>, dense<2>>>{},
              type_identity<sequence<input<6>, dense<3, activation::relu>, batch_norm<>, dense<2>>>{}) ==
          "compact: layer 2 stands between the mask of layer 1 and what reads it, and makes something of the 0 of a "
          "unit that is left out; move the mask to the last layer before the product, an elementwise<..., "
          "units::fixed_mask> say"s);
    CHECK(why(type_identity<sequence<input<6>, masked>>{}, type_identity<sequence<input<6>, dense<3>>>{}) ==
          "compact: layer 1 has activation relu, and in the smaller network activation identity");
    CHECK(why(type_identity<sequence<input<6>, dense<5, units::fixed_mask>>>{},
              type_identity<sequence<input<6>, dense<3>>>{}) ==
          "compact: the mask of layer 1 reaches the outputs of the network, of which none can be left out");
}
