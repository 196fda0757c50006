// SPDX-License-Identifier: Apache-2.0
// A fully connected layer.
#pragma once

#include <espalier/initial/zeros.hpp>
#include <espalier/layer/bias.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

namespace espalier {

namespace detail {

/// What a dense layer does, for any extents.
template <class Kernel, class Epilogue, class... Ps> struct dense_kind {
    using bias_type = tensor_kind<role::bias, initial::zeros, Ps...>;
    static constexpr bool has_bias = pick<axis::bias, with_bias, Ps...>::present;
    static constexpr layer_facts facts{.reads_output = Epilogue::row_form,
                                       .needs = Kernel::needs | (has_bias ? bias_type::needs : need::none) |
                                                Epilogue::needs};

    shape input;
    Kernel kernel;
    bias_type bias;
    Epilogue epilogue;

    struct numbers {
        typename Kernel::numbers kernel_numbers;
        typename bias_type::rule bias_rule;
        typename Epilogue::train_op epilogue_op;
    };
    numbers at(clock const& now) const { return {Kernel::at(now), bias_type::at(now), epilogue.at(now)}; }

    template <class T> constexpr footprint kernel_size() const { return kernel.template size<T>(); }
    template <class T> constexpr footprint size() const {
        footprint f = kernel_size<T>() + epilogue.template size<T>();
        if (has_bias) f = f + bias.size();
        return f;
    }
    template <class T> constexpr extent work() const { return kernel.template work<T>(); }
    template <class Device, class T> std::size_t scratch(index_t capacity) const {
        return kernel.template scratch<Device, T>(capacity);
    }

    // kernel, bias, epilogue: in this order in every arena
    template <class T> layer_memory<T> bias_memory(layer_memory<T> const& m) const {
        return m.child(kernel_size<T>(), {});
    }
    template <class T> layer_memory<T> epilogue_memory(layer_memory<T> const& m) const {
        return m.child(has_bias ? kernel_size<T>() + bias.size() : kernel_size<T>(), {});
    }

    template <class Context, class T>
    void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                 matrix_view<T const> x, matrix_view<T> y) const {
        auto const em = epilogue_memory(m);
        matrix_view<T> const z = epilogue.template before<Context::behaviour>(em, y);
        master_of<T> const* const offset = has_bias ? bias_memory(m).parameters : nullptr;
        kernel.forward(context, n.kernel_numbers, m, x, offset, z);
        epilogue.forward(context, n.epilogue_op, em, batch, matrix_view<T const>(z), y);
    }

    template <differentiate Want, class Context, class T>
    void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                  matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) const {
        master_of<T>* const bias_gradient = has_bias && Want.parameters ? bias_memory(m).gradients : nullptr;
        auto const em = epilogue_memory(m);
        epilogue.backward(context, n.epilogue_op, em, batch,
                          matrix_view<T const>(epilogue.template before<Context::behaviour>(em, dy)), y, dy,
                          bias_gradient);
        kernel.template backward<Want>(context, n.kernel_numbers, m, x, matrix_view<T const>(dy), dx);
    }

    template <class Asked> static consteval bool has_tensor() {
        return has_tensor_in<Kernel, Asked>() || (has_bias && bias_type::template has_tensor<Asked>());
    }
    template <class Context, class Optimizer, class T>
    void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                update_numbers const& given) const {
        kernel.update(context, optimizer, n.kernel_numbers, m, given);
        if constexpr (has_bias) bias.update(context, optimizer, n.bias_rule, bias_memory(m), given);
    }

    template <class Context, class T> void initialise(Context& context, layer_memory<T> const& m) const {
        kernel.initialise(context, m);
        if constexpr (has_bias) bias.initialise(context, bias_memory(m));
        epilogue.initialise(context, epilogue_memory(m));
    }

    void describe(layer_report& report, std::string const& path, footprint const& at) const {
        layer_info& line = report.add_layer(path, at, text_parts{"dense"}, input, shape{static_cast<int>(bias.columns)},
                                            kernel.parameters() + (has_bias ? bias.count() : 0), kernel.flops());
        epilogue.list(line.policies);
        (list_parameter_policy<Ps>(line.policies), ...);
        kernel.describe(report, path, at);
        footprint const behind_kernel = at + kernel_size<float>();
        if constexpr (has_bias) bias.describe(report, path, behind_kernel, "bias");
        epilogue.describe(report, path, has_bias ? behind_kernel + bias.size() : behind_kernel);
    }

private:
    template <class P> static void list_parameter_policy(std::vector<policy_info>& out) {
        if constexpr (P::axis::place != axis_place::epilogue) list_policy<P>(out);
    }
};

template <shape In, int Out, class... Ps> struct bound_dense {
    using kernel = decltype(choose_kernel<In.size(), Out, Ps...>());
    using epilogue = decltype(choose_epilogue<Out, Ps...>());
    using kind = dense_kind<kernel, epilogue, Ps...>;
    static consteval kind body() {
        return {In, choose_kernel<In.size(), Out, Ps...>(), {1, Out}, choose_epilogue<Out, Ps...>()};
    }

    static constexpr shape input = In;
    static constexpr shape output{Out};
    static constexpr layer_facts facts = kind::facts;

    using numbers = typename kind::numbers;
    template <class Asked> static consteval bool has_tensor() { return kind::template has_tensor<Asked>(); }
};

template <shape In, int Out, class Inherited, class... Ps> struct bind_dense;
template <shape In, int Out, class... Inherited, class... Ps>
struct bind_dense<In, Out, type_list<Inherited...>, Ps...> {
    using type = bound_dense<In, Out, Ps..., Inherited...>;
};

