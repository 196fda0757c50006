// SPDX-License-Identifier: Apache-2.0
// Compiles every verb of the CUDA device in float, double and bf16, with compositions that no shipped kernel has.
#include <espalier/activation/gelu.hpp>
#include <espalier/activation/identity.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/concept.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/loss/binary_cross_entropy.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/distillation.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/marked.hpp>

#include <support/scale_rows.hpp>

#include <cstdint>
#include <type_traits>

namespace device_verbs {

using namespace espalier;

static_assert(device::device<device::cuda>);

template <class Op, class T>
void epilogue(device::cuda& device, Op const& op, matrix_view<T> z, matrix_view<T> y, master_of<T>* bias) {
    random_site const site{};
    rows const batch{};
    epilogue_statistics<master_of<T>> const statistics{};
    matrix_view<T const> const in = z, out = y;
    device.epilogue_forward(op, in, y, site, batch, statistics);
    device.epilogue_backward(op, in, out, y, bias, site, batch, statistics);
}

template <class T> void epilogues(device::cuda& device, matrix_view<T> z, matrix_view<T> y, master_of<T>* bias) {
    using ap_l1 = activation_penalty::l1_op;
    using ap_flops = activation_penalty::flops_op;
    epilogue(device, epilogue_op<activation::tanh, dropout::drop_path_op>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::gelu, dropout::bernoulli_op, ap_flops, ap_l1>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::identity, dropout::none, ap_flops, ap_flops>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::relu, dropout::none, ap_l1>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::relu, dropout::drop_segment_op>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::tanh, dropout::rate_of_row<>, ap_flops>{}, z, y, bias);
    using of_key = dropout::shared_op<dropout::threshold_op<random_scope::row>, row_tag<&rows::key>>;
    epilogue(device, epilogue_op<activation::relu, dropout::filled_op<of_key>>{}, z, y, bias);
    epilogue(device, epilogue_op<activation::relu, dropout::threshold_op<random_scope::step>>{}, z, y, bias);
}

template <class W, class N> void updates(device::cuda& device, update_segment<W, N> const& segment, double* norm) {
    optimizer::adamw_op const adamw{};
    optimizer::sgd_op<optimizer::momentum_kind::nesterov> const sgd{};
    tensor_rule<weight::fixed_mask,
                flat_tuple<penalty::l1_op, penalty::l2_op, penalty::proximal_op<penalty::elastic_net_op>>,
                flat_tuple<transform::gradient_dropout_op, transform::clip_global_norm_op>> const all{};
    tensor_rule<weight::identity,
                flat_tuple<penalty::group_lasso_op<group_scope::rows>, penalty::l2_op,
                           penalty::group_lasso_op<group_scope::columns>>,
                flat_tuple<transform::gradient_dropout_op>> const grouped{};
    tensor_rule<weight::identity, flat_tuple<>, flat_tuple<>> const plain{};
    device.update(adamw, all, segment, norm);
    device.update(adamw, grouped, segment);
    device.nested_groups(penalty::nested_group_lasso_op<group_scope::rows>{}, segment.next_norms[0], segment.rows,
                         segment.next_norms[1], segment.next_norms[2]);
    device.update(sgd, plain, segment);
    tensor_rule<weight::marked, flat_tuple<penalty::where_pruned_op<penalty::l1_op>>, flat_tuple<>> const marked{};
    device.update(sgd, marked, segment);
}

template <class T> void rows_of(device::cuda& device, matrix_view<T> y) {
    matrix_view<T const> const in = y;
    device.template row_forward<activation::softmax, 10>(y);
    device.template row_backward<activation::softmax, 10>(in, y);
    device.template row_forward<activation::softmax, 1500>(y);
    kernels::row_loss_arguments<T> a;
    kernels::row_loss_result* const result = nullptr;
    device.template row_loss<10>(loss::cross_entropy{}, a, result);
    device.template row_loss<33>(loss::early_learning{}, a, result);
    device.template row_loss<3>(loss::binary_cross_entropy{}, a, result);
    device.template row_loss<100>(loss::soft_cross_entropy{}, a, result);
    device.template row_loss<100>(loss::distillation{}, a, result);
    device.template row_loss<1>(loss::mean_squared_error{}, a, result);
}

template <class Gate, class T> void gate_of(device::cuda& device, matrix_view<T> z, double* term) {
    using W = master_of<T>;
    matrix_view<W> const weights{};
    matrix_view<W const> const shares{};
    matrix_view<std::int32_t> const experts{};
    matrix_view<std::int32_t const> const chosen{};
    matrix_view<T const> const in = z;
    op_of<Gate> const op = op_at<Gate>(espalier::clock{});
    gate_run run;
    run.term = term;
    device.template route<Gate>(op, in, weights, experts, run);
    device.template route_backward<Gate>(op, in, shares, chosen, shares, z, run);
}

template <class T> void routings(device::cuda& device, matrix_view<T> y) {
    using W = master_of<T>;
    using keyed = gate::by_range<gate::ranges_between<0.0, 1.0, 5.0>, gate::from_column<0>>;
    using searching = gate::local_search<gate::softmax<6>>;
    matrix_view<W> const weights{};
    matrix_view<W const> const shares{};
    matrix_view<std::int32_t> const experts{};
    matrix_view<std::int32_t const> const chosen{};
    matrix_view<T const> const x = y;
    W* const w = nullptr;
    W const* const given = nullptr;
    double* const d = nullptr;
    double const* const soft = nullptr;
    std::int32_t const* const row = nullptr;
    device.scratch = {nullptr, device::cuda::gate_scratch<T>(32, 8, 2) + device::cuda::dispatch_scratch(32, 2, 8)};
    device.template look_up<keyed>(keyed::at(espalier::clock{}), rows{}, x, given, weights, experts);
    device.choose_rows(index_t{3}, w, weights);
    device.repeat_rows(given, y);
    device.spread_slots(shares, chosen, weights);
    device.gather_slots(shares, shares, chosen, weights);
    device.number_slots(experts);
    device.divide_by_sums(weights, w);
    device.divide_by_sums_backward(shares, shares, given, weights);
    auto const op = searching::at(espalier::clock{});
    device.soft_permutation(op, 6, given, random_site{}, d, d, d, w, d);
    device.soft_permutation_backward(op, 6, soft, d, soft, given, d, w);
    device.round_permutation(6, soft, d, w);
    device.build_pairs(shares, chosen, rows{}, pair_plan{}, pair_table{});
    device.measure_mixture(shares, chosen, row, pair_plan{}, d);
    device.gather(x, row, y);
    device.scatter_add(x, row, y);
    device.pass_back(shares, mixture_tasks{}, row, x, y);
}

template <class T> void mixtures(device::cuda& device, matrix_view<T> y) {
    using W = master_of<T>;
    gate_of<gate::top_k<33, 3, gate::over_all>>(device, y, nullptr);
    gate_of<gate::top_k<3, 2>>(device, y, nullptr);
    gate_of<gate::top_k<2000, 2>>(device, y, nullptr);
    gate_of<gate::softmax<100>>(device, y, nullptr);
    gate_of<gate::top_k<16, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>>(device, y, nullptr);
    gate_of<gate::top_k<40, 2, gate::jitter<0.5>, gate::balance<0.1>>>(device, y, nullptr);
    gate_of<gate::comet<8, 2>>(device, y, nullptr);
    gate_of<gate::dselect_k<6, 2>>(device, y, nullptr);
    matrix_view<W const> const weights{};
    matrix_view<T const> const dy = y;
    expert_outputs<T> const outputs{};
    routings<T>(device, y);
    device.combine(weights, outputs, y);
    device.weight_gradients(weights, dy, outputs, matrix_view<W>{});
    device.expert_gradient(weights, matrix_view<std::int32_t const>{}, mixture_tasks{}, expert_pairs{}, dy, y);
}

template <class T> void memory(device::cuda& device, matrix_view<T> a, matrix_view<T> b, master_of<T>* sums) {
    using W = master_of<T>;
    matrix_view<T const> const from = a, x = b;
    device.scratch = {nullptr, device::cuda::product_scratch<T, void>(32, 64, 10)};
    device.template product_forward<void>(x, from, static_cast<W const*>(sums), b);
    device.template product_input_gradient<void>(x, from, b);
    device.template product_weight_gradient<void>(x, from, matrix_view<W>{sums, 1, 1, 1});
    device.template product_forward<product::cublaslt_tf32>(x, from, static_cast<W const*>(nullptr), b);
    if constexpr (std::is_same_v<T, W>) { // what adapters ask for
        device.template add_product_forward<void>(x, from, b);
        device.template add_product_input_gradient<void>(x, from, b);
        device.scale_columns(weight::adaptive_gain<2.0>::at(espalier::clock{}), x, b, b);
    }
    device.copy(from, b);
    device.add(from, b);
    device.repeat(from.data, index_t{1}, 2, b.data);
    device.column_sums(from, sums);
    device.fill_mask(nullptr, 0);
    device.initialise([](matrix_view<W>, random_site const&) {}, matrix_view<W>{sums, 1, 1, 1}, random_site{});
    device.sum_of_squares_to(sums, 1, static_cast<double*>(nullptr));
    device.clear_left_out(sums, static_cast<std::uint32_t const*>(nullptr), 0);
    device.run(test_passes::scale_rows_pass<W>{{sums, 1, 1, 1}, sums});
}

template <class T> void batch_norms(device::cuda& device, matrix_view<T> y, master_of<T>* w, index_t* counted) {
    using W = master_of<T>;
    matrix_view<T const> const x = y;
    W const* const in = w;
    device.scratch = {nullptr, device::cuda::moments_scratch<T>(32, 64)};
    device.column_moments(x, w, w, counted);
    device.normalise(x, in, in, in, in, 1e-5, y);
    device.normalise_backward(x, x, in, in, in, 1e-5, true, w, w, y);
    device.running_moments(in, in, index_t{1}, static_cast<index_t const*>(counted), 0.1, w);
}

/// 16-bit numbers do not hold ids.
template <class T> void embeddings(device::cuda& device, matrix_view<T> y) {
    if constexpr (std::is_same_v<T, master_of<T>>) {
        matrix_view<T const> const ids = y;
        index_t const sizes[] = {5, 7};
        device.embed(ids, sizes, static_cast<T const*>(nullptr), index_t{3}, y);
        device.embed_backward(ids, sizes, ids, index_t{3}, static_cast<T*>(nullptr));
    }
}

} // namespace device_verbs

void all_device_verbs(espalier::device::cuda& device) {
    using namespace device_verbs;
    auto const each = [&]<class T>(T*) {
        matrix_view<T> const m{};
        epilogues<T>(device, m, m, nullptr);
        updates(device, update_segment<master_of<T>, T>{}, nullptr);
        rows_of<T>(device, m);
        mixtures<T>(device, m);
        memory<T>(device, m, m, nullptr);
        batch_norms<T>(device, m, nullptr, nullptr);
        embeddings<T>(device, m);
    };
    each(static_cast<float*>(nullptr));
    each(static_cast<double*>(nullptr));
    each(static_cast<bfloat16*>(nullptr));
    device.declare_step(nullptr, 0);
    device.forget_step(nullptr);
    device.upload_step(0);
    device.throw_on_error();
}
