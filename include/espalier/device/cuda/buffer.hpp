// SPDX-License-Identifier: Apache-2.0
// host only. Memory of the arenas on a GPU.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/check.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace espalier::cuda {

/// A fixed number of trivially copyable elements in device memory, zero at first, on boundaries of 256 bytes. A value:
/// copies copy the elements. Allocation, copies and transfers wait for the device: none of them belongs into a step.
template <class T> class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    buffer() = default;
    explicit buffer(index_t n) : buffer(n, not_cleared{}) {
        if (n == 0) return;
        clear();
        check(cudaDeviceSynchronize(), "clearing of new device memory");
    }
    buffer(buffer const& other) : buffer(other.size_, not_cleared{}) {
        if (size_ == 0) return;
        check(cudaDeviceSynchronize(), "copy of device memory");
        check(cudaMemcpy(data_, other.data_, bytes(), cudaMemcpyDeviceToDevice), "copy of device memory");
        check(cudaDeviceSynchronize(), "copy of device memory");
    }
    buffer(buffer&& other) noexcept
        : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
    buffer& operator=(buffer other) noexcept {
        std::swap(size_, other.size_);
        std::swap(data_, other.data_);
        return *this;
    }
    // A failure here was already reported by what caused it.
    ~buffer() { static_cast<void>(cudaFree(data_)); }

    /// A device pointer: the host may not read through it.
    T* data() { return data_; }
    T const* data() const { return data_; }
    index_t size() const { return size_; }
    std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

    /// Sets everything to 0 in the order of `stream`; does not wait.
    void clear(cudaStream_t stream = nullptr) {
        if (size_ > 0) check(cudaMemsetAsync(data_, 0, bytes(), stream), "clearing of device memory");
    }
    /// Elements [at, at + n) from the host, after everything that the device still has to do.
    void copy_from_host(T const* from, index_t n, index_t at = 0) {
        expect_inside(n, at);
        if (n == 0) return;
        check(cudaDeviceSynchronize(), "copy to the device");
        check(cudaMemcpy(data_ + at, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyHostToDevice),
              "copy to the device");
        // It returns when the host's memory has been read, and not every stream waits for the rest.
        check(cudaDeviceSynchronize(), "copy to the device");
    }
    /// Elements [at, at + n) to the host, likewise.
    void copy_to_host(T* to, index_t n, index_t at = 0) const {
        expect_inside(n, at);
        if (n == 0) return;
        check(cudaDeviceSynchronize(), "copy from the device");
        check(cudaMemcpy(to, data_ + at, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDeviceToHost),
              "copy from the device");
    }

private:
    // What a constructor that is called by another one has made is freed when the other throws.
    struct not_cleared {};
    buffer(index_t n, not_cleared) : size_(n) {
        if (n < 0) throw shape_error("device buffer: " + std::to_string(n) + " elements; at least 0 are needed");
        if (n == 0) return;
        void* p = nullptr;
        check(cudaMalloc(&p, bytes()), ("allocation of " + std::to_string(n) + " elements of " +
                                        std::to_string(sizeof(T)) + " bytes in device memory")
                                           .c_str());
        data_ = static_cast<T*>(p);
    }
    void expect_inside(index_t n, index_t at) const {
        if (n < 0 || at < 0 || at + n > size_)
            throw shape_error("device buffer: elements " + std::to_string(at) + " to " + std::to_string(at + n) +
                              " of " + std::to_string(size_) + " were asked for");
    }

    index_t size_ = 0;
    T* data_ = nullptr;
};

} // namespace espalier::cuda
