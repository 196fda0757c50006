// SPDX-License-Identifier: Apache-2.0
// host only. Memory of the arenas on the CPU.
#pragma once

#include <espalier/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace espalier::cpu {

/// A fixed number of trivially copyable elements, zero at first, on cache-line boundaries; large ones ask for huge
/// pages. A value: copies copy the elements.
template <class T> class buffer {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    buffer() = default;
    explicit buffer(index_t n) : size_(n), memory_(allocate(n)) {
        if (n > 0) std::memset(static_cast<void*>(memory_.get()), 0, bytes());
    }
    buffer(buffer const& other) : size_(other.size_), memory_(allocate(other.size_)) {
        if (size_ > 0) std::memcpy(static_cast<void*>(memory_.get()), other.memory_.get(), bytes());
    }
    buffer(buffer&& other) noexcept : size_(std::exchange(other.size_, 0)), memory_(std::move(other.memory_)) {}
    buffer& operator=(buffer other) noexcept {
        std::swap(size_, other.size_);
        std::swap(memory_, other.memory_);
        return *this;
    }

    T* data() { return memory_.get(); }
    T const* data() const { return memory_.get(); }
    index_t size() const { return size_; }
    std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
    void clear() {
        if (size_ > 0) std::memset(static_cast<void*>(memory_.get()), 0, bytes());
    }
    T& operator[](index_t i) { return memory_[static_cast<std::size_t>(i)]; }
    T const& operator[](index_t i) const { return memory_[static_cast<std::size_t>(i)]; }

private:
    static constexpr std::size_t huge_page = std::size_t{1} << 21;

    struct release {
        std::size_t alignment = 64;
        void operator()(T* p) const { ::operator delete (static_cast<void*>(p), std::align_val_t{alignment}); }
    };
    using memory = std::unique_ptr<T[], release>;

    static memory allocate(index_t n) {
        if (n <= 0) return {};
        std::size_t const size = static_cast<std::size_t>(n) * sizeof(T);
        std::size_t const alignment = size >= 4 * huge_page ? huge_page : 64;
        void* const p = ::operator new (size, std::align_val_t{alignment});
#if defined(__linux__)
        if (alignment == huge_page) madvise(p, size / huge_page * huge_page, MADV_HUGEPAGE);
#endif
        return memory(static_cast<T*>(p), release{alignment});
    }

    index_t size_ = 0;
    memory memory_;
};

} // namespace espalier::cpu
