// SPDX-License-Identifier: Apache-2.0
// host only. A kernel that stays as it is, and two thin factors beside it that are trained.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/context.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/weight/adapter_gain.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/operator.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::weight {

namespace detail {

template <class... Ps>
using zero_factor =
    espalier::detail::tensor_kind<role::factor, initial::zeros, espalier::detail::ranks_are<over::rows>, Ps...>;

template <index_t In, index_t Out, index_t Rank, class Gain, class... Ps>
struct bound_low_rank_adapter : factor_pair<first_factor<Ps...>, zero_factor<Ps...>, In, Out, Rank> {
    using pair = factor_pair<first_factor<Ps...>, zero_factor<Ps...>, In, Out, Rank>;
    using pair::first, pair::second, pair::second_memory, pair::left, pair::right;
    static constexpr footprint base_at = first.size() + second.size(); // among the fixed tensors
    using product = pick<axis::product, void, Ps...>;
    static constexpr bool has_gain = !std::is_same_v<Gain, no_gain>;

    static constexpr index_t parameters = (In + Out) * Rank;
    static constexpr double flops = 2.0 * static_cast<double>(parameters + In * Out);

    struct numbers {
        typename decltype(first)::rule first_rule;
        typename decltype(second)::rule second_rule;
        typename espalier::detail::op_type<Gain>::type gain;
    };
    static numbers at(clock const& now) {
        return {first.at(now), second.at(now), espalier::detail::numbers_at<Gain>(now)};
    }

    template <class T> struct tape_blocks : block_list {
        constexpr tape_blocks() {}
        memory_block<T> inner{*this, Rank}; ///< x A
    };
    template <class T> struct work_blocks : block_list {
        constexpr work_blocks() {}
        memory_block<T> inner{*this, Rank};                                  ///< its gradient
        memory_block<T> gram{*this, has_gain ? Rank* Rank : 0, single_row};  ///< A^T A
        memory_block<T> scaled{*this, has_gain ? Rank* Out : 0, single_row}; ///< A^T A B, then B with gains
    };
    template <class T> static constexpr tape_blocks<T> tape{};
    template <class T> static constexpr work_blocks<T> backward_work{};

    template <class T> static constexpr footprint size() {
        static_assert(std::is_same_v<T, master_of<T>>,
                      "espalier: weight::low_rank_adapter keeps its frozen kernel in the type that weights are trained "
                      "in, and products of a network of a narrower type read that type; run the network with float or "
                      "double (on a GPU product::cublaslt_tf32 takes the tensor cores for float)");
        footprint f = base_at;
        f.fixed += padded(In * Out);
        f.tape = tape<T>.end;
        return f;
    }
    template <class T> static constexpr extent work() { return backward_work<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = 0;
        auto const ask = [&](index_t rows, index_t inner, index_t columns) {
            std::size_t const need = Device::template product_scratch<T, product>(rows, inner, columns);
            most = need > most ? need : most;
        };
        ask(capacity, In, Out);
        ask(capacity, In, Rank);
        ask(capacity, Rank, Out);
        if (has_gain) {
            ask(In, Rank, Rank);
            ask(Rank, Rank, Out);
        }
        return most;
    }

    template <class T> static matrix_view<T const> base(layer_memory<T> const& m) {
        return {m.fixed + base_at.fixed, In, Out, Out};
    }
    template <class T> static matrix_view<T> inner(layer_memory<T> const& m, index_t row_count) {
        return {m.tape_block(tape<T>.inner), row_count, Rank, Rank};
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const&, layer_memory<T> const& m, matrix_view<T const> x,
                        T const* offset, matrix_view<T> z) {
        matrix_view<T> const h = inner(m, x.rows);
        context.device.template product_forward<product>(x, base(m), offset, z);
        context.device.template product_forward<product>(x, left(m), static_cast<T const*>(nullptr), h);
        context.device.template add_product_forward<product>(matrix_view<T const>(h), right(m), z);
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T const> x,
                         matrix_view<T const> dz, matrix_view<T> dx) {
        matrix_view<T> const dh{m.work_block(backward_work<T>.inner), x.rows, Rank, Rank};
        matrix_view<T const> const inner_gradient = dh;
        auto const pull = [&](matrix_view<T const> factor) {
            context.device.template product_input_gradient<product>(dz, factor, dh);
        };
        if constexpr (Want.parameters) {
            matrix_view<T> const da{m.gradients, In, Rank, Rank};
            matrix_view<T> const db{second_memory(m).gradients, Rank, Out, Out};
            context.device.template product_weight_gradient<product>(matrix_view<T const>(inner(m, x.rows)), dz, db);
            if constexpr (has_gain)
                pull(scale(context, n, m, db));
            else
                pull(right(m));
            context.device.template product_weight_gradient<product>(x, inner_gradient, da);
        }
        if constexpr (Want.inputs) {
            // What goes on to the layer before is the gradient of the loss, without gains.
            if constexpr (has_gain || !Want.parameters) pull(right(m));
            context.device.template product_input_gradient<product>(dz, base(m), dx);
            context.device.template add_product_input_gradient<product>(inner_gradient, left(m), dx);
        }
    }

    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        pair::describe(report, path, at);
        report.add_fixed_kernel(path, "kernel", In, Out, at.fixed + base_at.fixed);
    }

