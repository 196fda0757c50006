// SPDX-License-Identifier: Apache-2.0
// expect: a weight map needs .*T pull\(T g\) const. in its op.*element_about<T> const& about. may follow g
// expect: at_layer<1>
// A weight map that wants the weight as an argument of its own.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct squared {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) {
        return g * (about.weight + about.weight);
    }
#else
    template <class T> ESPALIER_FN static T pull(T g, T raw) {
        return g * (raw + raw);
    }
#endif
    template <class T> ESPALIER_FN static T store(T next) {
        return next;
    }
    template <class T> ESPALIER_FN static T effective(T raw) {
        return raw * raw;
    }
};
using stack = sequence<input<16>, dense<8, squared>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
