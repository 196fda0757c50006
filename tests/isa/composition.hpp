// SPDX-License-Identifier: Apache-2.0
// What the generated compositions are made of beside the library's policies, and how one is checked. Every function
// here holds vectors, as a user's does: what a compiler makes of a loop depends on whether something is to be destroyed
// around it.
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
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <type_traits>

namespace isa {

using espalier::flat_tuple, espalier::group_scope, espalier::no_step, espalier::scalar_of, espalier::tensor_rule;
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

// ---- the check

/// The loop of the CPU leaves finite numbers and, where `WithBodies`, those that the bodies leave on two small blocks
/// (which cost as much to compile as the loop). Says what differs. The loop is called in one place, so that compilers
/// put it into this function, among its vectors.
template <bool WithBodies, class W, class N, class Optimizer, class Rule>
bool agrees(char const* text, Optimizer const& optimizer, Rule const& rule) {
    constexpr espalier::index_t row_count = 5, columns = 43;
    constexpr double tolerance = std::is_same_v<W, double> ? 1e-13 : 1e-5;
    kernel_tests::tensor<W> loop(row_count, columns);
    espalier::cpu::update(optimizer, rule, loop.segment());
    bool right = true;
    auto const check = [&](char const* what, auto const& numbers, auto const& is_right) {
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            if (is_right(i)) continue;
            std::printf("%s: %s %zu is %.17g\n", text, what, i, static_cast<double>(numbers[i]));
            right = false;
            return;
        }
    };
    auto const finite = [&](char const* what, auto const& numbers) {
        check(what, numbers, [&](std::size_t i) { return std::isfinite(numbers[i]); });
    };
    finite("weight", loop.weights);
    finite("moment", loop.moments);
    finite("operand", loop.operands);
    finite("value", loop.values);
    if constexpr (WithBodies) {
        kernel_tests::tensor<W, N> body(row_count, columns);
        auto const launch = [](auto const& work) {
            espalier::emulated_launch<32>(2, [&](auto& group) { work(group); }, {.order_seed = 1});
        };
        kernel_tests::run_update(launch, optimizer, rule, body);
        auto const compare = [&](char const* what, auto const& ours, auto const& theirs, double allowed) {
            check(what, ours, [&](std::size_t i) {
                return kernel_tests::near(static_cast<double>(static_cast<W>(theirs[i])), static_cast<double>(ours[i]),
                                          allowed);
            });
        };
        compare("weight, not the bodies',", loop.weights, body.weights, tolerance);
        compare("moment, not the bodies',", loop.moments, body.moments, tolerance);
        if (Rule::needs_operand)
            compare("operand, not the bodies',", loop.operands, body.operands,
                    std::is_same_v<W, N> ? tolerance : 0.004);
        for (int g = 0; g < Rule::group_sets; ++g)
            compare("norm, not the bodies',", loop.next[g], body.next[g], 100 * tolerance);
        compare("value, not the bodies',", loop.values, body.values, 100 * tolerance);
    }
    return right;
}

} // namespace isa
