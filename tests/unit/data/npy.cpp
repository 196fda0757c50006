// SPDX-License-Identifier: Apache-2.0
// NPY files: what the header may say, what is refused and how, and what is written. The values of NumPy's own files are
// compared by tests/python/npy_roundtrip.py.
#include <espalier/data/npy.hpp>

#include "../io/temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <limits>

using namespace espalier_test;
using espalier::file_error;
using espalier::index_t;
using espalier::npy_options;
using espalier::read_npy;
using espalier::shape_error;
using espalier::write_npy;

namespace {

std::string npy_text(std::string const& header, std::string const& values, char version = 1) {
    std::string text = "\x93NUMPY";
    text += version;
    text += '\0';
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
        text += static_cast<char>(header.size() >> (8 * i) & 0xff);
    }
    return text + header + values;
}

std::string header(std::string const& type, std::string const& shape, char const* order = "False") {
    return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

template <class T = float> std::string refusal(std::string const& text, npy_options const& options = {}) {
    temporary_folder const folder;
    auto const path = folder.put("x.npy", text);
    std::string const message = message_of<file_error>([&] { (void)read_npy<T>(path, options); });
    return message.rfind(path.string() + ": ", 0) == 0 ? message.substr(path.string().size() + 2) : "? " + message;
}

} // namespace

TEST_CASE("NPY headers of every version, with keys in any order and either quotes, are understood") {
    temporary_folder const folder;
    std::string const bytes("\x01\x02\xff\x04\x05\x06", 6);
    std::vector<std::int16_t> const wanted{1, 2, 255, 4, 5, 6};
    for (char const version : {'\1', '\2', '\3'}) {
        auto const array = read_npy<std::int16_t>(folder.put("v", npy_text(header("|u1", "(2, 3)"), bytes, version)));
        CHECK(array.values == wanted);
        CHECK(array.rows == 2);
        CHECK(array.columns == 3);
        CHECK(array.extents == std::vector<index_t>{2, 3});
        CHECK(array.view()(1, 2) == 6);
    }
    for (char const* const text : {"{\"shape\": (6L,), 'fortran_order' :False , 'descr':\"|u1\"}   \n",
                                   "{'shape':(6,),'descr':'<u1','fortran_order':True}"}) {
        auto const array = read_npy<std::int16_t>(folder.put("h", npy_text(text, bytes)));
        CHECK(array.values == wanted);
        CHECK(array.rows == 6);
        CHECK(array.columns == 1);
    }
}

