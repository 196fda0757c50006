// SPDX-License-Identifier: Apache-2.0
// The value of a penalty as a function object.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/functor/policy_functor.hpp>
#include <espalier/penalty/concept.hpp>

namespace espalier {

/// What `penalty_value` gives.
template <class Op> struct penalty_value_functor {
    Op op;

    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(T given) const {
        auto const w = detail::functor_argument<detail::functor_number_t<T>>(given);
        return penalty::detail::value(op, element_about<detail::functor_number_t<T>>{.weight = w}, w);
    }
};

namespace detail {

/// Whether P is a penalty of single elements.
template <class P> consteval bool check_element_penalty() {
    if constexpr (check_functor<P, axis::penalty>()) {
        constexpr bool single = penalty_groups<op_of<P>>() == group_scope::element;
        static_assert(diagnostic::holds<single, diagnostic::on_axis<axis::penalty>, diagnostic::from_policy<P>>,
                      "espalier: a penalty over groups needs the norm of each row or column of the tensor and is no "
                      "function of single elements; the next lines name the axis and the policy; put it into the list "
                      "of a layer, or take one over elements, such as penalty::l1 or penalty::l2");
        return single;
    } else {
        return false;
    }
}

} // namespace detail

/// The share of one weight in a penalty, of (w): the sum over a tensor is the term. T is float, double or a pack of
/// them. A penalty over groups does not compile. `now` is for coefficients that are schedules; throws data_error when
/// one gives a value that the penalty refuses.
///
///     double const term = thrust::transform_reduce(w.begin(), w.end(), esp::penalty_value<esp::penalty::l1<1e-4>>(),
///                                                  0.0, thrust::plus<double>());
template <class P> constexpr auto penalty_value([[maybe_unused]] clock const& now = {}) {
    if constexpr (detail::check_element_penalty<P>())
        return penalty_value_functor<op_of<P>>{op_at<P>(now)};
    else
        return detail::no_functor{};
}

} // namespace espalier
