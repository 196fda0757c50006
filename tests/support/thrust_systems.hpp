// SPDX-License-Identifier: Apache-2.0
// The systems of Thrust that a test runs on: those in host memory and the sequential one, which stands for a device, as
// it has the forms for single elements; OpenMP with one, two and three threads where the test is compiled with it.
#pragma once

#include <support/catch.hpp>

#include <thrust/execution_policy.h>
#include <thrust/system/cpp/execution_policy.h>
#if defined(_OPENMP)
#include <thrust/system/omp/execution_policy.h>

#include <omp.h>
#endif

template <class Body> void on_every_system(Body const& body) {
    {
        INFO("thrust::cpp::par");
        body(thrust::cpp::par);
    }
    {
        INFO("thrust::seq");
        body(thrust::seq);
    }
#if defined(_OPENMP)
    for (int threads = 1; threads <= 3; ++threads) {
        int const before = omp_get_max_threads();
        omp_set_num_threads(threads);
        INFO("thrust::omp::par with " << threads << " threads");
        body(thrust::omp::par);
        omp_set_num_threads(before);
    }
#endif
}
