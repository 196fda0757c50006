// SPDX-License-Identifier: Apache-2.0
// Safetensors: what is written is read back, the layout is the documented one, and nothing malformed gets through.
#include <espalier/io/safetensors.hpp>

#include "temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <limits>

using namespace espalier_test;
using espalier::array_view;
using espalier::dtype;
using espalier::file_error;
using espalier::index_t;
using espalier::make_record;
using espalier::read_safetensors;
using espalier::tensor_record;
using espalier::write_safetensors;

namespace {

template <class T> array_view<T const> view(std::vector<T> const& values) {
    return {values.data(), static_cast<index_t>(values.size())};
}

/// A file with the given header text and data, the way a foreign (or hostile) writer may have made it.
std::string raw_file(std::string const& header, std::string const& data) {
    std::uint64_t const length = header.size();
    return std::string(reinterpret_cast<char const*>(&length), 8) + header + data;
}

std::string refusal(temporary_folder const& folder, std::string const& content) {
    auto const path = folder.put("bad.safetensors", content);
    std::string const message = message_of<file_error>([&] { (void)read_safetensors(path); });
    // Every message names the file.
    return message.rfind(path.string() + ": ", 0) == 0 ? message.substr(path.string().size() + 2) : "? " + message;
}

} // namespace

TEST_CASE("tensors of every element type come back equal") {
    temporary_folder folder;
    auto const path = folder / "all.safetensors";
    std::vector<double> const f64{1.5, -0.0, std::numeric_limits<double>::denorm_min(), INFINITY};
    std::vector<float> const f32{1.0f, -2.5f, 3e-45f, 1e38f, 0.0f, 7.0f};
    std::vector<std::uint16_t> const half{0x3c00, 0xc000, 0x0001, 0x7c00};
    std::vector<std::uint16_t> const brain{0x3f80, 0xc020};
    std::vector<std::int64_t> const i64{std::numeric_limits<std::int64_t>::min(), 5};
    std::vector<std::int32_t> const i32{-1, 2, 3};
    std::vector<std::uint8_t> const u8{0, 255, 7};
    bool const flags[3] = {true, false, true};
    float const scalar = 42.0f;
    std::vector<float> const none;
    std::vector<tensor_record> const records{
        make_record("layer.0/\"quoted\" \xc3\xa9", {3}, view(u8)),
        make_record("flags", {3}, array_view<bool const>{flags, 3}),
        {"half", dtype::f16, {2, 2}, std::as_bytes(std::span(half))},
        {"brain", dtype::bf16, {2}, std::as_bytes(std::span(brain))},
        make_record("f32", {2, 3}, view(f32)),
        make_record("f64", {2, 1, 2}, view(f64)),
        make_record("i64", {2}, view(i64)),
        make_record("i32", {3, 1}, view(i32)),
        make_record("scalar", {}, array_view<float const>{&scalar, 1}),
        make_record("empty", {4, 0}, view(none)),
    };
    write_safetensors(path, records, {{"format", "pt"}, {"note", "line\nbreak"}});

    auto const file = read_safetensors(path);
    CHECK(file.metadata() == espalier::tensor_metadata{{"format", "pt"}, {"note", "line\nbreak"}});
    REQUIRE(file.tensors().size() == records.size());
    for (tensor_record const& written : records) {
        tensor_record const& read = file.at(written.name);
        CHECK(read.name == written.name);
        CHECK(read.type == written.type);
        CHECK(read.shape == written.shape);
        CHECK(std::equal(read.data.begin(), read.data.end(), written.data.begin(), written.data.end()));
    }
    CHECK(file.at("f32").values<float>() == f32);
    CHECK(file.at("i64").values<std::int64_t>() == i64);
    CHECK(file.at("scalar").count() == 1);
    CHECK(file.at("empty").count() == 0);
    bool read_flags[3] = {};
    file.at("flags").copy_to(array_view<bool>{read_flags, 3});
    CHECK((read_flags[0] && !read_flags[1] && read_flags[2]));
    CHECK(file.at("half").converted<float>() == std::vector<float>{1.0f, -2.0f, 0x1p-24f, INFINITY});
    CHECK(file.at("brain").converted<double>() == std::vector<double>{1.0, -2.5});
    CHECK(file.at("f64").converted<float>()[0] == 1.5f);

    CHECK(file.find("absent") == nullptr);
    CHECK_THAT(message_of<file_error>([&] { (void)file.at("absent"); }), contains_text("has no tensor 'absent'"));

    // Moving the file keeps the records' bytes where they are.
    auto const* before = file.at("f32").data.data();
    auto second = read_safetensors(path);
    auto const* bytes = second.at("f32").data.data();
    auto const moved = std::move(second);
    CHECK(moved.at("f32").data.data() == bytes);
    CHECK(bytes != before);
}

