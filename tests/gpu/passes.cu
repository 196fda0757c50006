// SPDX-License-Identifier: Apache-2.0
// Epilogue, update, losses, gates and dispatch on a GPU against the loops of the CPU, dropout masks bit for bit, and
// the same bits for every number of blocks.
#include "verify.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/identity.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/on_device.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

namespace {

using namespace espalier;
using namespace gpu_tests;

constexpr dropout::bernoulli_op third{21845, 65536.0 / (65536.0 - 21845.0)};
constexpr dropout::drop_path_op half{32768, 2.0};
random_site const site = make_site(7, 3, 11, 1);

// The bodies on one lane of the host.
template <class Op>
void run_epilogue(Op const& op, matrix_view<float const> z, matrix_view<float> y, matrix_view<float> dy, float* bias,
                  rows const& batch, epilogue_statistics<float> const& statistics) {
    serial_group const lane;
    index_t const strips = kernels::strips_of(z.rows).count, octets = kernels::octets_of(z.columns),
                  stride = octets * 8;
    std::vector<float> partial(static_cast<std::size_t>((Op::column_penalties + 1) * strips * stride));
    std::vector<double> elements(static_cast<std::size_t>((Op::penalty_count + 1) * strips * octets));
    if constexpr (Op::has_penalties) {
        kernels::epilogue_scratch<float> const scratch{elements.data(), partial.data()};
        kernels::epilogue_forward_strips(lane, op, z, y, site, batch, scratch);
        for (int i = 0; i < Op::column_penalties; ++i)
            kernels::add_partial_rows(lane, partial.data() + i * strips * stride, strips, stride, z.columns,
                                      statistics.column_sums + i * statistics.column_stride, false);
        kernels::epilogue_finish(lane, op, z.rows, z.columns, scratch, statistics);
    } else {
        kernels::epilogue_forward(lane, op, z, y, site, batch);
    }
    kernels::epilogue_backward(lane, op, z, matrix_view<float const>(dy), dy, site, batch, statistics, partial.data(),
                               {0, static_cast<std::int32_t>(z.rows), 0});
    kernels::add_partial_rows(lane, partial.data(), strips, stride, z.columns, bias, false);
}

template <class Optimizer, class Rule>
void run_update(Optimizer const& optimizer, Rule const& rule, update_segment<float> const& s) {
    serial_group const lane;
    kernels::update_context const context;
    index_t const strips = kernels::strips_of(s.rows).count, octets = kernels::octets_of(s.columns);
    index_t count = 0;
    std::vector<double> values;
    if constexpr (Rule::grouped) {
        count = strips * octets;
        std::vector<float> columns(static_cast<std::size_t>(count * 8)),
            row_sums(static_cast<std::size_t>(s.rows * octets));
        values.resize(static_cast<std::size_t>(Rule::penalty_count * count));
        kernels::update_grouped(lane, optimizer, rule, s, context,
                                kernels::group_scratch<float>{columns.data(), row_sums.data(), values.data()});
        kernels::add_row_sums(lane, row_sums.data(), s.rows, octets, s.next_norms[0], nullptr);
        kernels::add_partial_rows(lane, columns.data(), strips, octets * 8, s.columns, s.next_norms[1], true);
    } else {
        count = kernels::update_chunks(s.rows * s.columns);
        values.resize(static_cast<std::size_t>(Rule::penalty_count * count));
        kernels::update_tensor(lane, optimizer, rule, s, context, values.data());
    }
    kernels::add_penalty_values(lane, values.data(), Rule::penalty_count, count, count, s.values, nullptr);
}

template <class T, class Op>
void check_epilogue(test_device& device, char const* name, Op const& op, index_t row_count, index_t columns,
                    double tolerance) {
    using W = master_of<T>;
    std::string const what =
        std::string(name) + " " + std::to_string(row_count) + " x " + std::to_string(columns) + ": ";
    auto const n = row_count * columns;
    auto const z = as<T>(numbers(n, 1)), dy = as<T>(numbers(n, 2));
    rows batch;
    batch.count = row_count;
    batch.first = 40;
    index_t const sums_size = Op::column_penalties * columns;

    std::vector<T> first_y, first_dz;
    std::vector<W> first_bias;
    std::vector<double> first_terms;
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<T> in(z), out(std::vector<T>(z.size())), gradient(dy);
        on_device<W> bias(std::vector<W>(static_cast<std::size_t>(columns), W(-7))),
            sums(std::vector<W>(static_cast<std::size_t>(sums_size)));
        on_device<double> terms(std::vector<double>(Op::penalty_count + 1, 0.0));
        epilogue_statistics<W> const statistics{terms.data(), sums.data(), columns};
        matrix_view<T const> const zv{in.data(), row_count, columns, columns};
        matrix_view<T> const dv{gradient.data(), row_count, columns, columns};
        device.epilogue_forward(op, zv, matrix_view<T>{out.data(), row_count, columns, columns}, site, batch,
                                statistics);
        device.epilogue_backward(op, zv, matrix_view<T const>(dv), dv, bias.data(), site, batch, statistics);
        device.wait();
        if (first_y.empty()) {
            first_y = out.back();
            first_dz = gradient.back();
            first_bias = bias.back();
            first_terms = terms.back();
        }
        std::string const shape = what + std::to_string(blocks) + " blocks change ";
        expect(same_bits(out.back(), first_y), shape + "y");
        expect(same_bits(gradient.back(), first_dz), shape + "dz");
        expect(same_bits(bias.back(), first_bias), shape + "the bias gradient");
        expect(same_bits(terms.back(), first_terms), shape + "the terms");
    }

