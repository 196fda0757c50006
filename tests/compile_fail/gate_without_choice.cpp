// SPDX-License-Identifier: Apache-2.0
// expect: a part of a gate is about the choice between experts, and every row goes to all of them
// expect c++: given<\(?(int\))?8
// expect c++: needed<\(?(int\))?7
// expect: load
// A load where no expert can lose.
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/top_k.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = gate::top_k<8, 7, gate::learned_noise, gate::load<0.1>>;
#else
using chosen = gate::top_k<8, 8, gate::learned_noise, gate::load<0.1>>;
#endif
inline constexpr int width = chosen::logits;
