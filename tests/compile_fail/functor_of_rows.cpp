// SPDX-License-Identifier: Apache-2.0
// expect: an activation that mixes the columns of a row, such as softmax, is no function of single elements
// expect: elementwise<activation::softmax> in a network
// expect c++: on_axis<.*axis::activation>.*from_policy<.*softmax>
// A function of one element made of an activation of whole rows.
#include <espalier/activation/silu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/functor/forward.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using given = activation::silu;
#else
using given = activation::softmax;
#endif
float first(float x) {
    return forward<given>()(x);
}
