// SPDX-License-Identifier: Apache-2.0
// expect: over::ranks is for the two factors of weight::low_rank and weight::low_rank_adapter
// expect c++: from_policy<.*nested_group_lasso
// expect nvcc: Ps=<.*lasso
// A penalty over the ranks of a kernel that is one matrix.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
using lasso = penalty::nested_group_lasso<0.1, penalty::over::ranks>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, weight::low_rank<4>, on<role::factor, lasso>>>;
#else
using stack = sequence<input<16>, dense<8, lasso>>;
#endif
inline constexpr index_t size = stack::bind<shape{}, type_list<>>::size<float>().parameters;
