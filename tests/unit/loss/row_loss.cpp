// SPDX-License-Identifier: Apache-2.0
// Row losses through the CPU driver: published values, gradients, mixed and ignored rows, state, splits, bad input.
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/loss/all.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace cpu = espalier::cpu;
namespace loss = espalier::loss;
using espalier::contiguous_view;

namespace {

static_assert(std::is_trivially_copyable_v<loss::early_learning> && std::is_aggregate_v<loss::early_learning>);
static_assert(loss::needs_labels<loss::cross_entropy> && !loss::needs_dense_target<loss::cross_entropy>);
static_assert(loss::per_sample_state<loss::early_learning> && !loss::per_sample_state<loss::cross_entropy>);
static_assert(!loss::needs_labels<loss::mean_squared_error>);

/// A batch that owns its arrays.
template <class T, int N> struct problem {
    int count;
    std::vector<T> z, dz, state, values;
    std::vector<T> dense;
    std::vector<float> mixing, weight, sign;
    std::vector<std::int32_t> label, partner;
    std::vector<std::int64_t> sample;
    bool mixed = false, backward = true, remember = false;
    double denominator = 0.0;

    explicit problem(int rows, unsigned seed = 1, double spread = 2.0)
        : count(rows), z(rows * N), dz(rows * N, T(-77)), state(rows * N), values(rows, T(-77)), dense(rows * N),
          mixing(rows), weight(rows), sign(rows), label(rows), partner(rows), sample(rows) {
        std::mt19937 bits(seed);
        std::normal_distribution<double> normal(0.0, spread);
        std::uniform_real_distribution<double> uniform(0.05, 1.0);
        for (T& v : z)
            v = static_cast<T>(normal(bits));
        for (int r = 0; r < rows; ++r) {
            double sum = 0.0;
            for (int c = 0; c < N; ++c)
                sum += dense[r * N + c] = static_cast<T>(uniform(bits));
            for (int c = 0; c < N; ++c) {
                dense[r * N + c] = static_cast<T>(dense[r * N + c] / sum);
                state[r * N + c] = static_cast<T>(0.8 * dense[r * N + (c + 1) % N]);
            }
            label[r] = static_cast<int>(bits() % N);
            partner[r] = static_cast<int>(bits() % N);
            mixing[r] = static_cast<float>(uniform(bits));
            weight[r] = static_cast<float>(uniform(bits));
            sign[r] = bits() % 4 == 0 ? -1.0f : 1.0f;
            sample[r] = rows - 1 - r;
        }
    }

    espalier::rows rows() const {
        espalier::rows b;
        b.count = count;
        b.label = label.data();
        b.sample = sample.data();
        if (mixed) {
            b.partner_label = partner.data();
            b.mixing = mixing.data();
            b.weight = weight.data();
            b.sign = sign.data();
        }
        return b;
    }

    template <class Loss> cpu::loss_result run(Loss const& l) { return run(l, 0, count); }

    template <class Loss> cpu::loss_result run(Loss const& l, int first, int n) {
        cpu::loss_buffers<T> buffers;
        buffers.dense_targets = contiguous_view<T const>(dense.data(), count, N).middle_rows(first, n);
        if (backward) buffers.gradient = contiguous_view(dz.data(), count, N).middle_rows(first, n);
        if (remember) buffers.state = contiguous_view(state.data(), static_cast<int>(state.size()) / N, N);
        buffers.row_values = {values.data() + first, n};
        buffers.denominator = denominator;
        return cpu::row_loss<T, N>(l, contiguous_view<T const>(z.data(), count, N).middle_rows(first, n),
                                   rows().slice(first, n), buffers);
    }
};

/// Compares the gradient with differences of the value, for every logit.
template <int N, class Loss> void check_gradient(Loss const& l, problem<double, N> p) {
    p.run(l);
    std::vector<double> const dz = p.dz, start = p.state;
    p.backward = false;
    double const h = 1e-3;
    for (std::size_t i = 0; i < p.z.size(); ++i) {
        double const center = p.z[i];
        auto const at = [&](double shift) {
            p.state = start;
            p.z[i] = center + shift;
            double const value = p.run(l).value;
            p.z[i] = center;
            return value;
        };
        double const slope = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
        INFO("row " << i / N << " column " << i % N);
        CHECK(dz[i] == Approx(slope).margin(2e-11).epsilon(1e-9));
    }
}

template <class T> bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

} // namespace

