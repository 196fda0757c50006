// SPDX-License-Identifier: Apache-2.0
// DSelect-k: a differentiable sparse gate of binary codes.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/initial.hpp>
#include <espalier/gate/smooth_step.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

namespace detail {
/// Bits of the codes of n experts.
consteval int code_bits(int n) {
    int bits = 0;
    while ((1 << bits) < n)
        ++bits;
    return bits;
}
} // namespace detail

/// Numbers and row function of `dselect_k`. `Apart`: the selectors' weights stay side by side, [K][Experts], instead of
/// being added up: a search may then move the experts of each selector on its own.
template <int Experts, int K, bool Apart = false> struct dselect_k_op {
    double width;     ///< of the smooth-step
    double entropy;   ///< coefficient of the selectors' entropy
    double reachable; ///< coefficient of what keeps mass on codes that are experts

    static constexpr int bits = detail::code_bits(Experts);
    static constexpr int codes = 1 << bits;
    static constexpr int logits = K * bits + K;
    static constexpr int slots = Apart ? K * Experts : Experts;
    static constexpr bool whole_row = true;
    static constexpr bool has_term = true;
    static constexpr double floor = 1e-6; ///< in the entropy, and added to the mass on experts

    /// The same op with its weights side by side.
    using apart = dselect_k_op<Experts, K, true>;
    apart taken_apart() const { return apart{width, entropy, reachable}; }

    template <class Group, class T>
    ESPALIER_FN T route(Group const&, row<Group, T, logits> const& z, row<Group, T, slots>& weights) const {
        static_assert(row<Group, T, logits>::lanes == 1, "espalier: a DSelect-k row is worked on by one lane");
        using S = scalar_of<T>;
        T alpha[K], sum_entropy(S(0)), sum_reach(S(0));
        mixing(z, alpha);
        ESPALIER_ROW_UNROLL
        for (int l = 0; l < slots; ++l)
            weights.v[l] = T(S(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            T s[bits], r[codes], mass(S(0));
            bits_of(z, i, s);
            select_codes(s, r);
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < Experts; ++l) {
                weights.v[slot(i, l)] = fma(alpha[i], r[l], weights.v[slot(i, l)]);
                sum_entropy -= r[l] * log(r[l] + T(S(floor)));
                mass += r[l];
            }
            if constexpr (codes != Experts) sum_reach += T(S(1)) / (mass + T(S(floor)));
        }
        return sum_entropy * T(static_cast<S>(entropy)) + sum_reach * T(static_cast<S>(reachable));
    }

    template <class Group, class T>
    ESPALIER_FN void backward(Group const&, row<Group, T, logits> const& z, row<Group, T, slots> const&,
                              row<Group, T, slots> const& dweights, T const& term_scale,
                              row<Group, T, logits>& dz) const {
        using S = scalar_of<T>;
        T const of_entropy = T(static_cast<S>(entropy)) * term_scale;
        T const of_reach = T(static_cast<S>(reachable)) * term_scale;
        smooth_step<T> const step(width);
        T alpha[K], value[K], mean(S(0));
        mixing(z, alpha);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            T s[bits], r[codes], d[codes], mass(S(0)), inner(S(0));
            bits_of(z, i, s);
            select_codes(s, r);
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < Experts; ++l) {
                mass += r[l];
                inner = fma(r[l], dweights.v[slot(i, l)], inner);
            }
            value[i] = inner;
            mean = fma(alpha[i], inner, mean);
            T const inverse = T(S(1)) / (mass + T(S(floor)));
            T const pull = codes != Experts ? of_reach * inverse * inverse : T(S(0));
            ESPALIER_ROW_UNROLL
            for (int l = 0; l < codes; ++l) {
                if (l >= Experts) {
                    d[l] = T(S(0));
                    continue;
                }
                T const floored = r[l] + T(S(floor));
                d[l] = alpha[i] * dweights.v[slot(i, l)] - of_entropy * (log(floored) + r[l] / floored) - pull;
            }
            // Up the tree of codes: all prefixes of one length share a bit.
            ESPALIER_ROW_UNROLL
            for (int m = bits - 1; m >= 0; --m) {
                T prefix[codes], ds(S(0));
                select_codes(s, prefix, m);
                ESPALIER_ROW_UNROLL
                for (int c = 0; c < prefixes(m); ++c)
                    if (c < (1 << m)) {
                        T const difference = d[2 * c + 1] - d[2 * c];
                        ds = fma(prefix[c], difference, ds);
                        d[c] = fma(s[m], difference, d[2 * c]);
                    }
                dz.v[i * bits + m] = ds * step.slope(z.v[i * bits + m]);
            }
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i)
            dz.v[K * bits + i] = alpha[i] * (value[i] - mean);
    }

