// SPDX-License-Identifier: Apache-2.0
// Elementary functions for float, double and packs of them, with stated error bounds. On the host one algorithm serves
// plain numbers and packs of every width, so a scalar tail agrees with the packs before it; on the device they are
// CUDA's own functions.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/std_functions.hpp>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace espalier {

// Largest error in units in the last place (of the correctly rounded result) on the host, over the whole range,
// denormal arguments and results included, round-to-nearest. Every bound is tested. The bounds need neither fused
// multiply-add nor AVX-512; -fno-math-errno and -fno-trapping-math are harmless, -ffast-math is not supported.
//
//   function   float  double
//   sqrt       0.5    0.5
//   exp        1.5    1.5
//   exp2       1.5    1.5
//   expm1      2      2
//   log        1      1
//   log1p      2      2
//   tanh       3      3
//   erf        2      2
//   atan       2      2
//   sigmoid    3      3
//   softplus   3      3
//
// Infinities, zeros (with their sign) and NaN give what the C library's functions give; errno is never set. Device
// bounds are those of the CUDA C++ Programming Guide, "Mathematical Functions", for the functions without `fast`.

namespace detail {

template <class T> inline constexpr bool is_single = std::is_same_v<scalar_of<T>, float>;

/// c[0] x^(n-1) + ... + c[n-1]
template <class T, class First, class... Rest> ESPALIER_FN T horner(T const& x, First first, Rest... rest) {
    T r(first);
    ((r = fma(r, x, T(rest))), ...);
    return r;
}

/// x = n ln 2 + r with |r| <= ln 2 / 2: n as the low bits of `shifted` (biased by those of 1.5 2^23 or 1.5 2^52), and
/// e^r - 1.
template <class T> struct exp_split {
    T shifted;
    T expm1_r;
};

template <class T> inline constexpr scalar_of<T> shifter = is_single<T> ? 0x1.8p23 : 0x1.8p52;

/// e^r - 1 for |r| <= ln 2 / 2.
template <class T> ESPALIER_FN T expm1_reduced(T const& r) {
    // minimax polynomials for (e^r - 1 - r) / r^2, own fit
    if constexpr (is_single<T>) {
        T const q =
            horner(r, 0.0001991851846f, 0.001394618218f, 0.008333264095f, 0.04166626842f, 0.1666666686f, 0.5000000078f);
        return fma(r * r, q, r);
    } else {
        T const q =
            horner(r, 2.092696173922760444e-9, 2.511234807223425409e-8, 2.755723328324750087e-7,
                   2.755723393176562122e-6, 0.00002480158737384445928, 0.0001984126989735797031,
                   0.001388888888885839582, 0.008333333333316620796, 0.0416666666666667245, 0.16666666666666684, 0.5);
        return fma(r * r, q, r);
    }
}

template <class T> ESPALIER_FN exp_split<T> split_exp(T const& x) {
    using S = scalar_of<T>;
    constexpr S log2_e = static_cast<S>(1.442695040888963407);
    // n times the upper part is exact
    constexpr S ln2_upper = is_single<T> ? static_cast<S>(0.693359375) : static_cast<S>(6.93147180369123816490e-01);
    constexpr S ln2_lower =
        is_single<T> ? static_cast<S>(-2.12194440054690583e-4) : static_cast<S>(1.90821492927058770002e-10);
    T const shifted = fma(x, T(log2_e), T(shifter<T>));
    T const n = shifted - T(shifter<T>);
    T r = fma(n, T(-ln2_upper), x);
    r = fma(n, T(-ln2_lower), r);
    return {shifted, expm1_reduced(r)};
}

/// y 2^n where y is in [0.5, 2) and n the integer in `shifted`: two exact powers, one rounding, so that overflow and
/// denormal results come out right. |n| < 2 * (exponent bias).
template <class T> ESPALIER_FN T scale_any(T const& y, T const& shifted) {
    using S = scalar_of<T>;
    using U = decltype(to_bits(S()));
    constexpr int fraction = is_single<T> ? 23 : 52;
    constexpr U bias = is_single<T> ? 127 : 1023;
    constexpr U twice = 2 * (bias + 1); // keeps n positive while it is halved
    constexpr U zero = is_single<T> ? U(0x4b400000) : U(0x4338000000000000);
    auto const n = to_bits(shifted) - U(zero - twice);
    auto const half = n >> 1;
    T const first = from_bits((half - U(1)) << fraction);
    T const second = from_bits((n - half - U(1)) << fraction);
    return (y * first) * second;
}

/// 2^(n + Offset) for results in the normal range.
template <int Offset, class T> ESPALIER_FN T power_of_two(T const& shifted) {
    using U = decltype(to_bits(scalar_of<T>()));
    constexpr int fraction = is_single<T> ? 23 : 52;
    constexpr U bias = static_cast<U>((is_single<T> ? 127 : 1023) + Offset);
    return from_bits((to_bits(shifted) + bias) << fraction);
}

/// e^x - 1 without range checks.
template <class T> ESPALIER_FN T expm1_inside(T const& x) {
    using S = scalar_of<T>;
    exp_split<T> const s = split_exp(x);
    T const half_power = power_of_two<-1>(s.shifted); // half of 2^n: 2^128 is no float
    T const y = fma(half_power, s.expm1_r, half_power - T(S(0.5)));
    return y + y;
}

/// Logarithm of a positive, finite number.
template <class T> ESPALIER_FN T log_inside(T const& x) {
    using S = scalar_of<T>;
    using U = decltype(to_bits(S()));
    constexpr bool single = is_single<T>;
    constexpr int fraction = single ? 23 : 52;
    constexpr U one = single ? U(0x3f800000) : U(0x3ff0000000000000);
    constexpr U root_half = single ? U(0x3f3504f3) : U(0x3fe6a09e667f3bcd);
    constexpr U fraction_bits = (U(1) << fraction) - 1;
    constexpr U integer = single ? U(0x4b000000) : U(0x4330000000000000); // 2^23, 2^52
    constexpr S integer_zero = single ? S(8388608.0 + 127.0) : S(4503599627370496.0 + 1023.0);
    constexpr S smallest_normal = single ? S(0x1p-126) : S(0x1p-1022);
    constexpr S lift = single ? S(0x1p23) : S(0x1p52);

    auto const denormal = x < T(smallest_normal);
    T const lifted = select(denormal, x * T(lift), x);
    // x = m 2^e with m in [sqrt(1/2), sqrt(2))
    auto const t = to_bits(lifted) + U(one - root_half);
    T const m = from_bits((t & fraction_bits) + root_half);
    T const zero = select(denormal, T(integer_zero + S(fraction)), T(integer_zero));
    T const e = from_bits((t >> fraction) | integer) - zero;
    T const f = m - T(S(1));
    if constexpr (single) {
        // minimax polynomial for (log(1 + f) - f + f^2 / 2) / f^3, own fit
        T const square = f * f;
        T y = horner(f, -0.07858488812f, 0.1288225429f, -0.1312938854f, 0.1418114069f, -0.1662449156f, 0.2000228713f,
                     -0.2500081196f, 0.3333331672f);
        y = keep_product(y * f * square);
        y = fma(e, T(-2.12194440054690583e-4f), y);
        y = fma(square, T(-0.5f), y);
        return fma(e, T(0.693359375f), f + y);
    } else {
        // log(1 + f) = 2 s + s^3 p(s^2), s = f / (2 + f), arranged so that s needs no extra bits (Tang 1990, fdlibm)
        T const s = f / (T(2.0) + f);
        T const z = s * s;
        T const p = horner(z, 0.1325172024962955225, 0.132500817323506075, 0.1538709204014080492, 0.181817756446262952,
                           0.2222222264694297935, 0.2857142856908571378, 0.4000000000000624485, 0.6666666666666666098);
        T const half_square = keep_product(T(0.5) * f * f);
        T const tail = fma(s, fma(z, p, half_square), keep_product(e * T(1.90821492927058770002e-10)));
        return fma(e, T(6.93147180369123816490e-01), f - (half_square - tail));
    }
}

template <class S> inline constexpr S infinity = static_cast<S>(__builtin_inf());
template <class S> inline constexpr S not_a_number = static_cast<S>(__builtin_nan(""));

#if ESPALIER_PACK_BYTES != 0
/// Square roots of a register.
template <class S, class Chunk> ESPALIER_FN Chunk chunk_sqrt(Chunk const& x) {
#if defined(__clang__)
    // Whatever the target and -fmath-errno; Clang gives up its built-in functions of x86 one by one.
    return __builtin_elementwise_sqrt(x);
#else
    constexpr bool single = std::is_same_v<S, float>;
#if defined(__AVX512F__)
    // One instruction, not two of half the width: followed by a division (Adam), two keep the divider busy for 1.6
    // times as long on Zen 4.
    if constexpr (sizeof(Chunk) == 64) {
        if constexpr (single)
            return __builtin_ia32_sqrtps512_mask(x, x, -1, 4);
        else
            return __builtin_ia32_sqrtpd512_mask(x, x, -1, 4);
    } else
#endif
#if defined(__AVX__)
        if constexpr (sizeof(Chunk) == 32) {
        if constexpr (single)
            return __builtin_ia32_sqrtps256(x);
        else
            return __builtin_ia32_sqrtpd256(x);
    } else
#endif
#if defined(__SSE2__)
        if constexpr (sizeof(Chunk) == 16) {
        if constexpr (single)
            return __builtin_ia32_sqrtps(x);
        else
            return __builtin_ia32_sqrtpd(x);
    } else
#endif
    {
        Chunk r = x;
        for (int i = 0; i < int(sizeof(Chunk) / sizeof(S)); ++i)
            if constexpr (single)
                r[i] = __builtin_sqrtf(x[i]);
            else
                r[i] = __builtin_sqrt(x[i]);
        return r;
    }
#endif
}
#endif

} // namespace detail

