// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/gate/concept.hpp>

namespace espalier::gate {

/// `Gate` with logits that do not depend on the row: a trained vector instead of a product with the input. What the
/// papers call the static form of DSelect-k (Hazimeh et al. 2021, section 3.1) and of COMET: one choice of experts for
/// a task. Its tensor is "gate.bias", with the first values of the gate's kernel.
template <class Gate> struct same_for_all_rows : Gate {
    static_assert(diagnostic::holds<espalier::detail::gate_reads_logits<Gate>(), diagnostic::from_policy<Gate>>,
                  "espalier: gate::same_for_all_rows<gate> takes a gate that reads logits; the next line names what it "
                  "was given");
    static_assert(!espalier::detail::gate_searches<Gate>(),
                  "espalier: gate::same_for_all_rows stands inside a search, "
                  "gate::local_search<gate::same_for_all_rows<gate>>: outside of it the gate would read the rows");
    static constexpr bool reads_input = false;
};

} // namespace espalier::gate
