// SPDX-License-Identifier: Apache-2.0
// Some columns of the input: one task's part of what a multi_gate gives.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>

#include <string>
#include <string_view>

namespace espalier {

namespace detail {

template <shape In, int First, int Count> struct bound_slice {
    static constexpr shape input = In;
    static constexpr shape output{Count};
    static constexpr layer_facts facts{};

    struct numbers {};
    static constexpr numbers at(clock const&) { return {}; }
    template <class T> static constexpr footprint size() { return {}; }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> static std::size_t scratch(index_t) { return 0; }

    template <class Context, class T>
    static void forward(Context& context, numbers const&, layer_memory<T> const&, rows const&, matrix_view<T const> x,
                        matrix_view<T> y) {
        watch_layer(context, spoiled_place::no_stream); // a slice has no stream
        watch_rows(context, step_place::rows, x);
        context.device.copy(x.middle_columns(First, Count), y);
    }
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const&, layer_memory<T> const&, rows const&, matrix_view<T const>,
                         matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (Want.inputs) {
            context.device.clear(dx);
            context.device.copy(matrix_view<T const>(dy), dx.middle_columns(First, Count));
        }
    }
    template <class... Arguments> static void update(Arguments&&...) {}
    template <class... Arguments> static void initialise(Arguments&&...) {}
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"slice from column ", First}, In, output);
    }
};

} // namespace detail

/// y = columns First ... First + Count - 1 of x. Inside `parallel<merge::concatenate, ...>` every branch can take a
/// part of its own: the towers behind a multi_gate. One copy of the columns.
template <int First, int Count> struct slice {
    static_assert(First >= 0 && Count >= 1, "espalier: a slice begins at column 0 or later and has a column");
    static constexpr std::string_view name = "slice";
    static constexpr shape output(shape) { return {Count}; }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_has_input<Where, slice, In>())
            return false;
        else {
            static_assert(diagnostic::holds<(First + Count <= In.size()), Where, diagnostic::given_width<First + Count>,
                                            diagnostic::needed_width<In.size()>>,
                          "espalier: a slice ends behind the last column of its input; the next lines name the layer's "
                          "index, where it ends and the width of the input");
            return First + Count <= In.size();
        }
    }
    template <shape In, class Inherited> using bind = detail::bound_slice<In, First, Count>;
};

} // namespace espalier
