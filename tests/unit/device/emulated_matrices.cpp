// SPDX-License-Identifier: Apache-2.0
// The small matrices of a warp on the emulated block: lanes' shares as PTX defines them, against plain loops.
#include <support/catch.hpp>

#include <espalier/core/group.hpp>
#include <espalier/device/emulated/emulated_block.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

using espalier::emulated_launch;

static_assert(espalier::matrix_tile<espalier::emulated_tile<32>>);
static_assert(!espalier::matrix_tile<espalier::emulated_tile<16>>);
static_assert(!espalier::matrix_tile<espalier::serial_group>);

/// The upper half of a float.
std::uint32_t bf16(float x) {
    std::uint32_t word;
    std::memcpy(&word, &x, 4);
    return word >> 16;
}

struct matrices {
    float a[16][16], b[16][8], d[16][8];

    // Few bits each, so that every sum is exact in float and the order of adding changes nothing.
    explicit matrices(int salt) {
        for (int i = 0; i < 16; ++i)
            for (int k = 0; k < 16; ++k)
                a[i][k] = static_cast<float>((i * 37 + k * 11 + salt * 5) % 61 - 30) * 0.25f;
        for (int k = 0; k < 16; ++k)
            for (int j = 0; j < 8; ++j)
                b[k][j] = static_cast<float>((k * 23 + j * 41 + salt * 7) % 53 - 26) * 0.5f;
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 8; ++j)
                d[i][j] = static_cast<float>(i * 8 + j + salt);
    }
};

} // namespace

TEST_CASE("emulated warps multiply matrices as the documented shares of the lanes say") {
    matrices const m[2] = {matrices(1), matrices(2)}; // one for each warp
    float got[2][16][8];
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
        std::memset(got, 0xff, sizeof got);
        emulated_launch<64>(1,
                            [&](auto& block) {
                                auto const warp = block.template tile<32>();
                                auto const w = block.thread_rank() / 32, lane = warp.thread_rank();
                                matrices const& of = m[w];
                                // PTX ISA, "Matrix fragments for mma.m16n8k16": groupID = lane >> 2, threadID_in_group
                                // = lane % 4; a: row = groupID for i < 2 or 4 <= i < 6, else groupID + 8; column = 2
                                // threadID (+ i & 1) (+ 8 for i >= 4); b: row = 2 threadID + (i & 1) (+ 8 for i >= 2),
                                // column = groupID; d: row = groupID (+ 8 for i >= 2), column = 2 threadID + (i & 1).
                                std::uint32_t const group = lane >> 2, thread = lane % 4;
                                std::uint32_t a[4] = {}, b[2] = {};
                                for (std::uint32_t i = 0; i < 8; ++i) {
                                    bool const upper = i < 2 || (i >= 4 && i < 6);
                                    std::uint32_t const row = upper ? group : group + 8;
                                    a[i / 2] |= bf16(of.a[row][thread * 2 + (i & 1) + (i >= 4 ? 8 : 0)])
                                                << 16 * (i & 1);
                                }
                                for (std::uint32_t i = 0; i < 4; ++i)
                                    b[i / 2] |= bf16(of.b[thread * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group])
                                                << 16 * (i & 1);
                                float d[4];
                                for (std::uint32_t i = 0; i < 4; ++i)
                                    d[i] = of.d[group + (i >= 2 ? 8 : 0)][thread * 2 + (i & 1)];
                                warp.multiply_add(d, a, b);
                                for (std::uint32_t i = 0; i < 4; ++i)
                                    got[w][group + (i >= 2 ? 8 : 0)][thread * 2 + (i & 1)] = d[i];
                            },
                            {.order_seed = seed});
        bool right = true;
        for (int w = 0; w < 2; ++w)
            for (int i = 0; i < 16; ++i)
                for (int j = 0; j < 8; ++j) {
                    double sum = static_cast<double>(m[w].d[i][j]);
                    for (int k = 0; k < 16; ++k)
                        sum += static_cast<double>(m[w].a[i][k]) * static_cast<double>(m[w].b[k][j]);
                    right &= static_cast<double>(got[w][i][j]) == sum;
                }
        REQUIRE(right);
    }
}

TEST_CASE("emulated warps load four matrices from rows in shared storage, as they lie and transposed") {
    struct alignas(16) rows_in_memory {
        std::uint16_t number[32][24]; // rows 48 bytes apart
    };
    std::uint32_t plain[32][4], transposed[32][4];
    emulated_launch<32>(1, [&](auto& block) {
        auto& memory = block.template shared<rows_in_memory>();
        auto const lane = block.thread_rank();
        for (std::uint16_t c = 0; c < 24; ++c)
            memory.number[lane][c] = static_cast<std::uint16_t>(lane * 100 + c);
        block.sync();
        auto const warp = block.template tile<32>();
        // Matrix i has the rows 31 - 8 i, 30 - 8 i, ... from column 8 on.
        warp.template load_matrices<false>(plain[lane], &memory.number[31 - lane][8]);
        warp.template load_matrices<true>(transposed[lane], &memory.number[31 - lane][8]);
    });
    bool right = true;
    auto const number = [](std::uint32_t matrix, std::uint32_t row, std::uint32_t column) {
        return (31 - (8 * matrix + row)) * 100 + 8 + column;
    };
    for (std::uint32_t lane = 0; lane < 32; ++lane)
        for (std::uint32_t i = 0; i < 4; ++i) {
            std::uint32_t const g = lane / 4, t = lane % 4 * 2;
            right &= plain[lane][i] == (number(i, g, t) | number(i, g, t + 1) << 16);
            right &= transposed[lane][i] == (number(i, t, g) | number(i, t + 1, g) << 16);
        }
    REQUIRE(right);
}

TEST_CASE("emulated warps report the row of a matrix that is not aligned") {
    auto const run = [] {
        emulated_launch<32>(1, [](auto& block) {
            struct alignas(16) rows_in_memory {
                std::uint16_t number[32][8];
            };
            auto& memory = block.template shared<rows_in_memory>();
            std::uint32_t words[4];
            auto const lane = block.thread_rank();
            block.template tile<32>().template load_matrices<false>(words, &memory.number[lane][lane == 9 ? 1 : 0]);
        });
    };
    REQUIRE_THROWS_AS(run(), espalier::emulation_error);
    try {
        run();
    } catch (espalier::emulation_error const& e) {
        REQUIRE(e.lane == 9);
        REQUIRE(e.operation == "tile<32> load_matrices");
    }
}
