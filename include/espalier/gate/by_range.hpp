// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/source.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::gate {

/// N ranges of equal length that make up [Low, High]: v is in range min(floor(N (v - Low) / (High - Low)), N - 1).
template <int N, double Low, double High> struct equal_ranges {
    static_assert(diagnostic::holds<(N >= 1), diagnostic::given<N>>,
                  "espalier: gate::equal_ranges<n, low, high> needs at least one range; the next line names n");
    static_assert(diagnostic::holds<(Low < High), diagnostic::given<Low>, diagnostic::needed<High>>,
                  "espalier: gate::equal_ranges<n, low, high> needs low < high; the next lines name both");
    static constexpr int count = N;
    static constexpr double low = Low, high = High;
    static constexpr ESPALIER_FN int range_of(double v) {
        if (!(v >= Low && v <= High)) return -1;
        int const k = static_cast<int>(N * ((v - Low) / (High - Low)));
        return k < N ? k : N - 1;
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
    static constexpr ESPALIER_FN int range_of(double v) {
        double const b[] = {Bounds...}; // a copy: a device does not see the static member
        if (!(v >= b[0] && v <= b[count])) return -1;
        int k = 0;
        while (k + 1 < count && v >= b[k + 1])
            ++k;
        return k;
    }
};

/// Every row goes, with weight 1, to the expert of the range that a number of it lies in: experts by noise level (Go et
/// al. 2023, "Towards practical plug-and-play diffusion models", section 3.2). Nothing is trained. A number outside all
/// ranges, or a NaN, throws data_error before anything changes.
template <class Ranges, class Source = from_column<0>> struct by_range {
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "by_range";
    static constexpr int experts = Ranges::count;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const* x, W const*) const {
        return Source::present(batch) ? Ranges::range_of(Source::value(batch, r, x)) : -1;
    }
    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(
            batch, r, x, espalier::detail::text_of("a number from ", Ranges::low, " to ", Ranges::high));
    }
};

} // namespace espalier::gate
