// SPDX-License-Identifier: Apache-2.0
// expect: a schedule needs .constexpr double at\(espalier::clock const& now\) const
// expect c++: given_type<.*halving
// A schedule that has no value.
#include <espalier/core/clock.hpp>
#include <espalier/dropout/bernoulli.hpp>
using namespace espalier;
struct halving {
    double from = 0.5;
#ifdef ESPALIER_POSITIVE_TWIN
    constexpr double at(espalier::clock const& now) const {
        return from / double(now.step + 1);
    }
#endif
};
double rate_now() {
    return dropout::bernoulli<halving{}>::name.empty() ? 0.0 : halving{}.from;
}
