// SPDX-License-Identifier: Apache-2.0
// The memory of a mixture: which blocks it has on the tape and in the work space, and what lies in them.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/mixture/tags.hpp>

#include <cstddef>
#include <cstdint>

namespace espalier::detail {

/// What the gates gave rows of a batch, the slots of all gates side by side.
template <class Mixture, class W> struct mixture_routing {
    matrix_view<W> weights;
    matrix_view<std::int32_t> chosen; ///< no data where a slot is its expert

    template <class U> static matrix_view<U> of_task(matrix_view<U> all, int t) {
        if (!all.data) return {};
        int const first = Mixture::tasks.first_slot[t];
        return all.middle_columns(first, Mixture::tasks.first_slot[t + 1] - first);
    }
    mixture_routing of_task(int t) const { return {of_task(weights, t), of_task(chosen, t)}; }
    mixture_routing middle_rows(index_t first, index_t n) const {
        return {weights.middle_rows(first, n),
                chosen.data ? chosen.middle_rows(first, n) : matrix_view<std::int32_t>{}};
    }
    matrix_view<W const> shares() const { return weights; }
    matrix_view<std::int32_t const> experts() const { return chosen; }
};

template <class Mixture> struct mixture_memory {
    using gates_type = typename Mixture::gates_type;
    using experts_type = typename Mixture::experts_type;
    static constexpr int experts = Mixture::experts;
    static constexpr index_t slots = Mixture::slots;

    /// The gates', weights (never narrow), experts, and per expert or per pair what the experts keep.
    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        static constexpr bool gathers = Mixture::gathers;
        static constexpr extent pairs = gathers ? Mixture::pair_rows : extent{};
        static constexpr extent of_expert = experts_type::template tape<T>();
        static constexpr extent kept =
            of_expert.per_row * Mixture::kept_rows + extent{0, index_t{experts} * of_expert.fixed};

        memory_block<std::byte> gates{*this, gates_type::template before<T>(gates_type::count).tape};
        memory_block<master_of<T>> weights{*this, slots};
        memory_block<std::int32_t> chosen{*this, Mixture::slot_is_expert ? 0 : slots};
        memory_block<std::int32_t> pair{*this, gathers ? slots : 0};
        memory_block<std::int32_t> first{*this, gathers ? experts : 0, single_row};
        memory_block<std::int32_t> count{*this, gathers ? experts : 0, single_row};
        memory_block<std::int32_t> pair_row{*this, 1, pairs};
        memory_block<std::uint32_t> pair_origin{*this, 1, pairs};
        memory_block<std::int32_t> pair_slot{*this, 1, pairs};
        pair_tag_blocks tags{*this, Mixture::maps_tags ? pairs : extent{}};
        memory_block<std::int32_t> chunk{*this, Mixture::in_chunks ? experts : 0, single_row}; ///< of every expert
        /// Where an expert's inputs and its tape begin, in rows.
        memory_block<std::int32_t> kept_at{*this, Mixture::in_chunks ? experts : 0, single_row};
        memory_block<T> expert_inputs{*this, gathers ? Mixture::in : 0, Mixture::kept_rows};
        /// Whether the last batch went to all experts.
        memory_block<std::int32_t> everywhere{*this, Mixture::automatic, single_row};
        memory_block<T> expert_outputs{*this, Mixture::out, Mixture::pair_rows};
        memory_block<std::byte> expert_tape{*this, kept};
    };
    template <class T> static constexpr tape_blocks<T> tape{};

    /// Gradients of the weights, of one expert's outputs and inputs, and of the input through a further gate.
    template <class T> struct work_blocks : block_list {
        constexpr work_blocks() {}
        static constexpr extent of_expert{1, row_granule};

        memory_block<master_of<T>> dweights{*this, slots};
        memory_block<T> doutputs{*this, Mixture::out, of_expert};
        memory_block<T> dinputs{*this, Mixture::in, of_expert};
        memory_block<std::byte> child{*this, larger(experts_type::template work<T>(), gates_type::template work<T>())};
    };
    template <class T> static constexpr work_blocks<T> work{};

