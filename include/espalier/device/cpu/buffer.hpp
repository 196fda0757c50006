// SPDX-License-Identifier: Apache-2.0
// host only. Memory of the arenas on the CPU.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace espalier::cpu {

namespace detail {

/// Bytes, zero at first, on cache-line boundaries; large ones ask for huge pages. A value: copies copy the bytes. No
/// template, and no std::unique_ptr: either would be compiled anew for every type of element.
class raw_memory {
public:
    raw_memory() = default;
    explicit raw_memory(std::size_t bytes);
    raw_memory(raw_memory const& other);
    raw_memory(raw_memory&& other) noexcept;
    raw_memory& operator=(raw_memory other) noexcept;
    ~raw_memory();

    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }
    void clear();

private:
    std::size_t bytes_ = 0;
    void* data_ = nullptr;
};

} // namespace detail

/// A fixed number of trivially copyable elements, zero at first, on cache-line boundaries. A value: copies copy the
/// elements.
template <class T> class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    buffer() = default;
    explicit buffer(index_t n) : memory_(n > 0 ? static_cast<std::size_t>(n) * sizeof(T) : 0) {}

    T* data() { return static_cast<T*>(memory_.data()); }
    T const* data() const { return static_cast<T const*>(memory_.data()); }
    index_t size() const { return static_cast<index_t>(memory_.bytes() / sizeof(T)); }
    std::size_t bytes() const { return memory_.bytes(); }
    void clear() { memory_.clear(); }
    T& operator[](index_t i) { return data()[i]; }
    T const& operator[](index_t i) const { return data()[i]; }
    /// Copies n elements between the host's memory and those from `at` on, as memory of other devices does.
    void copy_from_host(T const* from, index_t n, index_t at = 0) {
        if (n > 0) std::memcpy(data() + at, from, static_cast<std::size_t>(n) * sizeof(T));
    }
    void copy_to_host(T* to, index_t n, index_t at = 0) const {
        if (n > 0) std::memcpy(to, data() + at, static_cast<std::size_t>(n) * sizeof(T));
    }

private:
    detail::raw_memory memory_;
};

} // namespace espalier::cpu

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/device/cpu/detail/buffer.hpp>
#endif
