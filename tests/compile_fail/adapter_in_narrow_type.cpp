// SPDX-License-Identifier: Apache-2.0
// expect: weight::low_rank_adapter keeps its frozen kernel in the type that weights are trained in
// expect: run the network with float or double
// An adapter in a network with 16-bit activations.
#include <espalier/core/layout.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
struct sixteen_bits {
    unsigned short bits;
};
template <> struct espalier::master<sixteen_bits> { using type = float; };
#ifdef ESPALIER_POSITIVE_TWIN
using number = float;
#else
using number = sixteen_bits;
#endif
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<4>>>;
inline constexpr footprint size = stack::bind<shape{}, type_list<>>::size<number>();
