// SPDX-License-Identifier: Apache-2.0
// expect: a part of a gate reads the scale of the noise: add gate::learned_noise
// expect: load
// A load without the noise that it is a probability under.
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/top_k.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = gate::top_k<8, 2, gate::load<0.1>, gate::learned_noise>;
#else
using chosen = gate::top_k<8, 2, gate::load<0.1>, gate::jitter<0.1>>;
#endif
inline constexpr int width = chosen::logits;
