// SPDX-License-Identifier: Apache-2.0
// The name of a file as functions take it.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace espalier {

/// Text, or a std::filesystem::path, taken without including its header, which would cost every program a quarter of
/// a second to compile.
class file_path {
public:
    file_path() = default;
    file_path(char const* text) : text_(text) {}
    file_path(std::string text) : text_(std::move(text)) {}
    file_path(std::string_view text) : text_(text) {}
    template <class Path>
    requires requires(Path const& path) {
        { path.native() } -> std::same_as<std::string const&>;
    }
    file_path(Path const& path) : text_(path.native()) {}

    bool empty() const { return text_.empty(); }
    std::string const& string() const { return text_; }
    char const* c_str() const { return text_.c_str(); }

private:
    std::string text_;
};

} // namespace espalier
