// SPDX-License-Identifier: Apache-2.0
// The safetensors file format: named tensors behind a JSON header, read by PyTorch, JAX, NumPy and many others.
// Layout (huggingface.co/docs/safetensors): 8 bytes little-endian header length N, N bytes of JSON
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}} padded with spaces, then
// data.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/printable.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian, and so is Espalier");

namespace espalier {

/// Element type of a stored tensor.
enum class dtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {

struct dtype_entry {
    std::string_view name;
    std::size_t bytes;
};

/// In the order of `dtype`.
inline constexpr std::array<dtype_entry, 13> dtype_table{{{"F64", 8},
                                                          {"F32", 4},
                                                          {"F16", 2},
                                                          {"BF16", 2},
                                                          {"I64", 8},
                                                          {"I32", 4},
                                                          {"I16", 2},
                                                          {"I8", 1},
                                                          {"U64", 8},
                                                          {"U32", 4},
                                                          {"U16", 2},
                                                          {"U8", 1},
                                                          {"BOOL", 1}}};

} // namespace detail

/// Bytes of one element.
constexpr std::size_t size_of(dtype type) {
    return detail::dtype_table[static_cast<std::size_t>(type)].bytes;
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

namespace detail {

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

inline std::string shape_text(std::vector<index_t> const& shape) {
    std::string text = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    }
    return text + "]";
}

/// Product of the extents; false when it does not fit 63 bits or an extent is negative. A scalar (no extents) has 1.
inline bool count_elements(std::vector<index_t> const& shape, index_t& count) {
    count = 1;
    bool overflow = false;
    for (index_t const extent : shape) {
        if (extent < 0) {
            return false;
        }
        if (extent == 0) {
            count = 0;
            return std::all_of(shape.begin(), shape.end(), [](index_t e) { return e >= 0; });
        }
        overflow = overflow || count > std::numeric_limits<index_t>::max() / extent;
        count = overflow ? count : count * extent;
    }
    // A later extent of zero has returned above: an overflow here is one of the whole product.
    return !overflow;
}

} // namespace detail

/// A named tensor, row-major. The bytes belong to someone else: the user's arrays when writing, the
/// `safetensors_file` when reading.
struct tensor_record {
    std::string name;
    dtype type = dtype::f32;
    std::vector<index_t> shape;
    std::span<std::byte const> data;

    /// Number of elements.
    index_t count() const { return static_cast<index_t>(data.size() / size_of(type)); }