TEST_CASE("loss: early learning gives the published numbers", "[loss]") {
    problem<double, 3> p(2);
    p.z = {2.0, 0.5, -1.0, 0.2, 0.1, 0.4};
    p.label = {1, 2};
    p.sample = {0, 1};
    p.state = {0.6, 0.2, 0.1, 0.0, 0.0, 0.0};
    p.remember = true;
    CHECK(p.run(loss::cross_entropy{}).value == Approx(1.340571179).margin(1e-8));
    double const total = p.run(loss::early_learning{.beta = 0.7, .lambda = 3.0, .clip = 1e-4}).value;
    CHECK(total == Approx(-0.024798759).margin(1e-8));
    CHECK((total - 1.340571179) / 3.0 == Approx(-0.455123313).margin(1e-8));
    double const state[] = {0.65567911, 0.192587118, 0.081733772, 0.095961917, 0.086829933, 0.11720815};
    double const dz[] = {0.12019777, -0.201353621, 0.081155851, 0.162958195, 0.151863778, -0.314821973};
    for (int i = 0; i < 6; ++i) {
        CHECK(p.state[i] == Approx(state[i]).margin(1e-8));
        CHECK(p.dz[i] == Approx(dz[i]).margin(1e-8));
    }
}

TEST_CASE("loss: early learning with every probability clipped", "[loss]") {
    problem<double, 3> p(1);
    p.z = {12.0, 0.0, -1.0};
    p.label = {1};
    p.sample = {0};
    p.state = {0.9, 0.05, 0.05};
    p.remember = true;
    CHECK(p.run(loss::early_learning{}).value == Approx(4.028478151).margin(1e-8));
    double const state[] = {0.929940006, 0.035029997, 0.035029997};
    double const dz[] = {0.999991596, -0.999993856, 0.00000226};
    for (int i = 0; i < 3; ++i) {
        CHECK(p.state[i] == Approx(state[i]).margin(1e-8));
        CHECK(p.dz[i] == Approx(dz[i]).margin(1e-8));
    }
}

TEST_CASE("loss: mixed pairs give the published numbers", "[loss]") {
    problem<double, 3> p(2);
    p.z = {2.0, 0.5, -1.0, 0.3, 1.7, 0.2};
    p.label = {0, 2};
    p.partner = {2, 0};
    p.mixing = {0.75f, 0.75f};
    p.weight = p.sign = {1.0f, 1.0f};
    p.mixed = true;
    CHECK(p.run(loss::cross_entropy{}).value == Approx(1.425694025).margin(1e-8));
    double const dz[] = {0.017798517, 0.087645196, -0.105443713, -0.041107909, 0.340199206, -0.299091297};
    for (int i = 0; i < 6; ++i)
        CHECK(p.dz[i] == Approx(dz[i]).margin(1e-8));
    // The same as a target row, and smoothing comes after mixing.
    p.mixed = false;
    p.dense = {0.75f, 0.0f, 0.25f, 0.25f, 0.0f, 0.75f};
    CHECK(p.run(loss::soft_cross_entropy{}).value == Approx(1.425694025).margin(1e-8));
    double const soft = p.run(loss::soft_cross_entropy{.smoothing = 0.3}).value;
    p.mixed = true;
    CHECK(p.run(loss::cross_entropy{.smoothing = 0.3}).value == Approx(soft).margin(1e-14));
    double by_hand = 0.0;
    for (int r = 0; r < 2; ++r) {
        double const lse = std::log(std::exp(p.z[3 * r]) + std::exp(p.z[3 * r + 1]) + std::exp(p.z[3 * r + 2]));
        for (int c = 0; c < 3; ++c)
            by_hand += (0.7 * static_cast<double>(p.dense[3 * r + c]) + 0.1) * (lse - p.z[3 * r + c]) / 2.0;
    }
    CHECK(soft == Approx(by_hand).margin(1e-14));
}

