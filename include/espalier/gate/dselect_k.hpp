// SPDX-License-Identifier: Apache-2.0
// DSelect-k: a differentiable sparse gate of binary codes.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/initial.hpp>
#include <espalier/gate/smooth_step.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <cstddef>
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
    static constexpr auto numbers = fields<&dselect_k_op::width, &dselect_k_op::entropy, &dselect_k_op::reachable>;

    static constexpr int bits = detail::code_bits(Experts);
    static constexpr int codes = 1 << bits;
    static constexpr int logits = K * bits + K;
    static constexpr int slots = Apart ? K * Experts : Experts;
    static constexpr bool has_term = true;
    /// The logits, and of one selector the probabilities of all prefixes of codes and the derivatives by them. A prefix
    /// has the number of its bits with a 1 in front of them: 1 the empty one, codes ... 2 codes - 1 the codes.
    static constexpr int row_space = logits + 4 * codes;
    static constexpr double floor = 1e-6; ///< in the entropy, and added to the mass on experts

    /// The same op with its weights side by side.
    using apart = dselect_k_op<Experts, K, true>;
    apart taken_apart() const { return apart{width, entropy, reachable}; }

    template <class Group, class T, class About>
    ESPALIER_FN T route(Group const& group, row<Group, T, logits> const& z, row<Group, T, slots>& weights,
                        About const& about) const {
        using S = scalar_of<T>;
        T* const space = about.space;
        using experts = row_part<Group, Experts>;
        T *const bit = space, *const prefix = bit + logits;
        T alpha[std::size_t{K}], sum_entropy(S(0)), sum_reach(S(0));
        open(group, z, bit, alpha);
        if constexpr (!Apart) {
            ESPALIER_ROW_UNROLL
            for (int e = 0; e < weights.local; ++e)
                weights.v[e] = T(S(0));
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            reach(group, bit + i * bits, prefix);
            T mass(S(0));
            ESPALIER_ROW_UNROLL
            for (int e = 0; e < experts::local; ++e) {
                if (!experts::exists(group, e)) continue;
                T const r = prefix[codes + experts::number(group, e)];
                if constexpr (!Apart) weights.v[e] = fma(alpha[i], r, weights.v[e]);
                sum_entropy -= r * log(r + T(S(floor)));
                mass += r;
            }
            if constexpr (codes != Experts) sum_reach += T(S(1)) / (group.reduce_add(mass) + T(S(floor)));
            if constexpr (Apart)
                read_columns(group, i * Experts, Experts, prefix + codes, weights,
                             [&](int, int, T const& r) { return alpha[i] * r; });
            group.sync();
        }
        return group.reduce_add(sum_entropy) * T(static_cast<S>(entropy)) + sum_reach * T(static_cast<S>(reachable));
    }

    template <class Group, class T, class About>
    ESPALIER_FN void backward(Group const& group, row<Group, T, logits> const& z, row<Group, T, slots> const&,
                              row<Group, T, slots> const& dweights, T const& term_scale, row<Group, T, logits>& dz,
                              About const& about) const {
        using S = scalar_of<T>;
        T* const space = about.space;
        using experts = row_part<Group, Experts>;
        int const rank = static_cast<int>(group.thread_rank()), lanes = static_cast<int>(Group::lanes);
        T *const bit = space, *const prefix = bit + logits, *const below = prefix + 2 * codes;
        T const of_entropy = T(static_cast<S>(entropy)) * term_scale;
        T const of_reach = T(static_cast<S>(reachable)) * term_scale;
        T alpha[std::size_t{K}], value[std::size_t{K}], mean(S(0));
        open(group, z, bit, alpha);
        for (int c = Experts + rank; c < codes; c += lanes)
            below[codes + c] = T(S(0)); // codes that are no expert
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            T* const s = bit + i * bits;
            reach(group, s, prefix);
            row<Group, T, Experts> gradient;
            if constexpr (Apart) {
                write_columns(group, dweights, i * Experts, Experts, below + codes);
                group.sync();
            }
            T mass(S(0)), inner(S(0));
            ESPALIER_ROW_UNROLL
            for (int e = 0; e < experts::local; ++e) {
                if (!experts::exists(group, e)) continue;
                int const l = experts::number(group, e);
                if constexpr (Apart)
                    gradient.v[e] = below[codes + l];
                else
                    gradient.v[e] = dweights.v[e];
                mass += prefix[codes + l];
                inner = fma(prefix[codes + l], gradient.v[e], inner);
            }
            value[i] = group.reduce_add(inner);
            mean = fma(alpha[i], value[i], mean);
            T pull(S(0));
            if constexpr (codes != Experts) {
                T const inverse = T(S(1)) / (group.reduce_add(mass) + T(S(floor)));
                pull = of_reach * inverse * inverse;
            }
            ESPALIER_ROW_UNROLL
            for (int e = 0; e < experts::local; ++e) {
                if (!experts::exists(group, e)) continue;
                int const l = experts::number(group, e);
                T const r = prefix[codes + l], floored = r + T(S(floor));
                below[codes + l] = alpha[i] * gradient.v[e] - of_entropy * (log(floored) + r / floored) - pull;
            }
            group.sync();
            // Up the tree of codes: all prefixes of one length share a bit.
            for (int m = bits - 1; m >= 0; --m) {
                T ds(S(0));
                T const share = s[m];
                for (int c = (1 << m) + rank; c < 2 << m; c += lanes) {
                    T const difference = below[2 * c + 1] - below[2 * c];
                    ds = fma(prefix[c], difference, ds);
                    below[c] = fma(share, difference, below[2 * c]);
                }
                ds = group.reduce_add(ds);
                group.sync();
                if (rank == 0) s[m] = ds;
            }
        }
        if (rank == 0) {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < K; ++i)
                bit[K * bits + i] = alpha[i] * (value[i] - mean);
        }
        group.sync();
        smooth_step<T> const step(width);
        read_columns(group, 0, logits, bit, dz,
                     [&](int c, int i, T const& d) { return c < K * bits ? d * step.slope(z.v[i]) : d; });
        group.sync();
    }

