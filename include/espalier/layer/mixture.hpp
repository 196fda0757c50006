// SPDX-License-Identifier: Apache-2.0
// What moe and multi_gate are made of: gates that route a batch, and the experts that they share.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/device/live_rows.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/router.hpp>
#include <espalier/product/concept.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace espalier::detail {

/// `Count` experts of one type, each with parameters of its own. Their functions are instantiated once.
template <int Count, class Expert> struct equal_experts {
    static constexpr int count = Count;
    static constexpr bool equal = true;
    static constexpr shape output = Expert::output;
    static constexpr need needs = Expert::facts.needs;

    using numbers = typename Expert::numbers;
    static numbers at(clock const& now) { return Expert::at(now); }

    /// What expert e and those before it need, tapes left out.
    template <class T> static constexpr footprint before(int e) {
        footprint f = Expert::template size<T>();
        f.tape = {};
        return e * f;
    }
    template <class T> static constexpr extent tape() { return Expert::template size<T>().tape; }
    template <class T> static constexpr extent work() { return Expert::template work<T>(); }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return Expert::template scratch<Device, T>(capacity);
    }
    /// Calls body(type_identity of the expert, its number, its numbers) for every expert in order.
    template <class Body> static void each(numbers const& n, Body const& body) {
        for (int e = 0; e < Count; ++e)
            body(std::type_identity<Expert>{}, e, n);
    }
    template <class Body> static void each_type(Body const& body) {
        for (int e = 0; e < Count; ++e)
            body(std::type_identity<Expert>{}, e);
    }
    /// Once, for all that are equal.
    template <class Body> static void first(numbers const& n, Body const& body) {
        body(std::type_identity<Expert>{}, 0, n);
    }
};

/// Experts of different types with equal outputs.
template <class Indices, class... Experts> struct different_experts;
template <std::size_t... At, class... Experts> struct different_experts<std::index_sequence<At...>, Experts...> {
    static constexpr int count = sizeof...(Experts);
    static constexpr bool equal = false;
    static constexpr shape output = type_at<0, Experts...>::output;
    static constexpr need needs = needs_of_layers<Experts...>;

    using numbers = flat_tuple<typename Experts::numbers...>;
    static numbers at(clock const& now) { return numbers{{{Experts::at(now)}...}}; }

    template <class T> static constexpr footprint before(int e) {
        footprint const sizes[] = {Experts::template size<T>()...};
        footprint sum;
        for (int i = 0; i < e; ++i)
            sum = sum + sizes[i];
        sum.tape = {};
        return sum;
    }
    template <class T> static constexpr extent tape() {
        extent most{};
        for (footprint const& f : {Experts::template size<T>()...})
            most = larger(most, f.tape);
        return most;
    }
    template <class T> static constexpr extent work() {
        extent most{};
        for (extent e : {Experts::template work<T>()...})
            most = larger(most, e);
        return most;
    }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = 0;
        for (std::size_t s : {Experts::template scratch<Device, T>(capacity)...})
            most = s > most ? s : most;
        return most;
    }
    template <class Body> static void each(numbers const& n, Body const& body) {
        int const in_order[] = {(body(std::type_identity<Experts>{}, static_cast<int>(At), get<At>(n)), 0)...};
        static_cast<void>(in_order);
    }
    template <class Body> static void each_type(Body const& body) {
        int const in_order[] = {(body(std::type_identity<Experts>{}, static_cast<int>(At)), 0)...};
        static_cast<void>(in_order);
    }
};

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

/// Gates over shared experts: output t is mixed by gate t, and the outputs stand side by side.
template <shape In, class Experts, class Dispatch, class Indices, class... Routers> struct bound_mixture;
template <shape In, class Experts, class Dispatch, std::size_t... At, class... Routers>
struct bound_mixture<In, Experts, Dispatch, std::index_sequence<At...>, Routers...> {
    static constexpr int tasks_count = sizeof...(Routers);
    static constexpr int experts = Experts::count;
    static constexpr index_t in = In.size();
    static constexpr index_t out = Experts::output.size();
    static constexpr shape input = In;
    static constexpr shape output =
        tasks_count == 1 ? Experts::output : shape{static_cast<int>(tasks_count * Experts::output.size())};
    static constexpr layer_facts facts{.needs = Experts::needs | all_needs({Routers::layer_needs...})};

    /// Layers of the experts that make something of all their rows: a term of an activation penalty, running
    /// statistics, the routing of a mixture inside. A row that the gate did not send to an expert is none of its rows,
    /// so such experts run on gathered rows by every dispatch.
    static constexpr bool watches_rows = [] {
        constexpr footprint all = Experts::template before<float>(experts);
        return all.row_terms > 0 || all.learned_state + all.scattered_state > 0 || all.measures > 0;
    }();
    static constexpr bool gathers = Dispatch::gathers || watches_rows;
    /// The experts see the tags of the rows that were gathered for them.
    static constexpr bool maps_tags = gathers && has(Experts::needs, need::tags);
    static constexpr bool automatic = dispatch::chooses<Dispatch> && !watches_rows;
    static constexpr bool limited = dispatch::limits<Dispatch>;
    static constexpr bool passes_rows = dispatch::passes_rows<Dispatch>;
    static constexpr bool in_chunks = dispatch::runs_in_chunks<Dispatch>;
    static constexpr index_t slots = (index_t{Routers::slots} + ...);
    /// Slots are their experts, in every row: then nobody needs the experts' numbers.
    static constexpr bool slot_is_expert = tasks_count == 1 && (... && Routers::slot_is_expert);
    static constexpr mixture_tasks tasks = [] {
        mixture_tasks t;
        int const widths[] = {Routers::slots...};
        t.count = tasks_count;
        for (int i = 0; i < tasks_count; ++i)
            t.first_slot[i + 1] = t.first_slot[i] + widths[i];
        return t;
    }();

