// SPDX-License-Identifier: Apache-2.0
// Layers one after the other. Everything here expands a flat pack: the cost of compiling does not depend on how deep a
// type is nested, because nothing is, and equal layers share one instantiation. Packs of layers are expanded in braces,
// not in fold expressions: compilers limit the nesting of the latter to 256.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/repeat_tag.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/layer/concept.hpp>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace espalier {

namespace detail {

// Offsets of the children of a sequence, computed once for each scalar type by ordinary loops.
template <std::size_t Count> struct sequence_layout {
    std::array<footprint, Count + 1> child{}; // where child i begins; the last entry is the total
    std::array<extent, Count + 1> value{};    // where value i lies in the tape, if it does
    std::array<extent, 2> gradient{};         // two work buffers that hold the gradients of values in turn
    extent child_work{};                      // where the work space of every child begins
    extent work{};                            // total
};

// The same as a table without the layers' types, so that whatever walks over the layers is instantiated once for each
// kind of layer, and has a short name: every call spells it in the object file.
struct sequence_places {
    footprint const* child;
    extent const* value;
    extent const* gradient;
    extent child_work;
    int const* holder;
    int const* parity;
    int const* growth_before;
    shape const* outputs;
    int last;

    template <class T> layer_memory<T> of_child(std::size_t i, layer_memory<T> const& memory, bool grown) const {
        layer_memory<T> m = memory.child(child[i], child_work);
        m.capacity = memory.capacity * (grown ? growth_before[i] : 1);
        return m;
    }
};

/// What the tags of one row take where they are repeated.
template <class... Tags> consteval extent room_of_tags(type_list<Tags...>) {
    extent sum{};
    for (extent const e : {block_size<typename Tags::value>(1)...})
        sum = sum + e;
    return sum;
}

/// The tags of `batch` but the origins, `copies` times, in `room` for as many rows in batches of up to `capacity`.
template <class Device>
void repeat_tags(Device& device, rows const& batch, int copies, std::byte* room, index_t capacity, rows& several) {
    for_each_tag([&]<class Tag>(Tag tag, auto) {
        if constexpr (!std::is_same_v<Tag, row_tag<&rows::origin>>) {
            auto const& array = batch.*tag.array;
            if (!array) return;
            several.*tag.array = repeat_tag(device, array, batch.count, copies, room);
            room += (index_t{copies} * block_size<typename Tag::value>(1)).bytes(capacity);
        }
    });
}

// One traversal of a sequence, forward or backward: what every layer is given beside its numbers and its index.
template <class Context, class T> struct sequence_walk {
    static constexpr bool grown = Context::behaviour == mode::train;
    sequence_places const& places;
    Context& context;
    layer_memory<T> const& memory;
    rows const& batch;
    rows const& several; ///< what is known of rows that came out of several samples
    matrix_view<T const> x;
    matrix_view<T const> y;
    matrix_view<T> dy;
    matrix_view<T> dx;

    layer_memory<T> of_child(std::size_t i) const { return places.of_child(i, memory, grown); }

    /// The tags of the rows that layer i is given.
    rows tags(std::size_t i) const {
        if (!grown || places.growth_before[i] == 1) return batch;
        rows its = several;
        its.count = batch.count * places.growth_before[i];
        return its;
    }

    /// Value i: the input, the output, or a block of the tape.
    matrix_view<T const> value(std::size_t i) const {
        int const at = places.holder[i];
        if (at == 0) return x;
        if (at == places.last + 1) return y;
        return in_block(memory.tape_block(memory_block<T>(places.value[at])), at);
    }
    /// Its gradient: dx, dy, or a block of the work space.
    matrix_view<T> gradient(std::size_t i) const {
        int const at = places.holder[i];
        if (at == 0) return dx;
        if (at == places.last + 1) return dy;
        return in_block(memory.work_block(memory_block<T>(places.gradient[places.parity[at]])), at);
    }

private:
    matrix_view<T> in_block(T* block, int at) const {
        index_t const width = places.outputs[at - 1].size();
        return {block, x.rows * (grown ? places.growth_before[at] : 1), width, width};
    }
};

template <class T> matrix_view<T> writable(matrix_view<T const> v) {
    return {const_cast<T*>(v.data), v.rows, v.columns, v.stride};
}

// One function for all layers of a kind: what depends on the place is an argument.

template <class Context, class T, class Body>
void forward_child(sequence_walk<Context, T> const& walk, Body const& body, typename Body::numbers const& n,
                   std::size_t i) {
    body.forward(walk.context, n, walk.of_child(i), walk.tags(i), walk.value(i), writable(walk.value(i + 1)));
}

template <differentiate Want, class Context, class T, class Body>
void backward_child(sequence_walk<Context, T> const& walk, Body const& body, typename Body::numbers const& n,
                    std::size_t i) {
    // A layer that passes its rows on shares their gradient with the layer before.
    if constexpr (Body::facts.passes_through ? Body::facts.watches && Want.inputs : Want.inputs || Want.parameters)
        body.template backward<Want>(walk.context, n, walk.of_child(i), walk.tags(i), walk.value(i), walk.value(i + 1),
                                     walk.gradient(i + 1), walk.gradient(i));
}

template <class Context, class Optimizer, class Body, class T>
void update_child(sequence_places const& places, Context& context, Optimizer const& optimizer, Body const& body,
                  typename Body::numbers const& n, layer_memory<T> const& memory, update_numbers const& given,
                  std::size_t i) {
    body.update(context, optimizer, n, places.of_child(i, memory, true), given);
}

template <class Context, class Body, class T>
void initialise_child(sequence_places const& places, Context& context, Body const& body, layer_memory<T> const& memory,
                      std::size_t i) {
    body.initialise(context, places.of_child(i, memory, true));
}

template <class Body>
void describe_child(layer_report& report, std::string const& path, footprint const& at, footprint const* child,
                    Body const& body, std::size_t i) {
    int const index = static_cast<int>(i);
    if (report.depth == 0) report.top_layer = index;
    ++report.depth;
    body.describe(report, path.empty() ? text_of(index) : text_of(path, ".", index), at + child[i]);
    --report.depth;
}

template <class Indices, class... Layers> struct bound_sequence;

template <std::size_t... At, class... Layers> struct bound_sequence<std::index_sequence<At...>, Layers...> {
    static constexpr std::size_t count = sizeof...(Layers);
    static constexpr std::array<shape, count> inputs{Layers::input...};
    static constexpr std::array<shape, count> outputs{Layers::output...};
    static constexpr std::array<bool, count> passing{Layers::facts.passes_through...};
    static constexpr std::array<int, count> growths{Layers::facts.growth...};
    static constexpr shape input = inputs[0];
    static constexpr shape output = outputs[count - 1];

    /// The last layer that computes something: what it writes is the output of the sequence. -1: none does.
    static constexpr int last = [] {
        int found = -1;
        for (std::size_t i = 0; i < count; ++i)
            if (!passing[i]) found = static_cast<int>(i);
        return found;
    }();
    /// Rows of value i for one row of the input while training. Value i is the input of layer i.
    static constexpr std::array<int, count + 1> growth_before = [] {
        std::array<int, count + 1> g{1};
        for (std::size_t i = 0; i < count; ++i)
            g[i + 1] = g[i] * growths[i];
        return g;
    }();
    /// Values that layers pass through share one place: the first of them.
    static constexpr std::array<int, count + 1> holder = [] {
        std::array<int, count + 1> h{};
        for (std::size_t i = 0; i < count; ++i)
            h[i + 1] = passing[i] ? h[i] : static_cast<int>(i + 1);
        return h;
    }();
    /// Gradients of successive values alternate between two buffers.
    static constexpr std::array<int, count + 1> parity = [] {
        std::array<int, count + 1> p{};
        for (std::size_t i = 0; i < count; ++i)
            p[i + 1] = passing[i] ? p[i] : 1 - p[i];
        return p;
    }();

    static constexpr layer_facts facts = [] {
        bool const reads_output[] = {Layers::facts.reads_output...};
        return layer_facts{.passes_through = last < 0,
                           .watches = any_of({Layers::facts.watches...}),
                           .reads_output = last >= 0 && reads_output[last < 0 ? 0 : last],
                           .growth = growth_before[count],
                           .needs = needs_of_layers<Layers...>};
    }();
    /// How many rows of one have tags that a layer looks at; 1: none that came out of several samples. The batch's
    /// arrays are as long as the batch, so they are repeated for that layer.
    static constexpr int tagged_copies = [] {
        bool const reads[] = {has(Layers::facts.needs, need::tags)...};
        int most = 1;
        for (std::size_t i = 0; i < count; ++i)
            if (reads[i] && growth_before[i] > most) most = growth_before[i];
        return most;
    }();

    using numbers = flat_tuple<typename Layers::numbers...>;
    static numbers at(clock const& now) { return numbers{{{body_of<Layers>.at(now)}...}}; }

    template <class T> static constexpr sequence_layout<count> layout() {
        sequence_layout<count> l;
        std::array<footprint, count> const sizes{body_of<Layers>.template size<T>()...};
        std::array<extent, count> const works{body_of<Layers>.template work<T>()...};
        footprint at{};
        extent widest{};
        for (std::size_t i = 0; i < count; ++i) {
            if (passing[i] || static_cast<int>(i) >= last) continue;
            l.value[i + 1] = at.tape;
            extent const block = growth_before[i + 1] * block_size<T>(outputs[i].size());
            at.tape = at.tape + block;
            widest = larger(widest, block);
        }
        extent most{};
        for (std::size_t i = 0; i < count; ++i) {
            l.child[i] = at;
            footprint size = sizes[i];
            size.tape.per_row *= growth_before[i];
            at = at + size;
            most = larger(most, {works[i].per_row * growth_before[i], works[i].fixed});
        }
        l.child[count] = at;
        l.gradient = {extent{}, widest};
        l.child_work = 2 * widest;
        if (tagged_copies > 1) l.child_work = l.child_work + index_t{tagged_copies} * room_of_tags(row_tags{});
        l.work = l.child_work + most;
        return l;
    }
    template <class T> static constexpr sequence_layout<count> table = layout<T>();

    template <class T>
    static constexpr sequence_places places{table<T>.child.data(), table<T>.value.data(), table<T>.gradient.data(),
                                            table<T>.child_work,   holder.data(),         parity.data(),
                                            growth_before.data(),  outputs.data(),        last};

    template <class T> static constexpr footprint size() { return table<T>.child[count]; }
    template <class T> static constexpr extent work() { return table<T>.work; }

    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t const each[] = {body_of<Layers>.template scratch<Device, T>(capacity * growth_before[At])...};
        std::size_t most = 0;
        for (std::size_t s : each)
            most = s > most ? s : most;
        return most;
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& memory, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        if constexpr (facts.passes_through)
            if (x.data != y.data) context.device.copy(x, y);
        if constexpr (!facts.passes_through || facts.watches) {
            rows const several = rows_of_samples(context, memory, batch);
            sequence_walk<Context, T> const walk{places<T>, context, memory, batch, several, x, y, {}, {}};
            int const in_order[] = {(forward_child(walk, body_of<Layers>, get<At>(n), At), 0)...};
            static_cast<void>(in_order);
        }
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& memory, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (facts.passes_through && Want.inputs)
            if (dx.data != dy.data) context.device.copy(matrix_view<T const>(dy), dx);
        if constexpr (!facts.passes_through || facts.watches) {
            rows const several = rows_of_samples(context, memory, batch);
            sequence_walk<Context, T> const walk{places<T>, context, memory, batch, several, x, y, dy, dx};
            int const in_order[] = {
                (backward_child<differentiate{Want.parameters, wants_inputs(Want, count - 1 - At)}>(
                     walk, body_of<type_at<count - 1 - At, Layers...>>, get<count - 1 - At>(n), count - 1 - At),
                 0)...};
            static_cast<void>(in_order);
        }
    }

