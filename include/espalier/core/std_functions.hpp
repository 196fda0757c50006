// SPDX-License-Identifier: Apache-2.0
// The functions of namespace std that policies call with a pack by mistake: they stop compilation with a sentence where
// the compiler would list every overload it knows.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

namespace espalier::detail {

/// The first pack among the types, and what comparing it gives.
template <class... Ts> struct first_pack {};
template <class T, class... Ts> struct first_pack<T, Ts...> : first_pack<Ts...> {};
template <class T, class... Ts>
requires is_pack<T>
struct first_pack<T, Ts...> {
    using type = T;
    using mask = mask_of<T>;
};

template <class Result> ESPALIER_FN Result refuse_pack() {
    static_assert(pack_impl::no_type<Result>,
                  "espalier: a function of namespace std takes one number and was called with a pack of them; lines "
                  "around this one name it and the place; write `using espalier::exp;` and exp(x), which takes both: "
                  "core/math.hpp has exp, exp2, expm1, log, log1p, sqrt, tanh, erf, atan, sigmoid and softplus, "
                  "core/pack.hpp abs, copysign, fma, min, max and select");
    return Result{};
}

} // namespace espalier::detail

// By the letter, namespace std takes no declarations from outside. No other place can answer std::exp(x), no program
// that compiles calls these, and any other template of the name is the better match: none has a list of further
// arguments. That also keeps `using std::exp; exp(x)` right, which finds espalier::exp beside this one.
namespace std {

#define ESPALIER_REFUSES_PACKS(name, result)                                                                           \
    template <class T, class... Ts>                                                                                    \
    requires(espalier::is_pack<T> || ... || espalier::is_pack<Ts>) ESPALIER_FN                                         \
        typename espalier::detail::first_pack<T, Ts...>::result                                                        \
        name(T const&, Ts const&...) {                                                                                 \
        return espalier::detail::refuse_pack<typename espalier::detail::first_pack<T, Ts...>::result>();               \
    }

ESPALIER_REFUSES_PACKS(abs, type)
ESPALIER_REFUSES_PACKS(fabs, type)
ESPALIER_REFUSES_PACKS(exp, type)
ESPALIER_REFUSES_PACKS(exp2, type)
ESPALIER_REFUSES_PACKS(expm1, type)
ESPALIER_REFUSES_PACKS(log, type)
ESPALIER_REFUSES_PACKS(log2, type)
ESPALIER_REFUSES_PACKS(log10, type)
ESPALIER_REFUSES_PACKS(log1p, type)
ESPALIER_REFUSES_PACKS(sqrt, type)
ESPALIER_REFUSES_PACKS(cbrt, type)
ESPALIER_REFUSES_PACKS(pow, type)
ESPALIER_REFUSES_PACKS(hypot, type)
ESPALIER_REFUSES_PACKS(sin, type)
ESPALIER_REFUSES_PACKS(cos, type)
ESPALIER_REFUSES_PACKS(tan, type)
ESPALIER_REFUSES_PACKS(atan, type)
ESPALIER_REFUSES_PACKS(sinh, type)
ESPALIER_REFUSES_PACKS(cosh, type)
ESPALIER_REFUSES_PACKS(tanh, type)
ESPALIER_REFUSES_PACKS(asinh, type)
ESPALIER_REFUSES_PACKS(erf, type)
ESPALIER_REFUSES_PACKS(erfc, type)
ESPALIER_REFUSES_PACKS(floor, type)
ESPALIER_REFUSES_PACKS(ceil, type)
ESPALIER_REFUSES_PACKS(trunc, type)
ESPALIER_REFUSES_PACKS(round, type)
ESPALIER_REFUSES_PACKS(fmod, type)
ESPALIER_REFUSES_PACKS(fma, type)
ESPALIER_REFUSES_PACKS(lerp, type)
ESPALIER_REFUSES_PACKS(copysign, type)
ESPALIER_REFUSES_PACKS(fmin, type)
ESPALIER_REFUSES_PACKS(fmax, type)
ESPALIER_REFUSES_PACKS(min, type)
ESPALIER_REFUSES_PACKS(max, type)
ESPALIER_REFUSES_PACKS(clamp, type)
ESPALIER_REFUSES_PACKS(isnan, mask)
ESPALIER_REFUSES_PACKS(isinf, mask)
ESPALIER_REFUSES_PACKS(isfinite, mask)
ESPALIER_REFUSES_PACKS(signbit, mask)

#undef ESPALIER_REFUSES_PACKS

} // namespace std
