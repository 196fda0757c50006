// SPDX-License-Identifier: Apache-2.0
// A penalty on the weights that the tensor's mask leaves out, and on no other.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/prefixed_name.hpp>
#include <espalier/penalty/concept.hpp>

#include <string_view>

namespace espalier::penalty {

/// The op of `where_pruned`: Op where the mask drops the weight, nothing where it keeps it.
template <class Op> struct where_pruned_op : Op {
    static constexpr bool needs_mask = true;

    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        using espalier::select;
        return select(about.keep, T(scalar_of<T>(0)), detail::value(inner(), about, w));
    }
    template <class T>
    requires has_gradient<Op, T> ESPALIER_FN T gradient(T w, element_about<T> const& about)
    const {
        using espalier::select;
        return select(about.keep, T(scalar_of<T>(0)), detail::gradient(inner(), about, w));
    }
    template <class T>
    requires has_prox<Op, T> ESPALIER_FN T prox(T w, element_about<T> const& about)
    const {
        using espalier::select;
        return select(about.keep, w, detail::prox(inner(), about, w));
    }

private:
    ESPALIER_FN Op const& inner() const { return *this; }
};

namespace detail {

struct where_pruned_prefix {
    static constexpr std::string_view text = "where_pruned_";
};

template <class Penalty> consteval bool is_of_elements() {
    if constexpr (policy_on<Penalty, axis::penalty>)
        return espalier::detail::penalty_groups<op_of<Penalty>>() == group_scope::element;
    else
        return false;
}

} // namespace detail

/// Penalty over the weights that the mask leaves out: with U = 1 there and 0 elsewhere, sum U value(w), the gradient U
/// gradient(w), and the prox of Penalty where U = 1. The weight is the raw one, as it is stored. Numbers and companions
/// are those of Penalty, an element-wise one, be it applied by its gradient or by its prox.
///     where_pruned<l2<2e-4>> beside prune::straight_through   SR-STE: G + 2e-4 (1 - m) w (Zhou et al. 2021, "Learning
///                                                             N:M fine-grained structured sparse neural networks from
///                                                             scratch", section 3.3)
/// A layer whose tensor has no mask refuses it; one that is handed on by `everywhere` acts where there is a mask.
template <class Penalty> struct where_pruned : Penalty {
    static_assert(
        diagnostic::holds<detail::is_of_elements<Penalty>(), diagnostic::from_policy<Penalty>>,
        "espalier: penalty::where_pruned needs a penalty on single weights, for a mask leaves out weights and "
        "no groups; the next line names what it was given; write where_pruned<penalty::l2<2e-4>>");
    static constexpr std::string_view name = espalier::detail::prefixed_name<detail::where_pruned_prefix, Penalty>;
    using op = where_pruned_op<op_of<Penalty>>;
    static op at(clock const& now) { return op{op_at<Penalty>(now)}; }
};

} // namespace espalier::penalty
