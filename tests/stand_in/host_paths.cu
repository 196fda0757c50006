// SPDX-License-Identifier: Apache-2.0
// The host's side of device::cuda on the stand-in for CUDA's runtime: what a step may not do, that every call which
// fails is heard of and nothing leaks, whose numbers a step sees, and that the stand-in finds what it should find.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "gpu/verify.hpp"
#include "stand_in/cuda.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/fit.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace espalier;
using namespace espalier::literals;
using namespace gpu_tests;

constexpr index_t width = 8, batch_rows = 33;
constexpr int classes = 5;

using rate = dropout::bernoulli<schedule::linear{.from = 0.1, .to = 0.5, .steps = 8}>;
template <int Experts>
using stack = sequence<input<width>, dense<16, activation::relu, rate, penalty::l2<1e-3>, prune::n_m_magnitude<2, 4>>,
                       moe<gate::top_k<Experts, 2>, dense<8>, dispatch::automatic<>>, dense<classes>>;
template <int Experts = 4> using model_of = network<stack<Experts>, device::cuda, float>;
using adam = decltype(optimizer::adamw{.learning_rate = 0.01});
using trainer = training<model_of<>, loss::cross_entropy, adam>;

/// A batch in the device's memory.
struct device_rows {
    on_device<float> x{numbers(batch_rows * width, 1)};
    on_device<std::int32_t> label{[] {
        std::vector<std::int32_t> v;
        for (index_t i = 0; i < batch_rows; ++i)
            v.push_back(static_cast<std::int32_t>(i % classes));
        return v;
    }()};

    batch_view<float> view() {
        batch_view<float> b;
        b.inputs = {x.data(), batch_rows, width, width};
        b.tags.count = batch_rows;
        b.tags.label = label.data();
        return b;
    }
};

template <class Network> std::vector<float> outputs_of(Network& net, device_rows& data) {
    on_device<float> y(std::vector<float>(static_cast<std::size_t>(batch_rows * classes)));
    net.predict(data.view().inputs, matrix_view<float>{y.data(), batch_rows, classes, classes});
    net.runner().device().wait();
    return y.back();
}

void expect_no_faults(std::string const& where) {
    for (std::string const& fault : stand_in::take_faults())
        expect(false, where + ": " + fault);
}
/// Whether a fault with these words was reported; the others are forgotten with it.
void expect_fault(std::string const& words) {
    bool found = false;
    for (std::string const& fault : stand_in::take_faults())
        found = found || fault.find(words) != std::string::npos;
    expect(found, "the stand-in reports: " + words);
}

// ---- steps

template <int Experts> long launches_of_step() {
    device_rows data;
    model_of<Experts> net{seed{3}, batch_rows};
    training run(net, loss::cross_entropy{}, adam{.learning_rate = 0.01});
    auto const batch = data.view();
    run.step(batch); // plans of the products
    stand_in::forget();
    run.enqueue(batch);
    long const one = stand_in::counted().launches;
    run.enqueue(batch);
    auto const& seen = stand_in::counted();
    expect(seen.launches == 2 * one, "every step has as many launches");
    expect(seen.allocations == 0 && seen.frees == 0, "a step allocates nothing");
    expect(seen.waits == 0, "a step does not wait");
    expect(seen.host_copies == 0, "a step copies nothing from the host or to it");
    run.result();
    expect(stand_in::counted().waits > 0, "its result waits");

    on_device<float> y(std::vector<float>(static_cast<std::size_t>(batch_rows * classes)));
    auto const predict = [&] { net.predict(batch.inputs, matrix_view<float>{y.data(), batch_rows, classes, classes}); };
    predict();
    stand_in::forget();
    predict();
    expect(seen.launches > 0 && seen.allocations == 0 && seen.waits == 0 && seen.host_copies == 0,
           "a prediction allocates nothing and does not wait");
    net.runner().device().wait();
    return one;
}

void check_steps() {
    long const four = launches_of_step<4>(), eight = launches_of_step<8>();
    expect(four == eight, "a mixture of 8 experts has as many launches as one of 4: " + std::to_string(eight) +
                              " and " + std::to_string(four));
    expect_no_faults("steps");
}

// ---- whose numbers a step sees

