// SPDX-License-Identifier: Apache-2.0
// What an element-wise weight policy is: a map from the raw weight, which the optimizer moves, to the effective one,
// which the products read.
//
// Archetype:
//
//     struct my_map {
//         using axis = espalier::axis::weight;
//         static constexpr bool uses_mask = false;     // whether `about.keep` comes from a bit mask; true otherwise
//         static constexpr bool needs_operand = false; // whether effective weights differ from the stored ones, so the
//                                                      // update must write a second copy for the products
//         static constexpr bool only_marks = false;    // true: what the mask leaves out is no zero, it is only marked
//         template <class T> ESPALIER_FN T effective(T raw) const; // what products read
//         template <class T> ESPALIER_FN T pull(T g) const;        // gradient of the raw weight from that of the
//                                                                  // effective one
//         template <class T> ESPALIER_FN T store(T next) const;    // what is stored after the step
//     };
//
// Each of the three may have `element_about<T> const& about` as its last argument (core/element_about.hpp): `pull`
// finds the raw weight in it, and a map with a mask finds there whether it keeps the weight. For `effective` the raw
// weight is its argument, and there is nothing but the weight and the mask: what products read must not depend on the
// step that wrote it. T is float, double or a pack of them.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::weight {

template <class M>
concept has_uses_mask = requires {
    { M::uses_mask } -> std::convertible_to<bool>;
};

template <class M>
concept has_needs_operand = requires {
    { M::needs_operand } -> std::convertible_to<bool>;
};

namespace detail {
ESPALIER_ABOUT_FORMS(pull)
ESPALIER_ABOUT_FORMS(effective)
ESPALIER_ABOUT_FORMS(store)

/// What products read of a raw weight. The copies are written by a step, made anew without one and compared by a
/// selection of masks, so of `about` there is what all of them know.
template <class M, class T> ESPALIER_FN T effective_weight(M const& map, T const& raw, mask_of<T> const& keep) {
    return effective(map, element_about<T>{.weight = raw, .keep = keep}, raw);
}
} // namespace detail

template <class M, class T>
concept has_pull = requires(M const& map, element_about<T> const& about, T g) {
    { detail::pull(map, about, g) } -> gives<T>;
};

template <class M, class T>
concept has_store = requires(M const& map, element_about<T> const& about, T next) {
    { detail::store(map, about, next) } -> gives<T>;
};

template <class M, class T>
concept has_effective = requires(M const& map, element_about<T> const& about, T raw) {
    { detail::effective(map, about, raw) } -> gives<T>;
};

/// The op of a weight policy or of a mask rule: what core/update.hpp calls `Map`.
template <class M>
concept element_map = std::is_trivially_copyable_v<M> && has_uses_mask<M> && has_needs_operand<M> &&
    has_pull<M, float> && has_pull<M, double> && has_store<M, float> && has_store<M, double> &&
    has_effective<M, float> && has_effective<M, double> && has_pull<M, native_pack<float>> &&
    has_store<M, native_pack<float>> && has_effective<M, native_pack<float>>;

} // namespace espalier::weight

namespace espalier {

namespace detail {

/// What an op needs that maps weights.
template <class Asked> consteval bool map_members() {
    using op = typename Asked::op;
    constexpr bool flags = espalier::weight::has_uses_mask<op> && espalier::weight::has_needs_operand<op>;
    ESPALIER_NEEDS(flags, "a weight map needs `static constexpr bool uses_mask` and `needs_operand` in its op");
    ESPALIER_NEEDS_OF_T(pull, espalier::weight::has_pull,
                        "a weight map needs `template <class T> ESPALIER_FN T pull(T g) const` in its op, the "
                        "gradient of the raw weight; `element_about<T> const& about` may follow g: it has the "
                        "weight and whether the mask keeps it");
    ESPALIER_NEEDS_OF_T(store, espalier::weight::has_store,
                        "a weight map needs `template <class T> ESPALIER_FN T store(T next) const` in its op, what "
                        "is kept after the step; `element_about<T> const& about` may follow next");
    ESPALIER_NEEDS_OF_T(effective, espalier::weight::has_effective,
                        "a weight map needs `template <class T> ESPALIER_FN T effective(T raw) const` in its op, "
                        "what products read; `element_about<T> const& about` may follow raw");
    return flags && pull && store && effective;
}

} // namespace detail

/// What a policy on the axis needs: an operator has a contract of its own.
template <class Asked> consteval bool axis::weight::members() {
    if constexpr (reaches_kernels<typename Asked::policy>)
        return detail::map_members<Asked>();
    else
        return true;
}

} // namespace espalier
