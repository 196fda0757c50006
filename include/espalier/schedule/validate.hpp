// SPDX-License-Identifier: Apache-2.0
// Run-time check of a schedule that a program assembled while running; policies check theirs at compile time.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/schedule/concept.hpp>

#include <string>

namespace espalier::schedule {

/// Throws `data_error` with the reason when the numbers of `x` make no sense or, given `allowed`, when it can leave
/// that interval. `what` names the number in the text, for example "dropout rate".
template <number_or_schedule X> void validate(X const& x, char const* what, bounds const& allowed = {}) {
    if (char const* const text = problem(x)) espalier::detail::throw_data_error(what, ": ", text);
    bounds const range = range_of(x);
    if (range != bounds{} && !range.within(allowed))
        espalier::detail::throw_data_error(what, ": takes values from ", range.low, " to ", range.high,
                                           ", needed are values from ", allowed.low, " to ", allowed.high);
}

} // namespace espalier::schedule
