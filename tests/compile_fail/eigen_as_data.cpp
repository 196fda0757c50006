// SPDX-License-Identifier: Apache-2.0
// expect: data of a matrix of Eigen are espalier::numbers\(matrix\)
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// A matrix handed over as it is.
#include <espalier/data/eigen_view.hpp>
#include <espalier/data/table.hpp>
espalier::data_view data_of(Eigen::MatrixXf const& x) {
#ifdef ESPALIER_POSITIVE_TWIN
    return espalier::data_view{espalier::numbers(x)};
#else
    return espalier::data_view{x};
#endif
}
