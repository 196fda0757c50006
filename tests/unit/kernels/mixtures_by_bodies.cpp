// SPDX-License-Identifier: Apache-2.0
// Whole stacks with mixtures on a device that runs the kernel bodies of mixtures with one lane, against the CPU.
#include <support/catch.hpp>

#include "bodies.hpp"
#include "launches.hpp"

#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/low_rank.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace {

using namespace kernel_tests;
using namespace espalier;
using namespace espalier::literals;

constexpr index_t width = 12;
constexpr int classes = 5;
constexpr std::uint32_t steps = 4;

/// What a few steps leave: terms and measures of every step, weights, state, outputs of a prediction.
struct trace {
    std::vector<double> terms, measures;
    std::vector<float> weights, state, outputs;
};

/// Other units for every layer.
std::vector<bool> other_units(index_t count, index_t layer) {
    std::vector<bool> kept(static_cast<std::size_t>(count));
    for (std::size_t c = 0; c < kept.size(); ++c)
        kept[c] = (c + static_cast<std::size_t>(layer)) % 3 != 0;
    return kept;
}

/// `room`: the memory is for so many rows.
template <class Stack, class Device, class Optimizer = optimizer::sgd<>>
trace run(index_t n, index_t room, Optimizer const& optimizer = Optimizer{0.2}) {
    network<Stack, Device, float> net{seed{5}, room};
    if constexpr (net.size.fixed > 0) {
        remember(net, "anchor");
        for (tensor_info const& t : net.tensors())
            if (t.units) set_units(net, t.path(), other_units(t.columns, t.offset / 32));
    }
    training run(net, loss::cross_entropy{}, optimizer);
    trace t;
    std::vector<std::int32_t> label, group;
    std::vector<std::uint64_t> key;
    for (index_t i = 0; i < n; ++i) {
        label.push_back(static_cast<std::int32_t>(i * 7 % classes));
        group.push_back(static_cast<std::int32_t>(i * 3 % 4));
        key.push_back(static_cast<std::uint64_t>(i * 11 % 50));
    }
    rows tags;
    tags.count = n;
    tags.label = label.data();
    tags.group = group.data();
    tags.key = key.data();
    for (std::uint32_t i = 0; i < steps; ++i) {
        auto const x = numbers<float>(n * width, 10 + i);
        run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
        t.terms.insert(t.terms.end(), run.terms().begin(), run.terms().end());
        t.measures.insert(t.measures.end(), run.measures().begin(), run.measures().end());
    }
    auto const copy = [](auto const& from) { return std::vector<float>(from.data(), from.data() + from.size()); };
    t.weights = copy(net.values().weights());
    t.state = copy(net.values().state());
    auto const x = numbers<float>(n * width, 9);
    t.outputs.resize(static_cast<std::size_t>(n * classes));
    rows asked = tags;
    asked.label = nullptr;
    net.predict(matrix_view<float const>{x.data(), n, width, width}, asked,
                matrix_view<float>{t.outputs.data(), n, classes, classes});
    return t;
}

template <class T> bool close(std::vector<T> const& a, std::vector<T> const& b, double tolerance) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (!near(static_cast<double>(a[i]), static_cast<double>(b[i]), tolerance)) return false;
    return true;
}

using plain = dense<16, activation::tanh>;
using head = dense<classes>;
template <class Mixture> using with = sequence<input<width>, plain, Mixture, head>;

template <class Mixture, class Optimizer = optimizer::sgd<>> void check(Optimizer const& optimizer = Optimizer{0.2}) {
    using stack = with<Mixture>;
    for (index_t n : {1, 33, 200}) {
        CAPTURE(n);
        trace const expected = run<stack, device::cpu>(n, n, optimizer);
        for (index_t room : {n, n + 100}) {
            trace const got = run<stack, bodies>(n, room, optimizer);
            CHECK(close(got.terms, expected.terms, 2e-5));
            CHECK(close(got.measures, expected.measures, 1e-12));
            CHECK(close(got.weights, expected.weights, 5e-5));
            CHECK(close(got.state, expected.state, 1e-6));
            CHECK(close(got.outputs, expected.outputs, 2e-4));
        }
    }
}

using expert = sequence<dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
using counting = sequence<dense<8, activation::tanh, activation_penalty::l1<0.1>, activation_penalty::flops<0.2>>,
                          dense<7, activation::softmax>>;
template <class... Penalties>
using branches = sequence<residual<dense<16, activation::tanh, dropout::bernoulli<0.25>>>,
                          parallel<merge::add, dense<7, Penalties...>, sequence<dense<5, activation::tanh>, dense<7>>>,
                          residual<dense<7, activation::softmax>>>;
/// What layers write without a product before: zeros around a slice, and in the columns that a rank leaves out.
using narrow = sequence<slice<3, 9>, dense<7, weight::low_rank<4, 2>, penalty::l2<0.01>>>;
using penalised = sequence<dense<8, activation::tanh, activation_penalty::l1<0.1>>, dense<16>>;
using two = gates<gate::top_k<4, 2>, gate::softmax<4>>;
using sharing = gates<gate::top_k<8, 2>, gate::top_k<8, 1>>; // slots that share a pair
using noisy = gate::top_k<4, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>;
constexpr gate::search quick{.steps = 3, .noise = 0.1};

} // namespace

