// SPDX-License-Identifier: Apache-2.0
// expect: functors take float, double or packs of them; convert other numbers first
// A whole number, such as one of a counting iterator, given to an activation.
#include <espalier/activation/silu.hpp>
#include <espalier/functor/forward.hpp>
using namespace espalier;
float at(int i) {
#ifdef ESPALIER_POSITIVE_TWIN
    return forward<activation::silu>()(static_cast<float>(i));
#else
    return static_cast<float>(forward<activation::silu>()(i));
#endif
}
