// SPDX-License-Identifier: Apache-2.0
// Dispatches against each other: the same numbers, and the same bits where they are promised.
#include "routed.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace routed;

namespace {
template <class Stack> naive::matrix trained(Stack*, int steps, int threads, naive::matrix& y) {
    naive::network<Stack> net({6}, 50, std::make_unique<device::cpu>(threads, 0));
    tagged_batch batch(50, 5, 4, 6);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    for (int i = 0; i < steps; ++i) {
        batch.x = naive::random(50, 5, static_cast<std::uint64_t>(i), 2.0);
        run.step({batch.x.view(), batch.tags(), {}});
    }
    y = predicted(net, naive::random(50, 5, 99), batch.tags());
    return naive::copy(contiguous_view<double const>(net.values().weights().data(), 1, net.values().weights().size()));
}
template <class Gate, class Dispatch> using with = sequence<input<5>, moe<Gate, dropping, Dispatch>>;
template <class A, class B> void check_alike(double tolerance) {
    naive::matrix y, other_y;
    auto const weights = trained(static_cast<A*>(nullptr), 4, 1, y);
    auto const others = trained(static_cast<B*>(nullptr), 4, 1, other_y);
    CHECK(naive::distance(weights, others) <= tolerance);
    CHECK(naive::distance(y, other_y) <= tolerance);
}
} // namespace

TEST_CASE("dispatches agree, random factors inside the experts included", "[layer][gate]") {
    check_alike<with<gate::comet<4, 2>, dispatch::dense>, with<gate::comet<4, 2>, dispatch::automatic<>>>(1e-13);
    check_alike<with<gate::comet<4, 2>, dispatch::compacted>, with<gate::comet<4, 2>, dispatch::automatic<0.0, 1.0>>>(
        1e-13);
    check_alike<with<gate::top_k<4, 2>, dispatch::compacted>, with<gate::top_k<4, 2>, dispatch::capacity<4.0>>>(0.0);
    check_alike<with<gate::hash<4, 6>, dispatch::compacted>, with<gate::hash<4, 6>, dispatch::dense>>(1e-13);
    using one = sequence<input<5>, multi_gate<gates<gate::top_k<4, 2>>, dropping>>;
    check_alike<with<gate::top_k<4, 2>, dispatch::compacted>, one>(0.0);
    naive::matrix y, two_y;
    using tasks = sequence<input<5>, multi_gate<gates<gate::top_k<4, 2>, gate::softmax<4>>, dropping>, slice<0, 3>>;
    auto const one_thread = trained(static_cast<tasks*>(nullptr), 3, 1, y);
    auto const two_threads = trained(static_cast<tasks*>(nullptr), 3, 2, two_y);
    CHECK(one_thread.values == two_threads.values);
    CHECK(y.values == two_y.values);
}

namespace {
/// The same steps and the same predictions, and the batches below need several chunks.
template <class Gate, int Rows, class Expert> void check_chunks() {
    using chunks = sequence<input<5>, moe<Gate, Expert, dispatch::chunked<Rows>>>;
    using whole = sequence<input<5>, moe<Gate, Expert, dispatch::compacted>>;
    using mixture = typename moe<Gate, Expert, dispatch::chunked<Rows>>::template bind<shape{5}, type_list<>>;
    using known = typename mixture::known;
    using larger_mixture = typename moe<Gate, Expert, dispatch::compacted>::template bind<shape{5}, type_list<>>;
    constexpr index_t row_count = 300, capacity = 320;
    REQUIRE(known::kept_rows.bytes(capacity) < known::experts * row_count / 2);
    CHECK(mixture::template size<double>().tape.bytes(4096) < larger_mixture::template size<double>().tape.bytes(4096));
    auto const train = [&]<class Stack>(std::type_identity<Stack>, int threads, naive::matrix& y) {
        naive::network<Stack> net({6}, row_count, std::make_unique<device::cpu>(threads, 0));
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
        std::vector<double> losses;
        for (int i = 0; i < 4; ++i) {
            tagged_batch batch(i == 2 ? 3 : row_count, 5, 4, 6); // the third one fits one chunk
            batch.x = naive::random(batch.x.rows, 5, static_cast<std::uint64_t>(i), 2.0);
            losses.push_back(run.step({batch.x.view(), batch.tags(), {}}).total);
        }
        y = naive::forward<mode::evaluate>(net, naive::random(row_count, 5, 99));
        auto const weights = net.values().weights();
        losses.insert(losses.end(), weights.data(), weights.data() + weights.size());
        return losses;
    };
    naive::matrix y, expected, threaded;
    auto const wanted = train(std::type_identity<whole>{}, 1, expected);
    CHECK(train(std::type_identity<chunks>{}, 1, y) == wanted);
    CHECK(y.values == expected.values);
    CHECK(train(std::type_identity<chunks>{}, 2, threaded) == wanted);
    CHECK(threaded.values == expected.values);
}
} // namespace

