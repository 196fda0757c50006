// SPDX-License-Identifier: Apache-2.0
// expect: penalty::nested_group_lasso is over rows, columns or ranks
// Nested groups of a tensor that is one group.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using lasso = penalty::nested_group_lasso<0.1, penalty::over::rows>;
#else
using lasso = penalty::nested_group_lasso<0.1, penalty::over::tensor>;
#endif
using stack = sequence<input<16>, dense<8, lasso>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
