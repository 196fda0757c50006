// SPDX-License-Identifier: Apache-2.0
// Selections of masks by kernel bodies: bit for bit those of the CPU, whatever the launch, and in whole trainings.
#include <support/catch.hpp>

#include "bodies.hpp"
#include "launches.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/kernels/select.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/remove_channels.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/by_moment.hpp>
#include <espalier/prune/by_sensitivity.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/scale_threshold.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/prune/weight_key.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/marked.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kernel_tests;

namespace {

template <class T> using weight_magnitude = prune::weight_key<prune::by_magnitude, weight::identity, T>;

template <class T> struct masked_tensors {
    std::vector<std::vector<T>> weights;
    std::vector<std::vector<std::uint32_t>> masks;

    explicit masked_tensors(std::vector<std::vector<T>> given) : weights(std::move(given)) {
        for (auto const& w : weights)
            masks.emplace_back((w.size() + 31) / 32 + 1, 0xdeadbeefu); // the last word is nobody's
    }
    index_t size(std::size_t i) const { return static_cast<index_t>(weights[i].size()); }
    index_t size() const {
        index_t n = 0;
        for (std::size_t i = 0; i < weights.size(); ++i)
            n += size(i);
        return n;
    }
    index_t kept() const {
        index_t n = 0;
        for (std::size_t i = 0; i < weights.size(); ++i)
            n += prune::count_kept(masks[i].data(), size(i));
        return n;
    }
    std::vector<prune::piece<T>> pieces() {
        std::vector<prune::piece<T>> all;
        for (std::size_t i = 0; i < weights.size(); ++i)
            all.push_back({weights[i].data(), size(i), masks[i].data()});
        return all;
    }
};

/// The passes of a selection over tensors, each in the launch shape: `many` for those of all blocks, `one` for those of
/// one.
template <class Many, class One, class T>
void select_by_bodies(Many const& many, One const& one, masked_tensors<T>& t, mask_request const& request) {
    weight_magnitude<T> const key{};
    using key_type = decltype(key(T(), 0));
    mask_survey survey;
    one([&](auto const& block) { k::start_selection(block, request, std::numeric_limits<key_type>::max(), &survey); });
    for (std::size_t i = 0; i < t.weights.size(); ++i)
        many([&](auto const& block) { k::count_kept(block, t.masks[i].data(), t.size(i), &survey); });
    for (int round = 0; round < mask_survey::rounds(std::numeric_limits<key_type>::digits); ++round) {
        for (std::size_t i = 0; i < t.weights.size(); ++i)
            many([&](auto const& block) { k::survey_keys(block, key, t.weights[i].data(), t.size(i), &survey); });
        one([&](auto const& block) { k::narrow_selection(block, round == 0, &survey); });
    }
    for (std::size_t i = 0; i < t.weights.size(); ++i) {
        T const* const w = t.weights[i].data();
        std::vector<index_t> counters(static_cast<std::size_t>(mask_counters(t.size(i))), -7);
        many([&](auto const& block) { k::count_places(block, key, w, t.size(i), counters.data(), &survey); });
        one([&](auto const& block) {
            k::scan_places(block, static_cast<index_t>(counters.size()), counters.data(), &survey);
        });
        many([&](auto const& block) {
            k::write_mask(block, key, w, t.size(i), counters.data(), &survey, t.masks[i].data(), nullptr);
        });
    }
}

/// `how` says which weights: many values, few (so that places decide), or some that are no numbers.
template <class T> std::vector<T> weights_of(index_t n, int how, std::uint32_t salt) {
    std::vector<T> w = kernel_tests::numbers<T>(n, salt);
    for (std::size_t i = 0; i < w.size(); ++i) {
        if (how == 1) w[i] = static_cast<T>(std::round(w[i]));
        if (how == 2 && i % 3 == 0) w[i] = std::numeric_limits<T>::quiet_NaN();
        if (how == 2 && i % 5 == 1) w[i] = T(-0.0);
        if (how == 2 && i % 7 == 2) w[i] = std::numeric_limits<T>::infinity();
        if (how == 3) w[i] = T(0.25);
        // Keys that differ in their last bits only, so that every survey has something to do.
        if (how == 4) w[i] = T(1) + static_cast<T>(i % 97) * std::numeric_limits<T>::epsilon();
    }
    return w;
}

} // namespace

