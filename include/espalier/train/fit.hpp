// SPDX-License-Identifier: Apache-2.0
// host only. Training on a data set: epochs, shuffling, validation, checkpoints, history.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/batch/plain.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/io/history.hpp>
#include <espalier/train/batch_storage.hpp>
#include <espalier/train/device_batch.hpp>
#include <espalier/train/epoch_log.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace espalier {

/// A second stream of gradients, for stacks with a transform that compares with one (`transform::agreement`): those of
/// `loss` on the rows of `data` at the places of the training rows of a batch, so both data sets have as many rows.
/// Augmentation acts on the training rows only.
template <class Loss> struct reference_stream {
    Loss loss;
    data_view data;
};
/// The data may be a `data_set` or a view.
template <class Loss, class Data> reference_stream(Loss, Data const&) -> reference_stream<Loss>;

namespace detail {

template <class Network, class Loss> constexpr data_needs needs_of() {
    return {Network::input_width, Network::output_width, loss::needs_labels<Loss>, loss::needs_dense_target<Loss>,
            loss::skips_missing_targets<Loss>};
}

template <class Network>
device_batch<typename Network::device_type, typename Network::scalar> make_transfer(Network& net,
                                                                                    data_view const& data) {
    return {net.capacity(), Network::input_width, Network::output_width, data.targets.columns};
}

template <class Training>
evaluation evaluate_in(Training& training, batch_storage<typename Training::scalar>& storage,
                       device_batch<typename Training::device_type, typename Training::scalar>& transfer,
                       data_view const& data) {
    using T = typename Training::scalar;
    using wide = master_of<T>;
    constexpr index_t width = Training::network_type::output_width;
    evaluation result;
    double right = 0.0, weight = 0.0, rows_that_count = 0.0;
    index_t const step = training.net().capacity();
    for (index_t r = 0; r < data.count(); r += step) {
        index_t const n = std::min(step, data.count() - r);
        storage.gather(data.middle_rows(r, n), nullptr, n);
        auto memory = storage.memory(n);
        if (memory.source.data) memory.inputs = memory.source;
        auto batch = storage.view(memory, n);
        batch.tags.partner_label = nullptr;
        batch.tags.mixing = nullptr;
        if (!data.has_weights()) batch.tags.weight = nullptr;
        batch.tags.first = static_cast<std::uint32_t>(r);
        index_t counted = 0;
        for (index_t i = 0; i < n; ++i) {
            counted += batch.tags.counts(i);
            weight += batch.tags.weight_of(i);
        }
        result.loss += training.evaluate(transfer.upload(batch)) * static_cast<double>(counted);
        rows_that_count += static_cast<double>(counted);
        if (!data.has_labels()) continue;
        auto const outputs = transfer.download(training.net().runner().device(), training.outputs(n));
        for (index_t i = 0; i < n; ++i) {
            T const* const row = outputs.row(i);
            index_t best = 0;
            for (index_t c = 1; c < width; ++c)
                if (static_cast<wide>(row[c]) > static_cast<wide>(row[best])) best = c;
            if (best == data.labels[r + i]) right += batch.tags.weight_of(i);
        }
    }
    if (rows_that_count > 0.0) result.loss /= rows_that_count;
    if (weight > 0.0) result.accuracy = right / weight;
    return result;
}

} // namespace detail

/// Mean loss and accuracy of a network on a data set, as it is used (no dropout). Throws as `fit` does.
template <class Network, class Loss> evaluation evaluate(Network& net, Loss const& loss, data_view const& data) {
    static_assert(detail::check_network<Network>());
    detail::check_fit_data(data, "evaluate", detail::needs_of<Network, Loss>());
    struct still {
        no_step at(clock const&, std::uint64_t) const { return {}; }
        void validate() const {}
    };
    training<Network, Loss, still> run(net, loss, still{});
    detail::batch_storage<typename Network::scalar> storage(net.capacity(), Network::input_width, data, false);
    auto transfer = detail::make_transfer(net, data);
    return detail::evaluate_in(run, storage, transfer, data);
}

