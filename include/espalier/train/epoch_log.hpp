// SPDX-License-Identifier: Apache-2.0
// host only. What `fit` is told, and what it keeps of its epochs: the history, the best of them, where checkpoints go.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/io/history.hpp>
#include <espalier/train/rates.hpp>
#include <espalier/train/step_decision.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

class progress_bar;

/// A number about an epoch that a program computes itself.
struct epoch_measure {
    std::string name;              ///< of its column in the history
    std::function<double()> value; ///< called after every epoch and its validation
};

/// The column of the history that `patience` and best.safetensors go by, one's own included.
struct judged_column {
    std::string name{};    ///< empty: validation_loss, or total without validation
    bool greatest = false; ///< the best epoch has the greatest value, not the least; a NaN is never the best
};

/// How `fit` trains. Every field has a neutral default.
struct fit_options {
    index_t epochs = 10;
    index_t batch = 128;
    data_view validation{}; ///< empty: no validation
    bool shuffle = true;    ///< a new order every epoch, from the network's seed
    index_t patience = 0;   ///< stop after this many epochs without a better one (`judge`); 0: never
    judged_column judge{};
    std::vector<epoch_measure> measures{}; ///< further columns of the history
    file_path checkpoints{};               ///< folder for best.safetensors and last.safetensors; empty: none
    bool resume = false;                   ///< go on from last.safetensors when it is there
    bool start_over = false;               ///< begin at time 0 although the network was trained before
    std::vector<rate_rule> rates{};        ///< learning rates, decay and freezing by tensor
    /// What `schedule::runtime` reads; may be changed in `on_epoch`. Part of a checkpoint, which has the last word
    /// when a run is resumed.
    std::vector<named_value> values{};
    bool progress = true; ///< a progress bar on standard error, when that is a terminal
    /// Called after every epoch with the history so far, before the checkpoint of the epoch is written; returning false
    /// ends the training, which a resumed run keeps to.
    std::function<bool(history const&, std::vector<named_value>&)> on_epoch{};
    /// Called after every step with the time of the next one.
    std::function<void(clock const&)> on_step{};
    /// Sets run-time values for single steps: the rank of a layer that is drawn (`weight::ordered_ranks`).
    step_decision decide{};
    std::vector<follower> followers{}; ///< go along and are part of last.safetensors: an averaging teacher
};

/// Mean loss and, where there are labels, the share of rows whose largest output is the label's. Rows of the data set's
/// weight w count w times in both; the loss is divided by the number of rows whose weight is not 0, as in training.
struct evaluation {
    double loss = 0.0;
    double accuracy = 0.0;
};

namespace detail {

/// What a network and a loss need of a data set.
struct data_needs {
    index_t input_width = 0;
    index_t output_width = 0;
    bool labels = false;
    bool targets = false;
    bool targets_may_miss = false;
};
/// Throws as `fit` does; the text starts with `what`.
void check_fit_data(data_view const& data, std::string_view what, data_needs const& needs);
/// Throws data_error for options that make no sense, and for validation data that do not go with the training data.
void check_fit_options(data_view const& data, fit_options const& options, data_needs const& needs);

/// The streams of random bits that order the data and mix batches; layers count theirs from 0.
inline constexpr std::uint64_t order_stream = ~std::uint64_t{0};
inline constexpr std::uint64_t batch_stream = order_stream - 1;

/// The order of the rows in an epoch.
void order_rows(std::vector<std::int64_t>& order, bool shuffle, std::uint64_t seed, std::uint64_t epoch);

/// The epochs of one run.
class epoch_log {
public:
    epoch_log(fit_options const& options, std::uint64_t steps_per_epoch, std::vector<std::string> term_names,
              std::vector<std::string> const& measure_names);
    epoch_log(epoch_log const&) = delete;
    epoch_log& operator=(epoch_log const&) = delete;
    ~epoch_log();

    /// Throws data_error when the columns of the history, with so many `further` ones by `add_cell`, do not have the
    /// one that epochs are judged by, or have two of one name.
    void check_columns(std::vector<std::string> const& further) const;
    bool keeps() const { return !options_->checkpoints.empty(); }
    file_path const& last_file() const { return last_file_; }
    /// Makes the folder of the checkpoints, removes what a killed run left there, and tells whether there is a
    /// checkpoint to go on from.
    bool resumes() const;
    /// Reads what that checkpoint says of the run, as one more follower of its training: throws file_error before
    /// anything is changed. `values` are replaced by those of the checkpoint.
    follower reader(std::vector<named_value>& values);

    void begin_epoch(std::uint64_t epoch);
    /// A step on n rows that counted: its terms and measures.
    void add_step(std::uint64_t step, std::vector<double> const& terms, std::vector<double> const& measures, index_t n);
    /// A further column of this epoch's row.
    void add_cell(std::string_view name, double value);
    /// Ends the epoch; `validation` may be null.
    void end_epoch(std::uint64_t step, evaluation const* validation);
    /// Whether it is the best one so far.
    bool better() const { return better_; }
    /// There is no further epoch.
    void stop() { stopped_ = true; }
    /// Whether nobody ended the run and patience is left.
    bool goes_on() const;

    // An epoch's files are a set: first the best network under another name, then the checkpoint, which makes it count,
    // then `settle`. A run that is killed on the way is settled by the next one.
    file_path const& new_best_file() const { return new_best_file_; }
    std::map<std::string, std::string> best_metadata() const;
    /// What goes with the checkpoint of this epoch, the history included.
    std::map<std::string, std::string> metadata() const;
    /// Brings the best network and the history beside the checkpoint up to it.
    void settle() const;
    /// Throws the same words with the epoch and the last checkpoint.
    [[noreturn]] void fail(std::string_view words) const;

    history const& record() const { return record_; }
    history finish();

private:
    fit_options const* options_;
    index_t rows_ = 0; ///< of this epoch, those that counted
    std::vector<std::string> term_names_;
    std::vector<std::string> const* measure_names_;
    file_path last_file_, best_file_, new_best_file_, history_file_;
    history record_;
    double best_ = std::numeric_limits<double>::infinity();
    index_t since_best_ = 0;
    std::uint64_t best_epoch_ = 0; ///< counted from 1; 0: there is none
    bool better_ = false, stopped_ = false;
    std::uint64_t epoch_ = 0;
    double start_ = 0.0; ///< of the epoch, seconds
    std::vector<double> sums_, measured_;
    std::vector<std::pair<std::string, double>> cells_;
    std::unique_ptr<progress_bar> bar_;
};

} // namespace detail
} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/train/detail/epoch_log.hpp>
#endif