TEST_CASE("half precision converts exactly") {
    // Every finite half is m * 2^e: compare with that arithmetic, done in double.
    for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
        int const exponent = static_cast<int>((bits >> 10) & 0x1fu);
        int const fraction = static_cast<int>(bits & 0x3ffu);
        double const sign = bits >> 15 != 0 ? -1.0 : 1.0;
        float const value = espalier::detail::half_to_float(static_cast<std::uint16_t>(bits));
        if (exponent == 31) {
            REQUIRE((fraction == 0 ? std::isinf(value) : std::isnan(value)));
            REQUIRE(std::signbit(value) == (sign < 0));
            continue;
        }
        double const expected =
            exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
        REQUIRE(static_cast<double>(value) == expected);
        REQUIRE(std::signbit(value) == (sign < 0));
    }
}

TEST_CASE("the file has the documented layout") {
    temporary_folder folder;
    auto const path = folder / "layout.safetensors";
    std::vector<std::uint8_t> const small{1, 2, 3};
    std::vector<float> const big{1.0f, 2.0f};
    write_safetensors(path, std::vector{make_record("a", {3}, view(small)), make_record("b", {2}, view(big))});
    std::string const content = content_of(path);
    std::uint64_t length = 0;
    std::memcpy(&length, content.data(), 8);
    CHECK(length % 8 == 0);
    // Larger elements first, so that each tensor is aligned to its type; padding is spaces after the JSON text.
    std::string const header = content.substr(8, length);
    std::string const text = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
    CHECK(header.substr(0, text.size()) == text);
    CHECK(header.find_first_not_of(' ', text.size()) == std::string::npos);
    CHECK(content.size() == 8 + length + 11);
    CHECK(content.substr(8 + length + 8) == "\x01\x02\x03");

    // No tensor at all is a valid file.
    write_safetensors(path, {});
    CHECK(read_safetensors(path).tensors().empty());
}

TEST_CASE("a foreign file with unaligned data and odd white space is read") {
    temporary_folder folder;
    std::string data("\x07", 1);
    float const values[2] = {1.25f, -8.0f};
    data.append(reinterpret_cast<char const*>(values), 8);
    auto const path = folder.put("foreign", raw_file("{ \"b\" : {\"shape\":[2], \"data_offsets\":[1,9],"
                                                     "\"dtype\":\"F32\"},\n\"a\":{\"dtype\":\"I8\",\"shape\":[],"
                                                     "\"data_offsets\":[0,1]}}  ",
                                                     data));
    auto const file = read_safetensors(path);
    CHECK(file.at("b").values<float>() == std::vector<float>{1.25f, -8.0f});
    CHECK(file.at("b").converted<double>() == std::vector<double>{1.25, -8.0});
    CHECK(file.at("a").values<std::int8_t>() == std::vector<std::int8_t>{7});
}

TEST_CASE("a file of MLX, which writes null where there are no metadata, is read") {
    temporary_folder folder;
    auto const path = folder.put("mlx", raw_file(R"({"__metadata__":null,"w":{"data_offsets":[0,2],"dtype":"BF16",)"
                                                 R"("shape":[1]}})",
                                                 std::string("\x80\x3f", 2)));
    auto const file = read_safetensors(path);
    CHECK(file.metadata().empty());
    CHECK(file.at("w").converted<float>() == std::vector<float>{1.0f});
    CHECK_THAT(refusal(folder, raw_file(R"({"w":null})", "")),
               contains_text("tensor 'w': needs dtype, shape and data_offsets"));
}

