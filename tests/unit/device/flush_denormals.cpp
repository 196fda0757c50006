// SPDX-License-Identifier: Apache-2.0
// Denormal numbers are zero inside training and prediction, and the caller's own mode is never changed.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#if ESPALIER_HAS_MXCSR

using namespace espalier;

namespace {

unsigned mode_bits() {
    return _mm_getcsr() & 0x8040u;
}

/// Half of the smallest normal number, computed now.
float half_of_smallest() {
    volatile float const smallest = std::numeric_limits<float>::min();
    return smallest * 0.5f;
}

/// Puts the mode back however a test ends.
struct keep_mode {
    unsigned before = _mm_getcsr();
    ~keep_mode() { _mm_setcsr(before); }
};

using line = sequence<input<3>, dense<5, no_bias, initial::constant<1e-3>>>;

struct zeros {
    std::vector<float> x = std::vector<float>(4 * 3), t = std::vector<float>(4 * 5);
    batch_view<float> view() const {
        batch_view<float> b;
        b.inputs = contiguous_view(x.data(), 4, 3);
        b.tags.count = 4;
        b.targets = contiguous_view(t.data(), 4, 5);
        return b;
    }
};

} // namespace

TEST_CASE("flush_denormals: on inside the scope, as before after it", "[device]") {
    keep_mode const guard;
    for (unsigned const mine : {0x0000u, 0x8000u, 0x0040u, 0x8040u}) {
        _mm_setcsr((guard.before & ~0x8040u) | mine);
        unsigned const whole = _mm_getcsr();
        {
            cpu::flush_denormals const scope;
            CHECK(mode_bits() == 0x8040u);
            CHECK(half_of_smallest() == 0.0f);
            {
                cpu::flush_denormals const inner;
                CHECK(mode_bits() == 0x8040u);
            }
            CHECK(mode_bits() == 0x8040u);
        }
        CHECK(_mm_getcsr() == whole);
        try {
            cpu::flush_denormals const scope;
            throw std::runtime_error("out");
        } catch (std::runtime_error const&) {
            CHECK(_mm_getcsr() == whole);
        }
    }
}

TEST_CASE("flush_denormals: decaying weights do not become denormal", "[device]") {
    keep_mode const guard;
    _mm_setcsr(guard.before & ~0x8040u);
    REQUIRE(half_of_smallest() != 0.0f);
    network<line, device::cpu, float> net{seed{1}, 16};
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.5, .weight_decay = 1.0}};
    zeros const batch;
    for (int step = 0; step < 200; ++step) {
        run.step(batch.view());
        CHECK(mode_bits() == 0u);
        for (index_t i = 0; i < 15; ++i) {
            float const w = net.tensor("1.kernel").data[i];
            CHECK(std::fpclassify(w) != FP_SUBNORMAL);
        }
    }
    // Where the product is rounded on its own, the last normal number loses nothing any more; it need not reach 0.
    for (index_t i = 0; i < 15; ++i)
        CHECK(net.tensor("1.kernel").data[i] < 2.0f * std::numeric_limits<float>::min());
    // The same arithmetic outside does pass through them: the test sees what it claims to see.
    volatile float w = 1e-3f;
    bool denormal = false;
    for (int step = 0; step < 200; ++step) {
        w = w - 0.5f * w;
        denormal = denormal || std::fpclassify(w) == FP_SUBNORMAL;
    }
    CHECK(denormal);
}

TEST_CASE("flush_denormals: the caller's mode survives calls and exceptions", "[device]") {
    keep_mode const guard;
    for (unsigned const mine : {0x0000u, 0x8000u}) {
        _mm_setcsr((guard.before & ~0x8040u) | mine);
        network<line, device::cpu, float> net{seed{1}, 16};
        training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.5}};
        zeros batch;
        std::vector<float> y(20), dx(12);
        run.step(batch.view());
        run.evaluate(batch.view());
        run.gradients_of(batch.view());
        run.input_gradients_of(batch.view(), contiguous_view(dx.data(), 4, 3));
        run.objective(batch.view());
        net.predict(batch.view().inputs, contiguous_view(y.data(), 4, 5));
        CHECK(mode_bits() == mine);
        CHECK_THROWS_AS(net.predict(batch.view().inputs, contiguous_view(y.data(), 3, 5)), shape_error);
        CHECK(mode_bits() == mine);
        auto wrong = batch.view();
        wrong.targets = {};
        CHECK_THROWS_AS(run.step(wrong), error);
        CHECK(mode_bits() == mine);
        batch.x[0] = std::numeric_limits<float>::quiet_NaN();
        CHECK_THROWS_AS(run.step(batch.view()), numerical_error);
        CHECK(mode_bits() == mine);
        CHECK_THROWS_AS(run.evaluate(wrong), error);
        CHECK(mode_bits() == mine);
    }
}

TEST_CASE("flush_denormals: denormal weights count as zero in predict", "[device]") {
    keep_mode const guard;
    _mm_setcsr(guard.before & ~0x8040u);
    network<line, device::cpu, float> net{seed{1}, 16};
    for (index_t i = 0; i < 15; ++i)
        net.tensor("1.kernel").data[i] = 1e-40f;
    std::vector<float> const x{1e10f, 1e10f, 1e10f};
    std::vector<float> y(5, 1.0f);
    net.predict(contiguous_view(x.data(), 1, 3), contiguous_view(y.data(), 1, 5));
    for (float const v : y)
        CHECK(v == 0.0f);
}

#else

TEST_CASE("flush_denormals: does nothing without MXCSR", "[device]") {
    { espalier::cpu::flush_denormals const scope; }
    volatile float const smallest = std::numeric_limits<float>::min();
    CHECK(smallest * 0.5f > 0.0f);
}

#endif
