// SPDX-License-Identifier: Apache-2.0
// host only. The order in which products modulo a prime are sums.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>

#include <vector>

namespace espalier::math {

/// g^0, g^1, ... g^(p - 2) modulo a prime p, with g its least primitive root: each of 1 ... p - 1 once, in the order of
/// their discrete logarithms. What is periodic under products modulo p is a wave over the numbers in this order.
/// p times the number of roots that are tried, hardly ever more than ten. Throws data_error for p that is no prime or
/// is above 2^31.
std::vector<index_t> powers_of_primitive_root(index_t p);

} // namespace espalier::math

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/math/detail/primitive_root.hpp>
#endif
