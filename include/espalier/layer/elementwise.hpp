// SPDX-License-Identifier: Apache-2.0
// Activation, dropout and activation penalties without a product.
#pragma once

#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

namespace espalier {

namespace detail {

template <shape In, class... Ps> struct bound_elementwise : invalid_layer<In, In> {
    using epilogue_type = decltype(choose_epilogue<In.size(), Ps...>());
    static constexpr epilogue_type epilogue = choose_epilogue<In.size(), Ps...>();
    static constexpr layer_facts facts{.passes_through = !epilogue_type::row_form &&
                                                         !epilogue_type::template pass_follows<mode::train>,
                                       .reads_output = epilogue_type::row_form,
                                       .needs = epilogue_type::needs};

    using numbers = typename epilogue_type::train_op;
    static numbers at(clock const& now) { return epilogue.at(now); }

    // The input stays with whoever wrote it.
    template <class T> static constexpr footprint size() { return epilogue.template size<T, false>(); }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        if constexpr (!epilogue_type::template pass_follows<Context::behaviour>) context.device.copy(x, y);
        epilogue.forward(context, n, m, batch, x, y);
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (Want.inputs) {
            epilogue.backward(context, n, m, batch, x, y, dy, static_cast<master_of<T>*>(nullptr));
            context.device.copy(matrix_view<T const>(dy), dx);
        }
    }

    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        epilogue.initialise(context, m);
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        layer_info& line = report.add_layer(path, at, text_parts{"elementwise"}, In, In);
        epilogue.list(line.policies);
        epilogue.describe(report, path, at);
    }
};

} // namespace detail

/// y = factor * activation(x) + shift: activation, dropout, units and activation penalties on their own, after a layer
/// that has no epilogue or before a head that is run several times. Inherited policies do not reach it. One pass.
template <class... Ps> struct elementwise {
    static constexpr std::string_view name = "elementwise";
    using axes = axes_at<axis_place::epilogue>;
    static constexpr shape output(shape in) { return in; }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_has_input<Where, elementwise, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, elementwise, axes, Ps...>::run())
            return false;
        else
            return detail::check_segments<Where, diagnostic::layer_of_message<Where, elementwise>, In.size(), Ps...>();
    }
    template <shape In, class Inherited> using bind = detail::bound_elementwise<In, Ps...>;
};

} // namespace espalier