    // The same numbers through the loops of the CPU, in float.
    std::vector<float> const z32 = as<float>(std::vector<float>(z.begin(), z.end()));
    std::vector<float> y32(z32.size()), dz32(dy.begin(), dy.end()), bias32(static_cast<std::size_t>(columns)),
        sums32(static_cast<std::size_t>(sums_size) + 1);
    std::vector<double> terms(Op::penalty_count + 1, 0.0);
    epilogue_statistics<float> const statistics{terms.data(), sums32.data(), columns};
    matrix_view<float const> const zv{z32.data(), row_count, columns, columns};
    matrix_view<float> const dv{dz32.data(), row_count, columns, columns};
    run_epilogue(op, zv, matrix_view<float>{y32.data(), row_count, columns, columns}, dv, bias32.data(), batch,
                 statistics);
    bool mask = true;
    for (std::size_t i = 0; i < y32.size(); ++i)
        mask &= (static_cast<float>(first_y[i]) == 0.0f) == (y32[i] == 0.0f);
    expect(mask, what + "another dropout mask than the host");
    expect(distance(first_y, y32) < tolerance, what + "y");
    expect(distance(first_dz, dz32) < 4 * tolerance, what + "dz");
    expect(distance(first_bias, bias32) < 40 * tolerance, what + "the bias gradient");
    if (row_count > 0) expect(distance(first_terms, terms) < 10 * tolerance, what + "the terms");
}

template <class Rule> void check_update(test_device& device, char const* name, Rule const& rule, index_t r, index_t c) {
    std::string const what = std::string(name) + " " + std::to_string(r) + " x " + std::to_string(c) + ": ";
    optimizer::adamw_op const adamw{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3};
    index_t const n = r * c, stride = padded(n);
    auto const weights = numbers(n, 1), gradients = numbers(n, 2);
    auto moments = numbers(2 * stride, 3), row_norms = numbers(r, 4), column_norms = numbers(c, 5);
    for (auto* v : {&moments, &row_norms, &column_norms})
        for (float& x : *v)
            x = x * x;
    std::vector<std::uint32_t> mask;
    for (index_t i = 0; i < (n + 31) / 32 + 1; ++i)
        mask.push_back(2654435761u * static_cast<std::uint32_t>(i + 3));
    auto const fill = [&](update_segment<float>& s) {
        s.rows = r;
        s.columns = c;
        s.moment_stride = stride;
        s.site = site;
        s.rates = {0.8, 0.9, false};
    };

    auto w = weights, m = moments;
    std::vector<float> next_rows(row_norms.size()), next_columns(column_norms.size());
    std::vector<double> values(4, 0.25);
    update_segment<float> host;
    fill(host);
    host.weights = w.data();
    host.gradients = gradients.data();
    host.moments = m.data();
    host.mask = mask.data();
    host.norms[0] = row_norms.data();
    host.norms[1] = column_norms.data();
    host.next_norms[0] = next_rows.data();
    host.next_norms[1] = next_columns.data();
    host.values = values.data();
    run_update(adamw, rule, host);

    std::vector<float> first;
    std::vector<double> first_values;
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<float> dw(weights), dg(gradients), dm(moments), dr(row_norms), dc(column_norms),
            nr(std::vector<float>(row_norms.size())), nc(std::vector<float>(column_norms.size()));
        on_device<std::uint32_t> dmask(mask);
        on_device<double> dvalues(std::vector<double>(4, 0.25));
        update_segment<float> s;
        fill(s);
        s.weights = dw.data();
        s.gradients = dg.data();
        s.moments = dm.data();
        s.mask = dmask.data();
        s.norms[0] = dr.data();
        s.norms[1] = dc.data();
        s.next_norms[0] = nr.data();
        s.next_norms[1] = nc.data();
        s.values = dvalues.data();
        device.update(adamw, rule, s);
        device.wait();
        if (first.empty()) {
            first = dw.back();
            first_values = dvalues.back();
        }
        expect(same_bits(dw.back(), first) && same_bits(dvalues.back(), first_values),
               what + std::to_string(blocks) + " blocks change the result");
        expect(distance(dw.back(), w) < 5e-6, what + "weights");
        expect(distance(dm.back(), m) < 5e-6, what + "moments");
        expect(distance(dvalues.back(), values) < 1e-4, what + "penalty values");
        expect(distance(nr.back(), next_rows) < 1e-4 && distance(nc.back(), next_columns) < 1e-4, what + "norms");
    }
}