    /// Copies the values to `target`, which has exactly `count()` elements of exactly this type.
    /// Throws `data_error` naming the tensor, what it holds and what was asked for; `target` is unchanged then.
    template <class T> void copy_to(array_view<T> target) const {
        need_type(dtype_of<T>());
        if (target.size != count()) {
            throw data_error("tensor '" + name + "' has " + std::to_string(count()) + " elements, shape " +
                             detail::shape_text(shape) + "; " + std::to_string(target.size) + " are needed");
        }
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
    /// rounds to nearest. Throws `data_error` for integers and booleans.
    template <class T> std::vector<T> converted() const {
        static_assert(std::is_floating_point_v<T>, "converted: float or double");
        std::vector<T> result(static_cast<std::size_t>(count()));
        auto const convert = [&]<class Stored, class Function>(Stored, Function function) {
            for (std::size_t i = 0; i < result.size(); ++i) {
                Stored stored;
                std::memcpy(&stored, data.data() + i * sizeof(Stored), sizeof(Stored));
                result[i] = static_cast<T>(function(stored));
            }
        };
        switch (type) {
        case dtype::f64:
            convert(double{}, [](double x) { return x; });
            break;
        case dtype::f32:
            convert(float{}, [](float x) { return x; });
            break;
        case dtype::f16:
            convert(std::uint16_t{}, detail::half_to_float);
            break;
        case dtype::bf16:
            convert(std::uint16_t{}, detail::bfloat_to_float);
            break;
        default:
            throw data_error("tensor '" + name + "' is " + std::string(name_of(type)) +
                             "; a floating-point tensor is needed");
        }
        return result;
    }

    /// Throws `data_error` unless the tensor has this element type and shape: what a loader calls for every tensor
    /// before it changes anything.
    void need(dtype wanted, std::vector<index_t> const& wanted_shape) const {
        need_type(wanted);
        if (shape != wanted_shape) {
            throw data_error("tensor '" + name + "' has shape " + detail::shape_text(shape) + "; shape " +
                             detail::shape_text(wanted_shape) + " is needed");
        }
    }

private:
    void need_type(dtype wanted) const {
        if (type != wanted) {
            throw data_error("tensor '" + name + "' is " + std::string(name_of(type)) + "; " +
                             std::string(name_of(wanted)) + " is needed");
        }
    }
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
inline void write_safetensors(std::filesystem::path const& path, std::span<tensor_record const> records,
                              tensor_metadata const& metadata = {}) {
    std::string const file = path.string();
    std::vector<tensor_record const*> order;
    std::set<std::string_view> names;
    for (tensor_record const& record : records) {
        std::string const where = file + ": cannot write tensor '" + record.name + "': ";
        index_t count = 0;
        if (record.name == "__metadata__") {
            throw file_error(where + "the name is reserved for the metadata");
        }
        if (!names.insert(record.name).second) {
            throw file_error(where + "there is another tensor of this name");
        }
        if (!detail::count_elements(record.shape, count) || record.data.size() % size_of(record.type) != 0 ||
            count != record.count()) {
            throw file_error(where + "shape " + detail::shape_text(record.shape) + " of " +
                             std::string(name_of(record.type)) + " does not fit its " +
                             std::to_string(record.data.size()) + " bytes");
        }
        order.push_back(&record);
    }
    std::sort(order.begin(), order.end(), [](tensor_record const* a, tensor_record const* b) {
        return size_of(a->type) != size_of(b->type) ? size_of(a->type) > size_of(b->type) : a < b;
    });

    // Written piece by piece because the order of the keys is the order of the data; the library escapes the text.
    auto const quoted = [&](std::string const& text) {
        try {
            return nlohmann::json(text).dump();
        } catch (nlohmann::json::exception const&) {
            throw file_error(file + ": cannot write a name or metadata text that is not UTF-8");
        }
    };
    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        for (auto const& [key, value] : metadata) {
            header += (header.back() == '{' ? "" : ",") + quoted(key) + ":" + quoted(value);
        }
        header += "}";
    }
    std::size_t offset = 0;
    for (tensor_record const* record : order) {
        header += (header.size() == 1 ? "" : ",") + quoted(record->name) + ":{\"dtype\":\"" +
                  std::string(name_of(record->type)) + "\",\"shape\":[";
        for (std::size_t i = 0; i < record->shape.size(); ++i) {
            header += (i == 0 ? "" : ",") + std::to_string(record->shape[i]);
        }
        header +=
            "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + record->data.size()) + "]}";
        offset += record->data.size();
    }
    header += "}";
    header.append((8 - header.size() % 8) % 8, ' '); // the data starts 8-byte aligned

    atomic_file out(path);
    std::uint64_t const length = header.size();
    out.write(std::as_bytes(std::span(&length, 1)));
    out.write(header);
    for (tensor_record const* record : order) {
        out.write(record->data);
    }
    out.commit();
}

/// A safetensors file in memory: owns the bytes that its records look at. Movable, not copyable.
class safetensors_file {
public:
    /// All tensors, by their place in the file.
    std::vector<tensor_record> const& tensors() const { return records_; }
    tensor_metadata const& metadata() const { return metadata_; }
    std::string const& path() const { return path_; }

    /// The tensor of this name, or nullptr.
    tensor_record const* find(std::string_view name) const {
        auto const found = index_.find(name);
        return found == index_.end() ? nullptr : &records_[found->second];
    }

    /// The tensor of this name; throws `file_error` naming the file and the tensor.
    tensor_record const& at(std::string_view name) const {
        if (tensor_record const* record = find(name)) {
            return *record;
        }
        throw file_error(path_ + ": has no tensor '" + std::string(name) + "'");
    }

private:
    friend safetensors_file read_safetensors(std::filesystem::path const& path);

