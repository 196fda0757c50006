// SPDX-License-Identifier: Apache-2.0
// The emulated block against simple oracles, and each kind of mistake it must report.
#include <support/catch.hpp>

#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/emulated/emulated_block.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using espalier::emulated_block;
using espalier::emulated_launch;
using espalier::emulated_tile;
using espalier::emulation_error;
using espalier::index_t;

static_assert(espalier::cooperative_block<emulated_block<64>> && !espalier::cooperative_tile<emulated_block<64>>);
static_assert(espalier::cooperative_tile<emulated_tile<8>> && !espalier::cooperative_block<emulated_tile<8>>);

template <std::uint32_t V> using constant = std::integral_constant<std::uint32_t, V>;

// Every test body runs in the plain order and in a few drawn ones.
constexpr std::uint64_t seeds[] = {0, 1, 2, 3};

// Numbers of many magnitudes, so that another order of additions has other bits.
float sample(std::uint32_t i) {
    std::uint32_t const h = (i + 1) * 2654435761u;
    return std::ldexp(static_cast<float>(h >> 8) - 8388608.0f, static_cast<int>(h % 23) - 30);
}

template <class T> bool same_bits(T const& a, T const& b) {
    return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// The promised order, written down once more by hand: pairs at distance W/2, W/4, ..., 1 in each tile.
template <class T> T butterfly(std::vector<T> v) {
    for (std::size_t m = v.size() / 2; m > 0; m /= 2) {
        std::vector<T> next(v.size());
        for (std::size_t i = 0; i < v.size(); ++i) {
            next[i] = v[i] + v[i ^ m];
        }
        v = next;
    }
    return v[0];
}

struct candidate {
    float score;
    std::uint32_t expert;
};
struct better {
    candidate operator()(candidate a, candidate b) const {
        return b.score > a.score || (b.score == a.score && b.expert < a.expert) ? b : a;
    }
};

struct fault {
    char const* what;
    std::uint32_t lane; // in the grid
};

// What is common to tiles and blocks; lane i of a group whose first lane in the grid is `first` holds sample(first +
// i).
template <class Group> void check_common(Group const& group, std::uint32_t first, std::vector<fault>& wrong) {
    auto const expect = [&](bool right, char const* what) {
        if (!right) wrong.push_back({what, first + group.thread_rank()});
    };
    constexpr std::uint32_t n = Group::lanes;
    std::uint32_t const rank = group.thread_rank();
    std::vector<float> values(n);
    for (std::uint32_t i = 0; i < n; ++i) {
        values[i] = sample(first + i);
    }
    float const mine = values[rank];

    float sum = 0;
    double double_sum = 0;
    for (std::uint32_t start = 0; start < n; start += 32) {
        auto const from = values.begin() + start;
        auto const to = values.begin() + std::min(n, start + 32);
        float const part = butterfly(std::vector<float>(from, to));
        double const double_part = butterfly(std::vector<double>(from, to));
        sum = start == 0 ? part : sum + part;
        double_sum = start == 0 ? double_part : double_sum + double_part;
    }
    expect(same_bits(group.reduce_add(mine), sum), "reduce_add of float");
    expect(same_bits(group.reduce_add(double{mine}), double_sum), "reduce_add of double");
    expect(group.reduce_add(rank) == n * (n - 1) / 2, "reduce_add of integers");
    expect(group.reduce_max(mine) == *std::max_element(values.begin(), values.end()), "reduce_max");
    expect(group.reduce_min(mine) == *std::min_element(values.begin(), values.end()), "reduce_min");
    expect(group.reduce_max(std::int64_t{rank} << 40) == std::int64_t{n - 1} << 40, "reduce_max of integers");

    auto const best = static_cast<std::uint32_t>(std::max_element(values.begin(), values.end()) - values.begin());
    expect(group.reduce(candidate{mine, rank}, better{}).expert == best, "reduce of a struct");

    int inclusive = 0;
    for (std::uint32_t i = 0; i <= rank; ++i) {
        inclusive += static_cast<int>(i * i) - 50;
    }
    int const value = static_cast<int>(rank * rank) - 50;
    expect(group.inclusive_scan_add(value) == inclusive, "inclusive_scan_add");
    expect(group.exclusive_scan_add(value) == inclusive - value, "exclusive_scan_add");

    expect(!group.any(false), "any of none");
    expect(group.any(rank == n - 1), "any of one");
    expect(group.all(true), "all of all");
    expect(!group.all(rank != n - 1), "all but one");
}

template <class Tile> void check_tile(Tile const& tile, std::uint32_t first, std::vector<fault>& wrong) {
    auto const expect = [&](bool right, char const* what) {
        if (!right) wrong.push_back({what, first + tile.thread_rank()});
    };
    constexpr std::uint32_t n = Tile::lanes;
    std::uint32_t const rank = tile.thread_rank();
    float const mine = sample(first + rank);

    for (std::uint32_t source = 0; source < n; ++source) {
        expect(tile.shuffle(mine, source) == sample(first + source), "shuffle from one lane");
        std::uint32_t const other = (rank + source) % n;
        expect(tile.shuffle(double{mine}, other) == sample(first + other), "shuffle from several lanes");
        expect(tile.shuffle_xor(mine, source) == sample(first + (rank ^ source)), "shuffle_xor");
    }
    for (std::uint32_t delta = 0; delta <= n; ++delta) {
        std::uint32_t const down = rank + delta < n ? rank + delta : rank;
        std::uint32_t const up = rank >= delta ? rank - delta : rank;
        expect(tile.shuffle_down(mine, delta) == sample(first + down), "shuffle_down");
        expect(tile.shuffle_up(std::int16_t(rank), delta) == std::int16_t(up), "shuffle_up");
    }
    auto const pair = tile.shuffle(candidate{mine, first + rank}, n - 1);
    expect(pair.score == sample(first + n - 1) && pair.expert == first + n - 1, "shuffle of a struct");

    std::uint32_t bits = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
        bits |= std::uint32_t{sample(first + i) > 0} << i;
    }
    expect(tile.ballot(mine > 0) == bits, "ballot");

    constexpr std::uint32_t half = n > 1 ? n / 2 : 1;
    auto const part = tile.template tile<half>();
    expect(part.thread_rank() == rank % half, "rank in a tile of a tile");
    expect(part.shuffle(rank, 0) == rank / half * half, "shuffle in a tile of a tile");
}

