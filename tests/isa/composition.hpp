// SPDX-License-Identifier: Apache-2.0
// The space of updates, weight map x penalties x transforms x optimizer x numbers, and how one of it is checked.
#pragma once

#include <unit/kernels/update_tensor.hpp>

#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/update.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/space/space.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <boost/hana/tuple.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <type_traits>
#include <utility>
#include <vector>

namespace isa {

using espalier::flat_tuple, espalier::group_scope, espalier::no_step, espalier::scalar_of, espalier::tensor_rule,
    espalier::type_list;
using espalier::optimizer::adam_op, espalier::optimizer::adamw_op, espalier::optimizer::momentum_kind,
    espalier::optimizer::sgd_op;
using espalier::penalty::elastic_net_op, espalier::penalty::group_lasso_op, espalier::penalty::l1_op,
    espalier::penalty::l2_op, espalier::penalty::proximal_op;
using espalier::prune::decayed_op, espalier::prune::derivative, espalier::prune::hard,
    espalier::prune::straight_through;
using espalier::transform::agreement_op, espalier::transform::clip_global_norm_op, espalier::transform::clip_value_op,
    espalier::transform::gradient_dropout_op;
using espalier::weight::fixed_mask, espalier::weight::identity;
using kernel_tests::doubled, kernel_tests::narrow;

// ---- policies of one's own

/// w / (1 + |w|) where the mask says so, w elsewhere.
struct saturating {
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T pull(T g, espalier::element_about<T> const& about) {
        using espalier::abs, espalier::select;
        T const one(scalar_of<T>(1)), below = one + abs(about.weight);
        return select(about.keep, g / (below * below), g);
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw, espalier::element_about<T> const& about) {
        using espalier::abs, espalier::select;
        return select(about.keep, raw / (T(scalar_of<T>(1)) + abs(raw)), raw);
    }
};

/// Linear far from 0, square near it.
struct rounded_op {
    double coefficient;
    template <class T> ESPALIER_FN T value(T w) const {
        using espalier::abs, espalier::select;
        T const half(scalar_of<T>(0.5)), c(static_cast<scalar_of<T>>(coefficient));
        return select(abs(w) < half, c * w * w, c * (abs(w) - half * half));
    }
    template <class T> ESPALIER_FN T gradient(T w) const {
        using espalier::abs, espalier::copysign, espalier::select;
        T const half(scalar_of<T>(0.5)), c(static_cast<scalar_of<T>>(coefficient));
        return select(abs(w) < half, (c + c) * w, copysign(c, w));
    }
    template <class T> ESPALIER_FN T prox(T w, espalier::element_about<T> const& about) const {
        using espalier::abs, espalier::select;
        T const c(static_cast<scalar_of<T>>(coefficient));
        return select(abs(w) > about.rate * c, w - about.rate * c * w, w * w * w);
    }
};

/// Gradients against the weight count less.
struct damped_op {
    double factor;
    template <class T> ESPALIER_FN T apply(T g, espalier::element_about<T> const& about) const {
        using espalier::select;
        return select(g * about.weight > T(scalar_of<T>(0)), g, g * T(static_cast<scalar_of<T>>(factor)));
    }
};

/// Reads no gradient: everything that was made of it is made for nothing.
struct pulled_home_op {
    double factor;
    template <class T> ESPALIER_FN T apply(T, espalier::element_about<T> const& about) const {
        return about.weight * T(static_cast<scalar_of<T>>(factor));
    }
};

/// Steps of one length, shorter where the gradient changes its sign.
struct sign_op {
    double learning_rate;
    static constexpr int moments = 1;
    ESPALIER_FN double rate() const { return learning_rate; }
    template <class T> ESPALIER_FN T step(T w, T g, T* m, T step_rate, T) const {
        using espalier::copysign, espalier::select;
        T const length = copysign(step_rate, g);
        T const next = select(g * m[0] < T(scalar_of<T>(0)), w - length * T(scalar_of<T>(0.5)), w - length);
        m[0] = g;
        return next;
    }
};

// ---- the space

/// The choice of nothing, for axes where that is one.
struct none {};
/// Penalties over groups: of rows, of columns, of both.
struct rows {};
struct columns {};
struct rows_and_columns {};

/// The numbers of an op.
template <class Op> inline constexpr Op value{};
template <> inline constexpr auto value<decayed_op<derivative::exact>> = decayed_op<derivative::exact>{0.5, 0.25};
template <> inline constexpr l1_op value<l1_op>{0.01};
template <> inline constexpr l2_op value<l2_op>{0.1};
template <> inline constexpr elastic_net_op value<elastic_net_op>{0.05, 0.2};
template <> inline constexpr rounded_op value<rounded_op>{0.1};
template <group_scope Scope> inline constexpr group_lasso_op<Scope> value<group_lasso_op<Scope>>{0.3};
template <class Penalty> inline constexpr proximal_op<Penalty> value<proximal_op<Penalty>>{value<Penalty>};
template <> inline constexpr clip_value_op value<clip_value_op>{0.75};
template <> inline constexpr clip_global_norm_op value<clip_global_norm_op>{3.0};
template <> inline constexpr gradient_dropout_op value<gradient_dropout_op>{20000, 65536.0 / (65536.0 - 20000.0)};
template <> inline constexpr agreement_op value<agreement_op>{0.75, 1e-8};
template <> inline constexpr damped_op value<damped_op>{0.25};
template <> inline constexpr pulled_home_op value<pulled_home_op>{0.01};
template <momentum_kind Kind>
inline constexpr sgd_op<Kind> value<sgd_op<Kind>>{0.05, Kind == momentum_kind::none ? 0.0 : 0.9, 0.01};
template <> inline constexpr adam_op value<adam_op>{{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3}};
template <> inline constexpr adamw_op value<adamw_op>{{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3}};
template <> inline constexpr sign_op value<sign_op>{0.01};
template <> inline constexpr no_step value<no_step>{0.3};

namespace hana = boost::hana;

inline constexpr auto maps = espalier::choices<"map">(
    hana::tuple_t<identity, fixed_mask, hard, straight_through, decayed_op<derivative::exact>, doubled, saturating>);
inline constexpr auto transforms =
    espalier::choices<"transform">(hana::tuple_t<none, clip_value_op, clip_global_norm_op, gradient_dropout_op,
                                                 agreement_op, damped_op, pulled_home_op>);

/// All updates of tensors of some types of numbers. Which penalties are applied by their prox, two axes of yes and no
/// say.
template <class... Numbers>
inline constexpr auto updates = espalier::space(
    maps, transforms,
    espalier::choices<"then">(hana::tuple_t<none, clip_value_op, gradient_dropout_op, agreement_op, damped_op>),
    espalier::choices<"optimizer">(hana::tuple_t<sgd_op<momentum_kind::none>, sgd_op<momentum_kind::heavy_ball>,
                                                 sgd_op<momentum_kind::nesterov>, adam_op, adamw_op, sign_op, no_step>),
    espalier::choices<"penalty">(hana::tuple_t<none, l1_op, l2_op, elastic_net_op, rounded_op>),
    espalier::choices<"further">(hana::tuple_t<none, l1_op, l2_op, elastic_net_op, rounded_op>),
    espalier::choices<"proximal">(hana::tuple_c<bool, false, true>),
    espalier::choices<"groups">(hana::tuple_t<none, rows, columns, rows_and_columns>),
    espalier::choices<"groups_proximal">(hana::tuple_c<bool, false, true>),
    espalier::choices<"numbers">(hana::tuple_t<Numbers...>));

template <bool Proximal, class Op> using perhaps_proximal = std::conditional_t<Proximal, proximal_op<Op>, Op>;

template <bool Proximal, class Op> type_list<perhaps_proximal<Proximal, Op>> listed(Op const&);
template <bool> type_list<> listed(none);
template <bool Proximal> type_list<perhaps_proximal<Proximal, group_lasso_op<group_scope::rows>>> listed(rows);
template <bool Proximal> type_list<perhaps_proximal<Proximal, group_lasso_op<group_scope::columns>>> listed(columns);
// A tensor carries one prox over groups.
template <bool Proximal>
type_list<group_lasso_op<group_scope::rows>, perhaps_proximal<Proximal, group_lasso_op<group_scope::columns>>>
    listed(rows_and_columns);

template <class... As, class... Bs, class... Cs>
flat_tuple<As..., Bs..., Cs...> joined(type_list<As...>, type_list<Bs...>, type_list<Cs...>);

// A type of this file alone makes a loop that has one caller, which compilers put into that caller, among its vectors.
namespace {

template <class Map, class Transform, class Then, class Optimizer, class Penalty, class Further, class Proximal,
          class Groups, class GroupsProximal, class Numbers>
struct update {
    struct map : Map {};
    using optimizer = Optimizer;
    using penalties =
        decltype(joined(listed<false>(std::declval<Penalty>()), listed<GroupsProximal::value>(std::declval<Groups>()),
                        listed<Proximal::value>(std::declval<Further>())));
    using second = std::conditional_t<std::is_same_v<Transform, Then>, none, Then>;
    using rule = tensor_rule<map, penalties,
                             decltype(joined(listed<false>(std::declval<Transform>()),
                                             listed<false>(std::declval<second>()), type_list<>{}))>;
    using storage = Numbers;
    using number = std::conditional_t<std::is_same_v<Numbers, narrow>, float, Numbers>;

