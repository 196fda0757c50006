// SPDX-License-Identifier: Apache-2.0
// CSV tables: headers, label columns, quoting, line ends, and errors that name the line and the column.
#include <espalier/data/csv.hpp>

#include "../io/temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>

using namespace espalier_test;
using espalier::csv_column;
using espalier::csv_header;
using espalier::csv_labels;
using espalier::csv_options;
using espalier::data_set;
using espalier::file_error;
using espalier::read_csv;

namespace {

using floats = std::vector<float>;
using ids = std::vector<std::int32_t>;
using names = std::vector<std::string>;

data_set parse(std::string const& text, csv_options const& options = {}) {
    temporary_folder folder;
    return read_csv(folder.put("t.csv", text), options);
}

/// The message after the file's name: "LINE: reason".
std::string refusal(std::string const& text, csv_options const& options = {}) {
    temporary_folder folder;
    auto const path = folder.put("t.csv", text);
    std::string const message = message_of<file_error>([&] { (void)read_csv(path, options); });
    return message.rfind(path.string() + ":", 0) == 0 ? message.substr(path.string().size() + 1) : "? " + message;
}

} // namespace

TEST_CASE("a CSV file without a header, label last") {
    auto const data = parse("1,2.5,0\n-3e2,+4,1\n  5 ,\t.5,2\n");
    CHECK(data.count == 3);
    CHECK(data.width == 2);
    CHECK(data.features == floats{1, 2.5f, -300, 4, 5, 0.5f});
    CHECK(data.labels == ids{0, 1, 2});
    CHECK(data.feature_names.empty());
    CHECK(data.class_names.empty());
    CHECK_NOTHROW(espalier::check(data));
}

TEST_CASE("a header is found, demanded or denied") {
    auto const data = parse("height,weight,kind\n1,2,0\n");
    CHECK(data.count == 1);
    CHECK(data.feature_names == names{"height", "weight"});
    // One numeric field makes the first row data, so that a typing error there is not swallowed as a header.
    CHECK(refusal("1,abc,0\n1,2,0\n") == "1: column 2: 'abc' is not a number");
    CHECK(parse("1990,1991,kind\n1,2,0\n", {.header = csv_header::yes}).feature_names == names{"1990", "1991"});
    CHECK(refusal("a,b,c\n1,2,0\n", {.header = csv_header::no}) == "1: column 1: 'a' is not a number");
}

TEST_CASE("a first row that cannot be a header is not lost") {
    // With `empty` it is a row like any other.
    auto const blank = parse(",,0\n1,2,1\n", {.empty = -1.0f});
    CHECK(blank.count == 2);
    CHECK(blank.features == floats{-1, -1, 1, 2});
    CHECK(blank.feature_names.empty());
    CHECK(parse(",,wheat\n1,2,oat\n", {.empty = 0.0f}).count == 2);
    CHECK(parse(" ,\t\n1,2\n", {.label_column = csv_column::none, .empty = 7.0f}).features == floats{7, 7, 1, 2});
    CHECK(refusal(",,0\n1,2,1\n") == "1: column 1: '' is empty");
    for (char const* field : {"?", "NA", "N/A", "n/a", "NULL", "null", "None", "<NA>", "#N/A", "-", ".", "*"}) {
        std::string const row = std::string(field) + "," + field + ",oat\n1,2,oat\n";
        CHECK(refusal(row) == "1: column 1: '" + std::string(field) + "' is not a number");
        CHECK(refusal(row, {.empty = 0.0f}) == "1: column 1: '" + std::string(field) + "' is not a number");
    }
    CHECK(refusal("?,?,0\n1,2,1\n") == "1: column 1: '?' is not a number");
    CHECK(refusal("nan,NaN,0\n1,2,1\n") == "1: column 1: 'nan' is not a finite number");
    CHECK(refusal("inf,-inf,0\n1,2,1\n") == "1: column 1: 'inf' is not a finite number");
    CHECK(refusal("1e39,1e39,0\n1,2,1\n") == "1: column 1: '1e39' is outside the range of a float");
    CHECK(refusal("+1e999,x,oat\n1,2,oat\n") ==
          "1: column 1: '+1e999' is outside the range of a float; if the row names the columns, say csv_header::yes");
    // One field is enough, the label's too, and then an error in the row says what may have been meant.
    CHECK(refusal("height,,kind\n1,2,0\n") ==
          "1: column 1: 'height' is not a number; if the row names the columns, say csv_header::yes");
    CHECK(refusal("height,weight,0\n1,2,0\n") == "1: column 1: 'height' is not a number");
    CHECK(parse("height,,kind\n1,2,0\n", {.header = csv_header::yes}).feature_names == names{"height", ""});
    CHECK(parse("?,?,0\n1,2,1\n", {.header = csv_header::yes}).count == 1);
    CHECK(parse("Na,1x1,kind\n1,2,0\n", {.header = csv_header::guess}).feature_names == names{"Na", "1x1"});
    CHECK(csv_options{}.header == csv_header::guess);
}

