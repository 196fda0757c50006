// SPDX-License-Identifier: Apache-2.0
// expect: gate::search\{.apart = true\} needs a gate of trees or selectors
#include <espalier/gate/comet.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::local_search<gate::comet<4, 2>, gate::search{.apart = true}>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::local_search<gate::top_k<4, 2>, gate::search{.apart = true}>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
