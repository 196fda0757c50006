// SPDX-License-Identifier: Apache-2.0
// Neighbouring columns are dropped together: the channels of a grid, the fields of a row.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/dropout/with_rate.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::dropout {

/// Numbers and the factor of `drop_segment`.
struct drop_segment_op : threshold_op<random_scope::segment> {
    std::uint32_t segment; ///< columns that one decision covers
    static constexpr auto numbers = keep_threshold::numbers + fields<&drop_segment_op::segment>;
};

/// y = x k / p with one k for every row and every Columns neighbouring columns: 1 with probability p = 1 - Rate, else 0
/// (with the columns of a channel side by side, the spatial dropout of Tompson et al. 2015). Columns: a number or a
/// schedule, a whole number that divides the layer's width; a number that does not stops compilation, a schedule that
/// gives one throws data_error. Rate: see `with_rate`.
template <schedule::number_or_schedule auto Columns, schedule::number_or_schedule auto Rate>
struct drop_segment : with_rate<drop_segment<Columns, Rate>, random_scope::segment, Rate> {
    static constexpr schedule::bounds columns_range{1.0, 2147483647.0};
    static_assert(diagnostic::holds<schedule::stays_within(Columns, columns_range),
                                    diagnostic::from_policy<drop_segment>, diagnostic::given<Columns>>,
                  "espalier: dropout::drop_segment needs a number of columns from 1 to 2147483647");
    static constexpr std::string_view name = "drop_segment";
    using op = drop_segment_op;
    /// Columns, where that is a number.
    static constexpr index_t segment_columns = [] {
        if constexpr (std::is_arithmetic_v<decltype(Columns)>)
            return static_cast<index_t>(Columns);
        else
            return index_t{0};
    }();
    static op at(clock const& now) {
        double const given = schedule::value_within(Columns, now, columns_range, "dropout", name, "number of columns");
        auto const columns = static_cast<std::uint32_t>(given);
        if (static_cast<double>(columns) != given)
            espalier::detail::throw_data_error("dropout drop_segment: its number of columns is ", given, " at step ",
                                               now.step, ", needed is a whole number");
        return {with_rate<drop_segment, random_scope::segment, Rate>::at(now), columns};
    }
};

} // namespace espalier::dropout