/// What a network gives for every row of a data set, as it is used: count x output_width numbers, row-major; double of
/// a network in double, else float. Throws data_error for an empty or malformed data set, shape_error for another
/// width.
template <class Network> std::vector<typename Network::wide> predict(Network& net, data_view const& data) {
    using T = typename Network::scalar;
    constexpr index_t width = Network::output_width;
    check(data, "predict", 0, true);
    if (data.width() != Network::input_width)
        detail::throw_shape_error("predict: rows have ", data.width(), " features, the network takes ",
                                  Network::input_width);
    detail::batch_storage<T> storage(net.capacity(), Network::input_width, data, false);
    auto transfer = detail::make_transfer(net, data);
    typename Network::device_type::template buffer<T> outputs(net.capacity() * width);
    std::vector<typename Network::wide> result;
    result.reserve(static_cast<std::size_t>(data.count() * width));
    for (index_t r = 0; r < data.count(); r += net.capacity()) {
        index_t const n = std::min(net.capacity(), data.count() - r);
        storage.gather(data.middle_rows(r, n), nullptr, n);
        auto const batch = transfer.upload(storage.view(storage.memory(n), n));
        matrix_view<T> const y{outputs.data(), n, width, width};
        net.predict(batch.inputs, batch.tags, y);
        auto const values = transfer.download(net.runner().device(), matrix_view<T const>(y));
        for (index_t i = 0; i < n * width; ++i)
            result.push_back(static_cast<typename Network::wide>(values.data[i]));
    }
    return result;
}

namespace detail {

/// One step on the rows `order[0 ... n)` of the second data set as well.
template <class Network, class Loss> class second_stream {
    using T = typename Network::scalar;

public:
    second_stream(Network& net, reference_stream<Loss> const& stream, index_t count)
        : stream_(stream), storage_(net.capacity(), Network::input_width, checked(stream.data, count), false),
          transfer_(make_transfer(net, stream.data)) {}

    template <class Training>
    void step(Training& run, batch_view<T> const& batch, std::int64_t const* order, index_t n) {
        storage_.gather(stream_.data, order, n);
        batch_view<T> const reference = storage_.view(storage_.memory(n), n);
        sum_ += run.step(batch, transfer_.upload(reference), stream_.loss).reference * static_cast<double>(n);
    }
    static std::vector<std::string> columns() { return {"reference_loss"}; }
    void report(epoch_log& log, index_t count) {
        log.add_cell("reference_loss", sum_ / static_cast<double>(count));
        sum_ = 0.0;
    }

private:
    static data_view const& checked(data_view const& data, index_t count) {
        check_fit_data(data, "fit: data of the second stream", needs_of<Network, Loss>());
        if (data.count() != count)
            throw_data_error("fit: the second stream has ", data.count(), " rows, the training data have ", count,
                             "; row i of one goes with row i of the other");
        return data;
    }

    reference_stream<Loss> const& stream_;
    batch_storage<T> storage_;
    device_batch<typename Network::device_type, T> transfer_;
    double sum_ = 0.0;
};

struct one_stream {
    template <class Training, class Batch> void step(Training& run, Batch const& batch, std::int64_t const*, index_t) {
        run.step(batch);
    }
    static std::vector<std::string> columns() { return {}; }
    void report(epoch_log&, index_t) {}
};

/// A batch policy whose `apply` has other arguments would be taken for one that leaves rows as they are.
template <class Batch, class T> consteval bool check_batch_policy() {
    constexpr bool applies = batch::applies_to_batch<Batch, T> || std::is_same_v<Batch, batch::plain>;
    static_assert(diagnostic::holds<applies, diagnostic::given_type<Batch>>,
                  "espalier: a batch policy needs `template <class T> void apply(batch_memory<T>& batch, index_t n, "
                  "shape of_row, clock const& now, random_site const& site) const`; the next lines name the type");
    return applies;
}

template <class Network, class Batch> consteval bool check_fit() {
    if constexpr (check_network<Network>())
        return check_batch_policy<Batch, typename Network::scalar>();
    else
        return false;
}

/// `make_stream(net)` gives what takes the steps; it is called once everything else was found to fit.
template <class Network, class Loss, class Optimizer, class Batch, class MakeStream>
history fit_with(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data, fit_options options,
                 Batch const& batch_policy, MakeStream const& make_stream) {
    using T = typename Network::scalar;
    constexpr bool mixes = batch::applies_to_batch<Batch, T>;
    constexpr data_needs needs = needs_of<Network, Loss>();
    check_fit_data(data, "fit: training data", needs);
    check_fit_options(data, options, needs);
    if constexpr (requires { batch_policy.validate(); }) batch_policy.validate();
    if constexpr (requires { Batch::mixes_rows; })
        if (Batch::mixes_rows && data.has_weights())
            throw_data_error("fit: the training data have weights of rows, and ", Batch::name,
                             " makes one row of two, which would need a weight for each of both losses");
    net.reserve(options.batch);
    auto stream = make_stream(net);

    training<Network, Loss, Optimizer> run(net, loss, optimizer, data.count(), options.rates);
    run.decide_with(options.decide);
    auto const steps_per_epoch = static_cast<std::uint64_t>((data.count() + options.batch - 1) / options.batch);
    batch_storage<T> storage(net.capacity(), Network::input_width, data, mixes);
    auto transfer = make_transfer(net, data);
    std::vector<std::int64_t> order(static_cast<std::size_t>(data.count()));

    epoch_log log(options, steps_per_epoch, run.term_names(), run.measure_names());
    log.check_columns(stream.columns());
    if (options.start_over) run.start_over();
    if (log.resumes()) {
        std::vector<follower> readers = options.followers;
        readers.push_back(log.reader(options.values));
        load_training(run, log.last_file(), readers);
        log.settle();
    }
    {
        clock now = run.time();
        now.epoch_begin = now.step;
        now.steps_per_epoch = steps_per_epoch;
        run.set_time(now);
    }
    auto const set_values = [&] {
        for (named_value const& v : options.values)
            run.set_value(v.name, v.value);
    };
    set_values();
    auto const with_context = [&](auto const& action) {
        try {
            action();
        } catch (numerical_error const& problem) {
            log.fail(problem.what());
        }
    };

    std::uint64_t const last_epoch = run.progress().first_epoch + static_cast<std::uint64_t>(options.epochs);
    while (run.time().epoch < last_epoch && log.goes_on()) {
        std::uint64_t const epoch = run.time().epoch;
        log.begin_epoch(epoch);
        order_rows(order, options.shuffle, net.random_seed().value, epoch);
        for (index_t r = 0; r < data.count(); r += options.batch) {
            index_t const n = std::min(options.batch, data.count() - r);
            storage.gather(data, order.data() + r, n);
            auto memory = storage.memory(n);
            if constexpr (mixes)
                batch_policy.apply(memory, n, Network::layer::input, run.progress().since(run.time()),
                                   make_site(net.random_seed().value, batch_stream, run.time().step));
            with_context(
                [&] { stream.step(run, transfer.upload_counted(storage.view(memory, n)), order.data() + r, n); });
            for (follower const& f : options.followers)
                f.after_step(run.time());
            if (options.on_step) options.on_step(run.time());
            log.add_step(run.progress().updates, run.terms(), run.measures(), run.counted_rows());
        }
        stream.report(log, data.count());
        evaluation validation;
        bool const validates = options.validation.count() > 0;
        if (validates) validation = evaluate_in(run, storage, transfer, options.validation);
        log.end_epoch(run.time().step, validates ? &validation : nullptr);
        // The best network is the one that was judged; the last one already has the values of its next step.
        if (log.keeps() && log.better()) save(net, log.new_best_file(), log.best_metadata());
        if (options.on_epoch) {
            if (!options.on_epoch(log.record(), options.values)) log.stop();
            // Before a checkpoint is written: it is to be a good one.
            with_context([&] { run.require_finite_weights(); });
        }
        set_values();
        if (log.keeps()) {
            save_training(run, log.last_file(), log.metadata(), options.followers);
            log.settle();
        }
    }
    return log.finish();
}

} // namespace detail

