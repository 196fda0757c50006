// SPDX-License-Identifier: Apache-2.0
// Lesson 3: a stack inside a program that owns its memory, its threads and its loop. No files, no data set, no `fit`:
// one thread produces batches into the program's own records, the main thread trains on them in place, then two threads
// answer queries. Shows that a step takes no memory from the heap, that the number of threads does not change the
// answers, and that a batch that does not fit is refused before anything changes.
//
//     example_03_embed [--quick]
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <semaphore>
#include <thread>
#include <vector>

// Counts what this thread takes from the heap while `counting` is set. Not inlined: GCC 12 would see `free` of what a
// `new` expression gave and warn.
static thread_local bool counting = false;
static thread_local long taken = 0;
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (counting) ++taken;
    if (void* const p = std::malloc(size == 0 ? 1 : size)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}

namespace {

namespace esp = espalier;

using net = esp::sequence<esp::input<2>, esp::dense<32, esp::activation::tanh>, esp::dense<32, esp::activation::tanh>,
                          esp::dense<3>>;
using model_type = esp::network<net, esp::device::cpu, float>;

// The program's own record. The two features lie in the middle of it; nobody copies them out.
struct measurement {
    std::uint32_t sensor;
    float position[2];
    float temperature;
};
constexpr esp::index_t stride = sizeof(measurement) / sizeof(float);
static_assert(sizeof(measurement) % sizeof(float) == 0);

constexpr esp::index_t batch = 64;

struct slot { // what the producer fills and the trainer reads
    std::array<measurement, batch> records;
    std::array<std::int32_t, batch> labels;
};

// Three noisy rings: the class is the ring.
void produce(std::mt19937& engine, measurement* records, std::int32_t* labels, esp::index_t count) {
    std::uniform_real_distribution<float> angle(0.0f, 6.2831853f);
    std::normal_distribution<float> noise(0.0f, 0.12f);
    for (esp::index_t i = 0; i < count; ++i) {
        auto const ring = static_cast<std::int32_t>(engine() % 3);
        float const a = angle(engine), radius = 0.5f + 0.7f * static_cast<float>(ring) + noise(engine);
        records[i] = {static_cast<std::uint32_t>(i), {radius * std::cos(a), radius * std::sin(a)}, 20.0f};
        labels[i] = ring;
    }
}

esp::matrix_view<float const> features_of(measurement const* records, esp::index_t count) {
    return {records[0].position, count, 2, stride};
}

int run(bool quick) {
    long const steps = quick ? 600 : 4000;

    // 1. Everything that training needs is allocated here, for batches of up to 64 rows.
    model_type model{esp::seed{3}, batch};
    esp::training trainer{model, esp::loss::cross_entropy{}, esp::optimizer::adam{.learning_rate = 3e-3}};

    // 2. The program's threads and memory: a producer that is at most two batches ahead.
    std::array<slot, 2> slots;
    std::counting_semaphore<2> empty(2), full(0);
    std::thread producer([&] {
        std::mt19937 engine(11);
        for (long i = 0; i < steps; ++i) {
            empty.acquire();
            slot& s = slots[static_cast<std::size_t>(i % 2)];
            produce(engine, s.records.data(), s.labels.data(), batch);
            full.release();
        }
    });

    // 3. The program's loop. A batch is views and tags; the step happens in place and on this thread.
    double first = 0.0, last = 0.0;
    auto const start = std::chrono::steady_clock::now();
    for (long i = 0; i < steps; ++i) {
        full.acquire();
        slot const& s = slots[static_cast<std::size_t>(i % 2)];
        esp::rows tags;
        tags.count = batch;
        tags.label = s.labels.data();
        counting = i > 0;
        esp::step_result const result = trainer.step({features_of(s.records.data(), batch), tags, {}});
        counting = false;
        empty.release();
        if (i == 0) first = result.loss;
        last = i == 0 ? result.loss : last + 0.02 * (result.loss - last);
    }
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    producer.join();
    std::printf("%ld steps of %lld rows: loss %.3f -> %.3f, %.0f us a step with its producer\n", steps,
                static_cast<long long>(batch), first, last, 1e6 * seconds / static_cast<double>(steps));
    std::printf("calls of operator new during steps: %ld\n", taken);

    // 4. Queries from several threads. A copy of a network has its own parameters and its own memory to run in.
    constexpr esp::index_t queries = 3000;
    std::vector<measurement> records(queries);
    std::vector<std::int32_t> truth(queries);
    std::mt19937 engine(12);
    produce(engine, records.data(), truth.data(), queries);
    std::vector<float> one(queries * 3), two(queries * 3);
    model.predict(features_of(records.data(), queries), esp::contiguous_view(one.data(), queries, 3));
    {
        constexpr esp::index_t half = queries / 2;
        auto const answer = [&](model_type mine, esp::index_t from) {
            mine.predict(features_of(records.data() + from, half),
                         esp::contiguous_view(two.data() + from * 3, half, 3));
        };
        std::thread a(answer, model, 0), b(answer, model, half);
        a.join();
        b.join();
    }
    esp::index_t right = 0;
    for (esp::index_t i = 0; i < queries; ++i) {
        float const* const z = one.data() + i * 3;
        std::int32_t const guess = z[0] > z[1] ? (z[0] > z[2] ? 0 : 2) : (z[1] > z[2] ? 1 : 2);
        right += guess == truth[static_cast<std::size_t>(i)];
    }
    double const accuracy = static_cast<double>(right) / static_cast<double>(queries);
    bool const same = one == two;
    std::printf("%lld queries, accuracy %.3f; one thread or two: the outputs are %s\n", static_cast<long long>(queries),
                accuracy, same ? "bitwise equal" : "DIFFERENT");

    // 5. Mistakes are refused before anything changes.
    std::vector<float> const before(model.values().weights().data(),
                                    model.values().weights().data() + model.values().weights().size());
    bool refused = false;
    esp::rows tags;
    tags.count = batch + 1;
    tags.label = truth.data();
    try {
        trainer.step({features_of(records.data(), batch + 1), tags, {}});
    } catch (esp::shape_error const& problem) {
        refused = true;
        std::printf("one row too many: %s\n", problem.what());
    }
    bool const unchanged =
        std::memcmp(before.data(), model.values().weights().data(), before.size() * sizeof(float)) == 0;
    std::printf("the weights are %s\n", unchanged ? "unchanged" : "CHANGED");

    return taken == 0 && same && refused && unchanged && accuracy > 0.9 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    return run(argc > 1 && std::strcmp(argv[1], "--quick") == 0);
}
