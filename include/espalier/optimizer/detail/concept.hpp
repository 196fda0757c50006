// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of optimizer/concept.hpp; see core/library.hpp.
#pragma once

#include <espalier/optimizer/concept.hpp>

#include <espalier/core/text.hpp>

namespace espalier::optimizer {

namespace detail {

ESPALIER_LIBRARY void require_within(double x, double low, double high, char const* optimizer_name,
                                     char const* number) {
    if (x >= low && x < high && schedule::finite(x)) return;
    std::string const needed = high < no_limit ? espalier::detail::text_of(" and below ", high)
                               : x >= high     ? " that single precision can hold"
                                               : "";
    espalier::detail::throw_data_error(optimizer_name, ": `", number, "` is ", x,
                                       ", needed is a finite number of at least ", low, needed);
}

} // namespace detail

} // namespace espalier::optimizer
