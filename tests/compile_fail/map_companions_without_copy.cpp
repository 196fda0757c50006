// SPDX-License-Identifier: Apache-2.0
// expect: a weight map that reads companions of the weights needs .*companion_names\[companions\] = \{"kernel"\};
// expect: at_layer<1>
// expect c++: from_policy<.*beside
// expect nvcc: P=beside
// A map that adds what stays as it was set, where products read the raw weights.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>

#include <string_view>
using namespace espalier;
struct beside {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr bool needs_operand = true;
#else
    static constexpr bool needs_operand = false;
#endif
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[companions] = {"base"};
    template <class T> ESPALIER_FN T effective(T raw, element_about<T> const& about) const {
        return raw + about.companion[0];
    }
    template <class T> ESPALIER_FN T pull(T g) const {
        return g;
    }
    template <class T> ESPALIER_FN T store(T next) const {
        return next;
    }
};
using stack = sequence<input<16>, dense<8, beside>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