    struct numbers {
        flat_tuple<typename Routers::numbers...> gates;
        typename Experts::numbers experts;
    };
    static numbers at(clock const& now) {
        return {flat_tuple<typename Routers::numbers...>{{{Routers::at(now)}...}}, Experts::at(now)};
    }

    // ---- memory: the routers' blocks, then the experts'

    template <class T> static constexpr std::array<footprint, std::size_t{tasks_count + 1}> router_table() {
        footprint const sizes[] = {Routers::template size<T>()...};
        std::array<footprint, std::size_t{tasks_count + 1}> at{};
        for (std::size_t i = 0; i < tasks_count; ++i)
            at[i + 1] = at[i] + sizes[i];
        return at;
    }
    template <class T>
    static constexpr std::array<footprint, std::size_t{tasks_count + 1}> router_at = router_table<T>();

    // Tape: weights (never narrow), experts, and per expert or per pair what the experts keep.
    template <class T> struct places {
        extent weights{};
        extent chosen{};
        extent pair{};
        extent first{};
        extent count{};
        extent pair_row{};
        extent pair_origin{};
        extent pair_slot{};
        extent everywhere{};               ///< the last batch went to all experts
        extent chunk{};                    ///< of every expert
        extent kept{};                     ///< where its inputs and its tape begin, in rows
        extent pair_tag[row_tags::size]{}; ///< but for the origin, which is numbered with the pairs
        extent expert_inputs{};
        extent expert_outputs{};
        extent expert_tape{};
        extent total{};
    };
    /// Rows that all experts together may get, times the bytes of one: one a pair, plus what rounding every block up
    /// may add.
    static constexpr extent pairs_of(index_t bytes) {
        if (!gathers) return {experts * bytes, 0};
        index_t most = limited ? dispatch::capacity_per_row<Dispatch>(slots) : slots;
        if (most > experts) most = experts;
        bool const all = dispatch::chooses<Dispatch> || !Dispatch::gathers;
        return {(all ? experts : most) * bytes, round_up(experts * (row_granule + 1), row_granule) * bytes};
    }
    /// The same for what the experts keep of their rows.
    static constexpr extent kept_of(index_t bytes) {
        if constexpr (in_chunks)
            if (Dispatch::kept_rows < pairs_of(1).per_row) return {Dispatch::kept_rows * bytes, 0};
        return pairs_of(bytes);
    }
    /// Every expert may have a block of its own, as large as its capacity or with room for all rows.
    static constexpr bool room_for_all = limited || (!in_chunks && pairs_of(1).per_row >= experts);
    /// Experts whose rows may lie in one block for the pairs of all. Experts of different types keep different things
    /// of a row, and an activation penalty over columns keeps sums beside them.
    static constexpr bool share_block =
        gathers && !in_chunks && Experts::equal && Experts::template tape<float>().fixed == 0;
    template <class T> static constexpr places<T> layout() {
        places<T> p;
        block_list blocks{router_at<T>[tasks_count].tape};
        p.weights = blocks.add(row_block<master_of<T>>(slots));
        if (!slot_is_expert) p.chosen = blocks.add(row_block<std::int32_t>(slots));
        if (gathers) {
            p.pair = blocks.add(row_block<std::int32_t>(slots));
            p.first = blocks.add(fixed_block<std::int32_t>(experts));
            p.count = blocks.add(fixed_block<std::int32_t>(experts));
            p.pair_row = blocks.add(pairs_of(sizeof(std::int32_t)));
            p.pair_origin = blocks.add(pairs_of(sizeof(std::uint32_t)));
            p.pair_slot = blocks.add(pairs_of(sizeof(std::int32_t)));
            if (maps_tags)
                for_each_pair_tag([&](auto tag, auto place) {
                    p.pair_tag[place] = blocks.add(pairs_of(sizeof(typename decltype(tag)::value)));
                });
            if (in_chunks) {
                p.chunk = blocks.add(fixed_block<std::int32_t>(experts));
                p.kept = blocks.add(fixed_block<std::int32_t>(experts));
            }
            p.expert_inputs = blocks.add(kept_of(row_block<T>(in).per_row));
        }
        if (automatic) p.everywhere = blocks.add(fixed_block<std::int32_t>(1));
        p.expert_outputs = blocks.add(pairs_of(row_block<T>(out).per_row));
        extent const tape = Experts::template tape<T>();
        extent tapes = kept_of(tape.per_row);
        tapes.fixed += experts * tape.fixed;
        p.expert_tape = blocks.add(tapes);
        p.total = blocks.end;
        return p;
    }