template <std::uint32_t Threads, std::uint32_t W> void check_all_members() {
    if constexpr (W <= Threads) {
        for (std::uint64_t const seed : seeds) {
            std::vector<fault> wrong;
            std::set<std::pair<index_t, std::uint32_t>> ran;
            std::set<index_t> tiles;
            emulated_launch<Threads>(
                3,
                [&](auto& block) {
                    auto const block_first = static_cast<std::uint32_t>(block.block_rank()) * Threads;
                    std::uint32_t const lane = block_first + block.thread_rank();
                    auto const expect = [&](bool right, char const* what) {
                        if (!right) wrong.push_back({what, lane});
                    };
                    ran.emplace(block.block_rank(), block.thread_rank());
                    expect(block.block_count() == 3 && block.size() == Threads, "block shape");
                    expect(block.group_rank() == block.block_rank() && block.group_count() == 3,
                           "block's place among the blocks");
                    auto const tile = block.template tile<W>();
                    tiles.insert(tile.group_rank());
                    expect(tile.group_count() == 3 * (Threads / W) && tile.block_rank() == block.block_rank(),
                           "tile's place among the tiles");
                    auto const tile_first = static_cast<std::uint32_t>(tile.group_rank()) * W;
                    expect(tile_first + tile.thread_rank() == lane, "lane's place in its tile");
                    check_common(block, block_first, wrong);
                    check_common(tile, tile_first, wrong);
                    check_tile(tile, tile_first, wrong);
                    tile.sync();
                    block.sync();
                },
                {.order_seed = seed});
            fault const shown = wrong.empty() ? fault{"nothing wrong", 0} : wrong.front();
            INFO("blocks of " << Threads << ", tiles of " << W << ", seed " << seed);
            INFO(shown.what << " in lane " << shown.lane);
            CHECK(wrong.empty());
            CHECK(ran.size() == 3 * Threads);
            CHECK(tiles.size() == 3 * (Threads / W));
        }
    }
}

