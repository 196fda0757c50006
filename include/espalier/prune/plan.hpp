// SPDX-License-Identifier: Apache-2.0
// host only. How the mask of one tensor is selected, as functions: what a table of tensors knows of a pruning policy.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/weight/concept.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace espalier::prune {

/// The selections of a policy for weights of type T.
template <class T> struct selections {
    /// The mask of one tensor; null where tensors are selected together.
    void (*of_tensor)(clock const& now, matrix_view<T const> w, double share, std::uint32_t* mask) = nullptr;
    /// The masks of all tensors that are selected together; null otherwise.
    void (*of_all)(std::vector<piece<T>> const& pieces, double share) = nullptr;
    /// The n weights that are compared, from those that are stored; null where they are the same.
    void (*effective)(clock const& now, T const* raw, index_t n, T* weights) = nullptr;
};

/// A pruning policy without its type.
struct plan {
    bool (*due)(clock const& now);        ///< whether masks are selected anew before the step
    double (*sparsity)(clock const& now); ///< share that is left out
    bool global;                          ///< selected together with the other tensors of such a plan
    bool fixed_share; ///< the selection can leave out one share at a time only, or what is not below a
                      ///< threshold, and nothing
    selections<float> of_float;
    selections<double> of_double;

    /// Those for weights of type T, float or double.
    template <class T> selections<T> const& of() const {
        if constexpr (std::is_same_v<T, float>)
            return of_float;
        else
            return of_double;
    }
};

namespace detail {

template <class Map, class T> void map_weights(clock const& now, T const* raw, index_t n, T* weights) {
    auto const map = weight::detail::with_scalars(op_at<Map>(now), raw + padded(n));
    for (index_t i = 0; i < n; ++i)
        weights[i] = weight::detail::effective_weight(map, raw[i], true);
}

template <class Policy, class Map, class T> constexpr selections<T> selections_of() {
    selections<T> s;
    if constexpr (Policy::selection::global)
        s.of_all = &select_threshold<typename Policy::criterion_type, std::vector<piece<T>>>;
    else
        s.of_tensor = &Policy::template select<T>;
    if constexpr (op_of<Map>::needs_operand) s.effective = &map_weights<Map, T>;
    return s;
}

template <class Policy, class Map>
inline constexpr plan plan_object{&Policy::due,
                                  &Policy::sparsity,
                                  Policy::selection::global,
                                  has_sparsity<typename Policy::selection> ||
                                      selects_in_groups<typename Policy::selection> ||
                                      selects_below<typename Policy::selection>,
                                  selections_of<Policy, Map, float>(),
                                  selections_of<Policy, Map, double>()};

template <class Policy, class Map> constexpr plan const* find_plan() {
    if constexpr (std::is_void_v<Policy>)
        return nullptr;
    else
        return &plan_object<Policy, Map>;
}

} // namespace detail

/// The plan of a pruning policy behind a weight map; null for void.
template <class Policy, class Map> inline constexpr plan const* plan_of = detail::find_plan<Policy, Map>();

} // namespace espalier::prune
