// SPDX-License-Identifier: Apache-2.0
// Ways to make steps: rates that change and frozen tensors, given and accumulated gradients, batches of a data set, and
// `fit` with every batch policy, a second stream and a teacher.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/batch/cutmix.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/batch/plain.hpp>
#include <espalier/data/table.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/train/accumulation.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/teacher.hpp>
#include <espalier/transform/agreement.hpp>

namespace bits {

namespace {

using namespace espalier::literals;

template <class... Ps>
using small = sequence<input<1, 3, 4>, dense<8, activation::tanh, dropout::bernoulli<0.25>, Ps...>, batch_norm<>,
                       dense<classes, in_group<"head"_name>>>;

constexpr optimizer::adamw<> adamw{.learning_rate = 0.01};

data_view view_of(batch_view<float> const& batch) {
    index_t const n = batch.tags.count;
    return {.features = batch.inputs,
            .labels = {batch.tags.label, n},
            .targets = batch.targets,
            .keys = {batch.tags.key, n},
            .groups = {batch.tags.group, n}};
}

/// Calls fit(net, data, options), for 20 steps in five epochs with a teacher that follows.
template <class Stack, class Fit> line fit_on(int threads, Fit const& fit_it) {
    constexpr batch_kind kind{.targets = classes};
    network<Stack, device::cpu, float> net{seed{5}, 16, std::make_unique<device::cpu>(threads, 0)};
    ema_teacher teacher{net, 0.9};
    made_up<float> data(kind), validation(kind);
    fit_options options;
    options.epochs = 5;
    options.batch = 16;
    options.progress = false;
    options.followers = {teacher.follow(net)};
    options.validation = view_of(validation.batch(1, 40));
    history const record = fit_it(net, view_of(data.batch(0, 60)), options);
    line found;
    for (std::string const& name : record.columns())
        if (name != "seconds") {
            found.terms.text(name);
            found.terms.numbers(record.column(name));
        }
    found.weights.numbers(teacher.values().weights());
    found.weights.numbers(teacher.values().state());
    training run(net, entropy, plain);
    run.gradients_of(data.batch(2, 16));
    look_at(run, data, found);
    return found;
}
template <class Stack, class Fit> void fit_both(table& out, char const* name, Fit const& fit_it) {
    out.add(name, [&](int threads) { return fit_on<Stack>(threads, fit_it); });
}

} // namespace

void train_trainers(table& out) {
    train<small<>>(out, "rates", entropy, adamw, {}, [](auto& run, auto& data, std::uint32_t number) {
        if (number == 4) run.set_rates({{.path = "1.", .frozen = true}, {.group = "head", .learning_rate = 0.5}});
        if (number == 9) run.set_rates({{.path = "2.", .frozen = true}, {.tensor_role = role::bias, .decay = 0.0}});
        if (number == 14) run.set_rates({});
        return run.step(data.batch(number));
    });
    train<small<>>(out, "accumulation", entropy, adamw, {.gaps = true},
                   [](auto& run, auto& data, std::uint32_t number) {
                       accumulation sum{run};
                       sum.add(data.batch(number));
                       sum.add(data.batch(number + 100, 20));
                       return sum.update();
                   });
    train<small<>>(out, "input_gradients", entropy, adamw, {}, [](auto& run, auto& data, std::uint32_t number) {
        auto const batch = data.batch(number);
        std::vector<float> dx(static_cast<std::size_t>(batch_rows * width));
        run.input_gradients_of(batch, contiguous_view(dx.data(), batch_rows, width));
        run.gradients_of(batch);
        for (std::size_t i = 0; i < dx.size(); ++i)
            run.gradient("1.kernel").data[i % 96] += dx[i];
        return run.update();
    });
    train<small<>>(out, "batches", entropy, adamw, {}, [](auto& run, auto& data, std::uint32_t number) {
        batches<float> rows_of(view_of(data.batch(0, 60)), 16, seed{7});
        rows_of.begin_epoch(number / 4);
        return run.step(rows_of[number % 4]);
    });

    auto const with = [](auto const& batch_policy) {
        return [batch_policy](auto& net, data_view const& data, fit_options const& options) {
            return fit(net, entropy, adamw, data, options, batch_policy);
        };
    };
    fit_both<small<>>(out, "fit", with(batch::plain{}));
    fit_both<small<>>(out, "fit_mixup", with(batch::mixup<batch::mixed_per::row>{.alpha = 0.4}));
    fit_both<small<>>(out, "fit_cutmix", with(batch::cutmix{.alpha = 1.0, .probability = 0.75}));
    fit_both<small<transform::agreement<0.75>>>(
        out, "fit_two_streams", [](auto& net, data_view const& data, fit_options const& options) {
            return fit(net, entropy, adamw, data, reference_stream{loss::soft_cross_entropy{}, data}, options);
        });
}

} // namespace bits