template <int N, class Loss>
void check_loss(test_device& device, Loss const& loss, index_t row_count, bool with_state) {
    std::string const what = std::string(Loss::name) + " " + std::to_string(row_count) + ": ";
    auto const z = numbers(row_count * N, 6);
    index_t const samples = row_count + 3;
    auto state = numbers(samples * N, 7);
    for (float& x : state)
        x = std::fabs(x) / (2 * N);
    std::vector<std::int32_t> label;
    std::vector<std::int64_t> sample;
    for (index_t i = 0; i < row_count; ++i) {
        label.push_back(i % 5 == 3 ? -1 : static_cast<std::int32_t>(i * 7 % N));
        sample.push_back(i * i % 7 * (with_state ? 1 : 0));
    }
    rows batch;
    batch.count = row_count;
    batch.label = label.data();
    batch.sample = sample.data();
    std::vector<float> gradient(z.size()), host_state = state;
    kernels::row_loss_arguments<float> one_lane;
    one_lane.z = {z.data(), row_count, N, N};
    one_lane.batch = batch;
    one_lane.gradient = {gradient.data(), row_count, N, N};
    if (with_state) one_lane.state = {host_state.data(), samples, N, N};
    kernels::row_loss_result expected;
    kernels::error_word no_error;
    std::vector<double> weighted(static_cast<std::size_t>(row_count));
    kernels::count_rows<Loss>(serial_group{}, batch, N, with_state, samples, 0.0, &expected, &no_error);
    kernels::row_loss<N>(serial_group{}, loss, one_lane, &expected, weighted.data(), &no_error);
    kernels::finish_loss(serial_group{}, weighted.data(), row_count, &expected);

    double first = 0;
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<float> dz(z), dg(std::vector<float>(z.size())), ds(state);
        on_device<std::int32_t> dl(label);
        on_device<std::int64_t> did(sample);
        on_device<kernels::row_loss_result> result(std::vector<kernels::row_loss_result>(1));
        kernels::row_loss_arguments<float> a;
        a.z = {dz.data(), row_count, N, N};
        a.batch.count = row_count;
        a.batch.label = dl.data();
        a.batch.sample = did.data();
        a.gradient = {dg.data(), row_count, N, N};
        if (with_state) a.state = {ds.data(), samples, N, N};
        device.template row_loss<N>(loss, a, result.data());
        device.throw_on_error();
        double const value = result.back()[0].value;
        if (blocks == block_counts[0]) first = value;
        expect(std::memcmp(&value, &first, sizeof value) == 0, what + "another value for another number of blocks");
        expect(std::fabs(value - expected.value) < 1e-5 && result.back()[0].counted == expected.counted,
               what + "value");
        expect(distance(dg.back(), gradient) < 2e-5, what + "gradient");
        expect(distance(ds.back(), host_state) < 2e-5, what + "state");
    }
}

