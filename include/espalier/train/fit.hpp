// SPDX-License-Identifier: Apache-2.0
// host only. Training on a data set: epochs, shuffling, validation, checkpoints, history.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/batch/plain.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/io/history.hpp>
#include <espalier/io/progress.hpp>
#include <espalier/train/device_batch.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

/// How `fit` trains. Every field has a neutral default.
struct fit_options {
    index_t epochs = 10;
    index_t batch = 128;
    data_view validation{};              ///< empty: no validation
    bool shuffle = true;                 ///< a new order every epoch, from the network's seed
    index_t patience = 0;                ///< stop after this many epochs without a better validation loss; 0: never
    std::filesystem::path checkpoints{}; ///< folder for best.safetensors and last.safetensors; empty: none
    bool resume = false;                 ///< go on from last.safetensors when it is there
    std::vector<rate_rule> rates{};      ///< learning rates, decay and freezing by tensor
    std::vector<named_value> values{};   ///< what `schedule::runtime` reads; may be changed in `on_epoch`
    bool progress = true;                ///< a progress bar on standard error, when that is a terminal
    /// Called after every epoch with the history so far; returning false ends the training.
    std::function<bool(history const&, std::vector<named_value>&)> on_epoch{};
    /// Called after every step with the time of the next one.
    std::function<void(clock const&)> on_step{};
    std::vector<follower> followers{}; ///< go along and are part of last.safetensors: an averaging teacher
};

/// A second stream of gradients, for stacks with a transform that compares with one (`transform::agreement`): those of
/// `loss` on the rows of `data` at the places of the training rows of a batch, so both data sets have as many rows.
/// Augmentation acts on the training rows only.
template <class Loss> struct reference_stream {
    Loss loss;
    data_view data;
};
template <class Loss, class Data> reference_stream(Loss, Data const&) -> reference_stream<Loss>;

/// Mean loss and, where there are labels, the share of rows whose largest output is the label's.
struct evaluation {
    double loss = 0.0;
    double accuracy = 0.0;
};

