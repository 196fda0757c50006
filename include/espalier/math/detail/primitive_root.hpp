// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of math/primitive_root.hpp; see core/library.hpp.
#pragma once

#include <espalier/math/primitive_root.hpp>

#include <espalier/core/text.hpp>

namespace espalier::math {

ESPALIER_LIBRARY std::vector<index_t> powers_of_primitive_root(index_t p) {
    bool prime = p >= 2 && p <= index_t{1} << 31;
    for (index_t d = 2; prime && d * d <= p; ++d)
        prime = p % d != 0;
    if (!prime)
        espalier::detail::throw_data_error("math::powers_of_primitive_root: ", p,
                                           " was given; needed is a prime of at most 2^31");
    std::vector<index_t> powers;
    for (index_t g = p == 2 ? 1 : 2; static_cast<index_t>(powers.size()) != p - 1; ++g) {
        powers.assign(1, 1);
        for (index_t power = g; power != 1; power = power * g % p)
            powers.push_back(power);
    }
    return powers;
}

} // namespace espalier::math