TEST_CASE("loss: distillation gives the published numbers, and those of a temperature", "[loss]") {
    problem<double, 2> p(2);
    p.z = {0.25, 1.5, 0.75, -0.375}; // of a masked network
    p.dense = {-1.75f, 3.5f, 1.25f, -0.625f};
    CHECK(p.run(loss::distillation{}).value == Approx(0.344594572).epsilon(0).margin(1e-9));
    for (double const temperature : {1.0, 4.0}) {
        CAPTURE(temperature);
        auto const got = p.run(loss::distillation{.temperature = temperature});
        double value = 0.0;
        for (int r = 0; r < 2; ++r) {
            auto const share = [&](double first, double second) {
                return 1.0 / (1.0 + std::exp((second - first) / temperature));
            };
            double const q = share(double(p.dense[2 * r]), double(p.dense[2 * r + 1])),
                         w = share(p.z[2 * r], p.z[2 * r + 1]);
            value -= temperature * temperature * (q * std::log(w) + (1.0 - q) * std::log(1.0 - w)) / 2.0;
            CHECK(p.dz[2 * r] == Approx(temperature * (w - q) / 2.0).epsilon(1e-12));
            CHECK(p.dz[2 * r + 1] == Approx(-p.dz[2 * r]).epsilon(1e-12));
        }
        CHECK(got.value == Approx(value).epsilon(1e-12));
    }
    CHECK(loss::problem(loss::distillation{.temperature = 0.0}) ==
          std::string("distillation: `temperature` must be between 1e-6 and 1e6"));
    CHECK(loss::problem(loss::distillation{.temperature = std::numeric_limits<double>::quiet_NaN()}) != nullptr);
    CHECK(loss::problem(loss::distillation{.temperature = 3.0}) == nullptr);
}

TEST_CASE("loss: element losses against formulas by hand", "[loss]") {
    problem<double, 3> p(2);
    p.z = {2.0, 0.5, -1.0, 0.3, 1.7, 0.2};
    p.dense = {1.0f, 0.0f, 0.5f, 0.25f, 1.0f, 0.0f};
    double square = 0.0, binary = 0.0;
    for (int i = 0; i < 6; ++i) {
        double const t = static_cast<double>(p.dense[i]), s = 1.0 / (1.0 + std::exp(-p.z[i]));
        square += (p.z[i] - t) * (p.z[i] - t) / 6.0;
        binary -= (t * std::log(s) + (1.0 - t) * std::log(1.0 - s)) / 6.0;
    }
    CHECK(p.run(loss::mean_squared_error{}).value == Approx(square).epsilon(1e-14));
    CHECK(p.dz[0] == Approx(2.0 * (2.0 - 1.0) / 6.0).epsilon(1e-14));
    CHECK(p.run(loss::binary_cross_entropy{}).value == Approx(binary).epsilon(1e-14));
    CHECK(p.dz[2] == Approx((1.0 / (1.0 + std::exp(1.0)) - 0.5) / 6.0).epsilon(1e-14));
    // To a label, and to a mix of two: the target rows need not be written down.
    p.label = {0, 1};
    p.dense = {1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f};
    CHECK(p.run(loss::one_hot_squared_error{}).value == p.run(loss::mean_squared_error{}).value);
    p.label = {0, 2};
    p.partner = {2, 0};
    p.mixing = {0.75f, 0.75f};
    p.weight = p.sign = {1.0f, 1.0f};
    p.mixed = true;
    double const mixed = p.run(loss::one_hot_squared_error{}).value;
    std::vector<double> const slope = p.dz;
    p.mixed = false;
    p.dense = {0.75f, 0.0f, 0.25f, 0.25f, 0.0f, 0.75f};
    CHECK(mixed == p.run(loss::mean_squared_error{}).value);
    CHECK(slope == p.dz);
    // One column needs no classes.
    problem<double, 1> one(1);
    one.z = {0.0};
    one.dense = {1.0f};
    CHECK(one.run(loss::binary_cross_entropy{}).value == Approx(std::log(2.0)).epsilon(1e-14));
}

