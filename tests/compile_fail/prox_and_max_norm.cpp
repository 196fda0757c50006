// SPDX-License-Identifier: Apache-2.0
// expect: a tensor carries at most one penalty::proximal or projection over groups
// expect c++: from_policy<.*max_norm
// A prox and a projection over groups of one tensor: each would need the norms that the other leaves.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/projection/max_norm.hpp>
using namespace espalier;
using lasso = penalty::group_lasso<0.1, over::rows>;
#ifdef ESPALIER_POSITIVE_TWIN
using together = lasso;
#else
using together = penalty::proximal<lasso>;
#endif
using stack = sequence<input<16>, dense<8, together, projection::max_norm<3.0, over::columns>>>;
inline constexpr index_t size = stack::bind<shape{}, type_list<>>::size<float>().parameters;
