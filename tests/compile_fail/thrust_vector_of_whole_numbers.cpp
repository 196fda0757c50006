// SPDX-License-Identifier: Apache-2.0
// expect: numbers takes a vector of float or double; labels, keys and groups are espalier::tags
// nvcc: skip a header of Thrust, which nvcc takes long for, and thrust_vector.cpp is one already
// Whole numbers as features.
#include <espalier/thrust/view.hpp>

#include <thrust/host_vector.h>
espalier::index_t rows_of() {
#ifdef ESPALIER_POSITIVE_TWIN
    thrust::host_vector<double> const x(6);
#else
    thrust::host_vector<int> const x(6);
#endif
    return espalier::numbers(x, 3).rows;
}
