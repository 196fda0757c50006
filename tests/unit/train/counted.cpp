// SPDX-License-Identifier: Apache-2.0
// Rows that do not count, count nowhere: a batch with them is the batch without them, bit for bit.
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/batch/concept.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/transform/agreement.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

using namespace espalier;

namespace {

constexpr index_t width = 5, classes = 3, most = 40;

/// Rows with everything that a batch can say about them.
struct tagged_rows {
    naive::matrix x{most, width};
    std::vector<std::int32_t> label, partner, group;
    std::vector<float> mixing, weight, sign;
    std::vector<double> targets;
    std::vector<std::int64_t> sample;
    std::vector<std::uint64_t> key;
    std::vector<std::uint32_t> origin;
    index_t count = 0;

    void add(tagged_rows const& from, index_t i) {
        auto const r = static_cast<std::size_t>(i);
        std::copy_n(from.x.view().row(i), width, x.view().row(count));
        label.push_back(from.label[r]);
        partner.push_back(from.partner[r]);
        group.push_back(from.group[r]);
        mixing.push_back(from.mixing[r]);
        weight.push_back(from.weight[r]);
        sign.push_back(from.sign[r]);
        sample.push_back(from.sample[r]);
        key.push_back(from.key[r]);
        origin.push_back(from.origin[r]);
        for (index_t c = 0; c < classes; ++c)
            targets.push_back(from.targets[static_cast<std::size_t>(i * classes + c)]);
        ++count;
    }
    batch_view<double> view() const {
        batch_view<double> b;
        b.inputs = x.view().middle_rows(0, count);
        b.targets = contiguous_view<double const>(targets.data(), count, classes);
        b.tags.count = count;
        b.tags.label = label.data();
        b.tags.partner_label = partner.data();
        b.tags.mixing = mixing.data();
        b.tags.weight = weight.data();
        b.tags.sign = sign.data();
        b.tags.sample = sample.data();
        b.tags.group = group.data();
        b.tags.key = key.data();
        b.tags.origin = origin.data();
        return b;
    }
};

/// 16 rows that count and, among and behind them, others that do not: without a label, with weight 0, with numbers that
/// would spoil everything.
void make(tagged_rows& whole, tagged_rows& alone, std::uint64_t number) {
    tagged_rows all;
    all.x = naive::random(most, width, number, 2.0);
    for (index_t i = 0; i < most; ++i) {
        bool const counts = i % 2 == 0 && i < 32;
        all.label.push_back(counts || i % 3 != 0 ? static_cast<std::int32_t>(i % classes) : -1);
        all.partner.push_back(all.label.back());
        all.group.push_back(static_cast<std::int32_t>(i % 2));
        all.mixing.push_back(0.75f);
        all.weight.push_back(counts ? 0.5f + static_cast<float>(i % 5) : i % 3 != 0 ? 0.0f : 1.0f);
        all.sign.push_back(1.0f);
        all.sample.push_back(i);
        all.key.push_back(static_cast<std::uint64_t>(i));
        all.origin.push_back(static_cast<std::uint32_t>(i));
        for (index_t c = 0; c < classes; ++c)
            all.targets.push_back(c == i % classes ? 0.8 : 0.1);
        if (i == 5) all.x(i, 2) = std::numeric_limits<double>::infinity();
        if (i == 9) all.x(i, 0) = std::nan("");
    }
    for (index_t i = 0; i < most; ++i) {
        whole.add(all, i);
        if (i % 2 == 0 && i < 32) alone.add(all, i);
    }
}

template <class Net> std::vector<double> everything(Net const& net) {
    std::vector<double> all(net.values().weights().data(),
                            net.values().weights().data() + net.values().weights().size());
    all.insert(all.end(), net.values().state().data(), net.values().state().data() + net.values().state().size());
    return all;
}

template <class Stack, class Loss> void check(Loss const& loss) {
    naive::network<Stack> a({6}, most), b({6}, most);
    training with(a, loss, optimizer::adam{.learning_rate = 1e-2}, most);
    training without(b, loss, optimizer::adam{.learning_rate = 1e-2}, most);
    for (std::uint64_t step = 0; step < 4; ++step) {
        tagged_rows whole, alone;
        make(whole, alone, step);
        CHECK(with.objective(whole.view()) == without.objective(alone.view()));
        CHECK(with.gradients_of(whole.view()) == without.gradients_of(alone.view()));
        naive::matrix dx(whole.count, width), expected(alone.count, width);
        CHECK(with.input_gradients_of(whole.view(), dx.view()) ==
              without.input_gradients_of(alone.view(), expected.view()));
        index_t next = 0;
        for (index_t r = 0; r < whole.count; ++r) {
            bool const counts = whole.view().tags.counts(r);
            for (index_t c = 0; c < width; ++c)
                CHECK(dx(r, c) == (counts ? expected(next, c) : 0.0));
            next += counts;
        }
        REQUIRE(next == 16);
        auto const one = with.step(whole.view()), other = without.step(alone.view());
        CHECK(one.loss == other.loss);
        CHECK(one.total == other.total);
        CHECK(with.terms() == without.terms());
        CHECK(with.measures() == without.measures());
        CHECK(with.counted_rows() == 16);
        CHECK(everything(a) == everything(b));
    }
}

using expert = sequence<dense<6, activation::tanh, activation_penalty::l1<0.01>>, dense<4>>;
template <class Layer> using around = sequence<input<width>, Layer, dense<classes>>;

} // namespace