    static rule make() {
        rule r{};
        static_cast<Map&>(r.map) = value<Map>;
        fill(r.penalties);
        fill(r.transforms);
        return r;
    }

private:
    template <class... Ops> static void fill(flat_tuple<Ops...>& ops) {
        [&]<std::size_t... At>(std::index_sequence<At...>) {
            ((espalier::get<At>(ops) = value<Ops>), ...);
        }
        (std::index_sequence_for<Ops...>{});
    }
};

} // namespace

// ---- the check

// What is the same for all compositions is called and not put into each, which halves what they take to compile.

template <class W, class N = W> [[gnu::noinline]] kernel_tests::tensor<W, N> made() {
    return {5, 43};
}

/// Says the first number that is not as it must be.
template <class W, class IsRight>
bool check(espalier::combination const& which, char const* what, std::vector<W> const& numbers,
           IsRight const& is_right) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (is_right(i)) continue;
        std::printf("%s: %s %zu is %.17g\n", which.text().c_str(), what, i, static_cast<double>(numbers[i]));
        return false;
    }
    return true;
}
template <class W>
[[gnu::noinline]] bool is_finite(espalier::combination const& which, char const* what, std::vector<W> const& numbers) {
    return check(which, what, numbers, [&](std::size_t i) { return std::isfinite(numbers[i]); });
}
template <class W, class N>
[[gnu::noinline]] bool is_near(espalier::combination const& which, char const* what, std::vector<W> const& ours,
                               std::vector<N> const& theirs, double allowed) {
    using wide = std::conditional_t<std::is_same_v<N, narrow>, float, N>;
    return check(which, what, ours, [&](std::size_t i) {
        return kernel_tests::near(static_cast<double>(static_cast<wide>(theirs[i])), static_cast<double>(ours[i]),
                                  allowed);
    });
}

