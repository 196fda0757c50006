// SPDX-License-Identifier: Apache-2.0
// host only. A kernel that is the product of two thin matrices, with a rank that may change at every step.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/context.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/operator.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

namespace espalier::weight {

namespace detail {

/// N(0, Gain / fan_in).
template <int Gain> struct factor_initial {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "factor";
    template <class T> static void fill(matrix_view<T> w, index_t fan_in, index_t, random_site const& site) {
        initial::detail::require_fan(fan_in, "fan_in", name);
        initial::detail::normal_numbers(w, std::sqrt(double(Gain) / static_cast<double>(fan_in)), site);
    }
};

/// Two thin factors, In x Rank and Rank x Out, of which the first `rank` columns and rows may be used alone.
template <class First, class Second, index_t In, index_t Out, index_t Rank> struct factor_pair {
    static constexpr First first{In, Rank};
    static constexpr Second second{Rank, Out};
    static constexpr footprint second_at = first.size();
    static constexpr need needs = First::needs | Second::needs;

    template <class T> static layer_memory<T> second_memory(layer_memory<T> const& m) { return m.child(second_at, {}); }
    template <class T> static matrix_view<T const> left(layer_memory<T> const& m, index_t rank = Rank) {
        return {first.operand(m), In, rank, Rank};
    }
    template <class T> static matrix_view<T const> right(layer_memory<T> const& m, index_t rank = Rank) {
        return {second.operand(second_memory(m)), rank, Out, Out};
    }

    template <class Asked> static consteval bool has_tensor() {
        return first.template has_tensor<Asked>() || second.template has_tensor<Asked>();
    }
    template <class Context, class Optimizer, class Numbers, class T>
    static void update(Context& context, Optimizer const& optimizer, Numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        first.update(context, optimizer, n.first_rule, m, given);
        second.update(context, optimizer, n.second_rule, second_memory(m), given);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        first.initialise(context, m);
        second.initialise(context, second_memory(m));
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        first.describe(report, path, at, "factor_in");
        second.describe(report, path, at + second_at, "factor_out");
    }

    /// kernel = `base`, which may be null, plus the product of the factors at `u`, summed in double.
    template <class W> static void bake_onto(W const* base, W const* u, index_t rank, matrix_view<W> kernel) {
        W const* const v = u + second_at.parameters;
        for (index_t i = 0; i < In; ++i)
            for (index_t o = 0; o < Out; ++o) {
                double sum = base ? static_cast<double>(base[i * Out + o]) : 0.0;
                for (index_t r = 0; r < rank; ++r)
                    sum += static_cast<double>(u[i * Rank + r]) * static_cast<double>(v[r * Out + o]);
                kernel(i, o) = static_cast<W>(sum);
            }
    }
};

// Without an initialiser in the list: x U has the variance of x, and U V that of initial::he_normal.
template <class Initial, over Ranks, class... Ps>
using factor = espalier::detail::tensor_kind<role::factor, pick<axis::initial, Initial, Ps...>,
                                             espalier::detail::ranks_are<Ranks>, Ps...>;
template <class... Ps> using first_factor = factor<factor_initial<1>, over::columns, Ps...>;
template <class... Ps> using second_factor = factor<factor_initial<2>, over::rows, Ps...>;

template <index_t In, index_t Out, index_t MaxRank, class Policy, class... Ps>
struct bound_low_rank : factor_pair<first_factor<Ps...>, second_factor<Ps...>, In, Out, MaxRank> {
    using pair = factor_pair<first_factor<Ps...>, second_factor<Ps...>, In, Out, MaxRank>;
    using pair::first, pair::second, pair::second_memory, pair::left, pair::right;
    using product = pick<axis::product, void, Ps...>;

    static constexpr index_t parameters = (In + Out) * MaxRank;
    static constexpr double flops = 2.0 * static_cast<double>(parameters); // at the full rank

    struct numbers {
        index_t rank;
        typename decltype(first)::rule first_rule;
        typename decltype(second)::rule second_rule;
    };
    static numbers at(clock const& now) { return {Policy::rank(now), first.at(now), second.at(now)}; }

    /// Tape: x U_r, rows of MaxRank elements of which the first r are used. Work: its gradient.
    template <class T> struct inner_blocks : block_list {
        constexpr inner_blocks() {}
        memory_block<T> inner{*this, MaxRank};
    };
    template <class T> static constexpr inner_blocks<T> blocks{};

    template <class T> static constexpr footprint size() {
        footprint f = first.size() + second.size();
        f.tape = blocks<T>.end;
        return f;
    }
    template <class T> static constexpr extent work() { return blocks<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        // Packing space is not monotone in the extents, so every rank is asked for.
        std::size_t most = 0;
        for (index_t r = 1; r <= MaxRank; ++r)
            for (std::size_t const need : {Device::template product_scratch<T, product>(capacity, In, r),
                                           Device::template product_scratch<T, product>(capacity, r, Out)})
                most = need > most ? need : most;
        return most;
    }