    // Work: gradients of the weights, of one expert's outputs and inputs, and of the input through a further gate.
    template <class T> struct work_places {
        extent dweights{};
        extent doutputs{};
        extent dinputs{};
        extent child{};
        extent total{};
    };
    template <class T> static constexpr work_places<T> work_layout() {
        work_places<T> p;
        block_list blocks;
        auto const of_expert = [](extent row) { return extent{row.per_row, row_granule * row.per_row + row.fixed}; };
        p.dweights = blocks.add(row_block<master_of<T>>(slots));
        p.doutputs = blocks.add(of_expert(row_block<T>(out)));
        p.dinputs = blocks.add(of_expert(row_block<T>(in)));
        p.child = blocks.end;
        extent most = Experts::template work<T>();
        for (extent e : {Routers::template work<T>()...})
            most = larger(most, e);
        p.total = p.child + most;
        return p;
    }

    // The same gradients of the experts' rows, and the experts' own work space, where experts run together. Rows: those
    // of all pairs. It lies in the scratch: only a device knows that it needs it.
    template <class T> struct group_places {
        index_t dinputs = 0;
        index_t child = 0;
        index_t total = 0;
    };
    template <class T> static group_places<T> group_layout(index_t capacity) {
        index_t const most = pairs_of(1).bytes(capacity);
        group_places<T> p;
        p.dinputs = row_block<T>(out).bytes(most);
        p.child = p.dinputs + row_block<T>(in).bytes(most);
        p.total = round_up(p.child + Experts::template work<T>().bytes(most), 256);
        return p;
    }

    template <class T> static constexpr footprint own() {
        footprint f = router_at<T>[tasks_count];
        f.tape = layout<T>().total;
        f.measures += measures;
        f.gates += tasks_count;
        return f;
    }
    template <class T> static constexpr footprint size() {
        return own<T>() + Experts::template before<T>(experts).scattered();
    }
    template <class T> static constexpr extent work() { return work_layout<T>().total; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = 0;
        if constexpr (!Device::host_memory && (update_together || runs_together<Device>)) {
            constexpr extent rows_of_all = runs_together<Device> ? pairs_of(1) : extent{};
            most = Experts::template scratch<scratch_of_groups<Device, experts, rows_of_all>, T>(capacity);
            if (runs_together<Device>) most += static_cast<std::size_t>(group_layout<T>(capacity).total);
        } else {
            most = Experts::template scratch<Device, T>(capacity);
        }
        for (std::size_t s : {Routers::template scratch<Device, T>(capacity)...})
            most = s > most ? s : most;
        if constexpr (!Device::host_memory) {
            std::size_t const own = Device::dispatch_scratch(capacity, slots, experts);
            most = own > most ? own : most;
        }
        return most;
    }

    template <class T> static layer_memory<T> router_memory(std::size_t t, layer_memory<T> const& m) {
        return m.child(router_at<T>[t], work_layout<T>().child);
    }
    /// The parameters of expert e, and the part of the experts' tape that starts at row `kept`.
    template <class T>
    static layer_memory<T> expert_memory(layer_memory<T> const& m, int e, index_t kept, index_t capacity,
                                         std::byte* work) {
        footprint at = own<T>() + Experts::template before<T>(e);
        at.tape = {};
        layer_memory<T> child = m.child(at, {});
        child.work = work;
        extent const tape = Experts::template tape<T>();
        if (m.tape)
            child.tape =
                m.template tape_block<std::byte>(layout<T>().expert_tape) + kept * tape.per_row + e * tape.fixed;
        child.capacity = capacity;
        return child;
    }
    template <class T> static matrix_view<master_of<T>> weights_of(layer_memory<T> const& m, index_t n) {
        return {m.template tape_block<master_of<T>>(layout<T>().weights), n, slots, slots};
    }
    template <class T> static matrix_view<std::int32_t> chosen_of(layer_memory<T> const& m, index_t n) {
        if (slot_is_expert) return {};
        return {m.template tape_block<std::int32_t>(layout<T>().chosen), n, slots, slots};
    }
    template <class U> static matrix_view<U> of_task(matrix_view<U> all, int t) {
        if (!all.data) return {};
        return all.middle_columns(tasks.first_slot[t], tasks.first_slot[t + 1] - tasks.first_slot[t]);
    }
    template <class T> static pair_table pairs(layer_memory<T> const& m) {
        constexpr auto p = layout<T>();
        return {m.template tape_block<std::int32_t>(p.pair_row),  m.template tape_block<std::uint32_t>(p.pair_origin),
                m.template tape_block<std::int32_t>(p.pair_slot), m.template tape_block<std::int32_t>(p.pair),
                m.template tape_block<std::int32_t>(p.first),     m.template tape_block<std::int32_t>(p.count)};
    }
    template <class T> static std::int32_t* everywhere(layer_memory<T> const& m) {
        return m.template tape_block<std::int32_t>(layout<T>().everywhere);
    }
    /// Layers that look at their rows together have state, those that count them measures.
    static constexpr bool blocks_fit =
        Experts::template before<float>(experts).state == 0 && Experts::template before<float>(experts).measures == 0;
    /// Where only the device counts the rows, layers that need their number run on all rows if the dispatch is dense:
    /// right when every row is sent everywhere.
    template <class Context>
    static constexpr bool gathers_in = gathers &&
                                       (Dispatch::gathers || blocks_fit || Context::device_type::host_memory);
    /// Whether this batch was gathered; known when compiling unless the host can choose.
    template <class Context, class T> static bool gathered(layer_memory<T> const& m) {
        if constexpr (automatic && Context::device_type::host_memory)
            return *everywhere(m) == 0;
        else
            return gathers_in<Context>;
    }

