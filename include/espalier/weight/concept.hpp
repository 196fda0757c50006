// SPDX-License-Identifier: Apache-2.0
// What an element-wise weight policy is: a map from the raw weight, which the optimizer moves, to the effective one,
// which the products read.
//
// Archetype:
//
//     struct my_map {
//         using axis = espalier::axis::weight;
//         static constexpr bool uses_mask = false;     // whether `keep` comes from a bit mask; it is true otherwise
//         static constexpr bool needs_operand = false; // whether effective weights differ from the stored ones, so
//         that
//                                                      // the update must write a second copy for the products
//         template <class T, class Keep> ESPALIER_FN T pull(T g, T raw, Keep keep) const; // gradient of the raw weight
//                                                      // from that of the effective one
//         template <class T, class Keep> ESPALIER_FN T store(T next, Keep keep) const; // what is stored after the step
//         template <class T, class Keep> ESPALIER_FN T effective(T raw, Keep keep) const; // what products read
//     };
//
// T is float, double or a pack of them, Keep is mask_of<T>.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

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

template <class M, class T>
concept has_pull = requires(M const& map, T x, mask_of<T> keep) {
    { map.pull(x, x, keep) } -> gives<T>;
};

template <class M, class T>
concept has_store = requires(M const& map, T x, mask_of<T> keep) {
    { map.store(x, keep) } -> gives<T>;
};

template <class M, class T>
concept has_effective = requires(M const& map, T x, mask_of<T> keep) {
    { map.effective(x, keep) } -> gives<T>;
};

/// The op of a weight policy or of a mask rule: what core/update.hpp calls `Map`.
template <class M>
concept element_map = std::is_trivially_copyable_v<M> && has_uses_mask<M> && has_needs_operand<M> &&
    has_pull<M, float> && has_pull<M, double> && has_store<M, float> && has_store<M, double> &&
    has_effective<M, float> && has_effective<M, double> && has_pull<M, native_pack<float>> &&
    has_store<M, native_pack<float>> && has_effective<M, native_pack<float>>;

} // namespace espalier::weight
