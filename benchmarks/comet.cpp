// SPDX-License-Identifier: Apache-2.0
// COMET and DSelect-k layers, forward and backward (mixture.hpp): all experts active, as training begins, and at most k
// for a row, as it ends; every expert on every row (@dense), or on the rows that want it (@compacted).
#include "mixture.hpp"

namespace {

template <class Gate, int Width> void add(std::string const& gate) {
    std::string const name = "comet/" + gate + "_" + std::to_string(Gate::experts) + "_" +
                             std::to_string(bench::reference_gate<Gate>::k) + "_" + std::to_string(Width) + "-" +
                             std::to_string(Width) + "_b512_";
    namespace dispatch = espalier::dispatch;
    bench::add_layer<Gate, Width, dispatch::dense>(name + "open@dense", 512, bench::phase::open);
    bench::add_layer<Gate, Width, dispatch::compacted>(name + "open@compacted", 512, bench::phase::open);
    bench::add_layer<Gate, Width, dispatch::dense>(name + "sparse@dense", 512, bench::phase::sparse);
    bench::add_layer<Gate, Width, dispatch::compacted>(name + "sparse@compacted", 512, bench::phase::sparse);
}

} // namespace

int main(int argc, char** argv) {
    namespace gate = espalier::gate;
    add<gate::comet<16, 2>, 64>("comet");
    add<gate::comet<64, 4>, 128>("comet");
    add<gate::dselect_k<16, 2>, 64>("dselect_k");
    return bench::run(argc, argv);
}
