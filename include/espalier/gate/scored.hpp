// SPDX-License-Identifier: Apache-2.0
// Gates that choose by score, assembled from parts: one op for every selection of them.
//
// A row goes through
//     clean = z / temperature;  H = clean + noise;  winners of H;  g = softmax over them, or softmax over all, cut;
// and the terms read what stands there. On the way back every term adds to the gradients of g, p = softmax(H) and the
// rest, then
//     dH_e = g_e (dg_e - sum_k g_k dg_k)                    over the winners
//     dp_e += dg_e for winners                              over all
//     dH_e += p_e (dp_e - sum_k p_k dp_k)                   where p is used
//     dclean += dH;  dsigma += eps dH;  dz = dclean / temperature.
// The choice has no gradient.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/gate/winners.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace espalier::gate {

/// Numbers and row functions of a gate of parts. K == 0: every expert, weights are a row over them.
template <int Experts, int K, class... PartOps> struct scored_op {
    flat_tuple<PartOps...> parts;

    static constexpr bool takes_all = K == 0;
    static constexpr int winners = takes_all ? Experts : K;
    static constexpr bool has_temperature = (false || ... || (PartOps::kind == part_kind::temperature));
    static constexpr bool has_noise = (false || ... || (PartOps::kind == part_kind::noise));
    static constexpr bool over_all = (false || ... || (PartOps::kind == part_kind::normalisation));
    static constexpr bool has_term = (false || ... || (PartOps::kind == part_kind::term));
    static constexpr gate_needs needs{.noise = (false || ... || detail::part_needs_of<PartOps>().noise),
                                      .noise_logits = (false || ... || detail::part_needs_of<PartOps>().noise_logits),
                                      .statistics = (0 + ... + detail::part_needs_of<PartOps>().statistics)};
    /// Whether a term reads g; p, top and total; who wins; who stands at the threshold, and sigma.
    static constexpr bool terms_read_g = (false || ... || detail::part_needs_of<PartOps>().weights);
    static constexpr bool terms_read_p = (false || ... || detail::part_needs_of<PartOps>().probabilities);
    static constexpr bool terms_read_winners = (false || ... || detail::part_needs_of<PartOps>().winners);
    static constexpr bool terms_read_threshold = (false || ... || detail::part_needs_of<PartOps>().runner_up);

    template <class Group, class T> using row_of = row<Group, T, Experts>;
    /// What is chosen: slots, or a row over the experts.
    template <class Group, class T>
    using chosen_of = std::conditional_t<takes_all, row_of<Group, T>, gate_slots<T, winners>>;

    template <class Group, class T, class About>
    ESPALIER_FN T route(Group const& group, row<Group, T, Experts> const& z, chosen_of<Group, T>& chosen,
                        About& about) const {
        state_of<Group, T> s;
        rank(group, z, about, s);
        T value[std::size_t{ranked}], column[std::size_t{ranked}];
        if constexpr (!takes_all || terms_read_threshold) row_winners(group, s.noisy, value, column);
        if constexpr (terms_read_threshold)
            set_threshold(s, value, column);
        else if constexpr (terms_read_winners)
            s.last = takes_all ? row_place<T>{T(static_cast<scalar_of<T>>(-__builtin_inf())), T(scalar_of<T>(0))}
                               : row_place<T>{value[winners - 1], column[winners - 1]};
        if constexpr (takes_all || over_all || terms_read_p) set_probabilities(group, s);
        if constexpr (takes_all) {
            chosen = s.p;
            s.g = s.p;
        } else {
            weigh(s, value, column, chosen);
            if constexpr (terms_read_g) spread(group, chosen, chosen.weight, s.g);
        }
        T share(scalar_of<T>(0));
        for_each_part([&]<std::size_t At, class Part>(Part const& part) __attribute__((always_inline)) {
            if constexpr (detail::part_needs_of<Part>().statistics > 0)
                part.statistic(group, s, about.statistic + first_statistic<At>());
            else if constexpr (Part::kind == part_kind::term)
                share += part.share(group, s);
        });
        return share;
    }

    template <class Group, class T, class Gradient, class About>
    ESPALIER_FN void backward(Group const& group, row<Group, T, Experts> const& z, chosen_of<Group, T> const& chosen,
                              Gradient const& dchosen, T const& term_scale, row<Group, T, Experts>& dz,
                              About& about) const {
        using S = scalar_of<T>;
        constexpr bool needs_p = takes_all || over_all || terms_read_p;
        T const zero(S(0));
        state_of<Group, T> s;
        if constexpr (over_all || has_term) rank(group, z, about, s); // nobody else asks for H
        if constexpr (terms_read_threshold) {
            T value[std::size_t{ranked}], column[std::size_t{ranked}];
            row_winners(group, s.noisy, value, column);
            set_threshold(s, value, column);
        }
        scored_gradient<Group, T, Experts> d;
        if constexpr (takes_all) {
            s.g = chosen;
            d.g = dchosen;
            if constexpr (terms_read_p)
                set_probabilities(group, s);
            else
                s.p = chosen;
        } else {
            spread(group, chosen, chosen.weight, s.g);
            spread(group, chosen, dchosen, d.g);
            if constexpr (over_all || terms_read_p) set_probabilities(group, s);
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i) {
            d.noisy.v[i] = zero;
            if constexpr (needs_p) d.p.v[i] = zero;
            if constexpr (terms_read_threshold) d.clean.v[i] = zero;
            if constexpr (needs.noise_logits) d.sigma.v[i] = zero;
        }
        for_each_part([&]<std::size_t At, class Part>(Part const& part) __attribute__((always_inline)) {
            constexpr bool summed = detail::part_needs_of<Part>().statistics > 0;
            if constexpr (Part::kind == part_kind::term)
                part.backward(group, s, about.slope + (summed ? first_statistic<At>() : 0), term_scale, d);
        });
        if constexpr (!takes_all && !over_all) {
            T const mean = row_dot(group, s.g, d.g);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < dz.local; ++i)
                d.noisy.v[i] = fma(s.g.v[i], d.g.v[i] - mean, d.noisy.v[i]);
        }
        if constexpr (needs_p) {
            if constexpr (takes_all || over_all) {
                ESPALIER_ROW_UNROLL
                for (int i = 0; i < dz.local; ++i)
                    d.p.v[i] += takes_all ? d.g.v[i] : select(s.g.v[i] > zero, d.g.v[i], zero);
            }
            T const mean = row_dot(group, s.p, d.p);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < dz.local; ++i)
                d.noisy.v[i] = fma(s.p.v[i], d.p.v[i] - mean, d.noisy.v[i]);
        }
        for_each_part([&]<std::size_t, class Part>(Part const& part) __attribute__((always_inline)) {
            if constexpr (Part::kind == part_kind::noise) part.backward(group, about, d);
        });
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i) {
            dz.v[i] = d.noisy.v[i];
            if constexpr (terms_read_threshold) dz.v[i] += d.clean.v[i];
        }
        scale(dz);
    }

    /// The part of the term that is a function of sums over the batch, [needs.statistics][Experts], and its derivative
    /// with respect to every one of them.
    ESPALIER_FN double finish(double const* sums, index_t rows, double* slopes) const requires(needs.statistics > 0) {
        double total = 0.0;
        for_each_part([&]<std::size_t At, class Part>(Part const& part) __attribute__((always_inline)) {
            constexpr int from = first_statistic<At>() * Experts;
            if constexpr (detail::part_needs_of<Part>().statistics > 0)
                total += part.template finish<Experts>(sums + from, rows, slopes + from);
        });
        return total;
    }

