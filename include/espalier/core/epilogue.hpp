// SPDX-License-Identifier: Apache-2.0
// What happens to an element between the product of a layer and its output, composed from ops at compile time:
//     y = factor * activation(z) + shift       z: product plus bias
// and, on the way back, with the gradients of the activation penalties added to the upstream gradient,
//     dz = activation'(z) * factor * (dy + sum_i penalty_i'(y)).
// Nothing is stored but z: factor and shift are drawn again from their counter. Where units are masked, y and dz of a
// unit that is left out are 0.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

/// What one random decision of a dropout covers: nothing, an element, a row, so many neighbouring columns of a row, or
/// all rows of all layers that ask for it in a forward pass.
enum class random_scope { none, element, row, segment, step };

/// Number of the draw of a place that `row_bits` come from: that of its elements has number 0.
inline constexpr std::uint32_t row_draw = 1;

/// Over what an activation penalty sums before it is finished.
enum class penalty_scope { element, column };

/// What an epilogue leaves and finds beside its rows: the sums of its penalties and the mask of its units. `value[i]`
/// receives the term of penalty i; `column_sums` holds, for each column penalty, one sum a column, `column_stride`
/// apart; `units`, for an op with `masks_units`, one number a column, 0 where the unit is left out.
template <class T> struct epilogue_statistics {
    double* value = nullptr;
    T* column_sums = nullptr;
    index_t column_stride = 0;
    T const* units = nullptr;
};

/// What a dropout or an activation penalty may look at beside the number that it is given, as the last argument of its
/// functions. T is float, double or a pack of consecutive columns of a row, Bits an unsigned integer or a pack of them
/// with as many lanes. What nobody reads is not computed.
template <class T, class Bits> struct epilogue_about {
    Bits bits{};                 ///< the 16-bit draw of the dropout's scope; 0 without one
    Bits row_bits{};             ///< a further draw, of the row, for an op with `needs_row_bits`
    Bits column{};               ///< in the layer's output
    T row_count{};               ///< rows of the batch
    T column_sum{};              ///< of a penalty over columns, in its gradient: the sum of this column
    T unit{};                    ///< the number of this column's unit, for an op with `masks_units`
    index_t width = 0;           ///< columns of the layer's output
    index_t row = 0;             ///< place of the row among those of `batch`
    rows const* batch = nullptr; ///< tags of the rows, `batch->label[row]`, for an op with `needs_tags`
    std::uint32_t origin = 0;    ///< number of the row, whatever the layout
    std::uint32_t step = 0;      ///< low 32 bits of the step
};

/// What all elements of row `r` have in common, but its draw.
template <class Op, class T, class Bits>
ESPALIER_FN epilogue_about<T, Bits> about_row(rows const& batch, index_t r, index_t width, T row_count,
                                              std::uint32_t step) {
    epilogue_about<T, Bits> about;
    about.row_count = row_count;
    about.width = width;
    about.row = r;
    if constexpr (Op::needs_tags) about.batch = &batch;
    about.origin = batch.origin_of(r);
    about.step = step;
    return about;
}

namespace detail {

/// An op with `place` does, whatever it says of its functions: that it follows a tag was said around it.
template <class Op> consteval bool reads_tags() {
    if constexpr (requires { typename Op::place; })
        return true;
    else if constexpr (requires { Op::needs_tags; })
        return Op::needs_tags;
    else
        return false;
}

ESPALIER_MEMBER_OR(reads_row_bits, needs_row_bits, false)
/// The row of the counter that draws of row r come from: its origin, or, for an op with `place`, the number that this
/// tag has. Numbers of 64 bits are folded.
template <class Dropout> ESPALIER_FN std::uint32_t draw_place(rows const& batch, index_t r) {
    if constexpr (requires { typename Dropout::place; }) {
        if (auto const* const tag = batch.*Dropout::place::array) {
            auto const number = static_cast<std::uint64_t>(tag[r]);
            return static_cast<std::uint32_t>(number) ^ static_cast<std::uint32_t>(number >> 32) * 0x9e3779b9u;
        }
    }
    return batch.origin_of(r);
}

// The functions of policies, each in the form that the policy has: with the numbers that its simplest use needs, or
// with `about`. That it has one of them is what the concepts of the axes ask.

template <class Op, class T, class Bits>
ESPALIER_FN auto factor_of(Op const& op, epilogue_about<T, Bits> const& about) {
    if constexpr (requires { op.template factor<T>(about.bits); })
        return op.template factor<T>(about.bits);
    else
        return op.factor(about);
}
template <class Op, class T, class Bits>
concept shifts = requires(Op const& op, epilogue_about<T, Bits> const& about) {
    op.template shift<T>(about.bits);
}
|| requires(Op const& op, epilogue_about<T, Bits> const& about) {
    op.shift(about);
};

template <class Op, class T, class Bits>
ESPALIER_FN T shifted(Op const& op, T y, epilogue_about<T, Bits> const& about) {
    if constexpr (!shifts<Op, T, Bits>)
        return y;
    else if constexpr (requires { op.template shift<T>(about.bits); })
        return y + op.template shift<T>(about.bits);
    else
        return y + op.shift(about);
}
template <class Op, class T, class Bits>
ESPALIER_FN auto contribution_of(Op const& op, T y, epilogue_about<T, Bits> const& about) {
    if constexpr (requires { op.contribution(y); })
        return op.contribution(y);
    else
        return op.contribution(y, about);
}
template <class Op, class T, class Bits>
ESPALIER_FN auto gradient_of(Op const& op, T y, epilogue_about<T, Bits> const& about) {
    if constexpr (requires { op.gradient(y, about.row_count); })
        return op.gradient(y, about.row_count);
    else
        return op.gradient(y, about);
}

} // namespace detail

