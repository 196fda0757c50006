// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of train/epoch_log.hpp; see core/library.hpp.
#pragma once

#include <espalier/train/epoch_log.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/progress.hpp>
#include <espalier/io/safetensors.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY void check_fit_data(data_view const& data, std::string_view what, data_needs const& needs) {
    check(data, what, needs.labels ? needs.output_width : 0, needs.targets_may_miss);
    if (data.width() != needs.input_width)
        throw_shape_error(what, ": rows have ", data.width(), " features, the network takes ", needs.input_width);
    if (needs.labels && !data.has_labels()) throw_data_error(what, ": the loss needs labels, there are none");
    if (!needs.targets) return;
    if (!data.has_targets()) throw_data_error(what, ": the loss needs target rows, there are none");
    if (data.targets.columns != needs.output_width)
        throw_shape_error(what, ": targets have ", data.targets.columns, " columns, the network has ",
                          needs.output_width, " outputs");
}

ESPALIER_LIBRARY void check_fit_options(data_view const& data, fit_options const& options, data_needs const& needs) {
    if (options.validation.count() > 0) {
        check_fit_data(options.validation, "fit: validation data", needs);
        if ((data.keys.size != 0) != (options.validation.keys.size != 0) ||
            (data.groups.size != 0) != (options.validation.groups.size != 0))
            throw data_error("fit: the training data and the validation data must both have keys or groups, or "
                             "neither of them");
    }
    if (options.epochs < 0 || options.batch < 1)
        throw_data_error("fit: ", options.epochs, " epochs with batches of ", options.batch,
                         " rows; needed are at least 0 and 1");
}

ESPALIER_LIBRARY void order_rows(std::vector<std::int64_t>& order, bool shuffle, std::uint64_t seed,
                                 std::uint64_t epoch) {
    if (shuffle)
        random_permutation(make_site(seed, order_stream, epoch),
                           array_view<std::int64_t>{order.data(), static_cast<index_t>(order.size())});
    else
        for (std::size_t i = 0; i < order.size(); ++i)
            order[i] = static_cast<std::int64_t>(i);
}

inline double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ESPALIER_LIBRARY epoch_log::epoch_log(fit_options const& options, std::uint64_t steps_per_epoch,
                                      std::vector<std::string> term_names,
                                      std::vector<std::string> const& measure_names)
    : options_(&options), term_names_(std::move(term_names)), measure_names_(&measure_names),
      bar_(std::make_unique<progress_bar>(static_cast<std::uint64_t>(options.epochs) * steps_per_epoch)) {
    std::filesystem::path const folder = options.checkpoints.string();
    last_file_ = folder / "last.safetensors";
    best_file_ = folder / "best.safetensors";
    new_best_file_ = folder / "best.safetensors.new";
    history_file_ = folder / "history.json";
}
ESPALIER_LIBRARY epoch_log::~epoch_log() = default;

ESPALIER_LIBRARY void epoch_log::check_columns(std::vector<std::string> const& further) const {
    std::vector<std::string> columns{"epoch", "step", "total", "seconds"};
    auto const add = [&](std::vector<std::string> const& names) {
        columns.insert(columns.end(), names.begin(), names.end());
    };
    add(term_names_);
    add(further);
    add(*measure_names_);
    if (options_->validation.count() > 0) {
        add({"validation_loss"});
        if (options_->validation.has_labels()) add({"validation_accuracy"});
    }
    for (epoch_measure const& one : options_->measures) {
        if (!one.value) throw_data_error("fit: the measure ", one.name, " has no function");
        if (one.name.empty() || std::find(columns.begin(), columns.end(), one.name) != columns.end())
            throw_data_error("fit: the history has a column '", one.name, "' without the measure of that name");
        columns.push_back(one.name);
    }
    std::string const& judge = options_->judge.name;
    if (judge.empty() || std::find(columns.begin(), columns.end(), judge) != columns.end()) return;
    std::string known;
    for (std::string const& name : columns)
        add_to_list(known, name);
    throw_data_error("fit: epochs are judged by the column ", judge,
                     ", which the history does not have; its columns are ", known);
}

/// How a checkpoint says what epochs are judged by.
inline std::string words_for(judged_column const& judge) {
    return judge.name.empty() ? std::string{} : (judge.greatest ? "greatest " : "least ") + judge.name;
}

ESPALIER_LIBRARY bool epoch_log::resumes() const {
    if (!keeps()) return false;
    std::filesystem::create_directories(options_->checkpoints.string());
    for (file_path const& file : {last_file_, best_file_, new_best_file_, history_file_})
        remove_abandoned_parts(file);
    if (options_->resume && std::filesystem::exists(last_file_.string())) return true;
    remove_file(new_best_file_);
    return false;
}

