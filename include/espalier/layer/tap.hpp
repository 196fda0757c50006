// SPDX-License-Identifier: Apache-2.0
// A named place in a stack: its rows can be read after a pass, penalised, and given a gradient of their own.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace espalier {

namespace detail {

template <shape In, short_name Name, class... Ps> struct bound_tap : invalid_layer<In, In> {
    using epilogue_type = decltype(choose_epilogue<In.size(), Ps...>());
    static constexpr epilogue_type epilogue = choose_epilogue<In.size(), Ps...>();
    static constexpr layer_facts facts{.passes_through = true, .watches = true, .needs = epilogue_type::needs};
    static constexpr index_t width = In.size();

    using numbers = typename epilogue_type::train_op;
    static numbers at(clock const& now) { return epilogue.at(now); }

    /// The penalties' sums, the rows, the gradient that is added to theirs. The rows are a copy: whoever wrote them may
    /// write there again before the pass is over (a residual adds its input, a loss leaves its gradient).
    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        memory_block<std::byte> sums{*this, epilogue.template size<T, false>().tape};
        memory_block<T> values{*this, width};
        memory_block<T> gradient{*this, width};
    };
    template <class T> static constexpr tape_blocks<T> tape{};

    template <class T> static constexpr footprint size() {
        footprint f = epilogue.template size<T, false>();
        f.tape = tape<T>.end;
        f.terms += 1;
        f.taps = 1;
        f.streams = 0; // it draws nothing: the layers behind it keep their bits
        return f;
    }
    template <class T> static matrix_view<T> values(layer_memory<T> const& m, index_t n) {
        return {m.tape_block(tape<T>.values), n, width, width};
    }
    template <class T> static matrix_view<T> gradient(layer_memory<T> const& m, index_t n) {
        return {m.tape_block(tape<T>.gradient), n, width, width};
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T>) {
        matrix_view<T> const own = values(m, x.rows);
        if constexpr (epilogue_type::template pass_follows<Context::behaviour>)
            epilogue.forward(context, n, without_stream(m), batch, x, own);
        else
            context.device.copy(x, own);
        if (m.taps)
            *m.taps = {own, gradient(m, x.rows), m.terms ? m.terms + epilogue_type::train_op::penalty_count : nullptr};
    }

    // Upstream and downstream gradient are the same memory, as the rows are.
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T>) {
        if constexpr (epilogue_type::template pass_follows<Context::behaviour>) {
            matrix_view<T const> const own = values(m, x.rows);
            epilogue.backward(context, n, without_stream(m), batch, own, own, dy, static_cast<master_of<T>*>(nullptr));
        }
        if (m.taps && m.taps->given) context.device.add(matrix_view<T const>(gradient(m, x.rows)), dy);
    }

    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        layer_info& line = report.add_layer(path, at, text_parts{"tap ", Name.str()}, In, In);
        list_policies(line.policies, typename epilogue_type::penalty_policies{});
        epilogue.describe(report, path, at);
        report.add_term(path, ".", Name.str());
        report.add_tap(path, Name.str(), width);
    }

    /// Nothing is drawn here; the stream of the memory is that of the layer behind.
    template <class T> static layer_memory<T> without_stream(layer_memory<T> m) {
        m.stream = spoiled_place::no_stream;
        return m;
    }

    template <short_name Wanted> static consteval index_t tap_width() { return Wanted == Name ? width : 0; }
};

} // namespace detail

/// Names the rows that pass here; y = x. After a pass `network::tap("name")` reads them: features, say. In a training
/// step of one's own, `training::step(batch, at_taps)` calls `at_taps` between forward and backward with a
/// `tap_access`, which also takes a loss on the rows or any other gradient to be added to theirs. `activation_penalty`
/// policies in the list act on the rows as they do on a layer's output, in the pass that keeps them.
///
/// Costs one copy of the rows, room for them and their gradient, and one addition when a gradient was given. Stands in
/// a sequence, a residual or a branch of a parallel; not where one row runs several times or with some of the experts.
template <short_name Name, class... Ps> struct tap {
    static_assert(!Name.empty(), "espalier: a tap has a name of 1 to 16 characters");
    static constexpr std::string_view name = "tap";
    using axes = type_list<axis::activation_penalty>;
    static constexpr shape output(shape in) { return in; }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_has_input<Where, tap, In>())
            return false;
        else
            return detail::policy_checks<Where, tap, axes, Ps...>::run();
    }
    template <shape In, class Inherited> using bind = detail::bound_tap<In, Name, Ps...>;
};

} // namespace espalier