    /// An expert's rows: where they begin among all experts' rows, how many, what its memory is sized for, and where
    /// they begin among those that are kept.
    struct expert_rows {
        index_t first;
        index_t count;
        index_t capacity;
        index_t kept;
    };
    template <class Context>
    static constexpr bool sees_own_rows = gathers_in<Context> || !watches_rows || (... && Routers::fills_all);
    template <class Context>
    static constexpr bool runs_on = gathers_in<Context>
                                        ? Context::device_type::host_memory ||
                                              (blocks_fit && !in_chunks && (room_for_all || share_block))
                                        : sees_own_rows<Context>;

    /// Whether slots may find no room in this behaviour.
    template <class Context> static constexpr bool bounded = dispatch::limits_in<Dispatch>(Context::behaviour);

    /// Where the host cannot know how many rows an expert gets, the experts run on as many as the device has counted.
    /// With a capacity they run on whole blocks of that size, by the products of the library: places that got no row
    /// hold zeros, their outputs are read by nobody and their gradients are zero. Only an expert with a term over its
    /// rows, an activation penalty, must know which places are rows, and runs on what was counted too.
    template <class Context>
    static constexpr bool in_blocks = gathers_in<Context> && !Context::device_type::host_memory;
    template <class Context>
    static constexpr bool counts_on_device = in_blocks<Context> &&
                                             (!bounded<Context> ||
                                              Experts::template before<float>(experts).row_terms > 0);
    /// Equal experts run together there, each launch for all of them, on windows in memory laid out for the pairs of
    /// all; without a capacity the experts' rows follow each other as the host would lay them out. Others run one after
    /// the other, each on a block of its own.
    template <class Device> static constexpr bool runs_together = !Device::host_memory && share_block && blocks_fit;
    template <class Context> static constexpr bool together = runs_together<typename Context::device_type>;
    /// Their updates do so whatever the dispatch, unless penalties over groups of weights share norms with others.
    static constexpr bool update_together =
        Experts::equal && blocks_fit && Experts::template before<float>(experts).group_sets == 0;

    /// All experts as the groups of a launch.
    template <class Context, class T> static live_groups groups_of(layer_memory<T> const& m) {
        constexpr footprint one = Experts::template before<T>(1);
        live_groups live;
        live.groups = experts;
        live.parameters = one.parameters;
        live.mask_words = one.mask_words;
        live.terms = one.terms;
        live.streams = one.streams * static_cast<int>(purposes);
        if constexpr (together<Context>) {
            if (counts_on_device<Context>) live.count = pairs(m).count;
            live.first = pairs(m).first;
            if (bounded<Context>) live.apart = block_rows(m.capacity);
            live.most_rows = pairs_of(1).bytes(m.capacity);
        }
        return live;
    }
    /// Calls body(type_identity of the expert, its number, its numbers) for every expert in order, or for the first of
    /// those that run together.
    template <class Context, class Body> static void each(typename Experts::numbers const& n, Body const& body) {
        if constexpr (together<Context>)
            Experts::first(n, body);
        else
            Experts::each(n, body);
    }
    static constexpr index_t block_rows(index_t n) {
        if constexpr (limited) {
            index_t const most = Dispatch::capacity_of(slots, n, experts);
            return round_up(most < n ? most : n, row_granule);
        } else {
            return round_up(n, row_granule);
        }
    }
    /// Calls body(the context in which the verbs are those of the groups).
    template <class Context, class Body>
    static void in_groups(Context& context, live_groups const& live, Body const& body) {
        using device_type = device::live_rows<typename Context::device_type>;
        device_type part(context.device, live);
        espalier::context<device_type, typename Context::scalar, Context::behaviour> its{part, context.seed,
                                                                                         context.step, context.pass};
        body(its);
    }
    /// Calls body(the context in which expert e runs, or all of them).
    template <class Context, class T, class Body>
    static void in_context_of(Context& context, layer_memory<T> const& m, int e, Body const& body) {
        if constexpr (together<Context>)
            in_groups(context, groups_of<Context>(m), body);
        else if constexpr (counts_on_device<Context>)
            in_groups(context, live_groups{.count = pairs(m).count + e}, body);
        else
            body(context);
    }
    template <class Context, class T>
    static expert_rows rows_of(layer_memory<T> const& m, int e, index_t n, bool gathered) {
        if (!gathered) return {e * m.capacity, n, m.capacity, e * m.capacity};
        if constexpr (together<Context>) {
            return {0, bounded<Context> ? block_rows(n) : n, pairs_of(1).bytes(m.capacity), 0};
        } else if constexpr (in_blocks<Context>) {
            index_t const room = block_rows(m.capacity);
            return {e * room, bounded<Context> ? block_rows(n) : n, room, e * room};
        } else {
            pair_table const table = pairs(m);
            index_t kept = table.first[e];
            if constexpr (in_chunks) kept = m.template tape_block<std::int32_t>(layout<T>().kept)[e];
            return {table.first[e], table.count[e], round_up(table.count[e], row_granule), kept};
        }
    }

