// SPDX-License-Identifier: Apache-2.0
// A whole power, the square above all.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

namespace detail {

/// x^n for n >= 1 by squaring: fewer than 2 log2 n multiplications.
template <int N, class T> ESPALIER_FN T whole_power(T x) {
    if constexpr (N == 1)
        return x;
    else if constexpr (N % 2 == 0)
        return whole_power<N / 2>(x * x);
    else
        return x * whole_power<N / 2>(x * x);
}

} // namespace detail

/// y = x^Exponent; dy/dx = Exponent x^(Exponent - 1). The exponent is a whole number of at least 2 and part of the
/// type: it says which multiplications there are. power<2> is the unit of networks that solve modular arithmetic
/// (Gromov 2023, "Grokking modular arithmetic"). Beyond the root of the largest number of its type x gives infinity:
/// |x| > 255 for the square in half precision, 1.8e19 in float.
template <int Exponent> struct power {
    static_assert(diagnostic::holds<(Exponent >= 2), diagnostic::given<Exponent>>,
                  "espalier: activation::power<n> needs a whole exponent of at least 2; the next line names what was "
                  "given; activation::identity is the first power");
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "power";
    static constexpr int exponent = Exponent;
    static constexpr auto numbers = fields<&power::exponent>;
    static constexpr bool reads_input = true;
    static constexpr bool reads_output = false;

    template <class T> ESPALIER_FN static T forward(T x) { return detail::whole_power<Exponent>(x); }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        return dy * (T(scalar_of<T>(Exponent)) * detail::whole_power<Exponent - 1>(x));
    }
};

} // namespace espalier::activation
