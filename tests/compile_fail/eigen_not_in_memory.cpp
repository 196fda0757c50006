// SPDX-License-Identifier: Apache-2.0
// expect: this Eigen expression does not lie in memory as a dense matrix: evaluate it into one and view that
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// A sum that nobody has computed.
#include <espalier/data/eigen_view.hpp>
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
float first_of(matrix const& a, matrix const& b) {
#ifdef ESPALIER_POSITIVE_TWIN
    matrix const sum = a + b;
    return *espalier::view(sum).data;
#else
    return *espalier::view(a + b).data;
#endif
}