void check_errors(test_device& device) {
    on_device<float> z(numbers(40, 1)), weights(numbers(64, 2)), gradients(numbers(64, 3));
    on_device<std::int32_t> label(std::vector<std::int32_t>{1, 12, 3, 4});
    on_device<kernels::row_loss_result> result(std::vector<kernels::row_loss_result>(1));
    kernels::row_loss_arguments<float> a;
    a.z = {z.data(), 4, 10, 10};
    a.batch.count = 4;
    a.batch.label = label.data();
    device.row_loss<10>(loss::cross_entropy{}, a, result.data());
    auto const before = weights.back();
    update_segment<float> s;
    s.rows = 1;
    s.columns = 64;
    s.weights = weights.data();
    s.gradients = gradients.data();
    optimizer::sgd_op<optimizer::momentum_kind::none> const sgd{0.1, 0.0, 0.0};
    tensor_rule<weight::identity, flat_tuple<>, flat_tuple<>> const plain{};
    device.update(sgd, plain, s);
    bool thrown = false;
    try {
        device.throw_on_error();
    } catch (data_error const& e) {
        thrown = std::string(e.what()).find("row 1") != std::string::npos;
    }
    expect(thrown, "a label out of range is reported with its row");
    expect(same_bits(weights.back(), before), "an update after an error changes nothing");
    device.update(sgd, plain, s);
    device.throw_on_error();
    expect(!same_bits(weights.back(), before), "updates go on once the error was taken");
}

/// The row bodies of a gate against the same bodies with one lane.
template <class Gate> void check_gate(test_device& device, double tolerance) {
    constexpr int columns = Gate::logits, slots = Gate::slots;
    index_t const row_count = 1000;
    std::string const what =
        "gate " + std::string(Gate::name) + " " + std::to_string(columns) + " " + std::to_string(slots) + ": ";
    auto logits = numbers(row_count * columns, 9);
    if (!Gate::slot_is_expert)
        for (int c = 0; c < columns; ++c) {
            logits[static_cast<std::size_t>(c)] = c % 3 == 1 ? NAN : 1.0f;
            logits[static_cast<std::size_t>(columns + c)] = -INFINITY;
        }
    auto const n = static_cast<std::size_t>(row_count * slots);
    std::vector<std::int32_t> expert(n);
    std::vector<float> weight(n), gradient(logits.size());
    auto const dweight = numbers(row_count * slots, 10);
    auto const view = [&](auto* p, index_t width) {
        return matrix_view<std::remove_pointer_t<decltype(p)>>{p, row_count, width, width};
    };
    kernels::row_gate_forward<Gate>(serial_group{}, Gate{}, view(static_cast<float const*>(logits.data()), columns),
                                    view(weight.data(), slots),
                                    view(Gate::slot_is_expert ? nullptr : expert.data(), slots), nullptr);
    kernels::row_gate_backward<Gate>(
        serial_group{}, Gate{}, view(static_cast<float const*>(logits.data()), columns),
        view(static_cast<float const*>(weight.data()), slots),
        view(Gate::slot_is_expert ? nullptr : static_cast<std::int32_t const*>(expert.data()), slots),
        view(dweight.data(), slots), view(gradient.data(), columns));
    std::vector<float> first_weight, first_gradient;
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<float> dl(logits), dw(std::vector<float>(weight.size())), dd(dweight),
            dg(std::vector<float>(logits.size()));
        on_device<std::int32_t> de(std::vector<std::int32_t>(expert.size()));
        std::int32_t* const experts = Gate::slot_is_expert ? nullptr : de.data();
        device.route<Gate>(Gate{}, view(static_cast<float const*>(dl.data()), columns), view(dw.data(), slots),
                           view(experts, slots), gate_run{});
        device.route_backward<Gate>(
            Gate{}, view(static_cast<float const*>(dl.data()), columns),
            view(static_cast<float const*>(dw.data()), slots), view(static_cast<std::int32_t const*>(experts), slots),
            view(static_cast<float const*>(dd.data()), slots), view(dg.data(), columns), gate_run{});
        device.wait();
        if (first_weight.empty()) {
            first_weight = dw.back();
            first_gradient = dg.back();
        }
        expect(same_bits(dw.back(), first_weight) && same_bits(dg.back(), first_gradient),
               what + std::to_string(blocks) + " blocks change the result");
        // The experts of empty slots are not looked at.
        bool same_experts = true;
        auto const got = de.back();
        for (std::size_t i = 0; i < n && !Gate::slot_is_expert; ++i)
            same_experts &= weight[i] == 0.0f || got[i] == expert[i];
        expect(same_experts, what + "experts");
        expect(distance(dw.back(), weight) < tolerance, what + "weights");
        expect(distance(dg.back(), gradient) < 3 * tolerance, what + "gradient");
    }
}

