// SPDX-License-Identifier: Apache-2.0
// Threads of the CPU device: every number gives the same bits.
#include <support/catch.hpp>

#include <espalier/activation/gelu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/device/cpu/thread_team.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

using namespace espalier;

TEST_CASE("a team runs every part once, on threads of its own, again and again") {
    cpu::thread_team team(3);
    REQUIRE(team.size() == 3);
    for (int round = 0; round < 200; ++round) {
        std::atomic<int> parts{0};
        std::thread::id who[3];
        team.run([&](int part) {
            who[part] = std::this_thread::get_id();
            parts += 1 << (4 * part);
        });
        CHECK(parts == 0x111);
        CHECK(who[0] == std::this_thread::get_id());
        CHECK(std::set<std::thread::id>(who, who + 3).size() == 3);
    }
}

TEST_CASE("an exception in a part reaches the caller, and the team goes on") {
    cpu::thread_team team(2);
    CHECK_THROWS_AS(team.run([](int part) {
        if (part == 1) throw std::domain_error("part 1");
    }),
                    std::domain_error);
    int sum = 0;
    team.run([&](int part) {
        if (part == 0) sum = 7;
    });
    CHECK(sum == 7);
    CHECK_THROWS_AS(cpu::thread_team(0), data_error);
}

TEST_CASE("training on one, two and three threads gives the same bits") {
    using stack = sequence<input<300>, dense<257, activation::gelu, dropout::bernoulli<0.3>>,
                           dense<129, activation::gelu>, dense<10>>;
    using device_type = device::cpu;
    index_t const n = 96;
    std::vector<float> x(static_cast<std::size_t>(n * 300));
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>((i * 2654435761u >> 8) % 1000) / 500.0f - 1.0f;
    std::vector<std::int32_t> label(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < label.size(); ++i)
        label[i] = static_cast<std::int32_t>(i % 10);
    batch_view<float> batch;
    batch.inputs = {x.data(), n, 300, 300};
    batch.tags.count = n;
    batch.tags.label = label.data();

    std::vector<float> first;
    for (int threads : {1, 2, 3}) {
        network<stack, device_type, float> net(seed{5}, n, std::make_unique<device_type>(threads, 0));
        REQUIRE(net.runner().device().threads() == threads);
        training run{net, loss::cross_entropy{}, optimizer::adam{}};
        for (int step = 0; step < 5; ++step)
            run.step(batch);
        float const* const w = net.values().weights().data();
        std::vector<float> const weights(w, w + net.values().weights().size());
        if (first.empty())
            first = weights;
        else
            CHECK(std::memcmp(first.data(), weights.data(), weights.size() * sizeof(float)) == 0);
    }
    CHECK(first.size() > 100000);
}

namespace {

/// Keeps in how many parts the last product was cut.
struct counting {
    static constexpr std::string_view name = "counting";
    static constexpr bool cuts_freely = true;
    static inline std::atomic<int> parts = 0;

    template <class T> static std::size_t scratch(index_t, index_t, index_t) { return 0; }
    template <class T>
    static void forward(matrix_view<T const>, matrix_view<T const>, T const*, matrix_view<T>, scratch_view) {
        ++parts;
    }
    template <class T>
    static void input_gradient(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
    template <class T>
    static void weight_gradient(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
};

/// Parts of a product of rows x 100 x 100.
int parts_of(device::basic_cpu<counting>& on, index_t rows) {
    std::vector<float> x(static_cast<std::size_t>(rows * 100)), w(10000), z(x.size());
    counting::parts = 0;
    on.product_forward<void, float>({x.data(), rows, 100, 100}, {w.data(), 100, 100, 100}, nullptr,
                                    {z.data(), rows, 100, 100});
    return counting::parts;
}

} // namespace

TEST_CASE("products are cut where that pays") {
    device::basic_cpu<counting> one(1), told(3, 1000 * 10000), measured(2);
    CHECK(one.worth_cutting() == 0);
    CHECK(parts_of(one, 1000) == 1);
    CHECK(told.worth_cutting() == 1000 * 10000);
    CHECK(parts_of(told, 999) == 1);
    CHECK(parts_of(told, 1000) == 3);
    // No system wakes a thread in 100 ns.
    CHECK(measured.worth_cutting() > 2 * 500 * 2);
    if (measured.worth_cutting() < 1000000000) { // on a machine that is busy it may be long
        CHECK(parts_of(measured, (measured.worth_cutting() - 1) / 10000) == 1);
        CHECK(parts_of(measured, (measured.worth_cutting() + 9999) / 10000) == 2);
    }
}

TEST_CASE("a network keeps its threads when it grows or is copied") {
    using stack = sequence<input<3>, dense<2>>;
    network<stack, device::cpu, float> net(seed{5}, 8, std::make_unique<device::cpu>(2));
    net.reserve(1000);
    CHECK(net.capacity() >= 1000);
    CHECK(net.runner().device().threads() == 2);
    auto copy = net;
    CHECK(copy.runner().device().threads() == 2);
    CHECK(copy.runner().device().worth_cutting() == net.runner().device().worth_cutting());
    CHECK(copy.capacity() == net.capacity());
    net = copy;
    CHECK(net.runner().device().threads() == 2);
}