/// An operator has no kernel to prune. Stages of patterns fit the inputs.
template <class Where, class Layer, class Inherited, class... Ps> struct dense_weight_check;
template <class Where, class Layer, class... Inherited, class... Ps>
struct dense_weight_check<Where, Layer, type_list<Inherited...>, Ps...> {
    using weight_policy = pick_for<axis::weight, role::kernel, weight::identity, Ps..., Inherited...>;
    using kernel_pruning = pick_for<axis::prune, role::kernel, void, Ps..., Inherited...>;

    static consteval bool has_stages() {
        if constexpr (std::is_void_v<kernel_pruning> || weight::weight_operator<weight_policy>)
            return false;
        else
            return requires {
                kernel_pruning::selection::group_beside(index_t{});
            };
    }
    /// What asks for the extents is checked for each of them; the layers of others share one check.
    static constexpr bool asks_extents = weight::checks_extents<weight_policy> || has_stages();
    static constexpr index_t extent_of(index_t extent) { return asks_extents ? extent : 0; }

    template <index_t In, index_t Out> static consteval bool run() {
        if constexpr (!keeps_prune())
            return false;
        else if constexpr (has_stages())
            return fits_stages<In>();
        else if constexpr (asks_extents)
            return weight_policy::template check<Where, Layer, In, Out, Ps..., Inherited...>();
        else
            return true;
    }

private:
    template <index_t In> static consteval bool fits_stages() {
        constexpr int beside = kernel_pruning::selection::group_beside(In);
        static_assert(
            diagnostic::holds<beside == 0, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<kernel_pruning>,
                              diagnostic::given_width<In>, diagnostic::needed_width<beside>>,
            "espalier: the groups of every stage of prune::n_m_stages divide the inputs of a layer; the "
            "next lines name the layer's index, the prune policy, the inputs and the first group that "
            "does not; begin with smaller groups, or prune this layer with prune::n_m");
        return beside == 0;
    }
    static consteval bool keeps_prune() {
        // One that is handed on to many layers is not meant for those that have no kernel.
        using prune_policy = pick_for<axis::prune, role::kernel, void, Ps...>;
        constexpr bool ok = !weight::weight_operator<weight_policy> || std::is_void_v<prune_policy>;
        static_assert(diagnostic::holds<ok, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<prune_policy>,
                                        diagnostic::from_policy<weight_policy>>,
                      "espalier: a layer whose product is a weight operator has no kernel to prune; the next lines "
                      "name the layer's index, the prune policy and the operator; keep one of them");
        return ok;
    }
};

/// Roles of the tensors: an operator may name those of its own.
template <class Inherited, class... Ps> struct dense_tensors;
template <class... Inherited, class... Ps> struct dense_tensors<type_list<Inherited...>, Ps...> {
    using weight_policy = pick_for<axis::weight, role::kernel, weight::identity, Ps..., Inherited...>;
    static consteval role_set of_kernel() {
        if constexpr (weight::weight_operator<weight_policy>)
            return roles_of_operator<weight_policy>();
        else
            return roles(role::kernel);
    }
    static constexpr role_set all =
        of_kernel() | roles(role::bias, pick<axis::bias, with_bias, Ps..., Inherited...>::present);
};

template <class Where, class Layer, class Inherited, class... Ps> struct dense_dropout_check;
template <class Where, class Layer, class... Inherited, class... Ps>
struct dense_dropout_check<Where, Layer, type_list<Inherited...>, Ps...> {
    /// The width that matters: layers whose dropout has no segments share one check.
    static constexpr index_t width_of(index_t width) {
        return dropout::detail::constant_segment<pick<axis::dropout, void, Ps..., Inherited...>>() > 0 ? width : 0;
    }
    template <index_t Width> static consteval bool run() {
        return check_segments<Where, Layer, Width, Ps..., Inherited...>();
    }
};

} // namespace detail

/// y = factor * activation(x W + b) + shift.
/// x: rows x in, W ("kernel"): in x Out row-major, b ("bias"): Out, y: rows x Out. Policies in any order on the axes
/// activation, dropout, units, activation_penalty, weight, prune, penalty, transform, initial, bias, product, group.
/// Forward costs 2 rows in Out operations and one pass over y; backward twice that and one pass.
template <int Out, class... Ps> struct dense {
    static_assert(Out > 0, "espalier: the width of a dense layer is positive");
    static constexpr std::string_view name = "dense";
    using axes = axes_at<axis_place::epilogue, axis_place::product, axis_place::tensor>;

    static constexpr shape output(shape) { return {Out}; }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        using dropout_check =
            detail::dense_dropout_check<Where, diagnostic::layer_of_message<Where, dense>, Inherited, Ps...>;
        using weight_check =
            detail::dense_weight_check<Where, diagnostic::layer_of_message<Where, dense>, Inherited, Ps...>;
        if constexpr (!detail::check_has_input<Where, dense, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, dense, axes, Ps...>::run())
            return false;
        else if constexpr (!weight_check::template run<weight_check::extent_of(In.size()),
                                                       weight_check::extent_of(Out)>())
            return false;
        else if constexpr (!detail::check_roles<Where, dense, detail::dense_tensors<Inherited, Ps...>::all, Inherited,
                                                Ps...>())
            return false;
        else
            return dropout_check::template run<dropout_check::width_of(Out)>();
    }

    template <shape In, class Inherited>
    using bind =
        typename detail::bind_dense<In, Out, typename detail::inherited_on<axes, Inherited>::type, Ps...>::type;
};

} // namespace espalier
