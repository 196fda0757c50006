// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of device/cpu/buffer.hpp; see core/library.hpp.
#pragma once

#include <espalier/device/cpu/buffer.hpp>

#include <cstring>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace espalier::cpu::detail {

inline constexpr std::size_t huge_page = std::size_t{1} << 21;

inline std::size_t alignment_of(std::size_t bytes) {
    return bytes >= 4 * huge_page ? huge_page : 64;
}
inline void* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    std::size_t const alignment = alignment_of(bytes);
    void* const p = ::operator new (bytes, std::align_val_t{alignment});
#if defined(__linux__)
    if (alignment == huge_page) madvise(p, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
    return p;
}

ESPALIER_LIBRARY raw_memory::raw_memory(std::size_t bytes) : bytes_(bytes), data_(allocate(bytes)) {
    clear();
}
ESPALIER_LIBRARY raw_memory::raw_memory(raw_memory const& other) : bytes_(other.bytes_), data_(allocate(other.bytes_)) {
    if (data_) std::memcpy(data_, other.data_, bytes_);
}
ESPALIER_LIBRARY raw_memory::raw_memory(raw_memory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, 0)), data_(std::exchange(other.data_, nullptr)) {}
ESPALIER_LIBRARY raw_memory& raw_memory::operator=(raw_memory other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
}
ESPALIER_LIBRARY raw_memory::~raw_memory() {
    if (data_) ::operator delete (data_, std::align_val_t{alignment_of(bytes_)});
}
ESPALIER_LIBRARY void raw_memory::clear() {
    if (data_) std::memset(data_, 0, bytes_);
}

} // namespace espalier::cpu::detail