    template <class Asked> static consteval bool has_tensor() { return any_has_tensor<Asked, Layers...>(); }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& memory,
                       update_numbers const& given) {
        int const in_order[] = {
            (update_child(places<T>, context, optimizer, body_of<Layers>, get<At>(n), memory, given, At), 0)...};
        static_cast<void>(in_order);
    }

    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& memory) {
        int const in_order[] = {(initialise_child(places<T>, context, body_of<Layers>, memory, At), 0)...};
        static_cast<void>(in_order);
    }

    template <short_name Name> static consteval index_t tap_width() { return widest_tap_in<Name, Layers...>(); }

    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        int const in_order[] = {(describe_child(report, path, at, places<float>.child, body_of<Layers>, At), 0)...};
        static_cast<void>(in_order);
    }

private:
    // Of rows that came out of several samples only the place is known, unless a layer looks at more: their origins
    // differ, for they are rows with bits of their own there.
    template <class Context, class T>
    static rows rows_of_samples(Context& context, layer_memory<T> const& memory, rows const& batch) {
        rows several;
        several.first = batch.first;
        if constexpr (Context::behaviour == mode::train && tagged_copies > 1)
            repeat_tags(context.device, batch, tagged_copies,
                        memory.work_block(memory_block<std::byte>(2 * table<T>.gradient[1])), memory.capacity, several);
        return several;
    }

    // The gradient with respect to an input is wanted when the caller wants it or a layer before has parameters.
    static constexpr std::size_t first_trained = [] {
        bool const trained[] = {(body_of<Layers>.template size<float>().tensors > 0)...};
        std::size_t i = 0;
        while (i < count && !trained[i])
            ++i;
        return i;
    }();
    static constexpr bool wants_inputs(differentiate want, std::size_t i) {
        return want.inputs || (want.parameters && i > first_trained);
    }
};

