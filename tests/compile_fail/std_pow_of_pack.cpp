// SPDX-License-Identifier: Apache-2.0
// expect: a function of namespace std takes one number and was called with a pack of them
// A function of namespace std with several arguments.
#include <cmath>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
using namespace espalier;
struct mine {
    template <class T> ESPALIER_FN static T forward(T x) {
#ifdef ESPALIER_POSITIVE_TWIN
        return x * x;
#else
        return std::pow(x, 2);
#endif
    }
};
native_pack<float> in_a_loop(native_pack<float> const& x) {
    return mine::forward(x);
}
