// SPDX-License-Identifier: Apache-2.0
// Passes: what any device does at once when it is given the arguments, a body and a number of lanes.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/live_groups.hpp>

// Archetype. A pass is an aggregate of at most nine arguments. docs/devices.md has one to start from.
//
//     template <class T> struct pass {
//         matrix_view<T> x;                     // arguments
//
//         index_t lanes() const;                // lanes that the pass keeps busy, 0 when there is nothing to do: a GPU
//                                               //   makes so many threads, 256 to a block, or fewer that take turns.
//                                               //   Part of no result. 1: one block
//         void operator()(block) const;         // the body, ESPALIER_FN, a template over a group (core/group.hpp)
//         void operator()(block, live_groups, group) const;  // instead of it, where the pass is for each of a launch's
//                                               //   groups (core/live_groups.hpp): an expert's layer needs that
//
//         // each may be left out
//         void on_cpu() const;                  // a loop of its own for the CPU; without it one lane runs the body
//         static constexpr unsigned blocks;     // blocks that a multiprocessor shall hold at once: left to itself,
//                                               //   ptxas takes 64 registers for some bodies and spills a few bytes
//         static constexpr bool whole = true;   // an argument is indexed at run time
//     };

namespace espalier {

/// A pass for each of the groups of a launch.
template <class Pass>
concept group_pass = requires(Pass const pass, serial_group const lane, live_groups const& live) {
    pass(lane, live, 0);
};

} // namespace espalier