void check_numbers_of_steps() {
    constexpr std::uint32_t steps = 4;
    device_rows data;
    auto const weights_after = [&](auto const& between) {
        model_of<> net{seed{3}, batch_rows};
        trainer run(net, {}, {.learning_rate = 0.01});
        for (std::uint32_t i = 0; i < steps; ++i) {
            run.step(data.view());
            between(net);
        }
        return on_host(net.values().weights());
    };
    auto const alone = weights_after([](model_of<>&) {});
    // Another training of the network comes and goes.
    auto const disturbed = weights_after([&](model_of<>& net) {
        trainer other(net, {}, {.learning_rate = 3.0});
        other.evaluate(data.view());
    });
    expect(same_bits(alone, disturbed), "a training sees its own numbers after another of the same network has ended");

    // What a training leaves behind on the host's stack is nobody's numbers.
    model_of<> net{seed{3}, batch_rows};
    std::optional<trainer> run(std::in_place, net, loss::cross_entropy{}, adam{.learning_rate = 0.01});
    run->step(data.view());
    auto const& device = net.runner().device();
    expect(device.step_word() != nullptr, "a training gives the device its step");
    run.reset();
    expect(device.step_word() == nullptr, "and takes it with it");
    bool refused = false;
    try {
        trainer never(net, {}, {.learning_rate = 0.01}, 0, {{.path = "no such tensor"}});
    } catch (data_error const&) {
        refused = true;
    }
    expect(refused && device.step_word() == nullptr, "also where it could not be made");
    expect_no_faults("numbers of steps");
}

/// Each tensor finds the numbers of its own optimizer in the step block.
void check_optimizers_by_group() {
    using two = sequence<input<width>, dense<16, activation::relu>, dense<classes, in_group<"head"_name>>>;
    device_rows data;
    network<two, device::cuda, float> both{seed{3}, batch_rows}, alone = both;
    training of_both(both, loss::cross_entropy{},
                     optimizer::by_group{optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.25}),
                                         optimizer::rest(adam{.learning_rate = 0.01})});
    training of_one(alone, loss::cross_entropy{}, adam{.learning_rate = 0.01});
    auto const before = on_host(both.values().weights());
    of_both.enqueue(data.view());
    of_both.result();
    of_one.step(data.view());
    auto const after = on_host(both.values().weights()), expected = on_host(alone.values().weights());
    auto const gradients = on_host(of_both.gradients());
    for (tensor_info const& t : both.tensors()) {
        bool same = true;
        for (index_t k = t.offset; k < t.offset + t.size(); ++k) {
            auto const i = static_cast<std::size_t>(k);
            same = same && after[i] == (t.group == "head" ? std::fma(-0.25f, gradients[i], before[i]) : expected[i]);
        }
        expect(same, t.name + " has the step of its own optimizer");
    }
    expect_no_faults("optimizers by group");
}

/// A step that the device refuses has changed nothing, on the host either, whether a selection of masks was due or not.
void check_refused_steps() {
    device_rows data;
    on_device<std::int32_t> impossible(std::vector<std::int32_t>(static_cast<std::size_t>(batch_rows), classes));
    auto const trained = [&](index_t refused_before) {
        model_of<> net{seed{3}, batch_rows};
        trainer run(net, {}, {.learning_rate = 0.01});
        auto const keep = [&] {
            std::vector<float> now = on_host(net.values().weights());
            for (std::uint32_t word : on_host(net.values().masks()))
                now.push_back(static_cast<float>(word % 65536));
            auto const outputs = outputs_of(net, data);
            now.insert(now.end(), outputs.begin(), outputs.end());
            return now;
        };
        for (index_t i = 0; i < 3; ++i) {
            if (i == refused_before) {
                std::string const where = "a label that is none, before step " + std::to_string(i);
                auto const before = keep();
                auto batch = data.view();
                batch.tags.label = impossible.data();
                bool thrown = false;
                try {
                    run.step(batch);
                } catch (data_error const&) {
                    thrown = true;
                }
                expect(thrown, where + " is refused");
                expect(run.time().step == static_cast<std::uint64_t>(i), where + ": the time is as it was");
                expect(same_bits(keep(), before), where + ": weights, masks and outputs are as they were");
            }
            run.step(data.view());
        }
        return keep();
    };
    auto const never = trained(-1);
    for (index_t i : {0, 2})
        expect(same_bits(trained(i), never), "a training goes on from a refused step as if it had not been");
    expect_no_faults("refused steps");
}

/// A caller's stream that does not wait for the default one.
void check_other_streams() {
    device_rows data;
    auto const train = [&](std::unique_ptr<device::cuda> device) {
        model_of<> net{seed{3}, batch_rows, std::move(device)};
        trainer run(net, {}, {.learning_rate = 0.01});
        run.step(data.view());
        run.step(data.view());
        auto weights = on_host(net.values().weights());
        auto const outputs = outputs_of(net, data);
        weights.insert(weights.end(), outputs.begin(), outputs.end());
        return weights;
    };
    auto const usual = train(std::make_unique<device::cuda>());
    cudaStream_t stream = nullptr;
    espalier::cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    expect(same_bits(train(std::make_unique<device::cuda>(stream)), usual),
           "a stream beside the default one changes nothing");
    espalier::cuda::check(cudaStreamDestroy(stream), "cudaStreamDestroy");
    expect_no_faults("another stream");
}

