// SPDX-License-Identifier: Apache-2.0
// Reading text: 10^6 rows of 15 columns, once for every option of `read_csv`, in the time of one read from the cache of
// the system. The files go to the folder that ESPALIER_BENCH_FILES names, for peers to read the same ones
// (benchmarks/peers/read_cases.py); without it to a folder that is removed at the end.
// Floor: the bytes of the file copied once, and those of the table written.
#include "common.hpp"

#include <espalier/data/csv.hpp>

#include <zlib.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace esp = espalier;
namespace fs = std::filesystem;
using bench::index_t;

namespace {

constexpr index_t row_count = 1'000'000, columns = 15;

struct file_form {
    char const* name;
    char separator = ',';
    bool header = false;
    bool quoted = false; ///< every field
    int digits = 6;      ///< of a number, at most
    int missing = 0;     ///< one field in so many is empty
    bool gzip = false;
    void (*label)(std::string&, index_t row) = [](std::string& line, index_t row) { line += std::to_string(row % 10); };
};

constexpr file_form forms[] = {
    {.name = "numbers.csv"},
    {.name = "named.tsv", .separator = '\t', .header = true},
    {.name = "quoted.csv", .quoted = true},
    {.name = "long.csv", .digits = 17},
    {.name = "gaps.csv", .missing = 10},
    {.name = "numbers.csv.gz", .gzip = true},
    {.name = "letters.csv",
     .label = [](std::string& line, index_t row) { line += static_cast<char>('a' + row * 7 % 26); }},
    {.name = "distinct.csv",
     .label = [](std::string& line, index_t row) { line += "class " + std::to_string(row * 7919 % row_count); }},
    {.name = "fractions.csv",
     .label = [](std::string& line, index_t row) { line += std::to_string(row % 1000) + ".25"; }},
};

/// Normal numbers in 14 columns, a label in the last.
void write_file(fs::path const& path, file_form const& form) {
    std::vector<double> numbers(65521);
    bench::fill_normal(numbers.data(), 65521, 3);
    std::string text;
    text.reserve(std::size_t{1} << 28);
    auto const put = [&](index_t c, auto const& field) {
        text.append(c > 0 ? 1 : 0, form.separator);
        text.append(form.quoted ? 1 : 0, '"');
        field();
        text.append(form.quoted ? 1 : 0, '"');
    };
    if (form.header) {
        for (index_t c = 0; c < columns; ++c)
            put(c, [&] { text += "column" + std::to_string(c); });
        text += '\n';
    }
    for (index_t r = 0; r < row_count; ++r) {
        for (index_t c = 0; c < columns - 1; ++c)
            put(c, [&] {
                index_t const at = r * (columns - 1) + c;
                if (form.missing != 0 && at % form.missing == 3) return;
                char field[40];
                double const value = numbers[static_cast<std::size_t>(at % 65521)] * (1.0 + 1e-3 * double(r % 997));
                text.append(
                    field,
                    std::to_chars(field, field + sizeof field, value, std::chars_format::general, form.digits).ptr);
            });
        put(columns - 1, [&] { form.label(text, r); });
        text += '\n';
    }
    if (form.gzip) {
        ::gzFile const file = ::gzopen(path.c_str(), "wb1");
        if (file == nullptr || ::gzwrite(file, text.data(), static_cast<unsigned>(text.size())) <= 0 ||
            ::gzclose(file) != Z_OK)
            std::exit(1);
    } else {
        std::ofstream(path, std::ios::binary) << text;
    }
}

struct temporary_files {
    fs::path path;
    bool kept = false;

    temporary_files() {
        char const* const given = std::getenv("ESPALIER_BENCH_FILES");
        kept = given != nullptr;
        std::string made = (fs::temp_directory_path() / "espalier-read-XXXXXX").string();
        path = kept ? fs::path(given) : fs::path(::mkdtemp(made.data()));
    }
    temporary_files(temporary_files const&) = delete;
    ~temporary_files() {
        if (!kept) fs::remove_all(path);
    }
    std::string put(file_form const& form) const {
        auto const file = path / form.name;
        if (!fs::exists(file)) write_file(file, form);
        return file.string();
    }
};

/// Which file, and which rows it must give.
struct expectation {
    index_t width;
    index_t target_width = 0;
    bool labels = true;
};

template <class T = float>
void add(temporary_files const& files, char const* name, char const* file, expectation const& expected,
         esp::csv_options const& options) {
    std::string path;
    for (file_form const& form : forms)
        if (form.name == std::string(file)) path = files.put(form);
    auto const data = esp::read_csv<T>(path, options);
    bench::expect_close(name, static_cast<double>(data.count), static_cast<double>(row_count), 0.0);
    bench::expect_close(name, static_cast<double>(data.width), static_cast<double>(expected.width), 0.0);
    bench::expect_close(name, static_cast<double>(data.target_width), static_cast<double>(expected.target_width), 0.0);
    bench::expect_close(name, static_cast<double>(data.labels.size()), expected.labels ? row_count : 0.0, 0.0);
    double const bytes = 2.0 * static_cast<double>(fs::file_size(path)) +
                         static_cast<double>(sizeof(T) * (data.features.size() + data.targets.size()));
    bench::add(std::string("read/") + name + "/ours", bench::roof().copy_ns(bytes, false), [path, options] {
        auto read = esp::read_csv<T>(path, options);
        benchmark::DoNotOptimize(read.features.data());
    });
}

} // namespace

int main(int argc, char** argv) {
    temporary_files const files;
    using esp::csv_labels;
    add(files, "numbers", "numbers.csv", {.width = 14}, {});
    add(files, "numbers@no_label", "numbers.csv", {.width = 15, .labels = false},
        {.label_column = esp::csv_column::none});
    add(files, "numbers@labels_numbers", "numbers.csv", {.width = 14}, {.labels = csv_labels::numbers});
    add(files, "numbers@labels_first", "numbers.csv", {.width = 14},
        {.label_column = esp::csv_column::first, .labels = csv_labels::categories});
    add(files, "numbers@labels_targets", "numbers.csv", {.width = 14, .target_width = 1, .labels = false},
        {.labels = csv_labels::targets});
    add(files, "numbers@two_targets", "numbers.csv", {.width = 13, .target_width = 2, .labels = false},
        {.targets = {3, 14}});
    add(files, "numbers@no_quotes", "numbers.csv", {.width = 14}, {.quote = 0});
    add<double>(files, "numbers@double", "numbers.csv", {.width = 14}, {});
    add(files, "some", "numbers.csv", {.width = 3}, {.features = {0, 5, 9}});
    add(files, "named", "named.tsv", {.width = 14}, {.label_column = "column14", .separator = '\t'});
    add(files, "quoted", "quoted.csv", {.width = 14}, {});
    add(files, "long", "long.csv", {.width = 14}, {});
    add<double>(files, "long@double", "long.csv", {.width = 14}, {});
    add(files, "gaps", "gaps.csv", {.width = 14}, {.empty = 0.0});
    add(files, "gzip", "numbers.csv.gz", {.width = 14}, {});
    add(files, "letters", "letters.csv", {.width = 14}, {});
    std::vector<std::string> known;
    for (char c = 'z'; c >= 'a'; --c)
        known.emplace_back(1, c);
    add(files, "letters@class_names", "letters.csv", {.width = 14}, {.class_names = known});
    add(files, "distinct", "distinct.csv", {.width = 14}, {});
    add(files, "fractions", "fractions.csv", {.width = 14, .target_width = 1, .labels = false}, {});
    return bench::run(argc, argv);
}
