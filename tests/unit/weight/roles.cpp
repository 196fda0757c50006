// SPDX-License-Identifier: Apache-2.0
// Masks of tensors of every role: what they hold at 0, what layers read, what penalties find marked; and channels that
// are taken out by them.
#include <espalier/activation/sigmoid.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/remove_channels.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/scale_threshold.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/marked.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace espalier;

namespace {

using masked_bias = on<role::bias, weight::fixed_mask>;
template <prune::constant Schedule, class Rule> using magnitude = prune::magnitude<Schedule, prune::per_layer, Rule>;
constexpr prune::constant half_at_2{.sparsity = 0.5, .start = 2};

using by_role = sequence<input<5>, dense<7, activation::tanh, masked_bias>,
                         batch_norm<batch_norm_options{}, on<role::scale, weight::marked>,
                                    on<role::scale, penalty::where_pruned<penalty::l1<0.5>>>,
                                    on<role::shift, magnitude<half_at_2, prune::hard>>>,
                         moe<gate::top_k<3, 2>, dense<6, masked_bias, on<role::kernel, weight::marked>>,
                             on<role::gate, magnitude<half_at_2, prune::straight_through>>, masked_bias>,
                         dense<3, weight::low_rank<2>, on<role::factor, weight::fixed_mask>>>;
using by_id =
    sequence<input<2>,
             embedding<vocabulary<3, 4>, 5, on<role::embedding, magnitude<half_at_2, prune::straight_through>>,
                       penalty::where_pruned<penalty::l2<0.25>>>,
             dense<3>>;
template <class Stack> using net_of = network<Stack, device::cpu, double>;

struct data {
    std::vector<double> x;
    std::vector<std::int32_t> y = {0, 1, 2, 0, 2, 1, 1, 0};
    batch_view<double> batch;
    explicit data(std::vector<double> numbers) : x(std::move(numbers)) {
        index_t const width = static_cast<index_t>(x.size()) / 8;
        batch.inputs = {x.data(), 8, width, width};
        batch.tags.count = 8;
        batch.tags.label = y.data();
    }
    data(data const&) = delete;
};
std::vector<double> features() {
    std::vector<double> x(8 * 5);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = std::sin(1.0 + 0.7 * static_cast<double>(i));
    return x;
}

/// Leaves out every third element, beginning with the second.
std::vector<std::uint8_t> two_of_three(index_t n) {
    std::vector<std::uint8_t> keep(static_cast<std::size_t>(n), 1);
    for (std::size_t i = 1; i < keep.size(); i += 3)
        keep[i] = 0;
    return keep;
}
template <class Net> std::vector<double> numbers(Net& net, std::string const& name) {
    auto const v = net.tensor(name);
    return {v.data, v.data + v.rows * v.columns};
}
template <class Net> void mask(Net& net, std::string const& name) {
    set_mask(net, name, two_of_three(net.values().find(name).size()));
}
template <class Net> void zero_by_hand(Net& net, std::string const& name) {
    auto const v = net.tensor(name);
    for (index_t i = 1; i < v.rows * v.columns; i += 3)
        v.data[i] = 0.0;
    net.refresh();
}
/// Numbers that are not 0, so that a mask shows.
template <class Net> void fill(Net& net) {
    for (tensor_info const& t : net.tensors())
        if (t.trained)
            for (index_t i = 0; i < t.size(); ++i)
                net.tensor(t.name).data[i] += 0.1 * std::cos(static_cast<double>(i) + 0.3);
    net.refresh();
}
template <class Net> std::vector<double> outputs(Net& net, batch_view<double> const& batch) {
    index_t const width = std::remove_cvref_t<Net>::layer::output.size();
    std::vector<double> y(static_cast<std::size_t>(8 * width));
    net.predict(batch.inputs, matrix_view<double>{y.data(), 8, width, width});
    return y;
}

} // namespace

