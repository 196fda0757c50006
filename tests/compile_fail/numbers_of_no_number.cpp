// SPDX-License-Identifier: Apache-2.0
// expect: .numbers. names a member that is no number
// expect: named::name
// A text among the numbers that `describe` prints.
#include <espalier/initial/axis.hpp>
#include <espalier/layer/report.hpp>
using namespace espalier;
struct named {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "named";
    static constexpr double bound = 0.5;
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr auto numbers = fields<&named::bound>;
#else
    static constexpr auto numbers = fields<&named::name>;
#endif
};
void list(std::vector<policy_info>& out) {
    detail::list_policy<named>(out);
}
