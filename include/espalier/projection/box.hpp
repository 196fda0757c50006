// SPDX-License-Identifier: Apache-2.0
// Every weight between two bounds.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/text.hpp>
#include <espalier/projection/axis.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <limits>
#include <string_view>

namespace espalier::projection {

namespace detail {

struct lower_bound {
    static constexpr std::string_view name = "lower bound";
    static constexpr schedule::bounds allowed{std::numeric_limits<double>::lowest(),
                                              std::numeric_limits<double>::max()};
};
struct upper_bound {
    static constexpr std::string_view name = "upper bound";
    static constexpr schedule::bounds allowed = lower_bound::allowed;
};

} // namespace detail

/// Numbers and element function of `box`.
struct box_op {
    double low;
    double high;
    static constexpr auto numbers = fields<&box_op::low, &box_op::high>;

    template <class T> ESPALIER_FN T apply(T next) const {
        using espalier::max, espalier::min;
        using S = scalar_of<T>;
        return max(T(static_cast<S>(low)), min(T(static_cast<S>(high)), next));
    }
};

/// w <- max(Low, min(High, w)); a NaN stays one. Low, High: finite numbers or schedules, Low not above High: throws
/// data_error when schedules give such a pair.
template <schedule::number_or_schedule auto Low, schedule::number_or_schedule auto High>
struct box
    : schedule::with_numbers<axis::projection, box<Low, High>, box_op, schedule::number<Low, detail::lower_bound>,
                             schedule::number<High, detail::upper_bound>> {
    static constexpr std::string_view name = "box";
    static_assert(
        diagnostic::holds<!(schedule::range_of(Low).low > schedule::range_of(High).high), diagnostic::from_policy<box>>,
        "espalier: projection::box<low, high> has a lower bound above its upper one: exchange them; the next "
        "line names the policy");
    static box_op at(clock const& now) {
        box_op const op = box::with_numbers::at(now);
        if (op.low > op.high)
            espalier::detail::throw_data_error("projection box: its lower bound is ", op.low, " at step ", now.step,
                                               " and above its upper one, which is ", op.high);
        return op;
    }
};

} // namespace espalier::projection