namespace detail {

/// Buffers that hold one batch, allocated once.
template <class T> class batch_storage {
public:
    batch_storage(index_t capacity, index_t width, data_view const& data, bool mixes)
        : inputs_(static_cast<std::size_t>(capacity * width)),
          source_(mixes ? static_cast<std::size_t>(capacity * width) : 0),
          targets_(data.has_targets() ? static_cast<std::size_t>(capacity * data.targets.columns) : 0),
          label_(data.has_labels() ? static_cast<std::size_t>(capacity) : 0), partner_(mixes ? label_.size() : 0),
          mixing_(mixes ? static_cast<std::size_t>(capacity) : 0),
          weight_(mixes ? static_cast<std::size_t>(capacity) : 0), sample_(static_cast<std::size_t>(capacity)),
          key_(data.keys.size != 0 ? static_cast<std::size_t>(capacity) : 0),
          group_(data.groups.size != 0 ? static_cast<std::size_t>(capacity) : 0), width_(width),
          target_width_(data.targets.columns) {}

    /// Copies the rows `order[first ...]` of the data into the buffers.
    void gather(data_view const& data, std::int64_t const* order, index_t n) {
        std::vector<T>& into = source_.empty() ? inputs_ : source_;
        for (index_t i = 0; i < n; ++i) {
            index_t const from = order ? order[i] : i;
            float const* const row = data.features.row(from);
            T* const to = into.data() + i * width_;
            for (index_t c = 0; c < width_; ++c)
                to[c] = static_cast<T>(row[c]);
            if (!label_.empty()) label_[static_cast<std::size_t>(i)] = data.labels[from];
            for (index_t c = 0; c < target_width_ && !targets_.empty(); ++c)
                targets_[static_cast<std::size_t>(i * target_width_ + c)] = data.targets(from, c);
            sample_[static_cast<std::size_t>(i)] = from;
            if (!key_.empty()) key_[static_cast<std::size_t>(i)] = data.keys[from];
            if (!group_.empty()) group_[static_cast<std::size_t>(i)] = data.groups[from];
        }
        for (std::size_t i = 0; i < mixing_.size(); ++i) {
            mixing_[i] = 1.0f;
            weight_[i] = 1.0f;
        }
        for (std::size_t i = 0; i < partner_.size(); ++i)
            partner_[i] = label_[i];
    }

    batch::batch_memory<T> memory(index_t n) {
        batch::batch_memory<T> m;
        if (!source_.empty()) m.source = {source_.data(), n, width_, width_};
        m.inputs = {inputs_.data(), n, width_, width_};
        if (!targets_.empty()) m.targets = {targets_.data(), n, target_width_, target_width_};
        m.label = label_.empty() ? nullptr : label_.data();
        m.partner_label = partner_.empty() ? nullptr : partner_.data();
        m.mixing = mixing_.empty() ? nullptr : mixing_.data();
        m.weight = weight_.empty() ? nullptr : weight_.data();
        m.sample = sample_.data();
        return m;
    }

    batch_view<T> view(batch::batch_memory<T> const& m, index_t n) const {
        batch_view<T> b;
        b.inputs = m.inputs;
        b.targets = m.targets;
        b.tags.count = n;
        b.tags.label = m.label;
        b.tags.partner_label = m.partner_label;
        b.tags.mixing = m.mixing;
        b.tags.weight = m.weight;
        b.tags.sample = m.sample;
        b.tags.key = key_.empty() ? nullptr : key_.data();
        b.tags.group = group_.empty() ? nullptr : group_.data();
        return b;
    }

private:
    std::vector<T> inputs_;
    std::vector<T> source_;
    std::vector<float> targets_;
    std::vector<std::int32_t> label_;
    std::vector<std::int32_t> partner_;
    std::vector<float> mixing_;
    std::vector<float> weight_;
    std::vector<std::int64_t> sample_;
    std::vector<std::uint64_t> key_;
    std::vector<std::int32_t> group_;
    index_t width_;
    index_t target_width_;
};

/// The stream of random bits that orders the data; layers count theirs from 0.
inline constexpr std::uint64_t order_stream = ~std::uint64_t{0};
inline constexpr std::uint64_t batch_stream = order_stream - 1;

template <class Network, class Loss> void check_fit_data(data_view const& data, std::string const& what) {
    constexpr bool labels = loss::needs_labels<Loss>;
    check(data, what, labels ? Network::output_width : 0, loss::skips_missing_targets<Loss>);
    if (data.width() != Network::input_width)
        throw shape_error(what + ": rows have " + std::to_string(data.width()) + " features, the network takes " +
                          std::to_string(Network::input_width));
    if (labels && !data.has_labels()) throw data_error(what + ": the loss needs labels, there are none");
    if (loss::needs_dense_target<Loss>) {
        if (!data.has_targets()) throw data_error(what + ": the loss needs target rows, there are none");
        if (data.targets.columns != Network::output_width)
            throw shape_error(what + ": targets have " + std::to_string(data.targets.columns) +
                              " columns, the network has " + std::to_string(Network::output_width) + " outputs");
    }
}

template <class Network>
device_batch<typename Network::device_type, typename Network::scalar> make_transfer(Network& net, data_view const& data,
                                                                                    bool mixes) {
    return {net.capacity(), Network::input_width, Network::output_width, data.targets.columns, data.has_labels(),
            mixes,          data.keys.size != 0,  data.groups.size != 0};
}

template <class Training>
evaluation evaluate_in(Training& training, batch_storage<typename Training::scalar>& storage,
                       device_batch<typename Training::device_type, typename Training::scalar>& transfer,
                       data_view const& data) {
    using T = typename Training::scalar;
    constexpr index_t width = Training::network_type::output_width;
    evaluation result;
    index_t right = 0;
    index_t const step = training.net().capacity();
    for (index_t r = 0; r < data.count(); r += step) {
        index_t const n = std::min(step, data.count() - r);
        storage.gather(data.middle_rows(r, n), nullptr, n);
        auto memory = storage.memory(n);
        if (memory.source.data) memory.inputs = memory.source;
        auto batch = storage.view(memory, n);
        batch.tags.partner_label = nullptr;
        batch.tags.mixing = nullptr;
        batch.tags.weight = nullptr;
        batch.tags.first = static_cast<std::uint32_t>(r);
        result.loss += training.evaluate(transfer.upload(batch)) * static_cast<double>(n);
        if (!data.has_labels()) continue;
        auto const outputs = transfer.download(training.net().runner().device(), training.outputs(n));
        for (index_t i = 0; i < n; ++i) {
            T const* const row = outputs.row(i);
            index_t best = 0;
            for (index_t c = 1; c < width; ++c)
                if (static_cast<float>(row[c]) > static_cast<float>(row[best])) best = c;
            right += best == data.labels[r + i];
        }
    }
    result.loss /= static_cast<double>(data.count());
    result.accuracy = static_cast<double>(right) / static_cast<double>(data.count());
    return result;
}

} // namespace detail

