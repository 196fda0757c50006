// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of initial/concept.hpp; see core/library.hpp.
#pragma once

#include <espalier/initial/concept.hpp>

#include <espalier/core/text.hpp>

namespace espalier::initial {

namespace detail {

ESPALIER_LIBRARY void require_fan(index_t fan, char const* which, std::string_view initial_name) {
    if (fan <= 0)
        espalier::detail::throw_shape_error("initial ", initial_name, ": ", which, " is ", fan,
                                            ", needed is at least 1");
}

} // namespace detail

} // namespace espalier::initial
