// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/source.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::gate {

namespace detail {

/// The range that v lies in: bound[k] <= v < bound[k + 1], the last one with its upper end. The bounds are rounded to T
/// first, as v was when it became a T: a float 0.7 begins where 0.7 does, though it is less as a double.
template <class T, std::size_t Bounds>
ESPALIER_FN constexpr int range_between(double v, double const (&bound)[Bounds]) {
    constexpr int N = int{Bounds};
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

template <class R>
concept has_ranges = requires(typename espalier::detail::op_type<R>::type const& op) {
    { R::count } -> std::convertible_to<int>;
    { R::low } -> std::convertible_to<double>;
    { R::high } -> std::convertible_to<double>;
    { op.range_of(0.0) } -> std::convertible_to<int>;
};

/// What a source's numbers were before they became doubles: inputs are T, whole numbers are exact.
template <class Source, class T> consteval auto number_of() {
    if constexpr (requires { Source::column; })
        return std::type_identity<T>{};
    else
        return std::type_identity<double>{};
}

} // namespace detail

/// Numbers and function of `equal_ranges` and `ranges_between`: N ranges between their bounds.
template <int N> struct ranges_op {
    double bound[std::size_t{N + 1}];
    static constexpr auto numbers = fields<&ranges_op::bound>;
    /// v was a T, or is a whole number.
    template <class T = double> ESPALIER_FN constexpr int range_of(double v) const {
        return detail::range_between<T>(v, bound);
    }
};

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

    using op = ranges_op<N>;
    static constexpr op at(clock const&) {
        constexpr op ranges = [] {
            op r{};
            for (int k = 0; k <= N; ++k)
                r.bound[k] = point_between(Low, High, k, N);
            return r;
        }();
        return ranges;
    }
};

/// Ranges between rising bounds: v is in range k when Bounds[k] <= v < Bounds[k + 1], and in the last one also at its
/// upper end. Bounds are compared as numbers of the type that v comes in.
template <double... Bounds> struct ranges_between {
    static constexpr int count = static_cast<int>(sizeof...(Bounds)) - 1;
    // Clang takes the length of `bound[]` for unknown where `rising` is computed.
    static constexpr double bound[std::size_t{count + 1}] = {Bounds...};
    static constexpr bool rising = [] {
        for (int k = 0; k < count; ++k)
            if (!(bound[k] < bound[k + 1])) return false;
        return true;
    }();
    static_assert(count >= 1 && rising,
                  "espalier: gate::ranges_between needs at least two bounds, each above the one before it");
    static constexpr double low = bound[0], high = bound[count];

    using op = ranges_op<count>;
    static constexpr op at(clock const&) { return op{{Bounds...}}; }
};

/// Numbers and function of `by_range`.
template <class Ranges, class Source> struct by_range_op {
    Ranges ranges;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const* x, W const*) const {
        using number = typename decltype(detail::number_of<Source, T>())::type;
        if (!Source::present(batch)) return -1;
        double const v = Source::value(batch, r, x);
        if constexpr (requires { ranges.template range_of<number>(v); })
            return ranges.template range_of<number>(v);
        else
            return ranges.range_of(v);
    }
};

/// Every row goes, with weight 1, to the expert of the range that a number of it lies in: experts by noise level (Go et
/// al. 2023, "Towards practical plug-and-play diffusion models", section 3.2). Nothing is trained. A number outside all
/// ranges, or a NaN, throws data_error before anything changes. Ranges of one's own have `count`, `low`, `high` and,
/// themselves or in an `op` that `at(clock)` makes, `int range_of(double) const`, -1 outside of all.
template <class Ranges, class Source = from_column<0>> struct by_range {
    static_assert(diagnostic::holds<detail::has_ranges<Ranges>, diagnostic::given_type<Ranges>>,
                  "espalier: gate::by_range needs ranges: equal_ranges<n, low, high>, ranges_between<bounds...>, or a "
                  "type of yours with `count`, `low`, `high` and `int range_of(double) const` in its op; the next line "
                  "names what was given");
    static_assert(detail::check_source<Source>());
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "by_range";
    static constexpr int experts = Ranges::count;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;

    using consists_of = type_list<Ranges>;
    using op = by_range_op<typename espalier::detail::op_type<Ranges>::type, Source>;
    static constexpr op at(clock const& now) { return op{espalier::detail::numbers_at<Ranges>(now)}; }

    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(
            batch, r, x, espalier::detail::text_of("a number from ", Ranges::low, " to ", Ranges::high));
    }
};

} // namespace espalier::gate
