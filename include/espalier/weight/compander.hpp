// SPDX-License-Identifier: Apache-2.0
// Weights that are a bounded function of free ones: small ones are made larger, large ones saturate.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/concept.hpp>

#include <cmath>
#include <concepts>
#include <limits>
#include <string_view>

namespace espalier::weight {

// What a compander is the function of: f odd and increasing, f'(0) = 1, |f| < bound.
//
//     struct my_function {
//         static constexpr std::string_view name = "mine";
//         static constexpr double bound;
//         template <class T> ESPALIER_FN static T value(T u);
//         template <class T> ESPALIER_FN static T derivative(T u);
//         static double inverse(double y); // |y| < bound
//     };

/// f(u) = atan u, f'(u) = 1 / (1 + u^2).
struct arctan {
    static constexpr std::string_view name = "arctan";
    static constexpr double bound = 1.57079632679489661923;

    template <class T> ESPALIER_FN static T value(T u) { return espalier::atan(u); }
    template <class T> ESPALIER_FN static T derivative(T u) {
        T const one(scalar_of<T>(1));
        return one / fma(u, u, one);
    }
    static double inverse(double y) { return std::tan(y); }
};

/// f(u) = tanh u, f'(u) = 1 - tanh(u)^2, here 4 e / (1 + e)^2 with e = exp(-2 |u|): nothing cancels in its tails.
struct tanh {
    static constexpr std::string_view name = "tanh";
    static constexpr double bound = 1.0;

    template <class T> ESPALIER_FN static T value(T u) { return espalier::tanh(u); }
    template <class T> ESPALIER_FN static T derivative(T u) {
        using espalier::abs;
        using S = scalar_of<T>;
        T const e = espalier::exp(T(S(-2)) * abs(u));
        T const sum = T(S(1)) + e;
        return T(S(4)) * e / (sum * sum);
    }
    static double inverse(double y) { return std::atanh(y); }
};

/// f(u) = u / (1 + |u|), f'(u) = 1 / (1 + |u|)^2.
struct softsign {
    static constexpr std::string_view name = "softsign";
    static constexpr double bound = 1.0;

