// SPDX-License-Identifier: Apache-2.0
// A dropout as function objects of the place of an element in a row-major matrix.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/dropout/site.hpp>
#include <espalier/functor/policy_functor.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

/// The factors of a dropout by element.
template <class Op> struct dropout_factors {
    Op op;
    random_site site{};
    rows batch{};
    index_t columns = 1;

    /// Of element (i / columns, i % columns). One draw: ten rounds of Philox, of which a layer needs one for eight
    /// elements. 1 for a dropout that draws nothing.
    template <class T> ESPALIER_FN T factor(index_t i) const {
        if constexpr (Op::scope == random_scope::none)
            return T(1);
        else
            return detail::factor_of(op, about<T>(i));
    }

protected:
    template <class T> ESPALIER_FN epilogue_about<T, drawn_bits<T>> about(index_t i) const {
        static_assert(real<T> && !is_pack<T>, "espalier: a dropout at a place takes single numbers, float or double");
        index_t const r = i / columns;
        auto const column = static_cast<std::uint32_t>(i - r * columns);
        auto const place = detail::draw_place<Op>(batch, r);
        auto result = about_row<reads, T, drawn_bits<T>>(batch, r, columns, static_cast<T>(batch.count), site.step);
        result.column = column;
        if constexpr (Op::scope == random_scope::element)
            result.bits = draw(site, place, column / 8)[static_cast<int>(column % 8)];
        else if constexpr (Op::scope == random_scope::row)
            result.bits = draw(site, place, 0)[0];
        else if constexpr (Op::scope == random_scope::step)
            result.bits = draw(site, 0, 0)[0];
        else if constexpr (Op::scope == random_scope::segment)
            result.bits = draw(site, place, column / op.segment / 8)[static_cast<int>(column / op.segment % 8)];
        if constexpr (detail::reads_row_bits<Op>()) result.row_bits = draw(site, place, 0, row_draw)[0];
        return result;
    }

private:
    struct reads {
        static constexpr bool needs_tags = detail::reads_tags<Op>();
    };
};

/// What `dropout_at` gives.
template <class Op> struct dropout_functor : dropout_factors<Op> {
    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(index_t i, T given) const {
        using number = detail::functor_number_t<T>;
        auto const x = detail::functor_argument<number>(given);
        if constexpr (Op::scope == random_scope::none) {
            return x;
        } else {
            auto const about = this->template about<number>(i);
            return detail::shifted(this->op, number(x * detail::factor_of(this->op, about)), about);
        }
    }
};

/// What `dropout_gradient_at` gives.
template <class Op> struct dropout_gradient_functor : dropout_factors<Op> {
    template <class T> ESPALIER_FN detail::functor_number_t<T> operator()(index_t i, T given) const {
        using number = detail::functor_number_t<T>;
        return detail::functor_argument<number>(given) * this->template factor<number>(i);
    }
};

namespace detail {

template <template <class> class Functor, class P>
auto make_dropout_functor(random_site const& site, rows const& batch, index_t columns, clock const& now) {
    if constexpr (check_functor<P, axis::dropout>()) {
        if (batch.count < 0 || columns < 1)
            throw_shape_error("dropout_at: ", batch.count, " rows of ", columns,
                              " columns were given; needed are at least one column and no negative number of rows");
        Functor<op_of<P>> result{{op_at<P>(now), site, batch, columns}};
        if constexpr (op_of<P>::scope == random_scope::segment)
            dropout::check_segment(name_of<P>(), result.op.segment, columns, now.step);
        return result;
    } else {
        return no_functor{};
    }
}

} // namespace detail

/// y = factor x + shift of (i, x), where x is element i of a row-major matrix of `batch.count` rows and `columns`
/// columns: bit for bit what a layer with the dropout makes of it in training, at the site (`dropout_site`) and step of
/// the layer, for rows with the origins and tags of `batch`. An array of tags must lie where the functor runs.
///
///     auto const site = esp::dropout_site<drop>(seed, stream, now.step);
///     auto const drops = esp::dropout_at<drop>(site, {.count = n}, columns, now);
///     thrust::transform(thrust::make_counting_iterator(esp::index_t(0)), thrust::make_counting_iterator(n * columns),
///                       x.begin(), y.begin(), drops);
///
/// Throws shape_error for extents that make no sense, data_error for segments that do not fill the columns and what
/// `at` of the policy throws.
template <class P> auto dropout_at(random_site const& site, rows const& batch, index_t columns, clock const& now = {}) {
    return detail::make_dropout_functor<dropout_functor, P>(site, batch, columns, now);
}

/// dx = factor dy of (i, dy): the gradient of `dropout_at`, whose arguments it takes.
template <class P>
auto dropout_gradient_at(random_site const& site, rows const& batch, index_t columns, clock const& now = {}) {
    return detail::make_dropout_functor<dropout_gradient_functor, P>(site, batch, columns, now);
}

} // namespace espalier