TEST_CASE("loss: a loss for every column", "[loss]") {
    auto const two = loss::columns(loss::column::binary{}, loss::column::squared{.weight = 0.3});
    static_assert(std::is_trivially_copyable_v<decltype(two)>);
    problem<double, 2> p(19);
    float const missing = std::numeric_limits<float>::quiet_NaN();
    for (int r = 0; r < 19; r += 3)
        p.dense[2 * r + 1] = missing;
    p.dense[2 * 4] = missing;
    double expected = 0.0;
    for (int r = 0; r < 19; ++r) {
        double const z = p.z[2 * r], t = p.dense[2 * r], d = p.z[2 * r + 1] - p.dense[2 * r + 1];
        if (t == t) expected += (std::log1p(std::exp(z)) - t * z) / 19.0;
        if (d == d) expected += 0.3 * d * d / 19.0;
    }
    CHECK(p.run(two).value == Approx(expected).epsilon(1e-13));
    for (int r = 0; r < 19; ++r) {
        CHECK((p.dz[2 * r + 1] == 0.0) == (r % 3 == 0));
        CHECK((p.dz[2 * r] == 0.0) == (r == 4));
    }
    check_gradient(two, p);
    CHECK(loss::problem(loss::columns(loss::column::squared{.weight = -1.0})) != nullptr);
    CHECK(loss::problem(two) == nullptr);
}

TEST_CASE("loss: gradients are derivatives", "[loss]") {
    for (bool const mixed : {false, true}) {
        problem<double, 5> p(11, mixed ? 3 : 4);
        p.mixed = mixed;
        p.label[4] = -1;
        check_gradient(loss::cross_entropy{}, p);
        check_gradient(loss::cross_entropy{.smoothing = 0.2}, p);
        check_gradient(loss::soft_cross_entropy{}, p);
        check_gradient(loss::soft_cross_entropy{.smoothing = 0.1}, p);
        check_gradient(loss::distillation{}, p);
        check_gradient(loss::distillation{.temperature = 2.5}, p);
        check_gradient(loss::binary_cross_entropy{}, p);
        check_gradient(loss::mean_squared_error{}, p);
        check_gradient(loss::one_hot_squared_error{}, p);
        for (auto& t : p.dense)
            t *= 1.5f; // targets that do not sum to 1
        check_gradient(loss::soft_cross_entropy{.smoothing = 0.1}, p);
    }
}

namespace {

/// The state is constant in the gradient: with beta near 1 it is so in the differences, too.
template <int N> void check_early_learning(double spread, double clip) {
    problem<double, N> p(9, 7, spread);
    p.remember = true;
    constexpr double beta = 1.0 - 1e-15;
    check_gradient(loss::early_learning{.beta = beta, .lambda = 3.0, .clip = clip}, p);
}

} // namespace

TEST_CASE("loss: gradients of early learning, free and clipped", "[loss]") {
    check_early_learning<4>(1.0, 1e-4);
    check_early_learning<4>(2.0, 0.05); // many probabilities are clipped
    check_early_learning<70>(1.0, 1e-4);
}

TEST_CASE("loss: rows wider than a pack column block", "[loss]") {
    // 70 columns are no multiple of the width of a pack; 64 is the last of the transposed form.
    problem<double, 64> a(3, 5);
    check_gradient(loss::cross_entropy{.smoothing = 0.1}, a);
    problem<double, 70> b(3, 5);
    b.mixed = true;
    check_gradient(loss::cross_entropy{.smoothing = 0.1}, b);
    check_gradient(loss::soft_cross_entropy{}, b);
    check_gradient(loss::binary_cross_entropy{}, b);
    check_gradient(loss::mean_squared_error{}, b);
    // The two forms agree: six columns that cannot be reached change nothing.
    problem<double, 70> wide(3, 5);
    for (int r = 0; r < 3; ++r) {
        for (int c = 0; c < 70; ++c)
            wide.z[70 * r + c] = c < 64 ? a.z[64 * r + c] : -1e4;
        wide.label[r] = a.label[r];
    }
    CHECK(wide.run(loss::cross_entropy{}).value == Approx(a.run(loss::cross_entropy{}).value).epsilon(1e-13));
    for (int c = 0; c < 64; ++c)
        CHECK(wide.dz[c] == Approx(a.dz[c]).margin(1e-15).epsilon(1e-13));
}

