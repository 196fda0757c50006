// SPDX-License-Identifier: Apache-2.0
// CutMix: the published boxes and pixels, tags that agree with the pixels, and training with it.
#include <espalier/activation/relu.hpp>
#include <espalier/batch/cutmix.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/schedule/step.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

std::filesystem::path digits() {
    return ESPALIER_EXAMPLE_DATA "/digits.csv.gz";
}

/// A batch as `fit` prepares it. Pixel p of row r is 1000 r + p, so every pixel tells where it came from.
struct prepared {
    index_t n, width, classes;
    std::vector<float> source, inputs, targets, mixing, weight;
    std::vector<std::int32_t> label, partner;
    std::vector<std::int64_t> sample;
    batch::batch_memory<float> memory;

    prepared(index_t rows_, index_t width_, index_t classes_ = 3)
        : n(rows_), width(width_), classes(classes_), source(static_cast<std::size_t>(n * width)),
          inputs(source.size(), -1.0f), targets(static_cast<std::size_t>(n * classes)),
          mixing(static_cast<std::size_t>(n), 1.0f), weight(mixing), label(mixing.size()), sample(mixing.size()) {
        for (index_t i = 0; i < n; ++i) {
            for (index_t p = 0; p < width; ++p)
                source[static_cast<std::size_t>(i * width + p)] = static_cast<float>(1000 * i + p);
            label[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(100 + i);
            sample[static_cast<std::size_t>(i)] = 7 * i;
            for (index_t c = 0; c < classes; ++c)
                targets[static_cast<std::size_t>(i * classes + c)] = static_cast<float>(10 * i + c);
        }
        partner = label;
        memory = {contiguous_view(source.data(), n, width),
                  contiguous_view(inputs.data(), n, width),
                  contiguous_view(targets.data(), n, classes),
                  label.data(),
                  partner.data(),
                  mixing.data(),
                  weight.data(),
                  sample.data()};
    }
    index_t partner_of(index_t i) const { return partner[static_cast<std::size_t>(i)] - 100; }
};

} // namespace

TEST_CASE("cutmix: the published boxes", "[batch]") {
    struct {
        index_t h, w;
        double share;
        index_t cy, cx;
        batch::cutmix_box box;
    } const cases[] = {
        {8, 8, 0.3, 2, 6, {0, 3, 5, 8, 0.609375}},
        {8, 8, 0.75, 4, 4, {2, 2, 6, 6, 0.75}},
        {32, 32, 0.5, 16, 16, {5, 5, 27, 27, 0.52734375}},
        {32, 32, 0.5, 0, 31, {0, 20, 11, 32, 0.87109375}},
        {32, 28, 0.9, 5, 5, {0, 1, 10, 9, 0.910714286}},
        {8, 8, 0.999, 3, 3, {3, 3, 3, 3, 1.0}},
        {8, 8, 0.0, 4, 4, {0, 0, 8, 8, 0.0}},
        {8, 8, 0.0, 0, 0, {0, 0, 4, 4, 0.75}},
        {8, 8, 0.6, 7, 0, {5, 0, 8, 2, 0.90625}},
    };
    for (auto const& c : cases) {
        auto const box = batch::make_cutmix_box(c.h, c.w, c.share, c.cy, c.cx);
        INFO(c.h << " x " << c.w << ", share " << c.share << ", centre " << c.cy << " " << c.cx);
        CHECK(box.y1 == c.box.y1);
        CHECK(box.x1 == c.box.x1);
        CHECK(box.y2 == c.box.y2);
        CHECK(box.x2 == c.box.x2);
        CHECK(box.share == Approx(c.box.share).epsilon(1e-9));
    }
}

