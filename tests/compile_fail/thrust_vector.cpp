// SPDX-License-Identifier: Apache-2.0
// expect c++: a view of a temporary vector would look at freed memory: give the vector a name first
// expect nvcc: batches are gathered on the host, which cannot read a device_vector of the system CUDA
// A vector that ends before its view does; under nvcc, memory that the host cannot read.
#include <espalier/thrust/view.hpp>

#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
espalier::index_t rows_of() {
#if defined(ESPALIER_POSITIVE_TWIN)
    thrust::host_vector<float> const x(6);
    return espalier::numbers(x, 3).rows;
#elif defined(__CUDACC__)
    thrust::device_vector<float> const x(6);
    return espalier::numbers(x, 3).rows;
#else
    return espalier::numbers(thrust::host_vector<float>(6), 3).rows;
#endif
}
