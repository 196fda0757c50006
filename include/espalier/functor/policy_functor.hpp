// SPDX-License-Identifier: Apache-2.0
// What the functors share: a policy of single elements, as a function object for the algorithms of others. A functor
// holds the op of the policy at a moment, so its type has no numbers and a schedule has been evaluated; it is trivially
// copyable and runs on host and device.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>

#include <type_traits>

namespace espalier::detail {

/// Who asks a policy for its members: no layer.
template <class P> struct asked_by_functor {
    using where = diagnostic::alone;
    using layer = diagnostic::alone;
    using policy = P;
    using op = op_of<P>;
};

/// Whether P stands on the axis and has what the axis asks for, with a sentence where it does not.
template <class P, class Axis> consteval bool check_functor() {
    constexpr bool fits = policy_on<P, Axis>;
    static_assert(diagnostic::holds<fits, diagnostic::on_axis<Axis>, diagnostic::given_type<P>>,
                  "espalier: a functor is made of a policy on the axis that its name says: forward and backward of an "
                  "activation, dropout_at and dropout_gradient_at of a dropout, penalty_value, penalty_gradient and "
                  "prox of a penalty; the next lines name the axis that is needed and what was given; a layer such as "
                  "batch_norm works on whole batches: put it into a network");
    if constexpr (fits)
        return Axis::template members<asked_by_functor<P>>();
    else
        return false;
}

/// What stands for a functor that a sentence has refused, so that nothing else is said.
struct no_functor {
    template <class T, class... More> ESPALIER_FN T operator()(T x, More const&...) const { return x; }
};

/// The number that an argument is: T itself, or what a reference of another library stands for, as CUB hands on those
/// of a thrust::device_vector.
template <class T> struct functor_number { using type = T; };
template <class T>
requires(!real<T> && requires { typename T::value_type; } &&
         std::is_convertible_v<T const&, typename T::value_type>) struct functor_number<T> {
    using type = typename T::value_type;
};
template <class T> using functor_number_t = typename functor_number<T>::type;

/// Numbers of other types would be computed with as they are, whole numbers among them.
template <class T> ESPALIER_FN constexpr T functor_argument(T x) {
    static_assert(real<T>,
                  "espalier: functors take float, double or packs of them; convert other numbers first, so that "
                  "it is said where they are rounded");
    return x;
}

} // namespace espalier::detail
