// SPDX-License-Identifier: Apache-2.0
// Tensors among whose weights a selection has to find its way.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

namespace espalier_test {

/// n weights each: of all values, of few values, all 0, all equal, mostly 0, with what is no ordinary number, and with
/// the largest at both ends.
template <class T> std::vector<std::vector<T>> kinds_of_weights(std::size_t n, std::mt19937_64& random) {
    std::normal_distribution<double> normal;
    std::vector<T> w(n), tied(n), zero(n), same(n, T(3)), sparse(n), odd(n), ends(n);
    for (std::size_t i = 0; i < n; ++i) {
        w[i] = static_cast<T>(normal(random));
        tied[i] = std::round(w[i] * 8) / 8;
        if (random() % 5 == 0) sparse[i] = w[i];
        T const strange[] = {std::numeric_limits<T>::quiet_NaN(), -std::numeric_limits<T>::infinity(),
                             std::numeric_limits<T>::infinity(), -T(0), std::numeric_limits<T>::denorm_min()};
        odd[i] = i % 3 == 0 ? strange[random() % 5] : w[i];
        ends[i] = i == 0 || i == n - 1 ? T(4) : T(i % 2);
    }
    return {w, tied, zero, same, sparse, odd, ends};
}

} // namespace espalier_test
