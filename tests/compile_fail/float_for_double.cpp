// SPDX-License-Identifier: Apache-2.0
// expect: these numbers are of another type than is taken here
// expect: hand over an array of that type
// Targets of float for a network in double.
#include <espalier/core/view.hpp>
#ifdef ESPALIER_POSITIVE_TWIN
using number = double;
#else
using number = float;
#endif
espalier::matrix_view<double const> targets_of(number const* data) {
    espalier::matrix_view<double const> targets{};
    targets = espalier::contiguous_view(data, 4, 2);
    return targets;
}