/// The bodies of a dense dispatch against the same bodies with one lane.
void check_dispatch(test_device& device) {
    constexpr index_t row_count = 333, columns = 100, slots = 3, experts = 5;
    auto weight = numbers(row_count * slots, 1);
    std::vector<std::int32_t> expert;
    for (index_t i = 0; i < row_count * slots; ++i) {
        if (i % 4 == 1) weight[static_cast<std::size_t>(i)] = 0.0f;
        expert.push_back(static_cast<std::int32_t>((i / slots + 2 * (i % slots)) % experts));
    }
    auto const all = numbers(row_count * experts * columns, 2), dy = numbers(row_count * columns, 3);
    auto const view = [](auto* p, index_t width) {
        return matrix_view<std::remove_pointer_t<decltype(p)>>{p, row_count, width, width};
    };
    auto const outputs = [](float const* rows_of_experts, std::int32_t const* chosen) {
        return expert_outputs<float>{
            {rows_of_experts, row_count * experts, columns, columns}, slots, row_count, nullptr, chosen};
    };
    std::vector<float> y(static_cast<std::size_t>(row_count * columns)), d(y.size()), dweight(weight.size());
    matrix_view<float const> const w = view(static_cast<float const*>(weight.data()), slots);
    kernels::combine_experts(serial_group{}, w, outputs(all.data(), expert.data()), view(y.data(), columns));
    kernels::weight_gradients(serial_group{}, w, view(dy.data(), columns), outputs(all.data(), expert.data()),
                              view(dweight.data(), slots));
    mixture_tasks tasks;
    tasks.first_slot[1] = slots;
    expert_pairs block;
    block.expert = 2;
    kernels::expert_gradient(serial_group{}, w, view(static_cast<std::int32_t const*>(expert.data()), slots), tasks,
                             block, view(dy.data(), columns), view(d.data(), columns));
    on_device<float> da(all), dg(dy), dw(weight);
    on_device<std::int32_t> de(expert);
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<float> gy(std::vector<float>(y.size())), gd(std::vector<float>(d.size())),
            gw(std::vector<float>(dweight.size()));
        matrix_view<float const> const shares = view(static_cast<float const*>(dw.data()), slots);
        matrix_view<float const> const upstream = view(static_cast<float const*>(dg.data()), columns);
        device.combine(shares, outputs(da.data(), de.data()), view(gy.data(), columns));
        device.weight_gradients(shares, upstream, outputs(da.data(), de.data()), view(gw.data(), slots));
        device.expert_gradient(shares, view(static_cast<std::int32_t const*>(de.data()), slots), tasks, block, upstream,
                               view(gd.data(), columns));
        device.wait();
        expect(distance(gy.back(), y) < 2e-6, "dispatch: combination");
        expect(distance(gw.back(), dweight) < 2e-5, "dispatch: gradients of the weights");
        expect(distance(gd.back(), d) < 1e-6, "dispatch: gradient of an expert's outputs");
    }
}