    /// The same gradients of the experts' rows, and the experts' own work space, where experts run together. Rows:
    /// those of all pairs. It lies in the scratch: only a device knows that it needs it.
    template <class T> struct group_blocks : block_list {
        constexpr group_blocks() {}
        memory_block<T> doutputs{*this, Mixture::out};
        memory_block<T> dinputs{*this, Mixture::in};
        memory_block<std::byte> child{*this, experts_type::template work<T>()};

        index_t bytes(index_t capacity) const { return round_up(this->end.bytes(pairs_in(capacity)), 256); }
    };
    template <class T> static constexpr group_blocks<T> group{};

    /// Rows that all experts together may get of a batch.
    static constexpr index_t pairs_in(index_t capacity) { return Mixture::pair_rows.bytes(capacity); }

    /// All but what the experts need.
    template <class T> static constexpr footprint own() {
        footprint f = gates_type::template before<T>(gates_type::count);
        f.tape = tape<T>.end;
        f.measures += Mixture::measures;
        f.gates += Mixture::tasks_count;
        return f;
    }
    template <class T> static constexpr footprint size() {
        return own<T>() + experts_type::template before<T>(experts).scattered();
    }

    template <class T> static constexpr footprint expert_at(int e) {
        return own<T>() + experts_type::template before<T>(e);
    }

    template <class T> static layer_memory<T> of_gate(layer_memory<T> const& m, int t) {
        return m.child(gates_type::template before<T>(t), work<T>.child.at);
    }
    /// The parameters of expert e, and the part of the experts' tape that starts at row `kept`.
    template <class T>
    static layer_memory<T> of_expert(layer_memory<T> const& m, int e, index_t kept, index_t capacity,
                                     std::byte* work_space) {
        footprint at = expert_at<T>(e);
        at.tape = {};
        layer_memory<T> child = m.child(at, {});
        child.work = work_space;
        constexpr extent its = tape_blocks<T>::of_expert;
        if (m.tape) child.tape = m.tape_block(tape<T>.expert_tape) + kept * its.per_row + e * its.fixed;
        child.capacity = capacity;
        return child;
    }
    /// One that has no batch.
    template <class T> static layer_memory<T> of_expert(layer_memory<T> const& m, int e) {
        return of_expert(m, e, 0, 0, nullptr);
    }

    template <class T> static mixture_routing<Mixture, master_of<T>> routing(layer_memory<T> const& m, index_t n) {
        matrix_view<std::int32_t> chosen{};
        if (!Mixture::slot_is_expert) chosen = {m.tape_block(tape<T>.chosen), n, slots, slots};
        return {{m.tape_block(tape<T>.weights), n, slots, slots}, chosen};
    }
    template <class T> static pair_table pairs(layer_memory<T> const& m) {
        constexpr auto const& at = tape<T>;
        return {m.tape_block(at.pair_row), m.tape_block(at.pair_origin), m.tape_block(at.pair_slot),
                m.tape_block(at.pair),     m.tape_block(at.first),       m.tape_block(at.count)};
    }
    /// What the experts left, as a function of row and slot.
    template <class T>
    static expert_outputs<T> outputs(layer_memory<T> const& m, matrix_view<T const> x, bool gathered) {
        expert_outputs<T> o;
        o.all = {m.tape_block(tape<T>.expert_outputs), pairs_in(m.capacity), Mixture::out, Mixture::out};
        o.slots = slots;
        o.block = m.capacity;
        o.pair = gathered ? pairs(m).pair : nullptr;
        o.expert = routing(m, 0).chosen.data;
        if (Mixture::passes_rows) o.instead = x;
        return o;
    }
};

} // namespace espalier::detail
