// SPDX-License-Identifier: Apache-2.0
// expect: a pack of numbers was made one number
// A cast to float, for which a pack has no single answer.
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
using namespace espalier;
struct mine {
    template <class T> ESPALIER_FN static T forward(T x) {
#ifdef ESPALIER_POSITIVE_TWIN
        return T(scalar_of<T>(0.5)) * x;
#else
        return T(0.5f * static_cast<float>(x));
#endif
    }
};
native_pack<float> in_a_loop(native_pack<float> const& x) {
    return mine::forward(x);
}