    template <class T>
    static expert_outputs<T> outputs_of(layer_memory<T> const& m, matrix_view<T const> x, bool gathered) {
        expert_outputs<T> o;
        index_t const most = pairs_of(1).bytes(m.capacity);
        o.all = {m.template tape_block<T>(layout<T>().expert_outputs), most, out, out};
        o.slots = slots;
        o.block = m.capacity;
        o.pair = gathered ? pairs(m).pair : nullptr;
        o.expert = chosen_of(m, 0).data;
        if (passes_rows) o.instead = x;
        return o;
    }

    template <class Context, class T> static pair_plan plan_for(layer_memory<T> const& m, index_t row_count) {
        pair_plan plan;
        plan.experts = experts;
        plan.granule = row_granule;
        plan.shared = tasks_count > 1;
        if constexpr (bounded<Context>) plan.capacity = Dispatch::capacity_of(slots, row_count, experts);
        if constexpr (in_blocks<Context>) {
            plan.block = together<Context> && !bounded<Context> ? 0 : block_rows(m.capacity);
            if (plan.capacity > block_rows(row_count)) plan.capacity = block_rows(row_count);
        }
        return plan;
    }

    /// Rows of a batch whose slots are sure to find room, where no capacity holds them back and the memory is that of
    /// one.
    template <class Context, class T> static index_t rows_at_once(layer_memory<T> const& m) {
        if constexpr (!limited || bounded<Context>) return m.capacity;
        if constexpr (in_blocks<Context> && !together<Context>) return block_rows(m.capacity);
        index_t const most = slots < experts ? slots : experts; // of one row
        index_t const fit = pairs_of(1).per_row * m.capacity / most;
        return fit < 1 ? 1 : fit; // what is there for rounding has room for one row whatever its slots
    }