TEMPLATE_TEST_CASE("kernel bodies keep the weights that the CPU keeps", "[kernels][prune]", float, double) {
    int const how = GENERATE(0, 1, 2, 3, 4);
    std::vector<index_t> const sizes =
        GENERATE(std::vector<index_t>{1}, std::vector<index_t>{33, 7}, std::vector<index_t>{1024, 31, 2500});
    double const share = GENERATE(0.0, 0.1, 0.5, 0.9, 1.0);
    std::vector<std::vector<TestType>> weights;
    for (std::size_t i = 0; i < sizes.size(); ++i)
        weights.push_back(weights_of<TestType>(sizes[i], how, static_cast<std::uint32_t>(i)));
    masked_tensors<TestType> const start(weights);
    index_t const wanted = prune::kept_count(start.size(), share);
    bool const revives = GENERATE(true, false);
    CAPTURE(how, sizes, share, revives);

    masked_tensors<TestType> expected = start;
    prune::select_largest<prune::by_magnitude>(expected.pieces(), revives ? wanted : std::min(wanted, start.kept()));
    auto const compare = [&](auto const& many, auto const& one) {
        masked_tensors<TestType> ours = start;
        select_by_bodies(many, one, ours, {start.size(), wanted, revives});
        CHECK(ours.masks == expected.masks);
    };
    auto const serial = [](auto const& body) {
        k::detail::mask_bins shared;
        body(serial_group{.shared_memory = &shared});
    };
    compare(serial, serial);
    if (share != 0.5) return;
    for_blocks([&](auto const& one) { for_launches([&](auto const& many) { compare(many, one); }); });
}

TEMPLATE_TEST_CASE("kernel bodies keep N of M weights as the CPU does", "[kernels][prune]", float, double) {
    int const how = GENERATE(0, 1, 2, 3, 4);
    struct groups {
        group_pattern pattern;
        index_t rows;
    };
    auto const [pattern, rows] =
        GENERATE(groups{{2, 4}, 1}, groups{{2, 4}, 4}, groups{{2, 4}, 33}, groups{{1, 3}, 33}, groups{{5, 16}, 33},
                 groups{{4, 32}, 33}, groups{{30, 31}, 33}, groups{{1, 100}, 33}, groups{{7, 256}, 300});
    index_t const columns = GENERATE(1, 31, 64, 70);
    bool const revives = GENERATE(true, false), pruned = GENERATE(true, false);
    std::vector<TestType> const w = weights_of<TestType>(rows * columns, how, 5);
    masked_tensors<TestType> start({w});
    prune::detail::fill_bits(start.masks[0].data(), start.size(), true);
    if (pruned) start.masks[0][0] = 0; // fewer than the groups keep, when there are few
    masked_tensors<TestType> expected = start;
    index_t const wanted = prune::kept_count(start.size(), pattern.sparsity());
    matrix_view<TestType const> const view{w.data(), rows, columns, columns};
    if (revives || start.kept() >= wanted)
        prune::select_n_m<prune::by_magnitude>(view, pattern, expected.masks[0].data());
    CAPTURE(how, pattern.kept, pattern.group, rows, columns, revives, pruned);

    auto const compare = [&](auto const& launch) {
        masked_tensors<TestType> ours = start;
        mask_survey survey;
        survey.request = {start.size(), wanted, revives};
        survey.kept = static_cast<mask_survey::counter>(start.kept());
        std::uint32_t* const mask = ours.masks[0].data();
        launch([&](auto const& block) { k::clear_mask(block, mask, start.size(), &survey, nullptr); });
        launch([&](auto const& block) {
            k::write_group_mask(block, weight_magnitude<TestType>{}, pattern, view, mask, &survey, nullptr);
        });
        CHECK(ours.masks == expected.masks);
    };
    compare([](auto const& body) { body(serial_group{}); });
    if (how == 1 && pruned == revives) for_launches(compare);
}