private:
    /// At least as many as m bits have. On a GPU of constant length: nvcc unrolls no other loop inside one that it
    /// unrolls, and arrays leave the registers.
    static constexpr ESPALIER_FN int prefixes(int m) { return ESPALIER_ON_DEVICE ? codes / 2 : 1 << m; }
    static constexpr ESPALIER_FN int slot(int i, int l) { return Apart ? i * Experts + l : l; }
    /// softmax over the selectors
    template <class Group, class T> static ESPALIER_FN void mixing(row<Group, T, logits> const& z, T (&alpha)[K]) {
        T top = z.v[K * bits];
        ESPALIER_ROW_UNROLL
        for (int i = 1; i < K; ++i)
            top = max(z.v[K * bits + i], top);
        T total(scalar_of<T>(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            alpha[i] = exp(z.v[K * bits + i] - top);
            total += alpha[i];
        }
        T const share = T(scalar_of<T>(1)) / total;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i)
            alpha[i] *= share;
    }
    template <class Group, class T>
    ESPALIER_FN void bits_of(row<Group, T, logits> const& z, int i, T (&s)[bits]) const {
        smooth_step<T> const step(width);
        ESPALIER_ROW_UNROLL
        for (int m = 0; m < bits; ++m)
            s[m] = step.value(z.v[i * bits + m]);
    }
    /// r_c = product over the first `count` bits of s_m where bit m of c (the most significant first) is 1, 1 - s_m
    /// where it is 0. Doubles a list of prefixes: 2^count multiplications.
    template <class T> static ESPALIER_FN void select_codes(T const (&s)[bits], T (&r)[codes], int count = bits) {
        T const one(scalar_of<T>(1));
        r[0] = one;
        ESPALIER_ROW_UNROLL
        for (int m = 0; m < bits; ++m) {
            ESPALIER_ROW_UNROLL
            for (int c = prefixes(m) - 1; c >= 0; --c)
                if (m < count && c < (1 << m)) {
                    r[2 * c + 1] = r[c] * s[m];
                    r[2 * c] = r[c] * (one - s[m]);
                }
        }
    }
};

/// K selectors, each a binary code of ceil(log2 Experts) smooth bits, mixed by a softmax (Hazimeh et al. 2021,
/// "DSelect-k", section 3). With S the cubic smooth-step of width Width:
///     s_im = S(z_im)
///     r_il = product over the bits m of expert l, most significant first, of s_im where it is 1 and 1 - s_im where 0
///     alpha = softmax over i of omega_i
///     g_l  = sum_i alpha_i r_il
/// When the bits saturate at most K weights are not 0. g is not scaled to 1: mass on codes that are no expert (a number
/// of experts that is not a power of two) is missing. The term, a mean over rows, is
///     Entropy sum_il -r_il log(r_il + 1e-6) + Reachable sum_i 1 / (1e-6 + sum_l r_il)
/// the second part only where such codes exist.
///
/// Logits: K x bits, then K mixing logits, one product. Entropy, Reachable: numbers or schedules, at least 0. The first
/// values are in +-Width / 100 for bits and +-0.05 for mixing. Costs O(K Experts) a row.
template <int Experts, int K, schedule::number_or_schedule auto Entropy = 0.1, double Width = 1.0,
          schedule::number_or_schedule auto Reachable = 1.0>
struct dselect_k {
    static_assert(
        diagnostic::holds<(Experts >= 2), diagnostic::given<Experts>>,
        "espalier: gate::dselect_k<experts, k> needs at least 2 experts; the next line names the number given");
    static_assert(diagnostic::holds<(K >= 1 && K <= Experts), diagnostic::given<K>, diagnostic::needed<Experts>>,
                  "espalier: gate::dselect_k<experts, k> needs 1 <= k <= experts; the next lines name the k given and "
                  "the number of experts; choose a smaller k or more experts");
    static_assert(
        diagnostic::holds<schedule::stays_within(Entropy, schedule::not_negative), diagnostic::given<Entropy>>,
        "espalier: the entropy coefficient of gate::dselect_k must be finite and not negative");
    static_assert(
        diagnostic::holds<schedule::stays_within(Reachable, schedule::not_negative), diagnostic::given<Reachable>>,
        "espalier: the coefficient of gate::dselect_k for reachable codes must be finite and not negative");
    static_assert(diagnostic::holds<(Width > 0.0 && schedule::finite(Width)), diagnostic::given<Width>>,
                  "espalier: the width of gate::dselect_k must be finite and above 0");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "dselect_k";
    static constexpr int experts = Experts;
    static constexpr int slots = Experts;
    static constexpr int logits = dselect_k_op<Experts, K>::logits;
    static constexpr bool slot_is_expert = true;

    using op = dselect_k_op<Experts, K>;
    static op at(clock const& now) {
        return op{Width, schedule::value_within(Entropy, now, schedule::not_negative, "gate", name, "entropy"),
                  schedule::value_within(Reachable, now, schedule::not_negative, "gate", name, "reachable")};
    }

    /// Bound of the first values of column c.
    static constexpr double first_values(int c) { return c < K * op::bits ? Width / 100.0 : 0.05; }
    using initial = uniform_by_column<dselect_k>;
};

} // namespace espalier::gate
