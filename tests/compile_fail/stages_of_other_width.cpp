// SPDX-License-Identifier: Apache-2.0
// expect: prune::n_m_stages
// expect: 48
// expect c++: 64
// expect: at_layer<1>
// The first stage has groups of 64, a layer with 48 inputs none.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m_stages.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr prune::geometric when{.kept = 1, .group = 8, .steps = 100, .stages = 2};
#else
inline constexpr prune::geometric when{.kept = 1, .group = 8, .steps = 100, .stages = 4};
#endif
using stack = sequence<input<48>, dense<8, prune::magnitude<1.0, prune::n_m_stages<when>>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
