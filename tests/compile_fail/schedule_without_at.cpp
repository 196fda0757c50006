// SPDX-License-Identifier: Apache-2.0
// expect: a schedule needs .constexpr double at\(espalier::clock const& now\) const
// expect c++: given_type<.*halving
// expect: initial::constant needs a finite number
// expect: initial::uniform<Low, High> needs finite numbers
// A schedule that has no value, in a policy and in an optimizer; a schedule where there is no time.
#include <espalier/core/clock.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/schedule/linear.hpp>
using namespace espalier;
struct halving {
    double from = 0.5;
#ifdef ESPALIER_POSITIVE_TWIN
    constexpr double at(espalier::clock const& now) const {
        return from / double(now.step + 1);
    }
#endif
};
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr double first = 0.1;
#else
inline constexpr schedule::linear first{.from = 0.1, .to = 0.2, .steps = 3};
#endif
double rate_now() {
    return dropout::bernoulli<halving{}>::name.empty() ? 0.0 : halving{}.from;
}
inline constexpr std::size_t sizes = sizeof(optimizer::adam{.learning_rate = halving{}}) +
                                     sizeof(initial::constant<first>) + sizeof(initial::uniform<first, 0.5>);
