// SPDX-License-Identifier: Apache-2.0
// A pass that no device knows reaches all of them: the CPU, the rows of experts, a device of kernel bodies. (Its kernel
// is compiled in tests/cuda/device_verbs.cu.)
#include <support/catch.hpp>

#include "bodies.hpp"
#include "launches.hpp"

#include <espalier/device/cpu/cpu.hpp>
#include <espalier/device/live_rows.hpp>

#include <support/scale_rows.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace kernel_tests;
using test_passes::scale_rows_pass;

constexpr index_t rows_of_all = 6, columns = 3;

struct numbers_of_rows {
    std::vector<float> x = std::vector<float>(static_cast<std::size_t>(rows_of_all * columns), 1.0f);
    std::vector<float> factor{2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

    scale_rows_pass<float> pass() { return {{x.data(), rows_of_all, columns, columns}, factor.data()}; }
    /// The rows, of which all numbers are equal.
    std::vector<float> seen() const {
        std::vector<float> r;
        for (std::size_t i = 0; i < x.size(); i += columns) {
            CHECK(x[i + 1] == x[i]);
            CHECK(x[i + 2] == x[i]);
            r.push_back(x[i]);
        }
        return r;
    }
};

/// With a loop of its own for the CPU.
struct pass_with_loop {
    int* by_loop;
    int* by_body;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const&) const { ++*by_body; }
    void on_cpu() const { ++*by_loop; }
};

} // namespace

TEST_CASE("a new pass: the CPU and a device of kernel bodies do it on all rows") {
    std::vector<float> const expected{2, 3, 4, 5, 6, 7};
    numbers_of_rows a, b;
    device::cpu cpu;
    cpu.run(a.pass());
    CHECK(a.seen() == expected);
    bodies lane;
    lane.run(b.pass());
    CHECK(b.seen() == expected);
    for_launches([&](auto const& launch) {
        numbers_of_rows c;
        launch([&](auto const& block) { c.pass()(block, live_groups{}, 0); });
        CHECK(c.seen() == expected);
    });
}

TEST_CASE("a new pass: on live rows it is done in the window of every group, with the group's tensor") {
    std::int32_t const count[] = {2, 1}, first[] = {0, 4};
    live_groups live;
    live.count = count;
    live.first = first;
    live.groups = 2;
    live.parameters = 5;
    numbers_of_rows a;
    bodies lane;
    std::vector<std::byte> room(1 << 19);
    lane.scratch = {room.data(), room.size()};
    device::live_rows<bodies>(lane, live).run(a.pass());
    CHECK(a.seen() == std::vector<float>{2, 3, 1, 1, 7, 1});
}

TEST_CASE("a new pass: the CPU takes a loop of its own where there is one") {
    int by_loop = 0, by_body = 0;
    pass_with_loop const pass{&by_loop, &by_body};
    device::cpu{}.run(pass);
    CHECK(by_loop == 1);
    CHECK(by_body == 0);
    bodies{}.run(pass);
    CHECK(by_loop == 1);
    CHECK(by_body == 1);
}

TEST_CASE("devices: a verb that is missing, or takes something else, is found") {
    struct without : device::cpu {
        void gather(int) {}
    };
    STATIC_REQUIRE(device::device<device::cpu>);
    STATIC_REQUIRE_FALSE(device::device<without>);
    STATIC_REQUIRE_FALSE(device::device<int>);
}