TEST_CASE("NPY values in Fortran order and big-endian become rows") {
    temporary_folder const folder;
    std::string const text = npy_text(header(">i2", "(2, 3)", "True"), std::string("\0\1\0\4\0\2\0\5\0\3\xff\xfa", 12));
    CHECK(read_npy<double>(folder.put("f", text)).values == std::vector<double>{1, 2, 3, 4, 5, -6});
    std::string const cube = npy_text(header("|u1", "(2, 2, 2)", "True"), std::string("\1\5\3\7\2\6\4\10", 8));
    auto const rows = read_npy<std::uint8_t>(folder.put("cube", cube), {.flatten = true});
    CHECK(rows.values == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(rows.columns == 4);
}

TEST_CASE("NPY values of two bytes are halves, or bfloat16 when the caller says so") {
    temporary_folder const folder;
    CHECK(read_npy<float>(folder.put("h", npy_text(header("<f2", "(1,)"), std::string("\0\xbe", 2)))).values ==
          std::vector<float>{-1.5f});
    std::string const bits = npy_text(header("|V2", "(1,)"), std::string("\xc0\xbf", 2));
    CHECK(read_npy<float>(folder.put("b", bits), {.two_bytes_are_bf16 = true}).values == std::vector<float>{-1.5f});
    CHECK_THAT(refusal(bits), contains_text("say .two_bytes_are_bf16 = true if they are"));
}

TEST_CASE("What an NPY file is not, its refusal says in one sentence") {
    CHECK_THAT(refusal(""), contains_text("is not an NPY file"));
    CHECK_THAT(refusal("1,2,3\n"), contains_text("is not an NPY file"));
    CHECK_THAT(refusal(std::string("PK\x03\x04") + "rest"), contains_text("is an archive (.npz)"));
    CHECK_THAT(refusal("\x93NUM"), contains_text("ends before its header"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(1,)"), "abcd", 4)), contains_text("is of version 4.0"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(1,)"), "").substr(0, 30)), contains_text("ends inside its header"));
    CHECK_THAT(refusal(std::string("\x93NUMPY\2\0\xff\xff\xff\x7f", 12)),
               contains_text("claims a header of 2147483647 bytes"));
    CHECK_THAT(refusal(npy_text("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "abcd")),
               contains_text("structured dtype"));
    CHECK_THAT(refusal(npy_text(header("|O", "(1,)"), "abcd")), contains_text("pickles"));
    for (char const* const type : {"<f3", "<c8", "<U3", "|f4", "=f4", "f4", "<i16", "<f", "<m8[s]", ""}) {
        INFO(type);
        CHECK_THAT(refusal(npy_text(header(type, "(1,)"), "abcdefgh")), contains_text("the values are of type '"));
    }
    CHECK_THAT(refusal(npy_text(header("<f4", "()"), "abcd")), contains_text("has 0 dimensions, shape []"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(1, 1, 1)"), "abcd")),
               contains_text("has 3 dimensions, shape [1, 1, 1]"));
}

TEST_CASE("A malformed header of an NPY file is shown and refused") {
    for (char const* const text : {"", "{", "{}", "{'descr': '<f4', 'fortran_order': False}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
                                   "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
                                   "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
                                   "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
                                   "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
                                   "{'descr': '<\\x664', 'fortran_order': False, 'shape': (1,)}",
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"}) {
        INFO(text);
        CHECK_THAT(refusal(npy_text(text, "abcd")), contains_text("has a malformed header: "));
    }
}

TEST_CASE("An NPY file that lies about its size, ends early or goes on is refused") {
    CHECK_THAT(refusal(npy_text(header("<f4", "(200, 300)"), "abcd")),
               contains_text("claims the shape [200, 300], more than"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(4294967296, 4294967296, 4)"), "abcd"), {.flatten = true}),
               contains_text("more than the file can hold"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(0, 4294967296, 4294967296)"), ""), {.flatten = true}),
               contains_text("more than the file can hold"));
    // The bytes of the header hide what is missing until the values end.
    CHECK_THAT(refusal(npy_text(header("<f4", "(20,)"), std::string(76, 'x'))),
               contains_text("ends after 76 of 80 bytes of values"));
    CHECK_THAT(refusal(npy_text(header("<f4", "(1,)"), "abcde")), contains_text("has bytes after the last value"));
    temporary_folder const folder;
    auto const empty = read_npy<float>(folder.put("e", npy_text(header("<f4", "(0, 3)"), "")));
    CHECK(empty.rows == 0);
    CHECK(empty.columns == 3);
}

TEST_CASE("A number that the type asked for does not hold is refused with its index") {
    temporary_folder const folder;
    double const values[2][2] = {{0.0, 1e300}, {2.5, -1.0}};
    auto const path = folder / "d.npy";
    write_npy(path, espalier::contiguous_view(&values[0][0], 2, 2));
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<float>(path); }),
               contains_text("the value at [0, 1], 1e+300, is outside the range of a float"));
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<std::int64_t>(path); }),
               contains_text("the value at [0, 1], 1e+300, is outside the range of the integer type asked for"));
    CHECK(read_npy<double>(path).values == std::vector<double>{0.0, 1e300, 2.5, -1.0});
    write_npy(path, espalier::contiguous_view(&values[1][0], 1, 2));
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<std::int32_t>(path); }),
               contains_text("the value at [0, 0], 2.5, is no whole number"));
    double const ends[] = {std::ldexp(1.0, 63) - 1024.0, -std::ldexp(1.0, 63), 4294967295.0, 4294967296.0, -1.0, -0.0};
    write_npy(path, espalier::array_view<double const>{ends, 2});
    CHECK(read_npy<std::int64_t>(path).values ==
          std::vector<std::int64_t>{9223372036854774784, std::numeric_limits<std::int64_t>::min()});
    write_npy(path, espalier::array_view<double const>{ends + 2, 2});
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<std::uint32_t>(path); }),
               contains_text("the value at [1], 4294967296"));
    write_npy(path, espalier::array_view<double const>{ends + 4, 1});
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<std::uint64_t>(path); }),
               contains_text("the value at [0], -1"));
    write_npy(path, espalier::array_view<double const>{ends + 5, 1});
    CHECK(read_npy<std::uint8_t>(path).values == std::vector<std::uint8_t>{0});
    std::int16_t const negative[] = {3, -4};
    write_npy(path, espalier::array_view<std::int16_t const>{negative, 2});
    CHECK_THAT(message_of<file_error>([&] { (void)read_npy<std::uint8_t>(path); }),
               contains_text("the value at [1], -4"));
    std::string const fortran =
        npy_text(header("<f8", "(2, 2)", "True"), std::string(22, '\0').append("\xf0\x7f").append(8, '\0'));
    CHECK_THAT(refusal<std::int8_t>(fortran), contains_text("the value at [0, 1], inf"));
    CHECK(std::isinf(read_npy<float>(folder.put("inf", fortran)).values[1]));
}

TEST_CASE("write_npy writes rows that lie apart, and nothing over a file when the view is wrong") {
    temporary_folder const folder;
    auto const path = folder / "w.npy";
    std::vector<float> const memory{1, 2, 9, 3, 4, 9, 5, 6, 9};
    write_npy(path, espalier::matrix_view<float const>{memory.data(), 3, 2, 3});
    std::string const text = content_of(path);
    CHECK(text.substr(0, 10) == std::string("\x93NUMPY\1\0\x76\0", 10));
    CHECK(text.find("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), } ") == 10);
    CHECK(text[127] == '\n');
    CHECK(text.size() == 128 + 6 * sizeof(float));
    CHECK(read_npy<float>(path).values == std::vector<float>{1, 2, 3, 4, 5, 6});
    bool const flags[] = {true, false};
    write_npy(path, espalier::array_view<bool const>{flags, 2});
    CHECK_THAT(content_of(path), contains_text("'|b1', 'fortran_order': False, 'shape': (2,), }"));
    CHECK(read_npy<std::int32_t>(path).values == std::vector<std::int32_t>{1, 0});

    CHECK_THROWS_AS(write_npy(path, espalier::matrix_view<float const>{memory.data(), 3, 2, 1}), shape_error);
    CHECK_THROWS_AS(write_npy(path, espalier::matrix_view<float const>{memory.data(), -3, 2, 2}), shape_error);
    CHECK_THROWS_AS(write_npy(path, espalier::matrix_view<float const>{nullptr, 3, 2, 2}), shape_error);
    CHECK(read_npy<std::int32_t>(path).values == std::vector<std::int32_t>{1, 0});
    CHECK(folder.entries() == 1);
}