// The example of emulated_launch's documentation.
template <class Group> ESPALIER_FN void row_sums(Group group, espalier::matrix_view<float const> x, float* sums) {
    auto tile = group.template tile<32>();
    for (index_t r = tile.group_rank(); r < x.rows; r += tile.group_count()) {
        float sum = 0;
        for (index_t c = tile.thread_rank(); c < x.columns; c += tile.size()) {
            sum += x(r, c);
        }
        sum = tile.reduce_add(sum);
        if (tile.thread_rank() == 0) sums[r] = sum;
    }
}

// The error that the launch ends with; fails the test if it ends with none.
template <std::uint32_t Threads, class Body>
emulation_error error_of(Body body, index_t blocks = 1, espalier::emulated_options const& options = {}) {
    try {
        emulated_launch<Threads>(blocks, body, options);
    } catch (emulation_error const& e) {
        return e;
    }
    FAIL("the launch reported nothing");
    return emulation_error("", -1, 0, "");
}

// Counts what is alive on the lanes' stacks.
struct counted {
    explicit counted(int& n) : alive(&n) { ++*alive; }
    counted(counted const&) = delete;
    counted& operator=(counted const&) = delete;
    ~counted() { --*alive; }
    int* alive;
};

} // namespace

TEMPLATE_TEST_CASE_SIG("emulated groups agree with simple oracles", "[emulated]", ((std::uint32_t Threads), Threads), 1,
                       8, 32, 64, 96, 256) {
    check_all_members<Threads, 1>();
    check_all_members<Threads, 2>();
    check_all_members<Threads, 4>();
    check_all_members<Threads, 8>();
    check_all_members<Threads, 16>();
    check_all_members<Threads, 32>();
}

TEST_CASE("one body runs on the serial group and on the emulated block", "[emulated]") {
    // Small whole numbers: sums in any order are exact. Rows and columns that no group divides.
    std::vector<float> x(11 * 45);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(i % 17) - 5;
    }
    auto const view = espalier::contiguous_view<float const>(x.data(), 11, 45);
    std::vector<float> expected(11);
    for (index_t r = 0; r < 11; ++r) {
        for (index_t c = 0; c < 45; ++c) {
            expected[static_cast<std::size_t>(r)] += view(r, c);
        }
    }
    std::vector<float> serial(11);
    row_sums(espalier::serial_group{}, view, serial.data());
    CHECK(serial == expected);
    for (std::uint64_t const seed : seeds) {
        std::vector<float> sums(11);
        emulated_launch<64>(3, [&](auto& group) { row_sums(group, view, sums.data()); }, {.order_seed = seed});
        CHECK(sums == expected);
    }
}

TEST_CASE("emulated shared storage belongs to the block and starts as NaN", "[emulated]") {
    struct storage {
        float x[64];
        int n;
    };
    int wrong = 0;
    std::vector<float> sums;
    emulated_launch<64>(4, [&](auto& block) {
        storage& s = block.template shared<storage>();
        float(&other)[2] = block.template shared<float[2]>();
        std::uint32_t const rank = block.thread_rank();
        wrong += !std::isnan(s.x[rank]) + (s.n != -1) + !std::isnan(other[1]);
        block.sync();
        s.x[rank] = static_cast<float>(rank + 1);
        s.n = 5;
        other[1] = 2;
        block.sync();
        wrong += &block.template shared<storage>() != &s;
        wrong += s.x[63 - rank] != static_cast<float>(64 - rank);
        if (rank == 0) {
            float sum = 0;
            for (float const x : s.x) {
                sum += x;
            }
            sums.push_back(sum);
        }
    });
    CHECK(wrong == 0);
    CHECK(sums == std::vector<float>(4, 64 * 65 / 2));
}

