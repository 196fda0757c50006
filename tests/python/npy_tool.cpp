// SPDX-License-Identifier: Apache-2.0
// What npy_roundtrip.py drives:
//   npy_tool TYPE IN OUT [flatten] [bf16]   reads IN as TYPE and writes it to OUT: with one dimension where IN has one
// Exit status 3 when the file is refused.
#include <espalier/data/npy.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

namespace {

template <class T> void copy(char const* from, char const* to, espalier::npy_options const& options) {
    auto const array = espalier::read_npy<T>(from, options);
    if (array.extents.size() == 1) {
        espalier::write_npy(to, espalier::array_view<T const>{array.values.data(), array.rows});
    } else {
        espalier::write_npy(to, array.view());
    }
}

} // namespace

int main(int count, char** arguments) {
    if (count < 4) {
        std::fputs("usage: npy_tool TYPE IN OUT [flatten] [bf16]\n", stderr);
        return 2;
    }
    espalier::npy_options options;
    for (int i = 4; i < count; ++i) {
        options.flatten = options.flatten || arguments[i] == std::string("flatten");
        options.two_bytes_are_bf16 = options.two_bytes_are_bf16 || arguments[i] == std::string("bf16");
    }
    struct {
        char const* name;
        void (*copy)(char const*, char const*, espalier::npy_options const&);
    } constexpr types[] = {{"float32", copy<float>},        {"float64", copy<double>},
                           {"int8", copy<std::int8_t>},     {"int16", copy<std::int16_t>},
                           {"int32", copy<std::int32_t>},   {"int64", copy<std::int64_t>},
                           {"uint8", copy<std::uint8_t>},   {"uint16", copy<std::uint16_t>},
                           {"uint32", copy<std::uint32_t>}, {"uint64", copy<std::uint64_t>}};
    try {
        for (auto const& type : types) {
            if (type.name == std::string(arguments[1])) {
                type.copy(arguments[2], arguments[3], options);
                return 0;
            }
        }
        std::fprintf(stderr, "unknown type %s\n", arguments[1]);
        return 2;
    } catch (espalier::file_error const& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 3;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "unexpected: %s\n", error.what());
        return 4;
    }
}