TEST_CASE("kernel bodies write no mask once an error is known", "[kernels][prune]") {
    masked_tensors<float> t({weights_of<float>(100, 0, 3)});
    masked_tensors<float> const before = t;
    k::error_word const error{k::loss_not_finite, 0};
    mask_survey survey;
    std::uint32_t* const mask = t.masks[0].data();
    matrix_view<float const> const view{t.weights[0].data(), 10, 10, 10};
    k::write_mask(serial_group{}, weight_magnitude<float>{}, view.data, 100, nullptr, &survey, mask, &error);
    k::clear_mask(serial_group{}, mask, 100, &survey, &error);
    k::write_group_mask(serial_group{}, weight_magnitude<float>{}, group_pattern{2, 4}, view, mask, &survey, &error);
    CHECK(t.masks == before.masks);
}

namespace {

/// A weight map under which other weights are the larger ones.
struct about_one {
    using axis = axis::weight;
    static constexpr std::string_view name = "about_one";
    static constexpr bool uses_mask = false, needs_operand = true;
    template <class T> ESPALIER_FN T pull(T g) const { return g; }
    template <class T> ESPALIER_FN T store(T next) const { return next; }
    template <class T> ESPALIER_FN T effective(T raw) const { return raw - T(1); }
};
/// A selection that only the host can make: every second weight.
struct every_second {
    static constexpr std::string_view name = "every_second";
    static constexpr bool global = false;
    template <class Criterion, class T> static void select(matrix_view<T const> w, double share, std::uint32_t* mask) {
        prune::detail::fill_bits(mask, w.rows * w.columns, true);
        for (index_t i = 0; share > 0.0 && i < w.rows * w.columns; i += 2)
            mask[i / 32] &= ~(std::uint32_t{1} << i % 32);
    }
};

constexpr prune::gradual rises{.to = 0.6, .steps = 4, .every = 2};
// A share that falls, so that weights come back.
constexpr schedule::linear falls{.from = 0.8, .to = 0.2, .steps = 5};

// Groups that grow, of which less stays and then more.
using stages = prune::stages<prune::stage{1, 7, 8}, prune::stage{2, 4, 20}, prune::stage{4, 10, 40}>;

template <class... Layers> using stack = sequence<input<12>, Layers..., dense<5>>;
using of_the_network = stack<dense<16, activation::relu, prune::magnitude<rises, prune::global>>,
                             dense<9, prune::magnitude<rises, prune::global>, about_one>>;
using of_layers = stack<dense<40, activation::relu, prune::magnitude<falls>, about_one>,
                        dense<33, prune::magnitude<1.0, prune::n_m_stages<stages{}>, prune::straight_through>>,
                        dense<9, prune::n_m_magnitude<1, 3, prune::hard, rises>>>;
using of_experts = stack<moe<gate::softmax<3>, sequence<dense<17, prune::magnitude<falls>>>>>;
constexpr prune::constant every_other_step{.sparsity = 0.7, .every = 2};
using exchanged = prune::policy<prune::by_magnitude, prune::exchange<0.4>, every_other_step, prune::hard>;
using by_the_host = stack<dense<40, prune::magnitude<rises>>, dense<20, exchanged>,
                          dense<33, prune::policy<prune::by_magnitude, every_second, 0.5, prune::hard>>>;
// What a step's gradients and moments say, a threshold, and weights behind a map with trained numbers.
using of_gradients =
    stack<dense<40, activation::relu, exchanged>,
          dense<33, prune::policy<prune::by_sensitivity, prune::n_m<2, 4>, every_other_step, prune::straight_through>>,
          dense<20, prune::policy<prune::by_moment, prune::global, every_other_step, prune::straight_through>,
                weight::compander<weight::arctan, 0.8, 0.5, weight::learned<0.25>>>,
          dense<9, prune::policy<prune::by_magnitude, prune::below<0.2>, every_other_step, prune::frozen>>>;

// Tensors of all roles: of a bias, a scale and a shift, of a gate and of the biases of its experts.
using of_roles = stack<
    dense<16, activation::relu, prune::magnitude<rises, prune::global>,
          on<role::bias, prune::magnitude<rises, prune::global>>>,
    batch_norm<batch_norm_options{}, on<role::scale, weight::marked>,
               on<role::scale, penalty::where_pruned<penalty::l1<0.5>>>, on<role::shift, prune::magnitude<rises>>>,
    moe<gate::softmax<3>, sequence<dense<17, on<role::bias, prune::magnitude<falls>>>>,
        on<role::gate, prune::magnitude<falls, prune::per_layer, prune::straight_through>>>>;

template <class Stack, class Device, class Network = network<Stack, Device, float>>
std::vector<std::vector<std::uint32_t>> masks_of_steps(Network&& net = Network{seed{5}, 6}) {
    training train(net, loss::cross_entropy{}, optimizer::sgd<double, double>{.learning_rate = 0.1, .momentum = 0.5});
    std::vector<float> const x = kernel_tests::numbers<float>(6 * 12, 4);
    std::vector<std::int32_t> const labels = {0, 1, 2, 3, 4, 0};
    std::vector<std::vector<std::uint32_t>> seen;
    for (int s = 0; s < 6; ++s) {
        batch_view<float> batch;
        batch.inputs = {x.data(), 6, 12, 12};
        batch.tags.count = 6;
        batch.tags.label = labels.data();
        train.step(batch);
        auto const& masks = net.values().masks();
        seen.emplace_back(masks.data(), masks.data() + masks.size());
    }
    return seen;
}

} // namespace