    template <class T> static matrix_view<T> inner(layer_memory<T> const& m, index_t row_count, index_t rank) {
        return {m.tape_block(blocks<T>.inner), row_count, rank, MaxRank};
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T const> x,
                        master_of<T> const* offset, matrix_view<T> z) {
        if (n.rank == 0) {
            if (offset)
                context.device.repeat_rows(offset, z);
            else
                context.device.clear(z);
            return;
        }
        matrix_view<T> const h = inner(m, x.rows, n.rank);
        context.device.template product_forward<product>(x, left(m, n.rank), static_cast<master_of<T> const*>(nullptr),
                                                         h);
        context.device.template product_forward<product>(matrix_view<T const>(h), right(m, n.rank), offset, z);
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, matrix_view<T const> x,
                         matrix_view<T const> dz, matrix_view<T> dx) {
        using W = master_of<T>;
        [[maybe_unused]] matrix_view<W> const du{m.gradients, In, MaxRank, MaxRank};
        [[maybe_unused]] matrix_view<W> const dv{second_memory(m).gradients, MaxRank, Out, Out};
        if (Want.parameters && n.rank < MaxRank) {
            context.device.zero(du.data, In * MaxRank);
            context.device.zero(dv.row(n.rank), (MaxRank - n.rank) * Out);
        }
        if (n.rank == 0) {
            if constexpr (Want.inputs) context.device.clear(dx);
            return;
        }
        matrix_view<T const> const h = inner(m, x.rows, n.rank);
        matrix_view<T> const dh{m.work_block(blocks<T>.inner), x.rows, n.rank, MaxRank};
        context.device.template product_input_gradient<product>(dz, right(m, n.rank), dh);
        if constexpr (Want.parameters) {
            context.device.template product_weight_gradient<product>(x, matrix_view<T const>(dh),
                                                                     du.middle_columns(0, n.rank));
            context.device.template product_weight_gradient<product>(h, dz, dv.middle_rows(0, n.rank));
        }
        if constexpr (Want.inputs)
            context.device.template product_input_gradient<product>(matrix_view<T const>(dh), left(m, n.rank), dx);
    }

    template <class W> static void bake(W const* u, W const*, clock const& now, matrix_view<W> kernel) {
        pair::bake_onto(static_cast<W const*>(nullptr), u, Policy::rank(now), kernel);
    }
    static constexpr rank_info ranks{MaxRank, &Policy::rank, Policy::rank_name};
};

/// Whether `x` may give ranks as far as that is known while compiling.
template <schedule::number_or_schedule X> consteval bool is_rank(X const& x, double most) {
    if (schedule::problem(x)) return false;
    schedule::bounds const range = schedule::range_of(x);
    return (!schedule::finite(range.low) || range.low >= 0.0) && (!schedule::finite(range.high) || range.high <= most);
}

/// The run-time value that a rank is; none for other schedules.
template <class X> constexpr short_name name_of_rank(X const&) {
    return {};
}
constexpr short_name name_of_rank(schedule::runtime const& value) {
    return value.name;
}

} // namespace detail

/// y = act(x U_r V_r + b): the kernel is U (in x MaxRank, tensor "factor_in") times V (MaxRank x out, "factor_out"),
/// both role::factor, of which the first r columns and rows take part. r is Rank rounded to the nearest integer: a
/// number or a schedule with values in [0, MaxRank], evaluated once a step, so `schedule::runtime` changes it while
/// training; nothing is allocated. With r = 0 the layer is act(b), and no product is made. What does not take part has
/// gradients of exactly 0; penalties, decay and momentum still act on it. Training keeps x U_r. The rank decides
/// extents of products, so a captured graph keeps the rank it was captured with. With `schedule::runtime` the rank is a
/// number of the network, saved with it: weight/ranks.hpp sets it, cuts it by importance and draws smaller ones for
/// single steps.
///
/// First values: U ~ N(0, 1 / in), V ~ N(0, 2 / MaxRank), so that x U has the variance of x and U V at the full rank
/// that of initial::he_normal, 2 / in (r / MaxRank of it at rank r). An initialiser in the layer's list fills each
/// factor as a matrix of its own instead. Cost: 2 rows (in + out) r operations forward, twice that backward.
/// A layer with it has no kernel: prune policies and masks are for the factors, with on<role::factor, ...>; others are
/// refused where they are written, and ignored where they are inherited. `predict` and `bake` take a clock to know the
/// rank. At run time: data_error for a rank outside [0, MaxRank], before anything is changed.
template <index_t MaxRank, schedule::number_or_schedule auto Rank = MaxRank> struct low_rank {
    static_assert(diagnostic::holds<(MaxRank >= 1), diagnostic::given<MaxRank>, diagnostic::needed<1>>,
                  "espalier: the largest rank of weight::low_rank must be at least 1");
    static_assert(diagnostic::holds<detail::is_rank(Rank, double(MaxRank)), diagnostic::from_policy<low_rank>,
                                    diagnostic::given<Rank>>,
                  "espalier: the rank of weight::low_rank must lie between 0 and its largest rank");
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "low_rank";
    static constexpr role_set tensor_roles = roles(role::factor);

    template <index_t In, index_t Out, class... Ps>
    using bind = detail::bound_low_rank<In, Out, MaxRank, low_rank, Ps...>;

    static index_t rank(clock const& now) {
        double const value = schedule::value_at(Rank, now);
        if (!(value >= 0.0 && value <= static_cast<double>(MaxRank)))
            espalier::detail::throw_data_error("weight low_rank: its rank is ", value, " at step ", now.step,
                                               ", needed is a number between 0 and ", MaxRank);
        // As a share of the whole, because that is what the rounding of a schedule's value is small against.
        return round_of_product(value / static_cast<double>(MaxRank), MaxRank);
    }
    static constexpr auto numbers = fields<&low_rank::rank>;
    static constexpr short_name rank_name = detail::name_of_rank(Rank);
};

} // namespace espalier::weight
