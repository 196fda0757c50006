// SPDX-License-Identifier: Apache-2.0
// IDX files: every type and rank, the bundled images, and nothing malformed gets through.
#include <espalier/data/idx.hpp>

#include "../io/temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <zlib.h>

using namespace espalier_test;
using espalier::file_error;
using espalier::index_t;
using espalier::read_idx;

namespace {

std::string big_endian(std::uint32_t value) {
    std::string text;
    for (int shift = 24; shift >= 0; shift -= 8) {
        text.push_back(static_cast<char>((value >> shift) & 0xff));
    }
    return text;
}

std::string idx_text(int type, std::vector<std::uint32_t> const& extents, std::string const& values) {
    std::string text{'\0', '\0', static_cast<char>(type), static_cast<char>(extents.size())};
    for (std::uint32_t const extent : extents) {
        text += big_endian(extent);
    }
    return text + values;
}

std::filesystem::path put_gz(temporary_folder const& folder, std::string_view name, std::string const& content) {
    auto const path = folder / name;
    ::gzFile const file = ::gzopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    REQUIRE(::gzwrite(file, content.data(), static_cast<unsigned>(content.size())) == static_cast<int>(content.size()));
    REQUIRE(::gzclose(file) == Z_OK);
    return path;
}

template <class T = std::uint8_t> std::string refusal(std::filesystem::path const& path) {
    std::string const message = message_of<file_error>([&] { (void)read_idx<T>(path); });
    return message.rfind(path.string() + ": ", 0) == 0 ? message.substr(path.string().size() + 2) : "? " + message;
}

} // namespace

TEST_CASE("IDX values of every type are read in the machine's byte order") {
    temporary_folder folder;
    auto const u8 = read_idx<std::uint8_t>(folder.put("u8", idx_text(0x08, {2, 3}, "\x01\x02\x03\x04\x05\xff")));
    CHECK(u8.extents == std::vector<index_t>{2, 3});
    CHECK(u8.values == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 255});
    CHECK(u8.row_size() == 3);
    CHECK(read_idx<std::int8_t>(folder.put("i8", idx_text(0x09, {2}, "\xff\x7f"))).values ==
          std::vector<std::int8_t>{-1, 127});
    CHECK(read_idx<std::int16_t>(folder.put("i16", idx_text(0x0b, {2}, "\x01\x02\xff\xfe"))).values ==
          std::vector<std::int16_t>{258, -2});
    CHECK(read_idx<std::int32_t>(folder.put("i32", idx_text(0x0c, {1}, "\x01\x02\x03\x04"))).values ==
          std::vector<std::int32_t>{16909060});
    CHECK(read_idx<float>(folder.put("f32", idx_text(0x0d, {1}, std::string("\xc0\x20\0\0", 4)))).values ==
          std::vector<float>{-2.5f});
    CHECK(read_idx<double>(folder.put("f64", idx_text(0x0e, {1}, std::string("\x3f\xf8\0\0\0\0\0\0", 8)))).values ==
          std::vector<double>{1.5});
}

TEST_CASE("IDX arrays of any rank, also compressed, also empty, also larger than a buffer") {
    temporary_folder folder;
    std::vector<std::uint32_t> extents(255, 1);
    extents[254] = 3;
    auto const deep = read_idx<std::uint8_t>(put_gz(folder, "deep.gz", idx_text(8, extents, "abc")));
    CHECK(deep.extents.size() == 255);
    CHECK(deep.values == std::vector<std::uint8_t>{'a', 'b', 'c'});
    CHECK(read_idx<std::uint8_t>(folder.put("empty", idx_text(8, {0, 5, 5}, ""))).values.empty());

    std::string large(9'000'001, '\0');
    for (std::size_t i = 0; i < large.size(); ++i) {
        large[i] = static_cast<char>(i * i >> 3);
    }
    for (bool const compressed : {false, true}) {
        std::string const text = idx_text(8, {9'000'001}, large);
        auto const read = read_idx<std::uint8_t>(compressed ? put_gz(folder, "l.gz", text) : folder.put("l", text));
        REQUIRE(read.values.size() == large.size());
        CHECK(std::equal(large.begin(), large.end(), reinterpret_cast<char const*>(read.values.data())));
    }
}

TEST_CASE("malformed IDX files are refused with offset and reason") {
    temporary_folder folder;
    auto const put = [&](std::string const& text) { return folder.put("bad", text); };
    CHECK(refusal(put("")) == "at byte 0: the file ends inside the 4 bytes that an IDX file starts with");
    CHECK(refusal(put("PNG!....")) == "at byte 0: not an IDX file: it does not start with two zero bytes");
    CHECK(refusal(put(idx_text(0x0a, {1}, "a"))) == "at byte 2: unknown type of values, code 10");
    CHECK(refusal(put(idx_text(0x0d, {1}, "abcd"))) == "at byte 2: the values are f32; u8 is needed");
    CHECK(refusal<float>(put(idx_text(0x08, {4}, "abcd"))) == "at byte 2: the values are u8; f32 is needed");
    CHECK(refusal(put(idx_text(8, {}, ""))) == "at byte 3: no dimensions");
    CHECK(refusal(put(idx_text(8, {2, 3}, "").substr(0, 10))) ==
          "at byte 10: the file ends inside the extent of dimension 1 of 2");
    CHECK(refusal(put(idx_text(8, {2}, "abc"))) == "at byte 10: there are bytes after the last value");
    CHECK(refusal(put(idx_text(8, {12}, "abcdefgh"))) == "at byte 16: the data ends after 8 of 12 bytes of values");
    CHECK(refusal(folder / "absent").substr(0, 16) == "cannot be opened");
    CHECK(refusal(folder.path()) == "is a folder, not a file");
}

