// SPDX-License-Identifier: Apache-2.0
// The safetensors file format: named tensors behind a JSON header, read by PyTorch, JAX, NumPy and many others.
// Layout (huggingface.co/docs/safetensors): 8 bytes little-endian header length N, N bytes of JSON
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}} padded with spaces, then
// data.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian, and so is Espalier");

namespace espalier {

/// Element type of a stored tensor: all that the format has. Of those from c64 on (a pair of floats, and floats of 8, 6
/// and 4 bits; those of 6 and 4 share bytes) the bytes are kept, written and read, but no values are made.
enum class dtype : std::uint8_t {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean,
    c64,
    f8_e4m3,
    f8_e5m2,
    f8_e8m0,
    f8_e4m3fnuz,
    f8_e5m2fnuz,
    f6_e2m3,
    f6_e3m2,
    f4
};

namespace detail {

/// "[2, 3]"
std::string shape_text(std::vector<index_t> const& shape);
/// Product of the extents; false when it does not fit 63 bits or an extent is negative. A scalar (no extents) has 1.
bool count_elements(std::vector<index_t> const& shape, index_t& count);

inline float half_to_float(std::uint16_t bits) {
    std::uint32_t const sign = static_cast<std::uint32_t>(bits >> 15) << 31;
    std::uint32_t const exponent = (bits >> 10) & 0x1fu;
    std::uint32_t const fraction = bits & 0x3ffu;
    if (exponent == 0) { // zero or subnormal: fraction * 2^-24 is exact
        float const magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    std::uint32_t const wide = exponent == 31 ? 255u : exponent + 112u;
    return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

inline float bfloat_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

struct dtype_entry {
    std::string_view name;
    std::size_t bits;
};

/// In the order of `dtype`.
inline constexpr std::array<dtype_entry, 22> dtype_table{
    {{"F64", 64},        {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32},
     {"I16", 16},        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
     {"BOOL", 8},        {"C64", 64},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4}}};

/// Whether `count` elements of so many bits fill the bytes exactly.
constexpr bool fills(std::uint64_t count, std::size_t bits, std::uint64_t bytes) {
    return bytes * 8 % bits == 0 && count == bytes * 8 / bits;
}

} // namespace detail

/// Bits of one element.
constexpr std::size_t bits_of(dtype type) {
    return detail::dtype_table[static_cast<std::size_t>(type)].bits;
}

/// Bytes of one element, 0 of those that share them.
constexpr std::size_t size_of(dtype type) {
    return bits_of(type) / 8;
}

/// Name in the file: "F32", "BF16", ...
constexpr std::string_view name_of(dtype type) {
    return detail::dtype_table[static_cast<std::size_t>(type)].name;
}

/// The `dtype` of a C++ arithmetic type. f16 and bf16 have none in C++20: give their bits and the type by name.
template <class T> constexpr dtype dtype_of() {
    if constexpr (std::is_same_v<T, double>) {
        return dtype::f64;
    } else if constexpr (std::is_same_v<T, float>) {
        return dtype::f32;
    } else if constexpr (std::is_same_v<T, bool>) {
        return dtype::boolean;
    } else {
        static_assert(std::is_integral_v<T>, "dtype_of: safetensors stores double, float, bool and integers");
        constexpr bool is_signed = std::is_signed_v<T>;
        switch (sizeof(T)) {
        case 8:
            return is_signed ? dtype::i64 : dtype::u64;
        case 4:
            return is_signed ? dtype::i32 : dtype::u32;
        case 2:
            return is_signed ? dtype::i16 : dtype::u16;
        default:
            return is_signed ? dtype::i8 : dtype::u8;
        }
    }
}

/// A named tensor, row-major. The bytes belong to someone else: the user's arrays when writing, the
/// `safetensors_file` when reading.
struct tensor_record {
    std::string name;
    dtype type = dtype::f32;
    std::vector<index_t> shape;
    std::span<std::byte const> data;

    /// Number of elements.
    index_t count() const { return static_cast<index_t>(data.size() * 8 / bits_of(type)); }

    /// Copies the values to `target`, which has exactly `count()` elements of exactly this type.
    /// Throws `data_error` naming the tensor, what it holds and what was asked for; `target` is unchanged then.
    template <class T> void copy_to(array_view<T> target) const {
        need_type(dtype_of<T>());
        need_count(target.size);
        if (!data.empty()) { // memcpy: nothing in the format promises that a tensor is aligned
            std::memcpy(target.data, data.data(), data.size());
        }
    }

