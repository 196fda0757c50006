// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/npy.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/npy.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/gz_reader.hpp>
#include <espalier/io/printable.hpp>
#include <espalier/io/safetensors.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

namespace espalier {

namespace detail {

inline constexpr std::string_view npy_magic = "\x93NUMPY";

/// What the header says of the values.
struct npy_header {
    std::string type;
    bool fortran_order = false;
    std::vector<index_t> extents;
};

/// Reads the one dictionary that a header is: the three keys, each once, in any order.
class npy_header_parser {
public:
    explicit npy_header_parser(std::string_view text) : text_(text) {}

    /// Nothing when the text is something else. `named_fields` tells then whether the type is a list of fields.
    std::optional<npy_header> parse() {
        npy_header header;
        bool seen[3] = {};
        if (!take('{')) {
            return std::nullopt;
        }
        while (!take('}')) {
            auto const key = take_text();
            if (!key || !take(':')) {
                return std::nullopt;
            }
            std::size_t const which = *key == "descr" ? 0 : *key == "fortran_order" ? 1 : *key == "shape" ? 2 : 3;
            if (which == 3 || std::exchange(seen[which], true) ||
                !(which == 0   ? take_type(header.type)
                  : which == 1 ? take_order(header.fortran_order)
                               : take_extents(header.extents))) {
                return std::nullopt;
            }
            if (!take(',')) {
                if (!take('}')) {
                    return std::nullopt;
                }
                break;
            }
        }
        skip_blanks();
        return at_ == text_.size() && seen[0] && seen[1] && seen[2] ? std::optional(std::move(header)) : std::nullopt;
    }

    bool named_fields() const { return named_fields_; }

private:
    void skip_blanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

    bool take(std::string_view word) {
        skip_blanks();
        bool const found = text_.substr(at_, word.size()) == word;
        at_ += found ? word.size() : 0;
        return found;
    }
    bool take(char c) { return take(std::string_view(&c, 1)); }

    /// 'text' or "text" without anything to unescape.
    std::optional<std::string_view> take_text() {
        char const quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
        std::size_t const end = quote == '\0' ? std::string_view::npos : text_.find(quote, at_);
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        auto const text = text_.substr(at_, end - at_);
        at_ = end + 1;
        return text.find('\\') == std::string_view::npos ? std::optional(text) : std::nullopt;
    }

    bool take_type(std::string& type) {
        auto const text = take_text();
        named_fields_ = !text && (take('[') || take('('));
        type = text.value_or("");
        return text.has_value();
    }

    bool take_order(bool& fortran_order) {
        fortran_order = take("True");
        return fortran_order || take("False");
    }