// Experts run on their whole block, on the rows that the device has counted, or on windows that only the device knows;
// by a dense dispatch, too, an expert's terms are of its own rows. Of one row most experts have none.
TEMPLATE_TEST_CASE(
    "mixtures by kernel bodies: the numbers are the CPU's", "[kernels]",
    (moe<gate::top_k<4, 2>, expert, dispatch::capacity<1.25>>),
    (moe<gate::top_k<4, 2>, expert, dispatch::capacity<0.5>>),
    (moe<gate::top_k<3, 1>, expert, dispatch::capacity<4.0>>), (moe<gate::softmax<3>, expert, dispatch::capacity<0.7>>),
    (moe<gate::top_k<4, 2>, dense<16>, dispatch::capacity<0.6, dispatch::overflow::pass>>),
    (moe<gate::top_k<4, 2>, experts<dense<7>, expert, dense<7, activation::tanh>, expert>, dispatch::capacity<1.0>>),
    (moe<gate::top_k<4, 2>, expert, dispatch::automatic<>>), (moe<gate::comet<5, 2>, expert, dispatch::compacted>),
    (moe<gate::softmax<3>, expert, dispatch::compacted>), (moe<gate::top_k<8, 1>, expert, dispatch::automatic<>>),
    (moe<gate::top_k<4, 2>, counting, dispatch::automatic<>>),
    (moe<gate::top_k<4, 2>, counting, dispatch::capacity<0.8>>),
    (moe<gate::top_k<4, 2>, branches<>, dispatch::automatic<>>),
    (moe<gate::top_k<4, 2>, experts<dense<7>, counting, branches<>, expert>, dispatch::automatic<>>),
    (moe<gate::top_k<4, 2>, expert, dispatch::compacted>),
    (moe<gate::top_k<5, 3, gate::over_all>, dense<16, activation::softmax>, dispatch::compacted>),
    (moe<gate::top_k<4, 2>, branches<activation_penalty::l1<0.1>>, dispatch::compacted>),
    (moe<gate::top_k<4, 2>, narrow, dispatch::compacted>), (moe<gate::top_k<4, 2>, narrow, dispatch::capacity<0.8>>),
    (moe<gate::top_k<4, 2>, penalised, dispatch::dense>),
    (moe<gate::comet<4, 2>, dense<16, activation::tanh, activation_penalty::flops<0.1>>, dispatch::dense>),
    (moe<gate::top_k<2, 1>, experts<penalised, dense<16>>, dispatch::dense>),
    (moe<gate::softmax<4>, sequence<dense<8>, batch_norm<>, dense<16>>, dispatch::dense>)) {
    check<TestType>();
}

TEST_CASE("mixtures by kernel bodies: experts with a companion, a map of trained numbers and a mask of units each",
          "[kernels]") {
    using held = sequence<dense<8, activation::tanh, units::fixed_mask, penalty::anchor<1.5>>,
                          dense<7, on<role::bias, penalty::anchor<0.5>>,
                                weight::compander<weight::arctan, 1.5, 0.75, weight::learned<0.05>>>>;
    check<moe<gate::top_k<4, 2>, held, dispatch::automatic<>>>();
    check<moe<gate::top_k<4, 2>, experts<dense<7>, held, dense<7, penalty::anchor<2.0>>, held>,
              dispatch::capacity<1.0>>>();
}

TEST_CASE("mixtures by kernel bodies: an optimizer for each group of tensors", "[kernels]") {
    auto const both =
        optimizer::by_group{optimizer::of<"experts"_name>(optimizer::sgd{.learning_rate = 0.2, .momentum = 0.9}),
                            optimizer::rest(optimizer::sgd{.learning_rate = 0.1})};
    check<moe<gate::top_k<4, 2>, dense<16, activation::tanh, in_group<"experts"_name>>, dispatch::automatic<>>>(both);
}

TEMPLATE_TEST_CASE("mixtures by kernel bodies: several gates share blocks", "[kernels]",
                   (multi_gate<two, expert, dispatch::compacted>), (multi_gate<sharing, expert, dispatch::compacted>),
                   (multi_gate<two, penalised, dispatch::dense>), (multi_gate<two, expert, dispatch::capacity<0.6>>),
                   (multi_gate<two, expert, dispatch::dense>),
                   (multi_gate<two, dense<16>, dispatch::capacity<0.3, dispatch::overflow::pass>>)) {
    check<TestType>();
}

TEMPLATE_TEST_CASE("mixtures by kernel bodies: gates of parts, of keys, of choices and of searches", "[kernels]",
                   (moe<noisy, expert, dispatch::dense>), (moe<noisy, expert, dispatch::capacity<1.0>>),
                   (moe<gate::hash<4, 50>, expert, dispatch::capacity<1.0>>),
                   (moe<gate::enforced<4>, expert, dispatch::dense>),
                   (moe<gate::expert_choice<4>, expert, dispatch::capacity<2.0>>),
                   (moe<gate::local_search<gate::comet<4, 2>, quick>, expert, dispatch::dense>),
                   (moe<gate::local_search<gate::top_k<4, 2>, quick>, expert, dispatch::capacity<2.0>>)) {
    check<TestType>();
}

TEST_CASE("mixtures by kernel bodies: as many launches for many equal experts as for few") {
    auto const launches = [](auto stack) {
        bodies::launches = 0;
        run<typename decltype(stack)::type, bodies>(33, 33);
        return bodies::launches;
    };
    int const few = launches(std::type_identity<with<moe<gate::top_k<4, 2>, expert, dispatch::compacted>>>{});
    CHECK(few > 0);
    CHECK(launches(std::type_identity<with<moe<gate::top_k<32, 2>, expert, dispatch::compacted>>>{}) == few);
}
