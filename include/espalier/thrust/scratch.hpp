// SPDX-License-Identifier: Apache-2.0
// host only. Memory for the time of one call, from where a Thrust policy says.
#pragma once

#include <espalier/core/view.hpp>
#include <espalier/thrust/version.hpp>

#include <thrust/execution_policy.h>
#include <thrust/functional.h>
#include <thrust/memory.h>
#include <thrust/reduce.h>
#include <thrust/system/cpp/execution_policy.h>

#include <new>
#include <type_traits>

namespace espalier::detail {

/// `size` elements without values, trivially copyable ones: of the allocator that a policy brings,
/// `thrust::cuda::par(allocator)` say, or else of its system. Throws std::bad_alloc.
template <class T, class System> class scratch {
public:
    scratch(System const& system, index_t size) : system_(system), size_(size) {
        if (size == 0) return;
        auto const memory = ::thrust::get_temporary_buffer<T>(system_, size);
        memory_ = ::thrust::raw_pointer_cast(memory.first);
        if (memory.second >= size) return;
        if (memory_ != nullptr) release(memory.second);
        throw std::bad_alloc();
    }
    ~scratch() {
        if (memory_ != nullptr) release(size_);
    }
    scratch(scratch const&) = delete;
    scratch& operator=(scratch const&) = delete;

    T* data() const { return memory_; }
    T* begin() const { return memory_; }
    T* end() const { return memory_ + size_; }

private:
    void release(index_t size) {
        ::thrust::return_temporary_buffer(system_, ::thrust::pointer<T, System>(memory_), size);
    }

    System system_;
    index_t size_;
    T* memory_ = nullptr;
};

/// A number that lies in a system's memory, brought to the host. Thrust has no other way that all of its policies know,
/// a CUDA stream included.
template <class System, class T> T value_at(System const& system, T const* p) {
    return ::thrust::reduce(system, p, p + 1, T(0), ::thrust::plus<T>());
}

/// Whether a policy's algorithms run in host memory, on the threads of this process.
template <class System>
concept host_system = std::is_base_of_v<::thrust::cpp::execution_policy<System>, System>;

} // namespace espalier::detail
