// SPDX-License-Identifier: Apache-2.0
// The layer seam. What a user writes in a stack is a *configuration*; `bind` turns it, with the shape of its input,
// into a *bound layer*: static functions over views, no state, no virtual call.
//
// Archetype of a configuration:
//
//     template <...> struct my_layer {
//         static constexpr std::string_view name = "my_layer";
//         static constexpr shape output(shape in);                                   // shape of one row
//         // true, or stops compilation with a sentence; Where is diagnostic::at_layer<I>
//         template <class Where, shape In, class Inherited> static consteval bool check();
//         // Inherited: type_list of policies that enclosing combinators add
//         template <shape In, class Inherited> using bind = ...;
//     };
//
// Archetype of a bound layer:
//
//     struct bound_layer {
//         static constexpr shape input, output;
//         static constexpr layer_facts facts{};     // what differs from most layers
//         struct numbers;                           // ops with the numbers of one step
//         static numbers at(clock const&);
//         template <class T> static constexpr footprint size();
//         template <class T> static constexpr extent work(); // memory needed only while a function runs
//         template <class Device, class T> static std::size_t scratch(index_t capacity); // for products
//         template <class Context, class T>
//         static void forward(Context&, numbers const&, layer_memory<T> const&, rows const&, matrix_view<T const> x,
//                             matrix_view<T> y);
//         // dy is consumed (it may be overwritten); dx is written when Want.inputs
//         template <differentiate Want, class Context, class T>
//         static void backward(Context&, numbers const&, layer_memory<T> const&, rows const&, matrix_view<T const> x,
//                              matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx);
//         template <class Context, class Optimizer, class T>
//         static void update(Context&, Optimizer const&, numbers const&, layer_memory<T> const&,
//                            update_numbers const&);
//         template <class Context, class T> static void initialise(Context&, layer_memory<T> const&);
//         static void describe(layer_report&, std::string const& path, footprint const& at);
//
//         // Optional, for layers with trained tensors: whether Asked::matches(role, group) holds for one of them.
//         // A layer that does not say counts as one that has it.
//         template <class Asked> static consteval bool has_tensor();
//
//         // Optional, for layers that come in many widths: the same functions as members of an object that knows its
//         // extents. Layers whose `body` has the same type share them, so a deep stack compiles each of them once.
//         static consteval kind body();
//     };
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/core/update.hpp>
#include <espalier/layer/report.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// What a layer type must say before it is bound.
template <class L>
concept layer_configuration = requires(shape in) {
    { L::name } -> std::convertible_to<std::string_view>;
    { L::output(in) } -> std::same_as<shape>;
};

namespace detail {

/// Whether what stands in the place of a layer is one: whoever is made of layers asks this before it asks them for
/// anything. `Facts`: the place (at_layer<I>, or `Where` of a check), then what it stands in.
template <class Layer, class... Facts> consteval bool check_is_layer() {
    static_assert(diagnostic::holds<layer_configuration<Layer>, Facts..., diagnostic::given_type<Layer>>,
                  "espalier: what stands in the place of a layer is none: it lacks a `name` or `output(shape)`; the "
                  "next lines name the layer's index and the type; a policy goes into the list of a layer, as in "
                  "dense<64, activation::relu>, and a gate into a moe");
    return layer_configuration<Layer>;
}

/// The shape that a layer gives; what is no layer gives what it receives, until `check_is_layer` has said so.
template <class Layer> constexpr shape output_of(shape in) {
    if constexpr (layer_configuration<Layer>)
        return Layer::output(in);
    else
        return in;
}

/// The bound form of a layer, found when it is asked for: a combinator that names `bind` of its layers in its own one
/// would not compile before it could say that something is no layer.
template <class Layer, shape In, class Inherited> struct bound_by {
    using type = typename Layer::template bind<In, Inherited>;
};

} // namespace detail