    // ---- work

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        static_assert(!in_blocks<Context> || !in_chunks,
                      "espalier: dispatch::chunked divides the experts into chunks on the host, which does not know on "
                      "a GPU how many rows an expert gets; give moe dispatch::compacted, dispatch::automatic<>, "
                      "dispatch::capacity<...> or dispatch::dense as its last argument to run it there");
        static_assert(
            !in_blocks<Context> || in_chunks || room_for_all || share_block,
            "espalier: on a GPU the experts of a compacted mixture keep their rows in blocks that they share, "
            "which experts of different types, or with an activation penalty over columns (flops), cannot; "
            "give moe dispatch::automatic<> or dispatch::capacity<...> as its last argument, or make the "
            "experts equal and take that penalty out");
        static_assert(!in_blocks<Context> || blocks_fit,
                      "espalier: on a GPU an expert that rows are gathered for runs on a block whose rows only the "
                      "device counts, and a batch_norm or a mixture among the experts' layers needs their number; take "
                      "that layer out of the experts, or let every row go to every expert: gate::softmax with "
                      "dispatch::dense as moe's last argument");
        static_assert(
            sees_own_rows<Context>,
            "espalier: on a GPU the experts of a dense mixture run on all rows, and a batch_norm or a mixture "
            "among their layers would count rows that the gate did not send to them; take that layer out of "
            "the experts, or let every row go to every expert: gate::softmax");
        static_assert(!in_chunks || blocks_fit,
                      "espalier: with dispatch::chunked what an expert keeps of a batch is overwritten by later "
                      "chunks, and a batch_norm or a mixture among the experts' layers needs it in the update; give "
                      "moe dispatch::compacted as its last argument, or take that layer out of the experts");
        if constexpr (runs_on<Context>) run_forward(context, n, m, batch, x, y);
    }
    template <class Context, class T>
    static void run_forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                            matrix_view<T const> x, matrix_view<T> y) {
        matrix_view<master_of<T>> const weights = weights_of(m, x.rows);
        matrix_view<master_of<T> const> const shares = weights;
        matrix_view<std::int32_t> const chosen = chosen_of(m, x.rows);
        int const routed[] = {(Routers::forward(context, get<At>(n.gates), router_memory(At, m), batch, x,
                                                of_task(weights, At), of_task(chosen, At)),
                               0)...};
        static_cast<void>(routed);
        for (int t = 0; m.gates && t < tasks_count; ++t)
            m.gates[t] = {of_task(shares, t), of_task(matrix_view<std::int32_t const>(chosen), t)};
        index_t const part = rows_at_once<Context>(m);
        index_t r = 0;
        do { // without rows too: what an expert keeps of a batch must not be that of another one
            index_t const count = x.rows - r < part ? x.rows - r : part;
            mix_rows(context, n, m, batch, x, y, r, count);
            r += count;
        } while (r < x.rows);
        if (m.measures)
            context.device.measure_mixture(shares, matrix_view<std::int32_t const>(chosen),
                                           gathers_in<Context> ? pairs(m).pair : nullptr, plan_for<Context>(m, x.rows),
                                           m.measures);
    }
    /// Rows [first, first + count) of a batch that was routed go through their experts.
    template <class Context, class T>
    static void mix_rows(Context& context, numbers const& n, layer_memory<T> const& m, rows const& whole,
                         matrix_view<T const> all_x, matrix_view<T> all_y, index_t first, index_t count) {
        matrix_view<master_of<T> const> const shares = weights_of(m, all_x.rows).middle_rows(first, count);
        matrix_view<std::int32_t const> chosen{};
        if (!slot_is_expert) chosen = chosen_of(m, all_x.rows).middle_rows(first, count);
        rows const batch = whole.slice(first, count);
        matrix_view<T const> const x = all_x.middle_rows(first, count);
        matrix_view<T> const y = all_y.middle_rows(first, count);
        if constexpr (gathers_in<Context>) {
            pair_table table = pairs(m);
            table.pair += first * slots;
            context.device.build_pairs(shares, chosen, batch, plan_for<Context>(m, count), table);
            if constexpr (automatic && Context::device_type::host_memory) {
                index_t needed = 0;
                for (int e = 0; e < experts; ++e)
                    needed += table.count[e];
                *everywhere(m) = Dispatch::dense_for(needed, count * experts, *everywhere(m) != 0) ? 1 : 0;
            }
        }
        if constexpr (in_chunks) divide(m);
        bool const by_pairs = gathered<Context>(m);
        {
            expert_work const room(context.device, m);
            each<Context>(n.experts, [&](auto expert, int e, auto const& its) {
                run_expert<typename decltype(expert)::type>(context, its, m, e, batch, x, by_pairs, room.child);
            });
        }
        expert_outputs<T> const mixed = outputs_of(m, x, by_pairs).from_slot(first * slots);
        // An expert of weight 0 leaves no trace in y.
        if (!by_pairs) {
            watch_layer(context, m.stream);
            watch_rows(context, step_place::experts, matrix_view<T const>(mixed.all.middle_rows(0, x.rows)), experts,
                       m.capacity);
        }
        for (int t = 0; t < tasks_count; ++t)
            context.device.combine(of_task(shares, t), mixed.from_slot(tasks.first_slot[t]),
                                   y.middle_columns(t * out, out));
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (runs_on<Context>) run_backward<Want>(context, n, m, batch, x, matrix_view<T const>(dy), dx);
    }
    template <differentiate Want, class Context, class T>
    static void run_backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                             matrix_view<T const> x, matrix_view<T const> dy, matrix_view<T> dx) {
        constexpr auto p = layout<T>();
        constexpr auto w = work_layout<T>();
        matrix_view<master_of<T> const> const weights = weights_of(m, x.rows);
        matrix_view<std::int32_t const> const chosen = chosen_of(m, x.rows);
        matrix_view<master_of<T>> const dweights{m.template work_block<master_of<T>>(w.dweights), x.rows, slots, slots};
        bool const by_pairs = gathered<Context>(m);
        expert_outputs<T> const mixed = outputs_of(m, x, by_pairs);
        for (int t = 0; t < tasks_count; ++t)
            context.device.weight_gradients(of_task(weights, t), dy.middle_columns(t * out, out),
                                            mixed.from_slot(tasks.first_slot[t]), of_task(dweights, t));
        matrix_view<T> const further{m.template work_block<T>(w.dinputs), x.rows, in, in};
        int const routed[] = {(route_back<Routers, Want>(context, get<At>(n.gates), At, m, batch, x, weights, chosen,
                                                         dweights, At == 0 ? dx : further, dx),
                               0)...};
        static_cast<void>(routed);
        if constexpr (passes_rows && Want.inputs) context.device.pass_back(weights, tasks, pairs(m).pair, dy, dx);

        T* const inputs = gathers ? m.template tape_block<T>(p.expert_inputs) : nullptr;
        T const* const outputs = m.template tape_block<T>(p.expert_outputs);
        expert_work const room(context.device, m);
        // An expert without rows still has a gradient: zero.
        each<Context>(n.experts, [&](auto expert, int e, auto const& its) {
            if constexpr (in_chunks) run_chunk_again(context, n, m, e, batch, x);
            expert_rows const at = rows_of<Context>(m, e, x.rows, by_pairs);
            matrix_view<T> const d{room.doutputs, at.count, out, out};
            matrix_view<T> const di{room.dinputs, at.count, in, in};
            matrix_view<T const> from = x;
            rows its_batch = batch;
            expert_pairs block;
            block.expert = e;
            if constexpr (gathers_in<Context>)
                if (by_pairs) {
                    from = {inputs + at.kept * in, at.count, in, in};
                    its_batch = batch_of(m, batch, at);
                    block.row = pairs(m).row + at.first;
                    block.slot = pairs(m).slot + at.first;
                    block.pair = tasks_count > 1 ? pairs(m).pair : nullptr;
                    block.first = static_cast<std::int32_t>(at.first);
                }
            in_context_of(context, m, e, [&](auto& its_context) {
                its_context.device.expert_gradient(weights, chosen, tasks, block, dy, d);
                decltype(expert)::type::template backward<Want>(
                    its_context, its, expert_memory(m, e, at.kept, at.capacity, room.child), its_batch, from,
                    matrix_view<T const>{outputs + at.first * out, at.count, out, out}, d, di);
                if constexpr (Want.inputs && !together<Context>) {
                    if (block.row)
                        its_context.device.scatter_add(matrix_view<T const>(di), block.row, dx);
                    else
                        its_context.device.add(matrix_view<T const>(di), dx);
                }
            });
        });
        if constexpr (Want.inputs && together<Context>)
            context.device.add_pairs(matrix_view<T const>{room.dinputs, pairs_of(1).bytes(m.capacity), in, in},
                                     pairs(m).pair, slots, slot_is_expert, dx);
    }

    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        int const gates[] = {
            (Routers::update(context, optimizer, get<At>(n.gates), router_memory(At, m), given), 0)...};
        static_cast<void>(gates);
        if constexpr (update_together && !Context::device_type::host_memory) {
            if (same_rates(expert_memory(m, 0, 0, 0, nullptr).rates))
                return Experts::first(n.experts, [&](auto expert, int, auto const& its) {
                    in_groups(context, groups_of<Context>(m), [&](auto& its_context) {
                        decltype(expert)::type::update(its_context, optimizer, its, expert_memory(m, 0, 0, 0, nullptr),
                                                       given);
                    });
                });
        }
        Experts::each(n.experts, [&](auto expert, int e, auto const& its) {
            // A step finds what the experts kept of the batch; without one there may have been no batch yet.
            expert_rows at{0, 0, 0, 0};
            if constexpr (!std::is_same_v<Optimizer, no_step>) at = rows_of<Context>(m, e, 0, gathered<Context>(m));
            decltype(expert)::type::update(context, optimizer, its, expert_memory(m, e, at.kept, at.capacity, nullptr),
                                           given);
        });
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        int const gates[] = {(Routers::initialise(context, router_memory(At, m)), 0)...};
        static_cast<void>(gates);
        Experts::each_type([&](auto expert, int e) {
            decltype(expert)::type::initialise(context, expert_memory(m, e, 0, 0, nullptr));
        });
    }
    template <class Context, class T>
    static void prune(Context& context, prune_walk<master_of<T>>& walk, layer_memory<T> const& m) {
        Experts::each_type([&](auto expert, int e) {
            decltype(expert)::type::prune(context, walk, expert_memory(m, e, 0, 0, nullptr));
        });
    }
    static void describe(layer_report& report, std::string const& path) {
        constexpr index_t gate_parameters = (Routers::parameter_count() + ...);
        double const flops = 2.0 * static_cast<double>(gate_parameters);
        layer_info& line =
            tasks_count == 1
                ? report.add_layer(path, text_parts{"moe ", experts, " experts"}, In, output, gate_parameters, flops)
                : report.add_layer(path, text_parts{"multi_gate ", tasks_count, " tasks, ", experts, " experts"}, In,
                                   output, gate_parameters, flops);
        (add_policy(line.policies, "gate", Routers::gate_name()), ...);
        add_policy(line.policies, "dispatch",
                   text_of(Dispatch::name, gathers == Dispatch::gathers ? "" : ", gathered"));
        if (any_of({Routers::chooses_rows...}) || dispatch::limits_in<Dispatch>(mode::evaluate))
            add_policy(line.policies, "evaluation", "depends on the batch");
        footprint const start = report.at;
        int const gates[] = {(Routers::describe(report, gate_path(path, At)), 0)...};
        static_cast<void>(gates);
        for (int t = 0; t < tasks_count; ++t)
            report.add_gate(gate_path(path, static_cast<std::size_t>(t)));
        describe_measures(report, path);
        report.at = start + own<float>();
        ++report.depth;
        std::size_t const first = report.layers.size();
        Experts::each_type(
            [&](auto expert, int e) { decltype(expert)::type::describe(report, text_of(path, ".expert.", e)); });
        --report.depth;
        if (gathers && slots < experts)
            for (std::size_t i = first; i < report.layers.size(); ++i)
                report.layers[i].share *= static_cast<double>(slots) / experts;
    }

