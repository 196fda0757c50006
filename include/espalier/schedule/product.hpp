// SPDX-License-Identifier: Apache-2.0
// The product of two schedules.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

namespace espalier::schedule {

/// v(t) = a(t) b(t). Either factor may be a number.
template <number_or_schedule A, number_or_schedule B> struct product {
    A a{};
    B b{};

    ESPALIER_ANYWHERE
    ESPALIER_FN constexpr double at(clock const& now) const { return value_at(a, now) * value_at(b, now); }
    constexpr char const* problem() const {
        char const* const text = schedule::problem(a);
        return text ? text : schedule::problem(b);
    }
    constexpr bounds range() const {
        bounds const x = range_of(a), y = range_of(b), whole{};
        // 0 times an unbounded factor is no number: such a product is unbounded.
        if (!(finite(x.low) && finite(x.high) && finite(y.low) && finite(y.high))) return whole;
        bounds const p = between(x.low * y.low, x.low * y.high), q = between(x.high * y.low, x.high * y.high);
        return {p.low < q.low ? p.low : q.low, p.high > q.high ? p.high : q.high};
    }
};

} // namespace espalier::schedule
