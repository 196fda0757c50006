// SPDX-License-Identifier: Apache-2.0
// expect: a functor is made of a policy on the axis that its name says: forward and backward of an activation
// expect: a layer such as batch_norm works on whole batches: put it into a network
// expect c++: on_axis<.*axis::activation>.*given_type<.*batch_norm
// A layer in the place of a policy.
#include <espalier/activation/silu.hpp>
#include <espalier/functor/backward.hpp>
#include <espalier/layer/batch_norm.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using given = activation::silu;
#else
using given = batch_norm<>;
#endif
float slope(float x) {
    return backward<given>()(x, 1.0f);
}
