// SPDX-License-Identifier: Apache-2.0
// The IDX format of the MNIST files: two zero bytes, a type byte, the number of dimensions, the extents (32 bits,
// big-endian) and the values (big-endian), row-major; plain or gzip-compressed.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/gz_reader.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
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

template <class T> void from_big_endian(std::vector<T>& values) {
    if constexpr (sizeof(T) > 1 && std::endian::native == std::endian::little) {
        for (T& value : values) {
            auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
            std::reverse(bytes.begin(), bytes.end());
            value = std::bit_cast<T>(bytes);
        }
    }
}

} // namespace detail

/// Reads an IDX file of any rank whose values are of type T (uint8_t, int8_t, int16_t, int32_t, float, double).
///
/// Throws `file_error` naming the file, the byte offset (in the uncompressed data) and the reason: not an IDX file,
/// other values than T, a size that the file cannot hold (found before memory is taken for it), data that ends early,
/// bytes after the data, damaged compression.
template <class T> idx_array<T> read_idx(std::filesystem::path const& path) {
    gz_reader file(path);
    auto const fail = [&](std::uint64_t offset, std::string const& reason) {
        throw file_error(file.path() + ": at byte " + std::to_string(offset) + ": " + reason);
    };
    std::array<std::uint8_t, 4> magic{};
    if (std::size_t const got = file.read(magic.data(), 4); got < 4) {
        fail(got, "the file ends inside the 4 bytes that an IDX file starts with");
    }
    if (magic[0] != 0 || magic[1] != 0) {
        fail(0, "not an IDX file: it does not start with two zero bytes");
    }
    constexpr detail::idx_type wanted = detail::idx_type_of<T>();
    if (magic[2] != wanted.code) {
        auto const* const found = std::find_if(detail::idx_types.begin(), detail::idx_types.end(),
                                               [&](detail::idx_type const& type) { return type.code == magic[2]; });
        fail(2, found == detail::idx_types.end()
                    ? "unknown type of values, code " + std::to_string(magic[2])
                    : "the values are " + std::string(found->name) + "; " + std::string(wanted.name) + " is needed");
    }
    std::size_t const rank = magic[3];
    if (rank == 0) {
        fail(3, "no dimensions");
    }
    idx_array<T> result;
    std::uint64_t total = sizeof(T);
    bool overflow = false; // also of the part that a zero extent hides: row_size multiplies it
    bool empty = false;
    constexpr std::uint64_t idx_limit = std::numeric_limits<index_t>::max();
    for (std::size_t i = 0; i < rank; ++i) {
        std::array<std::uint8_t, 4> big{};
        if (std::size_t const got = file.read(big.data(), 4); got < 4) {
            fail(file.offset(),
                 "the file ends inside the extent of dimension " + std::to_string(i) + " of " + std::to_string(rank));
        }
        std::uint64_t const extent = (std::uint64_t{big[0]} << 24) | (std::uint64_t{big[1]} << 16) |
                                     (std::uint64_t{big[2]} << 8) | std::uint64_t{big[3]};
        result.extents.push_back(static_cast<index_t>(extent));
        empty = empty || extent == 0;
        overflow = overflow || (extent != 0 && total > idx_limit / extent);
        total = overflow || extent == 0 ? total : total * extent;
    }
    std::uint64_t const start = file.offset();
    total = empty ? 0 : total;
    if (overflow || total > file.delivers_at_most()) {
        fail(4, "the extents claim " + (overflow ? std::string("more than 2^63") : std::to_string(total)) +
                    " bytes of values, more than the file can hold");
    }
    // The memory follows the data that really arrives: a small file cannot take much, whatever it claims.
    auto const count = static_cast<std::size_t>(total / sizeof(T));
    constexpr std::size_t step = (std::size_t{1} << 22) / sizeof(T);
    while (result.values.size() < count) {
        std::size_t const old = result.values.size();
        std::size_t const piece = std::min(std::max(step, old), count - old);
        result.values.resize(old + piece);
        if (file.read(result.values.data() + old, piece * sizeof(T)) < piece * sizeof(T)) {
            fail(file.offset(), "the data ends after " + std::to_string(file.offset() - start) + " of " +
                                    std::to_string(total) + " bytes of values");
        }
    }
    std::byte extra{};
    if (file.read(&extra, 1) != 0) {
        fail(start + total, "there are bytes after the last value");
    }
    detail::from_big_endian(result.values);
    return result;
}

namespace detail {

inline idx_array<std::uint8_t> read_idx_bytes(std::filesystem::path const& path, std::size_t rank, char const* what) {
    auto result = read_idx<std::uint8_t>(path);
    if (result.extents.size() != rank) {
        throw file_error(path.string() + ": at byte 3: " + std::to_string(result.extents.size()) + " dimensions; " +
                         what + " have " + std::to_string(rank));
    }
    return result;
}

} // namespace detail

/// Images: bytes in three dimensions (images, rows, columns). Errors as in `read_idx`.
inline idx_array<std::uint8_t> read_idx_images(std::filesystem::path const& path) {
    return detail::read_idx_bytes(path, 3, "images");
}

/// Labels: bytes in one dimension. Errors as in `read_idx`.
inline idx_array<std::uint8_t> read_idx_labels(std::filesystem::path const& path) {
    return detail::read_idx_bytes(path, 1, "labels");
}

/// A pair of MNIST files as a table: one image a row, pixels scaled from 0..255 to 0..1.
/// Throws `file_error` as `read_idx` does, and when the files do not have the same number of items.
inline data_set read_mnist(std::filesystem::path const& images, std::filesystem::path const& labels) {
    auto const pixels = read_idx_images(images);
    auto const classes = read_idx_labels(labels);
    if (pixels.extents[0] != classes.extents[0]) {
        throw file_error(images.string() + " has " + std::to_string(pixels.extents[0]) + " images, but " +
                         labels.string() + " has " + std::to_string(classes.extents[0]) + " labels");
    }
    data_set result;
    result.count = pixels.extents[0];
    result.width = pixels.row_size();
    result.features.resize(pixels.values.size());
    std::transform(pixels.values.begin(), pixels.values.end(), result.features.begin(),
                   [](std::uint8_t pixel) { return static_cast<float>(pixel) / 255.0f; });
    result.labels.assign(classes.values.begin(), classes.values.end());
    return result;
}

} // namespace espalier