TEMPLATE_TEST_CASE("loss: extreme logits stay finite", "[loss]", loss::cross_entropy, loss::soft_cross_entropy,
                   loss::distillation, loss::binary_cross_entropy, loss::early_learning) {
    auto const check = [](auto p) {
        p.remember = true;
        for (std::size_t i = 0; i < p.z.size(); ++i)
            p.z[i] = i % 3 == 0 ? 1e4f : i % 3 == 1 ? -1e4f : 0.0f;
        for (int visit = 0; visit < 40; ++visit) {
            CHECK(std::isfinite(p.run(TestType{}).value));
            for (auto const* values : {&p.dz, &p.values, &p.state})
                for (auto const v : *values)
                    REQUIRE(std::isfinite(v));
        }
    };
    check(problem<float, 3>(5));
    check(problem<float, 100>(5));
}

TEST_CASE("loss: a class without target may have a logit of minus infinity", "[loss]") {
    problem<float, 3> p(1);
    p.z = {1.0f, -std::numeric_limits<float>::infinity(), 1.0f};
    p.label = {2};
    CHECK(p.run(loss::cross_entropy{}).value == Approx(std::log(2.0)).epsilon(1e-6));
    CHECK(p.dz[1] == 0.0f);
    CHECK(p.dz[0] == Approx(0.5f));
}

TEMPLATE_TEST_CASE("loss: float is close to double", "[loss]", loss::cross_entropy, loss::soft_cross_entropy,
                   loss::distillation, loss::binary_cross_entropy, loss::mean_squared_error, loss::early_learning) {
    problem<double, 10> exact(37, 21);
    problem<float, 10> rounded(37, 21);
    for (std::size_t i = 0; i < exact.z.size(); ++i)
        exact.z[i] = static_cast<double>(rounded.z[i]), exact.state[i] = static_cast<double>(rounded.state[i]);
    exact.mixed = rounded.mixed = exact.remember = rounded.remember = true;
    double const a = exact.run(TestType{}).value, b = rounded.run(TestType{}).value;
    CHECK(b == Approx(a).margin(2e-6).epsilon(2e-6));
    for (std::size_t i = 0; i < exact.z.size(); ++i) {
        CHECK(static_cast<double>(rounded.dz[i]) == Approx(exact.dz[i]).margin(1e-7).epsilon(1e-5));
        CHECK(static_cast<double>(rounded.state[i]) == Approx(exact.state[i]).margin(1e-7).epsilon(1e-6));
    }
}

namespace {

template <class T, int N, class Loss> void check_splits(Loss const& l) {
    problem<T, N> whole(53, 11);
    whole.mixed = whole.remember = true;
    whole.label[7] = -1;
    whole.label[20] = whole.partner[20] = -1;
    whole.sample[3] = whole.sample[4] = whole.sample[40] = whole.sample[50]; // visited in the order of the rows
    whole.denominator = 50.0;
    problem<T, N> const start = whole;
    whole.run(l);
    for (int const piece : {1, 3, 16, 17}) {
        problem<T, N> parts = start;
        for (int first = 0; first < parts.count; first += piece)
            parts.run(l, first, std::min(piece, parts.count - first));
        INFO("pieces of " << piece);
        CHECK(same_bits(whole.values, parts.values));
        CHECK(same_bits(whole.dz, parts.dz));
        CHECK(same_bits(whole.state, parts.state));
    }
    problem<T, N> again = start;
    again.run(l);
    CHECK(same_bits(whole.dz, again.dz));
}

} // namespace