TEST_CASE("a table of double keeps what a float does not hold") {
    temporary_folder folder;
    auto const path = folder.put("t.csv", "x,y,z\n0.1,,1e200\n16777217,2,-1e-200\n");
    auto const data = read_csv<double>(path, {.targets = {"z"}, .empty = 0.1});
    static_assert(std::is_same_v<decltype(data), espalier::data_set_of<double> const>);
    CHECK(data.features == std::vector<double>{0.1, 0.1, 16777217.0, 2.0});
    CHECK(data.targets == std::vector<double>{1e200, -1e-200});
    CHECK(data.view().features(1, 0) == 16777217.0);
    auto const one = read_csv<double>(folder.put("l.csv", "1,0.1\n2,0.25\n"));
    CHECK(one.targets == std::vector<double>{0.1, 0.25});
}

TEST_CASE("numbers too small for a float are zero, too large ones an error") {
    using espalier::detail::parse_number;
    for (char const* text : {"1e-60", "1e-310", "1e-400", "-1e-400", "+1e-400", "0.0001e-399", "123456789e-500",
                             ".5e-999", "1e-99999999999999999999", "0e999", "-0e-999"}) {
        INFO(text);
        auto const number = parse_number<float>(text);
        CHECK(number.reason == nullptr);
        CHECK(number.value == 0.0f);
    }
    CHECK(parse_number<float>("0." + std::string(500, '0') + "1").value == 0.0f);
    CHECK(parse_number<float>("0." + std::string(500, '0') + "1").reason == nullptr);
    CHECK(parse_number<float>("0." + std::string(500, '0') + "25e501").value == 2.5f);
    CHECK(parse_number<float>("1e-40").value == 1e-40f);
    CHECK(parse_number<float>("1" + std::string(50, '0') + "e-100").value == 0.0f);
    for (std::string const text : {"1e39", "-1e39", "1e400", "1e99999999999999999999", ".0001e500", "3.5e38"}) {
        INFO(text);
        CHECK(parse_number<float>(text).reason == std::string("is outside the range of a float"));
        CHECK(refusal("1,2,0\n4," + text + ",0\n") == "2: column 2: '" + text + "' is outside the range of a float");
    }
    CHECK(parse_number<float>("1" + std::string(400, '0')).reason != nullptr);
    CHECK(parse_number<float>("3.4028234e38").value == 3.4028234e38f);
    CHECK(parse("1e-400,2,0\n").features == floats{0, 2});
    CHECK(parse("1,1e-400\n", {.labels = csv_labels::targets}).targets == floats{0});
}

