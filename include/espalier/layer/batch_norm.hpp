// SPDX-License-Identifier: Apache-2.0
// Batch normalisation.
#pragma once

#include <espalier/initial/constant.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>

namespace espalier {

/// Numbers of batch normalisation: a structural value, `batch_norm<batch_norm_options{.momentum = 0.01}>`.
struct batch_norm_options {
    double momentum = 0.1; ///< share of the new batch in the running statistics
    double epsilon = 1e-5; ///< added to the variance
};

namespace detail {

template <shape In, batch_norm_options Options, class... Ps> struct bound_batch_norm {
    static constexpr shape input = In;
    static constexpr shape output = In;
    static constexpr index_t width = In.size();

    static constexpr tensor_kind<role::scale, initial::constant<1.0>, Ps...> scale{1, width};
    static constexpr tensor_kind<role::shift, initial::zeros, Ps...> shift{1, width};
    static constexpr layer_facts facts{.needs = scale.needs | shift.needs};

    static constexpr footprint shift_at = scale.size();

    struct numbers {
        typename decltype(scale)::rule scale_rule;
        typename decltype(shift)::rule shift_rule;
    };
    static numbers at(clock const& now) { return {scale.at(now), shift.at(now)}; }

    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        memory_block<master_of<T>> moments{*this, 2 * width, single_row}; ///< mean and variance of the batch
        memory_block<index_t> counted{*this, 1, single_row};              ///< how many rows it had
    };
    template <class T> static constexpr tape_blocks<T> tape{};

    // State: running mean, running variance, and the rows of the largest batch so far.
    static constexpr index_t state_size = padded(2 * width + 1);
    template <class T> static constexpr footprint size() {
        footprint f = scale.size() + shift.size();
        f.state = f.learned_state = state_size;
        f.tape = tape<T>.end;
        return f;
    }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return Device::template moments_scratch<T>(capacity, width);
    }

    template <class T> static layer_memory<T> shift_memory(layer_memory<T> const& m) { return m.child(shift_at, {}); }
    template <class T> static master_of<T>* moments(layer_memory<T> const& m) { return m.tape_block(tape<T>.moments); }
    template <class T> static index_t* counted(layer_memory<T> const& m) { return m.tape_block(tape<T>.counted); }

    /// A frozen layer is used as in evaluation: what it gives does not change with the rows of a batch.
    template <class Context, class T> static bool by_batch(layer_memory<T> const& m) {
        return Context::behaviour != mode::evaluate && !m.frozen(2);
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const&, layer_memory<T> const& m, rows const&, matrix_view<T const> x,
                        matrix_view<T> y) {
        master_of<T>* mean = m.state;
        if (by_batch<Context>(m)) {
            mean = moments(m);
            watch_layer(context, m.stream);
            context.device.column_moments(x, mean, mean + width, counted(m));
        }
        context.device.normalise(x, mean, mean + width, m.parameters, shift_memory(m).parameters, Options.epsilon, y);
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const&, layer_memory<T> const& m, rows const&,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        bool const train = by_batch<Context>(m);
        master_of<T> const* const mean = train ? moments(m) : m.state;
        context.device.normalise_backward(x, matrix_view<T const>(dy), mean, mean + width, m.parameters,
                                          Options.epsilon, train, Want.parameters ? m.gradients : nullptr,
                                          Want.parameters ? shift_memory(m).gradients : nullptr,
                                          Want.inputs ? dx : matrix_view<T>{});
    }

    // The running statistics change here and not in forward: a step whose loss is not finite leaves them alone.
    template <class Asked> static consteval bool has_tensor() {
        return scale.template has_tensor<Asked>() || shift.template has_tensor<Asked>();
    }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        scale.update(context, optimizer, n.scale_rule, m, given);
        shift.update(context, optimizer, n.shift_rule, shift_memory(m), given);
        if constexpr (detail::steps<Optimizer>)
            if (!m.frozen(2))
                context.device.running_moments(moments(m), moments(m) + width, width, counted(m), Options.momentum,
                                               m.state, given.copies);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        scale.initialise(context, m);
        shift.initialise(context, shift_memory(m));
        context.device.initialise(
            [](matrix_view<master_of<T>> w, random_site const&) {
                for (index_t c = 0; c < width; ++c) {
                    w.data[c] = master_of<T>(0);
                    w.data[width + c] = master_of<T>(1);
                }
                w.data[2 * width] = master_of<T>(0);
            },
            matrix_view<master_of<T>>{m.state, 1, 2 * width + 1, 2 * width + 1}, random_site{});
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"batch_norm"}, In, In, 2 * width, 2.0 * static_cast<double>(width));
        report.add_state(path, "running_mean", 1, width, at.state);
        report.add_state(path, "running_variance", 1, width, at.state + width);
        report.add_state(path, "largest_batch", 1, 1, at.state + 2 * width, true);
        scale.describe(report, path, at, "scale");
        shift.describe(report, path, at + shift_at, "shift");
    }
};

template <shape In, batch_norm_options Options, class Inherited, class... Ps> struct bind_batch_norm;
template <shape In, batch_norm_options Options, class... Inherited, class... Ps>
struct bind_batch_norm<In, Options, type_list<Inherited...>, Ps...> {
    using type = bound_batch_norm<In, Options, Ps..., Inherited...>;
};

} // namespace detail

/// y = scale (x - mean) / sqrt(variance + epsilon) + shift, per column (Ioffe and Szegedy 2015). Training uses the mean
/// and variance of the batch, evaluation the running ones, in which a batch has the share `momentum`, or less where it
/// is smaller than the largest one so far: 1 - (1 - momentum)^(rows / largest). A layer whose two tensors are frozen is
/// used as in evaluation while the others train, and its running statistics stay. Trained tensors: "scale"
/// (role::scale, 1 at first) and "shift" (role::shift, 0); state: "running_mean", "running_variance" (unbiased) and
/// "largest_batch", which files of older versions lack. `Ps`:
/// penalties, transforms, weight maps and prune policies, bound to the roles with `on<>`. In the tail of a multi_sample
/// every sample is normalised by its own mean and variance, and the running ones are of all rows of all samples. Three
/// passes over x forward while training, two backward; on CUDA two and two.
template <batch_norm_options Options = batch_norm_options{}, class... Ps> struct batch_norm {
    static_assert(Options.momentum >= 0.0 && Options.momentum <= 1.0 && Options.epsilon > 0.0,
                  "espalier: batch_norm needs a momentum in [0, 1] and a positive epsilon");
    static constexpr std::string_view name = "batch_norm";
    using axes = type_list<axis::weight, axis::prune, axis::penalty, axis::transform, axis::group>;
    static constexpr role_set tensor_roles = roles(role::scale) | roles(role::shift);
    static constexpr shape output(shape in) { return in; }
    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_has_input<Where, batch_norm, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, batch_norm, axes, Ps...>::run())
            return false;
        else
            return detail::check_roles<Where, batch_norm, tensor_roles, Inherited, Ps...>();
    }
    template <shape In, class Inherited>
    using bind = typename detail::bind_batch_norm<
        In, Options, typename detail::inherited_on<axes, Inherited, tensor_roles>::type, Ps...>::type;
};

} // namespace espalier