    template <class W> static void bake(W const* a, W const* fixed, clock const&, matrix_view<W> kernel) {
        pair::bake_onto(fixed + base_at.fixed, a, Rank, kernel);
    }

private:
    /// Multiplies the columns of db with their gains, and gives B whose columns are multiplied with them.
    template <class Context, class T>
    static matrix_view<T const> scale(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T> db) {
        matrix_view<T> const gram{m.work_block(backward_work<T>.gram), Rank, Rank, Rank};
        matrix_view<T> const scaled{m.work_block(backward_work<T>.scaled), Rank, Out, Out};
        context.device.template product_weight_gradient<product>(left(m), left(m), gram);
        context.device.template product_forward<product>(matrix_view<T const>(gram), right(m),
                                                         static_cast<T const*>(nullptr), scaled);
        context.device.scale_columns(n.gain, right(m), scaled, db);
        return scaled;
    }
};

template <class P> inline constexpr bool fills_with_zeros = std::is_same_v<P, initial::zeros>;
template <auto Value> inline constexpr bool fills_with_zeros<initial::constant<Value>> = Value == 0;

/// The parts of an adapter as `describe` prints them.
template <class Gain> struct adapter_parts { using consists_of = type_list<Gain>; };
template <> struct adapter_parts<no_gain> {};

} // namespace detail

/// y = act(x W + (x A) B + b), LoRA (Hu et al. 2021) without its factor alpha / r. W (in x out, tensor "kernel") is
/// frozen: it has no gradient and no moments, and no pass of a step but the two products that read it. A (in x Rank,
/// "factor_in") and B (Rank x out, "factor_out"), both role::factor, are trained. Training keeps x A.
///
/// W comes from a trained network of the same stack without adapters, or its file: `load_base`. The bias is trained
/// unless a `rate_rule` freezes it. First values: A ~ N(0, 1 / in), or what an initialiser of the layer's list says; B
/// is zero, so that training begins with the outputs of the base. `bake` gives W + A B and `merge_adapters` a network
/// without adapters: inference costs nothing then.
///
/// Gain: `no_gain`, or a policy (weight/adapter_gain.hpp) that gives the factor s_o from the norm of column o of A B:
/// dB = ((x A)^T dy) with columns times s, dA = x^T (dy (B s)^T), and dx as without. It is found from A^T A, without A
/// B being formed.
///
/// Rows times in, out and r = Rank: forward 2 rows (in out + r (in + out)) operations, backward the same for dx and 2
/// rows r (in + out) for the factors; a gain 2 r^2 (in + out) more, and once more dy B^T. The network is of float or
/// double. At run time: data_error where W never was set, before anything is changed.
template <index_t Rank, class Gain = no_gain> struct low_rank_adapter : detail::adapter_parts<Gain> {
    static_assert(
        diagnostic::holds<(std::is_same_v<Gain, no_gain> || adapter_gain<Gain>), diagnostic::given_type<Gain>>,
        "espalier: the second argument of weight::low_rank_adapter is a gain: a policy with `template <class T> "
        "T gain(T norm) const` (weight/adapter_gain.hpp), such as weight::adaptive_gain<2.0>; the next line "
        "names what was given");
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "low_rank_adapter";
    static constexpr role_set tensor_roles = roles(role::factor);
    static constexpr index_t rank = Rank;
    static constexpr auto numbers = fields<&low_rank_adapter::rank>;

    template <index_t In, index_t Out, class... Ps>
    using bind = detail::bound_low_rank_adapter<In, Out, Rank, Gain, Ps...>;

    template <class Where, class Layer, index_t In, index_t Out, class... Ps> static consteval bool check() {
        constexpr index_t most = In < Out ? In : Out;
        constexpr bool fits = Rank >= 1 && Rank <= most;
        static_assert(
            diagnostic::holds<fits, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<low_rank_adapter>,
                              diagnostic::given<Rank>, diagnostic::needed<most>>,
            "espalier: the rank of weight::low_rank_adapter must lie between 1 and the smaller width of its "
            "layer, where a dense kernel is no larger; the next lines name the layer's index, the policy, its "
            "rank and that width; give it another rank, or take the adapter out of this layer");
        using initial_policy = pick<espalier::axis::initial, void, Ps...>;
        constexpr bool moves = !detail::fills_with_zeros<initial_policy>;
        static_assert(
            diagnostic::holds<moves, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<low_rank_adapter>,
                              diagnostic::from_policy<initial_policy>>,
            "espalier: both factors of weight::low_rank_adapter would begin as zeros, where no gradient moves "
            "them; the next lines name the layer's index, the adapter and the initialiser of its first factor; "
            "take that initialiser out of the list");
        return fits && moves;
    }
};

} // namespace espalier::weight
