// SPDX-License-Identifier: Apache-2.0
// What an optimizer is: numbers that the user passes while the program runs, and an element-wise step.
//
// Archetype:
//
//     template <class LearningRate = double> struct my_optimizer { // an aggregate, written my_optimizer{.learning_rate
//     = ...}
//         LearningRate learning_rate = 1e-3;                       // a number or a schedule
//         void validate() const;                                   // throws data_error
//         my_op at(clock const& now, std::uint64_t update) const;  // the numbers of this step; `update` is its
//     };                                                           // number, 1 at the first
//
//     struct my_op {                         // trivially copyable; its type carries structure, its members the numbers
//         static constexpr int moments = 1;  // numbers of state for every weight, 0 before the first update
//         static constexpr bool counts_updates = true; // optional: whether `at` looks at `update`; a tensor that was
//                                            // frozen has its own number of updates then
//         ESPALIER_FN double rate() const;   // learning rate before the tensor's factor
//         template <class T> ESPALIER_FN T step(T w, T g, T* m, T learning_rate, T decay) const; // the new weight
//     };
//
// An op may have another one for each kind of tensor in the place of a step (optimizer/by_group.hpp):
//
//     struct my_ops {
//         using choices = type_list<...>;                        // the ops
//         static constexpr int moments = 2;                      // the most that any of them has
//         static constexpr int moments_of(role, std::string_view group);
//         double rate() const;                                   // of most tensors
//         template <class Tensor> constexpr auto const& of() const; // that of a tensor, by Tensor::tensor_role and
//                                                                // Tensor::view, the name of its parameter group
//         template <class All> static consteval bool check_tensors(); // a choice is for none: All::template has<C>()
//         template <class Infos> static void require_tensors(Infos const&); // throws data_error: a choice is for none
//         template <class F> constexpr auto map(F const&) const; // such an op of what F makes of each
//     };
//
// In `step`, T is float, double or a pack of them, `learning_rate` is rate() times the tensor's factor, and `decay` is
// the tensor's factor of the optimizer's weight decay (1: as given by the user, 0: none). `m` has `moments` elements
// and is updated in place.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/validate.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

namespace espalier::optimizer {

template <class Op>
concept has_moments = requires {
    { Op::moments } -> std::convertible_to<int>;
};

template <class Op>
concept has_rate = requires(Op const& op) {
    { op.rate() } -> std::convertible_to<double>;
};

template <class Op, class T>
concept has_step = requires(Op const& op, T x, T* m) {
    { op.step(x, x, m, x, x) } -> gives<T>;
};

/// Whether the numbers of an op depend on how many updates there were; of one that does not say it is taken for
/// granted.
ESPALIER_MEMBER_OR(counts_updates, counts_updates, true)
/// The part of an optimizer that the update pass is specialised on.
template <class Op>
concept step_op = std::is_trivially_copyable_v<Op> && has_moments<Op> && has_rate<Op> && has_step<Op, float> &&
    has_step<Op, double> && has_step<Op, native_pack<float>>;

/// An op that has another one for some tensors than for others.
template <class Op>
concept chooses_op = requires {
    typename Op::choices;
}
&&std::is_trivially_copyable_v<Op>&& has_moments<Op>&& has_rate<Op>;

template <class O>
concept has_validate = requires(O const& o) {
    o.validate();
};

template <class O>
concept gives_step_op = requires(O const& o, clock const& now, std::uint64_t update) {
    { o.at(now, update) } -> step_op;
};

template <class O>
concept gives_ops = requires(O const& o, clock const& now, std::uint64_t update) {
    { o.at(now, update) } -> chooses_op;
};

template <class O>
concept optimizer = has_validate<O> &&(gives_step_op<O> || gives_ops<O>);

namespace detail {

template <class Op> consteval bool check_op() {
    constexpr bool trivial = std::is_trivially_copyable_v<Op>;
    static_assert(diagnostic::holds<trivial, diagnostic::given_type<Op>>,
                  "espalier: the op of an optimizer must be trivially copyable, kernels receive it by value; the next "
                  "lines name its type");
    if constexpr (trivial) {
        constexpr bool counts = has_moments<Op> && has_rate<Op>;
        static_assert(diagnostic::holds<counts, diagnostic::given_type<Op>>,
                      "espalier: the op of an optimizer needs `static constexpr int moments` and `ESPALIER_FN double "
                      "rate() const`; the next lines name its type");
        if constexpr (counts && chooses_op<Op>) {
            return true;
        } else if constexpr (counts) {
            constexpr bool steps = has_step<Op, float> && has_step<Op, double> && has_step<Op, native_pack<float>>;
            static_assert(diagnostic::holds<steps, diagnostic::given_type<Op>>,
                          "espalier: the op of an optimizer needs `template <class T> ESPALIER_FN T step(T w, T g, T* "
                          "m, T learning_rate, T decay) const`, which gives the new weight; T is a number or a pack of "
                          "them; the next lines name its type");
            return steps;
        }
    }
    return false;
}

/// What an optimizer is asked for. The first member that is missing has a sentence: GCC 12 may find another one missing
/// after an error.
template <class O> consteval bool check_members() {
    constexpr bool validates = has_validate<O>;
    static_assert(diagnostic::holds<validates, diagnostic::given_type<O>>,
                  "espalier: an optimizer needs `void validate() const`, which throws data_error when its numbers make "
                  "no sense; the next lines name the type");
    if constexpr (validates) {
        constexpr bool gives_op = requires(O const& o, clock const& now, std::uint64_t update) {
            o.at(now, update);
        };
        static_assert(
            diagnostic::holds<gives_op, diagnostic::given_type<O>>,
            "espalier: an optimizer needs `my_op at(espalier::clock const& now, std::uint64_t update) const`, "
            "which gives the numbers of a step; the next lines name the type");
        if constexpr (gives_op) return check_op<decltype(std::declval<O const&>().at(clock{}, std::uint64_t{1}))>();
    }
    return false;
}

/// Throws data_error unless low <= x < high.
void require_within(double x, double low, double high, char const* optimizer_name, char const* number);

/// What single precision can hold: a larger number would be infinite in the update, and infinite times a gradient of 0
/// is no number.
inline constexpr double no_limit = std::numeric_limits<float>::max();

/// Checks a number or, as far as it says what values it takes, a schedule.
template <schedule::number_or_schedule X>
void validate(X const& x, double low, double high, char const* optimizer_name, char const* number) {
    if constexpr (std::is_arithmetic_v<X>)
        require_within(static_cast<double>(x), low, high, optimizer_name, number);
    else
        schedule::validate(x, (std::string(optimizer_name) + ": `" + number + "`").c_str(), {low, high});
}

/// The value now, checked: a schedule may leave its range while the program runs.
template <schedule::number_or_schedule X>
double value_within(X const& x, clock const& now, double low, double high, char const* optimizer_name,
                    char const* number) {
    double const value = schedule::value_at(x, now);
    require_within(value, low, high, optimizer_name, number);
    return value;
}

} // namespace detail
} // namespace espalier::optimizer

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/optimizer/detail/concept.hpp>
#endif
