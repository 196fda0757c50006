// SPDX-License-Identifier: Apache-2.0
// A gate that is bound to the width of its input: which tensors, state and blocks of memory it has.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espalier::detail {

/// Stands in for a tensor that a gate does not have.
struct no_tensor {
    struct rule {};
    static constexpr need needs = need::none;
    static constexpr rule at(clock const&) { return {}; }
    static constexpr footprint size() { return {}; }
    template <class Asked> static consteval bool has_tensor() { return false; }
    template <class... Arguments> static void update(Arguments&&...) {}
    template <class... Arguments> static void initialise(Arguments&&...) {}
    template <class... Arguments> static void describe(Arguments&&...) {}
};

/// First values of a gate's own kernel and bias unless the layer has an initialiser.
template <class Gate> struct gate_initial {
    using kernel = initial::xavier_uniform;
    using bias = initial::zeros;
};
template <class Gate>
requires requires {
    typename Gate::initial;
}
struct gate_initial<Gate> {
    using kernel = typename Gate::initial;
    using bias = kernel;
};

/// Which tensors a gate has.
template <class Gate> struct gate_tensors {
    /// What routes before a search moves the experts about; the gate itself without one.
    using scorer = gate_scorer<Gate>;
    static constexpr bool keyed = scorer::logits == 0;
    static constexpr bool reads_input = !keyed && gate_reads_input<scorer>();
    static constexpr bool searches = gate_searches<Gate>();
    static constexpr role_set tensor_roles =
        roles(role::gate, reads_input) | roles(role::bias, !keyed) | roles(role::score, searches);
};