private:
    template <class Group, class T> using state_of = scored_row<Group, T, Experts, winners>;
    static constexpr int ranked = winners + (terms_read_threshold ? 1 : 0);

    /// Rows of statistics before those of the part.
    template <std::size_t At> static consteval int first_statistic() {
        int const count[] = {detail::part_needs_of<PartOps>().statistics...};
        int sum = 0;
        for (int i = 0; i < static_cast<int>(At); ++i)
            sum += count[i];
        return sum;
    }

    /// f<At>(part) for every part in order.
    template <class F> ESPALIER_FN void for_each_part(F const& f) const {
        [&]<std::size_t... At>(std::index_sequence<At...>) __attribute__((always_inline)) {
            (f.template operator()<At>(get<At>(parts)), ...);
        }
        (std::index_sequence_for<PartOps...>{});
    }
    template <class Row> ESPALIER_FN void scale(Row& x) const {
        for_each_part([&]<std::size_t, class Part>(Part const& part) __attribute__((always_inline)) {
            if constexpr (Part::kind == part_kind::temperature) {
                ESPALIER_ROW_UNROLL
                for (int i = 0; i < x.local; ++i)
                    x.v[i] = part.scaled(x.v[i]);
            }
        });
    }

    /// What is ranked.
    template <class Group, class T, class About>
    ESPALIER_FN void rank(Group const& group, row<Group, T, Experts> const& z, About const& about,
                          state_of<Group, T>& s) const {
        if constexpr (has_noise) {
            s.clean = z;
            scale(s.clean);
            for_each_part([&]<std::size_t, class Part>(Part const& part) __attribute__((always_inline)) {
                if constexpr (Part::kind == part_kind::noise) part.disturb(group, about, s);
            });
        } else {
            s.noisy = z;
            scale(s.noisy);
        }
    }
    template <class State, class T>
    static ESPALIER_FN void set_threshold(State& s, T const (&value)[std::size_t{ranked}],
                                          T const (&column)[std::size_t{ranked}]) {
        s.last = {value[winners - 1], column[winners - 1]};
        s.next = {value[ranked - 1], column[ranked - 1]};
    }
    /// p, top and total.
    template <class Group, class State> static ESPALIER_FN void set_probabilities(Group const& group, State& s) {
        auto const e = exponentials(group, s.noisy, &s.p);
        using T = std::remove_cvref_t<decltype(e.total)>;
        s.top = e.top;
        s.total = e.total;
        T const share = T(scalar_of<T>(1)) / e.total;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.p.local; ++i)
            s.p.v[i] *= share;
    }
    template <class State, class T>
    static ESPALIER_FN void weigh(State const& s, T const (&value)[std::size_t{ranked}],
                                  T const (&column)[std::size_t{ranked}], gate_slots<T, winners>& chosen) {
        using S = scalar_of<T>;
        T first[std::size_t{winners}];
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < winners; ++k) {
            first[k] = value[k];
            chosen.expert[k] = column[k];
        }
        T total = winner_exponentials(first, chosen.weight);
        if constexpr (over_all) total = s.total;
        T const share = select(total > T(S(0)), T(S(1)) / total, T(S(0)));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < winners; ++k)
            chosen.weight[k] = chosen.weight[k] * share;
    }
    /// Numbers of the filled slots as a row over the experts, 0 elsewhere.
    template <class Group, class T>
    static ESPALIER_FN void spread(Group const& group, gate_slots<T, winners> const& chosen,
                                   T const (&number)[std::size_t{winners}], row<Group, T, Experts>& x) {
        T const zero(scalar_of<T>(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < x.local; ++i) {
            T const column = x.column(group, i);
            T sum = zero;
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < winners; ++k) {
                auto const hit = (column == chosen.expert[k]) & (chosen.weight[k] > zero);
                sum = select(hit, number[k], sum);
            }
            x.v[i] = sum;
        }
    }
};

