// SPDX-License-Identifier: Apache-2.0
// Lookup against the table itself, its gradient against central differences, and ids that are no ids.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace espalier;

namespace {

// Users and films; rows 0 and 3 share both ids, rows 1 and 4 the film.
std::vector<double> const ids{2, 0, 4, 6, 0, 3, 2, 0, 1, 6};
std::vector<std::int32_t> const labels{0, 1, 2, 1, 0};

rows tags() {
    rows t;
    t.count = 5;
    t.label = labels.data();
    return t;
}

template <class... Ps> using stack = sequence<input<2>, embedding<vocabulary<5, 7>, 3, Ps...>, dense<3>>;

} // namespace

TEST_CASE("embedding: rows of the table, side by side", "[layer][embedding]") {
    network<sequence<input<2>, embedding<vocabulary<5, 7>, 3>>, device::cpu, double> net(seed{3}, 5);
    REQUIRE(net.output_width == 6);
    auto const table = net.tensor("1.table");
    REQUIRE((table.rows == 12 && table.columns == 3));
    double largest = 0.0;
    for (index_t i = 0; i < 36; ++i)
        largest = std::max(largest, std::abs(table.data[i]));
    CHECK((largest > 0.04 && largest <= 0.05));
    std::vector<double> y(30);
    net.predict(contiguous_view<double const>(ids.data(), 5, 2), contiguous_view(y.data(), 5, 6));
    for (index_t r = 0; r < 5; ++r)
        for (index_t c = 0; c < 3; ++c) {
            auto const user = static_cast<index_t>(ids[static_cast<std::size_t>(2 * r)]);
            auto const film = static_cast<index_t>(ids[static_cast<std::size_t>(2 * r + 1)]);
            CHECK(y[static_cast<std::size_t>(6 * r + c)] == table(user, c));
            CHECK(y[static_cast<std::size_t>(6 * r + 3 + c)] == table(5 + film, c));
        }
}

TEST_CASE("embedding: gradients against central differences", "[layer][embedding]") {
    network<stack<>, device::cpu, double> net(seed{3}, 5);
    for (index_t i = 0; i < 36; ++i)
        net.tensor("1.table").data[i] *= 10.0;
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    auto x = ids;
    auto const report =
        check_gradients(run, contiguous_view(x.data(), 5, 2), tags(), {}, {.elements = 100, .inputs = false});
    INFO(report.text());
    CHECK(report.ok(1e-7));
    std::vector<double> dx(10, 7.0);
    run.input_gradients_of({contiguous_view<double const>(x.data(), 5, 2), tags()}, contiguous_view(dx.data(), 5, 2));
    CHECK(dx == std::vector<double>(10, 0.0));
}

TEST_CASE("embedding: a step moves the rows that were looked up, a penalty all of them", "[layer][embedding]") {
    network<stack<>, device::cpu, double> plain(seed{3}, 5);
    network<stack<penalty::l2<0.1>>, device::cpu, double> shrunk(seed{3}, 5);
    auto const step = [](auto& net) {
        std::vector<double> const before(net.tensor("1.table").data, net.tensor("1.table").data + 36);
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
        run.step({contiguous_view<double const>(ids.data(), 5, 2), tags()});
        std::vector<bool> moved(12, false);
        for (index_t r = 0; r < 12; ++r)
            for (index_t c = 0; c < 3; ++c)
                if (net.tensor("1.table")(r, c) != before[static_cast<std::size_t>(3 * r + c)])
                    moved[static_cast<std::size_t>(r)] = true;
        return moved;
    };
    CHECK(step(plain) == std::vector<bool>{1, 1, 1, 0, 1, /* films */ 1, 0, 0, 1, 0, 0, 1});
    CHECK(step(shrunk) == std::vector<bool>(12, true));
}

TEST_CASE("embedding: what is no id is refused before anything is changed", "[layer][embedding]") {
    network<stack<>, device::cpu, double> net(seed{3}, 5);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    std::vector<double> const before(net.values().weights().data(),
                                     net.values().weights().data() + net.values().weights().size());
    for (double wrong : {-1.0, 7.0, 2.5, std::numeric_limits<double>::quiet_NaN(), 1e300}) {
        auto x = ids;
        x[5] = wrong;
        INFO(wrong);
        auto const text = message_of<data_error>([&] {
            run.step({contiguous_view<double const>(x.data(), 5, 2), tags()});
        });
        CHECK_THAT(text, contains_text("row 2"));
        CHECK_THAT(text, contains_text("column 1"));
        CHECK_THAT(text, contains_text("0 to 6"));
        for (std::size_t i = 0; i < before.size(); ++i)
            if (net.values().weights().data()[i] != before[i]) FAIL("a weight changed");
        CHECK(run.time().step == 0);
    }
}
