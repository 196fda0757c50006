// SPDX-License-Identifier: Apache-2.0
// expect: a penalty that reads companions of the weights needs .*companion_names\[companions\] = \{"anchor"\};
// expect: at_layer<1>
// expect c++: from_policy<.*held_back>
// expect nvcc: P=held_back
// A penalty that reads two companions and names one.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>

#include <string_view>
using namespace espalier;
struct held_back {
    using axis = espalier::axis::penalty;
    static constexpr int companions = 2;
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr std::string_view companion_names[] = {"anchor", "importance"};
#else
    static constexpr std::string_view companion_names[] = {"anchor"};
#endif
    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        T const d = w - about.companion[0];
        return about.companion[1] * d * d;
    }
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        T const d = w - about.companion[0];
        return about.companion[1] * (d + d);
    }
};
using stack = sequence<input<16>, dense<8, held_back>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