TEST_CASE("cutmix: the published pixels", "[batch]") {
    float x0[16], x1[16], y0[16], y1[16];
    for (int i = 0; i < 16; ++i) {
        x0[i] = static_cast<float>(i);
        x1[i] = static_cast<float>(100 + i);
    }
    auto const box = batch::make_cutmix_box(4, 4, 0.75, 1, 2);
    CHECK(box == batch::cutmix_box{0, 1, 2, 3, 0.75});
    batch::paste(x0, x1, y0, shape{1, 4, 4}, box);
    batch::paste(x1, x0, y1, shape{1, 4, 4}, box);
    float const expected0[] = {0, 101, 102, 3, 4, 105, 106, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float const expected1[] = {100, 1, 2, 103, 104, 5, 6, 107, 108, 109, 110, 111, 112, 113, 114, 115};
    for (int i = 0; i < 16; ++i) {
        CHECK(y0[i] == expected0[i]);
        CHECK(y1[i] == expected1[i]);
    }
}

TEST_CASE("cutmix: the published loss and gradient of two labels", "[batch]") {
    double const z[] = {2.0, 0.5, -1.0, 0.3, 1.7, 0.2};
    double const dz[] = {0.017798517, 0.087645196, -0.105443713, -0.041107909, 0.340199206, -0.299091297};
    std::int32_t const label[] = {0, 2}, partner[] = {2, 0};
    float const mixing[] = {0.75f, 0.75f};
    double gradient[6] = {};
    rows tags;
    tags.count = 2;
    tags.label = label;
    tags.partner_label = partner;
    tags.mixing = mixing;
    cpu::loss_buffers<double> buffers;
    buffers.gradient = contiguous_view(gradient, 2, 3);
    double const value = cpu::row_loss<double, 3>(loss::cross_entropy{}, contiguous_view(z, 2, 3), tags, buffers).value;
    CHECK(value == Approx(1.425694025).epsilon(1e-9));
    for (int i = 0; i < 6; ++i)
        CHECK(gradient[i] == Approx(dz[i]).epsilon(1e-7));
}

TEMPLATE_TEST_CASE_SIG("cutmix: pixels, tags and targets tell the same story", "[batch]", ((batch::mixed_per Per), Per),
                       batch::mixed_per::batch, batch::mixed_per::row) {
    constexpr shape image{2, 6, 5};
    batch::cutmix<Per> const policy{.alpha = 1.0, .probability = 1.0};
    bool several = false, moved = false;
    for (std::uint64_t step = 0; step < 40; ++step) {
        prepared b(9, image.size());
        policy.apply(b.memory, 9, image, {}, make_site(4, 5, step));
        std::vector<int> seen(9);
        for (index_t i = 0; i < 9; ++i) {
            index_t const partner = b.partner_of(i);
            ++seen[static_cast<std::size_t>(partner)];
            index_t pasted[2] = {0, 0};
            for (index_t c = 0; c < 2; ++c)
                for (index_t p = 0; p < 30; ++p) {
                    index_t const at = c * 30 + p;
                    float const v = b.inputs[static_cast<std::size_t>(i * 60 + at)];
                    bool const own = v == static_cast<float>(1000 * i + at);
                    bool const other = v == static_cast<float>(1000 * partner + at);
                    REQUIRE((own || other));
                    if (!own) ++pasted[c];
                }
            CHECK(pasted[0] == pasted[1]);
            float const mixing = b.mixing[static_cast<std::size_t>(i)];
            if (partner != i) {
                CHECK(mixing == Approx(1.0 - static_cast<double>(pasted[0]) / 30.0).margin(1e-6));
                moved = moved || pasted[0] > 0;
            }
            for (index_t c = 0; c < 3; ++c)
                CHECK(b.targets[static_cast<std::size_t>(i * 3 + c)] ==
                      Approx(mixing * static_cast<float>(10 * i + c) +
                             (1.0f - mixing) * static_cast<float>(10 * partner + c))
                          .margin(1e-4));
            CHECK(b.label[static_cast<std::size_t>(i)] == 100 + i);
            CHECK(b.sample[static_cast<std::size_t>(i)] == 7 * i);
            CHECK(b.weight[static_cast<std::size_t>(i)] == 1.0f);
            several = several || mixing != b.mixing[0];
        }
        for (int const times : seen)
            CHECK(times == 1);
    }
    CHECK(moved);
    CHECK(several == (Per == batch::mixed_per::row));
}

TEST_CASE("cutmix: how often, how much, and the same for the same site", "[batch]") {
    constexpr shape image{1, 32, 32};
    batch::cutmix<> const policy{.alpha = 1.0, .probability = 0.5};
    int mixed = 0;
    double replaced = 0.0;
    for (std::uint64_t step = 0; step < 2000; ++step) {
        prepared b(2, image.size());
        policy.apply(b.memory, 2, image, {}, make_site(4, 5, step));
        mixed += b.mixing[0] != 1.0f;
        replaced += 1.0 - policy.box_of(0, image, make_site(4, 5, step)).share;
        if (step == 0) {
            prepared again(2, image.size());
            policy.apply(again.memory, 2, image, {}, make_site(4, 5, step));
            CHECK(again.inputs == b.inputs);
            CHECK(again.mixing == b.mixing);
        }
    }
    CHECK(mixed > 900); // of 2000, less the few empty boxes; the deviation is 22
    CHECK(mixed < 1080);
    CHECK(replaced / 2000.0 == Approx(0.30).margin(0.02)); // expected for alpha = 1 on 32 x 32
}

TEST_CASE("cutmix: one row, probability zero and schedules leave the batch alone", "[batch]") {
    constexpr shape image{1, 4, 4};
    auto const untouched = [&](auto const& policy, index_t n, espalier::clock const& now) {
        for (std::uint64_t step = 0; step < 20; ++step) {
            prepared b(n, 16);
            prepared const before(n, 16);
            policy.apply(b.memory, n, image, now, make_site(4, 5, step));
            if (b.inputs != before.source || b.mixing != before.mixing || b.partner != before.partner ||
                b.targets != before.targets)
                return false;
        }
        return true;
    };
    CHECK(untouched(batch::cutmix<>{.alpha = 1.0, .probability = 1.0}, 1, {}));
    CHECK(untouched(batch::cutmix<>{.alpha = 1.0, .probability = 0.0}, 5, {}));
    CHECK_FALSE(untouched(batch::cutmix<>{.alpha = 1.0, .probability = 1.0}, 5, {}));
    batch::cutmix const ends{.alpha = 1.0, .probability = schedule::step{.from = 1.0, .factor = 0.0, .every = 10}};
    espalier::clock late;
    late.step = 10;
    CHECK_FALSE(untouched(ends, 5, {}));
    CHECK(untouched(ends, 5, late));
}

TEST_CASE("cutmix: bad numbers are refused before anything changes", "[batch]") {
    double const nan = std::numeric_limits<double>::quiet_NaN();
    for (batch::cutmix<> const& policy :
         {batch::cutmix<>{.alpha = 0.0}, batch::cutmix<>{.alpha = -1.0}, batch::cutmix<>{.alpha = nan},
          batch::cutmix<>{.alpha = 1.0, .probability = -0.1}, batch::cutmix<>{.alpha = 1.0, .probability = 1.5},
          batch::cutmix<>{.alpha = 1.0, .probability = nan}}) {
        prepared b(4, 16);
        prepared const before(4, 16);
        CHECK_THROWS_AS(policy.validate(), data_error);
        CHECK_THROWS_AS(policy.apply(b.memory, 4, shape{1, 4, 4}, {}, make_site(4, 5)), data_error);
        CHECK(b.inputs == before.inputs);
        CHECK(b.mixing == before.mixing);
    }
    prepared b(4, 16);
    CHECK_THROWS_AS(batch::cutmix<>{}.apply(b.memory, 4, shape{16}, {}, make_site(4, 5)), data_error);
}

TEST_CASE("cutmix: fit learns the digits with it and sees both labels", "[batch]") {
    using stack = sequence<input<1, 8, 8>, dense<48, activation::relu>, dense<10>>;
    auto all = read_csv(digits());
    scale(all, 1.0 / 16);
    auto const [train, test] = split(all, 1347);
    network<stack, device::cpu, float> model{seed{5}};
    auto const before = evaluate(model, loss::cross_entropy{}, test);
    auto const history = fit(model, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 2e-3}, train,
                             {.epochs = 15, .batch = 64, .validation = test, .progress = false},
                             batch::cutmix{.alpha = 1.0, .probability = 0.5});
    auto const after = evaluate(model, loss::cross_entropy{}, test);
    CHECK(before.loss > 2.0);
    CHECK(after.loss < 0.5);
    CHECK(after.accuracy > 0.88);
    // Two labels: the training loss stays above that of the test set, which is not mixed.
    CHECK(history.last("loss") > after.loss);

    // One epoch by hand with only the rows' own labels gives other weights.
    network<stack, device::cpu, float> whole{seed{5}}, plain{seed{5}};
    fit_options const one_epoch{.epochs = 1, .batch = 64, .progress = false};
    fit(whole, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 2e-3}, train, one_epoch,
        batch::cutmix{.alpha = 1.0, .probability = 1.0});
    struct forgets_partners {
        batch::cutmix<> inner{.alpha = 1.0, .probability = 1.0};
        void apply(batch::batch_memory<float>& b, index_t n, shape s, espalier::clock const& now,
                   random_site const& site) const {
            inner.apply(b, n, s, now, site);
            for (index_t i = 0; i < n; ++i)
                b.mixing[i] = 1.0f;
        }
    };
    fit(plain, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 2e-3}, train, one_epoch, forgets_partners{});
    double difference = 0.0;
    for (index_t i = 0; i < whole.values().weights().size(); ++i)
        difference += std::fabs(double(whole.values().weights()[i]) - double(plain.values().weights()[i]));
    CHECK(difference > 1.0);
    CHECK_THROWS_AS(
        fit(plain, loss::cross_entropy{}, optimizer::adamw{}, train, one_epoch, batch::cutmix{.alpha = -1.0}),
        data_error);
}
