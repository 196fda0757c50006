// SPDX-License-Identifier: Apache-2.0
// Layers that take turns: each sample of a multi_sample runs one of them.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace espalier {

namespace detail {

/// Whether a layer has nothing but a tape and random bits.
constexpr bool has_no_tensors(footprint f) {
    f.tape = {};
    f.streams = 0;
    return f == footprint{};
}

template <class Indices, class... Layers> struct bound_by_sample;

template <std::size_t... At, class... Layers>
struct bound_by_sample<std::index_sequence<At...>, Layers...>
    : invalid_layer<type_at<0, Layers...>::input, type_at<0, Layers...>::output> {
    static constexpr std::size_t count = sizeof...(Layers);
    static constexpr layer_facts facts{.reads_output = any_of({Layers::facts.reads_output...}),
                                       .needs = needs_of_layers<Layers...> | need::samples};

    using numbers = flat_tuple<typename Layers::numbers...>;
    static numbers at(clock const& now) { return numbers{{{body_of<Layers>.at(now)}...}}; }

    // A sample has a tape of its own, and one of the layers in it: all stand at the same place, with the same stream.
    template <class T> static constexpr footprint size() {
        footprint most{};
        for (footprint const& f : {body_of<Layers>.template size<T>()...}) {
            most.tape = larger(most.tape, f.tape);
            most.streams = std::max(most.streams, f.streams);
        }
        return most;
    }
    template <class T> static constexpr extent work() {
        extent most{};
        for (extent const e : {body_of<Layers>.template work<T>()...})
            most = larger(most, e);
        return most;
    }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return std::max({body_of<Layers>.template scratch<Device, T>(capacity)...});
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        std::size_t const turn = context.sample % count;
        int const all[] = {(At == turn ? body_of<Layers>.forward(context, get<At>(n), m, batch, x, y) : void(), 0)...};
        static_cast<void>(all);
    }
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        std::size_t const turn = context.sample % count;
        int const all[] = {
            (At == turn ? body_of<Layers>.template backward<Want>(context, get<At>(n), m, batch, x, y, dy, dx) : void(),
             0)...};
        static_cast<void>(all);
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"by_sample of ", static_cast<int>(count)}, bound_by_sample::input,
                         bound_by_sample::output);
        ++report.depth;
        int const in_order[] = {(body_of<Layers>.describe(report, text_of(path, ".", At), at), 0)...};
        static_cast<void>(in_order);
        --report.depth;
    }
};

} // namespace detail

/// Sample s of the `multi_sample` around it runs layer s mod count: a dropout rate for each sample (as in Inoue 2019)
/// is `multi_sample<3, by_sample<elementwise<dropout::bernoulli<0.3>>, elementwise<dropout::bernoulli<0.4>>,
/// elementwise<dropout::bernoulli<0.5>>>, dense<10>>`. With equal layers it is the layer, bit for bit. Evaluation runs
/// the first one. The layers are equally wide and have no tensors and no terms, so that each stands for all of them.
/// Costs nothing beside the layer that runs.
template <class... Layers> struct by_sample {
    static_assert(sizeof...(Layers) > 0, "espalier: by_sample needs at least one layer");
    static constexpr std::string_view name = "by_sample";
    static constexpr shape output(shape in) { return detail::output_of<type_at<0, Layers...>>(in); }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        using named = diagnostic::in_layer<diagnostic::layer_of_message<Where, by_sample>>;
        if constexpr (!(true && ... && detail::check_is_layer<Layers, Where, named>()))
            return false;
        else if constexpr (!(true && ... && Layers::template check<Where, In, Inherited>()))
            return false;
        else {
            constexpr bool keeps_rows =
                (true && ... && detail::check_keeps_rows<Where, typename Layers::template bind<In, Inherited>>());
            constexpr bool wide = (true && ... && (Layers::output(In) == output(In)));
            static_assert(
                diagnostic::holds<wide, Where, diagnostic::given_width<Layers::output(In).size()>...>,
                "espalier: the layers of a by_sample take turns, so they must be equally wide; the next lines "
                "name the layer's index and their widths; make them equal");
            constexpr bool plain =
                (true && ... &&
                 detail::has_no_tensors(
                     detail::body_of<typename Layers::template bind<In, Inherited>>.template size<float>()));
            static_assert(
                diagnostic::holds<plain, Where>,
                "espalier: a layer of a by_sample has tensors, terms or taps, and the samples that run another "
                "one would know nothing of them; the next line names the index of the by_sample; put what is "
                "trained before it or behind it");
            return keeps_rows && wide && plain;
        }
    }
    template <shape In, class Inherited>
    using bind = detail::bound_by_sample<std::index_sequence_for<Layers...>,
                                         typename detail::bound_by<Layers, In, Inherited>::type...>;
};

} // namespace espalier