TEST_CASE("the label column is last, first, numbered, named or none") {
    std::string const text = "7,1,2\n8,3,4\n";
    CHECK(parse(text).labels == ids{2, 4});
    auto const first = parse(text, {.label_column = csv_column::first});
    CHECK(first.labels == ids{7, 8});
    CHECK(first.features == floats{1, 2, 3, 4});
    auto const second = parse(text, {.label_column = 1});
    CHECK(second.labels == ids{1, 3});
    CHECK(second.features == floats{7, 2, 8, 4});
    auto const none = parse(text, {.label_column = csv_column::none});
    CHECK(none.labels.empty());
    CHECK(none.width == 3);
    auto const named = parse("a,kind,b\n7,1,2\n", {.label_column = "kind"});
    CHECK(named.labels == ids{1});
    CHECK(named.feature_names == names{"a", "b"});
    CHECK(refusal("a,b\n1,2\n", {.label_column = "kind"}) == "1: no column is named 'kind'; there are 'a', 'b'");
    CHECK(refusal(text, {.label_column = 3}) ==
          "1: label column 3 (counted from 0) is not there: the row has 3 columns");
    CHECK_THAT(refusal("1\n2\n"), contains_text("1: the label is the only column"));
    CHECK(parse("1\n2\n", {.label_column = csv_column::none}).features == floats{1, 2});
    CHECK_THROWS_AS(parse("a,b\n1,2\n", {.header = csv_header::no, .label_column = "a"}), espalier::data_error);
}

TEST_CASE("labels are numbers, categories or targets") {
    auto const sorted = parse("1,wheat\n2,barley\n3,wheat\n4,oat\n");
    CHECK(sorted.labels == ids{2, 0, 2, 1});
    CHECK(sorted.class_names == names{"barley", "oat", "wheat"});
    auto const test = parse("1,wheat\n", {.class_names = sorted.class_names});
    CHECK(test.labels == ids{2});
    CHECK(test.class_names == sorted.class_names);
    CHECK(refusal("1,wheat\n2,rye\n", {.class_names = sorted.class_names}) ==
          "2: column 2: 'rye' is not one of the 3 known classes");
    auto const forced = parse("1,10\n2,9\n", {.labels = csv_labels::categories});
    CHECK(forced.labels == ids{0, 1});
    CHECK(forced.class_names == names{"10", "9"});
    CHECK(refusal("1,3\n1,-1\n", {.labels = csv_labels::numbers}) ==
          "2: column 2: '-1' is not a label: whole numbers from 0 are needed");
    CHECK_THAT(refusal("1,99999999999\n", {.labels = csv_labels::numbers}), contains_text("is not a label"));
    auto const target = parse("1,0.5\n2,-3\n", {.labels = csv_labels::targets});
    CHECK(target.targets == floats{0.5f, -3});
    CHECK(target.target_width == 1);
    CHECK(target.labels.empty());
    CHECK(refusal("1,x\n", {.header = csv_header::no, .labels = csv_labels::targets}) ==
          "1: column 2: 'x' is not a number");
    CHECK(refusal("1,3\n1,\n") == "2: column 2: '' is empty; every row needs a label");
}

TEST_CASE("quotes, line ends, a byte-order mark and other separators") {
    auto const data =
        parse("\xef\xbb\xbf\"a, b\",\"say \"\"x\"\"\",k\r\n\"1\",2,\"two\nlines\"\r\n3,4,plain\r\n\r\n\n");
    CHECK(data.feature_names == names{"a, b", "say \"x\""});
    CHECK(data.features == floats{1, 2, 3, 4});
    CHECK(data.class_names == names{"plain", "two\nlines"});
    CHECK(parse("1;2;0\n", {.separator = ';'}).features == floats{1, 2});
    CHECK(parse("1\t2\t\"x\n", {.separator = '\t', .quote = 0}).class_names == names{"\"x"});
    CHECK(parse("1,2,0").count == 1);
    CHECK(parse("1,2,0\r").labels == ids{0});
    // In one column a blank line is an empty field, where those mean something.
    csv_options const one{.label_column = csv_column::none, .empty = 5.0f};
    CHECK(parse("1\n\r\n2\n\n", one).features == floats{1, 5, 2, 5});
    CHECK(parse("x\n\n2", one).features == floats{5, 2});
    CHECK(refusal("1\n\n2\n", {.label_column = csv_column::none}) == "2: blank line between rows");
    // The line number counts the line ends inside quotes.
    CHECK(refusal("1,\"a\nb\"\nx,c\n") == "3: column 1: 'x' is not a number");
}

