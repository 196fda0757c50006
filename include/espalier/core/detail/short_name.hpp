// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of core/short_name.hpp; see core/library.hpp.
#pragma once

#include <espalier/core/short_name.hpp>

namespace espalier {

ESPALIER_LIBRARY std::string short_name::str() const {
    std::string text;
    for (std::uint64_t word : {head, tail})
        for (; word != 0; word >>= 8)
            text.push_back(static_cast<char>(word & 0xff));
    return text;
}

} // namespace espalier