    std::string path_;
    std::unique_ptr<std::byte[]> bytes_;
    std::vector<tensor_record> records_;
    std::map<std::string, std::size_t, std::less<>> index_;
    tensor_metadata metadata_;
};

namespace detail {

/// Reads a whole regular file at once, never more than it holds.
class whole_file {
public:
    explicit whole_file(std::filesystem::path const& path) : path_(path.string()) {
        descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct ::stat info {};
        if (descriptor_ < 0 || ::fstat(descriptor_, &info) != 0) {
            int const reason = errno;
            close();
            throw file_error(path_ + ": cannot be opened: " + std::generic_category().message(reason));
        }
        if (!S_ISREG(info.st_mode)) {
            close();
            throw file_error(path_ + ": is not a regular file");
        }
        size_ = static_cast<std::uint64_t>(info.st_size);
    }
    whole_file(whole_file const&) = delete;
    whole_file& operator=(whole_file const&) = delete;
    ~whole_file() { close(); }

    std::uint64_t size() const { return size_; }

    void read(void* target, std::uint64_t bytes) {
        char* to = static_cast<char*>(target);
        while (bytes > 0) {
            ::ssize_t const got = ::read(descriptor_, to, static_cast<std::size_t>(bytes));
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                throw file_error(path_ + ": cannot be read: " +
                                 (got == 0 ? std::string("it became shorter while it was read")
                                           : std::generic_category().message(errno)));
            }
            to += got;
            bytes -= static_cast<std::uint64_t>(got);
        }
    }

private:
    void close() {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
            descriptor_ = -1;
        }
    }

    std::string path_;
    int descriptor_ = -1;
    std::uint64_t size_ = 0;
};

/// JSON of a header: at most three levels deep, every key once (which the JSON library would let pass).
inline nlohmann::json parse_safetensors_header(std::string const& file, std::string const& text) {
    std::vector<std::set<std::string>> keys;
    auto const watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
        using kind = nlohmann::json::parse_event_t;
        if (event == kind::object_start) {
            keys.emplace_back();
            if (keys.size() > 3) {
                throw file_error(file + ": malformed header: objects nested more than three deep");
            }
        } else if (event == kind::object_end) {
            keys.pop_back();
        } else if (event == kind::key && !keys.back().insert(value.get<std::string>()).second) {
            throw file_error(file + ": malformed header: '" + printable(value.get<std::string>()) + "' is there twice");
        }
        return true;
    };
    try {
        return nlohmann::json::parse(text, watch);
    } catch (nlohmann::json::exception const& failure) {
        throw file_error(file + ": malformed header: " + printable(failure.what()));
    }
}

} // namespace detail

