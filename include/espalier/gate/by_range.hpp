// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/source.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::gate {

namespace detail {

/// The range that v lies in: bound[k] <= v < bound[k + 1], the last one with its upper end. The bounds are rounded to T
/// first, as v was when it became a T: a float 0.7 begins where 0.7 does, though it is less as a double.
template <class T, int N> ESPALIER_FN constexpr int range_between(double v, double const (&bound)[N]) {
    auto const at = [&](int k) {
        if constexpr (sizeof(T) == sizeof(double))
            return bound[k];
        else if constexpr (sizeof(T) == sizeof(float))
            return static_cast<double>(static_cast<float>(bound[k]));
        else // what a GPU stores in two bytes comes from a float and becomes one
            return static_cast<double>(static_cast<float>(static_cast<T>(static_cast<float>(bound[k]))));
    };
    if (!(v >= at(0) && v <= at(N - 1))) return -1;
    int k = 0;
    while (k + 2 < N && v >= at(k + 1))
        ++k;
    return k;
}

template <int N> struct range_bounds { double bound[N + 1]; };

template <int N> ESPALIER_FN constexpr range_bounds<N> equal_bounds(double low, double high) {
    range_bounds<N> all{};
    for (int k = 0; k <= N; ++k)
        all.bound[k] = point_between(low, high, k, N);
    return all;
}

/// What a source's numbers were before they became doubles: inputs are T, whole numbers are exact.
template <class Source, class T> consteval auto number_of() {
    if constexpr (requires { Source::column; })
        return std::type_identity<T>{};
    else
        return std::type_identity<double>{};
}

} // namespace detail

/// N ranges of equal length that make up [Low, High]: v is in range k when b_k <= v < b_(k+1), b_k = Low + k (High -
/// Low) / N, and in the last one also at High. Low and High are the decimal numbers they were written as, and b_k is
/// the nearest number of the type that v comes in: 0.3 is in range 3 of ten between 0 and 1, as a float too.
template <int N, double Low, double High> struct equal_ranges {
    static_assert(diagnostic::holds<(N >= 1), diagnostic::given<N>>,
                  "espalier: gate::equal_ranges<n, low, high> needs at least one range; the next line names n");
    static_assert(diagnostic::holds<(Low < High), diagnostic::given<Low>, diagnostic::needed<High>>,
                  "espalier: gate::equal_ranges<n, low, high> needs low < high; the next lines name both");
    static constexpr int count = N;
    static constexpr double low = Low, high = High;
    /// v was a T, or is a whole number.
    template <class T = double> static constexpr ESPALIER_FN int range_of(double v) {
        constexpr auto bounds = detail::equal_bounds<N>(Low, High);
        return detail::range_between<T>(v, bounds.bound);
    }
};

/// Ranges between rising bounds: v is in range k when Bounds[k] <= v < Bounds[k + 1], and in the last one also at its
/// upper end. Bounds are compared as numbers of the type that v comes in.
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
    /// v was a T, or is a whole number.
    template <class T = double> static constexpr ESPALIER_FN int range_of(double v) {
        double const b[] = {Bounds...}; // a copy: a device does not see the static member
        return detail::range_between<T>(v, b);
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
        using number = typename decltype(detail::number_of<Source, T>())::type;
        return Source::present(batch) ? Ranges::template range_of<number>(Source::value(batch, r, x)) : -1;
    }
    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(
            batch, r, x, espalier::detail::text_of("a number from ", Ranges::low, " to ", Ranges::high));
    }
};

} // namespace espalier::gate
