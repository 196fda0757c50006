// SPDX-License-Identifier: Apache-2.0
// expect: view and numbers take an Eigen matrix of float or double
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// Counts as features.
#include <espalier/data/eigen_view.hpp>
#ifdef ESPALIER_POSITIVE_TWIN
using matrix = Eigen::MatrixXd;
#else
using matrix = Eigen::MatrixXi;
#endif
espalier::number_view features_of(matrix const& counts) {
    return espalier::numbers(counts);
}
