// SPDX-License-Identifier: Apache-2.0
// Beta numbers against their distributions; mixup against its definition.
#include <espalier/batch/cutmix.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/core/error.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

using namespace espalier;

TEST_CASE("symmetric_beta: moments and distribution functions", "[batch]") {
    constexpr int n = 20000;
    for (double const alpha : {0.05, 0.2, 0.5, 1.0, 2.0, 7.5, 200.0}) {
        std::vector<double> draws(n);
        double sum = 0.0, squares = 0.0;
        for (int i = 0; i < n; ++i) {
            double const x = batch::symmetric_beta(make_site(3, 1), static_cast<std::uint32_t>(i), 2, alpha);
            REQUIRE((x >= 0.0 && x <= 1.0));
            draws[static_cast<std::size_t>(i)] = x;
            sum += x;
            squares += (x - 0.5) * (x - 0.5);
        }
        double const variance = 0.25 / (2.0 * alpha + 1.0);
        INFO("alpha " << alpha);
        CHECK(std::fabs(sum / n - 0.5) < 4.0 * std::sqrt(variance / n));
        CHECK(squares / n == Approx(variance).epsilon(0.04));
        if (alpha != 0.5 && alpha != 1.0 && alpha != 2.0) continue;
        // Kolmogorov and Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand.
        std::sort(draws.begin(), draws.end());
        double most = 0.0;
        for (int i = 0; i < n; ++i) {
            double const x = draws[static_cast<std::size_t>(i)];
            double const f = alpha == 1.0   ? x
                             : alpha == 2.0 ? x * x * (3.0 - 2.0 * x)
                                            : std::asin(std::sqrt(x)) * 0.63661977236758134;
            most = std::max({most, std::fabs(f - double(i) / n), std::fabs(f - double(i + 1) / n)});
        }
        CHECK(most < 1.95 / std::sqrt(double(n)));
    }
    CHECK(std::isfinite(batch::symmetric_beta(make_site(3, 1), 0, 2, 1e-6)));
    CHECK(batch::symmetric_beta(make_site(3, 1), 0, 2, 1e6) == Approx(0.5).margin(0.01));
}

TEST_CASE("symmetric_beta: extreme parameters give what they tend to", "[batch]") {
    constexpr int n = 4000;
    for (double const alpha : {5e-324, 1e-320, 1e-308, 1e-307, 1e-300, 1e-10, 1e10, 1e12, 1.2e12, 1e16, 1e32, 1e154,
                               1e300, 1e308, 1.7976931348623157e308}) {
        INFO("alpha " << alpha);
        double sum = 0.0, squares = 0.0;
        int wrong = 0, ends = 0;
        for (std::uint32_t i = 0; i < n; ++i) {
            double const x = batch::symmetric_beta(make_site(3, 1), i, 2, alpha);
            wrong += !(x >= 0.0 && x <= 1.0);
            ends += x == 0.0 || x == 1.0;
            sum += x;
            squares += (x - 0.5) * (x - 0.5);
        }
        CHECK(wrong == 0);
        double const deviation = 0.5 / std::sqrt(2.0 * (alpha < 1e300 ? alpha : 1e300) + 1.0);
        CHECK(std::fabs(sum / n - 0.5) <= 4.0 * deviation / std::sqrt(double(n)) + 1e-15);
        if (alpha < 1.0) CHECK(ends == n);
        if (alpha > 1e32) CHECK(squares == 0.0);
        if (alpha > 1.0 && alpha < 1e17) CHECK(std::sqrt(squares / n) == Approx(deviation).epsilon(0.05));
        for (float const share : {batch::mixup<>{.alpha = alpha}.share_of(0, make_site(8, 3)),
                                  batch::mixup<batch::mixed_per::row>{.alpha = alpha}.share_of(7, make_site(8, 3))})
            CHECK((share >= 0.0f && share <= 1.0f));
        double const box = batch::cutmix<>{.alpha = alpha}.box_of(0, shape{1, 8, 8}, make_site(8, 4)).share;
        CHECK((box >= 0.0 && box <= 1.0));
    }
}