TEST_CASE("tiles of a block may take different ways between barriers", "[emulated]") {
    for (std::uint64_t const seed : seeds) {
        std::array<int, 128> out{};
        emulated_launch<128>(1,
                             [&](auto& block) {
                                 auto const warp = block.template tile<32>();
                                 int v = static_cast<int>(block.thread_rank());
                                 // Warp w has w reductions, and the last one leaves early.
                                 for (std::uint32_t i = 0; i < block.thread_rank() / 32; ++i) {
                                     v = warp.reduce_max(v);
                                 }
                                 out[block.thread_rank()] = v;
                             },
                             {.order_seed = seed});
        for (int i = 0; i < 128; ++i) {
            CHECK(out[static_cast<std::size_t>(i)] == (i < 32 ? i : i / 32 * 32 + 31));
        }
    }
}

TEST_CASE("a lane that leaves before a barrier is reported", "[emulated]") {
    auto const e = error_of<64>(
        [](auto& block) {
            if (block.block_rank() == 2 && block.thread_rank() == 37) return;
            block.sync();
        },
        4);
    CHECK(e.block == 2);
    CHECK(e.lane == 37);
    CHECK(e.operation == "block sync");
    CHECK_THAT(e.what(), contains_text("emulated block 2, lane 37, block sync (emulated_block.cpp:"));
    CHECK_THAT(e.what(), contains_text("has left the kernel, but 63 of 64 lanes (the first is lane 0) wait for it"));
}

TEST_CASE("a lane that waits elsewhere is reported", "[emulated]") {
    SECTION("it skips an operation of its tile") {
        auto const e = error_of<64>([](auto& block) {
            auto const tile = block.template tile<8>();
            if (block.thread_rank() != 11) tile.reduce_add(1.0f);
            block.sync();
        });
        CHECK(e.lane == 11);
        CHECK(e.operation == "tile<8> reduce_add");
        CHECK_THAT(e.what(), contains_text("the lane waits at block sync (emulated_block.cpp:"));
        CHECK_THAT(e.what(), contains_text("but 7 of 8 lanes (the first is lane 8) wait for it"));
    }
    SECTION("it is alone at an operation of its tile") {
        auto const e = error_of<64>([](auto& block) {
            auto const tile = block.template tile<8>();
            if (block.thread_rank() == 11) tile.ballot(true);
            block.sync();
        });
        CHECK(e.lane == 11);
        CHECK(e.operation == "block sync");
        CHECK_THAT(e.what(), contains_text("the lane waits at tile<8> ballot"));
    }
    SECTION("half a warp takes the other branch, a deadlock") {
        auto const e = error_of<32>([](auto& block) {
            auto const tile = block.template tile<32>();
            if (block.thread_rank() < 16)
                tile.sync();
            else
                block.sync();
        });
        CHECK(e.lane == 16);
        CHECK(e.operation == "tile<32> sync");
        CHECK_THAT(e.what(), contains_text("the lane waits at block sync"));
        CHECK_THAT(e.what(), contains_text("16 of 32 lanes"));
    }
    SECTION("it uses another tile width") {
        auto const e = error_of<32>([](auto& block) {
            if (block.thread_rank() == 3)
                block.template tile<16>().any(true);
            else
                block.template tile<32>().any(true);
        });
        CHECK(e.lane == 3);
        CHECK(e.operation == "tile<32> any");
        CHECK_THAT(e.what(), contains_text("the lane waits at tile<16> any"));
    }
    SECTION("it exchanges another type") {
        auto const e = error_of<32>([](auto& block) {
            auto const tile = block.template tile<32>();
            if (block.thread_rank() == 5)
                tile.shuffle(1.0, 0);
            else
                tile.shuffle(1.0f, 0);
        });
        CHECK(e.lane == 5);
        CHECK_THAT(e.what(), contains_text("with another type"));
    }
}

