// SPDX-License-Identifier: Apache-2.0
// The experts of a mixture as a set: of one type, or of different ones.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/list.hpp>

#include <cstddef>

namespace espalier::detail {

/// `Count` experts of one type, each with parameters of its own. Their functions are instantiated once.
template <int Count, class Expert> struct equal_experts {
    static constexpr int count = Count;
    static constexpr bool equal = true;
    static constexpr shape output = Expert::output;
    static constexpr need needs = Expert::facts.needs;
    template <class Asked> static consteval bool has_tensor() { return has_tensor_in<Expert, Asked>(); }

    using numbers = typename Expert::numbers;
    static numbers at(clock const& now) { return body_of<Expert>.at(now); }

    /// What expert e and those before it need, tapes left out.
    template <class T> static constexpr footprint before(int e) {
        footprint f = body_of<Expert>.template size<T>();
        f.tape = {};
        return e * f;
    }
    template <class T> static constexpr extent tape() { return body_of<Expert>.template size<T>().tape; }
    template <class T> static constexpr extent work() { return body_of<Expert>.template work<T>(); }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return body_of<Expert>.template scratch<Device, T>(capacity);
    }
    /// Calls body(what has the functions of the expert, its number, its numbers) for every expert in order.
    template <class Body> static void each(numbers const& n, Body const& body) {
        for (int e = 0; e < Count; ++e)
            body(body_of<Expert>, e, n);
    }
    template <class Body> static void each_type(Body const& body) {
        for (int e = 0; e < Count; ++e)
            body(body_of<Expert>, e);
    }
    /// Once, for all that are equal.
    template <class Body> static void first(numbers const& n, Body const& body) { body(body_of<Expert>, 0, n); }
};

/// Experts of different types with equal outputs.
template <class... Experts> struct different_experts : layer_list<Experts...> {
    static constexpr bool equal = false;
    static constexpr shape output = type_at<0, Experts...>::output;

    template <class T> static constexpr footprint before(int e) {
        footprint sum = layer_list<Experts...>::template before<T>(e);
        sum.tape = {};
        return sum;
    }
    template <class T> static constexpr extent tape() {
        extent most{};
        for (footprint const& f : {body_of<Experts>.template size<T>()...})
            most = larger(most, f.tape);
        return most;
    }
};

} // namespace espalier::detail