TEST_CASE("loss: a batch may be cut anywhere", "[loss]") {
    check_splits<float, 10>(loss::cross_entropy{.smoothing = 0.1});
    check_splits<float, 10>(loss::soft_cross_entropy{});
    check_splits<float, 10>(loss::binary_cross_entropy{});
    check_splits<float, 10>(loss::mean_squared_error{});
    check_splits<float, 10>(loss::early_learning{});
    check_splits<double, 10>(loss::early_learning{});
    check_splits<float, 100>(loss::cross_entropy{});
    check_splits<double, 70>(loss::early_learning{});
}

TEST_CASE("loss: weights, signs and the denominator", "[loss]") {
    problem<double, 4> p(20, 2);
    p.mixed = true;
    p.label[3] = -1;
    p.partner[3] = -1;
    p.label[19] = -1;
    p.partner[19] = 1; // the partner stands for both
    auto const result = p.run(loss::cross_entropy{});
    CHECK(result.counted == 19);
    double sum = 0.0;
    for (int r = 0; r < 20; ++r)
        sum += p.values[r] * static_cast<double>(p.weight[r] * p.sign[r]);
    CHECK(p.values[3] == 0.0);
    CHECK(result.sum == Approx(sum).epsilon(1e-14));
    CHECK(result.value == Approx(sum / 19.0).epsilon(1e-14));
    double const lse = std::log(std::exp(p.z[76]) + std::exp(p.z[77]) + std::exp(p.z[78]) + std::exp(p.z[79]));
    CHECK(p.values[19] == Approx(lse - p.z[77]).epsilon(1e-13));
    // Each row's gradient sums to 0, and a heavier denominator scales everything.
    std::vector<double> const dz = p.dz;
    CHECK(dz[0] + dz[1] + dz[2] + dz[3] == Approx(0.0).margin(1e-16));
    p.denominator = 38.0;
    CHECK(p.run(loss::cross_entropy{}).value == Approx(result.value / 2.0).epsilon(1e-14));
    CHECK(p.dz[5] == Approx(dz[5] / 2.0).epsilon(1e-14));
    // A weight of 0 is a row that is not there, whatever stands in it.
    double const its = p.values[1] * static_cast<double>(p.weight[1] * p.sign[1]);
    p.denominator = 0.0;
    p.weight[1] = 0.0f;
    p.z[4] = std::numeric_limits<double>::infinity();
    auto const fewer = p.run(loss::cross_entropy{});
    CHECK(fewer.counted == 18);
    CHECK(fewer.value == Approx((sum - its) / 18.0).epsilon(1e-13));
    CHECK(p.values[1] == 0.0);
    for (int c = 4; c < 8; ++c)
        CHECK(p.dz[static_cast<std::size_t>(c)] == 0.0);
}

TEST_CASE("loss: ignored rows", "[loss]") {
    problem<float, 4> p(18, 2);
    p.remember = true;
    p.z[4 * 17] = std::numeric_limits<float>::quiet_NaN();
    p.label[17] = -1;
    std::vector<float> const before = p.state;
    auto const result = p.run(loss::early_learning{});
    CHECK(std::isfinite(result.value));
    CHECK(result.counted == 17);
    for (int c = 0; c < 4; ++c) {
        CHECK(p.dz[4 * 17 + c] == 0.0f);
        CHECK(p.state[c] == before[c]); // sample 0 is row 17's
        CHECK(p.state[4 + c] != before[4 + c]);
    }
    for (auto& label : p.label)
        label = -1;
    auto const none = p.run(loss::cross_entropy{});
    CHECK(none.value == 0.0);
    CHECK(none.counted == 0);
    for (float const v : p.dz)
        CHECK(v == 0.0f);
    CHECK(p.run(loss::cross_entropy{}, 0, 0).value == 0.0);
}

TEST_CASE("loss: evaluation leaves the state alone and is plain cross-entropy", "[loss]") {
    problem<double, 4> p(5, 2);
    std::vector<double> const before = p.state;
    double const entropy = p.run(loss::cross_entropy{}).value;
    std::vector<double> const dz = p.dz;
    CHECK(p.run(loss::early_learning{}).value == Approx(entropy).epsilon(1e-15));
    CHECK(same_bits(p.state, before));
    for (std::size_t i = 0; i < dz.size(); ++i)
        CHECK(p.dz[i] == Approx(dz[i]).margin(1e-16));
    // A first visit starts the average: it is far from complete, and that is wanted.
    p.remember = true;
    p.state.assign(p.state.size(), 0.0);
    p.run(loss::early_learning{});
    for (int r = 0; r < 5; ++r)
        CHECK(p.state[4 * r] + p.state[4 * r + 1] + p.state[4 * r + 2] + p.state[4 * r + 3] ==
              Approx(0.3).epsilon(1e-14));
}