TEST_CASE("counted: gates, capacities, activation penalties, statistics and samples see only rows that count",
          "[train][counted]") {
    loss::cross_entropy const loss;
    check<around<dense<8, activation::tanh, dropout::bernoulli<0.4>>>>(loss);
    check<around<batch_norm<>>>(loss);
    check<around<dense<8, activation_penalty::flops<0.1>>>>(loss);
    check<around<dense<8, activation_penalty::l1<0.1>>>>(loss);
    check<around<moe<gate::top_k<4, 1, gate::balance<0.5>, gate::jitter<0.3>>, expert>>>(loss);
    check<around<moe<gate::top_k<4, 2, gate::importance<0.5>, gate::load<0.1>, gate::learned_noise>, expert>>>(loss);
    check<around<moe<gate::top_k<4, 2, gate::z_loss<0.5>>, expert, dispatch::capacity<0.8>>>>(loss);
    check<around<moe<gate::comet<4, 2>, expert, dispatch::dense>>>(loss);
    check<around<moe<gate::expert_choice<4, 1.5>, expert>>>(loss);
    check<sequence<input<width>, dense<8, activation::tanh>,
                   multi_sample<3, batch_norm<>, dense<classes, dropout::bernoulli<0.3>>>>>(loss);
    // Layers behind several samples draw for rows of which the batch has no tags.
    check<sequence<input<width>, multi_sample<3, dense<8, dropout::bernoulli<0.3>>>,
                   dense<classes, dropout::bernoulli<0.3>>>>(loss);
    check<around<batch_norm<>>>(loss::early_learning{});
    check<around<batch_norm<>>>(loss::mean_squared_error{});
    check<around<moe<gate::top_k<4, 2, gate::balance<0.5>>, expert>>>(loss::soft_cross_entropy{});
}

TEST_CASE("counted: both streams of gradients", "[train][counted]") {
    using stack =
        sequence<input<width>, dense<8, activation::tanh>, batch_norm<>, dense<classes, transform::agreement<0.7>>>;
    naive::network<stack> a({6}, most), b({6}, most);
    training with(a, loss::cross_entropy{}, optimizer::sgd{}, most);
    training without(b, loss::cross_entropy{}, optimizer::sgd{}, most);
    for (std::uint64_t step = 0; step < 3; ++step) {
        tagged_rows whole, alone;
        make(whole, alone, step);
        auto const one = with.step(whole.view(), whole.view(), loss::soft_cross_entropy{});
        auto const other = without.step(alone.view(), alone.view(), loss::soft_cross_entropy{});
        CHECK(one.loss == other.loss);
        CHECK(one.reference == other.reference);
        CHECK(everything(a) == everything(b));
    }
}

TEST_CASE("counted: evaluation gives every row its outputs and counts those that count", "[train][counted]") {
    using stack = around<batch_norm<>>;
    naive::network<stack> net({6}, most);
    training run(net, loss::cross_entropy{}, optimizer::sgd{});
    tagged_rows whole, alone;
    make(whole, alone, 1);
    CHECK(run.evaluate(whole.view()) == Approx(run.evaluate(alone.view())).epsilon(1e-14));
    run.evaluate(whole.view());
    naive::matrix y(most, classes);
    net.predict(whole.view().inputs, y.view());
    for (index_t c = 0; c < classes; ++c)
        CHECK(run.outputs(most)(39, c) == y(39, c));
}

TEST_CASE("counted: what is wrong is named by the row that the program knows", "[train][counted]") {
    naive::network<around<batch_norm<>>> net({6}, most);
    training run(net, loss::cross_entropy{}, optimizer::sgd{});
    tagged_rows whole, alone;
    make(whole, alone, 1);
    whole.label[30] = 7;
    auto const before = everything(net);
    CHECK_THROWS_WITH(run.step(whole.view()), contains_text("label 7 in row 30"));
    CHECK(everything(net) == before);
    // Nothing but rows that do not count: a step without rows.
    tagged_rows none, unused;
    make(none, unused, 1);
    for (float& w : none.weight)
        w = 0.0f;
    CHECK(run.step(none.view()).loss == 0.0);
    CHECK(run.counted_rows() == 0);
    CHECK(everything(net) == before);
}

