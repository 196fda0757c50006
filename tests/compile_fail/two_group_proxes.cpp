// SPDX-License-Identifier: Apache-2.0
// expect: a tensor carries at most one penalty::proximal or projection over groups
// expect c++: from_policy<.*group_lasso
// expect nvcc: Ps=<rows_together, columns_together>
// Two penalties over groups of one tensor that are both applied by their prox.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
using namespace espalier;
using rows_together = penalty::proximal<penalty::group_lasso<0.1, penalty::over::rows>>;
#ifdef ESPALIER_POSITIVE_TWIN
using columns_together = penalty::group_lasso<0.1, penalty::over::columns>;
#else
using columns_together = penalty::proximal<penalty::group_lasso<0.1, penalty::over::columns>>;
#endif
using stack = sequence<input<16>, dense<8, rows_together, columns_together>>;
inline constexpr index_t size = stack::bind<shape{}, type_list<>>::size<float>().parameters;