TEST_CASE("experts in chunks give the bits of experts in one piece", "[layer][gate]") {
    using penalised = dense<3, activation::tanh, dropout::bernoulli<0.3>, activation_penalty::l1<0.01>>;
    using different = experts<penalised, sequence<dense<7, activation::tanh>, dense<3>>, dropping, penalised, dropping,
                              sequence<dense<9, activation::relu>, dense<3>>>;
    check_chunks<gate::softmax<8>, 1, dropping>();
    check_chunks<gate::comet<7, 2>, 1, penalised>(); // starts with all experts
    check_chunks<gate::softmax<6>, 1, different>();
    check_chunks<gate::softmax<16>, 5, sequence<dense<4, activation::tanh>, dropping>>();
}

namespace {
/// Terms, measures, gradients, weights and state of some steps, and what the last weights predict.
template <class Stack> std::vector<double> seen_by(std::type_identity<Stack>) {
    naive::network<Stack> net({6}, 50);
    tagged_batch batch(50, 5, 4, 6);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    std::vector<double> all;
    auto const add = [&](double const* values, index_t n) { all.insert(all.end(), values, values + n); };
    for (int i = 0; i < 4; ++i) {
        batch.x = naive::random(50, 5, static_cast<std::uint64_t>(i), 2.0);
        run.step({batch.x.view(), batch.tags(), {}});
        for (auto const* numbers : {&run.terms(), &run.measures()})
            add(numbers->data(), static_cast<index_t>(numbers->size()));
        add(run.gradients().data(), run.gradients().size());
        add(net.values().weights().data(), net.values().weights().size());
        add(net.values().state().data(), net.values().state().size());
    }
    auto const y = predicted(net, naive::random(50, 5, 99), batch.tags());
    add(y.values.data(), static_cast<index_t>(y.values.size()));
    return all;
}
/// Experts that make something of all their rows: the dispatch changes nothing of it. What kind of layer it is does not
/// matter to the dispatches that gather anyway: they are looked at once.
template <class Gate, class Expert, bool Every = false> void check_rows_that_count() {
    auto const by = [](auto dispatch) {
        return seen_by(std::type_identity<sequence<input<5>, moe<Gate, Expert, decltype(dispatch)>>>{});
    };
    auto const wanted = by(dispatch::compacted{});
    CHECK(by(dispatch::dense{}) == wanted);
    CHECK(by(dispatch::automatic<0.0, 0.0>{}) == wanted); // dense in every batch, if the experts did not mind
    if constexpr (Every) {
        CHECK(by(dispatch::automatic<>{}) == wanted);
        CHECK(by(dispatch::capacity<8.0>{}) == wanted);
    }
}
} // namespace

TEST_CASE("rows that the gate did not send to an expert count nowhere in it, by any dispatch", "[layer][gate]") {
    using penalised = dense<3, activation::tanh, dropout::bernoulli<0.3>, activation_penalty::l1<0.5>>;
    using columns = sequence<dense<7, activation::relu, activation_penalty::flops<0.5>>, dense<3>>;
    using normal = sequence<dense<7>, batch_norm<>, dense<3>>;
    using inside = moe<gate::top_k<3, 2, gate::balance<0.5>>, dropping, dispatch::dense>;
    check_rows_that_count<gate::top_k<4, 2>, penalised, true>();
    check_rows_that_count<gate::top_k<4, 2>, columns>();
    check_rows_that_count<gate::top_k<4, 2>, normal>();
    check_rows_that_count<gate::top_k<4, 2>, inside>();
    check_rows_that_count<gate::comet<4, 2>,
                          sequence<dense<7, activation::relu, activation_penalty::l1<0.5>>, normal>>();
    check_rows_that_count<gate::expert_choice<4>, penalised>();
    check_rows_that_count<gate::softmax<4>, normal>();
    // Without rows of weight 0 there is nothing to leave out, and without such a layer dense stays dense.
    using all_rows = typename moe<gate::softmax<4>, dense<3>, dispatch::dense>::template bind<shape{5}, type_list<>>;
    static_assert(!all_rows::known::gathers && all_rows::known::pair_rows.per_row == 4);
}