/// A selection that no device makes is made on copies on the host, and the update there freezes what it leaves out.
void check_masks_of_host() {
    using small_ones = prune::magnitude<1.0, prune::below<0.3>, prune::frozen>;
    device_rows data;
    network<sequence<input<width>, dense<classes, small_ones>>, device::cuda, float> net{seed{3}, batch_rows};
    training run(net, loss::cross_entropy{}, adam{.learning_rate = 0.01});
    auto const before = on_host(net.values().weights());
    std::vector<std::uint32_t> expected((width * classes + 31) / 32, ~0u);
    prune::select_below<prune::by_magnitude>(matrix_view<float const>{before.data(), width, classes, classes}, 0.3f,
                                             expected.data());
    for (int step = 0; step < 2; ++step)
        run.step(data.view());
    auto const after = on_host(net.values().weights());
    auto const masks = on_host(net.values().masks());
    int kept = 0;
    bool same = true;
    for (std::size_t i = 0; i < static_cast<std::size_t>(width * classes); ++i) {
        bool const keep = (expected[i / 32] >> i % 32 & 1u) != 0;
        kept += keep;
        same = same && keep == ((masks[i / 32] >> i % 32 & 1u) != 0) && keep == (after[i] != before[i]);
    }
    expect(kept > 0 && kept < width * classes, "some weights are smaller than the threshold");
    expect(same, "those are trained, and no others");
    expect_no_faults("masks of the host");
}

// ---- calls that fail

/// Calls `what` with each of its calls of CUDA failing in turn, as long as there is one to fail. Each time it has to
/// throw device_error, and `after` is called then.
template <class What, class After> void fail_in_turn(std::string const& name, What const& what, After const& after) {
    for (long i = 0;; ++i) {
        long const before = stand_in::objects();
        stand_in::fail(stand_in::calls() + i);
        bool heard = false;
        std::string other;
        try {
            what();
        } catch (device_error const&) {
            heard = true;
        } catch (std::exception const& e) {
            other = e.what();
        }
        std::string const call = stand_in::failed_call();
        stand_in::fail(-1);
        long const left = stand_in::objects() - before;
        std::string const where = name + ", call " + std::to_string(i) + " (" + call + ") fails";
        if (call.empty()) {
            expect(i > 0 && !heard && other.empty(), name + ": without a failure all is well " + other);
            return;
        }
        expect(heard, where + ": device_error is thrown" + (other.empty() ? "" : ", not: " + other));
        after(where);
        expect(left == 0, where + ": nothing is left");
        expect_no_faults(where);
    }
}

void check_failures() {
    constexpr char const* file = "host_paths.safetensors";
    device_rows data;
    fail_in_turn(
        "a training from its beginning to its end",
        [&] {
            model_of<> net{seed{3}, batch_rows};
            trainer run(net, {}, {.learning_rate = 0.01});
            run.step(data.view());
            run.evaluate(data.view());
            model_of<> copy = net;
            outputs_of(copy, data);
            save(net, file);
            load(copy, file);
        },
        [](std::string const&) {});
    std::remove(file);

    // What can be said to have failed has changed nothing, and the device is as it was.
    model_of<> net{seed{3}, batch_rows};
    auto const outputs = outputs_of(net, data);
    auto const unchanged = [&](std::string const& where) {
        expect(same_bits(outputs_of(net, data), outputs), where + ": the network is as it was");
    };
    fail_in_turn(
        "more room", [&] { net.reserve(4 * batch_rows); }, unchanged);
    expect(net.capacity() >= 4 * batch_rows, "there is more room in the end");
    model_of<> other{seed{4}, batch_rows};
    fail_in_turn(
        "a copy", [&] { model_of<> made = other; }, unchanged);
    bool assigned = false;
    fail_in_turn(
        "an assignment",
        [&] {
            net = other;
            assigned = true;
        },
        unchanged);
    expect(assigned && !same_bits(outputs_of(net, data), outputs), "it is made in the end");
    trainer run(net, {}, {.learning_rate = 0.01});
    run.gradients_of(data.view()); // plans of the products
    auto const before = on_host(net.values().weights());
    fail_in_turn(
        "the gradients of a batch", [&] { run.gradients_of(data.view()); },
        [&](std::string const& where) {
            expect(same_bits(on_host(net.values().weights()), before), where + ": the weights are as they were");
        });
    // A second block of numbers that finds no memory leaves the first in its place.
    double const block[40] = {};
    auto const* const word = net.runner().device().step_word();
    fail_in_turn(
        "another step block",
        [&] {
            net.runner().device().declare_step(block, sizeof block);
            net.runner().device().forget_step(block);
        },
        [&](std::string const& where) {
            expect(net.runner().device().step_word() == word, where + ": the first one stays");
        });
    outputs_of(net, data);
    expect_no_faults("after failures");
}

