// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of train/epoch_log.hpp; see core/library.hpp.
#pragma once

#include <espalier/train/epoch_log.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/progress.hpp>

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

ESPALIER_LIBRARY epoch_log::epoch_log(fit_options const& options, index_t rows, std::uint64_t steps_per_epoch,
                                      std::vector<std::string> term_names,
                                      std::vector<std::string> const& measure_names)
    : options_(&options), rows_(rows), term_names_(std::move(term_names)), measure_names_(&measure_names),
      bar_(std::make_unique<progress_bar>(static_cast<std::uint64_t>(options.epochs) * steps_per_epoch)) {
    std::filesystem::path const folder = options.checkpoints.string();
    last_file_ = folder / "last.safetensors";
    best_file_ = folder / "best.safetensors";
    history_file_ = folder / "history.json";
}
ESPALIER_LIBRARY epoch_log::~epoch_log() = default;

ESPALIER_LIBRARY bool epoch_log::resumes() const {
    if (!keeps()) return false;
    std::filesystem::create_directories(options_->checkpoints.string());
    return options_->resume && std::filesystem::exists(last_file_.string());
}

ESPALIER_LIBRARY void epoch_log::resumed(std::map<std::string, std::string> const& metadata) {
    if (auto const found = metadata.find("best"); found != metadata.end()) best_ = std::stod(found->second);
    if (auto const found = metadata.find("since_best"); found != metadata.end())
        since_best_ = std::stoll(found->second);
    if (std::filesystem::exists(history_file_.string())) record_ = history::read_json(history_file_);
}

ESPALIER_LIBRARY void epoch_log::begin_epoch(std::uint64_t epoch) {
    epoch_ = epoch;
    start_ = seconds_now();
    sums_.assign(term_names_.size(), 0.0);
    measured_.assign(measure_names_->size(), 0.0);
    cells_.clear();
}

ESPALIER_LIBRARY void epoch_log::add_step(std::uint64_t step, std::vector<double> const& terms,
                                          std::vector<double> const& measures, index_t n) {
    for (std::size_t i = 0; i < sums_.size(); ++i)
        sums_[i] += terms[i] * static_cast<double>(n);
    for (std::size_t i = 0; i < measured_.size(); ++i)
        measured_[i] += measures[i] * static_cast<double>(n);
    if (options_->progress) bar_->update(step, text_of("epoch ", epoch_ + 1, "  loss ", terms[0]));
}

ESPALIER_LIBRARY void epoch_log::add_cell(std::string_view name, double value) {
    cells_.emplace_back(name, value);
}

ESPALIER_LIBRARY void epoch_log::end_epoch(std::uint64_t step, evaluation const* validation) {
    std::vector<history::cell> row{{"epoch", static_cast<double>(epoch_ + 1)}, {"step", static_cast<double>(step)}};
    auto const count = static_cast<double>(rows_);
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
    double const judged = validation ? validation->loss : total;
    better_ = judged < best_;
    if (better_) {
        best_ = judged;
        since_best_ = 0;
    } else {
        ++since_best_;
    }
    row.emplace_back("seconds", seconds_now() - start_);
    record_.append(row);
}

ESPALIER_LIBRARY std::map<std::string, std::string> epoch_log::metadata() const {
    char number[40];
    std::snprintf(number, sizeof number, "%.17g", best_);
    return {{"best", number}, {"since_best", std::to_string(since_best_)}};
}
ESPALIER_LIBRARY void epoch_log::write_history() const {
    record_.write_json(history_file_);
}
ESPALIER_LIBRARY bool epoch_log::goes_on() const {
    return options_->patience <= 0 || since_best_ < options_->patience;
}
ESPALIER_LIBRARY void epoch_log::fail(std::string_view words) const {
    throw_numerical_error(words, " (epoch ", epoch_, ")", keeps() ? "; the last good checkpoint is " : "",
                          keeps() ? last_file_.string() : std::string());
}
ESPALIER_LIBRARY history epoch_log::finish() {
    if (options_->progress) bar_->finish();
    return std::move(record_);
}

} // namespace detail

} // namespace espalier