TEST_CASE("an absurd IDX header takes no memory") {
    temporary_folder folder;
    CHECK(refusal(folder.put("a", idx_text(8, {0xffffffffu}, "abc"))) ==
          "at byte 4: the extents claim 4294967295 bytes of values, more than the file can hold");
    CHECK(refusal(folder.put("b", idx_text(8, {0xffffffffu, 0xffffffffu, 0xffffffffu}, "abc"))) ==
          "at byte 4: the extents claim more than 2^63 bytes of values, more than the file can hold");
    CHECK(refusal(folder.put("c", idx_text(8, {0, 0xffffffffu, 0xffffffffu, 2}, ""))) ==
          "at byte 4: the extents claim more than 2^63 bytes of values, more than the file can hold");
    CHECK_THAT(refusal(put_gz(folder, "d.gz", idx_text(8, {1'000'000'000u}, "abc"))),
               contains_text("more than the file can hold"));
}

TEST_CASE("members of a gzip file follow each other, and nothing behind them is lost") {
    temporary_folder folder;
    std::string const header = idx_text(8, {400'000}, "");
    std::string values;
    for (int i = 0; i < 400'000; ++i) {
        values.push_back(static_cast<char>(i * 37 % 251));
    }
    auto const packed = [&](std::string const& text) { return content_of(put_gz(folder, "member.gz", text)); };
    std::string const members = packed(header) + packed("") + packed(values.substr(0, 300'001)) +
                                packed(values.substr(300'001, 1)) + packed(values.substr(300'002));
    auto const read = [&](std::string const& content) {
        auto const result = read_idx<std::uint8_t>(folder.put("all.gz", content)).values;
        return std::string(result.begin(), result.end());
    };
    CHECK(read(members) == values);
    CHECK(read(members + std::string(300'000, '\0')) == values); // a tape's padding
    auto const follows = "the compressed data has ended, and something else follows";
    for (std::string const& rest :
         {std::string("\n"), std::string("1,2,0\n"), std::string("\x1f"), std::string("\x1f\x8c"),
          std::string("\0x", 2), std::string(200'000, '\0') + members}) {
        CHECK_THAT(refusal(folder.put("more.gz", members + rest)), contains_text(follows));
    }
    CHECK_THAT(refusal(folder.put("more.gz", members + packed("x"))),
               contains_text("there are bytes after the last value"));
    CHECK_THAT(refusal(folder.put("more.gz", members + packed("").substr(0, 12))),
               contains_text("the compressed data is cut off"));
    // What is plain may begin as it likes.
    CHECK_THAT(refusal(folder.put("plain", "\x1f")), contains_text("ends inside the 4 bytes"));
}

TEST_CASE("a damaged compressed IDX file is refused at every cut and every flipped bit that shows") {
    temporary_folder folder;
    std::string values;
    for (int i = 0; i < 60; ++i) {
        values.push_back(static_cast<char>(i * 37 + i / 7));
    }
    auto const good_path = put_gz(folder, "good.gz", idx_text(8, {60}, values));
    auto const good = read_idx<std::uint8_t>(good_path);
    std::string const content = content_of(good_path);
    for (std::size_t length = 0; length < content.size(); ++length) {
        INFO("cut to " << length);
        REQUIRE(refusal(folder.put("cut.gz", content.substr(0, length))).substr(0, 2) != "? ");
    }
    int refused = 0;
    for (std::size_t bit = 0; bit < content.size() * 8; ++bit) {
        std::string bad = content;
        bad[bit / 8] = static_cast<char>(static_cast<unsigned char>(bad[bit / 8]) ^ (1u << (bit % 8)));
        auto const path = folder.put("bad.gz", bad);
        try {
            // Flags and the time in the gzip header do not matter; everything else is under the checksum.
            auto const read = read_idx<std::uint8_t>(path); // not inside REQUIRE, which would catch the exception
            REQUIRE(read.values == good.values);
        } catch (file_error const&) {
            ++refused;
        }
    }
    CHECK(refused > static_cast<int>(content.size() - 10) * 8);
    std::string const plain = idx_text(8, {3, 20}, values);
    for (std::size_t length = 0; length < plain.size(); ++length) {
        REQUIRE(refusal(folder.put("cut", plain.substr(0, length))).substr(0, 2) != "? ");
    }
}

TEST_CASE("a pair of MNIST files becomes a table") {
    temporary_folder folder;
    auto const images = folder.put("images", idx_text(8, {3, 1, 2}, std::string("\x00\xff\x33\x00\x00\x01", 6)));
    auto const labels = put_gz(folder, "labels.gz", idx_text(8, {3}, std::string("\x05\x00\x09", 3)));
    auto const data = espalier::read_mnist(images, labels);
    CHECK(data.count == 3);
    CHECK(data.width == 2);
    CHECK(data.features == std::vector<float>{0.0f, 1.0f, 0.2f, 0.0f, 0.0f, 1.0f / 255.0f});
    CHECK(data.labels == std::vector<std::int32_t>{5, 0, 9});
    CHECK_NOTHROW(espalier::check(data));

    auto const two = folder.put("two", idx_text(8, {2}, std::string("\x05\x00", 2)));
    CHECK(message_of<file_error>([&] { (void)espalier::read_mnist(images, two); }) ==
          images.string() + " has 3 images, but " + two.string() + " has 2 labels");
    CHECK_THAT(message_of<file_error>([&] { (void)espalier::read_idx_images(two); }),
               contains_text("at byte 3: 1 dimensions; images have 3"));
    CHECK_THAT(message_of<file_error>([&] { (void)espalier::read_idx_labels(images); }),
               contains_text("at byte 3: 3 dimensions; labels have 1"));
}