TEMPLATE_TEST_CASE("a device with memory of its own selects the masks of the CPU", "[kernels][prune]", of_the_network,
                   of_layers, of_experts, of_roles, of_gradients, by_the_host) {
    auto const expected = masks_of_steps<TestType, device::cpu>();
    CHECK(expected.front() != expected.back()); // masks that stay as they begin would show nothing
    bodies::host_copies = 0;
    CHECK(masks_of_steps<TestType, bodies>() == expected);
    CHECK((bodies::host_copies != 0) == std::is_same_v<TestType, by_the_host>);
}

TEST_CASE("a device with memory of its own trains by masks of every role as the CPU does", "[kernels][prune][roles]") {
    network<of_roles, device::cpu, float> expected{seed{5}, 6};
    network<of_roles, bodies, float> given{seed{5}, 6};
    prune::keep_flags keep(16, 1);
    for (std::size_t i = 0; i < keep.size(); i += 3)
        keep[i] = 0;
    for (std::string const name : {"2.scale", "1.bias"}) {
        set_mask(expected, name, keep);
        set_mask(given, name, keep);
    }
    masks_of_steps<of_roles, device::cpu>(expected);
    masks_of_steps<of_roles, bodies>(given);
    double marked = 0.0, others = 0.0;
    for (tensor_info const& t : expected.tensors()) {
        auto const a = expected.values().view(t), b = given.values().view(t);
        for (index_t i = 0; i < t.size(); ++i) {
            INFO(t.name << " " << i);
            CHECK(static_cast<double>(b.data[i]) == Approx(static_cast<double>(a.data[i])).epsilon(1e-4).margin(1e-5));
            if (t.name == "2.scale") (keep[static_cast<std::size_t>(i)] ? others : marked) += a.data[i];
            if (t.name == "1.bias" && !keep[static_cast<std::size_t>(i)]) CHECK(b.data[i] == 0.0f);
        }
    }
    CHECK(marked / 6.0 < others / 10.0 - 0.2); // six steps of 0.1 times 0.5 less

    // The functions on parameters go through the host's memory there.
    remove_channels(expected, "2", keep);
    remove_channels(given, "2", keep);
    for (std::string const name : {"2.scale", "2.shift"})
        for (std::size_t i = 0; i < keep.size(); ++i)
            CHECK((given.values().tensor(name).data[i] == 0.0f) == (expected.values().tensor(name).data[i] == 0.0f));
    CHECK(given.values().tensor("2.scale").data[0] == 0.0f);
    CHECK(given.values().tensor("2.scale").data[1] != 0.0f);
}
