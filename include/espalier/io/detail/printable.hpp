// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/printable.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/printable.hpp>

namespace espalier {

ESPALIER_LIBRARY std::string printable(std::string_view text, std::string_view::size_type longest) {
    std::string shown(text.substr(0, longest));
    for (char& c : shown) {
        c = c < ' ' || c > '~' ? '?' : c;
    }
    return text.size() > longest ? shown + "..." : shown;
}

} // namespace espalier