namespace detail {

/// What the functions of a part are called with, in a gate of so many experts, winners and sums over the batch; T is a
/// number or a pack of them.
template <class PartOp, class T, int Experts, int Winners, int Statistics> struct part_call {
    using op = PartOp;
    using group = serial_group;
    using number = T;
    using state = scored_row<group, T, Experts, Winners>;
    using gradient = scored_gradient<group, T, Experts>;
    using about = gate_about<group, T, Experts, Statistics>;
    using over_experts = row<group, T, Experts>;
};

template <class Call, class T = typename Call::number>
concept part_scales = requires(typename Call::op const& op, T z) {
    { op.scaled(z) } -> gives<T>;
};
template <class Call>
concept part_disturbs = requires(typename Call::op const& op, typename Call::group const& group,
                                 typename Call::about& about, typename Call::state& s, typename Call::gradient& d) {
    op.disturb(group, about, s);
    op.backward(group, about, d);
};
template <class Call, class T = typename Call::number>
concept part_shares = requires(typename Call::op const& op, typename Call::group const& group,
                               typename Call::state const& s) {
    { op.share(group, s) } -> gives<T>;
};
template <class Call>
concept part_sums = requires(typename Call::op const& op, typename Call::group const& group,
                             typename Call::state const& s, typename Call::over_experts* rows, double const* sums,
                             double* slopes) {
    op.statistic(group, s, rows);
    { op.template finish<Call::state::experts>(sums, index_t{1}, slopes) } -> std::convertible_to<double>;
};
template <class Call>
concept part_pulls_back = requires(typename Call::op const& op, typename Call::group const& group,
                                   typename Call::state const& s, typename Call::over_experts const* slopes,
                                   typename Call::number const& term_scale, typename Call::gradient& d) {
    op.backward(group, s, slopes, term_scale, d);
};

/// What a gate asks of its parts, one sentence for each mistake. K == 0: every expert.
template <int Experts, int K, class... Parts> struct part_checks {
    static constexpr int winners = K == 0 ? Experts : K;

    template <class P> static consteval bool is_part() {
        static_assert(diagnostic::holds<part<P>, diagnostic::from_policy<P>>,
                      "espalier: something in a gate's list is not a part of a gate: it has no `static constexpr "
                      "gate::part_kind kind` (gate/part.hpp); the next lines name the type; remove it");
        if constexpr (part<P>) {
            using op = part_op<P>;
            constexpr bool trivial = std::is_trivially_copyable_v<op>;
            static_assert(diagnostic::holds<trivial, diagnostic::from_policy<P>>,
                          "espalier: the numbers of a gate's part must be trivially copyable, kernels receive them by "
                          "value; the next lines name the part");
            static_assert(diagnostic::holds<part<op>, diagnostic::from_policy<P>>,
                          "espalier: the op of a gate's part has its `static constexpr gate::part_kind kind` too; the "
                          "next lines name the part");
            return trivial && part<op>;
        } else {
            return false;
        }
    }
    template <part_kind Kind> static consteval int count() { return (0 + ... + int{Parts::kind == Kind}); }
    template <part_kind Kind> static consteval bool single() {
        static_assert(diagnostic::holds<(count<Kind>() <= 1), diagnostic::given<count<Kind>()>,
                                        diagnostic::given_policies<Parts...>>,
                      "espalier: two parts of a gate are of a kind that has room for one (noise, temperature, "
                      "normalisation); the next lines say how many were given and name the parts; keep one of them");
        return count<Kind>() <= 1;
    }
    template <class P> static consteval bool admits() {
        constexpr part_needs needs = part_needs_of<part_op<P>>();
        constexpr bool sigma = !needs.sigma || (false || ... || part_needs_of<part_op<Parts>>().noise_logits);
        static_assert(diagnostic::holds<sigma, diagnostic::from_policy<P>>,
                      "espalier: a part of a gate reads the scale of the noise: add gate::learned_noise to the gate's "
                      "parts, or remove the part that the next lines name");
        constexpr bool choice = !needs.choice || winners < Experts;
        static_assert(diagnostic::holds<choice, diagnostic::from_policy<P>, diagnostic::given<winners>,
                                        diagnostic::needed<Experts - 1>>,
                      "espalier: a part of a gate is about the choice between experts, and every row goes to all of "
                      "them; the next lines name the part, the experts of a row, and the most that it admits; use "
                      "gate::top_k with k < experts, or remove the part");
        constexpr bool cut = K != 0 || P::kind != part_kind::normalisation;
        static_assert(diagnostic::holds<cut, diagnostic::from_policy<P>>,
                      "espalier: gate::softmax is over all experts already; remove the part that the next lines name");
        return sigma && choice && cut;
    }
    /// Whether the part has the functions of its kind, for numbers and packs of them.
    template <class P> static consteval bool has_functions() {
        constexpr int sums = (0 + ... + part_needs_of<part_op<Parts>>().statistics);
        using number = part_call<part_op<P>, float, Experts, winners, sums>;
        using wide = part_call<part_op<P>, native_pack<float>, Experts, winners, sums>;
        constexpr part_kind kind = part_op<P>::kind;
        constexpr bool summed = part_needs_of<part_op<P>>().statistics > 0;
        bool good = true;
        if constexpr (kind == part_kind::temperature) {
            constexpr bool scales = part_scales<number> && part_scales<wide>;
            static_assert(diagnostic::holds<scales, diagnostic::from_policy<P>>,
                          "espalier: a part of a gate of kind temperature needs `template <class T> ESPALIER_FN T "
                          "scaled(T z) const` in its op, for packs too; the next lines name the part");
            good = scales;
        } else if constexpr (kind == part_kind::noise) {
            constexpr bool disturbs = part_disturbs<number> && part_disturbs<wide>;
            static_assert(diagnostic::holds<disturbs, diagnostic::from_policy<P>>,
                          "espalier: a part of a gate of kind noise needs `template <class Group, class About, class "
                          "State> ESPALIER_FN void disturb(Group const&, About const&, State&) const` and `template "
                          "<class Group, class About, class Gradient> ESPALIER_FN void backward(Group const&, About&, "
                          "Gradient&) const` in its op, for packs too (gate/part.hpp); the next lines name the part");
            good = disturbs;
        } else if constexpr (kind == part_kind::term) {
            constexpr bool shares = summed || (part_shares<number> && part_shares<wide>);
            constexpr bool counts = !summed || (part_sums<number> && part_sums<wide>);
            constexpr bool back = part_pulls_back<number> && part_pulls_back<wide>;
            static_assert(diagnostic::holds<shares, diagnostic::from_policy<P>>,
                          "espalier: a part of a gate of kind term needs `template <class Group, class State> "
                          "ESPALIER_FN auto share(Group const&, State const&) const` in its op, the row's share as a "
                          "number of the row's type, for packs too, or `needs.statistics` (gate/part.hpp); the next "
                          "lines name the part");
            static_assert(diagnostic::holds<counts, diagnostic::from_policy<P>>,
                          "espalier: a part of a gate with `needs.statistics` needs `template <class Group, class "
                          "State, class Row> ESPALIER_FN void statistic(Group const&, State const&, Row* rows) const`, "
                          "for packs too, and `template <int Experts> ESPALIER_FN double finish(double const* sums, "
                          "index_t rows, double* slopes) const` in its op (gate/part.hpp); the next lines name the "
                          "part");
            static_assert(diagnostic::holds<(back || !shares || !counts), diagnostic::from_policy<P>>,
                          "espalier: a part of a gate of kind term needs `template <class Group, class State, class "
                          "Row, class T, class Gradient> ESPALIER_FN void backward(Group const&, State const&, Row "
                          "const* slopes, T const& term_scale, Gradient&) const` in its op, for packs too; the next "
                          "lines name the part");
            good = shares && counts && back;
        }
        return good;
    }
    static consteval bool run() {
        if constexpr (K < 0 || winners > Experts || Experts < 1) {
            return false; // the gate has said so
        } else if constexpr ((int{is_part<Parts>()} + ... + 0) != static_cast<int>(sizeof...(Parts))) {
            return false;
        } else if constexpr (int{single<part_kind::noise>()} + int{single<part_kind::temperature>()} +
                                 int{single<part_kind::normalisation>()} !=
                             3) {
            return false;
        } else if constexpr ((int{has_functions<Parts>()} + ... + 0) != static_cast<int>(sizeof...(Parts))) {
            return false;
        } else {
            return (int{admits<Parts>()} + ... + 0) == static_cast<int>(sizeof...(Parts));
        }
    }
};

/// Members of a gate that follow from its parts.
template <bool Right, int Experts, int K, class... Parts> struct scored_members : espalier::detail::refused_gate {
    static constexpr int logits = Experts;
};
template <int Experts, int K, class... Parts> struct scored_members<true, Experts, K, Parts...> {
    using op = scored_op<Experts, K, part_op<Parts>...>;
    using consists_of = type_list<Parts...>;
    static constexpr int logits = op::needs.noise_logits ? 2 * Experts : Experts;
    static constexpr bool sums_to_one = !op::over_all;
    static op at(clock const& now) { return op{{{{espalier::detail::numbers_at<Parts>(now)}...}}}; }
};

/// `initial`, where a part brings one.
template <class... Parts> struct first_values {};
template <class P, class... Rest> struct first_values<P, Rest...> : first_values<Rest...> {};
template <class P, class... Rest>
requires requires {
    typename P::initial;
}
struct first_values<P, Rest...> {
    using initial = typename P::initial;
};

} // namespace detail

} // namespace espalier::gate
