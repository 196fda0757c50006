// SPDX-License-Identifier: Apache-2.0
// Explicit instantiations of the launch functions in instances.inc. A .cu of espalier::kernels defines them; a program
// that links the library may include this header first and then compiles none of these kernels itself. Launch
// functions, not kernels: since CUDA 13 the host half of a kernel template is local to the .cu that instantiates it.
#pragma once

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/device/cuda/bfloat16.hpp>
#include <espalier/device/cuda/launch.hpp>
#include <espalier/device/cuda/product_launch.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <cstdint>

#define ESPALIER_INSTANCE_EPILOGUE(prefix, T, A, D)                                                                    \
    prefix template void launch_epilogue_forward(                                                                      \
        launch_target const&, kernels::numbers<epilogue_op<activation::A, dropout::D>> const&, matrix_view<T const>,   \
        matrix_view<T>, kernels::site_numbers const&, rows const&);                                                    \
    prefix template void launch_epilogue_backward(                                                                     \
        launch_target const&, kernels::numbers<epilogue_op<activation::A, dropout::D>> const&, matrix_view<T const>,   \
        matrix_view<T const>, matrix_view<T>, kernels::site_numbers const&, rows const&,                               \
        epilogue_statistics<master_of<T>> const&, master_of<T>*, master_of<T>*);

#define ESPALIER_INSTANCE_UPDATE(prefix, W, N, O, M, ...)                                                              \
    prefix template void launch_update(                                                                                \
        launch_target const&, kernels::numbers<O> const&,                                                              \
        kernels::numbers<tensor_rule<weight::M, flat_tuple<__VA_ARGS__>, flat_tuple<>>> const&,                        \
        update_segment<W, N> const&, kernels::update_context const&, double*);

#define ESPALIER_INSTANCE_SOFTMAX(prefix, T, C)                                                                        \
    prefix template void launch_row_forward<C>(launch_target const&, kernels::numbers<activation::softmax> const&,     \
                                               matrix_view<T>);                                                        \
    prefix template void launch_row_backward<C>(launch_target const&, kernels::numbers<activation::softmax> const&,    \
                                                matrix_view<T const>, matrix_view<T>);

#define ESPALIER_INSTANCE_LOSS(prefix, T, C, L)                                                                        \
    prefix template void launch_row_loss<C>(launch_target const&, kernels::numbers<loss::L> const&,                    \
                                            kernels::row_loss_arguments<T> const&, kernels::row_loss_result*, double*, \
                                            kernels::error_word*);

#define ESPALIER_INSTANCE_GATE(prefix, T, ...)                                                                         \
    prefix template void launch_row_gate_forward<gate_shape_of<gate::__VA_ARGS__>>(                                    \
        launch_target const&, kernels::numbers<op_of<gate::__VA_ARGS__>> const&, matrix_view<T const>,                 \
        matrix_view<master_of<T>>, matrix_view<std::int32_t>, kernels::gate_batch<master_of<T>>, std::uint32_t const*, \
        gate_scratch<master_of<T>> const&);                                                                            \
    prefix template void launch_row_gate_backward<gate_shape_of<gate::__VA_ARGS__>>(                                   \
        launch_target const&, kernels::numbers<op_of<gate::__VA_ARGS__>> const&, matrix_view<T const>,                 \
        matrix_view<master_of<T> const>, matrix_view<std::int32_t const>, matrix_view<master_of<T> const>,             \
        matrix_view<T>, kernels::gate_batch<master_of<T>> const&, std::uint32_t const*);