private:
    /// Leaves in `bit` the bits, smoothed, and what the selectors are mixed by, and in `alpha` its softmax.
    template <class Group, class T>
    ESPALIER_FN void open(Group const& group, row<Group, T, logits> const& z, T* bit,
                          T (&alpha)[std::size_t{K}]) const {
        smooth_step<T> const step(width);
        write_columns(group, z, 0, logits, bit, [&](int c, T const& x) { return c < K * bits ? step.value(x) : x; });
        group.sync();
        T const* const omega = bit + K * bits;
        T top = omega[0];
        ESPALIER_ROW_UNROLL
        for (int i = 1; i < K; ++i)
            top = max(omega[i], top);
        T total(scalar_of<T>(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i) {
            alpha[i] = exp(omega[i] - top);
            total += alpha[i];
        }
        T const share = T(scalar_of<T>(1)) / total;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < K; ++i)
            alpha[i] *= share;
    }
    /// The probability of every prefix: the product over its bits, the most significant first, of s_m where the bit is
    /// 1 and 1 - s_m where it is 0. A length after the other, the lanes side by side.
    template <class Group, class T> static ESPALIER_FN void reach(Group const& group, T const* s, T* prefix) {
        T const one(scalar_of<T>(1));
        int const rank = static_cast<int>(group.thread_rank()), lanes = static_cast<int>(Group::lanes);
        if (rank == 0) prefix[1] = one;
        group.sync();
        for (int m = 0; m < bits; ++m) {
            T const share = s[m];
            for (int c = (1 << m) + rank; c < 2 << m; c += lanes) {
                T const p = prefix[c];
                prefix[2 * c] = p * (one - share);
                prefix[2 * c + 1] = p * share;
            }
            group.sync();
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
/// of experts that is not a power of two) is missing, under a search too. The term, a mean over rows, is
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
    static constexpr int selectors = K;
    static constexpr auto numbers = fields<&dselect_k::selectors>;
    static constexpr int experts = Experts;
    static constexpr int slots = Experts;
    static constexpr int logits = dselect_k_op<Experts, K>::logits;
    static constexpr bool slot_is_expert = true;
    static constexpr bool sums_to_one = false;

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
