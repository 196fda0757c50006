// SPDX-License-Identifier: Apache-2.0
// The IDX format of the MNIST files: two zero bytes, a type byte, the number of dimensions, the extents (32 bits,
// big-endian) and the values (big-endian), row-major; plain or gzip-compressed.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/table.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier {

/// Values of an IDX file, row-major.
template <class T> struct idx_array {
    std::vector<index_t> extents; ///< one per dimension, at least one
    std::vector<T> values;        ///< as many as the product of the extents

    /// Elements behind one index of the first dimension: the pixels of an image.
    index_t row_size() const {
        index_t size = 1;
        for (std::size_t i = 1; i < extents.size(); ++i) {
            size *= extents[i];
        }
        return size;
    }
};

namespace detail {

struct idx_type {
    std::uint8_t code;
    std::string_view name;
};

inline constexpr std::array<idx_type, 6> idx_types{
    {{0x08, "u8"}, {0x09, "i8"}, {0x0b, "i16"}, {0x0c, "i32"}, {0x0d, "f32"}, {0x0e, "f64"}}};

template <class T> constexpr idx_type idx_type_of() {
    constexpr int found = std::is_same_v<T, std::uint8_t>   ? 0
                          : std::is_same_v<T, std::int8_t>  ? 1
                          : std::is_same_v<T, std::int16_t> ? 2
                          : std::is_same_v<T, std::int32_t> ? 3
                          : std::is_same_v<T, float>        ? 4
                          : std::is_same_v<T, double>       ? 5
                                                            : -1;
    static_assert(found >= 0, "read_idx: an IDX file holds uint8_t, int8_t, int16_t, int32_t, float or double");
    return idx_types[found];
}

/// For the types above; `wanted` is the type's own.
template <class T> idx_array<T> read_idx_values(file_path const& path, idx_type wanted);

} // namespace detail

/// Reads an IDX file of any rank whose values are of type T (uint8_t, int8_t, int16_t, int32_t, float, double).
///
/// Throws `file_error` naming the file, the byte offset (in the uncompressed data) and the reason: not an IDX file,
/// other values than T, a size that the file cannot hold (found before memory is taken for it), data that ends early,
/// bytes after the data, damaged compression.
template <class T> idx_array<T> read_idx(file_path const& path) {
    return detail::read_idx_values<T>(path, detail::idx_type_of<T>());
}

/// Images: bytes in three dimensions (images, rows, columns). Errors as in `read_idx`.
idx_array<std::uint8_t> read_idx_images(file_path const& path);

/// Labels: bytes in one dimension. Errors as in `read_idx`.
idx_array<std::uint8_t> read_idx_labels(file_path const& path);

/// A pair of MNIST files as a table: one image a row, pixels scaled from 0..255 to 0..1.
/// Throws `file_error` as `read_idx` does, and when the files do not have the same number of items.
data_set read_mnist(file_path const& images, file_path const& labels);

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/data/detail/idx.hpp>
#endif
