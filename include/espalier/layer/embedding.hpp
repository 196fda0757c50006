// SPDX-License-Identifier: Apache-2.0
// Trained vectors for numbered things: users, films, words.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

#include <array>
#include <string>
#include <type_traits>

namespace espalier {

/// How many different ids each column of an embedding's input has: `vocabulary<671, 9066>`.
template <index_t... Sizes> struct vocabulary {
    static_assert(sizeof...(Sizes) >= 1, "espalier: a vocabulary has at least one column");
    static_assert(((Sizes >= 1) && ...), "espalier: every column of a vocabulary has at least one id");
    static_assert(((Sizes <= (index_t{1} << 24)) && ...),
                  "espalier: an id is a number in a float, which is exact up to 2^24");
    static constexpr index_t columns = sizeof...(Sizes);
    static constexpr index_t total = (Sizes + ...);
    static constexpr std::array<index_t, sizeof...(Sizes)> sizes{Sizes...};
};

namespace detail {

template <shape In, class Vocabulary, int Width, class... Ps> struct bound_embedding {
    static constexpr shape input = In;
    static constexpr shape output{static_cast<int>(Vocabulary::columns * Width)};

    static constexpr tensor_kind<role::embedding, pick<axis::initial, initial::uniform<-0.05, 0.05>, Ps...>, Ps...>
        table{Vocabulary::total, Width};
    using numbers = typename decltype(table)::rule;
    static constexpr layer_facts facts{.needs = table.needs};

    static numbers at(clock const& now) { return table.at(now); }
    template <class T> static constexpr footprint size() { return table.size(); }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> static std::size_t scratch(index_t) { return 0; }

    template <class Context, class T>
    static void forward(Context& context, numbers const&, layer_memory<T> const& m, rows const&, matrix_view<T const> x,
                        matrix_view<T> y) {
        static_assert(std::is_same_v<T, master_of<T>>,
                      "espalier: an embedding reads ids from its input, and 16-bit numbers do not hold them (bf16 is "
                      "exact up to 256 only); give the network activations in float");
        context.device.embed(x, Vocabulary::sizes.data(), table.operand(m), Width, y);
    }
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const&, layer_memory<T> const& m, rows const&,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (Want.parameters)
            context.device.embed_backward(x, Vocabulary::sizes.data(), matrix_view<T const>(dy), Width, m.gradients);
        if constexpr (Want.inputs) context.device.clear(dx);
    }
    template <class Asked> static consteval bool has_tensor() { return table.template has_tensor<Asked>(); }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        table.update(context, optimizer, n, m, given);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        table.initialise(context, m);
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"embedding of ", Vocabulary::total, " ids"}, In, output,
                         Vocabulary::total * Width);
        table.describe(report, path, at, "table");
    }
};

template <shape In, class Vocabulary, int Width, class Inherited, class... Ps> struct bind_embedding;
template <shape In, class Vocabulary, int Width, class... Inherited, class... Ps>
struct bind_embedding<In, Vocabulary, Width, type_list<Inherited...>, Ps...> {
    using type = bound_embedding<In, Vocabulary, Width, Ps..., Inherited...>;
};

template <class Vocabulary>
concept has_columns_of_ids = requires {
    { Vocabulary::columns } -> std::convertible_to<index_t>;
    { Vocabulary::total } -> std::convertible_to<index_t>;
    Vocabulary::sizes.data();
};

template <class Where, class Vocabulary> consteval bool check_is_vocabulary() {
    static_assert(diagnostic::holds<has_columns_of_ids<Vocabulary>, Where, diagnostic::given_type<Vocabulary>>,
                  "espalier: the first argument of embedding says how many ids each column has, as in "
                  "embedding<vocabulary<671, 9066>, 16>; the next lines name the layer's index and what was given");
    return has_columns_of_ids<Vocabulary>;
}

template <class Where, class Vocabulary, shape In> consteval bool check_vocabulary() {
    static_assert(
        diagnostic::holds<In.size() == Vocabulary::columns, Where, diagnostic::given<In.size()>,
                          diagnostic::needed<Vocabulary::columns>>,
        "espalier: an embedding reads one id a column, so its input must be as wide as its vocabulary; the next "
        "lines name the layer's index, the input's width and the number of columns of the vocabulary");
    return In.size() == Vocabulary::columns;
}

} // namespace detail

/// y_r = (table_0[x_r0], table_1[x_r1], ...): one row of Width trained numbers for the id in each column of x, side by
/// side. Ids are whole numbers, 0 up to the size of their column in the vocabulary; others throw data_error before
/// anything is changed. Activations are float or double: 16-bit numbers do not hold ids. Shape: columns -> columns x
/// Width. Tensor: "table" [sum of sizes][Width], the columns' tables one below the other (role::embedding; penalties
/// reach it unasked). First values: U(-0.05, 0.05). The gradient of an id is 0. A step reads the rows of the batch and
/// updates the whole table, in the one pass. On CUDA the gradient compares the ids of a column with each other, at most
/// rows^2 comparisons.
template <class Vocabulary, int Width, class... Ps> struct embedding {
    static_assert(Width >= 1, "espalier: an embedding has at least one number for each id");
    static constexpr std::string_view name = "embedding";
    using axes = axes_at<axis_place::tensor>;
    static constexpr shape output(shape in) {
        if constexpr (detail::has_columns_of_ids<Vocabulary>)
            return {static_cast<int>(Vocabulary::columns * Width)};
        else
            return in;
    }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_is_vocabulary<Where, Vocabulary>() ||
                      !detail::check_has_input<Where, embedding, In>())
            return false;
        else if constexpr (!detail::check_vocabulary<Where, Vocabulary, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, embedding, axes, Ps...>::run())
            return false;
        else
            return detail::check_roles<Where, embedding, roles(role::embedding), Inherited, Ps...>();
    }
    template <shape In, class Inherited>
    using bind =
        typename detail::bind_embedding<In, Vocabulary, Width,
                                        typename detail::inherited_on<axes, Inherited, roles(role::embedding)>::type,
                                        Ps...>::type;
};

} // namespace espalier
