// SPDX-License-Identifier: Apache-2.0
// Tells the stand-in for CUDA's runtime what each kernel does, when it is launched: its body with one lane, or the
// block lane by lane where a body is written for so many. Included before anything else in a .cu whose program is to
// run on the stand-in; in a program with CUDA's own runtime it does nothing.
#pragma once

// Bodies are read for the host and for the device, and the emulated block is for the host.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "stand_in/kernel_facts.hpp"

#include <espalier/core/group.hpp>
#include <espalier/device/emulated/emulated_block.hpp>
#include <espalier/kernels/passes.hpp>

#include <cstddef>
#include <utility>

namespace stand_in {

namespace detail {

/// As many lanes as a body likes.
inline constexpr unsigned any_lanes = 0;

template <class> inline constexpr std::size_t bytes_of_data = 0;
template <unsigned Capacity>
inline constexpr std::size_t bytes_of_data<espalier::kernels::passes::store_bytes<Capacity>> = Capacity;

template <unsigned Lanes, class Body, class... Parameters> struct kernel {
    using places = std::index_sequence_for<Parameters...>;

    static void clear_padding(void* const* arguments) { clear(arguments, places{}); }
    static void body(void* const* arguments, unsigned groups) { run(arguments, static_cast<int>(groups), places{}); }

private:
    template <std::size_t... I> static void clear(void* const* arguments, std::index_sequence<I...>) {
        (__builtin_clear_padding(static_cast<Parameters*>(arguments[I])), ...);
    }
    template <std::size_t... I> static void run(void* const* arguments, int groups, std::index_sequence<I...>) {
        alignas(16) std::byte shared[48 * 1024]; // what a block of a GPU has
        for (int group = 0; group < groups; ++group) {
            if constexpr (Lanes == any_lanes)
                Body{}(espalier::serial_group{.shared_memory = shared}, group,
                       *static_cast<Parameters const*>(arguments[I])...);
            else
                espalier::emulated_launch<Lanes>(
                    1, [&](auto& block) { Body{}(block, group, *static_cast<Parameters const*>(arguments[I])...); });
        }
    }
};

} // namespace detail

template <unsigned Lanes, class Body, class... Parameters> void before_launch(void (*kernel)(Parameters...), Body) {
    if (!know) return;
    using facts = detail::kernel<Lanes, Body, Parameters...>;
    static bool const known = (know(reinterpret_cast<void const*>(kernel),
                                    {{{sizeof(Parameters), alignof(Parameters), detail::bytes_of_data<Parameters>}...},
                                     &facts::clear_padding,
                                     &facts::body}),
                               true);
    static_cast<void>(known);
}

} // namespace stand_in

#define ESPALIER_BEFORE_LAUNCH(lanes, kernel, ...) stand_in::before_launch<lanes>(kernel, __VA_ARGS__)
