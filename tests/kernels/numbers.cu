// SPDX-License-Identifier: Apache-2.0
// Every policy that takes a number, with numbers that 15 digits do not hold: check_numbers.py looks at what nvcc made
// of it. Experts and layers are small; only the types of the kernels matter.
#include <espalier/activation/power.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/context.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/dropout/with_rate.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/normal.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/smooth_l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/projection/non_negative.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/warm_up.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
#include <espalier/weight/score_mask.hpp>

namespace numbers {

using namespace espalier;
using namespace literals;

// Far enough apart that 15 digits tell them from each other: host code in which two print alike does not compile, and
// nobody would read which policy it was.
constexpr double third = 1.0 / 3.0, sixth = 1.0 / 6.0;
/// As a schedule: a structural value with numbers in it.
constexpr schedule::linear falling{.from = third, .to = sixth, .steps = 10};
constexpr schedule::linear ranks{.from = 1.0 + third, .to = 4.0, .steps = 10};
constexpr auto rising = schedule::warm_up{.steps = 5, .inner = falling};

template <class... Layers> using stack = sequence<input<8>, Layers...>;
using narrow = dense<8>;

using dense_layers = stack<
    dense<16, activation::relu, dropout::bernoulli<third>, activation_penalty::l1<third>, penalty::l1<third>,
          penalty::l2<falling>, penalty::where_pruned<penalty::l2<sixth>>,
          prune::magnitude<third, prune::per_layer, prune::decayed<falling>>, transform::clip_value<third>,
          transform::gradient_dropout<falling>>,
    dense<16, dropout::drop_path<rising>, activation_penalty::flops<rising>, penalty::elastic_net<third, sixth>,
          prune::n_m_magnitude<2, 4, prune::decayed<third>, sixth>, transform::clip_global_norm<third>,
          initial::uniform<-third, third>>,
    dense<16, activation::power<3>, initial::normal<third>>,
    dense<16, penalty::group_lasso<third, penalty::over::rows>, on<role::bias, penalty::smooth_l1<sixth>>,
          on<role::bias, prune::magnitude<sixth>>, transform::agreement<third, sixth>>,
    dense<16, dropout::filled<third, dropout::unscaled<dropout::drop_segment<4, sixth>>>,
          prune::magnitude<third, prune::n_m_stages<prune::stepwise{.kept = 1, .group = 8, .steps = 100}>>>,
    dense<16, prune::magnitude<1.0, prune::below<third>, prune::frozen>>,
    dense<16, prune::magnitude<third, prune::exchange<falling>>>,
    dense<16, dropout::shared_by<&rows::key, dropout::drop_step<falling>>>, dense<16, dropout::rate_of_row<>>,
    dense<16, penalty::proximal<penalty::l1<third>>, penalty::anchor<third>,
          penalty::elastic_weight_consolidation<falling>, initial::constant<third>>,
    dense<16, projection::non_negative, projection::box<-third, rising>, projection::max_norm<falling, over::tensor>>,
    dense<16, weight::compander<weight::arctan, third, sixth>>,
    dense<16, weight::compander<weight::tanh, third, sixth, weight::learned<third>>>,
    dense<16, weight::low_rank<4, ranks>, on<role::factor, penalty::nested_group_lasso<third, over::ranks>>>,
    dense<16, weight::low_rank_adapter<4, weight::adaptive_gain<third>>>, dense<16, weight::score_mask<third>>,
    batch_norm<batch_norm_options{.momentum = third, .epsilon = sixth}>,
    tap<"here"_name, activation_penalty::l1<falling>>>;

template <class Gate, class Dispatch = dispatch::dense> using mixture = stack<moe<Gate, narrow, Dispatch>>;

constexpr gate::search finding{.steps = 9,
                               .epochs = third,
                               .first_temperature = third,
                               .last_temperature = sixth,
                               .noise = third,
                               .entropy = sixth};
using terms = gate::top_k<4, 2, gate::temperature<third>, gate::learned_noise, gate::importance<third>,
                          gate::load<falling>, gate::balance<third>, gate::z_loss<rising>, gate::entropy<sixth>>;

template <class Stack> void step(device::cuda& device, layer_memory<float> const& memory, matrix_view<float> x) {
    using layer = typename Stack::template bind<shape{}, type_list<>>;
    context<device::cuda, float, mode::train> training{device};
    auto const given = layer::at(espalier::clock{});
    matrix_view<float const> const in = x;
    layer::forward(training, given, memory, rows{}, in, x);
    layer::template backward<differentiate{true, true}>(training, given, memory, rows{}, in, in, x, x);
    layer::update(training, optimizer::sgd_op<optimizer::momentum_kind::none>{}, given, memory, update_numbers{});
    layer::initialise(training, memory);
}

} // namespace numbers

void numbers_on_cuda(espalier::device::cuda& device) {
    using namespace numbers;
    auto const all = [&]<class... Stacks>(type_list<Stacks...>) { (step<Stacks>(device, {}, {}), ...); };
    all(type_list<dense_layers, mixture<gate::by_range<gate::equal_ranges<4, -third, third>>>,
                  mixture<gate::by_range<gate::ranges_between<-third, third, 2.0 * third>>>,
                  mixture<gate::expert_choice<4, third>>, mixture<gate::comet<4, 2, third, sixth>>,
                  mixture<gate::dselect_k<4, 2, falling, third, sixth>>, mixture<terms, dispatch::capacity<third>>,
                  mixture<gate::softmax<4, gate::jitter<third>>, dispatch::automatic<third, 2.0 * third>>,
                  mixture<gate::same_for_all_rows<gate::comet<4, 2, falling, third>>>,
                  mixture<gate::local_search<gate::comet<4, 2, third, sixth>, finding>>,
                  mixture<gate::local_search<gate::by_range<gate::equal_ranges<4, -sixth, sixth>>, finding>>>{});
}