TEST_CASE("what else an entry says is ignored") {
    temporary_folder folder;
    auto const path =
        folder.put("more", raw_file(R"({"w":{"dtype":"U8","strides":[1],"shape":[2],"note":{"a":{"b":{}}},)"
                                    R"("data_offsets":[0,2],"last":null}})",
                                    "\x05\x06"));
    CHECK(read_safetensors(path).at("w").values<std::uint8_t>() == std::vector<std::uint8_t>{5, 6});
}

TEST_CASE("tensors of every type of the format are kept, and refused only where values are asked for") {
    temporary_folder folder;
    struct kind {
        char const* name;
        dtype type;
        std::size_t bits;
    };
    for (kind const& k :
         {kind{"C64", dtype::c64, 64}, kind{"F8_E4M3", dtype::f8_e4m3, 8}, kind{"F8_E5M2", dtype::f8_e5m2, 8},
          kind{"F8_E8M0", dtype::f8_e8m0, 8}, kind{"F8_E4M3FNUZ", dtype::f8_e4m3fnuz, 8},
          kind{"F8_E5M2FNUZ", dtype::f8_e5m2fnuz, 8}, kind{"F6_E2M3", dtype::f6_e2m3, 6},
          kind{"F6_E3M2", dtype::f6_e3m2, 6}, kind{"F4", dtype::f4, 4}}) {
        INFO(k.name);
        std::string odd;
        for (std::size_t i = 0; i < k.bits; ++i) { // eight elements
            odd.push_back(static_cast<char>(i * 29 + 1));
        }
        std::string const size = std::to_string(k.bits);
        float const own = 2.5f;
        std::string data(reinterpret_cast<char const*>(&own), 4);
        data += odd;
        auto const header = [&](std::string const& shape) {
            return R"({"own":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"odd":{"dtype":")" + std::string(k.name) +
                   R"(","shape":)" + shape + R"(,"data_offsets":[4,)" + std::to_string(4 + k.bits) + "]}}";
        };
        auto const path = folder.put("kinds", raw_file(header("[2,4]"), data));
        auto const file = read_safetensors(path);
        CHECK(file.at("own").values<float>() == std::vector<float>{2.5f});
        tensor_record const& tensor = file.at("odd");
        CHECK(tensor.type == k.type);
        CHECK(bits_of(tensor.type) == k.bits);
        CHECK(tensor.count() == 8);
        CHECK(std::string(reinterpret_cast<char const*>(tensor.data.data()), tensor.data.size()) == odd);
        using espalier::data_error;
        CHECK(message_of<data_error>([&] { (void)tensor.converted<float>(); }) ==
              "tensor 'odd' is " + std::string(k.name) +
                  ", whose values are not read; a tensor of F64, F32, F16 or BF16 is needed");
        CHECK(message_of<data_error>([&] { (void)tensor.values<float>(); }) ==
              "tensor 'odd' is " + std::string(k.name) + "; F32 is needed");
        CHECK(message_of<data_error>([&] { (void)tensor.values<std::uint8_t>(); }) ==
              "tensor 'odd' is " + std::string(k.name) + "; U8 is needed");
        write_safetensors(folder / "copy", file.tensors());
        auto const copy = read_safetensors(folder / "copy");
        CHECK(copy.at("odd").type == k.type);
        CHECK(copy.at("odd").shape == std::vector<index_t>{2, 4});
        CHECK(
            std::equal(copy.at("odd").data.begin(), copy.at("odd").data.end(), tensor.data.begin(), tensor.data.end()));
        for (char const* shape : {"[7]", "[9]", "[2,5]", "[0]"}) {
            CHECK_THAT(refusal(folder, raw_file(header(shape), data)),
                       contains_text("does not fit its " + size + " bytes"));
        }
    }
    // Elements that share bytes must fill them.
    CHECK_THAT(refusal(folder, raw_file(R"({"w":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "12")),
               contains_text("shape [3] of F4 does not fit its 2 bytes"));
    CHECK_THAT(refusal(folder, raw_file(R"({"w":{"dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2]}})", "12")),
               contains_text("shape [2] of F6_E2M3 does not fit its 2 bytes"));
    std::vector<std::uint8_t> const bytes{1, 2};
    CHECK_THAT(message_of<file_error>([&] {
                   write_safetensors(folder / "bad",
                                     std::vector{tensor_record{"w", dtype::f4, {3}, std::as_bytes(std::span(bytes))}});
               }),
               contains_text("shape [3] of F4 does not fit its 2 bytes"));
}