TEST_CASE("loss: the gradient may replace the logits, rows may have gaps", "[loss]") {
    problem<float, 10> p(21, 4);
    p.run(loss::cross_entropy{});
    std::vector<float> in_place = p.z, padded(21 * 13, 7.0f), padded_dz(21 * 12, 7.0f);
    cpu::loss_buffers<float> buffers;
    buffers.gradient = contiguous_view(in_place.data(), 21, 10);
    cpu::row_loss<float, 10>(loss::cross_entropy{}, contiguous_view<float const>(in_place.data(), 21, 10), p.rows(),
                             buffers);
    CHECK(same_bits(in_place, p.dz));
    for (int r = 0; r < 21; ++r)
        for (int c = 0; c < 10; ++c)
            padded[13 * r + c] = p.z[10 * r + c];
    buffers.gradient = {padded_dz.data(), 21, 10, 12};
    cpu::row_loss<float, 10>(loss::cross_entropy{}, {padded.data(), 21, 10, 13}, p.rows(), buffers);
    for (int r = 0; r < 21; ++r) {
        for (int c = 0; c < 10; ++c)
            CHECK(padded_dz[12 * r + c] == p.dz[10 * r + c]);
        CHECK(padded_dz[12 * r + 10] == 7.0f);
        CHECK(padded_dz[12 * r + 11] == 7.0f);
    }
}

TEST_CASE("loss: bad input is refused before anything is written", "[loss]") {
    problem<float, 4> p(20, 2);
    p.remember = true;
    auto const refused = [&](auto const& l, char const* words) {
        auto const untouched = p;
        std::string const text = message_of<espalier::error>([&] { p.run(l); });
        CHECK_THAT(text, contains_text(words));
        CHECK(same_bits(p.dz, untouched.dz));
        CHECK(same_bits(p.state, untouched.state));
        CHECK(same_bits(p.values, untouched.values));
    };
    p.label[18] = 4;
    refused(loss::cross_entropy{}, "label 4 in row 18, needed is 0 to 3");
    p.label[18] = -2;
    refused(loss::cross_entropy{}, "label -2 in row 18");
    p.label[18] = 0;
    p.sample[19] = 20;
    refused(loss::early_learning{}, "sample 20 in row 19, the state has samples 0 to 19");
    p.sample[19] = -1;
    refused(loss::early_learning{}, "sample -1 in row 19");
    p.sample[19] = 0;
    p.mixed = true;
    p.partner[2] = 9;
    refused(loss::cross_entropy{}, "partner label 9 in row 2");
    p.partner[2] = 0;
    p.mixing[5] = 1.5f;
    refused(loss::cross_entropy{}, "mixing share 1.5");
    p.mixing[5] = std::numeric_limits<float>::quiet_NaN();
    refused(loss::cross_entropy{}, "mixing share");
    p.mixing[5] = 1.0f;
    refused(loss::cross_entropy{.smoothing = 1.0}, "`smoothing` must be in [0, 1)");
    refused(loss::early_learning{.beta = 1.0}, "`beta` must be in [0, 1)");
    refused(loss::early_learning{.clip = 0.5}, "`clip` must be in (0, 0.5)");
    refused(loss::early_learning{.lambda = -1.0}, "`lambda` must be finite and not negative");
    p.denominator = -1.0;
    refused(loss::cross_entropy{}, "the denominator is -1");

    espalier::matrix_view<float const> const z = contiguous_view<float const>(p.z.data(), 20, 4);
    espalier::rows bare;
    bare.count = 20;
    CHECK_THROWS_AS((cpu::row_loss<float, 4>(loss::cross_entropy{}, z, bare)), espalier::data_error);
    CHECK_THROWS_AS((cpu::row_loss<float, 4>(loss::mean_squared_error{}, z, bare)), espalier::data_error);
    CHECK_THROWS_AS((cpu::row_loss<float, 5>(loss::cross_entropy{}, z, p.rows())), espalier::shape_error);
    CHECK_THROWS_AS((cpu::row_loss<float, 4>(loss::cross_entropy{}, z.middle_rows(0, 19), p.rows())),
                    espalier::shape_error);
    cpu::loss_buffers<float> buffers;
    buffers.gradient = contiguous_view(p.dz.data(), 19, 4);
    CHECK_THROWS_AS((cpu::row_loss<float, 4>(loss::cross_entropy{}, z, p.rows(), buffers)), espalier::shape_error);
    buffers = {};
    buffers.state = contiguous_view(p.state.data(), 16, 5);
    CHECK_THROWS_AS((cpu::row_loss<float, 4>(loss::early_learning{}, z, p.rows(), buffers)), espalier::shape_error);
}

