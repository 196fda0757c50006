// SPDX-License-Identifier: Apache-2.0
// Pruning of a layer's kernel, put together from four independent choices.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/prune/weight_key.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier::prune {

namespace detail {

/// "criterion selection rule"
template <class Criterion, class Selection, class Rule> consteval auto policy_text() {
    std::array<char, Criterion::name.size() + Selection::name.size() + Rule::name.size() + 2> text{};
    std::size_t at = 0;
    for (std::string_view part :
         {std::string_view(Criterion::name), std::string_view(Selection::name), std::string_view(Rule::name)}) {
        if (at != 0) text[at++] = ' ';
        for (char c : part)
            text[at++] = c;
    }
    return text;
}

template <class Criterion, class Selection, class Rule>
inline constexpr auto policy_name = policy_text<Criterion, Selection, Rule>();

template <class Selection, class Criterion, class T>
concept selects = requires(matrix_view<T const> w, double share, std::uint32_t* mask) {
    Selection::template select<Criterion>(w, share, mask);
};

template <class Selection, class Criterion> consteval bool selects_or_is_global() {
    if constexpr (!weight_selection<Selection>)
        return true; // that is said already
    else
        return Selection::global || selects_in_groups<Selection> || selects_below<Selection> || exchanges<Selection> ||
               (selects<Selection, Criterion, float> && selects<Selection, Criterion, double>);
}

} // namespace detail

/// Criterion: what a weight is worth (`by_magnitude`, `by_sensitivity`, `by_gradient`, `by_moment`; masks by one that
/// sees gradients are selected between a step's gradients and its update). Selection: among which weights it is
/// compared
/// (`per_layer`, `global`, `n_m<N, M>`, `n_m_stages<...>`, `below<Threshold>`, `exchange<Share>`). Schedule: which
/// share is left out and when that is decided: `gradual`, `constant`, a number (decided once, before the first step),
/// or any schedule (decided anew at every step unless it has `due(clock)`). A selection whose pattern changes is made
/// anew at every change too. Rule: what becomes of a weight that is left out (`hard`, `straight_through`,
/// `decayed<...>`, `frozen`). Before the first selection everything is kept.
template <class Criterion, class Selection, schedule::number_or_schedule auto Schedule, class Rule> struct policy {
    static_assert(criterion<Criterion>, "espalier: the criterion of prune::policy needs `name` and "
                                        "`template <class T> static auto key(T w)` giving an unsigned number, or "
                                        "`key(T w, prune::about<T> const& more)`, which has the gradient too");
    static_assert(weight_selection<Selection>,
                  "espalier: the selection of prune::policy needs `name`, `static constexpr "
                  "bool global` and, unless that is true, `select`, `at(clock)`, `threshold(clock)` or "
                  "`growth` and `share(clock)`");
    static_assert(
        detail::selects_or_is_global<Selection, Criterion>(),
        "espalier: the selection of prune::policy is not `global` and needs `template <class Criterion, class "
        "T> static void select(matrix_view<T const> w, double sparsity, std::uint32_t* mask)`, `static "
        "group_pattern at(clock const&)`, `static double threshold(clock const&)`, or a criterion `growth` and `static "
        "double share(clock const&)`");
    static_assert(!(sees_gradients<Criterion> && selects_below<Selection>),
                  "espalier: a threshold is one of weights, and the criterion of prune::policy sees gradients: "
                  "prune::below goes with a criterion of weights, such as prune::by_magnitude");
    static_assert(mask_rule<Rule>, "espalier: the rule of prune::policy needs `name` and a weight map with "
                                   "`uses_mask = true`");
    static_assert(
        diagnostic::holds<schedule::stays_within(Schedule, schedule::from_0_to_1), diagnostic::given<Schedule>>,
        "espalier: the sparsity of a prune policy must lie in [0, 1]");
    using axis = espalier::axis::prune;
    static constexpr std::string_view name{detail::policy_name<Criterion, Selection, Rule>.data(),
                                           detail::policy_name<Criterion, Selection, Rule>.size()};
    using criterion_type = Criterion;
    using selection = Selection;
    using rule = Rule;

    /// The rule as weight map: what the update pass is specialised on.
    using op = typename espalier::detail::op_type<Rule>::type;
    static op at(clock const& now) { return espalier::detail::numbers_at<Rule>(now); }

    /// Whether masks are selected anew before the step `now`.
    static constexpr bool due(clock const& now) {
        if constexpr (selects_in_stages<Selection>)
            if (Selection::due(now)) return true;
        if constexpr (std::is_arithmetic_v<decltype(Schedule)>)
            return now.step == 0;
        else if constexpr (has_due<decltype(Schedule)>)
            return Schedule.due(now);
        else
            return true;
    }

    /// Share of weights that are left out at `now`: the schedule's value, or for a selection with a pattern of the
    /// moment or a `sparsity` of its own (`n_m`) that one, once the schedule's value is not 0; for one with a threshold
    /// 1 then, for how many it leaves out depends on the weights. Throws data_error when a schedule gives one outside
    /// [0, 1].
    static double sparsity(clock const& now) {
        double const share = schedule::value_within(Schedule, now, schedule::from_0_to_1, "prune", name, "sparsity");
        if constexpr (selects_in_groups<Selection>) return share > 0.0 ? Selection::at(now).sparsity() : 0.0;
        if constexpr (selects_below<Selection>) return share > 0.0 ? 1.0 : 0.0;
        if constexpr (has_sparsity<Selection>) return share > 0.0 ? Selection::sparsity : 0.0;
        return share;
    }

    static constexpr auto numbers = fields<&policy::sparsity>;

    /// The mask of one tensor at `now`, for selections that are not global and exchange nothing. One with a pattern or
    /// a threshold leaves out what follows from it, or none for a share of 0. For a criterion that sees gradients `w`
    /// are the keys, as prune::write_keys writes them.
    template <class T> static void select(clock const& now, matrix_view<T const> w, double share, std::uint32_t* mask) {
        static_assert(!Selection::global, "espalier: a global selection is made over all tensors at once, by "
                                          "prune::select_largest");
        static_assert(!exchanges<Selection>, "espalier: an exchange reads gradients: prune::exchange_weights");
        using compared = compared_by<Criterion>;
        if constexpr (!selects_in_groups<Selection> && !selects_below<Selection>)
            Selection::template select<compared>(w, share, mask);
        else if (!(share > 0.0))
            detail::fill_bits(mask, w.rows * w.columns, true);
        else if constexpr (selects_below<Selection>)
            select_below<Criterion>(w, static_cast<T>(Selection::threshold(now)), mask);
        else
            select_n_m<compared>(w, Selection::at(now), mask);
    }
};

} // namespace espalier::prune
