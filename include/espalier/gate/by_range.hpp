// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/source.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::gate {

/// Numbers and function of `equal_ranges`.
template <int N> struct equal_ranges_op {
    double low, high;
    ESPALIER_FN constexpr int range_of(double v) const {
        if (!(v >= low && v <= high)) return -1;
        int const k = static_cast<int>(N * ((v - low) / (high - low)));
        return k < N ? k : N - 1;
    }
};

/// N ranges of equal length that make up [Low, High]: v is in range min(floor(N (v - Low) / (High - Low)), N - 1).
template <int N, double Low, double High> struct equal_ranges {
    static_assert(diagnostic::holds<(N >= 1), diagnostic::given<N>>,
                  "espalier: gate::equal_ranges<n, low, high> needs at least one range; the next line names n");
    static_assert(diagnostic::holds<(Low < High), diagnostic::given<Low>, diagnostic::needed<High>>,
                  "espalier: gate::equal_ranges<n, low, high> needs low < high; the next lines name both");
    static constexpr int count = N;
    static constexpr double low = Low, high = High;

    using op = equal_ranges_op<N>;
    static constexpr op at(clock const&) { return op{Low, High}; }
};

/// Numbers and function of `ranges_between`.
template <int N> struct ranges_between_op {
    double bound[N + 1];
    ESPALIER_FN constexpr int range_of(double v) const {
        if (!(v >= bound[0] && v <= bound[N])) return -1;
        int k = 0;
        while (k + 1 < N && v >= bound[k + 1])
            ++k;
        return k;
    }
};

/// Ranges between rising bounds: v is in range k when Bounds[k] <= v < Bounds[k + 1], and in the last one also at its
/// upper end.
template <double... Bounds> struct ranges_between {
    static constexpr int count = static_cast<int>(sizeof...(Bounds)) - 1;
    // Clang takes the length of `bound[]` for unknown where `rising` is computed.
    static constexpr double bound[count + 1] = {Bounds...};
    static constexpr bool rising = [] {
        for (int k = 0; k < count; ++k)
            if (!(bound[k] < bound[k + 1])) return false;
        return true;
    }();
    static_assert(count >= 1 && rising,
                  "espalier: gate::ranges_between needs at least two bounds, each above the one before it");
    static constexpr double low = bound[0], high = bound[count];

    using op = ranges_between_op<count>;
    static constexpr op at(clock const&) { return op{{Bounds...}}; }
};

/// Numbers and function of `by_range`.
template <class RangesOp, class Source> struct by_range_op {
    RangesOp ranges;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const* x, W const*) const {
        return Source::present(batch) ? ranges.range_of(Source::value(batch, r, x)) : -1;
    }
};

/// Every row goes, with weight 1, to the expert of the range that a number of it lies in: experts by noise level (Go et
/// al. 2023, "Towards practical plug-and-play diffusion models", section 3.2). Nothing is trained. A number outside all
/// ranges, or a NaN, throws data_error before anything changes. Ranges of one's own have `count`, `low`, `high` and,
/// themselves or in an `op` that `at(clock)` makes, `int range_of(double) const`, -1 outside of all.
template <class Ranges, class Source = from_column<0>> struct by_range {
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "by_range";
    static constexpr int experts = Ranges::count;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;

    using ranges_op = typename espalier::detail::op_type<Ranges>::type;
    using op = by_range_op<ranges_op, Source>;
    static constexpr op at([[maybe_unused]] clock const& now) {
        if constexpr (requires { Ranges::at(now); })
            return op{Ranges::at(now)};
        else
            return op{ranges_op{}};
    }

    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(
            batch, r, x, espalier::detail::text_of("a number from ", Ranges::low, " to ", Ranges::high));
    }
};

} // namespace espalier::gate
