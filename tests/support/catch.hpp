// SPDX-License-Identifier: Apache-2.0
// Debian 12 ships Catch2 2, later systems Catch2 3: tests include this header and work with whichever is there.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
