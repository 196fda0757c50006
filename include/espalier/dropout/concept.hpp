// SPDX-License-Identifier: Apache-2.0
// What a dropout is: a random factor of every output of a layer, drawn again in backward and never stored.
//
// Archetype of its op:
//
//     struct my_op {
//         static constexpr random_scope scope = random_scope::element; // or row, segment, step, none
//         template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const; // not for random_scope::none
//     };
//
// `bits` is a uniform 16-bit draw, widened to an unsigned integer or a pack of them with the lanes of T. A factor that
// depends on more than its draw takes `about` (core/epilogue.hpp) in its place:
//
//         template <class T, class Bits> ESPALIER_FN T factor(epilogue_about<T, Bits> const& about) const;
//
// What it may have besides:
//
//         std::uint32_t segment;                           // for random_scope::segment: columns of one decision;
//                                                          // the policy may say it too: `segment_columns`
//         template <class T, class Bits> ESPALIER_FN T shift(Bits bits) const; // y = factor a + shift; also of `about`
//         static constexpr bool needs_row_bits = false;    // true: `about.row_bits` is a further draw, of the row
//         static constexpr bool needs_tags = false;        // true: `about.batch` has the tags of the rows
//         using place = row_tag<&rows::group>;             // rows of equal tag have the same draws
//         void require_rows(rows const& batch) const;      // throws data_error for tags that make no sense; on the CPU
//
// The policy has `axis`, `name`, `op`, `at(clock)` as in core/policy.hpp. At inference the factor is 1 and the
// shift 0: E[factor] = 1 and E[shift] = 0 are the policy's to keep; one that does not says `static constexpr bool
// keeps_mean = false`.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/dropout/axis.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::dropout {

template <class Op>
concept has_scope = std::same_as<std::remove_cvref_t<decltype(Op::scope)>, random_scope>;

template <class Op, class T>
concept has_factor = requires(Op const& op, drawn_bits<T> bits) {
    { op.template factor<T>(bits) } -> gives<T>;
}
|| requires(Op const& op, epilogue_about<T, drawn_bits<T>> const& about) {
    { op.factor(about) } -> gives<T>;
};

/// A member of that name is there, whatever it takes. nvcc does not find a template so: what it compiles, a host
/// compiler should have seen.
template <class Op>
concept names_shift = requires {
    &Op::template shift<float>;
}
|| requires {
    &Op::template shift<float, drawn_bits<float>>;
};

/// It can be called, or is not there.
template <class Op, class T>
concept has_shift_or_none = !names_shift<Op> || espalier::detail::shifts<Op, T, drawn_bits<T>>;

/// A decision over columns needs to know how many.
template <class Op>
concept has_segment = has_scope<Op> &&(Op::scope != random_scope::segment || requires(Op const& op) {
    { op.segment } -> std::convertible_to<std::uint32_t>;
});

/// Throws data_error unless the segments fill the width.
inline void check_segment(std::string_view name, std::uint32_t segment, index_t width, std::uint64_t step) {
    if (segment == 0 || width % segment != 0)
        espalier::detail::throw_data_error("dropout ", name, ": its segments have ", segment, " columns at step ", step,
                                           ", needed is a number that divides the ", width, " columns of the layer");
}

namespace detail {

/// Columns of a segment where the policy knows them while compiling, else 0.
ESPALIER_MEMBER_OR(constant_segment, segment_columns, index_t{0})
ESPALIER_MEMBER_OR(keeps_mean, keeps_mean, true)
template <class Op> consteval bool draws_nothing() {
    if constexpr (has_scope<Op>)
        return Op::scope == random_scope::none;
    else
        return false;
}

} // namespace detail

template <class P>
concept random_field = policy_on<P, axis::dropout> && std::is_trivially_copyable_v<op_of<P>> && has_segment<op_of<P>> &&
    (detail::draws_nothing<op_of<P>>() ||
     (has_factor<op_of<P>, float> && has_factor<op_of<P>, double> && has_factor<op_of<P>, native_pack<float>>));

} // namespace espalier::dropout

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::dropout::members() {
    using op = typename Asked::op;
    constexpr bool scope = espalier::dropout::has_scope<op>;
    ESPALIER_NEEDS(scope, "a dropout needs `static constexpr random_scope scope` in its op: element, row, segment, "
                          "step or none");
    constexpr bool segment = !scope || espalier::dropout::has_segment<op>;
    ESPALIER_NEEDS(segment, "a dropout whose scope is segment needs `std::uint32_t segment` in its op, the number of "
                            "columns that one decision covers");
    if constexpr (!scope || !segment || espalier::dropout::detail::draws_nothing<op>()) {
        return scope && segment;
    } else {
        ESPALIER_NEEDS_OF_T(factor, espalier::dropout::has_factor,
                            "a dropout needs `template <class T, class Bits> ESPALIER_FN T factor(Bits bits) "
                            "const` in its op, where bits is a uniform 16-bit draw, or "
                            "`factor(epilogue_about<T, Bits> const& about) const`");
        ESPALIER_NEEDS_OF_T(shift, espalier::dropout::has_shift_or_none,
                            "the `shift` of a dropout is `template <class T, class Bits> ESPALIER_FN T shift(Bits "
                            "bits) const` or `shift(epilogue_about<T, Bits> const& about) const`");
        return factor && shift;
    }
}

} // namespace espalier
