// SPDX-License-Identifier: Apache-2.0
// host only. Memory of the arenas on the CPU.
#pragma once

#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace espalier::cpu {

namespace detail {

/// Bytes, zero at first, on cache-line boundaries; large ones ask for huge pages. A value: copies copy the bytes. No
/// template, and no std::unique_ptr: either would be compiled anew for every type of element.
class raw_memory {
public:
    raw_memory() = default;
    explicit raw_memory(std::size_t bytes) : bytes_(bytes), data_(allocate(bytes)) { clear(); }
    raw_memory(raw_memory const& other) : bytes_(other.bytes_), data_(allocate(other.bytes_)) {
        if (data_) std::memcpy(data_, other.data_, bytes_);
    }
    raw_memory(raw_memory&& other) noexcept : bytes_(other.bytes_), data_(other.data_) {
        other.bytes_ = 0;
        other.data_ = nullptr;
    }
    raw_memory& operator=(raw_memory other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(data_, other.data_);
        return *this;
    }
    ~raw_memory() {
        if (data_) ::operator delete (data_, std::align_val_t{alignment_of(bytes_)});
    }

    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }
    void clear() {
        if (data_) std::memset(data_, 0, bytes_);
    }

private:
    static constexpr std::size_t huge_page = std::size_t{1} << 21;

    static std::size_t alignment_of(std::size_t bytes) { return bytes >= 4 * huge_page ? huge_page : 64; }
    static void* allocate(std::size_t bytes) {
        if (bytes == 0) return nullptr;
        std::size_t const alignment = alignment_of(bytes);
        void* const p = ::operator new (bytes, std::align_val_t{alignment});
#if defined(__linux__)
        if (alignment == huge_page) madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
        return p;
    }

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

private:
    detail::raw_memory memory_;
};

} // namespace espalier::cpu
