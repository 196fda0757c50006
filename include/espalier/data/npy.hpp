// SPDX-License-Identifier: Apache-2.0
// The NPY format of NumPy, versions 1.0 to 3.0: the bytes 0x93 N U M P Y, two of the version, the length of the header
// (16 or 32 bits, little-endian), a header in Python's notation with type, order and extents, and the values; plain or
// gzip-compressed. An .npz archive, which is a zip file of such files, is not read.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier {

/// What a file does not say itself.
struct npy_options {
    /// Takes arrays of any number of dimensions: the first counts the rows, and a row is everything behind it in C
    /// order (the pixels of an image); without dimensions, one row of one number. Otherwise 1 or 2 are needed.
    bool flatten = false;
    /// Values that are two bytes without a type (`|V2`) are bfloat16, which NumPy does not know and writes so for the
    /// package ml_dtypes. Otherwise such a file is refused: the bytes could be anything.
    bool two_bytes_are_bf16 = false;
};

/// Values of an NPY file, rows one after the other whatever the order in the file.
template <class T> struct npy_array {
    std::vector<T> values;        ///< rows x columns
    index_t rows = 0;             ///< the first extent
    index_t columns = 0;          ///< the second one; 1 of an array with one dimension
    std::vector<index_t> extents; ///< as the file has them

    matrix_view<T const> view() const& { return contiguous_view(values.data(), rows, columns); }
    // A view of a temporary would look at freed memory: name the array first.
    matrix_view<T const> view() const&& = delete;
};

namespace detail {

template <class T, class... Any> inline constexpr bool is_any_of = (std::is_same_v<T, Any> || ...);

template <class T>
inline constexpr bool is_npy_value = is_any_of<T, float, double, std::int8_t, std::uint8_t, std::int16_t, std::uint16_t,
                                               std::int32_t, std::uint32_t, std::int64_t, std::uint64_t>;

/// For the types above.
template <class T> npy_array<T> read_npy_values(file_path const& path, npy_options const& options);

/// Rows of `row_bytes`, so many bytes apart.
struct npy_rows {
    std::byte const* data;
    index_t rows;
    index_t row_bytes;
    index_t stride_bytes;
};
void write_npy_rows(file_path const& path, std::string_view type, std::vector<index_t> const& extents,
                    npy_rows const& values);

/// "<f4"
template <class T> std::string npy_type() {
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "write_npy: float, double, bool or an integer type");
    char const kind = std::is_same_v<T, bool>       ? 'b'
                      : std::is_floating_point_v<T> ? 'f'
                      : std::is_signed_v<T>         ? 'i'
                                                    : 'u';
    return {sizeof(T) == 1 ? '|' : '<', kind, static_cast<char>('0' + sizeof(T))};
}

} // namespace detail

/// Reads an array of numbers as rows of T: float, double or an integer type of 8 to 64 bits.
///
///     auto const x = read_npy<float>("x.npy");             // rows x columns, whatever the file holds
///     auto const y = read_npy<std::int32_t>("y.npy");      // one dimension: n rows of one column
///     auto const images = read_npy<float>("images.npy", {.flatten = true});
///
/// The file may hold f2, f4, f8, integers of 8 to 64 bits, signed or not, and bool (0 and 1), little-endian or
/// big-endian, in C or Fortran order. A number becomes the nearest float or double; infinities and NaN stay. An integer
/// type takes whole numbers of its range only, also from a file of floats. Time is linear in the size of the file;
/// memory is that of the result, twice that in Fortran order.
///
/// Throws `file_error` naming the file and the reason: not an NPY file, an archive (.npz), a version that is not known,
/// a header that is malformed, named fields (a structured dtype), Python objects (pickles), any other type, two bytes
/// without a type or a number of dimensions unless the options take them, extents that the file cannot hold (found
/// before memory is taken for them), data that ends early, bytes after the data, a number that T does not hold (with
/// its index), damaged compression.
template <class T> npy_array<T> read_npy(file_path const& path, npy_options const& options = {}) {
    static_assert(detail::is_npy_value<T>, "read_npy: float, double or std::int8_t ... std::uint64_t; a file of bool "
                                           "is read as any of them");
    return detail::read_npy_values<T>(path, options);
}

/// Writes rows x columns numbers (float, double, bool, integers), little-endian and in C order, version 1.0; replaces
/// the file completely or not at all.
/// Throws `shape_error` for extents that are negative, rows that overlap or memory that is not there, and `file_error`
/// as `atomic_file` does.
template <class T> void write_npy(file_path const& path, matrix_view<T> values) {
    constexpr index_t size = sizeof(T);
    detail::write_npy_rows(
        path, detail::npy_type<std::remove_const_t<T>>(), {values.rows, values.columns},
        {reinterpret_cast<std::byte const*>(values.data), values.rows, values.columns * size, values.stride * size});
}

/// The same for an array of one dimension.
template <class T> void write_npy(file_path const& path, array_view<T> values) {
    constexpr index_t size = sizeof(T);
    detail::write_npy_rows(
        path, detail::npy_type<std::remove_const_t<T>>(), {values.size},
        {reinterpret_cast<std::byte const*>(values.data), 1, values.size * size, values.size * size});
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/data/detail/npy.hpp>
#endif
