// SPDX-License-Identifier: Apache-2.0
// The error bounds stated in core/math.hpp, over all exponents, and agreement of packs with plain numbers.
#include <support/catch.hpp>

#include <espalier/core/math.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

using namespace espalier;

namespace {

/// A simple generator of 64 bits, so that every platform tests the same numbers.
struct sequence_of_bits {
    std::uint64_t state;
    std::uint64_t next() {
        std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double signed_unit() { return static_cast<double>(next()) * 0x1p-63 - 1.0; }
};

/// A quarter each: any bit pattern; around 1 and -1 at all distances; [-8, 8]; the range where exp is finite.
template <class S> S sample(sequence_of_bits& bits) {
    std::uint64_t const kind = bits.next() % 4;
    if (kind == 0) {
        std::uint64_t const b = bits.next();
        if constexpr (sizeof(S) == 4)
            return from_bits(static_cast<std::uint32_t>(b));
        else
            return from_bits(b);
    }
    double const u = bits.signed_unit();
    if (kind == 1) {
        double const near = std::ldexp(u, -static_cast<int>(bits.next() % 60));
        std::uint64_t const around = bits.next() % 3;
        return static_cast<S>(around == 0 ? near : around == 1 ? 1.0 + near : near - 1.0);
    }
    return static_cast<S>(kind == 2 ? 8.0 * u : (sizeof(S) == 4 ? 110.0 : 750.0) * u);
}

/// |got - want| in units of the last place of an S near want.
template <class S> double error_in_ulps(S got, long double want) {
    if (std::isnan(want)) return std::isnan(got) ? 0.0 : 1e9;
    if (std::isnan(got)) return 1e9;
    S const rounded = static_cast<S>(want);
    if (std::isinf(rounded) || std::isinf(got)) return rounded == got ? 0.0 : 1e9;
    int exponent = 0;
    (void)std::frexp(rounded, &exponent);
    int unit = exponent - std::numeric_limits<S>::digits;
    int const smallest = std::numeric_limits<S>::min_exponent - std::numeric_limits<S>::digits;
    if (rounded == 0 || unit < smallest) unit = smallest;
    return static_cast<double>(std::ldexp(std::fabs(static_cast<long double>(got) - want), -unit));
}

template <class S, class F, class G> void sweep(char const* name, double bound, long count, F function, G reference) {
    using P = native_pack<S>;
    sequence_of_bits bits{2024};
    double worst = 0;
    S at = 0;
    long disagreements = 0;
    for (long i = 0; i < count; i += P::width) {
        S in[P::width], out[P::width];
        for (S& x : in)
            x = sample<S>(bits);
        function(P::load(in)).store(out);
        for (int j = 0; j < P::width; ++j) {
            double const e = error_in_ulps(out[j], reference(in[j]));
            if (!(e <= worst)) {
                worst = e;
                at = in[j];
            }
            S const plain = function(in[j]);
            if (to_bits(plain) != to_bits(out[j]) && !(std::isnan(plain) && std::isnan(out[j]))) ++disagreements;
        }
    }
    INFO(name << (sizeof(S) == 4 ? " float" : " double") << ": " << worst << " ulp at " << static_cast<double>(at));
    CHECK(worst <= bound);
    CHECK(disagreements == 0);
}

/// float against the double function of the C library, double against the 80-bit one.
template <class F, class G> void sweep_both(char const* name, double bound, F function, G reference) {
    sweep<float>(name, bound, 1000000, function,
                 [&](float x) { return static_cast<long double>(reference(static_cast<double>(x))); });
    if constexpr (std::numeric_limits<long double>::digits >= 64)
        sweep<double>(name, bound, 200000, function, [&](double x) { return reference(static_cast<long double>(x)); });
}

template <class L> L reference_sigmoid(L x) {
    return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
template <class L> L reference_softplus(L x) {
    if (std::isnan(x)) return x;
    return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
}

template <class T> scalar_of<T> first(T const& x) {
    if constexpr (is_pack<T>)
        return x[0];
    else
        return x;
}

} // namespace

TEST_CASE("elementary functions keep their error bounds", "[core][math]") {
    sweep_both(
        "sqrt", 0.5001, [](auto x) { return espalier::sqrt(x); }, [](auto x) { return std::sqrt(x); });
    sweep_both(
        "exp", 1.5, [](auto x) { return espalier::exp(x); }, [](auto x) { return std::exp(x); });
    sweep_both(
        "exp2", 1.5, [](auto x) { return espalier::exp2(x); }, [](auto x) { return std::exp2(x); });
    sweep_both(
        "expm1", 2.0, [](auto x) { return espalier::expm1(x); }, [](auto x) { return std::expm1(x); });
    sweep_both(
        "log", 1.0, [](auto x) { return espalier::log(x); }, [](auto x) { return std::log(x); });
    sweep_both(
        "log1p", 2.0, [](auto x) { return espalier::log1p(x); }, [](auto x) { return std::log1p(x); });
    sweep_both(
        "tanh", 3.0, [](auto x) { return espalier::tanh(x); }, [](auto x) { return std::tanh(x); });
    sweep_both(
        "erf", 2.0, [](auto x) { return espalier::erf(x); }, [](auto x) { return std::erf(x); });
    sweep_both(
        "atan", 2.0, [](auto x) { return espalier::atan(x); }, [](auto x) { return std::atan(x); });
    sweep_both(
        "sigmoid", 3.0, [](auto x) { return espalier::sigmoid(x); }, [](auto x) { return reference_sigmoid(x); });
    sweep_both(
        "softplus", 3.0, [](auto x) { return espalier::softplus(x); }, [](auto x) { return reference_softplus(x); });
}

TEMPLATE_TEST_CASE("elementary functions at the edges", "[core][math]", float, double, (pack<float, 16>),
                   (pack<double, 8>), (pack<float, 2>)) {
    using T = TestType;
    using S = scalar_of<T>;
    S const infinite = std::numeric_limits<S>::infinity(), nan = std::numeric_limits<S>::quiet_NaN();
    S const tiny = std::numeric_limits<S>::denorm_min(), largest = std::numeric_limits<S>::max();
    S const log_max = std::log(largest);
    auto const of = [](auto f, S x) { return first(f(T(x))); };
    auto const e = [](T x) { return espalier::exp(x); };
    auto const em = [](T x) { return espalier::expm1(x); };
    auto const l = [](T x) { return espalier::log(x); };
    auto const lp = [](T x) { return espalier::log1p(x); };
    auto const th = [](T x) { return espalier::tanh(x); };
    auto const ef = [](T x) { return espalier::erf(x); };
    auto const at = [](T x) { return espalier::atan(x); };
    auto const sg = [](T x) { return espalier::sigmoid(x); };
    auto const sp = [](T x) { return espalier::softplus(x); };
    auto const sq = [](T x) { return espalier::sqrt(x); };

    for (auto const value :
         {of(e, nan), of(em, nan), of(l, nan), of(lp, nan), of(th, nan), of(ef, nan), of(at, nan), of(sg, nan),
          of(sp, nan), of(sq, nan), of(l, S(-1)), of(l, -tiny), of(l, -infinite), of(lp, S(-2)), of(sq, S(-1))})
        CHECK(std::isnan(value));

    CHECK(of(e, infinite) == infinite);
    CHECK(of(e, -infinite) == S(0));
    CHECK(of(e, S(0)) == S(1));
    CHECK(of(e, tiny) == S(1));
    CHECK(std::isfinite(of(e, std::nextafter(log_max, S(0)))));
    CHECK(of(e, log_max + S(1)) == infinite);
    CHECK(of(e, std::log(tiny) - S(2)) == S(0));
    CHECK(of(e, std::log(tiny) + S(1)) > S(0));
    CHECK(of(em, infinite) == infinite);
    CHECK(of(em, -infinite) == S(-1));
    CHECK(of(em, tiny) == tiny);
    CHECK(std::signbit(of(em, -S(0))));
    CHECK(of(l, S(0)) == -infinite);
    CHECK(of(l, -S(0)) == -infinite);
    CHECK(of(l, infinite) == infinite);
    CHECK(of(l, S(1)) == S(0));
    CHECK(of(l, tiny) == std::log(tiny));
    CHECK(of(lp, S(-1)) == -infinite);
    CHECK(of(lp, infinite) == infinite);
    CHECK(of(lp, tiny) == tiny);
    CHECK(std::signbit(of(lp, -S(0))));
    CHECK(of(th, infinite) == S(1));
    CHECK(of(th, -infinite) == S(-1));
    CHECK(of(th, -tiny) == -tiny);
    CHECK(std::signbit(of(th, -S(0))));
    CHECK(of(ef, infinite) == S(1));
    CHECK(of(ef, -infinite) == S(-1));
    CHECK(std::signbit(of(ef, -S(0))));
    CHECK(of(at, infinite) == std::atan(infinite));
    CHECK(of(at, -infinite) == -std::atan(infinite));
    CHECK(of(at, -tiny) == -tiny);
    CHECK(std::signbit(of(at, -S(0))));
    CHECK(of(sg, infinite) == S(1));
    CHECK(of(sg, -infinite) == S(0));
    CHECK(of(sg, S(0)) == S(0.5));
    CHECK(of(sg, std::log(tiny) + S(1)) > S(0)); // the far tail is e^x, not 0
    CHECK(of(sp, infinite) == infinite);
    CHECK(of(sp, -infinite) == S(0));
    CHECK(of(sp, std::log(tiny) + S(1)) > S(0));
    CHECK(of(sq, -S(0)) == S(0));
    CHECK(of(sq, S(16)) == S(4));
}

TEST_CASE("tanh, erf and atan are odd, and no rounding error leaves the range of a function", "[core][math]") {
    bool odd = true, inside = true;
    for (int i = -20000; i <= 20000; ++i) {
        float const x = static_cast<float>(i) * 0x1p-10f;
        float const t = espalier::tanh(x), e = espalier::erf(x), s = espalier::sigmoid(x);
        odd = odd && t == -espalier::tanh(-x) && e == -espalier::erf(-x) && espalier::atan(x) == -espalier::atan(-x);
        inside = inside && std::fabs(t) <= 1 && std::fabs(e) <= 1 && s > 0 && s <= 1 &&
                 std::fabs(espalier::atan(x)) <= std::atan(std::numeric_limits<float>::infinity());
    }
    CHECK(odd);
    CHECK(inside);
}
