// SPDX-License-Identifier: Apache-2.0
// expect: gate::softmax is over all experts already
// expect: over_all
// A normalisation that says what softmax does anyway.
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = gate::top_k<8, 2, gate::over_all>;
#else
using chosen = gate::softmax<8, gate::over_all>;
#endif
inline constexpr int width = chosen::logits;