TEST_CASE("loss: a sample remembers the mean of the outputs of a row, once a visit", "[loss]") {
    constexpr int n = 5, copies = 3, columns = 4;
    loss::early_learning const l{.beta = 0.6, .lambda = 2.0, .clip = 0.02};
    problem<double, columns> p(n * copies, 9);
    p.remember = true;
    for (int i = 0; i < n * copies; ++i) {
        p.label[i] = i % n == 3 ? -1 : i % n % columns;
        p.sample[i] = i % n == 4 ? 0 : i % n; // the last row shows the sample of the first one again
    }
    auto const before = p.state;
    espalier::rows batch = p.rows();
    batch.copies = copies;
    cpu::loss_buffers<double> buffers;
    buffers.gradient = contiguous_view(p.dz.data(), n * copies, columns);
    buffers.state = contiguous_view(p.state.data(), n * copies, columns);
    buffers.row_values = {p.values.data(), n * copies};
    auto const z = contiguous_view<double const>(p.z.data(), n * copies, columns);
    auto const result = cpu::row_loss<double, columns>(l, z, batch, buffers);

    // By hand, one row of the batch after the other.
    auto expected = before;
    double sum = 0.0;
    int counted = 0;
    auto const clipped = [&](double v) { return std::min(1.0 - l.clip, std::max(l.clip, v)); };
    for (int i = 0; i < n; ++i) {
        if (p.label[i] < 0) continue;
        double mean[columns] = {}, probability[copies][columns], total = 0.0;
        for (int k = 0; k < copies; ++k) {
            double all = 0.0;
            for (int c = 0; c < columns; ++c)
                all += std::exp(z(k * n + i, c));
            for (int c = 0; c < columns; ++c) {
                probability[k][c] = std::exp(z(k * n + i, c)) / all;
                mean[c] += probability[k][c] / copies;
            }
        }
        for (double const m : mean)
            total += clipped(m);
        double* const memory = expected.data() + p.sample[i] * columns;
        for (int c = 0; c < columns; ++c)
            memory[c] = l.beta * memory[c] + (1.0 - l.beta) * clipped(mean[c]) / total;
        for (int k = 0; k < copies; ++k) {
            double gap = 1.0;
            for (int c = 0; c < columns; ++c)
                gap -= memory[c] * clipped(probability[k][c]);
            double const value = -std::log(probability[k][p.label[i]]) + l.lambda * std::log(gap);
            CHECK(p.values[k * n + i] == Approx(value).epsilon(1e-12));
            sum += value;
            ++counted;
        }
    }
    for (std::size_t i = 0; i < expected.size(); ++i)
        CHECK(p.state[i] == Approx(expected[i]).epsilon(1e-12));
    CHECK(result.counted == counted);
    CHECK(result.value == Approx(sum / counted).epsilon(1e-12));

    // Outputs of the rows of two batches are not those of one.
    batch.copies = 2;
    CHECK_THROWS_AS((cpu::row_loss<double, columns>(l, z, batch, buffers)), espalier::shape_error);
}
