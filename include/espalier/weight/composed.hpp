// SPDX-License-Identifier: Apache-2.0
// One weight map behind another.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/companions.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/concept.hpp>

#include <string_view>
#include <type_traits>

namespace espalier::weight {

namespace detail {

/// What a map says of the trained numbers that it is made of; nothing where there are none.
template <class Owner> struct scalars_of {
    static constexpr int scalars = Owner::scalars;
    static constexpr auto const& scalar_names = Owner::scalar_names;
};
struct no_scalars {};
template <class Outer, class Inner>
using composed_scalars =
    std::conditional_t<(map_scalars<Outer>() > 0 || map_scalars<Inner>() > 0),
                       scalars_of<std::conditional_t<(map_scalars<Outer>() > 0), Outer, Inner>>, no_scalars>;

/// What is no map is refused by another sentence.
template <class Inner, class Outer> consteval bool both_mask() {
    if constexpr (element_map<Inner> && element_map<Outer>)
        return Inner::uses_mask && Outer::uses_mask;
    else
        return false;
}

} // namespace detail

/// effective(w) = outer(inner(w)). What the outer map stores it stores of what the inner one stores, so behind a rule
/// that stores zeros the raw weight is 0. A map without a mask sees every weight as kept.
template <class Outer, class Inner> struct composed_op : detail::composed_scalars<Outer, Inner> {
    [[no_unique_address]] Outer outer;
    [[no_unique_address]] Inner inner;

    static constexpr bool uses_mask = Outer::uses_mask || Inner::uses_mask;
    static constexpr bool needs_operand = Outer::needs_operand || Inner::needs_operand;
    static constexpr bool freezes = espalier::detail::op_freezes<Outer>() || espalier::detail::op_freezes<Inner>();
    static constexpr bool only_marks =
        espalier::detail::op_only_marks<Outer>() || espalier::detail::op_only_marks<Inner>();

    composed_op() = default;
    ESPALIER_FN constexpr composed_op(Outer const& last, Inner const& first) : outer(last), inner(first) {}

    template <class T> ESPALIER_FN T pull(T g, element_about<T> const& about) const {
        return detail::pull(inner, seen_by<Inner>(about), pull_outer(g, about));
    }
    template <class T> ESPALIER_FN T store(T next, element_about<T> const& about) const {
        return detail::store(outer, seen_by<Outer>(about), detail::store(inner, seen_by<Inner>(about), next));
    }
    template <class T> ESPALIER_FN T effective(T raw, element_about<T> const& about) const {
        return detail::effective_weight(outer, mapped(raw, about), seen_by<Outer>(about).keep);
    }
    /// The raw weight of an effective one.
    double raw(double effective) const requires requires(Outer const& o, Inner const& i) {
        o.raw(1.0);
        i.raw(1.0);
    }
    { return inner.raw(outer.raw(effective)); }

    // Of the map that is made of trained numbers.
    scalar_values<double> start() const requires(detail::map_scalars<Outer>() + detail::map_scalars<Inner>() > 0) {
        if constexpr (detail::map_scalars<Outer>() > 0)
            return outer.start();
        else
            return inner.start();
    }
    template <class T> ESPALIER_FN composed_op with(scalar_values<T> const& values) const {
        if constexpr (detail::map_scalars<Outer>() > 0)
            return {outer.with(values), inner};
        else
            return {outer, inner.with(values)};
    }
    /// To those of the inner map a weight adds what the outer one lets through to it.
    template <class T> ESPALIER_FN scalar_values<T> scalar_gradients(T g, element_about<T> const& about) const {
        if constexpr (detail::map_scalars<Outer>() > 0)
            return outer.scalar_gradients(g, behind(about));
        else
            return inner.scalar_gradients(pull_outer(g, about), seen_by<Inner>(about));
    }

private:
    template <class Map, class T> ESPALIER_FN static element_about<T> seen_by(element_about<T> about) {
        if constexpr (!Map::uses_mask) about.keep = mask_of<T>(true);
        return about;
    }
    template <class T> ESPALIER_FN T mapped(T raw, element_about<T> const& about) const {
        return detail::effective_weight(inner, raw, seen_by<Inner>(about).keep);
    }
    /// What the outer map is told: its weight is what the inner one makes.
    template <class T> ESPALIER_FN element_about<T> behind(element_about<T> const& about) const {
        element_about<T> seen = seen_by<Outer>(about);
        seen.weight = mapped(about.weight, about);
        return seen;
    }
    template <class T> ESPALIER_FN T pull_outer(T g, element_about<T> const& about) const {
        return detail::pull(outer, behind(about), g);
    }
};

/// effective(w) = Outer(Inner(w)): the chain rule for gradients, one pass and one copy for the products as for a single
/// map.
///
///     dense<256, weight::composed<weight::compander<weight::tanh, 0.1, 0.05>, weight::fixed_mask>>
///
/// At most one of the two has a mask, and one trained numbers; of both compositions may be made again. Behind a pruning
/// policy the composition is one map.
template <class Inner, class Outer> struct composed {
    static_assert(diagnostic::holds<(element_map<op_of<Inner>> && element_map<op_of<Outer>>),
                                    diagnostic::given_type<Inner>, diagnostic::given_type<Outer>>,
                  "espalier: weight::composed puts one weight map behind another, both element by element; the next "
                  "lines name what was given; an operator in the place of the kernel is no map");
    static_assert(diagnostic::holds<!detail::both_mask<op_of<Inner>, op_of<Outer>>(), diagnostic::given_type<Inner>,
                                    diagnostic::given_type<Outer>>,
                  "espalier: a tensor has one mask, and both maps of weight::composed have one; the next lines name "
                  "them; keep one of them");
    static_assert(
        diagnostic::holds<(detail::map_scalars<op_of<Inner>>() == 0 || detail::map_scalars<op_of<Outer>>() == 0),
                          diagnostic::given_type<Inner>, diagnostic::given_type<Outer>>,
        "espalier: at most one map of weight::composed is made of trained numbers; the next lines name them; "
        "give one of them constants");
    static_assert(diagnostic::holds<(espalier::detail::op_companions<op_of<Inner>>() == 0 &&
                                     espalier::detail::op_companions<op_of<Outer>>() == 0),
                                    diagnostic::given_type<Inner>, diagnostic::given_type<Outer>>,
                  "espalier: a map of weight::composed reads companions of the weights, and such a map stands alone; "
                  "the next lines name them");
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "composed";
    using consists_of = type_list<Inner, Outer>;
    using op = composed_op<op_of<Outer>, op_of<Inner>>;
    static op at(clock const& now) { return {op_at<Outer>(now), op_at<Inner>(now)}; }

    /// Of the map that has trained numbers.
    static constexpr double scalar_rate =
        espalier::detail::scalar_rate_of<Inner>() + espalier::detail::scalar_rate_of<Outer>();
};

} // namespace espalier::weight