    /// A tuple, of which one of a single number has a comma behind it; Python 2 wrote numbers as 3L.
    bool take_extents(std::vector<index_t>& extents) {
        if (!take('(')) {
            return false;
        }
        bool comma = true;
        while (!take(')')) {
            index_t extent = -1;
            skip_blanks();
            auto const [end, code] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), extent);
            if (!comma || code != std::errc() || extent < 0) {
                return false;
            }
            at_ = static_cast<std::size_t>(end - text_.data());
            static_cast<void>(take('L'));
            extents.push_back(extent);
            comma = take(',');
        }
        return extents.size() != 1 || comma;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool named_fields_ = false;
};

/// What a value is: the kind of NumPy's name of the type (f, i, u, b; h for bfloat16) and its bytes.
struct npy_value {
    char kind;
    std::size_t size;
    bool big_endian;
};

/// `fail` throws.
template <class Fail> npy_value npy_value_of(std::string const& type, npy_options const& options, Fail const& fail) {
    std::string_view const text = type;
    if (text.size() >= 2 && text[1] == 'O') {
        fail("the values are Python objects, which only Python can read (pickles); save an array of numbers: "
             "numpy.save(file, array.astype(numpy.float32))");
    }
    bool const ordered = text.size() == 3 && (text[0] == '<' || text[0] == '>' || text[0] == '|');
    std::string_view const name = ordered ? text.substr(1) : std::string_view();
    npy_value value{ordered ? name[0] : '\0', ordered ? static_cast<std::size_t>(name[1] - '0') : 0,
                    ordered && text[0] == '>'};
    if (name == "V2") {
        if (!options.two_bytes_are_bf16) {
            fail("the values are two bytes without a type ('" + type +
                 "'), which bfloat16 of ml_dtypes is written as: say .two_bytes_are_bf16 = true if they are");
        }
        value.kind = 'h';
        return value;
    }
    constexpr std::string_view known[] = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"};
    if (std::find(std::begin(known), std::end(known), name) == std::end(known) || (text[0] == '|' && value.size > 1)) {
        fail("the values are of type '" + printable(type, 40) +
             "'; read_npy takes f2, f4, f8, i1 to i8, u1 to u8 and b1: save array.astype(numpy.float32)");
    }
    return value;
}

template <std::size_t Bytes, class Result> Result npy_bits(std::byte const* from, bool big_endian) {
    std::array<std::byte, Bytes> bytes;
    std::memcpy(bytes.data(), from, Bytes);
    if (big_endian) {
        std::reverse(bytes.begin(), bytes.end());
    }
    return std::bit_cast<Result>(bytes);
}

/// Calls `take(load)`: `load(bytes)` is the value there as double, std::int64_t or std::uint64_t, which hold all values
/// of its type.
template <class Take> void with_npy_loader(npy_value const& value, Take const& take) {
    bool const big = value.big_endian;
    auto const as = [&]<class Stored, class Wide>(Stored, Wide) {
        take([big](std::byte const* from) -> Wide {
            return static_cast<Wide>(npy_bits<sizeof(Stored), Stored>(from, big));
        });
    };
    switch (value.kind) {
    case 'f':
        if (value.size == 8) {
            return as(double{}, double{});
        }
        if (value.size == 4) {
            return as(float{}, double{});
        }
        return take(
            [big](std::byte const* from) -> double { return half_to_float(npy_bits<2, std::uint16_t>(from, big)); });
    case 'h':
        return take(
            [big](std::byte const* from) -> double { return bfloat_to_float(npy_bits<2, std::uint16_t>(from, big)); });
    case 'i':
        return value.size == 8   ? as(std::int64_t{}, std::int64_t{})
               : value.size == 4 ? as(std::int32_t{}, std::int64_t{})
               : value.size == 2 ? as(std::int16_t{}, std::int64_t{})
                                 : as(std::int8_t{}, std::int64_t{});
    case 'u':
        return value.size == 8   ? as(std::uint64_t{}, std::uint64_t{})
               : value.size == 4 ? as(std::uint32_t{}, std::uint64_t{})
               : value.size == 2 ? as(std::uint16_t{}, std::uint64_t{})
                                 : as(std::uint8_t{}, std::uint64_t{});
    default: // bool
        return take([](std::byte const* from) -> std::uint64_t { return *from != std::byte{0}; });
    }
}

/// Why a number is none of T, or null.
template <class T, class Wide> char const* convert_npy_value(Wide from, T& to) {
    if constexpr (std::is_floating_point_v<T>) {
        to = static_cast<T>(from);
        if constexpr (std::is_same_v<Wide, double> && std::is_same_v<T, float>) {
            if (std::abs(from) <= std::numeric_limits<double>::max() && std::abs(to) > std::numeric_limits<T>::max()) {
                return "is outside the range of a float";
            }
        }
    } else if constexpr (std::is_floating_point_v<Wide>) {
        // The largest T is no double where T has 64 bits; twice half of what follows it is one.
        constexpr double end = static_cast<double>(std::numeric_limits<T>::max() / 2 + 1) * 2.0;
        constexpr double begin = static_cast<double>(std::numeric_limits<T>::min());
        if (!(from >= begin && from < end) || from != std::floor(from)) {
            return from == std::floor(from) ? "is outside the range of the integer type asked for"
                                            : "is no whole number, and integers were asked for";
        }
        to = static_cast<T>(from);
    } else {
        if (!std::in_range<T>(from)) {
            return "is outside the range of the integer type asked for";
        }
        to = static_cast<T>(from);
    }
    return nullptr;
}

template <class Number> std::string npy_number_text(Number number) {
    char text[32];
    auto const [end, code] = std::to_chars(text, text + sizeof text, number);
    return code == std::errc() ? std::string(text, end) : std::string("?");
}

/// The index of the value at `place` of the file.
inline std::string npy_index_text(std::vector<index_t> const& extents, bool fortran_order, index_t place) {
    std::vector<index_t> index(extents.size());
    for (std::size_t i = 0; i < extents.size(); ++i) {
        std::size_t const axis = fortran_order ? i : extents.size() - 1 - i;
        index[axis] = place % extents[axis];
        place /= extents[axis];
    }
    return shape_text(index);
}

/// From Fortran order, in which the first index runs fastest, to rows in C order.
template <class T>
std::vector<T> rows_of_fortran_order(std::vector<T> const& values, std::vector<index_t> const& extents, index_t rows,
                                     index_t columns) {
    std::vector<T> result(values.size());
    std::vector<index_t> index(extents.size());
    T const* from = values.data();
    for (index_t j = 0; j < columns; ++j) {
        index_t column = 0;
        for (std::size_t axis = 1; axis < extents.size(); ++axis) {
            column = column * extents[axis] + index[axis];
        }
        for (index_t r = 0; r < rows; ++r) {
            result[static_cast<std::size_t>(r * columns + column)] = *from++;
        }
        for (std::size_t axis = 1; axis < extents.size() && ++index[axis] == extents[axis]; ++axis) {
            index[axis] = 0;
        }
    }
    return result;
}

template <class Fail> npy_header read_npy_header(gz_reader& file, Fail const& fail) {
    std::array<char, 8> opening{};
    std::size_t const got = file.read(opening.data(), opening.size());
    std::string_view const magic(opening.data(), std::min(got, npy_magic.size()));
    if (magic.substr(0, 4) == std::string_view("PK\x03\x04", 4) ||
        magic.substr(0, 4) == std::string_view("PK\x05\x06", 4)) {
        fail("is an archive (.npz), which is not read; save its arrays one by one as .npy: numpy.save(file, "
             "archive['name'])");
    }
    if (magic != npy_magic.substr(0, magic.size()) || magic.empty()) {
        fail("is not an NPY file: it does not begin with 0x93 NUMPY");
    }
    auto const byte = [](char c) { return std::uint64_t{static_cast<unsigned char>(c)}; };
    std::array<char, 4> size{};
    bool const short_size = opening[6] == 1;
    std::size_t const size_bytes = short_size ? 2 : 4;
    if (got == opening.size() && (byte(opening[6]) < 1 || byte(opening[6]) > 3 || opening[7] != 0)) {
        fail("is of version " + std::to_string(byte(opening[6])) + "." + std::to_string(byte(opening[7])) +
             " of the NPY format; 1.0, 2.0 and 3.0 are known");
    }
    if (got < opening.size() || file.read(size.data(), size_bytes) < size_bytes) {
        fail("ends before its header");
    }
    std::uint64_t const length = byte(size[0]) | byte(size[1]) << 8 | byte(size[2]) << 16 | byte(size[3]) << 24;
    constexpr std::uint64_t longest = std::uint64_t{1} << 20;
    if (length > longest) {
        fail("claims a header of " + std::to_string(length) + " bytes; an array of numbers needs a few hundred");
    }
    std::string text(length, '\0');
    if (file.read(text.data(), length) < length) {
        fail("ends inside its header");
    }
    npy_header_parser parser(text);
    auto header = parser.parse();
    if (!header) {
        fail(parser.named_fields() ? "holds a table of named fields (a structured dtype); save its columns one by one: "
                                     "numpy.save(file, table['name'])"
                                   : "has a malformed header: " + printable(text, 100) +
                                         "; {'descr': TYPE, 'fortran_order': BOOL, 'shape': TUPLE} is needed");
    }
    return std::move(*header);
}

template <class T> npy_array<T> read_npy_values(file_path const& path, npy_options const& options) {
    gz_reader file(path);
    auto const fail = [&](std::string const& reason) { throw file_error(file.path() + ": " + reason); };
    npy_header header = read_npy_header(file, fail);
    npy_value const value = npy_value_of(header.type, options, fail);
    std::vector<index_t> const& extents = header.extents;
    if (!options.flatten && (extents.empty() || extents.size() > 2)) {
        fail("has " + std::to_string(extents.size()) + " dimensions, shape " + shape_text(extents) +
             "; 1 or 2 are read, and .flatten = true makes one row of everything behind the first");
    }
    npy_array<T> result;
    index_t total = 0;
    result.rows = extents.empty() ? 1 : extents[0];
    bool const fits = count_elements(extents, total) &&
                      count_elements({extents.begin() + !extents.empty(), extents.end()}, result.columns);
    std::uint64_t const start = file.offset();
    if (!fits || static_cast<std::uint64_t>(total) > file.delivers_at_most() / value.size) {
        fail("claims the shape " + shape_text(extents) + ", more than the file can hold");
    }
    with_npy_loader(value, [&](auto const& load) {
        std::vector<std::byte> piece(std::min(static_cast<std::size_t>(total) * value.size, std::size_t{1} << 16));
        for (index_t done = 0; done < total;) {
            std::size_t const bytes = std::min(piece.size(), static_cast<std::size_t>(total - done) * value.size);
            if (file.read(piece.data(), bytes) < bytes) {
                fail("ends after " + std::to_string(file.offset() - start) + " of " +
                     std::to_string(static_cast<std::uint64_t>(total) * value.size) + " bytes of values");
            }
            // The memory follows the data that really arrives.
            result.values.resize(static_cast<std::size_t>(done) + bytes / value.size);
            for (std::size_t at = 0; at < bytes; at += value.size, ++done) {
                auto const number = load(piece.data() + at);
                if (char const* const reason =
                        convert_npy_value(number, result.values[static_cast<std::size_t>(done)])) {
                    fail("the value at " + npy_index_text(extents, header.fortran_order, done) + ", " +
                         npy_number_text(number) + ", " + reason);
                }
            }
        }
    });
    std::byte extra{};
    if (file.read(&extra, 1) != 0) {
        fail("has bytes after the last value");
    }
    if (header.fortran_order && result.rows > 1 && result.columns > 1) {
        result.values = rows_of_fortran_order(result.values, extents, result.rows, result.columns);
    }
    result.extents = std::move(header.extents);
    return result;
}

#if !defined(ESPALIER_HEADER_ONLY)
#define ESPALIER_NPY_OF(T) template npy_array<T> read_npy_values<T>(file_path const&, npy_options const&)
ESPALIER_NPY_OF(float);
ESPALIER_NPY_OF(double);
ESPALIER_NPY_OF(std::int8_t);
ESPALIER_NPY_OF(std::uint8_t);
ESPALIER_NPY_OF(std::int16_t);
ESPALIER_NPY_OF(std::uint16_t);
ESPALIER_NPY_OF(std::int32_t);
ESPALIER_NPY_OF(std::uint32_t);
ESPALIER_NPY_OF(std::int64_t);
ESPALIER_NPY_OF(std::uint64_t);
#undef ESPALIER_NPY_OF
#endif

ESPALIER_LIBRARY void write_npy_rows(file_path const& path, std::string_view type, std::vector<index_t> const& extents,
                                     npy_rows const& values) {
    if (values.rows < 0 || values.row_bytes < 0 || (values.rows > 1 && values.stride_bytes < values.row_bytes)) {
        throw_shape_error("write_npy: the array is ", shape_text(extents),
                          "; extents must not be negative and rows must not overlap");
    }
    if (values.data == nullptr && values.rows > 0 && values.row_bytes > 0) {
        throw_shape_error("write_npy: the array is ", shape_text(extents), " but has no memory (a null pointer)");
    }
    std::string shape;
    for (index_t const extent : extents) {
        shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
    }
    std::string header = "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': (" + shape +
                         (extents.size() == 1 ? ",), }" : "), }");
    std::size_t const before = npy_magic.size() + 4;
    header.append(63 - (before + header.size()) % 64, ' '); // values begin at a multiple of 64 bytes
    header += '\n';
    atomic_file file(path);
    file.write(npy_magic);
    file.write(
        std::string{'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)});
    file.write(header);
    for (index_t r = 0; r < values.rows; ++r) {
        file.write(std::span(values.data + r * values.stride_bytes, static_cast<std::size_t>(values.row_bytes)));
    }
    file.commit();
}

} // namespace detail

} // namespace espalier
