// SPDX-License-Identifier: Apache-2.0
// Dropouts that decide for more than an element or a row, in networks: which rows and layers agree, gradients, what is
// refused.
#include "../layer/naive.hpp"
#include "snapshot.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;
using espalier_test::snapshot;

namespace {

constexpr index_t count = 24, width = 6;
// Behind every tap one kind of dropout; the tap before tells what it was given.
using of_group = elementwise<dropout::shared_by<&rows::group, dropout::bernoulli<0.5>>>;
using expert = sequence<dense<6, activation::tanh>, of_group, elementwise<dropout::drop_step<0.5>>>;
using by_segment = dropout::drop_segment<schedule::runtime{.name = "columns"_name, .initial = 4.0}, 0.5>;
using null_value = dropout::filled<-0.25, dropout::unscaled<dropout::drop_path<0.5>>>;
using stack =
    sequence<input<width>, of_group, tap<"group"_name>, moe<gate::top_k<3, 1>, expert, dispatch::compacted>,
             tap<"experts"_name>, dense<8, activation::tanh, dropout::rate_of_row<>>, tap<"rate"_name>,
             dense<12, activation::tanh, by_segment>, tap<"segment"_name>, dense<12, activation::tanh, null_value>,
             tap<"null"_name>, dense<8, dropout::drop_step<0.5>>, tap<"step"_name>, dense<5>>;

struct problem {
    network<stack, device::cpu, double> net;
    training<network<stack, device::cpu, double>, loss::cross_entropy, optimizer::sgd<>> run{
        net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.05}};
    naive::matrix x{count, width, 1.0}; // all rows alike, so that only the draws tell them apart
    std::vector<std::int32_t> labels = naive::cyclic_labels(count, 5), group;
    std::vector<double> rate;

    explicit problem(int threads = 1) : net(seed{3}, count, std::make_unique<device::cpu>(threads, 0)) {
        for (index_t r = 0; r < count; ++r) {
            group.push_back(static_cast<std::int32_t>(r % 5 + 70));
            rate.push_back(static_cast<double>(r % 3) / 2.0);
        }
    }
    batch_view<double> batch() {
        rows tags = naive::tags_of(count, &labels);
        tags.group = group.data();
        tags.rate = rate.data();
        return {x.view(), tags, {}};
    }
};

bool same_row(matrix_view<double const> m, index_t a, index_t b) {
    for (index_t c = 0; c < m.columns; ++c)
        if (m(a, c) != m(b, c)) return false;
    return true;
}
bool all_zero(matrix_view<double const> m) {
    for (index_t r = 0; r < m.rows; ++r)
        for (index_t c = 0; c < m.columns; ++c)
            if (m(r, c) != 0.0) return false;
    return true;
}

} // namespace

TEST_CASE("dropouts: rows, layers and columns that decide together", "[train]") {
    problem p;
    int dropped_steps = 0, dropped_rows = 0;
    for (int step = 0; step < 12; ++step)
        p.run.step(p.batch(), [&](auto& taps) {
            INFO("step " << step);
            auto const of = [&](char const* name) { return matrix_view<double const>(taps.values(name)); };
            // Rows of a group agree, in the stack and inside an expert; others do not.
            int differ = 0;
            for (index_t r = 5; r < count; ++r) {
                CHECK(same_row(of("group"), r, r % 5));
                CHECK(same_row(of("experts"), r, r % 5));
                differ += !same_row(of("group"), r, (r + 1) % 5);
            }
            CHECK(differ > 0);
            // All experts and the layer behind them are dropped in the same steps.
            bool const dropped = all_zero(of("step"));
            CHECK(all_zero(of("experts")) == dropped);
            dropped_steps += dropped;
            // Rates 0, 1/2 and 1. A row of zeros gives tanh(bias), which is 0 at first.
            int kept[3] = {}, of_rows = 0;
            for (index_t r = 0; r < count; ++r) {
                if (all_zero(of("experts").middle_rows(r, 1))) continue;
                of_rows += r % 3 == 0;
                for (index_t c = 0; c < 8; ++c)
                    kept[r % 3] += of("rate")(r, c) != 0.0;
            }
            CHECK(kept[0] == of_rows * 8);
            CHECK((kept[1] > 0) == !dropped);
            CHECK(kept[1] < count / 3 * 8);
            CHECK(kept[2] == 0);
            // Four columns and four columns, row by row.
            int whole = 0;
            for (index_t r = 0; r < count; ++r)
                for (index_t c = 0; c < 12; c += 4) {
                    bool const first = of("segment")(r, c) == 0.0;
                    whole += first;
                    for (index_t k = 1; k < 4; ++k)
                        CHECK((of("segment")(r, c + k) == 0.0) == first);
                }
            if (!dropped) CHECK((whole > 0 && whole < count * 3));
            // A dropped row has the null value, the others are not scaled.
            for (index_t r = 0; r < count; ++r) {
                bool const null = of("null")(r, 0) == -0.25;
                dropped_rows += null;
                for (index_t c = 0; c < 12; ++c) {
                    if (null) CHECK(of("null")(r, c) == -0.25);
                    CHECK(std::fabs(of("null")(r, c)) < 1.0); // tanh
                }
            }
        });
    CHECK((dropped_steps > 1 && dropped_steps < 11));
    CHECK((dropped_rows > 60 && dropped_rows < 12 * count - 60));
}

TEST_CASE("dropouts: the same bits for one thread and two", "[train]") {
    problem one(1), two(2);
    for (int step = 0; step < 3; ++step) {
        one.run.step(one.batch());
        two.run.step(two.batch());
    }
    CHECK(snapshot(one.run) == snapshot(two.run));
}

TEST_CASE("dropouts: gradients of all of them", "[train]") {
    problem p;
    p.x = naive::random(count, width, 4);
    p.run.set_value("columns"_name, 6.0);
    for (int step = 0; step < 3; ++step) {
        auto const report = check_gradients(p.run, p.x.view(), p.batch().tags);
        INFO(report.text());
        CHECK(report.ok(1e-6));
        CHECK(report.checked >= 4 * report.skipped);
        p.run.step(p.batch());
    }
}

TEST_CASE("dropouts: segments that do not fill a layer, rates that are none", "[train]") {
    problem p;
    p.run.step(p.batch());
    auto const refuses = [&](std::string const& part, auto const& call) {
        snapshot const before(p.run);
        CHECK_THAT(message_of<data_error>(call), contains_text(part));
        CHECK(snapshot(p.run) == before);
    };
    refuses("dropout drop_segment: its segments have 5 columns at step 1, needed is a number that divides the 12 "
            "columns of the layer",
            [&] { p.run.set_value("columns"_name, 5.0); });
    CHECK_NOTHROW(p.run.step(p.batch()));
    p.rate[3] = 1.25;
    refuses("dropout rate_of_row: the rate of row 3 is 1.25, needed is one in [0, 1]", [&] { p.run.step(p.batch()); });
    p.rate[3] = 1.0;
    CHECK_NOTHROW(p.run.step(p.batch()));
}