TEST_CASE("malformed CSV files are refused with line and column") {
    CHECK(refusal("1,2,0\n1,2\n") == "2: 2 columns, the first row has 3");
    CHECK(refusal("1,2,0\n1,2,3,4\n") == "2: 4 columns, the first row has 3");
    CHECK(refusal("1,2,0\n1,,0\n") == "2: column 2: '' is empty");
    CHECK(parse("1,2,0\n1, ,0\n", {.empty = -1.0f}).features == floats{1, 2, 1, -1});
    CHECK(refusal("1,2,0\n1,nan,0\n") == "2: column 2: 'nan' is not a finite number");
    CHECK(refusal("1,2,0\n-inf,1,0\n") == "2: column 1: '-inf' is not a finite number");
    CHECK(refusal("1,2,0\n1e39,1,0\n") == "2: column 1: '1e39' is outside the range of a float");
    CHECK(parse("1e-60,2,0\n").features == floats{0, 2});
    CHECK(refusal("1,2,0\n1x,1,0\n") == "2: column 1: '1x' is not a number");
    CHECK(refusal("1,2,0\n+-1,1,0\n") == "2: column 1: '+-1' is not a number");
    CHECK(refusal("1,2,0\n0x10,1,0\n") == "2: column 1: '0x10' is not a number");
    CHECK(refusal("1,2,0\n\n3,4,1\n") == "2: blank line between rows");
    CHECK(refusal("1,2,0\r3,4,1\r") == "1: column 3: a carriage return that ends no line; lines end with LF or CRLF");
    CHECK(refusal("1,2,x\r\r\n3,4,x\r\r\n") ==
          "1: column 3: a carriage return that ends no line; lines end with LF or CRLF");
    CHECK(refusal("1,2,0\n1,\"2,0\n") == "2: column 2: the quote is never closed");
    CHECK(refusal("1,\"2\"x,0\n") == "1: column 2: text after the closing quote");
    CHECK(refusal("1,2\"x,0\n") == "1: column 2: a quote inside a field that does not start with one");
    CHECK(refusal(std::string("1,2\0,0\n", 7)) == "1: column 2: a NUL byte; this is not a text file");
    CHECK(refusal("1,2,0\n\x1b[2J" + std::string(100, 'y') + ",2,0\n") ==
          "2: column 1: '?[2J" + std::string(36, 'y') + "...' is not a number");
    CHECK_THAT(refusal(""), contains_text("has no rows"));
    CHECK_THAT(refusal("\n\n"), contains_text("has no rows"));
    CHECK_THAT(refusal("a,b\n"), contains_text("has a header but no rows"));
    CHECK_THROWS_AS(read_csv("/no/such/file.csv"), file_error);
}