#define ESPALIER_INSTANCE_EXPERTS(prefix, T)                                                                           \
    prefix template void launch_combine_experts(launch_target const&, matrix_view<master_of<T> const>,                 \
                                                expert_outputs<T> const&, matrix_view<T>);                             \
    prefix template void launch_weight_gradients(launch_target const&, matrix_view<master_of<T> const>,                \
                                                 matrix_view<T const>, expert_outputs<T> const&,                       \
                                                 matrix_view<master_of<T>>);                                           \
    prefix template void launch_expert_gradient(launch_target const&, matrix_view<master_of<T> const>,                 \
                                                matrix_view<std::int32_t const>, mixture_tasks const&,                 \
                                                expert_pairs const&, matrix_view<T const>, matrix_view<T>);            \
    prefix template void launch_gather_rows(launch_target const&, matrix_view<T const>, std::int32_t const*,           \
                                            matrix_view<T>);                                                           \
    prefix template void launch_scatter_add_rows(launch_target const&, matrix_view<T const>, std::int32_t const*,      \
                                                 matrix_view<T>);                                                      \
    prefix template void launch_add_pairs(launch_target const&, matrix_view<T const>, std::int32_t const*, index_t,    \
                                          bool, matrix_view<T>);                                                       \
    prefix template void launch_pass_back(launch_target const&, matrix_view<master_of<T> const>, mixture_tasks const&, \
                                          std::int32_t const*, matrix_view<T const>, matrix_view<T>);

#define ESPALIER_INSTANCE_PAIRS(prefix, W)                                                                             \
    prefix template void launch_build_pairs(launch_target const&, kernels::pair_work<W> const&, rows const&);          \
    prefix template void launch_measure_mixture(launch_target const&, kernels::pair_work<W> const&,                    \
                                                std::int32_t const*, double*);

#define ESPALIER_INSTANCE_BATCH_NORM(prefix, T)                                                                        \
    prefix template void launch_column_moments(launch_target const&, matrix_view<T const>, master_of<T>*,              \
                                               master_of<T>*, index_t*, master_of<T>*);                                \
    prefix template void launch_normalise(launch_target const&, matrix_view<T const>, master_of<T> const*,             \
                                          master_of<T> const*, master_of<T> const*, master_of<T> const*, double,       \
                                          matrix_view<T>);                                                             \
    prefix template void launch_normal_sums(launch_target const&, matrix_view<T const>, matrix_view<T const>,          \
                                            master_of<T> const*, master_of<T> const*, double, master_of<T>*,           \
                                            master_of<T>*, master_of<T>*, master_of<T>*);                              \
    prefix template void launch_normalise_backward(launch_target const&, matrix_view<T const>, matrix_view<T const>,   \
                                                   master_of<T> const*, master_of<T> const*, master_of<T> const*,      \
                                                   double, master_of<T> const*, matrix_view<T>);

#define ESPALIER_INSTANCE_PRODUCTS(prefix, T)                                                                          \
    prefix template void launch_tile_forward(tile_target const&, matrix_view<T const>, matrix_view<T const>,           \
                                             master_of<T> const*, matrix_view<T>, bool, live_groups const&);           \
    prefix template void launch_tile_input_gradient(tile_target const&, matrix_view<T const>, matrix_view<T const>,    \
                                                    matrix_view<T>, live_groups const&);                               \
    prefix template void launch_tile_weight_gradient(tile_target const&, matrix_view<T const>, matrix_view<T const>,   \
                                                     matrix_view<master_of<T>>, live_groups const&);

namespace espalier::cuda {

using activation::gelu, activation::relu;
using dropout::bernoulli_op;
using loss::cross_entropy, loss::mean_squared_error;
using optimizer::adam_op, optimizer::adamw_op, optimizer::momentum_kind, optimizer::sgd_op;
using penalty::l1_op, penalty::l2_op;

// Definitions further down in the defining .cu follow these declarations.
#define EPILOGUE(...) ESPALIER_INSTANCE_EPILOGUE(extern, __VA_ARGS__)
#define UPDATE(...) ESPALIER_INSTANCE_UPDATE(extern, __VA_ARGS__)
#define SOFTMAX(...) ESPALIER_INSTANCE_SOFTMAX(extern, __VA_ARGS__)
#define LOSS(...) ESPALIER_INSTANCE_LOSS(extern, __VA_ARGS__)
#define GATE(...) ESPALIER_INSTANCE_GATE(extern, __VA_ARGS__)
#define EXPERTS(...) ESPALIER_INSTANCE_EXPERTS(extern, __VA_ARGS__)
#define PAIRS(...) ESPALIER_INSTANCE_PAIRS(extern, __VA_ARGS__)
#define BATCH_NORM(...) ESPALIER_INSTANCE_BATCH_NORM(extern, __VA_ARGS__)
#define PRODUCTS(...) ESPALIER_INSTANCE_PRODUCTS(extern, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
