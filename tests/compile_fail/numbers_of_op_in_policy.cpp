// SPDX-License-Identifier: Apache-2.0
// expect: with an op of its own names static members
// expect: pull_op::strength
// A policy that names a member of its op, which the op does.
#include <espalier/layer/report.hpp>
#include <espalier/penalty/axis.hpp>
using namespace espalier;
struct pull_op {
    double strength;
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr auto numbers = fields<&pull_op::strength>;
#endif
};
struct pull {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "pull";
    using op = pull_op;
    static op at(espalier::clock const&) { return {0.5}; }
#ifndef ESPALIER_POSITIVE_TWIN
    static constexpr auto numbers = fields<&pull_op::strength>;
#endif
};
void list(std::vector<policy_info>& out) {
    detail::list_policy<pull>(out);
}
