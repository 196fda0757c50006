// SPDX-License-Identifier: Apache-2.0
// expect: a view of a temporary matrix would look at freed memory: give the matrix a name first
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// A matrix that ends before its view does.
#include <espalier/data/eigen_view.hpp>
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
float first_of(matrix const& m) {
#ifdef ESPALIER_POSITIVE_TWIN
    return *espalier::view(m).data;
#else
    return *espalier::view(matrix(m)).data;
#endif
}
