// SPDX-License-Identifier: Apache-2.0
// Several tasks on one row of outputs: a loss of its own for every column.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/concept.hpp>

#include <concepts>
#include <string_view>

namespace espalier::loss {

namespace detail {
template <class C, class T>
concept gives_slope = requires(C const& column, T z) {
    { column.of(z, z) } -> std::same_as<value_and_slope<T>>;
};
template <class C>
concept column_loss = gives_slope<C, float> && gives_slope<C, double> && gives_slope<C, native_pack<float>> &&
    requires(C const& column) {
    { column.weight } -> std::convertible_to<double>;
};
} // namespace detail

/// l = sum over the columns c of weight_c l_c(z_c, t_c), for outputs whose columns are tasks: column c of the targets
/// is that of task c, and a target that is NaN says that the row has none for it (an unrated film: value and gradient
/// 0). The driver's mean is over all rows, whether they have the target or not. Made by `columns`:
///     loss::columns(loss::column::binary{}, loss::column::squared{.weight = 0.1})
/// with as many columns as the network has outputs.
template <class... Columns> struct by_column {
    static_assert(diagnostic::holds<(true && ... && detail::column_loss<Columns>), diagnostic::given_type<Columns>...>,
                  "espalier: loss::by_column is made of losses of single numbers, loss::column::binary, squared, or a "
                  "type of yours with their members `weight` and `of` (loss/column.hpp); the next lines name what was "
                  "given");
    flat_tuple<Columns...> tasks;

    static constexpr std::string_view name = "by_column";
    static constexpr bool needs_dense_target = true;
    static constexpr bool skips_missing_targets = true;

    constexpr char const* problem() const {
        bool sensible = true;
        for_each(tasks,
                 [&](auto const& task) { sensible = sensible && task.weight >= 0.0 && task.weight < __builtin_inf(); });
        return sensible ? nullptr : "by_column: every weight must be finite and not negative";
    }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        static_assert(N == sizeof...(Columns),
                      "espalier: loss::by_column needs one column loss for each output of the network");
        using S = scalar_of<T>;
        constexpr int lanes = row<Group, T, N>::lanes;
        T const none(S(0));
        T sum = none;
        if (dz) {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i)
                dz->v[i] = none;
        }
        int number = 0;
        for_each(tasks, [&](auto const& task) {
            int const i = number / lanes;
            T const t = target.dense->v[i], weight(static_cast<S>(task.weight));
            auto const here = (z.column(group, i) == T(static_cast<S>(number))) & (t == t);
            value_and_slope<T> const x = task.of(z.v[i], select(here, t, none));
            sum += select(here, weight * x.value, none);
            if (dz) dz->v[i] += select(here, weight * x.slope, none);
            ++number;
        });
        return group.reduce_add(sum);
    }
};

/// by_column from its columns, in order.
template <class... Columns> constexpr by_column<Columns...> columns(Columns... given) {
    return {flat_tuple<Columns...>{{{given}...}}};
}

} // namespace espalier::loss
