// SPDX-License-Identifier: Apache-2.0
// Experts on a device that alone knows how many rows they got: launches for one expert's rows, or for those of all.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/live_rows.hpp>
#include <espalier/layer/mixture/facts.hpp>
#include <espalier/layer/mixture/memory.hpp>
#include <espalier/product/concept.hpp>

#include <cstddef>

namespace espalier::detail {

/// A device as it is asked for scratch where its launches are for several experts, which have Rows.bytes(capacity) rows
/// together.
template <class Device, int Groups, extent Rows> struct scratch_of_groups {
    template <class T, class Chosen>
    static std::size_t product_scratch(index_t capacity, index_t inner, index_t columns) {
        live_groups live;
        live.groups = Groups;
        live.most_rows = Rows.bytes(capacity);
        std::size_t const one = Device::template product_scratch<T, Chosen>(capacity, inner, columns);
        std::size_t const all = Device::template live_scratch<T>(live, capacity, inner, columns);
        return one > all ? one : all;
    }
};

/// Calls body(the context in which the verbs are those of the groups).
template <class Context, class Body> void in_groups(Context& context, live_groups const& live, Body const& body) {
    using device_type = device::live_rows<typename Context::device_type>;
    device_type part(context.device, live);
    espalier::context<device_type, typename Context::scalar, Context::behaviour> its{part, context.seed, context.step,
                                                                                     context.pass, context.sample};
    body(its);
}

template <class Mixture, class Context> struct mixture_groups {
    using memory = mixture_memory<Mixture>;
    using experts_type = typename Mixture::experts_type;
    using in_context = mixture_facts_in<Mixture, Context>;

    /// All experts as the groups of a launch.
    template <class T> static live_groups all(layer_memory<T> const& m) {
        live_groups live;
        live.groups = Mixture::experts;
        live.parameters = Mixture::one.parameters;
        live.mask_words = Mixture::one.mask_words;
        live.fixed = Mixture::one.fixed;
        live.state = Mixture::one.state;
        live.terms = Mixture::one.terms;
        live.streams = Mixture::one.streams * static_cast<int>(purposes);
        if constexpr (in_context::together) {
            if (in_context::counts_on_device) live.count = memory::pairs(m).count;
            live.first = memory::pairs(m).first;
            if (in_context::bounded) live.apart = in_context::block_rows(m.capacity);
            live.most_rows = memory::pairs_in(m.capacity);
        }
        return live;
    }
    /// Calls body(what has the functions of the expert, its number, its numbers) for every expert in order, or for the
    /// first of those that run together.
    template <class Body> static void each(typename experts_type::numbers const& n, Body const& body) {
        if constexpr (in_context::together)
            experts_type::first(n, body);
        else
            experts_type::each(n, body);
    }
    /// Calls body(the context in which expert e runs, or all of them).
    template <class T, class Body>
    static void in_context_of(Context& context, layer_memory<T> const& m, int e, Body const& body) {
        if constexpr (in_context::together)
            in_groups(context, all(m), body);
        else if constexpr (in_context::counts_on_device)
            in_groups(context, live_groups{.count = memory::pairs(m).count + e}, body);
        else
            body(context);
    }
};

/// What a device's scratch holds for the experts.
template <class Mixture, class Device, class T> std::size_t scratch_of_experts(index_t capacity) {
    using experts_type = typename Mixture::experts_type;
    constexpr bool together = Mixture::template runs_together<Device>;
    if constexpr (together || Mixture::template updates_together<Device>) {
        constexpr extent rows_of_all = together ? Mixture::pair_rows : extent{};
        std::size_t const of_layers =
            experts_type::template scratch<scratch_of_groups<Device, Mixture::experts, rows_of_all>, T>(capacity);
        constexpr auto const& own = mixture_memory<Mixture>::template group<T>;
        return of_layers + (together ? static_cast<std::size_t>(own.bytes(capacity)) : 0);
    } else {
        return experts_type::template scratch<Device, T>(capacity);
    }
}

/// Where the gradients of an expert's rows go, or of all experts' that run together, and the work space of the
/// experts' layers. The front of a device's scratch is taken for those for as long as this lives.
template <class Mixture, class Device, class T> struct expert_work {
    T* doutputs = nullptr;
    T* dinputs = nullptr;
    std::byte* child = nullptr;

    expert_work(Device& device, layer_memory<T> const& m) : device_(device), whole_(device.scratch) {
        if constexpr (together) {
            take(memory::template group<T>, whole_.data, memory::pairs_in(m.capacity));
            auto const taken = memory::template group<T>.bytes(m.capacity);
            device.scratch = {whole_.data + taken, whole_.size - static_cast<std::size_t>(taken)};
        } else if (m.work) {
            take(memory::template work<T>, m.work, m.capacity);
        }
    }
    ~expert_work() {
        if constexpr (together) device_.scratch = whole_;
    }
    expert_work(expert_work const&) = delete;
    expert_work& operator=(expert_work const&) = delete;

private:
    using memory = mixture_memory<Mixture>;
    static constexpr bool together = Mixture::template runs_together<Device>;

    template <class Blocks> void take(Blocks const& blocks, std::byte* arena, index_t capacity) {
        doutputs = blocks.doutputs.in(arena, capacity);
        dinputs = blocks.dinputs.in(arena, capacity);
        child = blocks.child.in(arena, capacity);
    }

    Device& device_;
    scratch_view whole_;
};

} // namespace espalier::detail
