// SPDX-License-Identifier: Apache-2.0
// expect: gate::same_for_all_rows stands inside a search
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::local_search<gate::same_for_all_rows<gate::softmax<4>>>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::same_for_all_rows<gate::local_search<gate::softmax<4>>>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
