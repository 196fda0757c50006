// SPDX-License-Identifier: Apache-2.0
// Layers of experts behind a top-2 gate, forward and backward (mixture.hpp), every expert on the rows that want it.
#include "mixture.hpp"

namespace {

template <int Experts, int Width> void add() {
    bench::add_layer<espalier::gate::top_k<Experts, 2>, Width, espalier::dispatch::compacted>(
        "moe/top_k_" + std::to_string(Experts) + "_2_" + std::to_string(Width) + "-" + std::to_string(Width) + "_b512",
        512);
}

} // namespace

int main(int argc, char** argv) {
    add<8, 64>();
    add<16, 64>();
    add<64, 64>();
    add<16, 256>();
    return bench::run(argc, argv);
}
