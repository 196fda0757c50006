// SPDX-License-Identifier: Apache-2.0
// expect: the rows of a batch lie one after the other, and this Eigen matrix stores columns
// expect: Eigen::RowMajor
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// A map of the program's memory in Eigen's default order.
#include <espalier/data/eigen_view.hpp>
#ifdef ESPALIER_POSITIVE_TWIN
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
#else
using matrix = Eigen::MatrixXf;
#endif
espalier::matrix_view<float const> rows_of(float const* data) {
    return espalier::view(Eigen::Map<matrix const, 0, Eigen::OuterStride<>>(data, 3, 4, Eigen::OuterStride<>(5)));
}
