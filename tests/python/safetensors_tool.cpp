// SPDX-License-Identifier: Apache-2.0
// What safetensors_roundtrip.py drives:
//   safetensors_tool copy IN OUT   reads a file and writes all of it again
//   safetensors_tool check IN      exit status 0 when the file is accepted, 3 when it is refused
//   safetensors_tool write OUT     writes tensors whose values the script knows
#include <espalier/io/safetensors.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

void write_known(char const* path) {
    std::vector<float> kernel(12);
    std::vector<double> scale(3);
    std::vector<std::int64_t> step{-5, 1'000'000'000'000};
    std::vector<std::uint8_t> mask{1, 0, 1, 1, 0};
    for (std::size_t i = 0; i < kernel.size(); ++i) {
        kernel[i] = static_cast<float>(i) * 0.5f - 1.0f;
    }
    for (std::size_t i = 0; i < scale.size(); ++i) {
        scale[i] = 1.0 / static_cast<double>(i + 1);
    }
    double const scalar = 42.0;
    bool const flags[2] = {true, false};
    using espalier::array_view;
    auto const size = [](auto const& values) { return static_cast<espalier::index_t>(values.size()); };
    std::vector<espalier::tensor_record> const records{
        espalier::make_record("0.mask", {5}, array_view<std::uint8_t>{mask.data(), size(mask)}),
        espalier::make_record("0.kernel", {3, 4}, array_view<float>{kernel.data(), size(kernel)}),
        espalier::make_record("1/scale \xc3\xa9 \"q\"", {3, 1}, array_view<double>{scale.data(), size(scale)}),
        espalier::make_record("step", {2}, array_view<std::int64_t>{step.data(), size(step)}),
        espalier::make_record("scalar", {}, array_view<double const>{&scalar, 1}),
        espalier::make_record("flags", {2}, array_view<bool const>{flags, 2}),
        espalier::make_record("empty", {0, 7}, array_view<float>{nullptr, 0}),
    };
    espalier::write_safetensors(path, records, {{"format", "espalier"}, {"note", "a \"quoted\"\nline"}});
}

} // namespace

int main(int count, char** arguments) {
    std::string const command = count > 2 ? arguments[1] : "";
    try {
        if (command == "copy" && count == 4) {
            auto const file = espalier::read_safetensors(arguments[2]);
            espalier::write_safetensors(arguments[3], file.tensors(), file.metadata());
        } else if (command == "check") {
            (void)espalier::read_safetensors(arguments[2]);
        } else if (command == "write") {
            write_known(arguments[2]);
        } else {
            std::fputs("usage: safetensors_tool copy IN OUT | check IN | write OUT\n", stderr);
            return 2;
        }
        return 0;
    } catch (espalier::file_error const& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 3;
    } catch (std::exception const& error) {
        std::fprintf(stderr, "unexpected: %s\n", error.what());
        return 4;
    }
}
