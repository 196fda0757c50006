// SPDX-License-Identifier: Apache-2.0
// Text from a file as it may stand in an error message: a malformed file must not send commands to the terminal.
// Included by host code (host only).
#pragma once

#include <espalier/core/library.hpp>
#include <string>
#include <string_view>

namespace espalier {

/// The text with '?' for every byte that is not printable ASCII, cut to `longest` bytes.
std::string printable(std::string_view text, std::string_view::size_type longest = 400);

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/printable.hpp>
#endif
