// SPDX-License-Identifier: Apache-2.0
// expect: a comparison of packs has an answer for every element and decides no .*&&
// Two conditions on a pack, joined as those of numbers are.
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
using namespace espalier;
struct mine {
    template <class T> ESPALIER_FN static T forward(T x) {
#ifdef ESPALIER_POSITIVE_TWIN
        return select((x > T(0)) & (x < T(1)), x, T(0));
#else
        return select((x > T(0)) && (x < T(1)), x, T(0));
#endif
    }
};
native_pack<float> in_a_loop(native_pack<float> const& x) {
    return mine::forward(x);
}
