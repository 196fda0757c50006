// SPDX-License-Identifier: Apache-2.0
// A user's kernel over a view: it must compile without relaxed flags and link beside a C++ file that uses the same
// headers.
#include <espalier/core/clock.hpp>
#include <espalier/core/view.hpp>

namespace {
__global__ void fill(espalier::matrix_view<float> matrix, float value) {
    espalier::index_t const row = blockIdx.x;
    if (row < matrix.rows && threadIdx.x < matrix.columns) {
        matrix(row, threadIdx.x) = value;
    }
}
} // namespace

void launch_fill(espalier::matrix_view<float> matrix, espalier::clock const& now) {
    fill<<<static_cast<unsigned>(matrix.rows), 128>>>(matrix, static_cast<float>(now.step));
}