/// What a layer needs of whatever runs it, as a set. A layer made of layers needs what any of them does.
enum class need : std::uint32_t {
    none = 0,
    global_norm = 1u << 0, ///< a transform reads the norm of all gradients
    reference = 1u << 1,   ///< a transform reads the gradients of a second stream
    pruning = 1u << 2,     ///< masks are selected anew on a schedule
    tags = 1u << 3,        ///< more of the rows is read than their origin
    samples = 1u << 4,     ///< the samples of a multi_sample are told apart
};
/// What either of them has.
constexpr need operator|(need a, need b) {
    return static_cast<need>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
/// What `all` has beside `one`.
constexpr need without(need all, need one) {
    return static_cast<need>(static_cast<std::uint32_t>(all) & ~static_cast<std::uint32_t>(one));
}
/// Whether `one` is among `all`.
constexpr bool has(need all, need one) {
    return (static_cast<std::uint32_t>(all) & static_cast<std::uint32_t>(one)) != 0;
}

/// What a bound layer says of itself beside its shapes. The defaults hold for most layers.
struct layer_facts {
    bool passes_through = false; ///< output is input: no memory, no work
    bool watches = false;        ///< it passes rows through and wants to see them all the same
    bool reads_output = false;   ///< backward reads y: whoever owns y must keep it
    int growth = 1;              ///< rows out for one row in while training
    need needs = need::none;
};

/// What an update needs beside the layer's memory.
struct update_numbers {
    double const* squared_norm = nullptr; ///< of the gradients of what is updated, in the device's memory
    bool after_step = false;              ///< the further pass, for tensors with penalties over groups only
    tape_copies copies{};                 ///< of the part of the tape that the layer's memory shows
};

/// Stands in for a layer that failed its check, so that one mistake gives one message.
template <shape In, shape Out> struct invalid_layer {
    static constexpr shape input = In;
    static constexpr shape output = Out;
    static constexpr layer_facts facts{};
    struct numbers {};
    static constexpr numbers at(clock const&) { return {}; }
    template <class T> static constexpr footprint size() { return {}; }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> static std::size_t scratch(index_t) { return 0; }
    template <class... Arguments> static void forward(Arguments&&...) {}
    template <differentiate Want, class... Arguments> static void backward(Arguments&&...) {}
    template <class... Arguments> static void update(Arguments&&...) {}
    template <class... Arguments> static void initialise(Arguments&&...) {}
    static void describe(layer_report&, std::string const&, footprint const&) {}
};

namespace detail {

constexpr bool any_of(std::initializer_list<bool> all) {
    for (bool one : all)
        if (one) return true;
    return false;
}

constexpr need all_needs(std::initializer_list<need> all) {
    need sum = need::none;
    for (need one : all)
        sum = sum | one;
    return sum;
}
/// What any of the layers needs.
template <class... Layers> inline constexpr need needs_of_layers = all_needs({Layers::facts.needs...});

/// Columns of the tap of that name inside a bound layer, 0 without one.
template <class Layer, short_name Name> consteval index_t tap_width_in() {
    if constexpr (requires { Layer::template tap_width<Name>(); })
        return Layer::template tap_width<Name>();
    else
        return 0;
}
template <short_name Name, class... Layers> consteval index_t widest_tap_in() {
    index_t most = 0;
    for (index_t width : {tap_width_in<Layers, Name>()...})
        most = width > most ? width : most;
    return most;
}

template <class Layer> consteval auto make_body();

/// Whether a bound layer has a trained tensor that `Asked::matches(role, group)`. One that has tensors and does not say
/// is taken to have it.
template <class Layer, class Asked> consteval bool has_tensor_in() {
    if constexpr (requires { Layer::template has_tensor<Asked>(); })
        return Layer::template has_tensor<Asked>();
    else
        return make_body<Layer>().template size<float>().tensors > 0;
}
template <class Asked, class... Layers> consteval bool any_has_tensor() {
    return any_of({has_tensor_in<Layers, Asked>()...});
}

template <class Layer> consteval auto make_body() {
    if constexpr (requires { Layer::body(); })
        return Layer::body();
    else
        return Layer{};
}

/// What a combinator calls a layer's functions on. A layer whose functions depend on its extents as values gives an
/// object of a type that all such layers share, `body()`; for any other layer it is the layer itself.
template <class Layer> inline constexpr auto body_of = make_body<Layer>();

} // namespace detail
} // namespace espalier