/// The table of a gathering dispatch and the choice of experts, for batches that many chunks and blocks work on.
void check_tables(test_device& device, index_t row_count, index_t slots, int experts, index_t capacity) {
    std::string const what = "table of " + std::to_string(row_count) + " x " + std::to_string(slots) + ": ";
    auto weight = numbers(row_count * slots, 1);
    auto const draws = numbers(row_count, 2);
    std::vector<std::int32_t> expert;
    for (index_t r = 0; r < row_count; ++r)
        for (index_t s = 0; s < slots; ++s) {
            auto const at = static_cast<std::size_t>(r);
            expert.push_back(static_cast<std::int32_t>(
                (static_cast<index_t>((draws[at] + 2.0f) * 0.25f * static_cast<float>(experts)) + 3 * s) % experts));
            if ((r + s) % 5 == 3) weight[static_cast<std::size_t>(r * slots + s)] = 0.0f;
        }
    pair_plan plan;
    plan.experts = experts;
    plan.granule = 32;
    plan.capacity = capacity;
    plan.block = capacity;
    rows batch;
    batch.count = row_count;
    batch.first = 17;
    index_t const most = capacity > 0 ? experts * capacity : row_count * slots + 32 * experts;
    auto const rooms = static_cast<std::size_t>(most), slot_count = static_cast<std::size_t>(row_count * slots);
    std::vector<std::int32_t> row(rooms, -1), slot(rooms, -1), pair(slot_count, -9),
        first(static_cast<std::size_t>(experts)), count(first),
        counters(static_cast<std::size_t>(kernels::counters_of(row_count * slots, experts)));
    std::vector<std::uint32_t> origin(rooms, 0);
    std::vector<double> measures(static_cast<std::size_t>(mixture_measures + experts));
    matrix_view<float const> const weights{weight.data(), row_count, slots, slots};
    matrix_view<std::int32_t const> const chosen{expert.data(), row_count, slots, slots};
    kernels::pair_work<float> const work{
        weights,
        chosen,
        plan,
        {row.data(), origin.data(), slot.data(), pair.data(), first.data(), count.data()},
        counters.data()};
    serial_group const lane;
    if (kernels::marks_first(plan, slots)) {
        kernels::count_pairs<kernels::slot_order::by_choice, false>(lane, work);
        kernels::scan_pairs<false>(lane, work);
        kernels::mark_pairs(lane, work);
        kernels::count_pairs<kernels::slot_order::by_row, true>(lane, work);
        kernels::scan_pairs<true>(lane, work);
        kernels::fill_pairs<true>(lane, work, batch);
    } else {
        kernels::count_pairs<kernels::slot_order::by_row, false>(lane, work);
        kernels::scan_pairs<true>(lane, work);
        kernels::fill_pairs<false>(lane, work, batch);
    }
    kernels::pair_work<float> measured = work;
    measured.table = {};
    kernels::count_pairs<kernels::slot_order::by_row, false>(lane, measured, pair.data());
    kernels::finish_measures(lane, measured, false, measures.data());

    auto scores = numbers(row_count * 7, 3);
    for (index_t r = 0; r < row_count; ++r) {
        scores[static_cast<std::size_t>(7 * r)] = 0.5f;
        if (r % 100 == 7) scores[static_cast<std::size_t>(7 * r + 1)] = NAN;
    }
    auto kept = scores;
    kernels::choose_rows(lane, row_count / 3 + 1, matrix_view<float>{kept.data(), row_count, 7, 7});

    on_device<float> dw(weight);
    on_device<std::int32_t> de(expert);
    for (index_t blocks : block_counts) {
        device.set_most_blocks(blocks);
        on_device<std::int32_t> d_row(std::vector<std::int32_t>(rooms, -1)),
            d_slot(std::vector<std::int32_t>(rooms, -1)), d_pair(std::vector<std::int32_t>(slot_count, -7)),
            d_first(std::vector<std::int32_t>(first.size(), -7)), d_count(std::vector<std::int32_t>(first.size(), -7));
        on_device<std::uint32_t> d_origin(std::vector<std::uint32_t>(rooms, 0));
        on_device<double> d_measures(std::vector<double>(measures.size(), -7.0));
        on_device<float> d_kept(scores);
        matrix_view<float const> const w{dw.data(), row_count, slots, slots};
        matrix_view<std::int32_t const> const e{de.data(), row_count, slots, slots};
        device.build_pairs(
            w, e, batch, plan,
            {d_row.data(), d_origin.data(), d_slot.data(), d_pair.data(), d_first.data(), d_count.data()});
        device.measure_mixture(w, e, static_cast<std::int32_t const*>(d_pair.data()), plan, d_measures.data());
        device.choose_rows(row_count / 3 + 1, static_cast<float*>(nullptr),
                           matrix_view<float>{d_kept.data(), row_count, 7, 7});
        device.wait();
        expect(d_row.back() == row && d_slot.back() == slot && d_origin.back() == origin, what + "rows of the pairs");
        expect(d_pair.back() == pair, what + "pairs of the slots");
        expect(d_first.back() == first && d_count.back() == count, what + "experts' blocks");
        expect(distance(d_measures.back(), measures) < 1e-13, what + "measures");
        expect(distance(d_kept.back(), kept) == 0.0, what + "rows that experts choose");
    }
}

