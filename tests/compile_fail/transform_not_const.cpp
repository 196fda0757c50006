// SPDX-License-Identifier: Apache-2.0
// expect: a gradient transform needs .*apply\(T g\) const. or .*apply\(T g, element_about<T> const& about\) const
// expect: at_layer<1>
// A gradient transform whose function is not const.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
#define CONST const
#else
#define CONST
#endif
struct halved {
    using axis = espalier::axis::transform;
    static constexpr int stage = 2;
    template <class T> ESPALIER_FN T apply(T g, element_about<T> const&) CONST { return g * T(0.5f); }
};
using stack = sequence<input<16>, dense<8, halved>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