TEST_CASE("a tensor that was left out for another is found under the name that the metadata have for it") {
    temporary_folder folder;
    std::vector<float> const values{1, 2};
    write_safetensors(folder / "tied", std::vector{make_record("a", {2}, view(values))},
                      {{"b", "a"}, {"c", "gone"}, {"a", "b"}, {"d", "b"}});
    auto const file = read_safetensors(folder / "tied");
    REQUIRE(file.find_shared("b") != nullptr);
    CHECK(file.find_shared("b") == file.find("a"));
    CHECK(file.find_shared("a") == file.find("a"));
    CHECK(file.find("b") == nullptr);
    CHECK(file.find_shared("c") == nullptr);
    CHECK(file.find_shared("d") == nullptr);
    CHECK(file.find_shared("e") == nullptr);
    CHECK_THAT(message_of<file_error>([&] { (void)file.at("b"); }),
               contains_text("has no tensor 'b'; the metadata names 'a' in its place"));
}

TEST_CASE("a tensor refuses to be read as something else") {
    temporary_folder folder;
    std::vector<float> const values{1, 2, 3, 4, 5, 6};
    write_safetensors(folder / "f", std::vector{make_record("0.kernel", {2, 3}, view(values))});
    auto const file = read_safetensors(folder / "f");
    tensor_record const& tensor = file.at("0.kernel");
    using espalier::data_error;
    CHECK(message_of<data_error>([&] { (void)tensor.values<double>(); }) == "tensor '0.kernel' is F32; F64 is needed");
    CHECK(message_of<data_error>([&] {
              tensor.need(dtype::f32, {3, 2});
          }) == "tensor '0.kernel' has shape [2, 3]; shape [3, 2] is needed");
    CHECK(message_of<data_error>([&] {
              tensor.need(dtype::bf16, {2, 3});
          }) == "tensor '0.kernel' is F32; BF16 is needed");
    CHECK_NOTHROW(tensor.need(dtype::f32, {2, 3}));
    std::vector<float> five(5, -1.0f);
    CHECK(message_of<data_error>([&] {
              tensor.copy_to(array_view<float>{five.data(), 5});
          }) == "tensor '0.kernel' has 6 elements, shape [2, 3]; 5 are needed");
    CHECK(five == std::vector<float>(5, -1.0f));
    std::vector<std::int32_t> const whole{1};
    write_safetensors(folder / "i", std::vector{make_record("n", {1}, view(whole))});
    CHECK(message_of<data_error>([&] { (void)read_safetensors(folder / "i").at("n").converted<float>(); }) ==
          "tensor 'n' is I32; a floating-point tensor is needed");
}

TEST_CASE("what cannot be written is refused and the old file stays") {
    temporary_folder folder;
    auto const path = folder.put("model", "old");
    std::vector<float> const values{1, 2, 3};
    auto const attempt = [&](std::vector<tensor_record> const& records, espalier::tensor_metadata const& text = {}) {
        return message_of<file_error>([&] { write_safetensors(path, records, text); });
    };
    auto const good = make_record("w", {3}, view(values));
    CHECK_THAT(attempt({good, good}), contains_text("cannot write tensor 'w': there is another tensor of this name"));
    CHECK_THAT(attempt({make_record("w", {2}, view(values))}),
               contains_text("shape [2] of F32 does not fit its 12 bytes"));
    CHECK_THAT(attempt({make_record("w", {-3}, view(values))}), contains_text("does not fit"));
    CHECK_THAT(attempt({make_record("w", {index_t{1} << 40, index_t{1} << 40}, view(values))}),
               contains_text("does not fit"));
    CHECK_THAT(attempt({make_record("__metadata__", {3}, view(values))}), contains_text("reserved"));
    CHECK_THAT(attempt({make_record("\xff", {3}, view(values))}), contains_text("not UTF-8"));
    CHECK_THAT(attempt({good}, {{"k", "\xc3"}}), contains_text("not UTF-8"));
    CHECK(content_of(path) == "old");
    CHECK(folder.entries() == 1);
    CHECK_THAT(message_of<file_error>([&] { write_safetensors(folder / "no/folder", std::vector{good}); }),
               contains_text("cannot create"));
}