TEST_CASE("a shuffle that reads a lane that has left is reported", "[emulated]") {
    auto const e = error_of<64>([](auto& block) {
        auto const tile = block.template tile<16>();
        if (block.thread_rank() == 20) return;
        tile.shuffle(1.0f, 4);
    });
    CHECK(e.lane == 20);
    CHECK(e.operation == "tile<16> shuffle");
    CHECK_THAT(e.what(), contains_text("has left the kernel, but 15 of 16 lanes (the first is lane 16) wait for it"));
}

TEST_CASE("a shuffle from outside the tile is reported", "[emulated]") {
    SECTION("shuffle") {
        auto const e = error_of<64>([](auto& block) {
            auto const tile = block.template tile<8>();
            tile.shuffle(1.0f, block.thread_rank() == 45 ? 8 : 7);
        });
        CHECK(e.lane == 45);
        CHECK(e.operation == "tile<8> shuffle");
        CHECK_THAT(e.what(), contains_text("has rank 5 and reads lane 8, but the tile has lanes 0 to 7"));
    }
    SECTION("shuffle_xor") {
        auto const e = error_of<64>([](auto& block) { block.template tile<8>().shuffle_xor(1.0f, 8); });
        CHECK(e.lane == 0);
        CHECK(e.operation == "tile<8> shuffle_xor");
        CHECK_THAT(e.what(), contains_text("reads lane 8"));
    }
}

TEST_CASE("a reduction whose lanes would disagree is reported", "[emulated]") {
    auto const e = error_of<64>([](auto& block) {
        block.reduce(block.thread_rank() == 40 ? 1.0f : 0.0f, [](float a, float b) { return a - b; });
    });
    CHECK(e.operation == "block reduce");
    // Lane 40 meets lane 56 in the first step of the second tile.
    CHECK(e.lane == 40);
    CHECK_THAT(e.what(), contains_text("not commutative"));
}

TEST_CASE("too much shared storage is reported", "[emulated]") {
    auto const ask = [](auto& block) {
        block.template shared<float[1024]>();
        if (block.thread_rank() == 9) block.template shared<double[5633]>();
        block.sync();
    };
    auto const e = error_of<32>(ask);
    CHECK(e.lane == 9);
    CHECK(e.operation == "block shared");
    CHECK_THAT(e.what(),
               contains_text("asks for 45064 bytes of shared storage, 49160 altogether, but a block has 49152"));
    CHECK_NOTHROW(emulated_launch<32>(1, ask, {.shared_bytes = 49160}));
}

TEST_CASE("a block that never ends is reported", "[emulated]") {
    auto const e = error_of<32>(
        [](auto& block) {
            while (block.any(true)) {
            }
        },
        1, {.operation_limit = 1000});
    CHECK(e.operation == "block any");
    CHECK_THAT(e.what(), contains_text("has not ended after 1000 operations"));
    CHECK_NOTHROW(emulated_launch<32>(1,
                                      [](auto& block) {
                                          for (int i = 0; i < 1000; ++i) {
                                              block.sync();
                                          }
                                      },
                                      {.operation_limit = 1000}));
}

TEST_CASE("drawn orders find a missing barrier", "[emulated]") {
    // Each lane reads the number of a lane that comes no later, which without the barrier may not have been written.
    auto const run = [](bool with_sync, std::uint64_t seed) {
        std::vector<float> out(64);
        emulated_launch<64>(1,
                            [&](auto& block) {
                                auto& s = block.template shared<float[64]>();
                                std::uint32_t const rank = block.thread_rank();
                                s[rank] = static_cast<float>(rank);
                                if (with_sync) block.sync();
                                out[rank] = std::isnan(s[rank / 2]) ? -1.0f : s[rank / 2];
                            },
                            {.order_seed = seed});
        return out;
    };
    std::vector<float> const expected = run(true, 0);
    // The plain order hides the mistake: whoever is read has run before.
    CHECK(run(false, 0) == expected);
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CHECK(run(true, seed) == expected);
        CHECK(run(false, seed) == run(false, seed));
        found += run(false, seed) != expected;
    }
    CHECK(found == 8);
}