/// Trains a network. Returns one row an epoch: epoch, step, the mean of the loss and of every term by name, their
/// total, the mean of every measure by name (how mixtures of experts routed), validation_loss, validation_accuracy,
/// seconds.
///
/// Two runs with one seed are bitwise equal; a run resumed from a checkpoint is bitwise equal to an unbroken one, and
/// so is one that was killed at any moment and started again with `.resume`. A further call on the same network goes on
/// where the last one stopped: in the random bits and the order of the rows, in the schedules of the network's
/// policies, and in the numbers of epochs and steps. Only the optimizer begins anew, its schedules with it. With
/// `.start_over` time begins at 0 again.
///
/// Throws, before anything is changed: data_error for an empty or malformed data set, labels out of range or not-finite
/// features, shape_error for widths that do not fit. Throws numerical_error when the loss stops being finite: the
/// weights are those before that step and the last checkpoint is kept.
template <class Network, class Loss, class Optimizer, class Batch = batch::plain>
history fit(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data, fit_options options = {},
            Batch const& batch_policy = {}) {
    if constexpr (detail::check_fit<Network, Batch>())
        return detail::fit_with(net, loss, optimizer, data, std::move(options), batch_policy,
                                [](Network&) { return detail::one_stream{}; });
    else
        return {};
}

/// The same with a second stream of gradients, whose mean loss is `reference_loss` in the history. Costs a second
/// forward and backward pass a step. Throws data_error as well when the second data set has another number of rows.
template <class Network, class Loss, class Optimizer, class ReferenceLoss, class Batch = batch::plain>
history fit(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data,
            reference_stream<ReferenceLoss> const& reference, fit_options options = {},
            Batch const& batch_policy = {}) {
    if constexpr (detail::check_fit<Network, Batch>())
        return detail::fit_with(net, loss, optimizer, data, std::move(options), batch_policy, [&](Network& made) {
            return detail::second_stream<Network, ReferenceLoss>(made, reference, data.count());
        });
    else
        return {};
}

} // namespace espalier
