// SPDX-License-Identifier: Apache-2.0
// The axes of the library: the list over which layers and checks fold. A new axis is its folder and a line in each half
// of this file.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/layer/bias.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/product/concept.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/transform/concept.hpp>
#include <espalier/units/axis.hpp>
#include <espalier/weight/concept.hpp>

namespace espalier {

/// Every axis, in the order in which layers name theirs.
using all_axes = type_list<axis::activation, axis::dropout, axis::units, axis::activation_penalty, axis::weight,
                           axis::prune, axis::bias, axis::product, axis::gate, axis::dispatch, axis::penalty,
                           axis::transform, axis::projection, axis::initial, axis::group>;

namespace detail {

template <class List, axis_place... Places> struct axes_of_list;
template <class... Axes, axis_place... Places> struct axes_of_list<type_list<Axes...>, Places...> {
    static constexpr auto kept = [] {
        order<sizeof...(Axes)> result;
        std::size_t index = 0;
        for (axis_place const place : {Axes::place...}) {
            if ((false || ... || (place == Places))) result.index[result.count++] = index;
            ++index;
        }
        return result;
    }();
    using type = typename select_types<kept, std::make_index_sequence<kept.count>, Axes...>::type;
};

} // namespace detail

/// The axes that act at one of the places.
template <axis_place... Places> using axes_at = typename detail::axes_of_list<all_axes, Places...>::type;

} // namespace espalier