constexpr bool all_of(std::initializer_list<bool> all) {
    for (bool one : all)
        if (!one) return false;
    return true;
}

template <class Where, shape In, class Inherited, class Indices, class... Layers> struct sequence_binding;

template <class Where, shape In, class Inherited, std::size_t... At, class... Layers>
struct sequence_binding<Where, In, Inherited, std::index_sequence<At...>, Layers...> {
    static constexpr std::size_t count = sizeof...(Layers);
    static constexpr std::array<shape, count + 1> shapes = [] {
        std::array<shape, count + 1> s{In};
        int const in_order[] = {(s[At + 1] = output_of<Layers>(s[At]), 0)...};
        static_cast<void>(in_order);
        return s;
    }();
    // One function a layer: GCC 12 gives up on the others of a pack when one of them reports an error.
    template <std::size_t Which, class Layer> static constexpr bool check_layer() {
        return Layer::template check<diagnostic::at_layer<static_cast<int>(Which)>, shapes[Which], Inherited>();
    }
    // Whether all is well is asked without naming places: equal layers share the answer. Only what fails is asked
    // again, for a message that says where.
    static constexpr bool check() {
        if constexpr (!all_of({layer_configuration<Layers>...})) {
            return all_of({check_is_layer<Layers, diagnostic::at_layer<static_cast<int>(At)>>()...});
        } else if constexpr (all_of({Layers::template check<diagnostic::nowhere, shapes[At], Inherited>()...})) {
            return true;
        } else {
            static_cast<void>(all_of({check_layer<At, Layers>()...}));
            return false;
        }
    }
    template <bool Valid> struct bound {
        using type =
            bound_sequence<std::index_sequence<At...>, typename Layers::template bind<shapes[At], Inherited>...>;
    };
};

template <shape In, class Inherited, class... Layers> struct bind_sequence {
    using binding = sequence_binding<void, In, Inherited, std::index_sequence_for<Layers...>, Layers...>;
    template <bool Valid> static auto choose() {
        if constexpr (Valid)
            return std::type_identity<typename binding::template bound<true>::type>{};
        else
            return std::type_identity<invalid_layer<In, binding::shapes[sizeof...(Layers)]>>{};
    }
    using type = typename decltype(choose<binding::check()>())::type;
};

} // namespace detail

/// Layers one after the other; itself a layer.
template <class... Layers> struct sequence {
    static_assert(sizeof...(Layers) > 0, "espalier: a sequence needs at least one layer");
    static constexpr std::string_view name = "sequence";

    static constexpr shape output(shape in) {
        int const in_order[] = {(in = detail::output_of<Layers>(in), 0)...};
        static_cast<void>(in_order);
        return in;
    }
    // The layers are checked where the sequence is bound, with their indices in it.
    template <class Where, shape In, class Inherited> static consteval bool check() { return true; }

    template <shape In, class Inherited> using bind = typename detail::bind_sequence<In, Inherited, Layers...>::type;
};

} // namespace espalier