TEST_CASE("drawn orders find a warp that overtakes another", "[emulated]") {
    // The second warp reads after three steps what the first has written after one: right as long as they keep pace.
    auto const run = [](std::uint64_t seed) {
        float seen = 0;
        emulated_launch<64>(1,
                            [&](auto& block) {
                                auto& s = block.template shared<float[1]>();
                                auto const warp = block.template tile<32>();
                                warp.sync();
                                if (block.thread_rank() == 0) s[0] = 1;
                                warp.sync();
                                warp.sync();
                                if (block.thread_rank() == 32) seen = std::isnan(s[0]) ? -1.0f : s[0];
                            },
                            {.order_seed = seed});
        return seen;
    };
    CHECK(run(0) == 1);
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 64; ++seed) {
        found += run(seed) == -1;
    }
    CHECK(found > 0);
    CHECK(found < 64);
}

TEST_CASE("drawn orders run the blocks in another order", "[emulated]") {
    auto const order = [](std::uint64_t seed) {
        std::vector<index_t> blocks;
        emulated_launch<1>(8, [&](auto& block) { blocks.push_back(block.block_rank()); }, {.order_seed = seed});
        return blocks;
    };
    std::vector<index_t> const ascending{0, 1, 2, 3, 4, 5, 6, 7};
    CHECK(order(0) == ascending);
    auto drawn = order(1);
    CHECK(drawn != ascending);
    CHECK(drawn == order(1));
    std::sort(drawn.begin(), drawn.end());
    CHECK(drawn == ascending);
}

TEST_CASE("an exception of a lane reaches the caller and the others are unwound", "[emulated]") {
    int alive = 0;
    int most = 0;
    int after = 0;
    for (std::uint64_t const seed : seeds) {
        try {
            emulated_launch<64>(3,
                                [&](auto& block) {
                                    counted const one(alive);
                                    most = std::max(most, alive);
                                    block.sync();
                                    if (block.block_rank() == 1 && block.thread_rank() == 5)
                                        throw std::out_of_range("lane five");
                                    block.sync();
                                    if (block.block_rank() == 1) ++after;
                                },
                                {.order_seed = seed});
            FAIL("nothing was thrown");
        } catch (std::out_of_range const& e) {
            CHECK(std::string(e.what()) == "lane five");
        }
        CHECK(alive == 0);
    }
    CHECK(most == 64);
    CHECK(after == 0);
    // The same is true of the emulation's own errors.
    error_of<64>([&](auto& block) {
        counted const one(alive);
        if (block.thread_rank() != 63) block.sync();
    });
    CHECK(alive == 0);
    // And the thread's stacks are as good as new.
    int lanes = 0;
    emulated_launch<64>(2, [&](auto& block) { lanes += block.reduce_add(1) == 64; });
    CHECK(lanes == 128);
}

TEST_CASE("an emulated launch may run inside a lane of another", "[emulated]") {
    std::vector<int> sums;
    emulated_launch<8>(1, [&](auto& outer) {
        int inner_sum = 0;
        emulated_launch<32>(1, [&](auto& inner) {
            int const sum = inner.reduce_add(static_cast<int>(outer.thread_rank()));
            if (inner.thread_rank() == 0) inner_sum = sum;
        });
        int const total = outer.reduce_add(inner_sum);
        if (outer.thread_rank() == 0) sums.push_back(total);
    });
    CHECK(sums == std::vector<int>{32 * 28});
}

TEST_CASE("an emulated launch of no blocks does nothing, of less is refused", "[emulated]") {
    int lanes = 0;
    emulated_launch<32>(0, [&](auto&) { ++lanes; });
    CHECK(lanes == 0);
    CHECK_THROWS_AS(emulated_launch<32>(-1, [&](auto&) { ++lanes; }), espalier::shape_error);
    CHECK(lanes == 0);
}
