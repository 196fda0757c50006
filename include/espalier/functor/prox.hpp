// SPDX-License-Identifier: Apache-2.0
// The prox of a penalty as a function object.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/functor/penalty_value.hpp>
#include <espalier/functor/policy_functor.hpp>
#include <espalier/penalty/concept.hpp>

namespace espalier {

/// What `prox` gives.
template <class Op> struct prox_functor {
    Op op;
    double rate = 0.0;

    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(T given) const {
        using number = detail::functor_number_t<T>;
        auto const w = detail::functor_argument<number>(given);
        return penalty::detail::prox(
            op, element_about<number>{.weight = w, .rate = number(static_cast<scalar_of<number>>(rate))}, w);
    }
};

namespace detail {

template <class P> consteval bool check_prox() {
    if constexpr (check_element_penalty<P>()) {
        constexpr bool there = penalty::has_prox<op_of<P>, float> && penalty::has_prox<op_of<P>, double>;
        static_assert(diagnostic::holds<there, diagnostic::on_axis<axis::penalty>, diagnostic::from_policy<P>>,
                      "espalier: prox needs a penalty with `template <class T> ESPALIER_FN T prox(T w, "
                      "element_about<T> const& about) const` in its op; the next lines name the axis and the policy; "
                      "without one, step along penalty_gradient");
        return there;
    } else {
        return false;
    }
}

} // namespace detail

/// argmin_u value(u) + (u - w)^2 / (2 rate) of (w): a proximal step of length `rate`, bit for bit that of an update
/// with penalty::proximal<P> for a penalty whose prox looks at the stepped weight w and the rate alone. Otherwise as
/// `penalty_value`.
///
///     thrust::transform(w.begin(), w.end(), w.begin(), esp::prox<esp::penalty::l1<1e-2>>(learning_rate));
template <class P> constexpr auto prox([[maybe_unused]] double rate, [[maybe_unused]] clock const& now = {}) {
    if constexpr (detail::check_prox<P>())
        return prox_functor<op_of<P>>{op_at<P>(now), rate};
    else
        return detail::no_functor{};
}

} // namespace espalier