// ---- what the stand-in finds

__global__ void unknown_kernel(float*) {}

/// The exit status of a process that goes on from here with `what` and ends; its words are not seen.
template <class What> int status_of(What const& what) {
    std::fflush(nullptr);
    pid_t const child = fork();
    if (child == 0) {
        std::fclose(stderr);
        what();
        std::exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void check_stand_in() {
    using espalier::cuda::check;
    device::cuda device;
    auto const stream = device.stream();
    auto const clear = [&](float* p) { device.run(kernels::passes::clear<float>{matrix_view<float>{p, 1, 4, 4}}); };
    espalier::cuda::buffer<float> memory(4);
    auto const capture = [&](auto const& work) {
        cudaGraph_t graph = nullptr;
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
        try {
            work();
        } catch (device_error const&) {
        }
        bool const made = cudaStreamEndCapture(stream, &graph) == cudaSuccess;
        static_cast<void>(cudaGetLastError());
        if (made) check(cudaGraphDestroy(graph), "cudaGraphDestroy");
        return made;
    };

    float of_host[4];
    clear(of_host);
    expect_fault("a pointer to memory of the host");
    float* freed = nullptr;
    {
        espalier::cuda::buffer<float> gone(4);
        freed = gone.data();
    }
    capture([&] { clear(freed); });
    expect_fault("a pointer to memory of the device that is not allocated");
    check(cudaMemsetAsync(memory.data(), 0, memory.bytes() + 1, stream), "cudaMemsetAsync");
    expect_fault("17 bytes that are not in one piece of the device's memory");
    unknown_kernel<<<1, 1, 0, stream>>>(memory.data());
    expect(cudaGetLastError() != cudaSuccess, "a kernel past the function that launches passes is an error");
    expect_fault("launched without a kernel");
    bool refused = false;
    try {
        live_groups many;
        many.groups = 65536;
        device.on_live_rows(many, [&] { clear(memory.data()); });
    } catch (device_error const&) {
        refused = true;
    }
    expect(refused, "a grid that is too large is an error");
    expect_fault("its grid is none that a GPU takes");

    expect(capture([&] { clear(memory.data()); }), "work on its own stream can be captured");
    expect_no_faults("a captured pass");
    expect(!capture([&] { device.wait(); }), "waiting cannot");
    expect_fault("cudaStreamSynchronize comes while a stream is captured");
    capture([&] { espalier::cuda::buffer<float>(1); });
    expect_fault("cudaMalloc comes while a stream is captured");
    capture([&] { memory.clear(); });
    expect_fault("on the default stream while another is captured");
    capture([&] {
        check(cudaMemcpyAsync(memory.data(), of_host, memory.bytes(), cudaMemcpyHostToDevice, stream), "copy");
    });
    expect_fault("memory of the host goes into a graph");

    // Work waits until somebody waits for it.
    float const ones[4] = {1, 1, 1, 1};
    memory.copy_from_host(ones, 4);
    float seen[4] = {-1, -1, -1, -1};
    clear(memory.data());
    check(cudaMemcpyAsync(seen, memory.data(), memory.bytes(), cudaMemcpyDeviceToHost, stream), "copy");
    expect(seen[0] == -1, "nothing is there before the host has waited");
    device.wait();
    expect(seen[0] == 0 && seen[3] == 0, "and everything afterwards");

    expect(status_of([&] { std::printf("%g", static_cast<double>(memory.data()[0])); }) == 1,
           "a host that reads the device's memory is stopped");
    expect(status_of([&] { static_cast<void>(new espalier::cuda::buffer<float>(1)); }) == 1,
           "memory that is left at the end is a failure");
    expect(status_of([&] { clear(of_host); }) == 1, "and so is a fault that nobody has asked for");
    expect_no_faults("the rest");
}

void tests() {
    check_stand_in();
    check_steps();
    check_numbers_of_steps();
    check_optimizers_by_group();
    check_refused_steps();
    check_other_streams();
    check_masks_of_host();
    check_failures();
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