    template <class T> ESPALIER_FN static T value(T u) {
        using espalier::abs;
        return u / (T(scalar_of<T>(1)) + abs(u));
    }
    template <class T> ESPALIER_FN static T derivative(T u) {
        using espalier::abs;
        T const one(scalar_of<T>(1)), share = one / (one + abs(u));
        return share * share;
    }
    static double inverse(double y) { return y / (1.0 - std::fabs(y)); }
};

template <class F>
concept compander_function = requires(double x, float y, native_pack<float> p) {
    { F::name } -> std::convertible_to<std::string_view>;
    { F::bound } -> std::convertible_to<double>;
    { F::value(x) } -> std::same_as<double>;
    { F::value(y) } -> std::same_as<float>;
    { F::value(p) } -> std::same_as<native_pack<float>>;
    { F::derivative(x) } -> std::same_as<double>;
    { F::derivative(y) } -> std::same_as<float>;
    { F::derivative(p) } -> std::same_as<native_pack<float>>;
    { F::inverse(x) } -> std::same_as<double>;
};

/// The a and b of a compander stay what they are.
struct constant_scalars {};

/// The a and b of a compander are trained with its weights, at Rate times their learning rate. Their gradients are sums
/// over all weights, which is why Rate is far below 1: 1e-3 to 2e-2 for layers of 1e4 to 1e5 weights.
template <double Rate = 0.02> struct learned {
    static_assert(
        diagnostic::holds<(Rate > 0.0 && Rate <= std::numeric_limits<double>::max()), diagnostic::given<Rate>>,
        "espalier: the rate of weight::learned<rate> is positive and finite; the next line names what was "
        "given");
    static constexpr std::string_view name = "learned";
    static constexpr double rate = Rate;
    static constexpr auto numbers = fields<&learned::rate>;
};

/// Numbers and element functions of `compander`.
template <class Function> struct compander_op {
    double a;
    double b;
    static constexpr auto numbers = fields<&compander_op::a, &compander_op::b>;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;

    template <class T> ESPALIER_FN T effective(T raw) const { return number<T>(a) * Function::value(scaled(raw)); }
    template <class T> ESPALIER_FN T pull(T g, element_about<T> const& about) const {
        return g * number<T>(a / b) * Function::derivative(scaled(about.weight));
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    double raw(double effective) const {
        return std::fabs(effective) < a * Function::bound ? b * Function::inverse(effective / a)
                                                          : std::numeric_limits<double>::quiet_NaN();
    }

protected:
    template <class T> ESPALIER_FN static T number(double x) { return T(static_cast<scalar_of<T>>(x)); }
    template <class T> ESPALIER_FN T scaled(T raw) const { return raw * number<T>(1.0 / b); }
};

/// The same with trained logarithms of a and b.
template <class Function> struct learned_compander_op : compander_op<Function> {
    static constexpr int scalars = 2;
    static constexpr std::string_view scalar_names[scalars] = {"log_a", "log_b"};

    scalar_values<double> start() const { return {std::log(this->a), std::log(this->b)}; }
    template <class T> ESPALIER_FN learned_compander_op with(scalar_values<T> const& logarithms) const {
        return {{static_cast<double>(espalier::exp(logarithms.first)),
                 static_cast<double>(espalier::exp(logarithms.second))}};
    }
    template <class T> ESPALIER_FN scalar_values<T> scalar_gradients(T g, element_about<T> const& about) const {
        return {g * this->effective(about.weight), -about.weight * this->pull(g, about)};
    }
};

namespace detail {
template <class Function, class Scalars> struct compander_form {};
template <class Function> struct compander_form<Function, constant_scalars> {
    using op = compander_op<Function>;
    using consists_of = type_list<Function>;
    static constexpr op from(double a, double b) { return {a, b}; }
};
template <class Function, double Rate> struct compander_form<Function, learned<Rate>> {
    using op = learned_compander_op<Function>;
    using consists_of = type_list<Function, learned<Rate>>;
    static constexpr double scalar_rate = Rate;
    static constexpr op from(double a, double b) { return {{a, b}}; }
};
} // namespace detail

/// effective(v) = w = a f(v / b), elementwise, with the Function f: w = a atan(v / b) for `arctan`, whose |w| < a pi /
/// 2, after the Weight Compander ("Weight Compander: A Simple Weight Reparameterization for Regularization"). Its slope
/// is a / b at 0, where a > b pushes weights apart, and falls to 0 for large |v|. The optimizer, its decay and
/// penalties see the raw v; biases are not mapped. Gradient: dL/dv = dL/dw (a / b) f'(v / b).
///
///     dense<256, activation::relu, weight::compander<weight::arctan, 0.1, 0.05>>
///     dense<256, activation::relu, weight::compander<weight::arctan, 0.1, 0.05, weight::learned<0.02>>>
///
/// A and B, positive: a and b, constant, or where learning of them begins. Choose b near the typical |v| at the start
/// and a = 2 b; at a = b = 1 the map is nearly the identity for usual weights and does nothing.
///
/// With `learned` the tensor has two trained numbers, alpha = log a and beta = log b ("1.kernel.log_a",
/// "1.kernel.log_b", role::scalar), so that a and b stay positive and need no floor:
///     dL/dalpha = sum dL/dw w,    dL/dbeta = -sum v dL/dv
/// They move at Rate times the learning rate of the step, without decay. Those sums are taken while the update pulls
/// gradients back; a second pass over the weights then writes what the next products read.
///
/// Bytes of an update (float, a weight): 4 more for the copy that products read; with learned a and b 12 in the second
/// pass in the place of those.
template <class Function, double A, double B, class Scalars = constant_scalars>
struct compander : detail::compander_form<Function, Scalars> {
    static_assert(
        diagnostic::holds<compander_function<Function>, diagnostic::given_type<Function>>,
        "espalier: the function of weight::compander has name, bound, value(u), derivative(u) and inverse(y), "
        "as weight::arctan, weight::tanh and weight::softsign do; the next line names what was given");
    static_assert(diagnostic::holds<(A > 0.0 && A <= std::numeric_limits<double>::max() && B > 0.0 &&
                                     B <= std::numeric_limits<double>::max()),
                                    diagnostic::given<A>, diagnostic::given<B>>,
                  "espalier: the a and b of weight::compander<function, a, b> are positive and finite; the next lines "
                  "name what was given");
    static_assert(diagnostic::holds<requires { typename detail::compander_form<Function, Scalars>::op; },
                                    diagnostic::given_type<Scalars>>,
                  "espalier: the last argument of weight::compander is weight::learned<rate>, or is left out; the next "
                  "line names what was given");

    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "compander";
    static constexpr auto at(clock const&) { return detail::compander_form<Function, Scalars>::from(A, B); }
};

} // namespace espalier::weight