ESPALIER_LIBRARY follower epoch_log::reader(std::vector<named_value>& values) {
    follower result;
    result.read = [this, &values](safetensors_file const& file) -> std::function<void()> {
        auto const& metadata = file.metadata();
        double const best = metadata_number(file, "best", best_);
        auto const since_best = static_cast<index_t>(metadata_count(file, "since_best", 0));
        // A file of a version that did not say it has a best network beside it all the same.
        std::uint64_t const best_epoch = metadata_count(file, "best_epoch", ~std::uint64_t{0});
        auto const judge = metadata.find("judge");
        std::string const judged = judge == metadata.end() ? std::string{} : judge->second;
        if (judged != words_for(options_->judge))
            throw_data_error("fit: ", last_file_.string(), " is of a run whose epochs were judged by the ",
                             judged.empty() ? "validation loss" : judged, ", and this one's are by the ",
                             options_->judge.name.empty() ? "validation loss" : words_for(options_->judge),
                             "; they cannot be compared");
        bool const stopped = metadata_count(file, "stopped", 0) != 0;
        history record;
        if (auto const found = metadata.find("history"); found != metadata.end())
            record = history::from_json(found->second, last_file_.string());
        else if (std::filesystem::exists(history_file_.string())) // of a version that did not keep it in the checkpoint
            record = history::read_json(history_file_);
        kept_time const time = time_in(file);
        return [=, this, &values] {
            best_ = best;
            since_best_ = since_best;
            best_epoch_ = best_epoch;
            stopped_ = stopped;
            record_ = record;
            for (named_value& mine : values)
                for (named_value const& saved : time.now().values)
                    if (saved.name == mine.name) mine.value = saved.value;
        };
    };
    return result;
}

ESPALIER_LIBRARY void epoch_log::begin_epoch(std::uint64_t epoch) {
    epoch_ = epoch;
    start_ = seconds_now();
    sums_.assign(term_names_.size(), 0.0);
    measured_.assign(measure_names_->size(), 0.0);
    cells_.clear();
    rows_ = 0;
}

ESPALIER_LIBRARY void epoch_log::add_step(std::uint64_t step, std::vector<double> const& terms,
                                          std::vector<double> const& measures, index_t n) {
    for (std::size_t i = 0; i < sums_.size(); ++i)
        sums_[i] += terms[i] * static_cast<double>(n);
    for (std::size_t i = 0; i < measured_.size(); ++i)
        measured_[i] += measures[i] * static_cast<double>(n);
    rows_ += n;
    if (options_->progress) bar_->update(step, text_of("epoch ", epoch_ + 1, "  loss ", rounded{terms[0]}));
}

ESPALIER_LIBRARY void epoch_log::add_cell(std::string_view name, double value) {
    cells_.emplace_back(name, value);
}

ESPALIER_LIBRARY void epoch_log::end_epoch(std::uint64_t step, evaluation const* validation) {
    std::vector<history::cell> row{{"epoch", static_cast<double>(epoch_ + 1)}, {"step", static_cast<double>(step)}};
    auto const count = rows_ > 0 ? static_cast<double>(rows_) : 1.0;
    double total = 0.0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
        sums_[i] /= count;
        total += sums_[i];
        row.emplace_back(term_names_[i], sums_[i]);
    }
    row.emplace_back("total", total);
    for (auto const& [name, value] : cells_)
        row.emplace_back(name, value);
    for (std::size_t i = 0; i < measured_.size(); ++i)
        row.emplace_back((*measure_names_)[i], measured_[i] / count);
    if (validation) {
        row.emplace_back("validation_loss", validation->loss);
        if (options_->validation.has_labels()) row.emplace_back("validation_accuracy", validation->accuracy);
    }
    for (epoch_measure const& one : options_->measures)
        row.emplace_back(one.name, one.value());
    double judged = validation ? validation->loss : total;
    for (auto const& [name, value] : row)
        if (name == options_->judge.name) judged = options_->judge.greatest ? -value : value;
    better_ = judged < best_;
    if (better_) {
        best_ = judged;
        best_epoch_ = epoch_ + 1;
        since_best_ = 0;
    } else {
        ++since_best_;
    }
    row.emplace_back("seconds", seconds_now() - start_);
    record_.append(row);
}

ESPALIER_LIBRARY std::map<std::string, std::string> epoch_log::best_metadata() const {
    return {{"best_epoch", std::to_string(best_epoch_)}};
}
ESPALIER_LIBRARY std::map<std::string, std::string> epoch_log::metadata() const {
    char number[40];
    std::snprintf(number, sizeof number, "%.17g", best_);
    return {{"best", number},
            {"since_best", std::to_string(since_best_)},
            {"best_epoch", std::to_string(best_epoch_)},
            {"stopped", stopped_ ? "1" : "0"},
            {"judge", words_for(options_->judge)},
            {"history", record_.to_json()}};
}
ESPALIER_LIBRARY void epoch_log::settle() const {
    if (std::filesystem::exists(new_best_file_.string())) {
        // Written for an epoch whose checkpoint never was, it does not count.
        auto const found = read_safetensors(new_best_file_);
        auto const epoch = found.metadata().find("best_epoch");
        if (epoch != found.metadata().end() && epoch->second == std::to_string(best_epoch_))
            move_file(new_best_file_, best_file_);
        else
            remove_file(new_best_file_);
    }
    if (best_epoch_ == 0) remove_file(best_file_); // there is one of an earlier run only
    record_.write_json(history_file_);
}
ESPALIER_LIBRARY bool epoch_log::goes_on() const {
    return !stopped_ && (options_->patience <= 0 || since_best_ < options_->patience);
}
ESPALIER_LIBRARY void epoch_log::fail(std::string_view words) const {
    bool const there = keeps() && std::filesystem::exists(last_file_.string());
    throw_numerical_error(words, " (epoch ", epoch_ + 1, ")",
                          there ? "; the last checkpoint is " + last_file_.string()
                                : std::string("; there is no checkpoint"));
}
ESPALIER_LIBRARY history epoch_log::finish() {
    if (options_->progress) bar_->finish();
    return std::move(record_);
}

} // namespace detail

} // namespace espalier
