// SPDX-License-Identifier: Apache-2.0
// A step takes no memory: not the layers, not the products, not the loss, not the update.
#include "../layer/naive.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/clip_global_norm.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <memory>
#include <new>

using namespace espalier;

#if defined(ESPALIER_TEST_COUNTS_MALLOC)

TEST_CASE("the counter of allocations counts", "[train]") {
    std::size_t const before = counted_allocations;
    std::unique_ptr<int, void (*)(void*)> a(static_cast<int*>(::operator new (64, std::align_val_t{64})),
                                            [](void* p) { ::operator delete (p, std::align_val_t{64}); });
    std::vector<int> b(100);
    int* volatile seen = b.data(); // a compiler may leave out memory that nobody sees
    seen[3] = 1;
    std::size_t const after = counted_allocations;
    CHECK(after - before == 2);
}

TEST_CASE("a step allocates nothing", "[train]") {
    using pruned =
        prune::policy<prune::by_magnitude, prune::global, prune::constant{.sparsity = 0.5, .every = 2}, prune::hard>;
    using expert = sequence<dense<64, activation::relu, dropout::bernoulli<0.25>>, dense<64>>;
    using stack =
        sequence<input<784>,
                 dense<256, activation::relu, dropout::bernoulli<0.25>, penalty::l1<1e-4>, penalty::l2<1e-4>,
                       penalty::group_lasso<1e-4, penalty::over::columns>, transform::clip_global_norm<1.0>,
                       activation_penalty::flops<1e-3>, pruned>,
                 batch_norm<>, residual<dense<256, activation::relu, pruned>>, dense<64>,
                 moe<gate::top_k<4, 2>, expert>, multi_sample<2, dense<32, dropout::bernoulli<0.5>>, dense<10>>>;
    constexpr index_t rows_given = 128;
    network<stack, device::cpu, float> net({1}, rows_given);
    training run(net, loss::early_learning{}, optimizer::adam{}, rows_given);
    std::vector<float> x(static_cast<std::size_t>(rows_given * 784));
    std::vector<std::int64_t> ids(static_cast<std::size_t>(rows_given));
    auto const values = naive::random(1, rows_given * 784, 3);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(values.values[i]);
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = static_cast<std::int64_t>(i);
    auto const labels = naive::cyclic_labels(rows_given, 10);
    for (index_t const n : {rows_given, index_t{37}, index_t{1}}) {
        rows tags = naive::tags_of(n, &labels);
        tags.sample = ids.data();
        batch_view<float> const batch{contiguous_view<float const>(x.data(), n, 784), tags, {}};
        // the first step too: construction takes everything
        std::size_t const before = counted_allocations;
        run.step(batch);
        run.step(batch);
        run.evaluate(batch);
        std::size_t const after = counted_allocations;
        CHECK(after == before);
    }
    std::vector<float> y(static_cast<std::size_t>(rows_given * 10));
    std::size_t const before = counted_allocations;
    net.predict(contiguous_view<float const>(x.data(), rows_given, 784), contiguous_view(y.data(), rows_given, 10));
    std::size_t const after = counted_allocations;
    CHECK(after == before);
}

#else

TEST_CASE("a step allocates nothing", "[train]") {
    // Sanitizers replace malloc themselves; the other builds count.
    SUCCEED("not counted with this C library or sanitizer");
}

#endif