/// Masks of tensors that are selected together, and of groups of rows, bit for bit those of the CPU. `few`: many equal
/// weights, so that places decide.
template <class T>
void check_selection(test_device& device, std::vector<index_t> const& sizes, double share, bool few) {
    using key = prune::weight_key<prune::by_magnitude, weight::identity, T>;
    using plan_type = prune::magnitude<0.5, prune::global>;
    auto const plan = prune::device_plan_of<plan_type, weight::identity, test_device, T>();
    std::vector<std::vector<T>> w;
    std::vector<std::vector<std::uint32_t>> masks;
    std::vector<prune::piece<T>> pieces;
    index_t n = 0;
    for (index_t size : sizes) {
        w.push_back({});
        for (float x : numbers(size, 31 + static_cast<std::uint32_t>(w.size())))
            w.back().push_back(few ? static_cast<T>(static_cast<int>(x)) : static_cast<T>(x));
        masks.emplace_back(static_cast<std::size_t>((size + 31) / 32), ~std::uint32_t{0});
        n += size;
    }
    std::vector<on_device<T>> dw(w.begin(), w.end());
    std::vector<on_device<std::uint32_t>> dmasks(masks.begin(), masks.end());
    for (std::size_t i = 0; i < w.size(); ++i)
        pieces.push_back({w[i].data(), sizes[i], masks[i].data()});
    index_t const keep = prune::kept_count(n, share);
    prune::select_largest<prune::by_magnitude>(pieces, keep);

    on_device<mask_survey> survey(std::vector<mask_survey>(1));
    on_device<index_t> counters(std::vector<index_t>(static_cast<std::size_t>(mask_counters(n)) + 1));
    device.start_selection(mask_request{n, keep, false}, plan.largest_key, survey.data());
    for (std::size_t i = 0; i < w.size(); ++i)
        device.count_kept(static_cast<std::uint32_t const*>(dmasks[i].data()), sizes[i], survey.data());
    for (int round = 0; round < plan.rounds; ++round) {
        for (std::size_t i = 0; i < w.size(); ++i)
            plan.stages[0].look(device, {}, {dw[i].data()}, sizes[i], nullptr, survey.data());
        device.narrow_selection(round == 0, survey.data());
    }
    for (std::size_t i = 0; i < w.size(); ++i)
        plan.stages[0].write(device, {}, {dw[i].data()}, sizes[i], counters.data(), survey.data(), dmasks[i].data());
    std::string const what = "masks of " + std::to_string(n) + " weights, " + std::to_string(share) + " left out: ";
    for (std::size_t i = 0; i < w.size(); ++i)
        expect(dmasks[i].back() == masks[i], what + "tensor " + std::to_string(i));

    index_t const rows = sizes[0] / 33;
    matrix_view<T const> const matrix{w[0].data(), rows, 33, 33}, there{dw[0].data(), rows, 33, 33};
    for (group_pattern const pattern :
         {group_pattern{2, 4}, group_pattern{3, 16}, group_pattern{1, 40}, group_pattern{16, 256}}) {
        std::vector<std::uint32_t> grouped = masks[0];
        prune::select_n_m<prune::by_magnitude>(matrix, pattern, grouped.data());
        device.start_selection(mask_request{rows * 33, 0, true}, plan.largest_key, survey.data());
        device.write_group_mask(key{}, pattern, there, survey.data(), dmasks[0].data());
        auto const found = dmasks[0].back();
        expect(std::equal(found.begin(), found.begin() + (rows * 33 + 31) / 32, grouped.begin()),
               what + std::to_string(pattern.kept) + " of " + std::to_string(pattern.group));
    }
}

void check_selections(test_device& device, bool short_run) {
    for (bool few : {false, true})
        for (double share : {0.0, 0.3, 0.9, 1.0}) {
            check_selection<float>(device, {3000, 33, 1024}, share, few);
            if (short_run && share != 0.3) continue;
            check_selection<double>(device, {3000, 33, 1024}, share, few);
            if (!short_run) check_selection<float>(device, {4 << 20, 100001}, share, few);
        }
}

