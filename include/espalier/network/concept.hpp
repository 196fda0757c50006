// SPDX-License-Identifier: Apache-2.0
// What is asked of a network where one is given, and of the type of its numbers.
#pragma once

#include <espalier/core/diagnostic.hpp>

#include <type_traits>

namespace espalier::detail {

template <class N>
concept is_network = requires {
    typename N::stack;
    typename N::layer;
    typename N::scalar;
    typename N::device_type;
};
/// Asked of what stands in the place of a network before it is asked for anything else.
template <class N> consteval bool check_network() {
    static_assert(diagnostic::holds<is_network<N>, diagnostic::given_type<N>>,
                  "espalier: what stands in the place of a network is none; the next line names the type; a stack "
                  "becomes one as in espalier::network<stack, espalier::device::cpu> model{espalier::seed{1}}");
    return is_network<N>;
}

/// The numbers of C++ that have fractions, or a narrower type that is converted.
template <class T>
concept network_number = std::is_floating_point_v<T> ||(std::is_class_v<T>&& requires(T x) {
    static_cast<float>(x);
    static_cast<T>(1.0f);
});
template <class T> consteval bool check_network_number() {
    static_assert(diagnostic::holds<network_number<T>, diagnostic::given_type<T>>,
                  "espalier: the last argument of a network is the type of its numbers: float, double or, on a GPU, "
                  "__nv_bfloat16; the next line names what was given; the order is network<stack, device, float>");
    return network_number<T>;
}

} // namespace espalier::detail
