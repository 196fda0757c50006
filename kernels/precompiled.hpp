// SPDX-License-Identifier: Apache-2.0
// Explicit instantiations of the launch function for the passes of instances.inc. A .cu of espalier::kernels defines
// them; a program that links the library may include this header first and then compiles none of these kernels itself.
// Launch functions, not kernels: since CUDA 13 the host half of a kernel template is local to the .cu that instantiates
// it.
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

// What the kinds of instances.inc stand for: passes, each named with its template arguments. `P` is one of the two
// macros that declare and define the launch of a pass.
#define ESPALIER_INSTANCE_EPILOGUE(P, T, A, D)                                                                         \
    P(epilogue_forward<epilogue_op<activation::A, dropout::D>, T>);                                                    \
    P(epilogue_backward<epilogue_op<activation::A, dropout::D>, T>);
#define ESPALIER_INSTANCE_UPDATE(P, W, N, O, M, ...)                                                                   \
    P(update<O, tensor_rule<weight::M, flat_tuple<__VA_ARGS__>, flat_tuple<>>, W, N>);
#define ESPALIER_INSTANCE_SUMS(P, W)                                                                                   \
    P(column_partials<W>);                                                                                             \
    P(add_partial_rows<W>);                                                                                            \
    P(add_sums<double>);                                                                                               \
    P(finish_loss<double>);                                                                                            \
    P(gate_term<double>);                                                                                              \
    P(finish_moments<W>);                                                                                              \
    P(finish_normal_sums<W>);                                                                                          \
    P(running_moments<W>);
#define ESPALIER_INSTANCE_SOFTMAX(P, T, C)                                                                             \
    P(row_forward<C, activation::softmax, T>);                                                                         \
    P(row_backward<C, activation::softmax, T>);
#define ESPALIER_INSTANCE_COUNT(P, L) P(count_rows<loss::L>);
#define ESPALIER_INSTANCE_LOSS(P, T, C, L) P(row_loss<C, loss::L, T>);
#define ESPALIER_INSTANCE_GATE(P, T, ...)                                                                              \
    P(row_gate_forward<gate_shape_of<gate::__VA_ARGS__>, op_of<gate::__VA_ARGS__>, T>);                                \
    P(row_gate_backward<gate_shape_of<gate::__VA_ARGS__>, op_of<gate::__VA_ARGS__>, T>);
#define ESPALIER_INSTANCE_EXPERTS(P, T)                                                                                \
    P(combine<T>);                                                                                                     \
    P(weight_gradients<T>);                                                                                            \
    P(expert_gradient<T>);                                                                                             \
    P(gather<T>);                                                                                                      \
    P(scatter_add<T>);                                                                                                 \
    P(add_pairs<T>);                                                                                                   \
    P(pass_back<T>);
#define ESPALIER_INSTANCE_PAIRS(P, W)                                                                                  \
    P(count_pairs<kernels::slot_order::by_choice, false, W>);                                                          \
    P(count_pairs<kernels::slot_order::by_row, true, W>);                                                              \
    P(count_pairs<kernels::slot_order::by_row, false, W>);                                                             \
    P(scan_pairs<false, W>);                                                                                           \
    P(scan_pairs<true, W>);                                                                                            \
    P(mark_pairs<W>);                                                                                                  \
    P(fill_pairs<false, W>);                                                                                           \
    P(fill_pairs<true, W>);                                                                                            \
    P(share_pairs<W>);                                                                                                 \
    P(finish_measures<W>);
#define ESPALIER_INSTANCE_BATCH_NORM(P, T)                                                                             \
    P(moment_partials<T>);                                                                                             \
    P(normalise<T>);                                                                                                   \
    P(normal_sum_partials<T>);                                                                                         \
    P(normalise_backward<T>);

#define ESPALIER_DEFINE_PASS(...) template void launch(launch_target const&, kernels::passes::__VA_ARGS__ const&)
#define ESPALIER_DECLARE_PASS(...) extern ESPALIER_DEFINE_PASS(__VA_ARGS__)

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
#define EPILOGUE(...) ESPALIER_INSTANCE_EPILOGUE(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define UPDATE(...) ESPALIER_INSTANCE_UPDATE(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define SUMS(...) ESPALIER_INSTANCE_SUMS(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define SOFTMAX(...) ESPALIER_INSTANCE_SOFTMAX(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define COUNT(...) ESPALIER_INSTANCE_COUNT(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define LOSS(...) ESPALIER_INSTANCE_LOSS(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define GATE(...) ESPALIER_INSTANCE_GATE(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define EXPERTS(...) ESPALIER_INSTANCE_EXPERTS(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define PAIRS(...) ESPALIER_INSTANCE_PAIRS(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define BATCH_NORM(...) ESPALIER_INSTANCE_BATCH_NORM(ESPALIER_DECLARE_PASS, __VA_ARGS__)
#define PRODUCTS(...) ESPALIER_INSTANCE_PRODUCTS(extern, __VA_ARGS__)
#include "instances.inc"

} // namespace espalier::cuda