// Device code calls CUDA's function; packs never get there, but nvcc's device pass reads the host code that uses them.
#if ESPALIER_ON_DEVICE
#define ESPALIER_DEVICE_MATH(name, x)                                                                                  \
    if constexpr (std::is_same_v<T, float>)                                                                            \
        return ::name##f(x);                                                                                           \
    else if constexpr (std::is_same_v<T, double>)                                                                      \
        return ::name(x);                                                                                              \
    else
#else
#define ESPALIER_DEVICE_MATH(name, x)
#endif

/// Square root, correctly rounded.
template <real T> ESPALIER_FN T sqrt(T const& x) {
    ESPALIER_DEVICE_MATH(sqrt, x) {
        if constexpr (std::is_same_v<T, float>)
            return __builtin_sqrtf(x);
        else if constexpr (std::is_same_v<T, double>)
            return __builtin_sqrt(x);
        else {
            T r;
#if ESPALIER_PACK_BYTES == 0
            for (int i = 0; i < T::chunks; ++i)
                r.v[i] = sqrt(x.v[i]);
#else
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < T::chunks; ++i)
                r.v[i] = detail::chunk_sqrt<scalar_of<T>>(x.v[i]);
#endif
            return r;
        }
    }
}

/// e^x
template <real T> ESPALIER_FN T exp(T const& x) {
    ESPALIER_DEVICE_MATH(exp, x) {
        using S = scalar_of<T>;
        // beyond these the result is infinity or 0 anyway; min and max in this order keep NaN
        constexpr S upper = detail::is_single<T> ? S(89) : S(710);
        constexpr S lower = detail::is_single<T> ? S(-104) : S(-746);
        detail::exp_split<T> const s = detail::split_exp<T>(max(T(lower), min(T(upper), x)));
        return detail::scale_any<T>(T(S(1)) + s.expm1_r, s.shifted);
    }
}

