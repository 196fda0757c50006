// SPDX-License-Identifier: Apache-2.0
// expect: the a and b of weight::compander<function, a, b> are positive and finite
// expect: the function of weight::compander has name, bound, value\(u\), derivative\(u\) and inverse\(y\)
// expect: the last argument of weight::compander is weight::learned<rate>, or is left out
// expect: the rate of weight::learned<rate> is positive and finite
// expect: -(0\.5|5\.0*e-1)
// Companders of a slope, a function, a rate and a last argument that none has.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/compander.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using map = weight::compander<weight::arctan, 0.1, 0.05, weight::learned<0.02>>;
using stack = sequence<input<16>, dense<8, map>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
#else
struct half {
    template <class T> static T value(T u) { return u; }
};
inline weight::compander<weight::arctan, 0.1, -0.5> const negative{};
inline weight::compander<half, 0.1, 0.05> const no_function{};
inline weight::compander<weight::arctan, 0.1, 0.05, half> const not_learned{};
inline weight::learned<0.0> const at_rest{};
#endif
