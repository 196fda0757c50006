// SPDX-License-Identifier: Apache-2.0
// expect: a comparison of packs has an answer for every element and decides no .*std::max
// The maximum of namespace std, which compares and then chooses one of two.
#include <algorithm>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
using namespace espalier;
struct mine {
    template <class T> ESPALIER_FN static T forward(T x) {
#ifdef ESPALIER_POSITIVE_TWIN
        using espalier::max;
        return max(x, T(0));
#else
        return std::max(x, T(0));
#endif
    }
};
native_pack<float> in_a_loop(native_pack<float> const& x) {
    return mine::forward(x);
}