/// Mean loss and accuracy of a network on a data set, as it is used (no dropout). Throws as `fit` does.
template <class Network, class Loss> evaluation evaluate(Network& net, Loss const& loss, data_view const& data) {
    detail::check_fit_data<Network, Loss>(data, "evaluate");
    struct still {
        no_step at(clock const&, std::uint64_t) const { return {}; }
        void validate() const {}
    };
    training<Network, Loss, still> run(net, loss, still{});
    detail::batch_storage<typename Network::scalar> storage(net.capacity(), Network::input_width, data, false);
    auto transfer = detail::make_transfer(net, data, false);
    return detail::evaluate_in(run, storage, transfer, data);
}

/// What a network gives for every row of a data set, as it is used: count x output_width numbers, row-major. `now` as
/// for `network::predict`. Throws data_error for an empty or malformed data set, shape_error for another width.
template <class Network> std::vector<float> predict(Network& net, data_view const& data, clock const& now = {}) {
    using T = typename Network::scalar;
    constexpr index_t width = Network::output_width;
    check(data, "predict", 0, true);
    if (data.width() != Network::input_width)
        throw shape_error("predict: rows have " + std::to_string(data.width()) + " features, the network takes " +
                          std::to_string(Network::input_width));
    detail::batch_storage<T> storage(net.capacity(), Network::input_width, data, false);
    auto transfer = detail::make_transfer(net, data, false);
    typename Network::device_type::template buffer<T> outputs(net.capacity() * width);
    std::vector<float> result;
    result.reserve(static_cast<std::size_t>(data.count() * width));
    for (index_t r = 0; r < data.count(); r += net.capacity()) {
        index_t const n = std::min(net.capacity(), data.count() - r);
        storage.gather(data.middle_rows(r, n), nullptr, n);
        auto const batch = transfer.upload(storage.view(storage.memory(n), n));
        matrix_view<T> const y{outputs.data(), n, width, width};
        net.predict(batch.inputs, batch.tags, y, now);
        auto const values = transfer.download(net.runner().device(), matrix_view<T const>(y));
        for (index_t i = 0; i < n * width; ++i)
            result.push_back(static_cast<float>(values.data[i]));
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
          transfer_(make_transfer(net, stream.data, false)) {}

    template <class Training>
    void step(Training& run, batch_view<T> const& batch, std::int64_t const* order, index_t n) {
        storage_.gather(stream_.data, order, n);
        batch_view<T> const reference = storage_.view(storage_.memory(n), n);
        sum_ += run.step(batch, transfer_.upload(reference), stream_.loss).reference * static_cast<double>(n);
    }
    void report(std::vector<history::cell>& row, index_t count) {
        row.emplace_back("reference_loss", sum_ / static_cast<double>(count));
        sum_ = 0.0;
    }

private:
    static data_view const& checked(data_view const& data, index_t count) {
        check_fit_data<Network, Loss>(data, "fit: data of the second stream");
        if (data.count() != count)
            throw data_error("fit: the second stream has " + std::to_string(data.count()) +
                             " rows, the training data have " + std::to_string(count) +
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
    void report(std::vector<history::cell>&, index_t) {}
};

/// `make_stream(net)` gives what takes the steps; it is called once everything else was found to fit.
template <class Network, class Loss, class Optimizer, class Batch, class MakeStream>
history fit_with(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data, fit_options options,
                 Batch const& batch_policy, MakeStream const& make_stream) {
    using T = typename Network::scalar;
    constexpr bool mixes = batch::applies_to_batch<Batch, T>;
    detail::check_fit_data<Network, Loss>(data, "fit: training data");
    bool const validates = options.validation.count() > 0;
    if (validates) {
        detail::check_fit_data<Network, Loss>(options.validation, "fit: validation data");
        if ((data.keys.size != 0) != (options.validation.keys.size != 0) ||
            (data.groups.size != 0) != (options.validation.groups.size != 0))
            throw data_error("fit: the training data and the validation data must both have keys or groups, or "
                             "neither of them");
    }
    if (options.epochs < 0 || options.batch < 1)
        throw data_error("fit: " + std::to_string(options.epochs) + " epochs with batches of " +
                         std::to_string(options.batch) + " rows; needed are at least 0 and 1");
    if constexpr (requires { batch_policy.validate(); }) batch_policy.validate();
    net.reserve(options.batch);
    auto stream = make_stream(net);

    training<Network, Loss, Optimizer> run(net, loss, optimizer, data.count(), options.rates);
    auto const steps_per_epoch = static_cast<std::uint64_t>((data.count() + options.batch - 1) / options.batch);
    run.time().steps_per_epoch = steps_per_epoch;
    run.time().values = {options.values.data(), static_cast<index_t>(options.values.size())};
    detail::batch_storage<T> storage(net.capacity(), Network::input_width, data, mixes);
    auto transfer = detail::make_transfer(net, data, mixes);
    std::vector<std::int64_t> order(static_cast<std::size_t>(data.count()));
    std::vector<std::string> const term_names = run.term_names();

    history record;
    double best = std::numeric_limits<double>::infinity();
    index_t since_best = 0;
    std::filesystem::path const last_file = options.checkpoints / "last.safetensors";
    std::filesystem::path const best_file = options.checkpoints / "best.safetensors";
    std::filesystem::path const record_file = options.checkpoints / "history.json";
    bool const keeps = !options.checkpoints.empty();
    if (keeps) std::filesystem::create_directories(options.checkpoints);
    if (keeps && options.resume && std::filesystem::exists(last_file)) {
        auto const metadata = load_training(run, last_file, options.followers);
        run.time().steps_per_epoch = steps_per_epoch;
        run.time().values = {options.values.data(), static_cast<index_t>(options.values.size())};
        if (auto const found = metadata.find("best"); found != metadata.end()) best = std::stod(found->second);
        if (auto const found = metadata.find("since_best"); found != metadata.end())
            since_best = std::stoll(found->second);
        if (std::filesystem::exists(record_file)) record = history::read_json(record_file);
    }

    auto const stopping_with_context = [&](auto const& action, std::uint64_t epoch) {
        try {
            action();
        } catch (numerical_error const& problem) {
            throw numerical_error(std::string(problem.what()) + " (epoch " + std::to_string(epoch) + ")" +
                                  (keeps ? "; the last good checkpoint is " + last_file.string() : ""));
        }
    };

    progress_bar bar(static_cast<std::uint64_t>(options.epochs) * steps_per_epoch);
    while (run.time().epoch < static_cast<std::uint64_t>(options.epochs)) {
        auto const start = std::chrono::steady_clock::now();
        std::uint64_t const epoch = run.time().epoch;
        if (options.shuffle)
            random_permutation(make_site(net.random_seed().value, detail::order_stream, epoch),
                               array_view<std::int64_t>{order.data(), data.count()});
        else
            for (std::size_t i = 0; i < order.size(); ++i)
                order[i] = static_cast<std::int64_t>(i);

        std::vector<double> sums(term_names.size()), measured(run.measures().size());
        for (index_t r = 0; r < data.count(); r += options.batch) {
            index_t const n = std::min(options.batch, data.count() - r);
            storage.gather(data, order.data() + r, n);
            auto memory = storage.memory(n);
            if constexpr (mixes)
                batch_policy.apply(memory, n, Network::layer::input, run.time(),
                                   make_site(net.random_seed().value, detail::batch_stream, run.time().step));
            stopping_with_context(
                [&] { stream.step(run, transfer.upload(storage.view(memory, n)), order.data() + r, n); }, epoch);
            for (follower const& f : options.followers)
                f.after_step(run.time());
            if (options.on_step) options.on_step(run.time());
            for (std::size_t i = 0; i < sums.size(); ++i)
                sums[i] += run.terms()[i] * static_cast<double>(n);
            for (std::size_t i = 0; i < measured.size(); ++i)
                measured[i] += run.measures()[i] * static_cast<double>(n);
            if (options.progress)
                bar.update(run.time().step,
                           "epoch " + std::to_string(epoch + 1) + "  loss " + std::to_string(run.terms()[0]));
        }
        // Before a checkpoint is written: it is to be a good one.
        stopping_with_context([&] { run.require_finite_weights(); }, epoch);
        run.time().epoch = epoch + 1;

        std::vector<history::cell> row{{"epoch", static_cast<double>(epoch + 1)},
                                       {"step", static_cast<double>(run.time().step)}};
        double total = 0.0;
        for (std::size_t i = 0; i < sums.size(); ++i) {
            sums[i] /= static_cast<double>(data.count());
            total += sums[i];
            row.emplace_back(term_names[i], sums[i]);
        }
        row.emplace_back("total", total);
        stream.report(row, data.count());
        for (std::size_t i = 0; i < measured.size(); ++i)
            row.emplace_back(run.measure_names()[i], measured[i] / static_cast<double>(data.count()));
        bool better = false;
        evaluation validation;
        if (validates) {
            validation = detail::evaluate_in(run, storage, transfer, options.validation);
            row.emplace_back("validation_loss", validation.loss);
            if (options.validation.has_labels()) row.emplace_back("validation_accuracy", validation.accuracy);
            better = validation.loss < best;
        } else {
            better = total < best;
        }
        if (better) {
            best = validates ? validation.loss : total;
            since_best = 0;
        } else {
            ++since_best;
        }
        row.emplace_back("seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        record.append(row);
        if (keeps) {
            char number[40];
            std::snprintf(number, sizeof number, "%.17g", best);
            save_training(run, last_file, {{"best", number}, {"since_best", std::to_string(since_best)}},
                          options.followers);
            record.write_json(record_file);
            if (better) save(net, best_file);
        }
        if (options.on_epoch && !options.on_epoch(record, options.values)) break;
        run.time().values = {options.values.data(), static_cast<index_t>(options.values.size())};
        if (options.patience > 0 && since_best >= options.patience) break;
    }
    if (options.progress) bar.finish();
    return record;
}

} // namespace detail

/// Trains a network. Returns one row an epoch: epoch, step, the mean of the loss and of every term by name, their
/// total, the mean of every measure by name (how mixtures of experts routed), validation_loss, validation_accuracy,
/// seconds.
///
/// Two runs with one seed are bitwise equal; a run resumed from a checkpoint is bitwise equal to an unbroken one.
/// Throws, before anything is changed: data_error for an empty or malformed data set, labels out of range or not-finite
/// features, shape_error for widths that do not fit. Throws numerical_error when the loss stops being finite: the
/// weights are those before that step and the last checkpoint is kept.
template <class Network, class Loss, class Optimizer, class Batch = batch::plain>
history fit(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data, fit_options options = {},
            Batch const& batch_policy = {}) {
    return detail::fit_with(net, loss, optimizer, data, std::move(options), batch_policy,
                            [](Network&) { return detail::one_stream{}; });
}

/// The same with a second stream of gradients, whose mean loss is `reference_loss` in the history. Costs a second
/// forward and backward pass a step. Throws data_error as well when the second data set has another number of rows.
template <class Network, class Loss, class Optimizer, class ReferenceLoss, class Batch = batch::plain>
history fit(Network& net, Loss const& loss, Optimizer const& optimizer, data_view const& data,
            reference_stream<ReferenceLoss> const& reference, fit_options options = {},
            Batch const& batch_policy = {}) {
    return detail::fit_with(net, loss, optimizer, data, std::move(options), batch_policy, [&](Network& made) {
        return detail::second_stream<Network, ReferenceLoss>(made, reference, data.count());
    });
}

} // namespace espalier
