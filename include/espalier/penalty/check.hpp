// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a penalty.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

namespace espalier {

template <class P> void axis::penalty::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    // Numbers that a gradient or a prox which forgets them would not pass with; NaN where none was declared.
    [[maybe_unused]] auto const kept = []<class T>(T const&) {
        constexpr float none = std::numeric_limits<float>::quiet_NaN();
        constexpr int count = op_companions<op_type>();
        return companion_values<T>{T(count > 0 ? 0.3125f : none), T(count > 1 ? 0.75f : none)};
    };
    // One that reads a mask acts on what the mask leaves out.
    [[maybe_unused]] auto const kept_by_mask = []<class T>(T const&) { return mask_of<T>(!op_needs_mask<op_type>()); };
    [[maybe_unused]] auto const value = [&]<class T>(T w) {
        return espalier::penalty::detail::value(
            op, element_about<T>{.weight = w, .keep = kept_by_mask(w), .companion = kept(w)}, w);
    };
    [[maybe_unused]] auto const gradient = [&]<class T>(T w, std::type_identity_t<T> norm = T(scalar_of<T>(0))) {
        element_about<T> about{.weight = w, .keep = kept_by_mask(w), .squared_norm = norm, .companion = kept(w)};
        if constexpr (op_nests<op_type>()) about.group_pull = op.group_pull(norm);
        return espalier::penalty::detail::gradient(op, about, w);
    };
    [[maybe_unused]] auto const prox = [&]<class T>(T w, T rate, std::type_identity_t<T> norm = T(scalar_of<T>(0))) {
        return espalier::penalty::detail::prox(
            op,
            element_about<T>{
                .weight = w, .rate = rate, .keep = kept_by_mask(w), .squared_norm = norm, .companion = kept(w)},
            w);
    };
    if constexpr (penalty_groups<op_type>() != group_scope::element) {
        to.derivative(
            "gradient is the derivative of the group's value", "w",
            [&](double w) { return op.group_value(w * w + 0.7); }, [&](double w) { return gradient(w, w * w + 0.7); });
        double const still = gradient(0.0, 0.0);
        to.over("a group of norm 0 has a finite gradient")
            .require(std::isfinite(still), "norm = 0", "given " + number_text(still));
        to.packs("group_value of a pack", [&](auto w, auto) { return op.group_value(w * w); });
        to.packs("gradient of a pack", [&](auto w, auto) { return gradient(w, w * w + decltype(w)(0.5f)); });
        if constexpr (espalier::penalty::has_prox<op_type, double>) {
            to.packs("prox of a pack", [&](auto w, auto) {
                using T = decltype(w);
                return prox(w, T(0.3f), w * w + T(0.5f));
            });
            auto check = to.over("prox minimises group_value(|u|^2) + |u - w|^2 / (2 rate)");
            for (double const rate : {0.05, 1.0})
                for (double const a : {-3.2, -0.4, 0.0, 0.02, 0.7})
                    for (double const b : {0.0, 0.03, 1.9}) {
                        auto const cost = [&](double u, double v) {
                            return op.group_value(u * u + v * v) +
                                   ((u - a) * (u - a) + (v - b) * (v - b)) / (2.0 * rate);
                        };
                        double const square = a * a + b * b, u = prox(a, rate, square), v = prox(b, rate, square),
                                     least = cost(u, v);
                        std::string const where =
                            "w = (" + number_text(a) + ", " + number_text(b) + "), rate = " + number_text(rate);
                        check.require(std::isfinite(u) && std::isfinite(v), where, "given " + number_text(u));
                        for (double const other : {a, 0.0, u - 1e-3, u + 1e-3, u - 0.1, u + 0.1, u / 2.0, a / 2.0})
                            for (double const another :
                                 {b, 0.0, v - 1e-3, v + 1e-3, v - 0.1, v + 0.1, v / 2.0, b / 2.0})
                                check.require(least <= cost(other, another) + 1e-12 * (1.0 + std::fabs(least)), where,
                                              "given u = (" + number_text(u) + ", " + number_text(v) + ")");
                    }
        }
    } else {
        if constexpr (espalier::penalty::has_gradient<op_type, double>) {
            to.derivative(
                "gradient is the derivative of value", "w", [&](double w) { return value(w); },
                [&](double w) { return gradient(w); });
            to.packs("gradient of a pack", [&](auto w, auto) { return gradient(w); });
        }
        to.packs("value of a pack", [&](auto w, auto) { return value(w); });
        if constexpr (espalier::penalty::has_prox<op_type, double>) {
            to.packs("prox of a pack", [&](auto w, auto) { return prox(w, decltype(w)(0.3f)); });
            auto check = to.over("prox minimises value(u) + (u - w)^2 / (2 rate)");
            for (double const rate : {0.05, 1.0})
                for (double const w : {-3.2, -0.4, -0.01, 0.0, 0.02, 0.7, 2.9}) {
                    auto const cost = [&](double u) { return value(u) + (u - w) * (u - w) / (2.0 * rate); };
                    double const u = prox(w, rate), least = cost(u);
                    std::string const where = "w = " + number_text(w) + ", rate = " + number_text(rate);
                    check.require(std::isfinite(u), where, "given " + number_text(u));
                    double const around[] = {w,        0.0,      u - 1e-4, u + 1e-4, u - 1e-3, u + 1e-3,
                                             u - 0.02, u + 0.02, u - 0.3,  u + 0.3,  u / 2.0,  w / 2.0};
                    for (double const other : around)
                        check.require(least <= cost(other) + 1e-12 * (1.0 + std::fabs(least)), where,
                                      "given u = " + number_text(u) + " costs " + number_text(least) + ", but " +
                                          number_text(other) + " costs " + number_text(cost(other)));
                }
        }
    }
}

} // namespace espalier
