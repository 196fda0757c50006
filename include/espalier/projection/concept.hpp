// SPDX-License-Identifier: Apache-2.0
// What a projection is: a function of the stepped weight, whose result is stored. It keeps weights in a set: for a
// closed convex one it is the prox of a penalty that is 0 inside and infinite outside (Parikh and Boyd 2014, section
// 1.2), and a step with it is one of projected gradient descent.
//
// Archetype of the op:
//
//     struct my_op {
//         template <class T> ESPALIER_FN T apply(T next) const; // or, to read more than the stepped weight:
//         template <class T> ESPALIER_FN T apply(T next, element_about<T> const& about) const;
//         // optional: `about.squared_norm` is that of the rows, of the columns or of the whole tensor after the step
//         static constexpr group_scope groups = group_scope::columns;
//     };
//
// What `about` has beside that: the weight before the step, the rate and the mask's bit. T is float, double or a pack
// of them. Applied twice it gives what it gives once. A policy over groups may have a short_name `group_name`, as
// penalties have.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/projection/axis.hpp>

#include <type_traits>

namespace espalier::projection {

namespace detail {

ESPALIER_ABOUT_FORMS(apply)

/// A projection's op as it stands in a tensor's rule, behind those of the penalties.
template <class Op> struct projected : Op { static constexpr bool projects = true; };

/// A projection as a policy with such an op.
template <class P> struct in_rule : P {
    using op = projected<op_of<P>>;
    static op at(clock const& now) { return op{op_at<P>(now)}; }
    template <over Side, class Of = P> using along = in_rule<typename Of::template along<Side>>;
};

} // namespace detail

template <class Op, class T>
concept has_apply = requires(Op const& op, element_about<T> const& about, T next) {
    { detail::apply(op, about, next) } -> gives<T>;
};

template <class P>
concept weight_projection =
    policy_on<P, axis::projection> && std::is_trivially_copyable_v<op_of<P>> && has_apply < op_of<P>,
float > &&has_apply<op_of<P>, double>&& has_apply<op_of<P>, native_pack<float>>;

} // namespace espalier::projection

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::projection::members() {
    ESPALIER_NEEDS_OF_T(apply, espalier::projection::has_apply,
                        "a projection needs `template <class T> ESPALIER_FN T apply(T next) const` or `apply(T next, "
                        "element_about<T> const& about) const` in its op");
    return apply;
}

} // namespace espalier