/// 2^x
template <real T> ESPALIER_FN T exp2(T const& x) {
    ESPALIER_DEVICE_MATH(exp2, x) {
        using S = scalar_of<T>;
        constexpr S upper = detail::is_single<T> ? S(129) : S(1025);
        constexpr S lower = detail::is_single<T> ? S(-151) : S(-1076);
        T const inside = max(T(lower), min(T(upper), x));
        T const shifted = inside + T(detail::shifter<T>);
        T const r = (inside - (shifted - T(detail::shifter<T>))) * T(static_cast<S>(0.6931471805599453094));
        return detail::scale_any<T>(T(S(1)) + detail::expm1_reduced<T>(r), shifted);
    }
}

/// e^x - 1 without cancellation near 0.
template <real T> ESPALIER_FN T expm1(T const& x) {
    ESPALIER_DEVICE_MATH(expm1, x) {
        using S = scalar_of<T>;
        constexpr S upper = detail::is_single<T> ? S(89) : S(710);
        constexpr S lower = detail::is_single<T> ? S(-20) : S(-40);
        T const y = detail::expm1_inside<T>(max(T(lower), min(T(upper), x)));
        return select(abs(x) < T(S(0x1p-60)), x, y); // -0 and denormal numbers
    }
}

/// Natural logarithm.
template <real T> ESPALIER_FN T log(T const& x) {
    ESPALIER_DEVICE_MATH(log, x) {
        using S = scalar_of<T>;
        T const zero(S(0)), infinite(detail::infinity<S>);
        T const outside = select(x == zero, -infinite, T(detail::not_a_number<S>));
        return select(x > zero, select(x < infinite, detail::log_inside<T>(x), x), outside);
    }
}

