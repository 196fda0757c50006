// SPDX-License-Identifier: Apache-2.0
// expect: two parts of a gate are of a kind that has room for one
// expect c++: given<\(?(int\))?2
// expect: jitter
// expect: learned_noise
// Two noises in one gate.
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/top_k.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = gate::top_k<8, 2, gate::importance<0.1>, gate::learned_noise>;
#else
using chosen = gate::top_k<8, 2, gate::jitter<0.1>, gate::importance<0.1>, gate::learned_noise>;
#endif
inline constexpr int width = chosen::logits;
