// SPDX-License-Identifier: Apache-2.0
// Row activations over matrices, the transposition under them, and the count of hits.
#include <espalier/activation/softmax.hpp>
#include <espalier/device/cpu/row_map.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace cpu = espalier::cpu;
using espalier::contiguous_view;
using espalier::activation::softmax;

namespace {

std::vector<double> numbers(int n, unsigned seed) {
    std::mt19937 bits(seed);
    std::normal_distribution<double> normal(0.0, 2.0);
    std::vector<double> v(n);
    for (double& x : v)
        x = normal(bits);
    return v;
}

/// Softmax against a plain loop, out of place and in place, and backward against the plain formula.
template <class T, int N> void check_softmax(int rows, int gap) {
    int const stride = N + gap;
    std::vector<double> const source = numbers(rows * stride, N), upstream = numbers(rows * stride, N + 1);
    std::vector<T> x(source.begin(), source.end()), y(x.size(), T(-5)), dy(upstream.begin(), upstream.end());
    std::vector<T> const dy_before = dy;
    double const tolerance = sizeof(T) == 4 ? 2e-6 : 2e-14;

    cpu::row_forward<T, N, softmax>({x.data(), rows, N, stride}, {y.data(), rows, N, stride});
    cpu::row_backward<T, N, softmax>({y.data(), rows, N, stride}, {dy.data(), rows, N, stride});
    double worst = 0.0, worst_gradient = 0.0;
    bool gaps_kept = true;
    for (int r = 0; r < rows; ++r) {
        std::vector<double> p(N);
        double sum = 0.0, mean = 0.0;
        for (int c = 0; c < N; ++c)
            sum += p[c] = std::exp(static_cast<double>(x[r * stride + c]));
        for (int c = 0; c < N; ++c) {
            p[c] /= sum;
            mean += p[c] * static_cast<double>(dy_before[r * stride + c]);
        }
        for (int c = 0; c < N; ++c) {
            int const i = r * stride + c;
            worst = std::max(worst, std::abs(static_cast<double>(y[i]) - p[c]) / p[c]);
            double const slope = p[c] * (static_cast<double>(dy_before[i]) - mean);
            worst_gradient = std::max(worst_gradient, std::abs(static_cast<double>(dy[i]) - slope));
        }
        for (int c = N; c < stride; ++c)
            gaps_kept &= y[r * stride + c] == T(-5) && dy[r * stride + c] == dy_before[r * stride + c];
    }
    INFO("N = " << N << ", rows = " << rows);
    CHECK(worst < tolerance);
    CHECK(worst_gradient < 4 * tolerance);
    CHECK(gaps_kept);

    std::vector<T> in_place = x, cut = x;
    cpu::row_forward<T, N, softmax>({in_place.data(), rows, N, stride}, {in_place.data(), rows, N, stride});
    for (int r = 0; r < rows; ++r)
        cpu::row_forward<T, N, softmax>({cut.data() + r * stride, 1, N, stride},
                                        {cut.data() + r * stride, 1, N, stride});
    bool same = true;
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < N; ++c)
            same &= in_place[r * stride + c] == y[r * stride + c] && cut[r * stride + c] == y[r * stride + c];
    CHECK(same);
}

} // namespace

TEMPLATE_TEST_CASE("row map: softmax of matrices", "[activation][row]", float, double) {
    for (int const rows : {0, 1, 15, 16, 17, 37})
        for (int const gap : {0, 3}) {
            check_softmax<TestType, 1>(rows, gap);
            check_softmax<TestType, 3>(rows, gap);
            check_softmax<TestType, 8>(rows, gap);
            check_softmax<TestType, 10>(rows, gap);
            check_softmax<TestType, 16>(rows, gap);
            check_softmax<TestType, 33>(rows, gap);
            check_softmax<TestType, 64>(rows, gap);
            check_softmax<TestType, 65>(rows, gap);
            check_softmax<TestType, 96>(rows, gap);
        }
}

TEST_CASE("row map: extents that do not fit", "[activation][row]") {
    std::vector<float> x(40);
    auto const z = contiguous_view<float const>(x.data(), 4, 10);
    CHECK_THROWS_AS((cpu::row_forward<float, 9, softmax>(z, contiguous_view(x.data(), 4, 10))), espalier::shape_error);
    CHECK_THROWS_AS((cpu::row_forward<float, 10, softmax>(z, contiguous_view(x.data(), 3, 10))), espalier::shape_error);
    CHECK_THROWS_AS((cpu::row_backward<float, 10, softmax>(z, contiguous_view(x.data(), 4, 9))), espalier::shape_error);
}

namespace {

template <int N> void check_hits() {
    constexpr int rows = 35;
    std::vector<double> const source = numbers(rows * N, 3);
    std::vector<float> z(source.begin(), source.end());
    std::vector<std::int32_t> label(rows);
    int expected = 0;
    for (int r = 0; r < rows; ++r) {
        auto const begin = z.begin() + r * N;
        int const best = static_cast<int>(std::max_element(begin, begin + N) - begin);
        label[r] = r % 5 == 0 ? -1 : r % 3 == 0 ? (best + 1) % N : best;
        expected += r % 5 != 0 && r % 3 != 0;
    }
    espalier::rows batch;
    batch.count = rows;
    batch.label = label.data();
    auto const z_view = contiguous_view<float const>(z.data(), rows, N);
    cpu::hit_count const result = cpu::count_hits<float, N>(z_view, batch);
    CHECK(result.counted == 28);
    CHECK(result.hits == expected);
    CHECK(result.share() == Approx(expected / 28.0));

    // Equal logits: the lowest column wins.
    std::fill(z.begin(), z.end(), 1.0f);
    std::fill(label.begin(), label.end(), 0);
    CHECK(cpu::count_hits<float, N>(z_view, batch).hits == rows);
    std::fill(label.begin(), label.end(), 1);
    CHECK(cpu::count_hits<float, N>(z_view, batch).hits == 0);

    // Mixed rows are measured against the label with the larger share.
    std::vector<std::int32_t> const partner(rows, 0);
    std::vector<float> mixing(rows, 0.75f);
    mixing[3] = 0.25f;
    batch.partner_label = partner.data();
    batch.mixing = mixing.data();
    CHECK(cpu::count_hits<float, N>(z_view, batch).hits == 1);
}

} // namespace

TEST_CASE("row map: hits", "[loss][row]") {
    check_hits<10>();
    check_hits<100>();
    espalier::rows batch;
    CHECK(cpu::count_hits<float, 3>(contiguous_view<float const>(nullptr, 0, 3), batch).share() == 0.0);
    batch.count = 1;
    float const z[3] = {};
    CHECK_THROWS_AS((cpu::count_hits<float, 3>(contiguous_view(z, 1, 3), batch)), espalier::data_error);
}
