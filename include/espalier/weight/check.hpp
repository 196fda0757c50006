// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a map of weights.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/weight/concept.hpp>

#include <string>
#include <type_traits>

namespace espalier {

namespace detail {

template <class P> void check_weight_map(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    auto const effective = [&]<class T>(T raw, mask_of<T> keep) {
        return espalier::weight::detail::effective_weight(op, raw, keep);
    };
    auto const pull = [&]<class T>(T g, T raw, mask_of<T> keep) {
        return espalier::weight::detail::pull(op, element_about<T>{.weight = raw, .keep = keep}, g);
    };
    auto const store = [&]<class T>(T next, mask_of<T> keep) {
        return espalier::weight::detail::store(op, element_about<T>{.weight = next, .keep = keep}, next);
    };
    to.derivative(
        "pull is the derivative of effective", "w", [&](double w) { return effective(w, true); },
        [&](double w) { return pull(1.0, w, true); });
    if constexpr (espalier::weight::detail::map_scalars<op_type>() > 0) {
        auto const start = op.start();
        for (int k = 0; k < op_type::scalars; ++k) {
            auto const made = [&](double x) {
                auto numbers = start;
                (k == 0 ? numbers.first : numbers.second) = x;
                return op.with(numbers);
            };
            auto const sum = [](auto const& of_weight) { return of_weight(-0.9) + of_weight(0.4) + of_weight(2.1); };
            to.derivative(
                "scalar_gradients are derivatives of effective by " + std::string(op_type::scalar_names[k]), "number",
                [&](double x) {
                    auto const map = made(start[k] + x);
                    return sum([&](double w) { return espalier::weight::detail::effective_weight(map, w, true); });
                },
                [&](double x) {
                    auto const map = made(start[k] + x);
                    return sum(
                        [&](double w) { return map.scalar_gradients(1.0, element_about<double>{.weight = w})[k]; });
                });
        }
    }
    // A rule of pruning may let the gradient of a hidden weight through, which is no derivative.
    if constexpr (op_freezes<op_type>())
        to.leave_out("whether pull is the derivative of effective where the mask drops: there the weight is no "
                     "variable");
    else if constexpr (op_type::uses_mask && std::is_same_v<typename P::axis, axis::weight>)
        to.derivative(
            "pull is the derivative of effective where the mask drops", "w",
            [&](double w) { return effective(w, false); }, [&](double w) { return pull(1.0, w, false); });
    else if constexpr (op_type::uses_mask)
        to.leave_out("whether pull is the derivative of effective where the mask drops: a rule that passes the "
                     "gradient on differs from it on purpose");
    {
        auto check = to.over("pull is proportional to the gradient");
        for (double const w : {-2.3, -0.4, 0.7, 3.1})
            for (bool const keep : {true, false}) {
                if (!keep && !op_type::uses_mask) continue;
                double const one = pull(1.0, w, keep);
                check.compare("w = " + number_text(w) + (keep ? "" : ", dropped by the mask"), pull(-2.5, w, keep),
                              -2.5 * one, 1e-12 * (1.0 + std::fabs(one)));
            }
    }
    {
        // What products read is also made where there is no step.
        auto check = to.over("effective reads the weight and the mask, no more");
        for (double const w : {-2.3, 0.7})
            for (double const other : {0.1, -3.0}) {
                element_about<double> const about{.weight = w,
                                                  .rate = std::fabs(other),
                                                  .squared_norm = other,
                                                  .reference = other,
                                                  .bits = 30000,
                                                  .global_norm = other};
                check.compare("w = " + number_text(w), espalier::weight::detail::effective(op, about, w),
                              effective(w, true), 0.0);
            }
    }
    to.packs("pull, store and effective of a pack", [&](auto w, auto bits) {
        using T = decltype(w);
        mask_of<T> keep(true);
        if constexpr (op_type::uses_mask) keep = (bits & decltype(bits)(1u)) == decltype(bits)(0u);
        return pull(T(0.75f), w, keep) + effective(store(w, keep), keep);
    });
    auto check = to.over(op_type::needs_operand ? "store keeps what it stored"
                                                : "store keeps what it stored, and products may read it");
    for (double const w : {-2.0, -0.1, 0.0, 0.3, 4.0})
        for (bool const keep : {true, false}) {
            if (!keep && !op_type::uses_mask) continue;
            double const stored = store(w, keep);
            std::string const place = "w = " + number_text(w) + (keep ? "" : ", dropped by the mask");
            check.compare(place, store(stored, keep), stored, 0.0);
            if constexpr (!op_type::needs_operand) check.compare(place, effective(stored, keep), stored, 0.0);
        }
}

} // namespace detail

template <class P> void axis::weight::check(policy_checker& to, clock const& now) {
    if constexpr (reaches_kernels<P>)
        detail::check_weight_map<P>(to, now);
    else
        axis_defaults::check<P>(to, now);
}

} // namespace espalier
