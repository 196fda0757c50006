// SPDX-License-Identifier: Apache-2.0
// Several layers on the same input.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/list.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier {

/// How the outputs of parallel branches become one.
namespace merge {
/// One after the other: y = [a(x), b(x), ...].
struct concatenate {
    static constexpr std::string_view name = "concatenate";
};
/// y = a(x) + b(x) + ...; the branches are equally wide.
struct add {
    static constexpr std::string_view name = "add";
};
} // namespace merge

namespace detail {

template <class Merge> constexpr int merged_width(int const* width, int count) {
    int total = 0;
    for (int i = 0; i < count; ++i)
        total = std::is_same_v<Merge, merge::concatenate> ? total + width[i] : width[i];
    return total;
}

template <shape In, class Merge, class... Branches> struct bound_parallel {
    using branches = layer_list<Branches...>;
    static constexpr std::size_t count = sizeof...(Branches);
    static constexpr bool adds = std::is_same_v<Merge, merge::add>;
    static constexpr std::array<int, count> widths{static_cast<int>(Branches::output.size())...};
    static constexpr shape input = In;
    static constexpr shape output{merged_width<Merge>(widths.data(), int{count})};
    static constexpr bool branches_read = any_of({Branches::facts.reads_output...});
    /// Added branches that read their own outputs in backward keep them in the tape.
    static constexpr bool keeps_outputs = adds && branches_read;
    static constexpr layer_facts facts{.reads_output = !adds && branches_read, .needs = needs_of_layers<Branches...>};
    static constexpr index_t in = In.size();
    static constexpr index_t out = output.size();
    static constexpr std::array<int, count + 1> first_column = [] {
        std::array<int, count + 1> at{};
        for (std::size_t i = 0; i < count; ++i)
            at[i + 1] = at[i] + (adds ? 0 : widths[i]);
        return at;
    }();

    using numbers = typename branches::numbers;
    static numbers at(clock const& now) { return branches::at(now); }

    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        memory_block<T> outputs{*this, keeps_outputs ? out : 0,
                                extent{int{count}, 0}}; ///< one branch's after the other
    };
    template <class T> static constexpr tape_blocks<T> tape{};
    template <class T> struct work_blocks : block_list {
        constexpr work_blocks() {}
        memory_block<T> branch{*this, out}; ///< one branch's output or dy (added branches)
        memory_block<T> dinputs{*this, in}; ///< one branch's
        memory_block<std::byte> child{*this, branches::template work<T>()};
    };
    template <class T> static constexpr work_blocks<T> work_at{};

    template <class T> static constexpr footprint before(int i) {
        footprint f = branches::template before<T>(i);
        f.tape = f.tape + tape<T>.end;
        return f;
    }
    template <class T> static constexpr footprint size() { return before<T>(int{count}); }
    template <class T> static constexpr extent work() { return work_at<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return branches::template scratch<Device, T>(capacity);
    }

    template <class T> static layer_memory<T> of_branch(int i, layer_memory<T> const& m) {
        return m.child(before<T>(i), work_at<T>.child.at);
    }
    template <class U> static matrix_view<U> columns(matrix_view<U> all, int branch) {
        auto const i = static_cast<std::size_t>(branch);
        return all.middle_columns(first_column[i], widths[i]);
    }
    /// Where branch i writes its output: its columns of y, or for added branches a place of its own (the first of them
    /// y itself, unless outputs are kept).
    template <class T> static matrix_view<T> branch_output(int i, layer_memory<T> const& m, matrix_view<T> y) {
        if constexpr (!adds)
            return columns(y, i);
        else if constexpr (keeps_outputs)
            return {m.tape_block(tape<T>.outputs) +
                        i * block_size<T>(out).bytes(m.capacity) / static_cast<index_t>(sizeof(T)),
                    y.rows, out, out};
        else
            return i == 0 ? y : matrix_view<T>{m.work_block(work_at<T>.branch), y.rows, out, out};
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        branches::each(n, [&](auto const& branch, int i, auto const& its) {
            forward_branch(branch, context, its, m, i, batch, x, y);
        });
    }
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        branches::each(n, [&](auto const& branch, int i, auto const& its) {
            backward_branch<Want>(branch, context, its, m, i, batch, x, y, dy, dx);
        });
    }
    template <class Asked> static consteval bool has_tensor() { return any_has_tensor<Asked, Branches...>(); }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        branches::each(n, [&](auto const& branch, int i, auto const& its) {
            branch.update(context, optimizer, its, of_branch(i, m), given);
        });
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        branches::each_type([&](auto const& branch, int i) { branch.initialise(context, of_branch(i, m)); });
    }
    template <short_name Name> static consteval index_t tap_width() { return widest_tap_in<Name, Branches...>(); }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"parallel ", Merge::name}, In, output);
        ++report.depth;
        branches::each_type(
            [&](auto const& branch, int i) { branch.describe(report, text_of(path, ".", i), at + before<float>(i)); });
        --report.depth;
    }

