// SPDX-License-Identifier: Apache-2.0
// host only. A kernel that stays as it is, of which trained scores say which weights take part.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/context.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/concept.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/operator.hpp>

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::weight {

/// Numbers and element functions of the map from a score to the weight that products read: a weight map of the scores,
/// whose companion is the kernel.
struct score_mask_op {
    double threshold;
    static constexpr auto numbers = fields<&score_mask_op::threshold>;

    /// Kind of the threshold.
    struct threshold_number {
        static constexpr std::string_view name = "threshold";
        static constexpr schedule::bounds allowed{-std::numeric_limits<double>::max(),
                                                  std::numeric_limits<double>::max()};
    };

    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[companions] = {"kernel"};

    template <class T> ESPALIER_FN T effective(T score, element_about<T> const& about) const {
        using espalier::select;
        using S = scalar_of<T>;
        return select(score > T(static_cast<S>(threshold)), about.companion.first, T(S(0)));
    }
    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) {
        return g * about.companion.first;
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
};

namespace detail {

template <schedule::number_or_schedule auto Threshold>
struct score_map : schedule::with_numbers<axis::weight, score_map<Threshold>, score_mask_op,
                                          schedule::number<Threshold, score_mask_op::threshold_number>> {
    static constexpr std::string_view name = "score_mask";
};

template <index_t In, index_t Out, class Map, class... Ps> struct bound_score_mask {
    using kernel = espalier::detail::matrix_product<
        espalier::detail::tensor_kind<role::score, pick<axis::initial, initial::constant<0.01>, Ps...>,
                                      on<role::score, Map>, Ps...>,
        pick<axis::product, void, Ps...>>;
    using numbers = typename kernel::numbers;
    static constexpr kernel its{{In, Out}};

    static constexpr need needs = kernel::needs;
    static constexpr index_t parameters = In * Out;
    static constexpr double flops = 2.0 * static_cast<double>(parameters);
    template <class Asked> static consteval bool has_tensor() { return kernel::template has_tensor<Asked>(); }

    static numbers at(clock const& now) { return kernel::at(now); }
    template <class T> static constexpr footprint size() { return its.template size<T>(); }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        return its.template scratch<Device, T>(capacity);
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T const> x,
                        master_of<T> const* offset, matrix_view<T> z) {
        its.forward(context, n, m, x, offset, z);
    }
    /// What is left for the scores is dL/dW^: their map pulls it back in the update.
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T const> x,
                         matrix_view<T const> dz, matrix_view<T> dx) {
        its.template backward<Want>(context, n, m, x, dz, dx);
    }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        its.update(context, optimizer, n, m, given);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        its.initialise(context, m);
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        its.tensor.describe(report, path, at, "score");
    }

    template <class W> static void bake(W const* scores, W const* fixed, clock const& now, matrix_view<W> kernel) {
        auto const map = op_at<Map>(now);
        for (index_t i = 0; i < In; ++i)
            for (index_t o = 0; o < Out; ++o)
                kernel(i, o) = effective_weight(map, scores[i * Out + o], true, {fixed[i * Out + o]});
    }
};

} // namespace detail

/// y = act(x W^ + b) with W^ = W where s > Threshold and 0 elsewhere: masks of a network that is trained already (Zheng
/// et al. 2023, "Regularized mask tuning"). W (in x out, tensor "kernel") is frozen: it has no gradient and no moments.
/// The scores s (in x out, "score", role::score) are trained. A score equal to the threshold masks, as NaN does.
///
///     using masked = dense<256, activation::relu, weight::score_mask<>,
///                          on<role::score, penalty::group_lasso<1e-4, penalty::over::tensor>>>;
///
/// Gradient: the step counts as the identity, everywhere (straight-through): ds = dL/dW^ W, where W = 0 exactly 0; dx
/// is that of W^. So `gradient` of "score" is dL/dW^ until the update pulls it back, as behind every weight map, and
/// `check_gradients` finds that it is no derivative.
///
/// W comes from a trained network of the same stack without scores, or its file: `load_base`. What else that has stays
/// trained unless a `rate_rule` freezes it, biases too. First scores: 0.01, or what an initialiser of the layer's list
/// says; the threshold lies between them and 0, and the rate of the optimizer says after how many steps of one sign a
/// weight goes. Decay draws scores below the threshold: keep it 0. Threshold: a finite number or a schedule. `bake`
/// gives W^, `mask_of_scores` the bits.
///
/// A step costs what one of a dense layer costs, and in the update 4 bytes a weight (float) for W and 4 for the copy
/// W^. In 16 bits products read W^ rounded, W itself keeps the type that weights are trained in. At run time:
/// data_error where W never was set, before anything is changed.
template <schedule::number_or_schedule auto Threshold = 5e-3> struct score_mask {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "score_mask";
    static constexpr role_set tensor_roles = roles(role::score);
    static constexpr auto threshold(clock const& now) { return op_at<detail::score_map<Threshold>>(now).threshold; }
    static constexpr auto numbers = fields<&score_mask::threshold>;

    template <index_t In, index_t Out, class... Ps>
    using bind = detail::bound_score_mask<In, Out, detail::score_map<Threshold>, Ps...>;

    template <class Where, class Layer, index_t In, index_t Out, class... Ps> static consteval bool check() {
        using prune_policy = pick_for<espalier::axis::prune, role::score, void, Ps...>;
        using weight_policy = pick_for<espalier::axis::weight, role::score, void, Ps...>;
        constexpr bool alone = std::is_void_v<prune_policy> && std::is_void_v<weight_policy>;
        static_assert(
            diagnostic::holds<alone, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<prune_policy>,
                              diagnostic::from_policy<weight_policy>>,
            "espalier: the scores of weight::score_mask have a map of their own, and the mask that they make is the "
            "only one; the next lines name the layer's index, the layer, and the prune policy and the weight map that "
            "act on role::score; take them out");
        return alone;
    }
};

} // namespace espalier::weight