TEST_CASE("malformed safetensors files are refused with the reason") {
    temporary_folder folder;
    std::string const eight(8, '\0');
    auto const header = [](std::string const& entries) { return "{" + entries + "}"; };
    auto const one = [&](std::string const& entry, std::string const& data) {
        return refusal(folder, raw_file(header("\"w\":" + entry), data));
    };
    CHECK_THAT(refusal(folder, ""), contains_text("truncated: 0 bytes"));
    CHECK_THAT(refusal(folder, "1234567"), contains_text("truncated: 7 bytes"));
    CHECK_THAT(refusal(folder, std::string(8, '\xff')), contains_text("oversized header"));
    CHECK_THAT(refusal(folder, raw_file("{}", "").substr(0, 9)), contains_text("truncated: the header claims 2 bytes"));
    CHECK_THAT(refusal(folder, raw_file("", "")), contains_text("does not start with '{'"));
    CHECK_THAT(refusal(folder, raw_file(" {}", "")), contains_text("does not start with '{'"));
    CHECK_THAT(refusal(folder, raw_file("{\"w\"", "")), contains_text("malformed header"));
    CHECK_THAT(refusal(folder, raw_file("{} x", "")), contains_text("malformed header"));
    CHECK_THAT(refusal(folder, raw_file(std::string("{}\0 rest", 8), "")), contains_text("it holds a NUL byte"));
    CHECK_THAT(refusal(folder, raw_file("{\"\xff\xfe\":1}", "")), contains_text("malformed header"));
    std::string nested = "{}";
    for (int depth = 0; depth < 16; ++depth) {
        nested = "{\"a\":" + nested + "}";
    }
    CHECK_THAT(refusal(folder, raw_file(nested, "")), contains_text("nested more than 16 deep"));
    CHECK_THAT(one("5", ""), contains_text("tensor 'w': needs dtype, shape and data_offsets"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2]})", eight), contains_text("needs dtype, shape and"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"offsets":[0,8]})", eight), contains_text("needs dtype, shape and"));
    CHECK_THAT(one(R"({"dtype":"F12","shape":[2],"data_offsets":[0,8]})", eight), contains_text("element type 'F12'"));
    CHECK_THAT(one(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})", eight), contains_text("dtype is not text"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", eight), contains_text("shape is not a list"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", eight),
               contains_text("an extent of its shape"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", eight),
               contains_text("an extent of its shape"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})", eight),
               contains_text("an extent"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})", eight),
               contains_text("does not fit its 8 bytes"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", eight),
               contains_text("does not fit its 8 bytes"));
    CHECK_THAT(one(R"({"dtype":"F64","shape":[2],"data_offsets":[0,8]})", eight),
               contains_text("does not fit its 8 bytes"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})", eight),
               contains_text("data_offsets is not a pair"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,-8]})", eight),
               contains_text("data_offsets is not a pair"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", eight),
               contains_text("lies at bytes 8 to 0"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "1234567"), contains_text("truncated?"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", eight + "9"),
               contains_text("1 bytes after the last"));
    CHECK_THAT(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", eight), contains_text("leaving a gap"));
    CHECK_THAT(refusal(folder, raw_file(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                                        R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                                        eight)),
               contains_text("tensor 'b' starts at byte 4, inside the one before it"));
    CHECK_THAT(refusal(folder, raw_file(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                                        R"("a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                                        eight)),
               contains_text("'a' is there twice"));
    CHECK_THAT(
        refusal(folder, raw_file(R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})", eight)),
        contains_text("'dtype' is there twice"));
    CHECK_THAT(refusal(folder, raw_file(R"({"__metadata__":{"a":1}})", "")), contains_text("metadata 'a' is not text"));
    CHECK_THAT(refusal(folder, raw_file(R"({"__metadata__":[]})", "")), contains_text("__metadata__ is not an object"));
    CHECK_THAT(refusal(folder, raw_file("{\"a\":" + std::string(200'000, '['), "")), contains_text("malformed header"));
    CHECK_THAT(message_of<file_error>([&] { (void)read_safetensors(folder / "absent"); }),
               contains_text("cannot be opened"));
    CHECK_THAT(message_of<file_error>([&] { (void)read_safetensors(folder.path()); }),
               contains_text("not a regular file"));
}

TEST_CASE("damaged safetensors files never get through as something they are not") {
    temporary_folder folder;
    std::vector<float> const f32{1, 2, 3, 4};
    std::vector<std::uint8_t> const u8{5, 6, 7};
    write_safetensors(folder / "good",
                      std::vector{make_record("kernel", {2, 2}, view(f32)), make_record("m", {3}, view(u8))},
                      {{"k", "v"}});
    std::string const good = content_of(folder / "good");
    std::uint64_t header = 0;
    std::memcpy(&header, good.data(), 8);

    for (std::size_t length = 0; length < good.size(); ++length) {
        INFO("cut to " << length << " bytes");
        REQUIRE(refusal(folder, good.substr(0, length)).substr(0, 2) != "? ");
    }

    int refused = 0;
    int accepted = 0;
    auto const attempt = [&](std::string const& content) {
        auto const path = folder.put("bad.safetensors", content);
        try {
            auto const file = read_safetensors(path);
            // A name or a metadata text may have changed; the tensors must still be the file's data, all of it, once.
            std::uint64_t claimed = 0;
            std::memcpy(&claimed, content.data(), 8);
            std::string data;
            for (auto const& tensor : file.tensors()) {
                data.append(reinterpret_cast<char const*>(tensor.data.data()), tensor.data.size());
                index_t count = 0;
                REQUIRE(espalier::detail::count_elements(tensor.shape, count));
                REQUIRE(static_cast<std::size_t>(count) * bits_of(tensor.type) == 8 * tensor.data.size());
            }
            REQUIRE(data == content.substr(8 + claimed));
            ++accepted;
        } catch (file_error const&) {
            ++refused;
        }
    };
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::string bad = good;
        bad[bit / 8] = static_cast<char>(static_cast<unsigned char>(bad[bit / 8]) ^ (1u << (bit % 8)));
        attempt(bad);
    }
    // Flips in the data and in the texts pass (there is no checksum in the format), the others do not.
    CHECK(accepted >= 19 * 8);
    CHECK(refused > static_cast<int>(header) * 4);

    std::uint32_t state = 12345;
    auto const random = [&](std::size_t below) {
        state = state * 1664525u + 1013904223u;
        return static_cast<std::size_t>(state >> 8) % below;
    };
    for (int round = 0; round < 3000; ++round) {
        std::string bad = good;
        for (std::size_t edit = 0; edit <= random(4); ++edit) {
            std::size_t const at = random(bad.size());
            switch (random(3)) {
            case 0:
                bad[at] = static_cast<char>(random(256));
                break;
            case 1:
                bad.erase(at, 1 + random(8));
                break;
            default:
                bad.insert(at, 1 + random(4), static_cast<char>("0123456789[]{},:\" "[random(18)]));
            }
            if (bad.size() < 8) {
                break;
            }
        }
        attempt(bad);
    }
    CHECK(refused > 2000);
}

TEST_CASE("text of a malformed file reaches no terminal") {
    temporary_folder folder;
    CHECK_THAT(refusal(folder, raw_file(R"({"\u001b[2J":5})", "")), contains_text("tensor '?[2J': needs dtype"));
    std::string const message = refusal(folder, raw_file("{\"\xff\x1b", ""));
    CHECK_THAT(message, contains_text("malformed header"));
    CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}
