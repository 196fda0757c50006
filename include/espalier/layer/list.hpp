// SPDX-License-Identifier: Apache-2.0
// Several bound layers beside each other: what is asked of all of them in turn.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace espalier::detail {

template <class... Layers> struct layer_list {
    static constexpr int count = sizeof...(Layers);
    static constexpr need needs = needs_of_layers<Layers...>;
    template <class Asked> static consteval bool has_tensor() { return any_has_tensor<Asked, Layers...>(); }

    using numbers = flat_tuple<typename Layers::numbers...>;
    static numbers at(clock const& now) { return numbers{{{body_of<Layers>.at(now)}...}}; }

    template <class T>
    static constexpr std::array<footprint, sizeof...(Layers) + 1> starts = [] {
        footprint const sizes[] = {body_of<Layers>.template size<T>()...};
        std::array<footprint, sizeof...(Layers) + 1> at{};
        for (std::size_t i = 0; i < sizeof...(Layers); ++i)
            at[i + 1] = at[i] + sizes[i];
        return at;
    }();
    /// What the layers before one need, and with `count` all of them.
    template <class T> static constexpr footprint before(int i) { return starts<T>[static_cast<std::size_t>(i)]; }

    /// The most that one of them needs while it runs.
    template <class T> static constexpr extent work() {
        extent most{};
        for (extent e : {body_of<Layers>.template work<T>()...})
            most = larger(most, e);
        return most;
    }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = 0;
        for (std::size_t s : {body_of<Layers>.template scratch<Device, T>(capacity)...})
            most = s > most ? s : most;
        return most;
    }

    /// Calls body(what has the functions of the layer, its place, its numbers) for every layer in order.
    template <class Body> static void each(numbers const& n, Body const& body) {
        each_place([&](auto layer, auto place) { body(layer, int{place}, get<std::size_t{place}>(n)); });
    }
    /// The same without numbers.
    template <class Body> static void each_type(Body const& body) {
        each_place([&](auto layer, auto place) { body(layer, int{place}); });
    }

private:
    template <class Body> static void each_place(Body const& body) {
        [&]<std::size_t... At>(std::index_sequence<At...>) {
            int const in_order[] = {(body(body_of<Layers>, std::integral_constant<int, static_cast<int>(At)>{}), 0)...};
            static_cast<void>(in_order);
        }
        (std::index_sequence_for<Layers...>{});
    }
};

} // namespace espalier::detail
