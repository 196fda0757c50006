// SPDX-License-Identifier: Apache-2.0
// expect: a function takes or gives one type of number, and loops call it with packs of them too
// expect: a weight map needs .*T effective\(T raw\) const
// expect: at_layer<1>
// A weight map of single numbers, where loops have packs.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct doubled {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T pull(T g) { return g + g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN static T effective(T raw) {
        return raw + raw;
    }
#else
    ESPALIER_FN static double effective(double raw) {
        return raw + raw;
    }
#endif
};
using stack = sequence<input<16>, dense<8, doubled>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