/// The loop of the CPU leaves finite numbers and, where `WithBodies`, those that the bodies leave on two small blocks
/// (which cost as much to compile as the loop). Says what differs. The loop stands among vectors, as in a user's
/// function: what a compiler makes of it depends on whether something is to be destroyed around it.
template <bool WithBodies, class Update> [[gnu::noinline]] bool agrees(espalier::combination const& which) {
    using W = typename Update::number;
    using N = typename Update::storage;
    using rule_type = typename Update::rule;
    auto const rule = Update::make();
    auto const optimizer = value<typename Update::optimizer>;
    auto loop = made<W>();
    espalier::cpu::update(optimizer, rule, loop.segment());
    bool right = is_finite(which, "weight", loop.weights);
    right &= is_finite(which, "moment", loop.moments);
    right &= is_finite(which, "operand", loop.operands);
    right &= is_finite(which, "value", loop.values);
    if constexpr (WithBodies) {
        constexpr double tolerance = std::is_same_v<W, double> ? 1e-13 : 1e-5;
        auto body = made<W, N>();
        auto const launch = [](auto const& work) {
            espalier::emulated_launch<32>(2, [&](auto& group) { work(group); }, {.order_seed = 1});
        };
        kernel_tests::run_update(launch, optimizer, rule, body);
        right &= is_near(which, "weight, not the bodies',", loop.weights, body.weights, tolerance);
        right &= is_near(which, "moment, not the bodies',", loop.moments, body.moments, tolerance);
        if (rule_type::needs_operand)
            right &= is_near(which, "operand, not the bodies',", loop.operands, body.operands,
                             std::is_same_v<W, N> ? tolerance : 0.004);
        for (int g = 0; g < rule_type::group_sets; ++g)
            right &= is_near(which, "norm, not the bodies',", loop.next[g], body.next[g], 100 * tolerance);
        right &= is_near(which, "value, not the bodies',", loop.values, body.values, 100 * tolerance);
    }
    return right;
}

/// How many updates of a set went wrong.
template <bool WithBodies, template <class...> class Update, class Set> int wrong_of(Set set) {
    int wrong = 0;
    espalier::for_each<Update>(set, [&](auto type, espalier::combination const& which) {
        wrong += !agrees<WithBodies, typename decltype(type)::type>(which);
    });
    return wrong;
}

} // namespace isa
