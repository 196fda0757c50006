// SPDX-License-Identifier: Apache-2.0
// Stochastic gradient descent: plain, with momentum, with Nesterov's momentum.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/optimizer/concept.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier::optimizer {

/// No momentum and no state: what `sgd` has when `.momentum` is not written.
struct no_momentum {};

/// Momentum that looks ahead: `sgd{.momentum = nesterov{0.9}}`.
template <schedule::number_or_schedule Value = double> struct nesterov { Value value = 0.9; };
/// `nesterov{0.9}` and `nesterov{a_schedule}`.
template <class Value> nesterov(Value) -> nesterov<Value>;

/// Which state and which step an `sgd` has.
enum class momentum_kind { none, heavy_ball, nesterov };

namespace detail {

template <class Momentum> struct momentum_traits { static constexpr momentum_kind kind = momentum_kind::heavy_ball; };
template <> struct momentum_traits<no_momentum> { static constexpr momentum_kind kind = momentum_kind::none; };
template <class Value> struct momentum_traits<nesterov<Value>> {
    static constexpr momentum_kind kind = momentum_kind::nesterov;
};

template <class Momentum> constexpr auto const& momentum_value(Momentum const& m) {
    if constexpr (momentum_traits<Momentum>::kind == momentum_kind::nesterov)
        return m.value;
    else
        return m;
}

} // namespace detail

/// One step of `sgd`.
template <momentum_kind Kind> struct sgd_op {
    double learning_rate;
    double momentum;
    double weight_decay;

    static constexpr int moments = Kind == momentum_kind::none ? 0 : 1;
    static constexpr bool counts_updates = false;

    ESPALIER_FN double rate() const { return learning_rate; }

    template <class T> ESPALIER_FN T step(T w, T g, [[maybe_unused]] T* m, T step_rate, T decay) const {
        using S = scalar_of<T>;
        g = fma(T(static_cast<S>(weight_decay)) * decay, w, g);
        if constexpr (Kind != momentum_kind::none) {
            T const mu(static_cast<S>(momentum));
            m[0] = fma(mu, m[0], g);
            if constexpr (Kind == momentum_kind::nesterov)
                g = fma(mu, m[0], g);
            else
                g = m[0];
        }
        return fma(-step_rate, g, w);
    }
};

/// With g' = g + weight_decay w and the state b, 0 at the start:
///     none        w <- w - rate g'
///     momentum    b <- momentum b + g',   w <- w - rate b
///     nesterov    b <- momentum b + g',   w <- w - rate (g' + momentum b)
/// (Sutskever et al. 2013 in the form of PyTorch's SGD with dampening 0.) Which of the three is structure, chosen by
/// what is written: `sgd{.learning_rate = 1e-2}`, `sgd{.learning_rate = 1e-2, .momentum = 0.9}`,
/// `sgd{.learning_rate = 1e-2, .momentum = nesterov{0.9}}`. The learning rate and the momentum may be schedules.
/// Throws data_error for a rate or decay that is negative or no finite number in single precision, and for a momentum
/// outside [0, 1).
template <schedule::number_or_schedule LearningRate = double, class Momentum = no_momentum> struct sgd {
    LearningRate learning_rate = 1e-2;
    Momentum momentum{};
    double weight_decay = 0.0;

    static constexpr momentum_kind kind = detail::momentum_traits<Momentum>::kind;
    static constexpr char const* name = "sgd";

    void validate() const {
        detail::validate(learning_rate, 0.0, detail::no_limit, name, "learning_rate");
        if constexpr (kind != momentum_kind::none)
            detail::validate(detail::momentum_value(momentum), 0.0, 1.0, name, "momentum");
        detail::validate(weight_decay, 0.0, detail::no_limit, name, "weight_decay");
    }

    sgd_op<kind> at(clock const& now, std::uint64_t) const {
        double mu = 0.0;
        if constexpr (kind != momentum_kind::none)
            mu = detail::value_within(detail::momentum_value(momentum), now, 0.0, 1.0, name, "momentum");
        return {detail::value_within(learning_rate, now, 0.0, detail::no_limit, name, "learning_rate"), mu,
                weight_decay};
    }
};

} // namespace espalier::optimizer