private:
    /// Numbers about the routing of a step: `measure_mixture` says which.
    static constexpr int measures = mixture_measures + experts;

    static void describe_measures(layer_report& report, std::string const& path) {
        for (char const* name : {"experts_per_row", "dropped", "load_entropy"})
            report.add_measure(path, ".", name);
        for (int e = 0; e < experts; ++e)
            report.add_measure(path, ".load.", e);
    }
    static std::string gate_path(std::string const& path, std::size_t task) {
        return tasks_count == 1 ? text_of(path, ".gate") : text_of(path, ".gate.", task);
    }

    /// Where the gradients of an expert's rows go, or of all experts' that run together, and the work space of the
    /// experts' layers. The front of a device's scratch is taken for those for as long as this lives.
    template <class Device, class T> struct expert_work {
        T* doutputs = nullptr;
        T* dinputs = nullptr;
        std::byte* child = nullptr;

        expert_work(Device& device, layer_memory<T> const& m) : device_(device), whole_(device.scratch) {
            if constexpr (runs_together<Device>) {
                auto const p = group_layout<T>(m.capacity);
                std::byte* const at = whole_.data;
                doutputs = reinterpret_cast<T*>(at);
                dinputs = reinterpret_cast<T*>(at + p.dinputs);
                child = at + p.child;
                device.scratch = {at + p.total, whole_.size - static_cast<std::size_t>(p.total)};
            } else if (m.work) {
                constexpr auto w = work_layout<T>();
                doutputs = m.template work_block<T>(w.doutputs);
                dinputs = m.template work_block<T>(w.dinputs);
                child = m.template work_block<std::byte>(w.child);
            }
        }
        ~expert_work() {
            if constexpr (runs_together<Device>) device_.scratch = whole_;
        }
        expert_work(expert_work const&) = delete;
        expert_work& operator=(expert_work const&) = delete;

    private:
        Device& device_;
        scratch_view whole_;
    };

    /// Whether every expert's tensors move at the first one's rates.
    static bool same_rates(tensor_rates const* rates) {
        constexpr int each_has = Experts::template before<float>(1).tensors;
        for (int i = each_has; rates && i < experts * each_has; ++i)
            if (rates[i] != rates[i % each_has]) return false;
        return true;
    }

    /// One expert on its rows of a batch, or all experts on theirs.
    template <class Expert, class Context, class T>
    static void run_expert(Context& context, typename Expert::numbers const& its, layer_memory<T> const& m, int e,
                           rows const& batch, matrix_view<T const> x, bool by_pairs, std::byte* work) {
        constexpr auto p = layout<T>();
        expert_rows const at = rows_of<Context>(m, e, x.rows, by_pairs);
        in_context_of(context, m, e, [&](auto& its_context) {
            matrix_view<T const> from = x;
            rows its_batch = batch;
            if constexpr (gathers_in<Context>)
                if (by_pairs) {
                    T* const inputs = m.template tape_block<T>(p.expert_inputs);
                    matrix_view<T> const gathered{inputs + at.kept * in, at.count, in, in};
                    its_context.device.gather(x, pairs(m).row + at.first, gathered);
                    from = gathered;
                    its_batch = batch_of(m, batch, at);
                    if constexpr (maps_tags) gather_tags(context.device, m, batch, at);
                }
            Expert::forward(
                its_context, its, expert_memory(m, e, at.kept, at.capacity, work), its_batch, from,
                matrix_view<T>{m.template tape_block<T>(p.expert_outputs) + at.first * out, at.count, out, out});
        });
    }

    // ---- chunks of experts: consecutive ones whose rows fit what is kept

    template <class T> static std::int32_t* chunk_of_expert(layer_memory<T> const& m) {
        return m.template tape_block<std::int32_t>(layout<T>().chunk);
    }
    template <class T> static void divide(layer_memory<T> const& m) {
        index_t const room = kept_of(1).bytes(m.capacity);
        index_t used = 0;
        std::int32_t chunk = 0;
        for (int e = 0; e < experts; ++e) {
            index_t const needed = round_up(pairs(m).count[e], row_granule);
            if (used + needed > room) {
                used = 0;
                ++chunk;
            }
            chunk_of_expert(m)[e] = chunk;
            m.template tape_block<std::int32_t>(layout<T>().kept)[e] = static_cast<std::int32_t>(used);
            used += needed;
        }
    }
    /// Before the way back through the first expert of a chunk: what its experts kept was overwritten since. The order
    /// of the experts is that of compacted, so that sums have its bits.
    template <class Context, class T>
    static void run_chunk_again(Context& context, numbers const& n, layer_memory<T> const& m, int e, rows const& batch,
                                matrix_view<T const> x) {
        std::int32_t const* const chunk = chunk_of_expert(m);
        if (chunk[experts - 1] == 0 || (e > 0 && chunk[e] == chunk[e - 1])) return;
        Experts::each(n.experts, [&](auto expert, int other, auto const& its) {
            if (chunk[other] == chunk[e])
                run_expert<typename decltype(expert)::type>(context, its, m, other, batch, x, true,
                                                            expert_work(context.device, m).child);
        });
    }

    /// Tags that the rows of an expert have from the batch's. Their origin is that of the pairs.
    template <class F> static constexpr void for_each_pair_tag(F const& f) {
        for_each_tag([&](auto tag, auto place) {
            if constexpr (!std::is_same_v<decltype(tag), row_tag<&rows::origin>>) f(tag, place);
        });
    }
    template <class T, class Tag> static auto* pair_tag(layer_memory<T> const& m, Tag, std::size_t place) {
        return m.template tape_block<typename Tag::value>(layout<T>().pair_tag[place]);
    }
    /// The rows of a block as its expert sees them. Their tags were gathered by the forward pass.
    template <class T> static rows batch_of(layer_memory<T> const& m, rows const& batch, expert_rows const& at) {
        rows its;
        its.count = at.count;
        its.origin = pairs(m).origin + at.first;
        if constexpr (maps_tags)
            for_each_pair_tag([&](auto tag, auto place) {
                if (batch.*tag.array) its.*tag.array = pair_tag(m, tag, place) + at.first;
            });
        return its;
    }
    template <class Device, class T>
    static void gather_tags(Device& device, layer_memory<T> const& m, rows const& batch, expert_rows const& at) {
        static_assert(Device::host_memory,
                      "espalier: what looks rows up by their tags, a gate, a dropout or an activation penalty, stands "
                      "inside an expert on the CPU only");
        std::int32_t const* const row = pairs(m).row + at.first;
        for_each_pair_tag([&](auto tag, auto place) {
            auto const& array = batch.*tag.array;
            if (array) device.gather_values(array, row, at.count, pair_tag(m, tag, place) + at.first);
        });
    }

    template <class Router, differentiate Want, class Context, class T>
    static void route_back(Context& context, typename Router::numbers const& n, std::size_t t, layer_memory<T> const& m,
                           rows const& batch, matrix_view<T const> x, matrix_view<master_of<T> const> weights,
                           matrix_view<std::int32_t const> chosen, matrix_view<master_of<T>> dweights,
                           matrix_view<T> own, matrix_view<T> dx) {
        int const task = static_cast<int>(t);
        Router::template backward<Want>(context, n, router_memory(t, m), batch, x, of_task(weights, task),
                                        of_task(chosen, task), matrix_view<master_of<T> const>(of_task(dweights, task)),
                                        own);
        if constexpr (Want.inputs)
            if (t > 0) context.device.add(matrix_view<T const>(own), dx);
    }
};

} // namespace espalier::detail
