// SPDX-License-Identifier: Apache-2.0
// The row form over the lanes of a tile, executed lane by lane, against one lane that has the whole row.
#include <espalier/activation/softmax.hpp>
#include <espalier/core/row.hpp>
#include <espalier/device/emulated/emulated_block.hpp>
#include <espalier/loss/all.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace loss = espalier::loss;
using espalier::row;
using espalier::serial_group;

namespace {

/// Everything that a row can say about itself.
struct outcome {
    std::vector<double> value, gradient, state, softmax, pulled;
    double sum = 0.0, top = 0.0, best = 0.0, log_sum_exp = 0.0, loss_value = 0.0, bare_value = 0.0;

    explicit outcome(int n) : gradient(n), state(n), softmax(n), pulled(n) {}
};

/// The body of a kernel of one row: each lane loads its columns, and what it gets goes to `out`. Elements past the row
/// hold NaN, which must not get out.
template <int N, class Group, class Loss>
void row_body(Group const& group, Loss const& l, std::vector<double> const& z, std::vector<double> const& target,
              std::vector<double> const& state, outcome& out) {
    using row_type = row<Group, double, N>;
    row_type x, dz, q, memory;
    auto const index = [&](int i) { return i * row_type::lanes + static_cast<int>(group.thread_rank()); };
    for (int i = 0; i < row_type::local; ++i) {
        bool const inside = index(i) < N;
        double const outside = std::numeric_limits<double>::quiet_NaN();
        x.v[i] = inside ? z[index(i)] : outside;
        q.v[i] = inside ? target[index(i)] : outside;
        memory.v[i] = inside ? state[index(i)] : outside;
    }
    loss::row_target<Group, double, N> tags;
    tags.label = 1.0;
    tags.partner_label = N - 1.0;
    tags.mixing = 0.75;
    tags.dense = &q;

    row_type* const none = nullptr;
    double const bare = l.evaluate(group, x, tags, none, none);
    double const value = l.evaluate(group, x, tags, &dz, &memory);
    double const sum = espalier::row_sum(group, x);
    auto const best = espalier::row_argmax(group, x);
    double const log_sum_exp = espalier::row_log_sum_exp(group, x);
    row_type y = x, pulled = q;
    espalier::activation::softmax::forward(group, y);
    espalier::activation::softmax::backward(group, y, pulled);
    for (int i = 0; i < row_type::local; ++i) {
        if (index(i) >= N) continue;
        out.gradient[index(i)] = dz.v[i];
        out.state[index(i)] = memory.v[i];
        out.softmax[index(i)] = y.v[i];
        out.pulled[index(i)] = pulled.v[i];
    }
    out.value.push_back(value); // every lane has it
    out.sum = sum;
    out.top = best.value;
    out.best = best.column;
    out.log_sum_exp = log_sum_exp;
    out.bare_value = bare;
}

template <std::uint32_t W, int N, class Loss> void check(Loss const& l) {
    std::mt19937 bits(N);
    std::normal_distribution<double> normal(0.0, 1.5);
    std::vector<double> z(N), target(N), state(N);
    for (int c = 0; c < N; ++c) {
        z[c] = normal(bits);
        target[c] = 1.0 / (c + 2.0);
        state[c] = 0.5 / N;
    }
    z[N / 2] = z[N - 1] = 9.0; // two equal maxima, on different lanes where there are several

    outcome serial(N), lanes(N);
    row_body<N>(serial_group{}, l, z, target, state, serial);
    espalier::emulated_launch<W>(
        1, [&](auto& block) { row_body<N>(block.template tile<W>(), l, z, target, state, lanes); }, {.order_seed = 5});

    INFO("W = " << W << ", N = " << N);
    REQUIRE(lanes.value.size() == W);
    for (double const value : lanes.value) {
        CHECK(value == Approx(serial.value[0]).epsilon(1e-12));
        CHECK(value == lanes.value[0]); // to the bit
    }
    CHECK(lanes.bare_value == Approx(serial.bare_value).epsilon(1e-12));
    CHECK(lanes.sum == Approx(serial.sum).epsilon(1e-12));
    CHECK(lanes.top == 9.0);
    CHECK(lanes.best == N / 2);
    CHECK(serial.best == N / 2);
    CHECK(lanes.log_sum_exp == Approx(serial.log_sum_exp).epsilon(1e-13));
    for (int c = 0; c < N; ++c) {
        CHECK(lanes.gradient[c] == Approx(serial.gradient[c]).margin(1e-14).epsilon(1e-12));
        CHECK(lanes.state[c] == Approx(serial.state[c]).margin(1e-15).epsilon(1e-12));
        CHECK(lanes.softmax[c] == Approx(serial.softmax[c]).epsilon(1e-12));
        CHECK(lanes.pulled[c] == Approx(serial.pulled[c]).margin(1e-14).epsilon(1e-12));
    }
}

} // namespace

TEMPLATE_TEST_CASE("row: lanes of a tile compute what one lane does", "[loss][row]", loss::cross_entropy,
                   loss::soft_cross_entropy, loss::distillation, loss::binary_cross_entropy, loss::mean_squared_error,
                   loss::early_learning) {
    check<32, 10>(TestType{}); // most lanes have nothing
    check<32, 64>(TestType{});
    check<32, 71>(TestType{});
    check<4, 10>(TestType{});
    check<1, 3>(TestType{});
}
