// SPDX-License-Identifier: Apache-2.0
// An activation as a function object.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/functor/policy_functor.hpp>

namespace espalier {

/// What `forward` gives.
template <class Op> struct forward_functor {
    Op op;

    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(T given) const {
        auto const x = detail::functor_argument<detail::functor_number_t<T>>(given);
        return op.forward(x);
    }
};

namespace detail {

/// Whether P is an activation of single elements.
template <class P> consteval bool check_element_activation() {
    if constexpr (check_functor<P, axis::activation>()) {
        constexpr bool single = !activation::row_form<op_of<P>>;
        static_assert(diagnostic::holds<single, diagnostic::on_axis<axis::activation>, diagnostic::from_policy<P>>,
                      "espalier: an activation that mixes the columns of a row, such as softmax, is no function of "
                      "single elements; the next lines name the axis and the policy; put it into a layer, "
                      "elementwise<activation::softmax> in a network, which takes whole rows");
        return single;
    } else {
        return false;
    }
}

} // namespace detail

/// y = activation(x) for algorithms over elements, on host and device, with the bits that the activation gives a single
/// number of T (float, double or a pack). `now` is for activations whose numbers are schedules, which throw what `at`
/// of the policy throws. An activation that works on rows does not compile.
///
///     thrust::transform(z.begin(), z.end(), y.begin(), esp::forward<esp::activation::silu>());
template <class P> constexpr auto forward([[maybe_unused]] clock const& now = {}) {
    if constexpr (detail::check_element_activation<P>())
        return forward_functor<op_of<P>>{op_at<P>(now)};
    else
        return detail::no_functor{};
}

} // namespace espalier