TEST_CASE("counted: a batch without any label has loss 0 and gradient 0", "[train][counted]") {
    // not in the template: docs/compilers.md, Clang
    optimizer::sgd const sgd{.learning_rate = 0.1, .momentum = 0.9};
    auto const check = [&sgd]<class Stack>(std::type_identity<Stack>) {
        naive::network<Stack> net({6}, most);
        training run(net, loss::cross_entropy{}, sgd);
        tagged_rows none, unused;
        make(none, unused, 1);
        for (index_t i = 0; i < most; ++i) {
            auto const r = static_cast<std::size_t>(i);
            none.label[r] = none.partner[r] = -1;
            none.weight[r] = 1.0f;
        }
        auto const before = everything(net);
        CHECK(run.gradients_of(none.view()) == 0.0);
        for (index_t i = 0; i < run.gradients().size(); ++i)
            REQUIRE(run.gradients()[i] == 0.0);
        auto const result = run.step(none.view());
        CHECK(result.loss == 0.0);
        CHECK(result.total == 0.0);
        CHECK(run.counted_rows() == 0);
        CHECK(everything(net) == before);
        CHECK(run.evaluate(none.view()) == 0.0);
    };
    check(std::type_identity<around<dense<4, activation::tanh, activation_penalty::l1<0.01>>>>{});
    check(std::type_identity<around<batch_norm<>>>{});
    check(std::type_identity<
          around<moe<gate::top_k<4, 2, gate::balance<0.5>, gate::importance<0.1>, gate::z_loss<>>, dense<4>>>>{});
}

namespace {

/// A batch policy that leaves the first batch one row that counts.
struct thinning {
    template <class T>
    void apply(batch::batch_memory<T>& memory, index_t n, shape, espalier::clock const& now, random_site const&) const {
        batch::detail::copy_rows(memory, n);
        for (index_t i = 1; now.step == 0 && i < n; ++i)
            memory.weight[i] = 0.0f;
    }
};

} // namespace

TEST_CASE("counted: means over batches weigh the rows that counted", "[train][counted]") {
    // 33 rows in batches of 16: the last batch has one row, whose loss is far from the others'.
    data_set data;
    data.count = 33;
    data.width = width;
    auto const x = naive::random(33, width, 4);
    for (index_t r = 0; r < 33; ++r) {
        data.labels.push_back(static_cast<std::int32_t>(r % classes));
        for (index_t c = 0; c < width; ++c)
            data.features.push_back(static_cast<float>(x(r, c) * (r == 32 ? 50.0 : 1.0)));
    }
    using stack = sequence<input<width>, moe<gate::top_k<4, 1, gate::balance<0.5>>, dense<classes>>>;
    network<stack, device::cpu, double> net({6}, 16), same({6}, 16);
    fit_options options{.epochs = 1, .batch = 16, .shuffle = false, .progress = false};
    auto const record = fit(net, espalier::loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}, data, options);
    training run(same, espalier::loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    double loss = 0.0, balance = 0.0;
    std::vector<double> losses;
    for (index_t first = 0; first < 33; first += 16) {
        index_t const n = std::min<index_t>(16, 33 - first);
        batch_view<double> b;
        std::vector<double> inputs;
        for (index_t i = first * width; i < (first + n) * width; ++i)
            inputs.push_back(static_cast<double>(data.features[static_cast<std::size_t>(i)]));
        b.inputs = contiguous_view<double const>(inputs.data(), n, width);
        b.tags.count = n;
        b.tags.label = data.labels.data() + first;
        run.step(b);
        losses.push_back(run.terms()[0]);
        loss += run.terms()[0] * static_cast<double>(n);
        balance += run.terms()[1] * static_cast<double>(n);
    }
    CHECK(record.last("loss") == Approx(loss / 33.0).epsilon(1e-13));
    CHECK(record.last("1.gate.top_k") == Approx(balance / 33.0).epsilon(1e-13));

    network<stack, device::cpu, double> thin({6}, 16);
    double first_loss = 0.0;
    {
        network<stack, device::cpu, double> other({6}, 16);
        training alone(other, espalier::loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
        batch_view<double> b;
        std::vector<double> const inputs(data.features.begin(), data.features.begin() + width);
        b.inputs = contiguous_view<double const>(inputs.data(), 1, width);
        b.tags.count = 1;
        b.tags.label = data.labels.data();
        first_loss = alone.step(b).loss;
    }
    auto const thinned =
        fit(thin, espalier::loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}, data, options, thinning{});
    CHECK(thinned.last("loss") == Approx((loss - losses[0] * 16.0 + first_loss) / 18.0).epsilon(1e-12));
}
