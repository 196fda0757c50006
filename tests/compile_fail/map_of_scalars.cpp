// SPDX-License-Identifier: Apache-2.0
// expect: `scalars` of a weight map is 1 or 2
// expect: a weight map with `scalars` needs `needs_operand = true`
// expect: a weight map with `scalars` needs as many different names
// expect: a weight map with `scalars` needs `static constexpr double scalar_rate` in the policy
// expect: a weight map with `scalars` needs `scalar_values<double> start\(\) const`
// expect: a weight map with `scalars` needs .*scalar_gradients\(T g, element_about<T> const& about\) const
// expect: at_layer<1>
// A weight map that is made of trained numbers and says nothing of them.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>

#include <string_view>
using namespace espalier;
struct scaled {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    double factor = 1.0;
    template <class T> ESPALIER_FN T pull(T g) const { return g * T(static_cast<scalar_of<T>>(factor)); }
    template <class T> ESPALIER_FN T store(T next) const { return next; }
    template <class T> ESPALIER_FN T effective(T raw) const { return pull(raw); }
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr bool needs_operand = true;
    static constexpr int scalars = 1;
    static constexpr std::string_view scalar_names[scalars] = {"factor"};
    static constexpr double scalar_rate = 0.01;
    weight::scalar_values<double> start() const {
        return {1.0};
    }
    template <class T> ESPALIER_FN scaled with(weight::scalar_values<T> const& numbers) const {
        return {static_cast<double>(numbers.first)};
    }
    template <class T> ESPALIER_FN weight::scalar_values<T> scalar_gradients(T g, element_about<T> const& about) const {
        return {g * about.weight};
    }
#else
    static constexpr bool needs_operand = false;
    static constexpr int scalars = 3;
#endif
};
using stack = sequence<input<16>, dense<8, scaled>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