template <shape In, class Gate, class... Ps> struct router_memory : gate_tensors<Gate> {
    using typename gate_tensors<Gate>::scorer;
    using gate_tensors<Gate>::keyed;
    using gate_tensors<Gate>::reads_input;
    using gate_tensors<Gate>::searches;

    static constexpr index_t in = In.size();
    static constexpr int experts = Gate::experts;
    static constexpr int slots = Gate::slots;
    static constexpr bool slot_is_expert = Gate::slot_is_expert;
    using scorer_op = op_of<scorer>;
    /// Permutations of a search, one below the other: [parts experts][experts]. The scorer's weights are as wide.
    static constexpr int parts = searches && scorer::slot_is_expert ? scorer::slots / experts : 1;
    static constexpr index_t wide = index_t{parts} * experts;
    static constexpr index_t squared = index_t{experts} * experts;
    static constexpr index_t permutations = parts * squared;
    static constexpr bool chooses_rows = gate_chooses_rows<scorer>();
    /// Whether every row goes to every expert, by the gate's nature.
    static constexpr bool fills_all = gate_fills_all<Gate>();
    static constexpr index_t keys = gate_keys<scorer>();
    static constexpr gate_needs needs = gate_needs_of<scorer_op>();
    static constexpr index_t statistics = index_t{needs.statistics} * experts;
    static constexpr bool scorer_has_term = gate_has_term<scorer_op>();
    static constexpr int terms = (scorer_has_term ? 1 : 0) + (searches ? parts : 0);
    static constexpr index_t width = keyed ? 1 : scorer::logits;

    template <bool Has, role Role, class Initial> static consteval auto tensor(index_t rows, index_t columns) {
        if constexpr (Has)
            return tensor_kind<Role, Initial, Ps...>{rows, columns};
        else
            return no_tensor{};
    }
    static constexpr auto kernel =
        tensor<reads_input, role::gate, pick<axis::initial, typename gate_initial<scorer>::kernel, Ps...>>(in, width);
    static constexpr auto bias = tensor<!keyed, role::bias, typename gate_initial<scorer>::bias>(1, width);
    static constexpr auto search = tensor<searches, role::score, initial::uniform<-0.05, 0.05>>(wide, experts);
    static constexpr layer_facts facts{.needs = kernel.needs | bias.needs | search.needs |
                                                (keyed ? need::tags : need::none)};
    static constexpr footprint bias_at = kernel.size();
    static constexpr footprint search_at = bias_at + bias.size();
    static constexpr footprint tensors = search_at + search.size();

    struct numbers {
        op_of<Gate> gate;
        typename decltype(kernel)::rule kernel_rule;
        typename decltype(bias)::rule bias_rule;
        typename decltype(search)::rule search_rule;
    };
    static numbers at(clock const& now) { return {op_at<Gate>(now), kernel.at(now), bias.at(now), search.at(now)}; }

    /// What only a search has: its rows and its numbers; slots of a scorer whose slots are no experts.
    static constexpr extent search_rows = searches ? each_row : extent{};
    static constexpr extent search_once = searches ? single_row : extent{};
    static constexpr index_t scored_slots = searches && !scorer::slot_is_expert ? scorer::slots : 0;
    static constexpr index_t scratch_of_search = [] {
        if constexpr (searches)
            return index_t{Gate::scratch};
        else
            return index_t{0};
    }();

    /// The logits and what the auxiliary terms keep of the batch; with a search the scorer's own weights, and the
    /// permutation and what its reverse needs.
    template <class T> struct tape_blocks : block_list {
        using W = master_of<T>;
        constexpr tape_blocks() {}
        memory_block<T> logits{*this, keyed ? 0 : width};
        memory_block<double> slopes{*this, 2 * statistics, single_row};
        memory_block<W> scored{*this, scored_slots};
        memory_block<std::int32_t> scored_experts{*this, scored_slots};
        memory_block<W> spread{*this, wide, search_rows};
        memory_block<W> sums{*this, 1, search_rows};
        memory_block<W> permutation{*this, permutations, search_once};
        memory_block<double> soft{*this, permutations, search_once};
        memory_block<double> noisy{*this, permutations, search_once};
        memory_block<double> potentials{*this, parts* scratch_of_search, single_row};
    };
    template <class T> static constexpr tape_blocks<T> tape{};

    template <class T> struct work_blocks : block_list {
        using W = master_of<T>;
        constexpr work_blocks() {}
        memory_block<T> dlogits{*this, keyed ? 0 : width};
        memory_block<W> order{*this, chooses_rows};
        memory_block<W> dpermuted{*this, experts, search_rows};
        memory_block<W> dspread{*this, wide, search_rows};
        memory_block<W> dscored{*this, scored_slots};
        memory_block<W> dpermutation{*this, permutations, search_once};
        memory_block<double> dsoft{*this, squared, search_once};
    };
    template <class T> static constexpr work_blocks<T> work_at{};
    template <class T> static constexpr extent work() { return work_at<T>.end; }

    // State: the table of a keyed gate, then the permutation that a search found.
    static constexpr index_t permutation_at = padded(keys);
    template <class T> static constexpr footprint size() {
        footprint f = tensors;
        f.tape = tape<T>.end;
        f.terms += terms;
        f.streams += keyed ? 1 : 0; // of the table, which is no trained tensor
        f.learned_state = searches ? padded(permutations) : 0;
        f.state = permutation_at + f.learned_state;
        return f;
    }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = reads_input ? Device::template product_scratch<T, void>(capacity, in, width) : 0;
        if constexpr (!keyed && !Device::host_memory) {
            std::size_t const own = Device::template gate_scratch<T>(capacity, width, statistics);
            most = own > most ? own : most;
        }
        if constexpr (searches) {
            std::size_t const own = Device::template product_scratch<master_of<T>, void>(capacity, wide, experts);
            most = own > most ? own : most;
        }
        return most;
    }

    template <class T> static layer_memory<T> bias_memory(layer_memory<T> const& m) { return m.child(bias_at, {}); }
    template <class T> static layer_memory<T> search_memory(layer_memory<T> const& m) { return m.child(search_at, {}); }
    template <class T> static double* gate_terms(layer_memory<T> const& m) {
        return m.terms && terms > 0 ? m.terms + tensors.terms : nullptr;
    }

    static void list(std::vector<policy_info>& out) { list_policy<Gate>(out); }
    static constexpr index_t parameter_count() { return (reads_input ? in * width : 0) + (keyed ? 0 : width); }
};

} // namespace espalier::detail
