// SPDX-License-Identifier: Apache-2.0
// A user's program, compiled against the installed package: it fails when a view or the clock misbehaves.
#include <espalier/core/clock.hpp>
#include <espalier/core/view.hpp>

#include <array>
#include <cstdio>

int main() {
    std::array<float, 6> numbers{1, 2, 3, 4, 5, 6};
    auto const matrix = espalier::contiguous_view(numbers.data(), 2, 3);
    espalier::clock const now{.step = 7, .epoch = 1};
    bool const right = matrix(1, 2) == 6.0f && matrix.middle_rows(1, 1)(0, 0) == 4.0f && now.step == 7;
    std::printf("espalier consumer: %s\n", right ? "right" : "wrong");
    return right ? 0 : 1;
}
