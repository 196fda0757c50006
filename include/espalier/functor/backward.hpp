// SPDX-License-Identifier: Apache-2.0
// The derivative of an activation as a function object.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/functor/forward.hpp>
#include <espalier/functor/policy_functor.hpp>

namespace espalier {

/// What `backward` gives.
template <class Op> struct backward_functor {
    Op op;

    /// With the activation's output computed again, as layers do.
    template <class T>
    ESPALIER_FN detail::functor_number_t<T> operator()(T given, detail::functor_number_t<T> dy) const {
        auto const x = detail::functor_argument<detail::functor_number_t<T>>(given);
        return op.backward(x, op.forward(x), dy);
    }
    /// With the output where it is kept.
    template <class T>
    ESPALIER_FN detail::functor_number_t<T> operator()(T given, detail::functor_number_t<T> y,
                                                       detail::functor_number_t<T> dy) const {
        return op.backward(detail::functor_argument<detail::functor_number_t<T>>(given), y, dy);
    }
};

/// dx = activation'(x) dy of (x, dy) or of (x, y, dy) with y = activation(x). Otherwise as `forward`.
///
///     thrust::transform(z.begin(), z.end(), dy.begin(), dz.begin(), esp::backward<esp::activation::silu>());
template <class P> constexpr auto backward([[maybe_unused]] clock const& now = {}) {
    if constexpr (detail::check_element_activation<P>())
        return backward_functor<op_of<P>>{op_at<P>(now)};
    else
        return detail::no_functor{};
}

} // namespace espalier