TEST_CASE("roles: a mask holds its tensor at 0, and what is marked only feels its penalty", "[weight][prune][roles]") {
    constexpr double rate = 0.05;
    data const given(features());
    net_of<by_role> masked(seed{4}), plain(seed{4});
    fill(masked);
    fill(plain);
    std::vector<std::string> const held = {"1.bias",          "3.gate.bias", "3.expert.0.bias",
                                           "3.expert.2.bias", "4.factor_in", "4.factor_out"};
    for (auto const& name : held) {
        CHECK(masked.values().find(name).held);
        mask(masked, name);
        zero_by_hand(plain, name);
        CHECK(numbers(masked, name) == numbers(plain, name));
    }
    mask(masked, "2.scale");
    mask(masked, "3.expert.1.kernel");
    CHECK_FALSE(masked.values().find("2.scale").held); // its gradients count where norms are clipped
    CHECK(numbers(masked, "2.scale") == numbers(plain, "2.scale"));
    CHECK(masked.values().find("2.shift").held);
    CHECK_FALSE(masked.values().find("3.gate.kernel").held);

    training run_masked(masked, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate});
    training run_plain(plain, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate});
    auto const scale = numbers(masked, "2.scale");
    run_masked.step(given.batch);
    run_plain.step(given.batch);
    double marked = 0.0;
    for (tensor_info const& t : net_of<by_role>::tensors()) {
        auto const a = numbers(masked, t.name), b = numbers(plain, t.name);
        bool const is_held = std::find(held.begin(), held.end(), t.name) != held.end();
        for (std::size_t i = 0; i < a.size(); ++i) {
            INFO(t.name << " " << i);
            if (is_held && i % 3 == 1) {
                CHECK(a[i] == 0.0);
            } else if (t.name == "2.scale" && i % 3 == 1) {
                CHECK(a[i] == Approx(b[i] - rate * 0.5 * (scale[i] > 0.0 ? 1.0 : -1.0)).epsilon(1e-14));
                marked += 0.5 * std::abs(scale[i]);
            } else {
                CHECK(a[i] == b[i]);
            }
        }
    }
    CHECK(marked > 0.0);
    bool found = false;
    for (std::size_t i = 0; i < run_masked.term_names().size(); ++i)
        if (run_masked.term_names()[i] == "2.scale.where_pruned_l1") {
            found = true;
            CHECK(run_masked.terms()[i] == Approx(marked).epsilon(1e-14));
        }
    CHECK(found);
}

TEST_CASE("roles: prune policies select in a shift and in a gate, which is read through its copy",
          "[weight][prune][roles]") {
    data const given(features());
    net_of<by_role> net(seed{4}), zeroed(seed{4});
    fill(net);
    fill(zeroed);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    auto const shift = numbers(net, "2.shift"), gate = numbers(net, "3.gate.kernel");
    for (int step = 0; step < 3; ++step)
        run.step(given.batch);
    auto const keep_of = [](std::vector<double> const& w) {
        return prune::keep_largest(matrix_view<double const>{w.data(), 1, index_t(w.size()), index_t(w.size())},
                                   prune::kept_count(static_cast<index_t>(w.size()), 0.5));
    };
    auto const kept_shift = keep_of(shift), kept_gate = keep_of(gate);
    auto const shifted = numbers(net, "2.shift");
    for (std::size_t i = 0; i < shift.size(); ++i)
        CHECK(shifted[i] == (kept_shift[i] ? shift[i] : 0.0));
    CHECK(numbers(net, "3.gate.kernel") == gate); // stored as it was
    for (std::size_t i = 0; i < shift.size(); ++i)
        if (!kept_shift[i]) zeroed.tensor("2.shift").data[i] = 0.0;
    for (std::size_t i = 0; i < gate.size(); ++i)
        if (!kept_gate[i]) zeroed.tensor("3.gate.kernel").data[i] = 0.0;
    zeroed.refresh();
    for (std::string const name : {"2.running_mean", "2.running_variance"})
        std::copy_n(net.tensor(name).data, 7, zeroed.tensor(name).data);
    CHECK(outputs(net, given.batch) == outputs(zeroed, given.batch));
}

TEST_CASE("roles: an embedding is read through its mask, and SR-STE acts on what is hidden", "[weight][prune][roles]") {
    constexpr double rate = 0.1;
    data const given({0, 1, 2, 3, 1, 0, 2, 2, 0, 0, 1, 3, 2, 1, 0, 2});
    net_of<by_id> masked(seed{7}), plain(seed{7});
    fill(masked);
    fill(plain);
    auto const before = numbers(masked, "1.table");
    mask(masked, "1.table");
    zero_by_hand(plain, "1.table");
    CHECK(numbers(masked, "1.table") == before);
    CHECK(outputs(masked, given.batch) == outputs(plain, given.batch));
    training run_masked(masked, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate});
    training run_plain(plain, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate});
    run_masked.step(given.batch);
    run_plain.step(given.batch);
    auto const a = numbers(masked, "1.table"), b = numbers(plain, "1.table");
    for (std::size_t i = 0; i < a.size(); ++i)
        if (i % 3 == 1) // b began at 0 and has gone one gradient
            CHECK(a[i] == Approx(before[i] + b[i] - rate * 0.25 * before[i]).epsilon(1e-13));
        else
            CHECK(a[i] == b[i]);
}