/// log(1 + x) without cancellation near 0.
template <real T> ESPALIER_FN T log1p(T const& x) {
    ESPALIER_DEVICE_MATH(log1p, x) {
        using S = scalar_of<T>;
        T const one(S(1));
        T const u = one + x;
        // u is off by c because it was rounded: log(u + c) = log u + c / u to first order
        T const c = select(x >= one, one - (u - x), x - (u - one));
        T const y = log(u);
        T const corrected = select((x > -one) & (x < T(detail::infinity<S>)), y + c / u, y);
        return select(abs(x) < T(S(0x1p-60)), x, corrected); // -0 and denormal numbers
    }
}

/// Hyperbolic tangent, as (e^(2|x|) - 1) / (e^(2|x|) + 1) with the sign of x.
template <real T> ESPALIER_FN T tanh(T const& x) {
    ESPALIER_DEVICE_MATH(tanh, x) {
        using S = scalar_of<T>;
        constexpr S upper = detail::is_single<T> ? S(10) : S(20); // 1 from here on
        T const a = min(T(upper), abs(x));
        T const e = detail::expm1_inside<T>(a + a);
        return copysign<T>(e / (e + T(S(2))), x);
    }
}

/// Error function.
template <real T> ESPALIER_FN T erf(T const& x) {
    ESPALIER_DEVICE_MATH(erf, x) {
        using S = scalar_of<T>;
        // Below 1 a polynomial for erf(a) / a - 1 in a^2; above it 1 - exp(-g(a)) with one for g = -log(erfc(a)): the
        // relative error of erfc shrinks with erfc itself. Minimax polynomials, own fit.
        T const one(S(1));
        T const a = abs(x);
        T const z = a * a;
        if constexpr (detail::is_single<T>) {
            T const t = min(T(3.95f), a);
            T const near = detail::horner(z, 7.885847601e-5f, -0.0008019947833f, 0.005189444868f, -0.02685440298f,
                                          0.1128359933f, -0.3761262707f, 0.1283791659f);
            T const g = detail::horner(t, 2.169719667e-5f, -0.0004414677586f, 0.004205260661f, -0.02521027513f,
                                       0.1084219976f, 0.6332164916f, 1.129580264f, -0.0001884576068f);
            detail::exp_split<T> const s = detail::split_exp<T>(-g);
            T const power = detail::power_of_two<0, T>(s.shifted);
            T const far = one - fma(power, s.expm1_r, power);
            return copysign<T>(select(a < one, fma(a, near, a), far), x);
        } else {
            T const t = min(T(5.95), a);
            T const near = detail::horner(z, 5.957986180417568472e-11, -1.137340406781456624e-9,
                                          1.465993923262416298e-8, -1.635034018056731284e-7, 1.646100337628850416e-6,
                                          -0.00001492559546626204777, 0.0001205533112075424752,
                                          -0.000854832698110624159, 0.005223977624823153405, -0.0268661706450773627,
                                          0.1128379167095488191, -0.3761263890318374813, 0.1283791670955125738);
            T const g = detail::horner(
                t, -2.253193754943728352e-14, 1.247412417523774798e-12, -3.269654803486602364e-11,
                5.397611280875226018e-10, -6.294800238816825914e-9, 5.51017340801310486e-8, -3.750324928442088283e-7,
                2.024379710098726918e-6, -8.727272605681076774e-6, 0.00002978958434219921132,
                -0.00007747319624307680553, 0.0001346969485913323988, -0.00005862135942440623138,
                -0.000506978030389861791, 0.001629864514678891949, -0.0001669179432140808727, -0.01914945502319799501,
                0.1027804443827427047, 0.636617705717722189, 1.128379509827454465, -2.687964898811603508e-8);
            detail::exp_split<T> const s = detail::split_exp<T>(-g);
            T const power = detail::power_of_two<0, T>(s.shifted);
            T const far = one - fma(power, s.expm1_r, power);
            return copysign<T>(select(a < one, fma(a, near, a), far), x);
        }
    }
}