/// Reads a safetensors file and checks all of it before anything is returned.
///
/// Throws `file_error` naming the file and the reason: shorter than its header says, a header longer than the file or
/// than 100 MB, text that is not JSON or not UTF-8, a key that is there twice, an unknown element type, a shape that
/// does not fit the bytes, tensors that overlap, leave a gap or do not reach the end of the file.
inline safetensors_file read_safetensors(std::filesystem::path const& path) {
    constexpr std::uint64_t header_limit = 100'000'000; // the limit of the reference implementation
    safetensors_file result;
    result.path_ = path.string();
    std::string const& file = result.path_;
    auto const fail = [&](std::string const& reason) -> void { throw file_error(file + ": " + reason); };

    detail::whole_file source(path);
    if (source.size() < 8) {
        fail("truncated: " + std::to_string(source.size()) + " bytes, the header length alone has 8");
    }
    std::uint64_t length = 0;
    source.read(&length, 8);
    if (length > header_limit) {
        fail("oversized header: it claims " + std::to_string(length) + " bytes, the limit is 100 MB");
    }
    if (length > source.size() - 8) {
        fail("truncated: the header claims " + std::to_string(length) + " bytes, the file has " +
             std::to_string(source.size() - 8) + " after the length");
    }
    std::string text(static_cast<std::size_t>(length), '\0');
    source.read(text.data(), length);
    if (text.empty() || text.front() != '{') {
        fail("malformed header: it does not start with '{'");
    }
    if (text.find('\0') != std::string::npos) { // the JSON library takes it for the end and ignores the rest
        fail("malformed header: it holds a NUL byte");
    }
    nlohmann::json const header = detail::parse_safetensors_header(file, text);
    std::uint64_t const data_size = source.size() - 8 - length;

    struct place {
        std::uint64_t begin, end;
        tensor_record record;
    };
    std::vector<place> places;
    for (auto const& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            if (!entry.is_object()) {
                fail("malformed header: __metadata__ is not an object");
            }
            for (auto const& [key, value] : entry.items()) {
                if (!value.is_string()) {
                    fail("malformed header: metadata '" + printable(key) + "' is not text");
                }
                result.metadata_[key] = value.get<std::string>();
            }
            continue;
        }
        std::string const where = "tensor '" + printable(name) + "': ";
        if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
            !entry.contains("data_offsets")) {
            fail(where + "needs exactly dtype, shape and data_offsets");
        }
        auto const& type = entry["dtype"];
        auto const& shape = entry["shape"];
        auto const& offsets = entry["data_offsets"];
        if (!type.is_string()) {
            fail(where + "dtype is not text");
        }
        auto const* const known =
            std::find_if(detail::dtype_table.begin(), detail::dtype_table.end(),
                         [&](detail::dtype_entry const& e) { return e.name == type.get_ref<std::string const&>(); });
        if (known == detail::dtype_table.end()) {
            fail(where + "element type '" + printable(type.get<std::string>()) + "' is not supported");
        }
        place tensor{0, 0, {name, static_cast<dtype>(known - detail::dtype_table.begin()), {}, {}}};
        if (!shape.is_array()) {
            fail(where + "shape is not a list");
        }
        for (auto const& extent : shape) {
            if (!extent.is_number_unsigned() ||
                extent.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max())) {
                fail(where + "an extent of its shape is not a whole number in range");
            }
            tensor.record.shape.push_back(extent.get<index_t>());
        }
        if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
            !offsets[1].is_number_unsigned()) {
            fail(where + "data_offsets is not a pair of whole numbers");
        }
        tensor.begin = offsets[0].get<std::uint64_t>();
        tensor.end = offsets[1].get<std::uint64_t>();
        if (tensor.begin > tensor.end || tensor.end > data_size) {
            fail(where + "lies at bytes " + std::to_string(tensor.begin) + " to " + std::to_string(tensor.end) +
                 ", but the file has " + std::to_string(data_size) + " bytes of data (truncated?)");
        }
        index_t count = 0;
        std::uint64_t const bytes = tensor.end - tensor.begin;
        if (!detail::count_elements(tensor.record.shape, count) || bytes % known->bytes != 0 ||
            static_cast<std::uint64_t>(count) != bytes / known->bytes) {
            fail(where + "shape " + detail::shape_text(tensor.record.shape) + " of " + std::string(known->name) +
                 " does not fit its " + std::to_string(bytes) + " bytes");
        }
        places.push_back(std::move(tensor));
    }
    // An empty tensor sorts before the one that starts where it lies.
    std::sort(places.begin(), places.end(), [](place const& a, place const& b) {
        return std::tie(a.begin, a.end, a.record.name) < std::tie(b.begin, b.end, b.record.name);
    });
    std::uint64_t reached = 0;
    for (place const& tensor : places) {
        if (tensor.begin != reached) {
            fail("tensor '" + printable(tensor.record.name) + "' starts at byte " + std::to_string(tensor.begin) +
                 (tensor.begin < reached ? ", inside the one before it, which ends at "
                                         : ", leaving a gap after the one before it, which ends at ") +
                 std::to_string(reached));
        }
        reached = tensor.end;
    }
    if (reached != data_size) {
        fail(std::to_string(data_size - reached) + " bytes after the last tensor");
    }

    result.bytes_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(data_size));
    source.read(result.bytes_.get(), data_size);
    for (place& tensor : places) {
        tensor.record.data = {result.bytes_.get() + tensor.begin, static_cast<std::size_t>(tensor.end - tensor.begin)};
        result.index_.emplace(tensor.record.name, result.records_.size());
        result.records_.push_back(std::move(tensor.record));
    }
    return result;
}

} // namespace espalier
