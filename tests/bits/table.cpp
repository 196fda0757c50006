// SPDX-License-Identifier: Apache-2.0
#include <bits/table.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace bits {

void hash::bytes(void const* data, std::size_t count) {
    auto const* const at = static_cast<unsigned char const*>(data);
    for (std::size_t i = 0; i < count; ++i)
        value_ = (value_ ^ at[i]) * 0x100000001b3u;
}

namespace {

std::string shown(std::uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

std::string joined(std::vector<std::string_view> const& names) {
    std::string text;
    for (std::string_view const name : names)
        text.append(text.empty() ? "" : ", ").append(name);
    return text;
}

std::vector<std::string_view> differences(table::hashes const& a, table::hashes const& b) {
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (a[i] != b[i]) names.push_back(columns[i]);
    return names;
}

std::vector<std::pair<std::string, table::hashes>> read(std::string const& text) {
    std::vector<std::pair<std::string, table::hashes>> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::istringstream words(line);
        std::pair<std::string, table::hashes> next;
        words >> next.first >> std::hex;
        for (std::uint64_t& value : next.second)
            words >> value;
        if (!words) throw std::runtime_error("no line of a table: " + line);
        lines.push_back(std::move(next));
    }
    return lines;
}

auto find(std::vector<std::pair<std::string, table::hashes>> const& lines, std::string const& name) {
    return std::find_if(lines.begin(), lines.end(), [&](auto const& line) { return line.first == name; });
}

} // namespace

void table::add(std::string const& name, std::function<line(int)> const& train, int most_threads) {
    if (find(lines_, name) != lines_.end()) throw std::logic_error("two stacks are called " + name);
    try {
        hashes const found = train(1).values();
        lines_.emplace_back(name, found);
        for (int threads = 2; threads <= most_threads; ++threads)
            if (auto const names = differences(found, train(threads).values()); !names.empty()) {
                std::printf("%s: 1 and %d threads differ in %s\n", name.c_str(), threads, joined(names).c_str());
                complete_ = false;
            }
    } catch (std::exception const& e) {
        std::printf("%s: %s\n", name.c_str(), e.what());
        complete_ = false;
    }
}

std::string table::text() const {
    std::string text = "# name";
    for (std::string_view const column : columns)
        text.append(" ").append(column);
    text += '\n';
    for (auto const& [name, values] : lines_) {
        text += name;
        for (std::uint64_t const value : values)
            text.append(" ").append(shown(value));
        text += '\n';
    }
    return text;
}

bool table::compare(std::string const& earlier) const {
    auto const before = read(earlier);
    int wrong = 0;
    for (auto const& [name, values] : lines_) {
        auto const other = find(before, name);
        if (other == before.end()) {
            std::printf("%s: the table has no such stack\n", name.c_str());
            ++wrong;
        } else if (auto const names = differences(values, other->second); !names.empty()) {
            std::printf("%s: other bits in %s\n", name.c_str(), joined(names).c_str());
            ++wrong;
        }
    }
    for (auto const& line : before)
        if (find(lines_, line.first) == lines_.end()) {
            std::printf("%s: in the table, but no such stack was trained\n", line.first.c_str());
            ++wrong;
        }
    if (wrong > 0) std::printf("%d of %zu stacks are not as in the table\n", wrong, lines_.size());
    return wrong == 0;
}

std::string const& checkpoint_path() {
    static std::string const path =
        (std::filesystem::temp_directory_path() / ("espalier-bits-" + std::to_string(::getpid()) + ".safetensors"))
            .string();
    return path;
}

std::string content_of(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

} // namespace bits
