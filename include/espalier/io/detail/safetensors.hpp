// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/safetensors.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/safetensors.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/printable.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY std::string shape_text(std::vector<index_t> const& shape) {
    std::string text = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (i != 0) text += ", ";
        text += std::to_string(shape[i]);
    }
    return text + "]";
}

/// Product of the extents; false when it does not fit 63 bits or an extent is negative. A scalar (no extents) has 1.
ESPALIER_LIBRARY bool count_elements(std::vector<index_t> const& shape, index_t& count) {
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

namespace detail {

template <class Stored, class T, class Function>
void convert_numbers(std::span<std::byte const> data, T* target, Function const& function) {
    for (std::size_t i = 0; i < data.size() / sizeof(Stored); ++i) {
        Stored stored;
        std::memcpy(&stored, data.data() + i * sizeof(Stored), sizeof(Stored));
        target[i] = static_cast<T>(function(stored));
    }
}

template <class T> void convert_record(tensor_record const& record, T* target) {
    switch (record.type) {
    case dtype::f64:
        return convert_numbers<double>(record.data, target, [](double x) { return x; });
    case dtype::f32:
        return convert_numbers<float>(record.data, target, [](float x) { return x; });
    case dtype::f16:
        return convert_numbers<std::uint16_t>(record.data, target, half_to_float);
    case dtype::bf16:
        return convert_numbers<std::uint16_t>(record.data, target, bfloat_to_float);
    default:
        record.need_numbers(); // throws
    }
}

} // namespace detail

ESPALIER_LIBRARY void tensor_record::need_numbers() const {
    switch (type) {
    case dtype::f64:
    case dtype::f32:
    case dtype::f16:
    case dtype::bf16:
        return;
    default:
        detail::throw_data_error("tensor '", name, "' is ", name_of(type),
                                 type < dtype::c64
                                     ? "; a floating-point tensor is needed"
                                     : ", whose values are not read; a tensor of F64, F32, F16 or BF16 is needed");
    }
}
ESPALIER_LIBRARY void tensor_record::convert_to(float* target) const {
    detail::convert_record(*this, target);
}
ESPALIER_LIBRARY void tensor_record::convert_to(double* target) const {
    detail::convert_record(*this, target);
}
ESPALIER_LIBRARY void tensor_record::need_count(index_t wanted) const {
    if (wanted != count()) {
        throw data_error("tensor '" + name + "' has " + std::to_string(count()) + " elements, shape " +
                         detail::shape_text(shape) + "; " + std::to_string(wanted) + " are needed");
    }
}

ESPALIER_LIBRARY safetensors_file::safetensors_file() = default;
ESPALIER_LIBRARY safetensors_file::safetensors_file(safetensors_file&&) noexcept = default;
ESPALIER_LIBRARY safetensors_file& safetensors_file::operator=(safetensors_file&&) noexcept = default;
ESPALIER_LIBRARY safetensors_file::~safetensors_file() = default;

ESPALIER_LIBRARY void tensor_record::need(dtype wanted, std::vector<index_t> const& wanted_shape) const {
    need_type(wanted);
    if (shape != wanted_shape) {
        throw data_error("tensor '" + name + "' has shape " + detail::shape_text(shape) + "; shape " +
                         detail::shape_text(wanted_shape) + " is needed");
    }
}

ESPALIER_LIBRARY void tensor_record::need_type(dtype wanted) const {
    if (type != wanted) {
        throw data_error("tensor '" + name + "' is " + std::string(name_of(type)) + "; " +
                         std::string(name_of(wanted)) + " is needed");
    }
}

ESPALIER_LIBRARY void write_safetensors(file_path const& path, std::span<tensor_record const> records,
                                        tensor_metadata const& metadata) {
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
        if (!detail::count_elements(record.shape, count) ||
            !detail::fills(static_cast<std::uint64_t>(count), bits_of(record.type), record.data.size())) {
            throw file_error(where + "shape " + detail::shape_text(record.shape) + " of " +
                             std::string(name_of(record.type)) + " does not fit its " +
                             std::to_string(record.data.size()) + " bytes");
        }
        order.push_back(&record);
    }
    std::sort(order.begin(), order.end(), [](tensor_record const* a, tensor_record const* b) {
        return bits_of(a->type) != bits_of(b->type) ? bits_of(a->type) > bits_of(b->type) : a < b;
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
            if (header.back() != '{') header += ',';
            header += quoted(key) + ':' + quoted(value);
        }
        header += "}";
    }
    std::size_t offset = 0;
    for (tensor_record const* record : order) {
        if (header.size() != 1) header += ',';
        header += quoted(record->name) + ":{\"dtype\":\"" + std::string(name_of(record->type)) + "\",\"shape\":[";
        for (std::size_t i = 0; i < record->shape.size(); ++i) {
            if (i != 0) header += ',';
            header += std::to_string(record->shape[i]);
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

ESPALIER_LIBRARY tensor_record const* safetensors_file::find(std::string_view name) const {
    auto const found = index_.find(name);
    return found == index_.end() ? nullptr : &records_[found->second];
}

ESPALIER_LIBRARY tensor_record const* safetensors_file::find_shared(std::string_view name) const {
    if (tensor_record const* record = find(name)) {
        return record;
    }
    auto const stored = metadata_.find(std::string(name));
    return stored == metadata_.end() ? nullptr : find(stored->second);
}

ESPALIER_LIBRARY tensor_record const& safetensors_file::at(std::string_view name) const {
    if (tensor_record const* record = find(name)) {
        return *record;
    }
    tensor_record const* const stored = find_shared(name);
    throw file_error(path_ + ": has no tensor '" + std::string(name) + "'" +
                     (stored != nullptr ? "; the metadata names '" + stored->name + "' in its place" : ""));
}

namespace detail {

/// Reads a whole regular file at once, never more than it holds.
class whole_file {
public:
    explicit whole_file(file_path const& path) : path_(path.string()) {
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

/// JSON of a header: objects at most 16 deep (what an entry has of its own may be any), every key once (which the JSON
/// library would let pass).
inline nlohmann::json parse_safetensors_header(std::string const& file, std::string const& text) {
    std::vector<std::set<std::string>> keys;
    auto const watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
        using kind = nlohmann::json::parse_event_t;
        if (event == kind::object_start) {
            keys.emplace_back();
            if (keys.size() > 16) {
                throw file_error(file + ": malformed header: objects nested more than 16 deep");
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

ESPALIER_LIBRARY safetensors_file read_safetensors(file_path const& path) {
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
            if (!entry.is_object() && !entry.is_null()) { // MLX writes null for none
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
        if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
            !entry.contains("data_offsets")) {
            fail(where + "needs dtype, shape and data_offsets");
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
            fail(where + "element type '" + printable(type.get<std::string>()) + "' is none of the format's");
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
        if (!detail::count_elements(tensor.record.shape, count) ||
            !detail::fills(static_cast<std::uint64_t>(count), known->bits, bytes)) {
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