TEST_CASE("set_mask refuses what is no mask of a tensor and changes nothing then", "[weight][roles]") {
    net_of<by_role> net(seed{1});
    auto const bias = numbers(net, "1.bias");
    std::vector<std::uint8_t> seven(7, 0), two(7, 2);
    CHECK_THROWS_WITH(set_mask(net, "1.kernel", std::vector<std::uint8_t>(35, 0)),
                      contains_text("1.kernel has no mask; tensors with one: 1.bias, 2.scale, 2.shift"));
    CHECK_THROWS_AS(set_mask(net, "1.nothing", seven), data_error);
    CHECK_THROWS_AS(set_mask(net, "1.bias", std::vector<std::uint8_t>(8, 0)), shape_error);
    CHECK_THROWS_AS(set_mask(net, "1.bias", two), data_error);
    CHECK(numbers(net, "1.bias") == bias);
    fill(net);
    set_mask(net, "1.bias", seven);
    for (double const b : numbers(net, "1.bias"))
        CHECK(b == 0.0);
}

TEST_CASE("remove_channels folds what a channel of scale 0 gives into the layer behind", "[weight][prune][roles]") {
    using stack = sequence<input<5>, dense<7>, batch_norm<>, elementwise<activation::sigmoid>, dense<3>>;
    data const given(features());
    net_of<stack> net(seed{3});
    fill(net);
    auto const keep = two_of_three(7);
    for (std::size_t c = 0; c < 7; ++c)
        if (!keep[c]) net.tensor("2.scale").data[c] = 0.0;
    auto const before = outputs(net, given.batch);
    net_of<stack> cut = net, other = net;
    CHECK_THROWS_AS(remove_channels(net, "1", keep), data_error);
    CHECK_THROWS_AS(remove_channels(net, "2", std::vector<std::uint8_t>(6, 1)), shape_error);
    CHECK_THROWS_AS((remove_channels<activation::sigmoid>(net, "2", "1", keep)), shape_error);
    CHECK_THROWS_AS((remove_channels<activation::sigmoid>(net, "2", "3", keep)), data_error);
    CHECK(outputs(net, given.batch) == before);

    remove_channels<activation::sigmoid>(net, "2", "4", keep);
    remove_channels(cut, "2", keep);
    auto const folded = outputs(net, given.batch), dropped = outputs(cut, given.batch);
    double apart = 0.0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        CHECK(folded[i] == Approx(before[i]).epsilon(0).margin(1e-13));
        apart = std::max(apart, std::abs(dropped[i] - before[i]));
    }
    CHECK(apart > 1e-3); // what the shifts gave is gone
    for (auto* const one : {&net, &cut})
        for (std::string const name : {"2.scale", "2.shift"}) {
            auto const now = numbers(*one, name), was = numbers(other, name);
            for (std::size_t c = 0; c < 7; ++c)
                CHECK(now[c] == (keep[c] ? was[c] : 0.0));
        }
}

TEST_CASE("roles: what is handed on reaches the tensors of its role and changes no other layer", "[weight][roles]") {
    using inner = sequence<input<5>, dense<4>, batch_norm<>, dense<3>>;
    using stack = everywhere<inner, on<role::scale, weight::marked>,
                             on<role::scale, penalty::where_pruned<penalty::l1<0.5>>>, prune::magnitude<0.5>>;
    std::vector<std::string> with_mask;
    for (tensor_info const& t : report_of<stack>().tensors)
        if (t.mask_offset >= 0) with_mask.push_back(t.name);
    CHECK(with_mask == std::vector<std::string>{"1.kernel", "2.scale", "3.kernel"});
    CHECK(report_of<stack>().terms.size() == 1);
    // A penalty on what masks leave out is no term of a tensor without one.
    using by_table = everywhere<sequence<input<1>, embedding<vocabulary<5>, 4>, dense<3, prune::magnitude<0.5>>>,
                                penalty::where_pruned<penalty::l2<0.1>>>;
    REQUIRE(report_of<by_table>().terms.size() == 1);
    CHECK(report_of<by_table>().terms[0].name == "2.kernel.where_pruned_l2");
    // A policy that acts on no tensor of a layer is no part of its type.
    using norm = batch_norm<>;
    STATIC_REQUIRE(std::is_same_v<norm::bind<shape{4}, type_list<prune::magnitude<0.5>, weight::low_rank<2>>>,
                                  norm::bind<shape{4}, type_list<>>>);
    using table = embedding<vocabulary<5>, 4>;
    STATIC_REQUIRE(
        std::is_same_v<table::bind<shape{1}, type_list<prune::magnitude<0.5>>>, table::bind<shape{1}, type_list<>>>);
}