TEMPLATE_TEST_CASE_SIG("mixup: inputs, labels and targets are mixed by the same share", "[batch]",
                       ((batch::mixed_per Per), Per), batch::mixed_per::batch, batch::mixed_per::row) {
    constexpr index_t n = 11, width = 6;
    batch::mixup<Per> const policy{.alpha = 0.4};
    bool several = false, changed = false;
    for (std::uint64_t step = 0; step < 20; ++step) {
        std::vector<double> source(n * width), inputs(n * width, -1.0), targets(n * 2);
        std::vector<float> mixing(n, 1.0f);
        std::vector<double> weight(n, 1.0);
        std::vector<std::int32_t> label(n);
        std::vector<std::int64_t> sample(n);
        fill_normal(make_site(8, step), 0.0, 1.0, array_view<double>{source.data(), n * width});
        for (index_t i = 0; i < n; ++i) {
            label[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i);
            targets[static_cast<std::size_t>(2 * i)] = static_cast<double>(i);
            targets[static_cast<std::size_t>(2 * i + 1)] = static_cast<double>(-3 * i);
        }
        auto partner = label;
        auto const before = source;
        batch::batch_memory<double> b{contiguous_view(source.data(), n, width),
                                      contiguous_view(inputs.data(), n, width),
                                      contiguous_view(targets.data(), n, 2),
                                      label.data(),
                                      partner.data(),
                                      mixing.data(),
                                      weight.data(),
                                      sample.data()};
        policy.apply(b, n, shape{width}, {}, make_site(1, 2, step));
        CHECK(source == before);
        for (index_t i = 0; i < n; ++i) {
            auto const r = static_cast<std::size_t>(i);
            double const l = mixing[r], p = partner[r];
            REQUIRE((l >= 0.0 && l <= 1.0));
            CHECK(targets[2 * r] == Approx(l * double(i) + (1.0 - l) * p).margin(1e-5));
            CHECK(targets[2 * r + 1] == Approx(-3.0 * (l * double(i) + (1.0 - l) * p)).margin(1e-5));
            for (index_t c = 0; c < width; ++c)
                CHECK(inputs[static_cast<std::size_t>(i * width + c)] ==
                      Approx(l * source[static_cast<std::size_t>(i * width + c)] +
                             (1.0 - l) * source[static_cast<std::size_t>(partner[r] * width + c)])
                          .margin(1e-12));
            several = several || mixing[r] != mixing[0];
            changed = changed || (partner[r] != label[r] && mixing[r] != 1.0f);
        }
        std::sort(partner.begin(), partner.end());
        CHECK(partner == label);
    }
    CHECK(changed);
    CHECK(several == (Per == batch::mixed_per::row));
}

TEST_CASE("mixup: data without labels or targets, one row, and bad numbers", "[batch]") {
    std::vector<float> source{1, 2, 3, 4}, inputs(4), mixing(2, 1.0f);
    batch::batch_memory<float> b;
    b.source = contiguous_view(source.data(), 2, 2);
    b.inputs = contiguous_view(inputs.data(), 2, 2);
    b.mixing = mixing.data();
    batch::mixup<> const policy{.alpha = 1.0};
    policy.apply(b, 1, shape{2}, {}, make_site(1, 2));
    CHECK(inputs == std::vector<float>{1, 2, 0, 0});
    CHECK(mixing == std::vector<float>{1, 1});
    policy.apply(b, 2, shape{2}, {}, make_site(1, 2));
    CHECK(mixing[0] == policy.share_of(0, make_site(1, 2)));
    CHECK_THROWS_AS((batch::mixup<>{.alpha = 0.0}.apply(b, 2, shape{2}, {}, make_site(1, 2))), data_error);
    CHECK_THROWS_AS((batch::mixup<>{.alpha = 1.0, .probability = 2.0}.validate()), data_error);
}
