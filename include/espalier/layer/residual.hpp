// SPDX-License-Identifier: Apache-2.0
// A block whose input is added to its output.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/sequence.hpp>

#include <cstddef>

namespace espalier {

namespace detail {

template <shape In, class Inner> struct bound_residual {
    static constexpr shape input = In;
    static constexpr shape output = In;
    static constexpr layer_facts facts{.needs = Inner::facts.needs};
    static constexpr index_t width = In.size();

    using numbers = typename Inner::numbers;
    static numbers at(clock const& now) { return Inner::at(now); }

    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        /// An inner layer that reads its own output in backward gets a place of its own for it.
        memory_block<T> output{*this, Inner::facts.reads_output ? width : 0};
    };
    template <class T> static constexpr tape_blocks<T> tape{};
    template <class T> struct work_blocks : block_list {
        constexpr work_blocks() {}
        memory_block<T> upstream{*this, width};
        memory_block<std::byte> inner{*this, Inner::template work<T>()};
    };
    template <class T> static constexpr work_blocks<T> work_at{};

    template <class T> static constexpr footprint own() {
        footprint f;
        f.tape = tape<T>.end;
        return f;
    }
    template <class T> static constexpr footprint size() { return own<T>() + Inner::template size<T>(); }
    template <class T> static constexpr extent work() { return work_at<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return Inner::template scratch<Device, T>(capacity);
    }
    template <class T> static layer_memory<T> inner_memory(layer_memory<T> const& m) {
        return m.child(own<T>(), work_at<T>.inner.at);
    }
    template <class T> static matrix_view<T> inner_output(layer_memory<T> const& m, matrix_view<T> y) {
        if constexpr (Inner::facts.reads_output)
            return {m.tape_block(tape<T>.output), y.rows, width, width};
        else
            return y;
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        matrix_view<T> const inner = inner_output(m, y);
        Inner::forward(context, n, inner_memory(m), batch, x, inner);
        if constexpr (Inner::facts.reads_output) context.device.copy(matrix_view<T const>(inner), y);
        context.device.add(x, y);
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        // The inner layers consume dy, and the shortcut needs it afterwards.
        matrix_view<T> const kept{m.work_block(work_at<T>.upstream), dy.rows, width, width};
        if constexpr (Want.inputs) context.device.copy(matrix_view<T const>(dy), kept);
        Inner::template backward<Want>(context, n, inner_memory(m), batch, x, matrix_view<T const>(inner_output(m, dy)),
                                       dy, dx);
        if constexpr (Want.inputs) context.device.add(matrix_view<T const>(kept), dx);
    }

    template <class Asked> static consteval bool has_tensor() { return has_tensor_in<Inner, Asked>(); }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        Inner::update(context, optimizer, n, inner_memory(m), given);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        Inner::initialise(context, inner_memory(m));
    }
    template <short_name Name> static consteval index_t tap_width() { return tap_width_in<Inner, Name>(); }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"residual"}, In, In);
        Inner::describe(report, path, at + own<float>());
    }
};

} // namespace detail

/// y = x + inner(x), where inner is `sequence<Layers...>` and keeps the width.
/// Costs one copy of dy and two additions beside the inner layers.
template <class... Layers> struct residual {
    static constexpr std::string_view name = "residual";
    static constexpr shape output(shape in) { return in; }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_has_input<Where, residual, In>())
            return false;
        else if constexpr (!check_width<Where, In>() || !sequence<Layers...>::template check<Where, In, Inherited>())
            return false;
        else
            return detail::check_keeps_rows<Where, typename sequence<Layers...>::template bind<In, Inherited>>();
    }
    template <shape In, class Inherited>
    using bind = detail::bound_residual<In, typename sequence<Layers...>::template bind<In, Inherited>>;

private:
    template <class Where, shape In> static consteval bool check_width() {
        constexpr shape out = sequence<Layers...>::output(In);
        static_assert(
            diagnostic::holds<(out.size() == In.size()), Where, diagnostic::given_width<out.size()>,
                              diagnostic::needed_width<In.size()>>,
            "espalier: the layers inside a residual give another width than they receive, so the input cannot "
            "be added; the next lines name the layer's index and both widths; make the last inner layer as "
            "wide as the input");
        return out.size() == In.size();
    }
};

} // namespace espalier
