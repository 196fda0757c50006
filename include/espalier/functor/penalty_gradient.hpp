// SPDX-License-Identifier: Apache-2.0
// The gradient of a penalty as a function object.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/functor/penalty_value.hpp>
#include <espalier/functor/policy_functor.hpp>
#include <espalier/penalty/concept.hpp>

namespace espalier {

/// What `penalty_gradient` gives.
template <class Op> struct penalty_gradient_functor {
    Op op;

    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(T given) const {
        auto const w = detail::functor_argument<detail::functor_number_t<T>>(given);
        return penalty::detail::gradient(op, element_about<detail::functor_number_t<T>>{.weight = w}, w);
    }
};

namespace detail {

template <class P> consteval bool check_penalty_gradient() {
    if constexpr (check_element_penalty<P>()) {
        constexpr bool there = penalty::has_gradient<op_of<P>, float> && penalty::has_gradient<op_of<P>, double>;
        static_assert(diagnostic::holds<there, diagnostic::on_axis<axis::penalty>, diagnostic::from_policy<P>>,
                      "espalier: penalty_gradient needs a penalty with `template <class T> ESPALIER_FN T gradient(T w) "
                      "const` in its op; the next lines name the axis and the policy; one that has a prox alone is "
                      "applied by espalier::prox");
        return there;
    } else {
        return false;
    }
}

} // namespace detail

/// The derivative of a penalty, or a subgradient at a kink, of (w): what an update adds to the gradient of w. Otherwise
/// as `penalty_value`.
template <class P> constexpr auto penalty_gradient([[maybe_unused]] clock const& now = {}) {
    if constexpr (detail::check_penalty_gradient<P>())
        return penalty_gradient_functor<op_of<P>>{op_at<P>(now)};
    else
        return detail::no_functor{};
}

} // namespace espalier
