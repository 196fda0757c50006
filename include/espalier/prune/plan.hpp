// SPDX-License-Identifier: Apache-2.0
// host only. How the mask of one tensor is selected, as functions: what a table of tensors knows of a pruning policy.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/prune/weight_key.hpp>
#include <espalier/weight/concept.hpp>

#include <algorithm>
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
    /// What is compared of n weights, weights as products read them or keys; null where it is the stored weights.
    void (*compared)(clock const& now, sight<T> const& tensor, index_t n, T* numbers) = nullptr;
    /// The mask of one tensor of n weights that comes to keep `keep` of them, `stay` of those that it keeps now among
    /// them; null where nothing is exchanged. `room`: for n numbers.
    void (*exchange)(clock const& now, sight<T> const& tensor, index_t n, index_t stay, index_t keep, T* room,
                     std::uint32_t* mask) = nullptr;
};

/// A pruning policy without its type.
struct plan {
    bool (*due)(clock const& now);         ///< whether masks are selected anew before the step
    double (*sparsity)(clock const& now);  ///< share that is left out
    double (*exchanged)(clock const& now); ///< share of what is kept that is exchanged; null where nothing is
    int (*group_beside)(index_t rows); ///< the first group of rows that so many do not hold, or 0; null without stages
    bool global;                       ///< selected together with the other tensors of such a plan
    bool sees_gradients;               ///< selected once a step has its gradients
    bool reads_moment;                 ///< and by what the optimizer keeps of a weight
    bool fixed_share;                  ///< the selection can leave out one share at a time only, or what is not below a
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

/// How many of n weights an exchange comes to keep, and how many of those that are kept now are among them.
struct exchanged_weights {
    exchanged_weights(clock const& now, plan const& of, prune_record const& record, index_t n)
        : keep(kept_count(n, record.wanted)),
          stay(record.sparsity < 0.0 ? keep : keep - round_of_product(of.exchanged(now), keep)) {}

    index_t keep, stay;
};

namespace detail {

template <class Criterion, class Map, class T>
void compared_numbers(clock const& now, sight<T> const& tensor, index_t n, T* numbers) {
    auto const map = op_at<Map>(now);
    if constexpr (sees_gradients<Criterion>) {
        write_keys(weight_key<Criterion, op_of<Map>, T>::of(map, tensor, n), tensor.weights, n, numbers);
    } else {
        auto const made = weight::detail::with_scalars(map, tensor.weights + padded(n));
        for (index_t i = 0; i < n; ++i)
            numbers[i] = weight::detail::effective_weight(made, tensor.weights[i], true);
    }
}

template <class Policy, class Map, class T>
void exchange_weights(clock const& now, sight<T> const& tensor, index_t n, index_t stay, index_t keep, T* room,
                      std::uint32_t* mask) {
    auto const map = op_at<Map>(now);
    using worth = weight_key<typename Policy::criterion_type, op_of<Map>, T>;
    using growth = weight_key<typename Policy::selection::growth, op_of<Map>, T>;
    piece<T> const keys[] = {{room, n, mask}};
    write_keys(kept_key<worth>{worth::of(map, tensor, n), mask}, tensor.weights, n, room);
    select_largest<by_written_key>(keys, std::min(stay, count_kept(mask, n)));
    write_keys(grown_key<growth>{growth::of(map, tensor, n), mask}, tensor.weights, n, room);
    select_largest<by_written_key>(keys, keep);
}

template <class Policy, class Map, class T> constexpr selections<T> selections_of() {
    using criterion = typename Policy::criterion_type;
    selections<T> s;
    if constexpr (exchanges<typename Policy::selection>)
        s.exchange = &exchange_weights<Policy, Map, T>;
    else if constexpr (Policy::selection::global)
        s.of_all = &select_threshold<compared_by<criterion>, std::vector<piece<T>>>;
    else
        s.of_tensor = &Policy::template select<T>;
    if constexpr (!exchanges<typename Policy::selection> && (op_of<Map>::needs_operand || sees_gradients<criterion>))
        s.compared = &compared_numbers<criterion, Map, T>;
    return s;
}

template <class Policy> constexpr auto exchanged_share() {
    double (*share)(clock const&) = nullptr;
    if constexpr (exchanges<typename Policy::selection>) share = &Policy::selection::share;
    return share;
}
template <class Policy> constexpr auto check_of_groups() {
    int (*beside)(index_t) = nullptr;
    if constexpr (requires { Policy::selection::group_beside(index_t{}); }) beside = &Policy::selection::group_beside;
    return beside;
}
// Of the criterion of a policy's weights, or of that of weights which come back.
template <class Policy> consteval bool policy_sees_gradients() {
    if constexpr (exchanges<typename Policy::selection>)
        if (sees_gradients<typename Policy::selection::growth>) return true;
    return sees_gradients<typename Policy::criterion_type>;
}
template <class Policy> consteval bool policy_reads_moment() {
    if constexpr (exchanges<typename Policy::selection>)
        if (reads_moment<typename Policy::selection::growth>) return true;
    return reads_moment<typename Policy::criterion_type>;
}

template <class Policy, class Map>
inline constexpr plan plan_object{&Policy::due,
                                  &Policy::sparsity,
                                  exchanged_share<Policy>(),
                                  check_of_groups<Policy>(),
                                  Policy::selection::global,
                                  policy_sees_gradients<Policy>(),
                                  policy_reads_moment<Policy>(),
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
