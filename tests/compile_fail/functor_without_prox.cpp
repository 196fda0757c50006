// SPDX-License-Identifier: Apache-2.0
// expect: prox needs a penalty with .*T prox\(T w, element_about<T> const& about\) const.* in its op
// expect c++: on_axis<.*axis::penalty>.*from_policy<.*fourth_power>
// A penalty without a prox, asked for it.
#include <espalier/core/macros.hpp>
#include <espalier/functor/prox.hpp>
using namespace espalier;
struct fourth_power {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w * w * w * w; }
    template <class T> ESPALIER_FN T gradient(T w) const { return T(scalar_of<T>(4)) * w * w * w; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const&) const {
        return w;
    }
#endif
};
float shrunk(float w) {
    return prox<fourth_power>(0.25)(w);
}
