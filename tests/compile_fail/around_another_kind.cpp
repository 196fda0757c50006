// SPDX-License-Identifier: Apache-2.0
// expect: dropout::filled stands around a dropout
// expect: dropout::unscaled needs a dropout
// expect: penalty::proximal needs a penalty
// expect: penalty::where_pruned needs a penalty on single weights
// expect: gate::same_for_all_rows<gate> takes a gate that reads logits
// expect: gate::local_search<gate> takes a gate
// expect: on<role, ...> chooses the tensors of a penalty, a transform, a projection, a weight map or a prune policy
// expect: a gate that looks its rows up needs a source
// expect: gate::by_range needs ranges
// expect c++: from_policy<.*dense<3>
// Policies that stand around another one, or are made of something, given a layer instead.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/where_pruned.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using field = dropout::bernoulli<0.1>;
using penalty_type = penalty::l1<0.1>;
using gate_type = gate::softmax<4>;
using source = gate::from_key;
using ranges = gate::equal_ranges<4, 0.0, 1.0>;
#else
using field = dense<3>;
using penalty_type = dense<3>;
using gate_type = dense<3>;
using source = dense<3>;
using ranges = dense<3>;
#endif
inline constexpr std::size_t sizes =
    sizeof(dropout::filled<-1.0, field>) + sizeof(dropout::unscaled<field>) + sizeof(penalty::proximal<penalty_type>) +
    sizeof(gate::same_for_all_rows<gate_type>) + sizeof(gate::local_search<gate_type>) +
    sizeof(penalty::where_pruned<penalty_type>) + sizeof(on<role::bias, penalty_type>) +
    sizeof(gate::hash<4, 10, source>) + sizeof(gate::by_range<ranges>);
