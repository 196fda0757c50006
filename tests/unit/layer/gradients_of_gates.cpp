// SPDX-License-Identifier: Apache-2.0
// Gradients of every gate with every dispatch, of several tasks and of different experts, against central differences.
#include "routed.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/train/check_gradients.hpp>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

#include <cstdint>

using namespace espalier;
using namespace routed;

namespace {

struct no_optimizer {
    no_step at(espalier::clock const&, std::uint64_t) const { return {}; }
    void validate() const {}
};

/// Gradients of a stack on a tagged batch against central differences; `spread` moves its biases.
template <class Stack> void check_stack(index_t n = 11, double spread = 0.3) {
    naive::network<Stack> net({7}, n);
    tagged_batch batch(n, Stack::output(shape{}).size() > 0 ? net.input_width : 0, 4, 6);
    for (tensor_info const& t : net.tensors())
        if (t.trained && t.tensor_role == role::bias) {
            auto const extra = naive::random(1, t.size(), 3 + static_cast<std::uint64_t>(t.offset), spread);
            for (index_t i = 0; i < t.size(); ++i)
                net.values().view(t).data[i] += extra(0, i);
        }
    for (index_t r = 0; r < n; ++r)
        batch.x(r, 0) = static_cast<double>(r % 4) + 0.4; // what by_range reads
    training<naive::network<Stack>, loss::cross_entropy, no_optimizer> run(net, {}, {}, n);
    gradient_check_options options;
    options.step = 4e-5;
    if (sanitized) options.elements = 10;
    auto const report = check_gradients(run, batch.x.view(), batch.tags(), {}, options);
    INFO(report.text());
    CHECK(report.ok(1e-6));
    CHECK(report.checked >= 4 * report.skipped);
}

using gate::hash, gate::enforced, gate::top_k, gate::comet, gate::dselect_k, gate::local_search, gate::search;
using ranges = gate::by_range<gate::equal_ranges<4, 0.0, 4.0>>;
constexpr search soft{.steps = 1000, .first_temperature = 0.2, .last_temperature = 0.1, .entropy = 0.01};
constexpr search apart{
    .steps = 1000, .first_temperature = 0.2, .last_temperature = 0.1, .apart = true, .entropy = 0.01};
constexpr search noisy{.steps = 1000, .first_temperature = 0.2, .last_temperature = 0.1, .noise = 0.1};
using keyed = moe<hash<3, 9>, expert>;
using two = gates<gate::top_k<4, 2>, gate::softmax<4>>;
using heads = parallel<merge::concatenate, sequence<slice<0, 3>, dense<2>>, sequence<slice<3, 3>, dense<2>>>;
using three = gates<gate::top_k<4, 2>, gate::hash<4, 6>, gate::comet<4, 1>>;
using different = experts<dense<3, activation::tanh>, sequence<dense<7, activation::tanh>, dense<3>>, expert>;

} // namespace

TEMPLATE_TEST_CASE(
    "gradients: every gate with every dispatch", "[layer][gate]",
    (sequence<input<5>, dense<6>, moe<hash<4, 6>, expert>>),
    (sequence<input<5>, dense<6>, moe<hash<4, 6>, expert, dispatch::dense>>),
    (sequence<input<5>, dense<6>, moe<enforced<4>, expert, dispatch::capacity<1.0>>>),
    (sequence<input<5>, moe<ranges, expert>>), (sequence<input<5>, moe<gate::expert_choice<3>, expert>>),
    (sequence<input<5>, moe<gate::expert_choice<3>, expert, dispatch::dense>>),
    (sequence<input<5>, moe<gate::same_for_all_rows<comet<3, 2>>, expert>>),
    (sequence<input<5>, moe<comet<5, 2>, expert, dispatch::automatic<>>>),
    (sequence<input<5>, moe<dselect_k<4, 2>, expert, dispatch::automatic<0.1, 0.2>>>),
    (sequence<input<5>, moe<top_k<4, 2>, expert, dispatch::capacity<0.75>>>),
    (sequence<input<5>, moe<top_k<4, 1, gate::over_all>, dense<5>, dispatch::capacity<0.6, dispatch::overflow::pass>>,
              dense<3>>),
    (sequence<input<5>, moe<top_k<3, 2, gate::learned_noise, gate::importance<0.3>, gate::load<0.2>>, dropping>>),
    (sequence<input<5>, moe<gate::softmax<3, gate::jitter<0.3>, gate::importance<0.3>>, expert>>),
    (sequence<input<5>, moe<local_search<top_k<4, 2>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<comet<4, 2>, soft>, expert, dispatch::dense>>),
    (sequence<input<5>, moe<local_search<hash<4, 6>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<dselect_k<4, 2>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<dselect_k<3, 2>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<gate::expert_choice<3>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<top_k<4, 2, gate::over_all>, soft>, expert>>),
    (sequence<input<5>, moe<local_search<comet<4, 2>, apart>, expert>>),
    (sequence<input<5>, moe<local_search<dselect_k<4, 2>, apart>, expert>>),
    (sequence<input<5>, moe<local_search<gate::softmax<3>, noisy>, expert>>),
    (sequence<input<5>, moe<local_search<top_k<4, 2>, search{.steps = 0}>, expert>>),
    (sequence<input<3>, residual<moe<gate::same_for_all_rows<gate::softmax<3>>, keyed>>>)) {
    check_stack<TestType>();
}

TEST_CASE("gradients: a gate of codes that is the same for all rows", "[layer][gate]") {
    check_stack<sequence<input<5>, moe<gate::same_for_all_rows<dselect_k<5, 2>>, expert>>>(7, 0.2);
}

TEMPLATE_TEST_CASE("gradients: several tasks and experts of different types", "[layer][gate]",
                   (sequence<input<5>, multi_gate<two, expert>, heads>),
                   (sequence<input<5>, multi_gate<two, expert, dispatch::dense>, heads>),
                   (sequence<input<5>, multi_gate<three, expert, dispatch::capacity<0.5>>, slice<2, 5>>),
                   (sequence<input<5>, moe<gate::top_k<3, 2>, different>>),
                   (sequence<input<5>, moe<gate::softmax<3>, different, dispatch::dense>>),
                   (sequence<input<5>, multi_gate<gates<gate::softmax<3>, gate::top_k<3, 1>>, different>>)) {
    check_stack<TestType>();
}

TEST_CASE("several gates: more experts than a row's places are remembered for", "[layer][gate]") {
    using many = gates<gate::softmax<300>, gate::top_k<300, 2>>;
    naive::network<sequence<input<5>, multi_gate<many, dense<2>>>> gathered({6}, 20);
    naive::network<sequence<input<5>, multi_gate<many, dense<2>, dispatch::dense>>> everywhere({6}, 20);
    auto const x = naive::random(20, 5, 3, 2.0);
    CHECK(naive::distance(naive::forward<mode::evaluate>(gathered, x), naive::forward<mode::evaluate>(everywhere, x)) <
          1e-14);
}