private:
    template <class Branch, class Context, class T>
    static void forward_branch(Branch const& branch, Context& context, typename Branch::numbers const& n,
                               layer_memory<T> const& m, int i, rows const& batch, matrix_view<T const> x,
                               matrix_view<T> y) {
        matrix_view<T> const own = branch_output(i, m, y);
        branch.forward(context, n, of_branch(i, m), batch, x, own);
        if constexpr (adds) {
            if (i == 0 && own.data != y.data)
                context.device.copy(matrix_view<T const>(own), y);
            else if (i > 0)
                context.device.add(matrix_view<T const>(own), y);
        }
    }

    template <differentiate Want, class Branch, class Context, class T>
    static void backward_branch(Branch const& branch, Context& context, typename Branch::numbers const& n,
                                layer_memory<T> const& m, int i, rows const& batch, matrix_view<T const> x,
                                matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        matrix_view<T> upstream = adds ? dy : columns(dy, i);
        if constexpr (adds) {
            // A branch consumes what it is given; the last one may have the original.
            if (i + 1 < branches::count) {
                upstream = {m.work_block(work_at<T>.branch), dy.rows, out, out};
                context.device.copy(matrix_view<T const>(dy), upstream);
            }
        }
        matrix_view<T> const part{m.work_block(work_at<T>.dinputs), x.rows, in, in};
        matrix_view<T const> own = adds ? y : columns(y, i);
        if constexpr (keeps_outputs) own = branch_output(i, m, dy);
        branch.template backward<Want>(context, n, of_branch(i, m), batch, x, own, upstream, i == 0 ? dx : part);
        if constexpr (Want.inputs)
            if (i > 0) context.device.add(matrix_view<T const>(part), dx);
    }
};

template <class Where, class Layer, class Merge> consteval bool check_merge() {
    constexpr bool known = std::is_same_v<Merge, merge::add> || std::is_same_v<Merge, merge::concatenate>;
    static_assert(diagnostic::holds<known, Where, diagnostic::in_layer<Layer>, diagnostic::given_type<Merge>>,
                  "espalier: the first argument of parallel says what becomes of the branches' outputs, "
                  "merge::concatenate or merge::add; the next lines name the layer's index and what was given; write "
                  "it before the branches");
    return known;
}

} // namespace detail

/// Branches on the same input: y = [a(x), b(x), ...] with merge::concatenate, y = a(x) + b(x) + ... with merge::add.
/// Every branch is a layer or sequence. Beside the branches' own work: an addition of dx for each branch but the first,
/// and with `add` one of y and a copy of dy.
template <class Merge, class... Branches> struct parallel {
    static_assert(sizeof...(Branches) > 0, "espalier: parallel needs at least one branch after its merge");
    static constexpr std::string_view name = "parallel";

    static constexpr shape output(shape in) {
        int const width[] = {static_cast<int>(detail::output_of<Branches>(in).size())...};
        return {detail::merged_width<Merge>(width, sizeof...(Branches))};
    }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        using named = diagnostic::layer_of_message<Where, parallel>;
        if constexpr (!detail::check_merge<Where, named, Merge>())
            return false;
        else if constexpr (!(true && ... && detail::check_is_layer<Branches, Where, diagnostic::in_layer<named>>()))
            return false;
        else if constexpr (!check_widths<Where, In>() ||
                           !(true && ... && Branches::template check<Where, In, Inherited>()))
            return false;
        else
            return (true && ... && detail::check_keeps_rows<Where, typename Branches::template bind<In, Inherited>>());
    }
    template <shape In, class Inherited>
    using bind = detail::bound_parallel<In, Merge, typename detail::bound_by<Branches, In, Inherited>::type...>;

private:
    template <class Where, shape In> static consteval bool check_widths() {
        constexpr int width[] = {static_cast<int>(Branches::output(In).size())...};
        constexpr bool equal = [&] {
            for (int w : width)
                if (w != width[0]) return false;
            return true;
        }();
        constexpr bool fits = !std::is_same_v<Merge, merge::add> || equal;
        constexpr int last = width[sizeof...(Branches) - 1];
        static_assert(
            diagnostic::holds<fits, Where, diagnostic::given_width<last>, diagnostic::needed_width<width[0]>>,
            "espalier: branches that are added must be equally wide; the next lines name the layer's index and "
            "the widths of the last and the first branch; make them equal or use merge::concatenate");
        return fits;
    }
};

} // namespace espalier