TEST_CASE("a long CSV file, plain and compressed, crosses every buffer edge") {
    temporary_folder folder;
    std::string text;
    floats expected;
    for (int i = 0; i < 60'000; ++i) {
        text += std::to_string(i) + ",\"" + std::to_string(i % 1000) + ".5\"," + std::to_string(i % 7) + "\r\n";
        expected.push_back(static_cast<float>(i));
        expected.push_back(static_cast<float>(i % 1000) + 0.5f);
    }
    auto const plain = read_csv(folder.put("l.csv", text));
    CHECK(plain.count == 60'000);
    CHECK(plain.features == expected);
    auto const path = folder / "l.csv.gz";
    ::gzFile const file = ::gzopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    REQUIRE(::gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
    REQUIRE(::gzclose(file) == Z_OK);
    CHECK(read_csv(path).features == expected);
    std::string const compressed = content_of(path);
    // Members may end inside a line, a number and "\r\n"; an empty one says nothing.
    std::string members;
    std::size_t from = 0;
    for (std::size_t const bytes : {300'001, 1, 0, 17, 200'000, 2'000'000}) {
        auto const member = folder / "member.gz";
        ::gzFile const out = ::gzopen(member.c_str(), "wb");
        REQUIRE(out != nullptr);
        std::string const piece = text.substr(from, bytes);
        from += piece.size();
        if (!piece.empty())
            REQUIRE(::gzwrite(out, piece.data(), static_cast<unsigned>(piece.size())) ==
                    static_cast<int>(piece.size()));
        REQUIRE(::gzclose(out) == Z_OK);
        members += content_of(member);
    }
    CHECK(read_csv(folder.put("members.csv.gz", members)).features == expected);
    auto const cut = folder.put("cut.csv.gz", compressed.substr(0, compressed.size() / 2));
    CHECK_THAT(message_of<file_error>([&] { (void)read_csv(cut); }), contains_text("the compressed data is cut off"));
}

TEST_CASE("a last column of real numbers is targets, never classes") {
    auto const real = parse("1,2\n2,0.5\n3,-3\n");
    CHECK(real.labels.empty());
    CHECK(real.class_names.empty());
    CHECK(real.targets == floats{2, 0.5f, -3});
    CHECK(real.target_width == 1);
    CHECK(real.target_names.empty());
    auto const named = parse("a,price\n1,2\n2,1e-3\n");
    CHECK(named.targets == floats{2, 0.001f});
    CHECK(named.target_names == names{"price"});
    CHECK(named.feature_names == names{"a"});
    CHECK_NOTHROW(espalier::check(named));
    CHECK(parse("1,0.99999999999\n2,1\n").targets.size() == 2); // 1 as a float, but no whole number
    // Whole numbers are labels in any notation; with a negative one they are categories.
    auto const whole = parse("1,2.0\n2,10\n3,1e0\n4,+3\n");
    CHECK(whole.labels == ids{2, 10, 1, 3});
    CHECK(whole.class_names.empty());
    CHECK(parse("1,2.0\n", {.labels = csv_labels::numbers}).labels == ids{2});
    CHECK(parse("1,-1\n2,1\n3,-1\n").class_names == names{"-1", "1"});
    CHECK(parse("1,99999999999\n2,5\n").class_names == names{"5", "99999999999"});
    // Texts met after whole numbers keep what those were.
    auto const mixed = parse("1,07\n2,b\n3,7\n4,07\n");
    CHECK(mixed.labels == ids{0, 2, 1, 0});
    CHECK(mixed.class_names == names{"07", "7", "b"});
    CHECK(refusal("1,1.5\n1,NA\n") == "2: column 2: 'NA' is not a number, and line 1 has '1.5', which makes the column "
                                      "targets; for classes say csv_labels::categories");
    CHECK(refusal("1,NA\n1,2\n1,1.5\n") ==
          "3: column 2: '1.5' is a number with a fraction, and line 1 has 'NA', which is not a number; for classes say "
          "csv_labels::categories, for numbers to predict csv_labels::targets");
    CHECK(parse("1,NA\n1,1.5\n", {.labels = csv_labels::categories}).class_names == names{"1.5", "NA"});
    CHECK(parse("1,1.5\n", {.class_names = {"2.0", "1.5", "1.5"}}).labels == ids{1});
    CHECK(refusal("1,0.5\n", {.labels = csv_labels::numbers}) ==
          "1: column 2: '0.5' is not a label: whole numbers from 0 are needed");
}

TEST_CASE("target and feature columns are chosen by name or number") {
    std::string const text = "id,y1,a,b,y2,kind\nx,1,2,3,4,7\ny,5,6,7,8,9\n";
    auto const both = parse(text, {.targets = {"y2", "y1"}, .features = {"b", "a"}});
    CHECK(both.features == floats{3, 2, 7, 6});
    CHECK(both.feature_names == names{"b", "a"});
    CHECK(both.targets == floats{4, 1, 8, 5});
    CHECK(both.target_width == 2);
    CHECK(both.target_names == names{"y2", "y1"});
    CHECK(both.labels.empty());
    CHECK_NOTHROW(espalier::check(both));
    auto const labelled = parse(text, {.label_column = csv_column::last, .targets = {4}, .features = {"a", 3}});
    CHECK(labelled.features == floats{2, 3, 6, 7});
    CHECK(labelled.targets == floats{4, 8});
    CHECK(labelled.labels == ids{7, 9});
    // The label is the last column unless targets are named.
    CHECK(parse(text, {.features = {"a"}}).labels == ids{7, 9});
    auto const rest = parse("1,2,3,4\n5,6,7,8\n", {.targets = {0, 2}});
    CHECK(rest.features == floats{2, 4, 6, 8});
    CHECK(rest.targets == floats{1, 3, 5, 7});
    CHECK(rest.target_names.empty());
    auto const part = espalier::split(both, 1).second;
    CHECK(part.targets == floats{8, 5});
    CHECK(part.target_names == names{"y2", "y1"});

    // A name says that there is a header, whatever its fields are.
    CHECK(parse("1,2\n3,4\n", {.targets = {"2"}}).features == floats{3});
    CHECK(refusal("a,b,c\n1,2,3\n", {.targets = {"d"}}) == "1: no column is named 'd'; there are 'a', 'b', 'c'");
    CHECK(refusal("a,b,c\n1,2,3\n", {.features = {"a", "z"}}) == "1: no column is named 'z'; there are 'a', 'b', 'c'");
    CHECK(refusal("a,b,a\n1,2,3\n", {.targets = {"a"}}) ==
          "1: more than one column is named 'a'; say which by its number");
    CHECK(refusal("1,2\n", {.targets = {2}}) ==
          "1: target column 2 (counted from 0) is not there: the row has 2 columns");
    CHECK(refusal("1,2\n", {.features = {-1}}) ==
          "1: feature column -1 (counted from 0) is not there: the row has 2 columns");
    CHECK(refusal("a,b\n1,2\n", {.targets = {"b", 1}}) ==
          "1: column 2 ('b') is used twice: as a target and as a target");
    CHECK(refusal("a,b\n1,2\n", {.targets = {"b"}, .features = {0, 1}}) ==
          "1: column 2 ('b') is used twice: as a target and as a feature");
    CHECK(refusal("a,b\n1,2\n", {.features = {"a", "b"}}) ==
          "1: column 2 ('b') is used twice: as a feature and as the label; csv_column::none is for tables without a "
          "label");
    CHECK_THAT(refusal("1,2\n", {.targets = {0, 1}}), contains_text("1: every column is a target or the label"));
    CHECK(refusal("1,2\n3,\n", {.targets = {1}, .empty = 0.0f}) == "2: column 2: '' is empty");
    CHECK(refusal("1,2,.5\n", {.label_column = 2, .targets = {1}}) ==
          "1: column 3: '.5' is no whole number and so no class; name the column in csv_options::targets, or say "
          "csv_labels::categories");
    CHECK_THROWS_AS(parse("1,2\n", {.header = csv_header::no, .targets = {"a"}}), espalier::data_error);
    CHECK_THROWS_AS(parse("1,2\n", {.header = csv_header::no, .features = {"a"}}), espalier::data_error);
    CHECK_THROWS_AS(parse("1,2,3\n", {.label_column = 0, .targets = {1}, .labels = csv_labels::targets}),
                    espalier::data_error);
    CHECK_THROWS_AS(parse("1,2,3\n", {.separator = '"'}), espalier::data_error);
    CHECK_THROWS_AS(parse("1,2,3\n", {.separator = '\n'}), espalier::data_error);
}

TEST_CASE("classes stand in the order of their bytes, however long what they share is") {
    names const kinds{"xaaaaaaaaab", "xaaaaaaaaaa", "xb", "xaaaaaaaaa", "x\xc3\xa9", "xaaaaaaaa", "x", "xaaaaaaab"};
    std::string text;
    for (std::size_t i = 0; i < 2 * kinds.size(); ++i) {
        text += "1," + kinds[i % kinds.size()] + "\n";
    }
    auto const data = parse(text);
    names sorted = kinds;
    std::sort(sorted.begin(), sorted.end());
    CHECK(data.class_names == sorted);
    for (std::size_t i = 0; i < 2 * kinds.size(); ++i) {
        CHECK(sorted[static_cast<std::size_t>(data.labels[i])] == kinds[i % kinds.size()]);
    }
    // Of equal known names the first counts, and numbers stay those of the list.
    CHECK(parse("1,xb\n1,x\n", {.class_names = {"y", "x", "x", "xb"}}).labels == ids{3, 1});
}

TEST_CASE("as many classes as rows take no more than reading and sorting them") {
    std::string text;
    constexpr int rows = 60'000;
    for (int i = 0; i < rows; ++i) {
        text += "1,c" + std::to_string(100'000 + (i * 7919) % rows) + "\n";
    }
    auto const started = std::chrono::steady_clock::now();
    auto const data = parse(text);
    // A search through all classes for each would take ten seconds, this takes some hundredths of one.
    CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(4));
    bool right = data.class_names.size() == rows && std::is_sorted(data.class_names.begin(), data.class_names.end());
    for (int i = 0; i < rows; ++i) {
        right = right && data.labels[static_cast<std::size_t>(i)] == (i * 7919) % rows;
    }
    CHECK(right);
    CHECK(parse(text, {.class_names = data.class_names}).labels == data.labels);
}

TEST_CASE("numbers in every notation are rounded to the nearest float or double") {
    std::uint64_t state = 7;
    auto const random = [&](std::uint64_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return (state >> 33) % below;
    };
    int wrong = 0;
    auto const compare_as = [&](std::string const& text, auto expected) {
        std::from_chars(text.data(), text.data() + text.size(), expected);
        auto const got = espalier::detail::parse_number<decltype(expected)>(text);
        if (got.reason != nullptr || got.value != expected || std::signbit(got.value) != std::signbit(expected)) {
            UNSCOPED_INFO(text);
            ++wrong;
        }
    };
    auto const compare = [&](std::string const& text) {
        compare_as(text, 0.0f);
        compare_as(text, 0.0);
    };
    for (int i = 0; i < 200'000; ++i) {
        std::string text = random(2) == 0 ? "-" : "";
        for (std::uint64_t n = 1 + random(11); n > 0; --n) {
            text += static_cast<char>('0' + random(10));
        }
        if (random(3) != 0) {
            text += ".";
            for (std::uint64_t n = random(11); n > 0; --n) {
                text += static_cast<char>('0' + random(10));
            }
        }
        if (random(3) == 0) {
            text += (random(2) == 0 ? "e" : "E") +
                    std::string(random(2) == 0   ? "-"
                                : random(2) == 0 ? "+"
                                                 : "") +
                    std::to_string(random(19));
        }
        compare(text);
    }
    // The middle between two floats, and what is beside it in the last digit that a text may have.
    for (int i = 0; i < 20'000; ++i) {
        auto const low = static_cast<std::uint64_t>((1u << 23) + random(1u << 23));
        std::uint64_t const middle = (2 * low + 1) * 100'000'000'000u; // of 2 low and 2 low + 2, in units of 1e-11
        for (std::uint64_t const digits : {middle, middle - 1, middle + 1, middle - 9, middle + 9}) {
            compare(std::to_string(digits));
            compare(std::to_string(digits) + "e-11");
            compare(std::to_string(digits).insert(std::to_string(digits).size() - 11, "."));
        }
    }
    for (char const* text :
         {"0", "-0", "-0.0", "5.", ".5", "1e22", "1e-22", "1e18", "16777217", "16777219", "9999999999999999999",
          "9007199254740993", "90071992547409.93", "0.0000000000000000001", "3.4028234e38", "1.17549435e-38"}) {
        compare(text);
    }
    CHECK(wrong == 0);
    CHECK(espalier::detail::parse_number<double>("1e-310").value == 1e-310);
    CHECK(espalier::detail::parse_number<double>("1e-400").value == 0.0);
    CHECK(espalier::detail::parse_number<double>("1e309").reason == std::string("is outside the range of a double"));
    for (char const* text : {".", "-", "-.", "1e", "1e+", "1.e-", "--1", "1-", "1..2", "1e5.0", "e5", "1e5e5", "- 1"}) {
        INFO(text);
        CHECK(espalier::detail::parse_number<float>(text).reason == std::string("is not a number"));
    }
}

TEST_CASE("rows longer than the reader's buffer, and every kind of field at its edge") {
    temporary_folder folder;
    // One row of 200000 columns does not fit; its quoted field has doubled quotes.
    std::string wide;
    for (int i = 0; i < 200'000; ++i) {
        wide += std::to_string(i % 10) + ",";
    }
    auto const data = parse(wide + "\"a \"\"b\"\"\"\r\n" + wide + "c\n");
    CHECK(data.width == 200'000);
    CHECK(data.class_names == names{"a \"b\"", "c"});
    CHECK(data.features[123'457] == 7.0f);
    // Fields with quotes, line ends and returns meet the edge of 2^17 bytes at every place.
    std::string const tail = "1.25,\"x\"\"\r\ny\"\r\n2,z";
    for (std::size_t before = 0; before < 30; ++before) {
        std::string text;
        std::size_t const size = (std::size_t{1} << 17) - before;
        while (text.size() + 4 <= size - 3) {
            text += "3,z\n";
        }
        text += std::string(size - text.size() - 3, ' ') + "3,z\n" + tail;
        auto const found = parse(text);
        CHECK(found.features[found.features.size() - 2] == 1.25f);
        CHECK(found.class_names == names{"x\"\r\ny", "z"});
    }
    espalier::csv_reader reader(folder.put("r.csv", "a,\"b\"\"c\"\nd"));
    std::vector<std::string> copies;
    REQUIRE(reader.next(copies));
    CHECK(copies == names{"a", "b\"c"});
    std::vector<std::string_view> views;
    REQUIRE(reader.next(views));
    CHECK(views == std::vector<std::string_view>{"d"});
    CHECK(reader.line() == 2);
    CHECK_FALSE(reader.next(views));
    CHECK(views.empty());
}

TEST_CASE("damaged CSV text gives a table or an error, never anything else") {
    std::string const good = "a,\"b\",c\n1,2.5,x\r\n\"3\",4e1,y\n5,6,x\n";
    std::uint32_t state = 99;
    auto const random = [&](std::size_t below) {
        state = state * 1664525u + 1013904223u;
        return static_cast<std::size_t>(state >> 8) % below;
    };
    temporary_folder folder;
    int tables = 0;
    int refused = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string bad = good.substr(0, round % 5 == 0 ? random(good.size() + 1) : good.size());
        for (std::size_t edit = random(4); edit > 0 && !bad.empty(); --edit) {
            bad[random(bad.size())] = "\0\r\n\",;1-e.x\xff"[random(12)];
        }
        try {
            data_set const data = read_csv(folder.put("f.csv", bad));
            REQUIRE_NOTHROW(espalier::check(data));
            ++tables;
        } catch (file_error const&) {
            ++refused;
        }
    }
    CHECK(tables > 500);
    CHECK(refused > 500);
}
