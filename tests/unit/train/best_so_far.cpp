// SPDX-License-Identifier: Apache-2.0
// The best parameters of a loop of one's own: kept, given back, and part of a checkpoint.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"
#include "fit_data.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/best_so_far.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;
using espalier_test::clusters;
using espalier_test::temporary_folder;

namespace {

// With masks and a second copy of the weights, which no file has.
using hidden = dense<8, activation::tanh, dropout::bernoulli<schedule::runtime{"rate"_name, 0.25}>,
                     prune::magnitude<0.5, prune::per_layer, prune::straight_through>>;
using stack = sequence<input<4>, hidden, dense<3>>;
using net_type = network<stack, device::cpu, float>;
constexpr optimizer::adam<> adam{.learning_rate = 0.01};

bool same_weights(net_type const& a, net_type const& b) {
    return std::memcmp(a.values().weights().data(), b.values().weights().data(), a.values().weights().bytes()) == 0;
}

} // namespace

TEST_CASE("best so far: the least value wins, NaN never does, and time comes back with the weights", "[train]") {
    data_set const data = clusters(16, 4, 1);
    net_type net({1}, 16);
    training run{net, loss::cross_entropy{}, adam};
    batches<float> rows(data, 16, net.random_seed());
    best_so_far best{net};
    CHECK(best.value() == std::numeric_limits<double>::infinity());
    CHECK_FALSE(best.offer(net, std::nan("")));
    CHECK(best.worse_since() == 1);

    run.set_value("rate"_name, 0.5);
    run.step(rows[0]);
    CHECK(best.offer(net, 2.0));
    CHECK(best.worse_since() == 0);
    net_type const kept = net;

    run.set_value("rate"_name, 0.125);
    for (double const value : {2.0, 3.0, std::nan("")}) {
        run.step(rows[0]);
        CHECK_FALSE(best.offer(net, value));
    }
    CHECK(best.worse_since() == 3);
    CHECK(best.value() == 2.0);
    REQUIRE_FALSE(same_weights(net, kept));

    best.restore(net);
    CHECK(same_weights(net, kept));
    CHECK(net.time().step == 1);
    REQUIRE(net.time().values.size == 1);
    CHECK(net.time().values[0].value == 0.5);
}

TEST_CASE("best so far: a training that goes on from a checkpoint has the best of the unbroken one", "[train][io]") {
    temporary_folder const folder;
    data_set const data = clusters(48, 4, 1);
    std::vector<double> const judged{3.0, 0.1, 1.0, 2.0, 0.5}; // the least before the stop
    auto const steps = [&](auto& run, auto& best, std::size_t first, std::size_t last) {
        batches<float> rows(data, 16, run.net().random_seed());
        for (std::size_t i = first; i < last; ++i) {
            run.set_value("rate"_name, 0.5 / static_cast<double>(i + 1));
            run.step(rows[static_cast<index_t>(i % 3)]);
            best.offer(run.net(), judged[i]);
        }
    };
    net_type whole({1}, 16), stopped({1}, 16), resumed({1}, 16);
    training whole_run{whole, loss::cross_entropy{}, adam}, stopped_run{stopped, loss::cross_entropy{}, adam},
        resumed_run{resumed, loss::cross_entropy{}, adam};
    best_so_far best_of_whole{whole}, best_of_stopped{stopped}, best_of_resumed{resumed};
    steps(whole_run, best_of_whole, 0, 5);

    steps(stopped_run, best_of_stopped, 0, 3);
    auto const file = folder / "stopped.safetensors";
    save_training(stopped_run, file, {}, {best_of_stopped.follow()});
    load_training(resumed_run, file, {best_of_resumed.follow()});
    CHECK(best_of_resumed.value() == 0.1);
    CHECK(best_of_resumed.worse_since() == 1);
    steps(resumed_run, best_of_resumed, 3, 5);
    CHECK(best_of_resumed.worse_since() == best_of_whole.worse_since());
    REQUIRE(same_weights(whole, resumed));

    best_of_whole.restore(whole);
    best_of_resumed.restore(resumed);
    CHECK(same_weights(whole, resumed));
    CHECK(resumed.time().step == 2);
    REQUIRE(resumed.time().values.size == 1);
    CHECK(resumed.time().values[0].value == 0.25);
    auto const outputs = predict(whole, data);
    CHECK(predict(resumed, data) == outputs);
}

TEST_CASE("best so far: a checkpoint without a best, or with another record, is refused with nothing changed",
          "[train][io]") {
    temporary_folder const folder;
    net_type net({1}, 16);
    training run{net, loss::cross_entropy{}, adam};
    best_so_far best{net};
    best.offer(net, 1.5);
    auto const file = folder / "x.safetensors";
    auto const refusal = [&](std::vector<follower> const& followers) {
        save_training(run, file, {}, followers);
        return message_of<file_error>([&] { load_training(run, file, {best.follow()}); });
    };
    CHECK_THAT(refusal({}), contains_text("there is no tensor 'best.1.kernel'"));

    follower longer = best.follow();
    std::uint64_t const words[9] = {};
    longer.write = [&, write = longer.write](std::vector<tensor_record>& records) {
        write(records);
        records.back() = make_record("best.record", {9}, array_view<std::uint64_t const>{words, 9});
    };
    CHECK_THAT(refusal({longer}), contains_text("tensor 'best.record' is none that best_so_far has written"));
    longer.write = [&, write = best.follow().write](std::vector<tensor_record>& records) {
        write(records);
        records.pop_back();
    };
    CHECK_THAT(refusal({longer}), contains_text("best.record"));
    CHECK(best.value() == 1.5);
    CHECK(best.worse_since() == 0);
}
