// SPDX-License-Identifier: Apache-2.0
// expect: a pass inside an expert is for groups: operator\(\)\(block, live_groups, group\)
// A pass on the rows of experts whose body takes all rows.
#include "far_away.hpp"

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/live_rows.hpp>
using namespace espalier;
struct my_pass {
    matrix_view<float> x;
    index_t lanes() const { return x.rows; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class Block> ESPALIER_FN void operator()(Block const&, live_groups const&, int) const {}
#else
    template <class Block> ESPALIER_FN void operator()(Block const&) const {}
#endif
};
void run(far_away& device) {
    device::live_rows<far_away>(device, live_groups{}).run(my_pass{});
}
