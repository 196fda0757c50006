// SPDX-License-Identifier: Apache-2.0
// expect: a map of weight::composed reads companions of the weights
// expect c++: given_type<
// A map that reads a frozen kernel behind another one.
#include <espalier/weight/compander.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/identity.hpp>
#include <string_view>
using namespace espalier;
struct scaled {
    using axis = axis::weight;
    static constexpr std::string_view name = "scaled";
    static constexpr bool uses_mask = false, needs_operand = true;
#ifndef ESPALIER_POSITIVE_TWIN
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[companions] = {"kernel"};
#endif
    template <class T> ESPALIER_FN static T effective(T raw, element_about<T> const& about) {
        return raw * about.companion.first;
    }
    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) {
        return g * about.companion.first;
    }
    template <class T> ESPALIER_FN static T store(T next) {
        return next;
    }
};
inline constexpr auto name = weight::composed<weight::identity, scaled>::name;