void tests() {
    test_device device;
    epilogue_op<activation::gelu, dropout::bernoulli_op> const gelu{{}, third, {}};
    epilogue_op<activation::relu, dropout::drop_path_op> const path{{}, half, {}};
    epilogue_op<activation::identity, dropout::bernoulli_op, activation_penalty::flops_op, activation_penalty::l1_op>
        penalised{{}, third, {}};
    get<0>(penalised.penalties) = {0.7};
    get<1>(penalised.penalties) = {0.3};
    epilogue_op<activation::tanh, dropout::drop_segment_op> const segments{{}, {{third}, 20}, {}};
    epilogue_op<activation::tanh, dropout::filled_op<dropout::threshold_op<random_scope::step>>> const filled{
        {}, {{quantise(0.01)}, -0.5}, {}};
    for (index_t r : {index_t{0}, index_t{1}, index_t{33}, index_t{1000}})
        for (index_t c : {index_t{1}, index_t{9}, index_t{64}, index_t{257}}) {
            if (short_run && (r != 33 || c < 64)) continue;
            check_epilogue<float>(device, "gelu and dropout", gelu, r, c, 2e-6);
            check_epilogue<float>(device, "relu and drop path", path, r, c, 2e-6);
            check_epilogue<float>(device, "dropout and penalties", penalised, r, c, 4e-6);
            check_epilogue<float>(device, "dropped segments", segments, r, c, 3e-6);
            check_epilogue<float>(device, "one decision and a value", filled, r, c, 3e-6);
            check_epilogue<bfloat16>(device, "bf16 relu and drop path", path, r, c, 5e-3);
        }

    tensor_rule<weight::fixed_mask, flat_tuple<penalty::l1_op, penalty::l2_op>,
                flat_tuple<transform::gradient_dropout_op>>
        flat{};
    get<0>(flat.penalties) = {0.01};
    get<1>(flat.penalties) = {0.1};
    get<0>(flat.transforms) = {20000, 65536.0 / (65536.0 - 20000.0)};
    tensor_rule<weight::fixed_mask,
                flat_tuple<penalty::group_lasso_op<group_scope::rows>, penalty::group_lasso_op<group_scope::columns>,
                           penalty::l2_op>,
                flat_tuple<transform::gradient_dropout_op>>
        grouped{};
    get<0>(grouped.penalties) = {0.3};
    get<1>(grouped.penalties) = {0.2};
    get<2>(grouped.penalties) = {0.1};
    get<0>(grouped.transforms) = {20000, 65536.0 / (65536.0 - 20000.0)};
    for (index_t r : {index_t{1}, index_t{33}, index_t{700}})
        for (index_t c : {index_t{1}, index_t{9}, index_t{64}, index_t{257}}) {
            if (short_run && (r != 33 || c < 64)) continue;
            check_update(device, "update", flat, r, c);
            check_update(device, "grouped update", grouped, r, c);
        }

    for (index_t r : {index_t{0}, index_t{1}, index_t{33}, index_t{5000}}) {
        if (short_run && r != 33) continue;
        check_loss<10>(device, loss::cross_entropy{0.1}, r, false);
        check_loss<100>(device, loss::cross_entropy{}, r, false);
        if (r <= 33) check_loss<9>(device, loss::early_learning{}, r, true);
    }
    check_errors(device);
    check_selections(device, short_run);
    check_gate<gate::top_k<3, 2>>(device, 1e-6);
    check_gate<gate::top_k<8, 2>>(device, 1e-6);
    check_gate<gate::top_k<64, 2>>(device, 1e-6);
    check_gate<gate::top_k<128, 8>>(device, 1e-6);
    check_gate<gate::top_k<512, 4>>(device, 1e-6);
    check_gate<gate::softmax<8>>(device, 2e-6);
    check_gate<gate::softmax<200>>(device, 2e-6);
    check_dispatch(device);
    for (index_t r : {index_t{0}, index_t{33}, index_t{40000}}) {
        if (short_run && r != 33) continue;
        check_tables(device, r, 2, 8, 0);
        check_tables(device, r, 2, 64, 32 + r / 2048 * 32);
        check_tables(device, r, 1, 16, 32 + r / 2048 * 32);
        check_tables(device, r, 3, 300, 0);
    }

    auto const x = numbers(100001, 12);
    double exact = 0;
    for (float v : x)
        exact += static_cast<double>(v) * static_cast<double>(v);
    on_device<float> dx(x);
    on_device<double> sum(std::vector<double>(1));
    device.sum_of_squares_to(dx.data(), 100001, sum.data());
    double found = 0;
    device.read(sum.data(), &found, 1);
    expect(std::fabs(found / exact - 1) < 1e-6, "sum of squares");

    std::vector<std::uint32_t> mask(100001 / 32 + 2);
    for (std::size_t w = 0; w < mask.size(); ++w)
        mask[w] = 0x9e3779b9u * static_cast<std::uint32_t>(w + 3);
    on_device<std::uint32_t> dmask(mask);
    on_device<float> held(x);
    device.clear_left_out(held.data(), static_cast<std::uint32_t const*>(dmask.data()), 100001);
    auto expected = x;
    for (std::size_t i = 0; i < expected.size(); ++i)
        if ((mask[i / 32] >> i % 32 & 1u) == 0) expected[i] = 0;
    expect(held.back() == expected, "what a mask leaves out");
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
