// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/idx.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/idx.hpp>

#include <espalier/core/error.hpp>
#include <espalier/io/gz_reader.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace espalier {

namespace detail {

template <class T> void from_big_endian(std::vector<T>& values) {
    if constexpr (sizeof(T) > 1 && std::endian::native == std::endian::little) {
        for (T& value : values) {
            auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
            std::reverse(bytes.begin(), bytes.end());
            value = std::bit_cast<T>(bytes);
        }
    }
}

template <class T> idx_array<T> read_idx_values(file_path const& path, idx_type wanted) {
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
    if (magic[2] != wanted.code) {
        auto const* const found = std::find_if(idx_types.begin(), idx_types.end(),
                                               [&](idx_type const& type) { return type.code == magic[2]; });
        fail(2, found == idx_types.end()
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
    from_big_endian(result.values);
    return result;
}

#define ESPALIER_IDX_OF(T) template idx_array<T> read_idx_values<T>(file_path const&, idx_type)
#if !defined(ESPALIER_HEADER_ONLY)
ESPALIER_IDX_OF(std::uint8_t);
ESPALIER_IDX_OF(std::int8_t);
ESPALIER_IDX_OF(std::int16_t);
ESPALIER_IDX_OF(std::int32_t);
ESPALIER_IDX_OF(float);
ESPALIER_IDX_OF(double);
#endif
#undef ESPALIER_IDX_OF

ESPALIER_LIBRARY idx_array<std::uint8_t> read_idx_bytes(file_path const& path, std::size_t rank, char const* what) {
    auto result = read_idx<std::uint8_t>(path);
    if (result.extents.size() != rank) {
        throw file_error(path.string() + ": at byte 3: " + std::to_string(result.extents.size()) + " dimensions; " +
                         what + " have " + std::to_string(rank));
    }
    return result;
}

} // namespace detail

ESPALIER_LIBRARY idx_array<std::uint8_t> read_idx_images(file_path const& path) {
    return detail::read_idx_bytes(path, 3, "images");
}

ESPALIER_LIBRARY idx_array<std::uint8_t> read_idx_labels(file_path const& path) {
    return detail::read_idx_bytes(path, 1, "labels");
}

ESPALIER_LIBRARY data_set read_mnist(file_path const& images, file_path const& labels) {
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