/// Arc tangent. With t = a for a = |x| <= tan(pi / 8), (a - 1) / (a + 1) up to tan(3 pi / 8) and -1 / a beyond it is
/// 0, pi / 4 or pi / 2 plus atan(t), for |t| <= tan(pi / 8).
template <real T> ESPALIER_FN T atan(T const& x) {
    ESPALIER_DEVICE_MATH(atan, x) {
        using S = scalar_of<T>;
        constexpr bool single = detail::is_single<T>;
        constexpr S quarter = static_cast<S>(0.785398163397448309616);
        // what is missing of pi / 4 in S
        constexpr S rest = single ? S(-2.18556941e-8) : S(3.06161699786838302e-17);
        T const one(S(1)), zero(S(0));
        T const a = abs(x);
        auto const middle = a > T(static_cast<S>(0.414213562373095049));
        auto const far = a > T(static_cast<S>(2.414213562373095049));
        T const t = select(far, -one, select(middle, a - one, a)) / select(far, a, select(middle, a + one, one));
        T const z = t * t;
        // minimax polynomials for (atan(t) / t - 1) / t^2, own fit
        T p;
        if constexpr (single)
            p = detail::horner(z, -0.06083222544f, 0.1059591487f, -0.1424383765f, 0.1999848889f, -0.333333155f);
        else
            p = detail::horner(z, -0.01792078159218502674, 0.03807698107703925943, -0.05039793935811672951,
                               0.05847997745376913971, -0.066631188893906817, 0.07692061509526383941,
                               -0.09090897829515438804, 0.1111111078590594977, -0.1428571428024408092,
                               0.1999999999995404055, -0.3333333333333319898);
        T const upper = select(far, T(quarter + quarter), select(middle, T(quarter), zero));
        T const lower = select(far, T(rest + rest), select(middle, T(rest), zero));
        return copysign<T>(upper + (t + fma(t * z, p, lower)), x);
    }
}

/// 1 / (1 + e^-x), accurate in both tails: with e = e^-|x| it is 1 / (1 + e) or e / (1 + e).
template <real T> ESPALIER_FN T sigmoid(T const& x) {
    using S = scalar_of<T>;
    T const one(S(1));
    T const e = exp(T(-abs(x)));
    return select(x < T(S(0)), e, one) / (one + e);
}

/// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
template <real T> ESPALIER_FN T softplus(T const& x) {
    using S = scalar_of<T>;
    return max(T(S(0)), x) + log1p(exp(T(-abs(x))));
}

#undef ESPALIER_DEVICE_MATH

} // namespace espalier
