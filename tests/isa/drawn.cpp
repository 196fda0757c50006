// SPDX-License-Identifier: Apache-2.0
// Updates drawn by a seed, whose loops of the CPU leave what the bodies of the kernels do.
#include "composition.hpp"
#include "parts.hpp"

namespace isa {

int drawn() {
    constexpr auto all = espalier::part<ISA_PART, 2>(espalier::sample<16, ISA_SEED>(updates<float, double, narrow>));
    std::printf("%zu compositions of seed %llu\n", decltype(all)::size, static_cast<unsigned long long>(ISA_SEED));
    return wrong_of<true, update>(all);
}

} // namespace isa