    /// The values as a vector of exactly this type. Throws `data_error` as `copy_to` does.
    template <class T> std::vector<T> values() const {
        static_assert(!std::is_same_v<T, bool>, "read a boolean tensor through copy_to or data: vector<bool> is bits");
        std::vector<T> result(static_cast<std::size_t>(count()));
        copy_to(array_view<T>{result.data(), count()});
        return result;
    }

    /// The values of a floating-point tensor of any width (f64, f32, f16, bf16) as `float` or `double`; f64 to `float`
    /// rounds to nearest. Throws `data_error` naming the tensor and its type for every other one.
    template <class T> std::vector<T> converted() const {
        static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>, "converted: float or double");
        std::vector<T> result(static_cast<std::size_t>(count()));
        convert_to(result.data());
        return result;
    }

    /// Throws `data_error` unless the tensor has this element type and shape: what a loader calls for every tensor
    /// before it changes anything.
    void need(dtype wanted, std::vector<index_t> const& wanted_shape) const;

    /// Throws `data_error` unless `converted` takes this element type.
    void need_numbers() const;

private:
    void need_type(dtype wanted) const;
    void need_count(index_t wanted) const;
    void convert_to(float* target) const;
    void convert_to(double* target) const;
};

/// A record over the user's contiguous values; the caller keeps them alive until the file is written.
template <class T> tensor_record make_record(std::string name, std::vector<index_t> shape, array_view<T> values) {
    using value = std::remove_const_t<T>;
    return {std::move(name), dtype_of<value>(), std::move(shape),
            std::as_bytes(std::span<T const>(values.data, static_cast<std::size_t>(values.size)))};
}

/// Text that travels with the tensors ("__metadata__").
using tensor_metadata = std::map<std::string, std::string>;

/// Writes a safetensors file, atomically: an error leaves an existing file as it was.
/// Tensors lie in the file by decreasing element size and else in the given order, so every one is aligned to its type.
///
/// Throws `file_error` naming the file, the tensor and the reason: two tensors of one name, a reserved or non-UTF-8
/// name, a shape that does not fit the bytes, a folder or disk that cannot take the file.
void write_safetensors(file_path const& path, std::span<tensor_record const> records,
                       tensor_metadata const& metadata = {});

/// A safetensors file in memory: owns the bytes that its records look at. Movable, not copyable.
class safetensors_file {
public:
    safetensors_file(safetensors_file&&) noexcept;
    safetensors_file& operator=(safetensors_file&&) noexcept;
    ~safetensors_file();

    /// All tensors, by their place in the file.
    std::vector<tensor_record> const& tensors() const { return records_; }
    tensor_metadata const& metadata() const { return metadata_; }
    std::string const& path() const { return path_; }

    /// The tensor of this name, or nullptr.
    tensor_record const* find(std::string_view name) const;

    /// The tensor of this name or, where there is none, the one that the metadata has under this name: tied weights are
    /// stored once, and writers such as `safetensors.torch.save_model` note {"left out": "stored"}. Or nullptr.
    tensor_record const* find_shared(std::string_view name) const;

    /// The tensor of this name; throws `file_error` naming the file and the tensor, and the one that stands for it.
    tensor_record const& at(std::string_view name) const;

private:
    safetensors_file();
    friend safetensors_file read_safetensors(file_path const& path);

    std::string path_;
    std::unique_ptr<std::byte[]> bytes_;
    std::vector<tensor_record> records_;
    std::map<std::string, std::size_t, std::less<>> index_;
    tensor_metadata metadata_;
};

/// Reads a safetensors file and checks all of it before anything is returned. Metadata that are null count as none, and
/// what an entry has beside dtype, shape and data_offsets is ignored.
///
/// Throws `file_error` naming the file and the reason: shorter than its header says, a header longer than the file or
/// than 100 MB, text that is not JSON or not UTF-8, a key that is there twice, an element type that the format does not
/// have, a shape that does not fit the bytes, tensors that overlap, leave a gap or do not reach the end of the file.
safetensors_file read_safetensors(file_path const& path);

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/safetensors.hpp>
#endif
