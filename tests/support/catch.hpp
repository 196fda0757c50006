// SPDX-License-Identifier: Apache-2.0
// Debian 12 ships Catch2 2, later systems Catch2 3: tests include this header and work with whichever is there.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

#include <string>

/// A matcher of strings that contain `part`, which the two versions call differently.
inline auto contains_text(std::string const& part) {
#if __has_include(<catch2/catch_all.hpp>)
    return Catch::Matchers::ContainsSubstring(part);
#else
    return Catch::Contains(part);
#endif
}
