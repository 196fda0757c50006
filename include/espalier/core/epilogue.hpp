// SPDX-License-Identifier: Apache-2.0
// What happens to an element between the product of a layer and its output, composed from ops at compile time:
//     y = factor(bits) * activation(z)         z: product plus bias
// and, on the way back, with the gradients of the activation penalties added to the upstream gradient,
//     dz = activation'(z) * factor(bits) * (dy + sum_i penalty_i'(y)).
// Nothing is stored but z: the factor is drawn again from its counter.
#pragma once

#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <type_traits>

namespace espalier {

/// What one random decision of a dropout covers.
enum class random_scope { none, element, row };

/// Over what an activation penalty sums before it is finished.
enum class penalty_scope { element, column };

/// Where an epilogue leaves and finds the sums of its penalties. `value[i]` receives the term of penalty i;
/// `column_sums` holds, for each column penalty, one sum a column, `column_stride` apart.
template <class T> struct epilogue_statistics {
    double* value = nullptr;
    T* column_sums = nullptr;
    index_t column_stride = 0;
};

namespace detail {

template <class Op> consteval bool is_row_form() {
    if constexpr (requires { Op::row_form; })
        return Op::row_form;
    else
        return false;
}

} // namespace detail

/// The ops of an epilogue. An aggregate of their numbers; empty ops take no space.
template <class Activation, class Dropout, class... Penalties> struct epilogue_op {
    [[no_unique_address]] Activation activation;
    [[no_unique_address]] Dropout dropout;
    [[no_unique_address]] flat_tuple<Penalties...> penalties;

    static constexpr random_scope scope = Dropout::scope;
    static constexpr bool has_penalties = sizeof...(Penalties) > 0;
    /// How many penalties need a sum for every column before their gradient is known.
    static constexpr int column_penalties = (0 + ... + int{Penalties::scope == penalty_scope::column});
    static constexpr int penalty_count = sizeof...(Penalties);

    template <class T, class Bits> ESPALIER_FN T forward(T z, Bits bits) const {
        T const a = activation.forward(z);
        if constexpr (scope == random_scope::none)
            return a;
        else
            return a * dropout.template factor<T>(bits);
    }

    /// `column_sum(i)` is the sum of this column for the i-th penalty over columns.
    template <class T, class Bits, class Sum>
    ESPALIER_FN T backward(T z, T dy, Bits bits, T row_count, Sum const& column_sum) const {
        T const a = activation.forward(z);
        T upstream = dy;
        T factor = T(1);
        if constexpr (scope != random_scope::none) factor = dropout.template factor<T>(bits);
        if constexpr (has_penalties) {
            T const y = a * factor;
            int column_index = 0;
            for_each(penalties, [&](auto const& penalty) {
                using op = std::remove_cvref_t<decltype(penalty)>;
                if constexpr (op::scope == penalty_scope::column)
                    upstream = upstream + penalty.gradient(y, column_sum(column_index++), row_count);
                else
                    upstream = upstream + penalty.gradient(y, row_count);
            });
        }
        if constexpr (scope != random_scope::none) upstream = upstream * factor;
        return activation.backward(z, a, upstream);
    }
};

} // namespace espalier
