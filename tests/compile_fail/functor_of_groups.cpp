// SPDX-License-Identifier: Apache-2.0
// expect: a penalty over groups needs the norm of each row or column of the tensor and is no function
// expect: put it into the list of a layer
// expect c++: on_axis<.*axis::penalty>.*from_policy<.*group_lasso
// A function of one weight made of a penalty over the columns of a tensor.
#include <espalier/functor/prox.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using given = penalty::l1<0.5>;
#else
using given = penalty::group_lasso<0.5, penalty::over::columns>;
#endif
float shrunk(float w) {
    return prox<given>(0.25)(w);
}
