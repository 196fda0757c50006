// SPDX-License-Identifier: Apache-2.0
// The loops of the CPU for updates in which every two choices of different axes occur together, and for those whose
// step reads no gradient, of which a compiler could leave out too much.
#include "composition.hpp"
#include "parts.hpp"

namespace isa {

namespace {

template <class Map, class Transform>
using still = update<Map, Transform, none, no_step, none, none, std::false_type, rows, std::true_type, float>;

} // namespace

int pairs() {
    // Each instruction set has all of them, by turns at -O2 and at -O3.
    constexpr auto all = espalier::part<ISA_PART, 2>(espalier::pairwise(updates<float, double>));
    constexpr auto one =
        espalier::part<ISA_PART, 2>(espalier::where(espalier::space(maps, transforms), [](auto const& c) {
            return c.is("map", "identity") != c.is("transform", "none");
        }));
    std::printf("%zu pairwise compositions, %zu whose step reads no gradient\n", decltype(all)::size,
                decltype(one)::size);
    return wrong_of<false, update>(all) + wrong_of<false, still>(one);
}

} // namespace isa
