// SPDX-License-Identifier: Apache-2.0
// Parts that layers are made of: a trained tensor with everything its policies say, and an epilogue.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/activation/identity.hpp>
#include <espalier/activation_penalty/axis.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/nested_groups.hpp>
#include <espalier/core/update.hpp>
#include <espalier/dropout/axis.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/dropout/site.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/he_normal.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/penalty/axis.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/projection/axis.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/prune/behind_map.hpp>
#include <espalier/prune/plan.hpp>
#include <espalier/transform/axis.hpp>
#include <espalier/units/fixed_mask.hpp>
#include <espalier/weight/axis.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/inverse.hpp>
#include <espalier/weight/operator.hpp>

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

namespace espalier {

/// An update that changes no weight: it makes the operand copies, applies masks and gathers the group norms anew, after
/// weights were set from outside. After a step, with that step's rate, it also applies the proxes over groups.
struct no_step {
    double group_rate = 0.0;

    static constexpr int moments = 0;
    static constexpr bool shrinks_groups = true;
    ESPALIER_FN double rate() const { return group_rate; }
    template <class T> ESPALIER_FN T step(T w, T, T*, T, T) const { return w; }
};

namespace detail {

/// A no_step for each op of one that differs by tensor.
template <class Ops> struct no_steps : no_step {
    Ops ops;

    template <class Tensor> constexpr auto const& of() const { return ops.template of<Tensor>(); }
};

/// What follows a step with these numbers where groups are shrunk: at the rate of each tensor's op.
template <class Op> auto after_step(Op const& op) {
    if constexpr (requires { typename Op::choices; }) {
        auto const ops = op.map([](auto const& one) { return no_step{one.rate()}; });
        return no_steps<std::remove_const_t<decltype(ops)>>{{}, ops};
    } else {
        return no_step{op.rate()};
    }
}
/// Its type.
template <class Op> using step_after = decltype(after_step(std::declval<Op const&>()));

/// Whether an update changes weights and what goes with them.
template <class Optimizer> inline constexpr bool steps = !std::derived_from<Optimizer, no_step>;

/// An update that only says which policies prune which tensors.
template <class Optimizer>
concept lists_plans = requires(Optimizer const& o) {
    o.template add<void, weight::identity>();
};

/// Tells a device that keeps a record of what is not finite which layer asks; `stream` is that of the layer's memory.
template <class Context> void watch_layer(Context& context, std::uint32_t stream) {
    if constexpr (requires { context.device.watch_layer(stream); }) context.device.watch_layer(stream);
}
/// Has it look at rows that no verb looks at: the first x.rows rows of each of so many blocks, `apart` rows from one to
/// the next.
template <class Context, class T>
void watch_rows(Context& context, step_place place, matrix_view<T const> x, index_t blocks = 1, index_t apart = 0) {
    if constexpr (Context::behaviour == mode::train && requires { context.device.watch_rows(place, x); })
        context.device.watch_rows(place, x, blocks, apart);
}

/// What stands between raw weights and products: a weight map, a pruning policy, or one behind the other.
template <class Prune, class Weight> struct map_of { using type = prune::behind_map<Prune, Weight>; };
template <class Weight> struct map_of<void, Weight> { using type = Weight; };
template <class Prune> struct map_of<Prune, weight::identity> { using type = Prune; };
template <> struct map_of<void, weight::identity> { using type = weight::identity; };

/// A rule whose map is made of trained numbers of the tensor, and the one of the pass that writes operands once those
/// have moved: the map alone. No class that derives from the rule: with its empty members nvcc 13.0 takes all memory.
template <class Rule, class Map> struct rules_of_scalars {
    Rule step;
    tensor_rule<Map, flat_tuple<>, flat_tuple<>> operands;
};
template <class Rule> Rule const& rule_of_step(Rule const& rule) {
    return rule;
}
template <class Rule, class Map> Rule const& rule_of_step(rules_of_scalars<Rule, Map> const& rules) {
    return rules.step;
}

template <class... Ps> void list_policies(std::vector<policy_info>& out, type_list<Ps...>) {
    (list_policy<Ps>(out), ...);
}

/// Of the penalties of a tensor without a mask those that read none.
template <class List> struct unmasked;
template <class... Ps> struct unmasked<type_list<Ps...>> {
    static constexpr auto kept = [] {
        order<sizeof...(Ps)> result;
        std::size_t index = 0;
        for (bool const reads : {op_needs_mask<op_of<Ps>>()..., true}) {
            if (!reads) result.index[result.count++] = index;
            ++index;
        }
        return result;
    }();
    using type = typename select_types<kept, std::make_index_sequence<kept.count>, Ps...>::type;
};

/// What acts on the weights of a tensor: penalties and, behind them, projections.
template <class Penalties, class Projections> struct acting_of;
template <class... Penalties, class... Projections>
struct acting_of<type_list<Penalties...>, type_list<Projections...>> {
    using type = type_list<Penalties..., projection::detail::in_rule<Projections>...>;
};

/// Which groups of a tensor are the ranks of a product: a word of a layer in the tensor's list of policies.
struct rank_place {
    static constexpr bool stacks = false;
};
template <over Side> struct ranks_are {
    using axis = rank_place;
    static constexpr over side = Side;
};
/// A policy over ranks as it acts on a tensor where they are Side: over::rows, over::columns or, where there are none,
/// over::ranks.
template <class P, over Side> struct along_ranks { using type = P; };
template <class P, over Side>
requires(Side != over::ranks && penalty_groups<op_of<P>>() == group_scope::ranks) struct along_ranks<P, Side> {
    using type = typename P::template along<Side>;
};
template <class List, over Side> struct all_along;
template <class... Ps, over Side> struct all_along<type_list<Ps...>, Side> {
    using type = type_list<typename along_ranks<Ps, Side>::type...>;
    static constexpr bool none_left =
        (true && ... && (penalty_groups<op_of<typename along_ranks<Ps, Side>::type>>() != group_scope::ranks));
};

/// A trained tensor: its rule, its memory, its update. `Ps` are the layer's policies. The extents are values: tensors
/// that differ in them only share every function, which is what keeps deep stacks quick to compile.
template <role Role, class Initial, class... Ps> struct tensor_kind {
    index_t rows = 0;
    index_t columns = 0;

    template <role Of> using tag = tensor_tag<Of, pick<axis::group, no_group, Ps...>>;
    using transforms = all_for<axis::transform, Role, Ps...>;
    using prune_policy = pick_for<axis::prune, Role, void, Ps...>;
    using weight_policy = pick_for<axis::weight, Role, weight::identity, Ps...>;
    using map = typename map_of<prune_policy, weight_policy>::type;
    using mask_rule = std::conditional_t<std::is_void_v<prune_policy>, weight_policy, prune_policy>;
    using penalties =
        typename std::conditional_t<op_of<map>::uses_mask, std::type_identity<all_for<axis::penalty, Role, Ps...>>,
                                    unmasked<all_for<axis::penalty, Role, Ps...>>>::type;
    using along = all_along<typename acting_of<penalties, all_for<axis::projection, Role, Ps...>>::type,
                            pick<rank_place, ranks_are<over::ranks>, Ps...>::side>;
    using acting = typename along::type;
    using rule = tensor_rule<op_of<map>, ops_of<acting>, ops_of<transforms>>;
    /// Trained numbers that the map is made of: tensors of their own behind this one.
    static constexpr int scalars = rule::scalars;
    using rule_numbers = std::conditional_t<(scalars > 0), rules_of_scalars<rule, op_of<map>>, rule>;
    static constexpr need needs = (rule::needs_global_norm ? need::global_norm : need::none) |
                                  (rule::needs_reference ? need::reference : need::none) |
                                  (std::is_void_v<prune_policy> ? need::none : need::pruning);

    static_assert(diagnostic::holds<along::none_left, diagnostic::from_policy<acting>>,
                  "espalier: over::ranks is for the two factors of weight::low_rank and weight::low_rank_adapter; the "
                  "next line names the policies of the tensor; bind that one with on<role::factor, ...>, or name "
                  "over::rows or over::columns");
    static_assert(
        diagnostic::holds<(rule::group_proxes <= 1), diagnostic::from_policy<acting>>,
        "espalier: a tensor carries at most one penalty::proximal or projection over groups, for a second one "
        "would need the norms that the first leaves; take the gradient form of the penalties, and one "
        "projection");

    /// Whether `Asked` matches it or the numbers that its map is made of.
    template <class Asked> static consteval bool has_tensor() {
        return Asked::matches(Role, tag<Role>::view) ||
               (scalars > 0 && Asked::matches(role::scalar, tag<role::scalar>::view));
    }

    static rule_numbers at(clock const& now) {
        if constexpr (scalars > 0)
            return {{op_at<map>(now), ops_at<acting>(now), ops_at<transforms>(now)}, {op_at<map>(now), {}, {}}};
        else
            return {op_at<map>(now), ops_at<acting>(now), ops_at<transforms>(now)};
    }

    constexpr index_t count() const { return rows * columns; }
    /// Where the k-th trained number of the map lies in the parameters' arena, from this tensor's first element.
    constexpr index_t scalar_place(int k) const { return padded(count()) + k * weight::detail::scalar_stride; }
    constexpr footprint size() const {
        footprint f;
        f.parameters = scalar_place(scalars);
        f.mask_words = rule::uses_mask ? round_up((count() + 31) / 32 + 1, 16) : 0;
        f.group_sets = rule::group_sets;
        f.fixed = rule::companions * padded(count());
        f.tensors = 1 + scalars;
        f.terms = rule::penalty_count;
        f.streams = 1;
        f.group_proxes = rule::group_proxes;
        // A map that carries numbers may carry those of the moment.
        f.timed_operands = rule::needs_operand && !std::is_empty_v<op_of<map>> ? 1 : 0;
        return f;
    }

    /// What the products read.
    template <class T> static T const* operand(layer_memory<T> const& m) {
        if constexpr (std::is_same_v<T, master_of<T>> && !rule::needs_operand)
            return m.parameters;
        else
            return m.operands;
    }

    template <class T>
    update_segment<master_of<T>, T> segment(layer_memory<T> const& m, tensor_rates const& rates) const {
        update_segment<master_of<T>, T> s;
        s.rows = rows;
        s.columns = columns;
        s.weights = m.parameters;
        s.gradients = m.gradients;
        s.reference = m.reference;
        s.moments = m.moments;
        s.moment_stride = m.moment_stride;
        if constexpr (rule::companions > 0) {
            s.companions = m.fixed;
            s.companion_stride = padded(count());
        }
        s.operands = m.operands;
        s.mask = m.masks;
        if constexpr (rule::grouped)
            for (int g = 0; g < rule::group_sets; ++g) {
                index_t const groups = groups_of(rule::scope(g), rows, columns);
                s.norms[g] = m.norms + m.group_offset[g] + (rule::nested(g) ? nested_pulls(groups) : 0);
                s.next_norms[g] = m.next_norms + m.group_offset[g];
            }
        s.values = m.terms;
        if constexpr (scalars > 0) {
            s.scalars = m.parameters + scalar_place(0);
            s.scalar_gradients = m.gradients ? m.gradients + scalar_place(0) : nullptr;
        }
        s.rates = rates;
        return s;
    }

    template <class Context, class Optimizer, class T>
    void update(Context& context, Optimizer const& optimizer, rule_numbers const& numbers, layer_memory<T> const& m,
                update_numbers const& given) const {
        static_assert(
            rule::group_sets <= max_group_sets,
            "espalier: a tensor carries at most four penalties and projections over groups; merge some of them");
        if constexpr (!rule::grouped)
            if (given.after_step) return;
        auto s = segment(m, m.rates ? m.rates[0] : tensor_rates{});
        s.site = context.site(m.stream, purpose::gradient);
        if constexpr (!steps<Optimizer>) s.gradients = s.reference = s.weights; // read, never used
        if constexpr (steps<Optimizer>) {
            if constexpr (rule::grouped) group_terms(context, rule_of_step(numbers), m);
            // Frozen weights keep their part of the terms and of the groups' norms, and a map may change with time.
            if (s.rates.frozen) return update(context, no_step{}, numbers, m, given);
        } else if constexpr (rule::group_proxes > 0) {
            if (s.rates.frozen) s.rates.learning_rate = 0.0; // nor are their groups shrunk
        }
        context.device.update(numbers_for<tag<Role>>(optimizer, s.rates), rule_of_step(numbers), s,
                              rule::needs_global_norm ? given.squared_norm : nullptr);
        if constexpr (scalars > 0 && steps<Optimizer>) {
            update_scalars(context, optimizer, m);
            s.gradients = s.reference = s.weights;
            context.device.update(no_step{}, numbers.operands, s, nullptr);
        }
    }

    /// Steps the numbers that the map is made of by the gradients that the update of this tensor has left.
    template <class Context, class Optimizer, class T>
    void update_scalars(Context& context, Optimizer const& optimizer, layer_memory<T> const& m) const {
        for (int k = 0; k < scalars; ++k) {
            index_t const place = scalar_place(k);
            update_segment<master_of<T>, T> s;
            s.rates = m.rates ? m.rates[1 + k] : scalar_rates();
            if (s.rates.frozen) continue;
            s.rows = s.columns = 1;
            s.weights = m.parameters + place;
            s.gradients = m.gradients + place;
            s.moments = m.moments ? m.moments + place : nullptr;
            s.moment_stride = m.moment_stride;
            s.operands = m.operands + place;
            context.device.update(numbers_for<tag<role::scalar>>(optimizer, s.rates),
                                  tensor_rule<weight::identity, flat_tuple<>, flat_tuple<>>{}, s, nullptr);
        }
    }
    /// Before any rule of the program.
    static constexpr tensor_rates scalar_rates() {
        if constexpr (scalars > 0)
            return {.learning_rate = weight_policy::scalar_rate, .decay = 0.0};
        else
            return {};
    }
    /// The gradients of those numbers are the update's to find: before it they are 0.
    template <class Context, class T> void clear_scalar_gradients(Context& context, layer_memory<T> const& m) const {
        if constexpr (scalars > 0)
            context.device.zero(m.gradients + scalar_place(0), scalar_place(scalars) - scalar_place(0));
    }

    template <class Context, lists_plans List, class T>
    void update(Context&, List const& list, rule_numbers const&, layer_memory<T> const&, update_numbers const&) const {
        list.template add<prune_policy, weight_policy>();
    }

    /// Terms of penalties over groups, from the norms before the step, and what nested groups do to their weights.
    /// Groups that several tensors share count once.
    template <class Context, class T>
    void group_terms(Context& context, rule const& numbers, layer_memory<T> const& m) const {
        int index = 0;
        int group = 0;
        auto const one = [&]<class Op>(Op const& penalty) {
            constexpr group_scope scope = penalty_groups<Op>();
            if constexpr (scope != group_scope::element) {
                index_t const groups = groups_of(scope, rows, columns);
                master_of<T>* norms = m.norms + m.group_offset[group];
                if constexpr (op_nests<Op>()) {
                    if (m.group_first[group])
                        context.device.nested_groups(penalty, norms, groups, norms + nested_norms(groups),
                                                     norms + nested_pulls(groups));
                    norms += nested_norms(groups);
                }
                if (m.group_first[group] && m.terms)
                    context.device.group_value(penalty, norms, groups, m.terms + index);
                ++group;
            }
            ++index;
        };
        // not `for_each`: this is host code, and nvcc does not let a host and device function call it
        [&]<std::size_t... At>(std::index_sequence<At...>) {
            (one(get<At>(numbers.penalties)), ...);
        }
        (std::make_index_sequence<static_cast<std::size_t>(rule::penalty_count)>{});
    }

    template <class Context, class T> void initialise(Context& context, layer_memory<T> const& m) const {
        context.device.initialise(
            [](matrix_view<master_of<T>> w, random_site const& site) {
                Initial::template fill<master_of<T>>(w, w.rows, w.columns, site);
            },
            matrix_view<master_of<T>>{m.parameters, rows, columns, columns}, context.site(m.stream, purpose::initial));
        if constexpr (rule::uses_mask) context.device.fill_mask(m.masks, count());
        if constexpr (scalars > 0)
            for (int k = 0; k < scalars; ++k)
                context.device.initialise(
                    [k](matrix_view<master_of<T>> number, random_site const&) {
                        *number.data = static_cast<master_of<T>>(op_at<weight_policy>(clock{}).start()[k]);
                    },
                    matrix_view<master_of<T>>{m.parameters + scalar_place(k), 1, 1, 1}, random_site{});
    }

    void describe(layer_report& report, std::string const& path, footprint const& at, std::string_view name) const {
        describe_acting(report, path, name, acting{});
        report.add_tensor(
            path, name, at,
            {.group = pick<axis::group, no_group, Ps...>::name,
             .tensor_role = Role,
             .rows = rows,
             .columns = columns,
             .masked = rule::uses_mask,
             .held = rule::uses_mask && !op_of<mask_rule>::needs_operand && !op_only_marks<op_of<mask_rule>>(),
             .masks = prune::plan_of<prune_policy, weight_policy>,
             .passes = 1 + extra_passes<rule>(),
             .grouped = rule::grouped,
             .mapped = rule::needs_operand,
             .inverse = weight::inverse_of<weight_policy>});
        // Those of the map, which come first, are tensors of the layer.
        if constexpr (rule::companions > 0)
            for (int k = 0; k < rule::companions; ++k) {
                index_t const place = at.fixed + k * padded(count());
                if (k < op_companions<op_of<map>>())
                    report.add_fixed_kernel(path, rule::companion_table.names[k], rows, columns, place);
                else
                    report.add_companion(rule::companion_table.names[k], place);
            }
        if constexpr (scalars > 0)
            for (int k = 0; k < scalars; ++k)
                report.add_scalar(op_of<weight_policy>::scalar_names[k], at.parameters + scalar_place(k),
                                  scalar_rates());
    }

private:
    template <class... Acting>
    void describe_acting([[maybe_unused]] layer_report& report, [[maybe_unused]] std::string const& path,
                         [[maybe_unused]] std::string_view name, type_list<Acting...>) const {
        (describe_one<Acting>(report, path, name), ...);
    }
    template <class P>
    void describe_one(layer_report& report, [[maybe_unused]] std::string const& path,
                      [[maybe_unused]] std::string_view name) const {
        if constexpr (!op_projects<op_of<P>>()) report.add_term(path, ".", name, ".", name_of<P>());
        constexpr group_scope scope = penalty_groups<op_of<P>>();
        if constexpr (scope != group_scope::element) {
            index_t const groups = groups_of(scope, rows, columns);
            std::string name_of_groups;
            if constexpr (requires { P::group_name; }) name_of_groups = P::group_name.str();
            report.add_groups(name_of_groups, groups, waits_for_norms<op_of<P>>(), op_nests<op_of<P>>());
        }
    }
};

/// Products with one matrix: the tensor `Part`, or what its map makes of it.
template <class Part, class Product> struct matrix_product {
    using part = Part;
    using product = Product;
    using numbers = typename part::rule_numbers;
    static constexpr need needs = part::needs;
    template <class Asked> static consteval bool has_tensor() { return part::template has_tensor<Asked>(); }

    part tensor;

    constexpr index_t parameters() const { return tensor.count() + part::scalars; }
    constexpr double flops() const { return 2.0 * static_cast<double>(tensor.count()); }

    static numbers at(clock const& now) { return part::at(now); }
    template <class T> constexpr footprint size() const { return tensor.size(); }
    template <class T> static constexpr extent work() { return {}; }
    template <class Device, class T> std::size_t scratch(index_t capacity) const {
        return Device::template product_scratch<T, product>(capacity, tensor.rows, tensor.columns);
    }
    template <class T> matrix_view<T const> weights(layer_memory<T> const& m) const {
        return {part::operand(m), tensor.rows, tensor.columns, tensor.columns};
    }

    template <class Context, class T>
    void forward(Context& context, numbers const&, layer_memory<T> const& m, matrix_view<T const> x,
                 master_of<T> const* offset, matrix_view<T> z) const {
        context.device.template product_forward<product>(x, weights(m), offset, z);
    }
    template <differentiate Want, class Context, class T>
    void backward(Context& context, numbers const&, layer_memory<T> const& m, matrix_view<T const> x,
                  matrix_view<T const> dz, matrix_view<T> dx) const {
        if constexpr (Want.parameters) {
            context.device.template product_weight_gradient<product>(
                x, dz, matrix_view<master_of<T>>{m.gradients, tensor.rows, tensor.columns, tensor.columns});
            tensor.clear_scalar_gradients(context, m);
        }
        if constexpr (Want.inputs) context.device.template product_input_gradient<product>(dz, weights(m), dx);
    }
    template <class Context, class Optimizer, class T>
    void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                update_numbers const& given) const {
        tensor.update(context, optimizer, n, m, given);
    }
    template <class Context, class T> void initialise(Context& context, layer_memory<T> const& m) const {
        tensor.initialise(context, m);
    }
};

/// What stands in front of a dense layer's epilogue when no operator does.
template <class... Ps>
struct matrix_kernel : matrix_product<tensor_kind<role::kernel, pick<axis::initial, initial::he_normal, Ps...>, Ps...>,
                                      pick<axis::product, void, Ps...>> {
    void describe(layer_report& report, std::string const& path, footprint const& at) const {
        this->tensor.describe(report, path, at, "kernel");
    }
};

/// The same for a weight operator, which brings everything but what a dense layer need not know about it.
template <index_t In, index_t Out, class Bound> struct operator_kernel : Bound {
    static constexpr index_t parameters() { return Bound::parameters; }
    static constexpr double flops() { return Bound::flops; }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.operators.push_back(
            {path, In, Out, at.parameters, at.fixed, &Bound::template bake<float>, &Bound::template bake<double>});
        if constexpr (requires { Bound::ranks; }) report.operators.back().rank = Bound::ranks;
        Bound::describe(report, path, at);
    }
};

