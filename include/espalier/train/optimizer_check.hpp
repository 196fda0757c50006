// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether an optimizer of one's own keeps its contract.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/optimizer/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

namespace espalier {
namespace detail {

/// A weight after some steps, and what the last of them left of its moments and of the number behind them.
template <class Op, class T> struct stepped {
    static constexpr int moments = Op::moments;
    T weight;
    T memory[std::size_t{moments + 1}];

    stepped(Op const& op, T first, T gradient, T learning_rate, T decay, int steps) : weight(first) {
        for (int i = 0; i < moments; ++i)
            memory[i] = T(scalar_of<T>(0));
        memory[moments] = T(scalar_of<T>(77));
        for (int i = 0; i < steps; ++i)
            weight = op.step(weight, gradient, memory, learning_rate, decay);
    }
};

template <class Op> void check_optimizer_op(policy_checker& to, Op const& op) {
    double const rate = op.rate();
    to.over("the learning rate is finite and not negative")
        .require(std::isfinite(rate) && rate >= 0.0, "the first update", "given " + number_text(rate));
    auto finite = to.over("finite gradients leave weight and moments finite");
    auto still = to.over("a learning rate of 0 leaves the weight alone");
    auto inside = to.over("the step writes `moments` numbers of state, no more");
    for (double const w : {-3.0, 0.0, 0.25})
        for (double const g : {-1e6, -0.3, 0.0, 1e-12, 2.0})
            for (double const decay : {0.0, 1.0}) {
                std::string const place =
                    "w = " + number_text(w) + ", g = " + number_text(g) + ", decay = " + number_text(decay);
                stepped<Op, double> const moved(op, w, g, rate, decay, 3);
                finite.require(std::isfinite(moved.weight), place, "given " + number_text(moved.weight));
                for (int i = 0; i < Op::moments; ++i)
                    finite.require(std::isfinite(moved.memory[i]), place,
                                   "moment " + std::to_string(i) + " is " + number_text(moved.memory[i]));
                inside.compare(place, moved.memory[Op::moments], 77.0, 0.0);
                still.compare(place, stepped<Op, double>(op, w, g, 0.0, decay, 3).weight, w, 0.0);
            }
    to.packs("weights of a pack after three steps", [&](auto w, auto) {
        using T = decltype(w);
        return stepped<Op, T>(op, w, T(0.3f) - w, T(0.01f), T(1.0f), 3).weight;
    });
}

/// One optimizer, of which the report has said what it is.
template <class Optimizer> void check_one_optimizer(policy_checker& to, Optimizer const& given, clock const& now) {
    if (!to.accepts(given)) return;
    auto const op = given.at(now, std::uint64_t{1});
    using op_type = std::remove_cvref_t<decltype(op)>;
    check_optimizer_op(to, op);
    if constexpr (!optimizer::counts_updates<op_type>()) {
        auto check = to.over("`at` does not look at the number of the update, since `counts_updates` is false");
        auto const later = given.at(now, std::uint64_t{1000});
        for (double const g : {-0.3, 2.0})
            check.compare("g = " + number_text(g),
                          stepped<op_type, double>(later, 0.25, g, later.rate(), 1.0, 2).weight,
                          stepped<op_type, double>(op, 0.25, g, op.rate(), 1.0, 2).weight, 0.0);
    }
    to.leave_out("whether it descends: train something small with it");
}

} // namespace detail

/// Checks an optimizer on its own: that `validate` accepts its numbers; in double precision that the rate is finite,
/// that finite gradients leave everything finite, that a learning rate of 0 moves nothing and that the step keeps to
/// its moments; packs of floats against single floats; that `at` looks at the number of the update where
/// `counts_updates` is not false only. Whether it descends is not for it to say. Of a `by_group` every optimizer is
/// checked.
///
///     auto const report = check_optimizer(my_optimizer{.learning_rate = 1e-2});
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <class Optimizer> policy_report check_optimizer(Optimizer const& given, clock const& now = {}) {
    policy_checker to;
    if constexpr (optimizer::detail::check_members<Optimizer>()) {
        if constexpr (optimizer::gives_ops<Optimizer>)
            given.each([&](std::string const& words, auto const& one) {
                to.report.text += "an optimizer, that of " + words + "\n";
                detail::check_one_optimizer(to, one, now);
            });
        else {
            to.report.text = "an optimizer\n";
            detail::check_one_optimizer(to, given, now);
        }
    }
    return to.report;
}

} // namespace espalier
