// SPDX-License-Identifier: Apache-2.0
// expect: a function of namespace std takes one number and was called with a pack of them.*.using espalier::exp;.
// The exponential of namespace std.
#include <cmath>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
using namespace espalier;
struct mine {
    template <class T> ESPALIER_FN static T forward(T x) {
#ifdef ESPALIER_POSITIVE_TWIN
        using espalier::exp, std::exp; // espalier::exp is the better match for a pack
        return exp(x);
#else
        return std::exp(x);
#endif
    }
};
native_pack<float> in_a_loop(native_pack<float> const& x) {
    return mine::forward(x);
}
