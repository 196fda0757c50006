// SPDX-License-Identifier: Apache-2.0
// What kernels/instances.inc lists, and a few more, by the loops of the CPU on small inputs; with 16-bit storage, which
// they do not have, by the bodies of the kernels on emulated blocks. The outputs are compared with a committed table.
//
// Bounds: what a compiler may do differently for two instruction sets is to round a product before it is added or not
// (baseline: there is no fused multiply-add), once for every such addition, and to choose other lanes for a sum. Where
// neither is possible the outputs are equal bit for bit.
#include <isa/parts.hpp>
#include <isa/table.hpp>

#include <unit/kernels/launches.hpp>
#include <unit/kernels/update_tensor.hpp>

#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/device/cpu/batch_norm.hpp>
#include <espalier/device/cpu/dispatch.hpp>
#include <espalier/device/cpu/epilogue.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/device/cpu/row_map.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/kernels/epilogue.hpp>
#include <espalier/kernels/row_gate.hpp>
#include <espalier/kernels/row_loss.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/loss/all.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/product/direct.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace isa {

namespace {

namespace k = espalier::kernels;
using espalier::flat_tuple, espalier::index_t, espalier::master_of, espalier::matrix_view, espalier::tensor_rule;
using kernel_tests::narrow, kernel_tests::numbers, kernel_tests::padded_matrix;
using bfloat16 = narrow; // the storage type of the bodies' tests

// ---- bounds

constexpr bound exact{0, false, "no sum of products and no sum over lanes: the same bits everywhere"};
/// Results that the instruction sets round differently `steps` times, each by one unit of the largest number.
constexpr bound rounded(double steps, char const* reason) {
    return {steps, true, reason};
}
/// A function of core/math.hpp within `units` of the true value on either side.
constexpr bound function(double units, char const* reason) {
    return {2 * units + 1, false, reason};
}

// ---- values of ops

constexpr espalier::random_site site{espalier::make_site(7, 3, 11, 1)};
constexpr espalier::dropout::bernoulli_op third{21845, 65536.0 / (65536.0 - 21845.0)};

template <class Op> Op op_value() {
    using espalier::optimizer::momentum_kind, espalier::optimizer::sgd_op;
    if constexpr (std::is_same_v<Op, espalier::dropout::bernoulli_op>)
        return third;
    else if constexpr (std::is_same_v<Op, sgd_op<momentum_kind::none>>)
        return {0.05, 0.0, 0.01};
    else if constexpr (std::is_same_v<Op, sgd_op<momentum_kind::heavy_ball>>)
        return {0.05, 0.9, 0.01};
    else if constexpr (std::is_same_v<Op, espalier::optimizer::adam_op> ||
                       std::is_same_v<Op, espalier::optimizer::adamw_op>)
        return Op{{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3}};
    else if constexpr (std::is_same_v<Op, espalier::penalty::l1_op> || std::is_same_v<Op, espalier::penalty::l2_op>)
        return {0.01};
    else
        return Op{};
}

// ---- the outputs

table out;

template <class T> std::vector<float> wide(std::vector<T> const& from) {
    std::vector<float> to;
    for (T const& v : from)
        to.push_back(static_cast<float>(v));
    return to;
}

auto const launch = [](auto const& body) {
    espalier::emulated_launch<32>(2, [&](auto& group) { body(group); }, {.order_seed = 1});
};

template <class T, class Op>
void epilogue(std::string const& name, Op const& op, bound forward, bound backward, bound sums) {
    constexpr index_t n = 9, columns = 37;
    padded_matrix<T> const z(n, columns, 3, 1), dy(n, columns, 3, 2);
    padded_matrix<T> y = z, dz = dy;
    espalier::rows batch;
    batch.count = n;
    batch.first = 40;
    if constexpr (std::is_same_v<T, narrow>) {
        launch([&](auto const& group) { k::epilogue_forward(group, op, z.view(), y.view(), site, batch); });
        matrix_view<T const> const upstream = dz.view();
        launch([&](auto const& group) {
            k::epilogue_backward(group, op, z.view(), upstream, dz.view(), site, batch,
                                 espalier::epilogue_statistics<float>{}, static_cast<float*>(nullptr),
                                 {0, static_cast<std::int32_t>(n), 0});
        });
    } else {
        std::vector<T> column_sums(static_cast<std::size_t>((Op::column_penalties + 1) * columns)),
            bias(static_cast<std::size_t>(columns));
        std::vector<double> terms(Op::penalty_count + 1);
        espalier::epilogue_statistics<T> const statistics{terms.data(), column_sums.data(), columns};
        espalier::cpu::epilogue_forward(op, z.view(), y.view(), site, batch, statistics);
        espalier::cpu::epilogue_backward(op, z.view(), matrix_view<T const>(dz.view()), dz.view(), bias.data(), site,
                                         batch, statistics);
        out.add(name + ".bias", sums, bias);
        if constexpr (Op::has_penalties) out.add(name + ".terms", rounded(8, "sums of floats"), wide(terms));
    }
    out.add(name + ".forward", forward, wide(y.data));
    out.add(name + ".backward", backward, wide(dz.data));
}

template <class W, class N, class Optimizer, class Rule>
void update(std::string const& name, Optimizer const& optimizer, Rule const& rule) {
    constexpr bound steps = rounded(4, "a few sums of products for every weight");
    kernel_tests::tensor<W, N> t(5, 43);
    if constexpr (std::is_same_v<W, N>)
        espalier::cpu::update(optimizer, rule, t.segment());
    else
        kernel_tests::run_update(launch, optimizer, rule, t);
    out.add(name + ".weights", steps, t.weights);
    if (Optimizer::moments > 0) out.add(name + ".moments", steps, t.moments);
    if (Rule::needs_operand || !std::is_same_v<W, N>)
        out.add(name + ".operands", std::is_same_v<W, N> ? steps : rounded(65536, "one unit of the narrow type"),
                wide(t.operands));
    if (Rule::penalty_count > 0) out.add(name + ".values", rounded(8, "sums of floats"), wide(t.values));
    if (Rule::grouped) out.add(name + ".norms", rounded(8, "sums of squares over the lanes of a row"), t.next[0]);
}

template <int N> void softmax(std::string const& name) {
    constexpr index_t n = 9;
    padded_matrix<float> const x(n, N, 3, 1);
    padded_matrix<float> y = x, dy(n, N, 3, 2);
    espalier::cpu::row_forward<float, N, espalier::activation::softmax>(x.view(), y.view());
    espalier::cpu::row_backward<float, N, espalier::activation::softmax>(matrix_view<float const>(y.view()), dy.view());
    constexpr bound sums = rounded(12, "exp on either side, and a sum over the row");
    out.add(name + ".forward", sums, y.data);
    out.add(name + ".backward", sums, dy.data);
}

template <class T, int N, class Loss> void loss(std::string const& name, Loss const& given) {
    constexpr index_t n = 21;
    padded_matrix<T> const z(n, N, 3, 4);
    padded_matrix<T> gradient(n, N, 1, 50);
    std::vector<std::int32_t> label;
    std::vector<std::int64_t> sample;
    std::vector<float> weight;
    for (index_t i = 0; i < n; ++i) {
        label.push_back(i % 5 == 3 ? -1 : static_cast<std::int32_t>(i * 7 % N));
        sample.push_back(i);
        weight.push_back(0.5f + static_cast<float>(i % 3));
    }
    espalier::rows batch;
    batch.count = n;
    batch.label = label.data();
    batch.sample = sample.data();
    batch.weight = weight.data();
    std::vector<float> dense;
    if (espalier::loss::needs_dense_target<Loss>)
        for (float v : numbers<float>(n * N, 7))
            dense.push_back(v * v * 0.25f);
    std::vector<float> state(static_cast<std::size_t>(n * N), 0.25f / N), row_values(static_cast<std::size_t>(n));
    std::vector<double> total;
    if constexpr (std::is_same_v<T, narrow>) {
        k::row_loss_arguments<T> a;
        a.z = z.view();
        a.batch = batch;
        a.gradient = gradient.view();
        a.row_values = {row_values.data(), n};
        k::row_loss_result result{};
        k::error_word error{};
        std::vector<double> weighted(static_cast<std::size_t>(n));
        auto const single = [](auto const& body) {
            espalier::emulated_launch<32>(1, [&](auto& block) { body(block); }, {.order_seed = 1});
        };
        single([&](auto const& block) { k::count_rows<Loss>(block, batch, N, false, 0, 0.0, &result, &error); });
        launch([&](auto const& block) { k::row_loss<N>(block, given, a, &result, weighted.data(), &error); });
        single([&](auto const& block) { k::finish_loss(block, weighted.data(), n, &result); });
        total = {result.value, result.sum};
    } else {
        espalier::cpu::loss_buffers<T> buffers;
        if (!dense.empty()) buffers.dense_targets = {dense.data(), n, N, N};
        buffers.gradient = gradient.view();
        if (espalier::loss::per_sample_state<Loss>) buffers.state = {state.data(), n, N, N};
        buffers.row_values = {row_values.data(), n};
        auto const result = espalier::cpu::row_loss<T, N>(given, z.view(), batch, buffers);
        total = {result.value, result.sum};
        if (espalier::loss::per_sample_state<Loss>)
            out.add(name + ".state", rounded(8, "probabilities of a row"), state);
    }
    bool const narrow_numbers = std::is_same_v<T, narrow>;
    out.add(name + ".gradient",
            narrow_numbers ? rounded(65536, "one unit of the narrow type") : rounded(12, "exp, and a sum over the row"),
            wide(gradient.data));
    out.add(name + ".rows", rounded(12, "exp and log, and a sum over the row"), row_values);
    out.add(name + ".total", rounded(8, "sums of floats"), wide(total));
}

template <class T, class Gate> void gate(std::string const& name) {
    constexpr index_t n = 21;
    constexpr int slots = Gate::slots, columns = Gate::logits;
    using W = master_of<T>;
    auto const logits = numbers<T>(n * columns, 13);
    auto const dweight = numbers<W>(n * slots, 12);
    std::vector<W> weights(static_cast<std::size_t>(n * slots));
    std::vector<std::int32_t> experts(weights.size(), -1);
    std::vector<T> gradient(logits.size());
    matrix_view<T const> const z{logits.data(), n, columns, columns};
    matrix_view<W> const weight{weights.data(), n, slots, slots};
    matrix_view<std::int32_t> const expert{Gate::slot_is_expert ? nullptr : experts.data(), n, slots, slots};
    matrix_view<W const> const upstream{dweight.data(), n, slots, slots};
    matrix_view<T> const dz{gradient.data(), n, columns, columns};
    auto const op = espalier::op_at<Gate>(espalier::clock{});
    if constexpr (std::is_same_v<T, narrow>) {
        std::vector<double> terms(static_cast<std::size_t>(n));
        launch([&](auto const& block) { k::row_gate_forward<Gate>(block, op, z, weight, expert, terms.data()); });
        launch([&](auto const& block) {
            k::row_gate_backward<Gate>(block, op, z, matrix_view<W const>(weight),
                                       matrix_view<std::int32_t const>(expert), upstream, dz);
        });
    } else {
        espalier::cpu::route<T, Gate>(op, z, weight, expert, espalier::gate_run{});
        espalier::cpu::route_backward<T, Gate>(op, z, matrix_view<W const>(weight),
                                               matrix_view<std::int32_t const>(expert), upstream, dz);
    }
    bool const narrow_numbers = std::is_same_v<T, narrow>;
    out.add(name + ".weights", rounded(16, "exp or a product of smooth steps, and a sum over the row"), weights);
    out.add(name + ".gradient",
            narrow_numbers ? rounded(65536, "one unit of the narrow type")
                           : rounded(16, "the same, and differences of such sums"),
            wide(gradient));
    if (!Gate::slot_is_expert) out.add(name + ".experts", exact, wide(experts));
}

void batch_norm(std::string const& name) {
    constexpr index_t n = 33, columns = 19;
    padded_matrix<float> const x(n, columns, 3, 1), dy(n, columns, 1, 2);
    padded_matrix<float> y = x, dx = dy;
    auto const parameters = numbers<float>(2 * columns, 3);
    std::vector<float> mean(columns), variance(columns), gradients(2 * columns), running(2 * columns, 1.0f);
    running.push_back(0.0f); // rows of the largest batch so far
    espalier::cpu::column_moments(x.view(), mean.data(), variance.data());
    espalier::cpu::normalise<float>(x.view(), mean.data(), variance.data(), parameters.data(),
                                    parameters.data() + columns, 1e-5, y.view());
    espalier::cpu::normalise_backward<float>(x.view(), dy.view(), mean.data(), variance.data(), parameters.data(), 1e-5,
                                             true, gradients.data(), gradients.data() + columns, dx.view());
    espalier::cpu::running_moments<float>(mean.data(), variance.data(), columns, n, 0.3, running.data());
    constexpr bound sums = rounded(16, "sums over 33 rows, of products");
    out.add(name + ".mean", sums, mean);
    out.add(name + ".variance", sums, variance);
    out.add(name + ".forward", sums, y.data);
    out.add(name + ".backward", sums, dx.data);
    out.add(name + ".gradients", sums, gradients);
    running.pop_back();
    out.add(name + ".running", sums, running);
}

void products(std::string const& name) {
    constexpr index_t n = 11, inputs = 29, outputs = 37;
    padded_matrix<float> const x(n, inputs, 3, 1), w(inputs, outputs, 0, 2), dz(n, outputs, 3, 3);
    padded_matrix<float> z(n, outputs, 3, 4), dx(n, inputs, 3, 5), dw(inputs, outputs, 0, 6);
    auto const bias = numbers<float>(outputs, 7);
    using direct = espalier::product::direct;
    std::vector<std::byte> space(direct::scratch<float>(n, inputs, outputs) + 64);
    espalier::scratch_view const view{space.data(), space.size()};
    direct::forward<float>(x.view(), w.view(), bias.data(), z.view(), view);
    direct::input_gradient<float>(dz.view(), w.view(), dx.view(), view);
    direct::weight_gradient<float>(x.view(), dz.view(), dw.view(), view);
    constexpr bound sums = rounded(12, "sums of up to 37 products");
    out.add(name + ".forward", sums, z.data);
    out.add(name + ".input", sums, dx.data);
    out.add(name + ".weight", sums, dw.data);
}

/// Rows sent to experts by two slots each, and back.
void experts_and_pairs(std::string const& name, bool with_rows) {
    constexpr index_t n = 13, slots = 2, columns = 21;
    constexpr int experts = 5;
    auto weight = numbers<float>(n * slots, 41);
    std::vector<std::int32_t> expert;
    for (index_t i = 0; i < n * slots; ++i) {
        expert.push_back(static_cast<std::int32_t>((i / 2 * 3 + i % 2 * 2) % experts));
        if (i % 7 == 2) weight[static_cast<std::size_t>(i)] = 0.0f;
    }
    espalier::rows batch;
    batch.count = n;
    espalier::pair_plan plan;
    plan.experts = experts;
    plan.granule = 4;
    index_t const room = n * slots + 4 * experts;
    std::vector<std::int32_t> row(static_cast<std::size_t>(room), 0), slot(row), pair(weight.size()), first(experts),
        count(experts);
    std::vector<std::uint32_t> origin(row.size());
    matrix_view<float const> const w{weight.data(), n, slots, slots};
    matrix_view<std::int32_t const> const chosen{expert.data(), n, slots, slots};
    espalier::cpu::build_pairs(w, chosen, batch, plan,
                               {row.data(), origin.data(), slot.data(), pair.data(), first.data(), count.data()});
    std::vector<double> measures(espalier::mixture_measures + experts);
    espalier::cpu::measure_mixture(w, chosen, pair.data(), plan, measures.data());
    if (!with_rows) {
        out.add(name + ".pair", exact, wide(pair));
        out.add(name + ".measures", rounded(8, "the logarithm of the C library, and a sum"), measures);
        return;
    }
    padded_matrix<float> const made(room, columns, 3, 5), dy(n, columns, 1, 6);
    padded_matrix<float> y(n, columns, 0, 7), dx(n, columns, 0, 8), d(count[1], columns, 0, 9);
    std::vector<float> dweights(weight.size());
    espalier::expert_outputs<float> const output{made.view(), slots, 0, pair.data(), expert.data(), {}};
    espalier::cpu::combine<float>(w, output, y.view());
    espalier::cpu::weight_gradients<float>(w, dy.view(), output, {dweights.data(), n, slots, slots});
    espalier::mixture_tasks tasks;
    tasks.first_slot[1] = slots;
    espalier::cpu::expert_gradient<float>(
        w, chosen, tasks, {row.data() + first[1], slot.data() + first[1], nullptr, first[1], 1}, dy.view(), d.view());
    espalier::cpu::scatter_add<float>(matrix_view<float const>(d.view()), row.data() + first[1], dx.view());
    espalier::cpu::pass_back<float>(w, tasks, pair.data(), dy.view(), dx.view());
    out.add(name + ".combined", rounded(2, "one sum of two products"), y.data);
    out.add(name + ".weights", rounded(8, "sums of 21 products"), dweights);
    out.add(name + ".expert", exact, d.data);
    out.add(name + ".scattered", rounded(2, "one sum of a product"), dx.data);
}

// ---- kernels/instances.inc

namespace act = espalier::activation;

/// What an activation's values and derivatives may differ by.
template <class A> constexpr bound value_of() {
    if constexpr (std::is_same_v<A, act::relu> || std::is_same_v<A, act::identity>)
        return exact;
    else if constexpr (std::is_same_v<A, act::tanh> || std::is_same_v<A, act::sigmoid>)
        return function(3, "tanh and sigmoid are within 3 ulp");
    else
        return rounded(8, "a product with a function that cancels for negative arguments");
}
template <class A> constexpr bound slope_of() {
    return value_of<A>().units == 0 ? exact : rounded(12, "a derivative is a difference of products");
}

template <class T, class A, class D> void epilogue_of(std::string const& name) {
    bool const one_unit = std::is_same_v<T, narrow> && value_of<A>().units > 0;
    constexpr bound narrow_bound = rounded(65536, "one unit of the narrow type");
    epilogue<T>(name, espalier::epilogue_op<A, D>{{}, op_value<D>(), {}}, one_unit ? narrow_bound : value_of<A>(),
                one_unit ? narrow_bound : slope_of<A>(),
                rounded(value_of<A>().units == 0 ? 4 : 16, "a sum over nine rows, of products"));
}

template <class W, class N, class O, class M, class... Ps> void update_of(std::string const& name) {
    using rule = tensor_rule<M, flat_tuple<Ps...>, flat_tuple<>>;
    rule r{};
    [&]<std::size_t... At>(std::index_sequence<At...>) {
        ((espalier::get<At>(r.penalties) = op_value<Ps>()), ...);
    }
    (std::index_sequence_for<Ps...>{});
    update<W, N>(name, op_value<O>(), r);
}

/// A name without blanks, for a table of words.
std::string word(std::string const& text) {
    std::string w;
    for (char c : text)
        if (c != ' ') w += c;
    return w;
}

void listed() {
    using act::gelu, act::relu;
    using espalier::dropout::bernoulli_op, espalier::dropout::none;
    using espalier::gate::comet, espalier::gate::dselect_k, espalier::gate::top_k;
    using espalier::loss::cross_entropy, espalier::loss::mean_squared_error;
    using espalier::optimizer::adam_op, espalier::optimizer::adamw_op, espalier::optimizer::momentum_kind,
        espalier::optimizer::sgd_op;
    using espalier::penalty::l1_op, espalier::penalty::l2_op;
    using espalier::weight::fixed_mask, espalier::weight::identity;
#define EPILOGUE(...) epilogue_of<__VA_ARGS__>(word("epilogue:" #__VA_ARGS__));
#define UPDATE(...) update_of<__VA_ARGS__>(word("update:" #__VA_ARGS__));
#define SOFTMAX(scalar, columns) softmax<columns>("softmax:" #columns);
#define LOSS(scalar, columns, l) loss<scalar, columns, l>("loss:" #scalar "," #columns "," #l, l{});
#define GATE(scalar, ...) gate<scalar, __VA_ARGS__>(word("gate:" #scalar "," #__VA_ARGS__));
    // The loops of the CPU have no 16-bit storage, and these are tested as bodies in tests/unit/kernels.
#define EXPERTS(scalar)                                                                                                \
    if (std::is_same_v<scalar, float>) experts_and_pairs("experts:" #scalar, true);
#define PAIRS(wide) experts_and_pairs("pairs:" #wide, false);
#define BATCH_NORM(scalar)                                                                                             \
    if (std::is_same_v<scalar, float>) batch_norm("batch_norm:" #scalar);
#define PRODUCTS(scalar)                                                                                               \
    if (std::is_same_v<scalar, float>) products("products:" #scalar);
#include "../../kernels/instances.inc"
}

// Not with every level of optimisation, for the time that they take to compile.
#if defined(ISA_LISTED_ONLY)
constexpr bool everything = false;
void further() {}
#else
constexpr bool everything = true;
void further() {
    using namespace espalier;
    epilogue_of<float, act::identity, dropout::bernoulli_op>("epilogue:float,identity,bernoulli_op");
    epilogue_of<float, act::tanh, dropout::none>("epilogue:float,tanh,none");
    epilogue_of<float, act::sigmoid, dropout::bernoulli_op>("epilogue:float,sigmoid,bernoulli_op");
    epilogue_of<float, act::silu, dropout::none>("epilogue:float,silu,none");
    epilogue_of<float, act::gelu_tanh, dropout::none>("epilogue:float,gelu_tanh,none");
    epilogue_of<double, act::tanh, dropout::none>("epilogue:double,tanh,none");
    using penalised =
        epilogue_op<act::tanh, dropout::bernoulli_op, activation_penalty::flops_op, activation_penalty::l1_op>;
    penalised op{{}, third, {}};
    get<0>(op.penalties) = {0.7};
    get<1>(op.penalties) = {0.3};
    epilogue<float>("epilogue:float,tanh,bernoulli_op,flops,l1", op, function(3, "tanh is within 3 ulp"),
                    rounded(16, "a derivative, and sums over the columns"), rounded(32, "a sum of those"));

    using every_kind =
        tensor_rule<weight::fixed_mask, flat_tuple<penalty::l1_op, penalty::proximal_op<penalty::elastic_net_op>>,
                    flat_tuple<transform::gradient_dropout_op, transform::clip_value_op>>;
    every_kind r{};
    get<0>(r.penalties) = {0.01};
    get<1>(r.penalties) = {{0.5, 0.2}};
    get<0>(r.transforms) = {20000, 65536.0 / (65536.0 - 20000.0)};
    get<1>(r.transforms) = {0.75};
    update<float, float>("update:float,every_kind", op_value<optimizer::adamw_op>(), r);
    update<double, double>("update:double,every_kind", op_value<optimizer::adamw_op>(), r);
    using grouped =
        tensor_rule<prune::decayed_op<prune::derivative::exact>,
                    flat_tuple<penalty::proximal_op<penalty::group_lasso_op<group_scope::rows>>>, flat_tuple<>>;
    grouped g{};
    g.map = {0.5, 0.25};
    get<0>(g.penalties) = {{0.3}};
    update<float, float>("update:float,grouped", op_value<optimizer::adam_op>(), g);
    update<float, float>("update:float,shrinks_groups", espalier::no_step{0.3}, g);

    gate<float, gate::softmax<16>>("gate:float,softmax<16>");
    gate<double, gate::comet<16, 2>>("gate:double,comet<16,2>");
    loss<float, 10>("loss:float,10,early_learning", loss::early_learning{});
    loss<float, 10>("loss:float,10,binary_cross_entropy", loss::binary_cross_entropy{});
    loss<float, 10>("loss:float,10,soft_cross_entropy", loss::soft_cross_entropy{});
}
#endif

} // namespace

int outputs(std::string const& file, bool write) {
    out = {};
    listed();
    further();
    if (write) {
        out.write(file);
        return 0;
    }
    return out.compare(file, everything);
}

} // namespace isa