/// The ops of an epilogue. An aggregate of their numbers; empty ops take no space.
template <class Activation, class Dropout, class... Penalties> struct epilogue_op {
    [[no_unique_address]] Activation activation;
    [[no_unique_address]] Dropout dropout;
    [[no_unique_address]] flat_tuple<Penalties...> penalties;

    using dropout_type = Dropout;
    static constexpr random_scope scope = Dropout::scope;
    static constexpr bool masks_units = false;
    static constexpr bool has_penalties = sizeof...(Penalties) > 0;
    /// How many penalties need a sum for every column before their gradient is known.
    static constexpr int column_penalties = (0 + ... + int{Penalties::scope == penalty_scope::column});
    static constexpr int penalty_count = sizeof...(Penalties);
    static constexpr bool needs_tags = (detail::reads_tags<Dropout>() || ... || detail::reads_tags<Penalties>());
    static constexpr bool needs_row_bits =
        (detail::reads_row_bits<Dropout>() || ... || detail::reads_row_bits<Penalties>());

    template <class T, class Bits> ESPALIER_FN T forward(T z, epilogue_about<T, Bits> const& about) const {
        T const a = activation.forward(z);
        if constexpr (scope == random_scope::none)
            return a;
        else
            return detail::shifted(dropout, T(a * detail::factor_of(dropout, about)), about);
    }

    /// `column_sum(i)` is the sum of this column for the i-th penalty over columns.
    template <class T, class Bits, class Sum>
    ESPALIER_FN T backward(T z, T dy, epilogue_about<T, Bits> about, Sum const& column_sum) const {
        T const a = activation.forward(z);
        T upstream = dy;
        T factor = T(1);
        if constexpr (scope != random_scope::none) factor = detail::factor_of(dropout, about);
        if constexpr (has_penalties) {
            T const y = detail::shifted(dropout, T(a * factor), about);
            int column_index = 0;
            for_each(penalties, [&](auto const& penalty) {
                using op = std::remove_cvref_t<decltype(penalty)>;
                about.column_sum = T{};
                if constexpr (op::scope == penalty_scope::column) about.column_sum = column_sum(column_index++);
                upstream = upstream + detail::gradient_of(penalty, y, about);
            });
        }
        if constexpr (scope != random_scope::none) upstream = upstream * factor;
        return activation.backward(z, a, upstream);
    }
};

/// The ops of an epilogue that leaves units out: the output and the gradient of a column whose number is 0 are 0,
/// whatever its numbers would be; others are those of Op.
template <class Op> struct masked_epilogue : Op {
    static constexpr bool masks_units = true;

    template <class T, class Bits> ESPALIER_FN T forward(T z, epilogue_about<T, Bits> const& about) const {
        return kept(Op::forward(z, about), about.unit);
    }
    template <class T, class Bits, class Sum>
    ESPALIER_FN T backward(T z, T dy, epilogue_about<T, Bits> const& about, Sum const& column_sum) const {
        return kept(Op::backward(z, dy, about, column_sum), about.unit);
    }

private:
    template <class T> ESPALIER_FN static T kept(T x, T unit) {
        using espalier::select;
        T const zero(scalar_of<T>(0));
        return select(unit != zero, x, zero);
    }
};

} // namespace espalier
