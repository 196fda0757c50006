// SPDX-License-Identifier: Apache-2.0
// host only. How much of each frequency is in a row of numbers.
#pragma once

#include <espalier/core/library.hpp>

#include <span>
#include <vector>

namespace espalier::math {

/// |F_j|^2 for j = 0 ... n / 2, rounded down, with F_j = sum_i v_i exp(-2 pi i j / n) the discrete Fourier transform of
/// n numbers, n of any kind; the other half of F is its mirror image. F_0 is their sum. One 0 for no numbers. The sums
/// are taken as they stand, n^2 multiplications and additions in double: rows of prime length, such as functions of a
/// residue have, are no shorter to transform otherwise (measured in docs/rationale.md). Errors are a few units in the
/// last place of the largest |F_j|^2. Allocates.
std::vector<double> power_spectrum(std::span<double const> v);

} // namespace espalier::math

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/math/detail/power_spectrum.hpp>
#endif