template <index_t In, index_t Out, class... Ps> consteval auto choose_kernel() {
    using weight_policy = pick_for<axis::weight, role::kernel, weight::identity, Ps...>;
    if constexpr (weight::weight_operator<weight_policy>)
        return operator_kernel<In, Out, typename weight_policy::template bind<In, Out, Ps...>>{};
    else
        return matrix_kernel<Ps...>{{{In, Out}}};
}

/// What follows a layer's product: activation, dropout, a mask of units, activation penalties. Over rows of any width,
/// but for row-wise activations: their loops are made for `RowWidth` columns, which is 0 without one.
template <index_t RowWidth, class... Ps> struct epilogue_kind {
    index_t width = 0;

    using activation_policy = pick<axis::activation, activation::identity, Ps...>;
    using dropout_policy = pick<axis::dropout, dropout::none, Ps...>;
    using penalty_policies = all_on<axis::activation_penalty, Ps...>;
    using activation_op = op_of<activation_policy>;

    static constexpr bool row_form = activation::row_form<activation_op>;
    static constexpr bool masks_units = pick<axis::units, units::all, Ps...>::masks_units;

    /// Where the dropout draws.
    template <class Context, class T> static random_site site(Context const& context, layer_memory<T> const& m) {
        return dropout_site<dropout_policy>(context.seed, m.stream, context.step, context.pass);
    }

    template <class Dropout, class List> struct compose;
    template <class Dropout, class... Penalties> struct compose<Dropout, flat_tuple<Penalties...>> {
        using plain =
            epilogue_op<std::conditional_t<row_form, activation::identity, activation_op>, Dropout, Penalties...>;
        using type = std::conditional_t<masks_units, masked_epilogue<plain>, plain>;
    };
    using train_op = typename compose<op_of<dropout_policy>, ops_of<penalty_policies>>::type;
    using evaluate_op = typename compose<dropout::none, flat_tuple<>>::type;

    template <class Op>
    static constexpr bool trivial = std::is_same_v<Op, epilogue_op<activation::identity, dropout::none>>;
    static constexpr need needs = train_op::needs_tags ? need::tags : need::none;
    /// Whether an element-wise pass follows the product: otherwise the product's result is the output.
    template <mode Mode>
    static constexpr bool pass_follows =
        !row_form && !trivial<std::conditional_t<Mode == mode::train, train_op, evaluate_op>>;

    train_op at(clock const& now) const {
        train_op op;
        if constexpr (!row_form) op.activation = op_at<activation_policy>(now);
        op.dropout = op_at<dropout_policy>(now);
        if constexpr (train_op::scope == random_scope::segment)
            dropout::check_segment(name_of<dropout_policy>(), op.dropout.segment, width, now.step);
        op.penalties = ops_at<penalty_policies>(now);
        return op;
    }

    template <class T> struct tape_blocks : block_list {
        epilogue_kind its;
        constexpr explicit tape_blocks(epilogue_kind const& of, bool keeps_input = true)
            : its(of), input(*this, keeps_input ? of.width : 0) {}
        memory_block<master_of<T>> sums{*this, its.sums_size(), single_row}; ///< of the columns, for penalties
        memory_block<T> input; ///< of the epilogue, unless somebody else keeps it
    };

    template <class T, bool KeepsInput = true> constexpr footprint size() const {
        footprint f;
        if (pass_follows<mode::train>) f.tape = tape_blocks<T>(*this, KeepsInput).end;
        f.state = masks_units ? padded(width) : 0;
        f.terms = f.row_terms = train_op::penalty_count;
        f.streams = 1;
        return f;
    }
    constexpr index_t sums_stride() const { return padded(width); }
    constexpr index_t sums_size() const { return train_op::column_penalties * sums_stride(); }

    /// Where the product should leave its result: the output itself when no pass follows.
    template <mode Mode, class T> matrix_view<T> before(layer_memory<T> const& m, matrix_view<T> y) const {
        if constexpr (pass_follows<Mode>)
            return {m.tape_block(tape_blocks<T>(*this).input), y.rows, width, width};
        else
            return y;
    }

    template <class T> static master_of<T> const* mask(layer_memory<T> const& m) {
        return masks_units ? m.state : nullptr;
    }
    template <class T> epilogue_statistics<master_of<T>> statistics(layer_memory<T> const& m) const {
        return {m.terms, m.tape_block(tape_blocks<T>(*this).sums), sums_stride(), mask(m)};
    }
    /// Those of a pass that is no training: the mask alone.
    template <class T> static epilogue_statistics<master_of<T>> mask_alone(layer_memory<T> const& m) {
        epilogue_statistics<master_of<T>> statistics;
        statistics.units = mask(m);
        return statistics;
    }
    static evaluate_op evaluated(train_op const& op) {
        evaluate_op its;
        its.activation = op.activation;
        return its;
    }

    template <class Context, class T>
    void forward(Context& context, train_op const& op, layer_memory<T> const& m, rows const& batch,
                 matrix_view<T const> z, matrix_view<T> y) const {
        watch_layer(context, m.stream);
        if constexpr (row_form)
            context.device.template row_forward<activation_op, RowWidth>(y);
        else if constexpr (!pass_follows<Context::behaviour>)
            return;
        else if constexpr (Context::behaviour != mode::train)
            context.device.epilogue_forward(evaluated(op), z, y, random_site{}, batch, mask_alone(m));
        else {
            if constexpr (Context::device_type::host_memory && requires { op.dropout.require_rows(batch); })
                op.dropout.require_rows(batch);
            context.device.epilogue_forward(op, z, y, site(context, m), batch, statistics(m));
        }
    }

    /// Overwrites dy with the gradient of the epilogue's input z and leaves its column sums in `bias_gradient`.
    template <class Context, class T>
    void backward(Context& context, train_op const& op, layer_memory<T> const& m, rows const& batch,
                  matrix_view<T const> z, matrix_view<T const> y, matrix_view<T> dy,
                  master_of<T>* bias_gradient) const {
        matrix_view<T const> const upstream = dy;
        watch_layer(context, m.stream);
        if constexpr (row_form) context.device.template row_backward<activation_op, RowWidth>(y, dy);
        if constexpr (!pass_follows<Context::behaviour>) {
            if (bias_gradient) context.device.column_sums(upstream, bias_gradient);
        } else {
            if constexpr (Context::behaviour != mode::train)
                context.device.epilogue_backward(evaluated(op), z, upstream, dy, bias_gradient, random_site{}, batch,
                                                 mask_alone(m));
            else
                context.device.epilogue_backward(op, z, upstream, dy, bias_gradient, site(context, m), batch,
                                                 statistics(m));
        }
    }

    template <class Context, class T> void initialise(Context& context, layer_memory<T> const& m) const {
        if constexpr (masks_units)
            context.device.initialise(
                [](matrix_view<master_of<T>> units, random_site const&) {
                    for (index_t c = 0; c < units.columns; ++c)
                        units(0, c) = master_of<T>(1);
                },
                matrix_view<master_of<T>>{m.state, 1, width, width}, random_site{});
    }

    void describe(layer_report& report, std::string const& path, footprint const& at) const {
        if constexpr (masks_units) report.add_units(path, width, at.state);
        describe_terms(report, path, penalty_policies{});
    }

    static void list(std::vector<policy_info>& out) {
        list_policy<activation_policy>(out);
        if constexpr (!std::is_same_v<dropout_policy, dropout::none>) list_policy<dropout_policy>(out);
        if constexpr (masks_units) list_policy<units::fixed_mask>(out);
        list_policies(out, penalty_policies{});
    }

private:
    template <class... Penalties>
    static void describe_terms(layer_report& report, std::string const& path, type_list<Penalties...>) {
        (report.add_term(path, ".output.", name_of<Penalties>()), ...);
    }
};

/// The epilogue of a layer of that width.
template <index_t Width, class... Ps> consteval auto choose_epilogue() {
    constexpr bool by_rows = activation::row_form<op_of<pick<axis::activation, activation::identity, Ps...>>>;
    return epilogue_kind < by_rows ? Width : 0, Ps... > {Width};
}

} // namespace detail
} // namespace espalier
