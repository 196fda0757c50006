// SPDX-License-Identifier: Apache-2.0
// host only. The results of a comparison of stacks: what does not depend on their types.
#pragma once

#include <espalier/core/file_path.hpp>
#include <espalier/core/random.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/history.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/space/labels.hpp>
#include <espalier/train/epoch_log.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// What a machine can do at best: with it a comparison says how long a step would take there.
struct machine_roof {
    double bytes_per_second = 0.0;
    double operations_per_second = 0.0; ///< in the stacks' type of numbers
};

/// A line of a comparison.
struct compared_stack {
    combination which;
    std::string type; ///< as the compiler writes it, without namespaces
    index_t parameters = 0;
    double operations = 0.0; ///< of a step: three products for each of the forward pass, none of the rest
    double bytes = 0.0;  ///< that a step moves at least: weights four times, gradients twice, moments twice, tape twice
    double memory = 0.0; ///< bytes held for training: weights, masks, gradients, moments, tape and work space
    double step_seconds = 0.0;        ///< the median step of all runs, with the gathering of its rows
    double floor_seconds = 0.0;       ///< that `roof` allows for its operations and bytes; 0: no roof is known
    double loss = 0.0;                ///< of the last epoch
    double validation_loss = 0.0;     ///< at the end; NaN without validation
    double validation_accuracy = 0.0; ///< likewise, and without labels
};

/// How `compare` trains, and where it keeps what came out.
struct compare_options {
    /// Of every run, as for `fit`. `checkpoints`, `resume`, `start_over`, `on_step` and `followers` are the
    /// comparison's.
    fit_options fit{};
    std::vector<seed> seeds{seed{1}}; ///< a run each; the results are means
    /// Where results are kept, as JSON: written after every stack, and read at the start, so that a comparison that was
    /// stopped goes on with the first stack that is missing. Parts of a set may share a file one after the other:
    /// programs that run at the same time need one each. Empty: nowhere.
    file_path file{};
    /// Whatever else decides about results, the numbers of the loss for one: a file with other words is not gone on
    /// with.
    std::string settings{};
    machine_roof roof{};
    /// Called with the result of each stack, also of those that were read from the file.
    std::function<void(compared_stack const&)> on_result{};
};

/// The results of a comparison, in the order of the set.
struct comparison {
    std::vector<axis_labels> axes;
    std::string settings; ///< what the results go with
    std::vector<compared_stack> stacks;

    /// A table: the options that differ, parameters, accuracy, loss, step, operations, bytes, memory.
    std::string text() const;
    /// The same as CSV, a column for each axis (scripts/charts.sh draws it).
    std::string to_csv() const;
    /// An object: `axes`, `settings`, and `rows` with the choices and numbers of each stack, whose keys `family`,
    /// `case`, `ns` and `floor_ns` are those of the benchmarks (scripts/bench_chart.py draws steps over their floor).
    std::string to_json() const;
};

namespace detail {

/// What is measured of one run.
struct compared_run {
    double loss = 0.0, validation_loss = 0.0, validation_accuracy = 0.0;
    std::vector<double> steps; ///< seconds each
};

/// What the types know of a stack.
struct compared_sizes {
    std::string_view type;
    network_summary summary;
    index_t moments = 0; ///< of each weight
};

/// Results as they come, and those of an earlier call in the file.
class comparison_log {
public:
    /// Throws file_error for a file that is no comparison, and data_error for one of other axes or settings.
    comparison_log(std::vector<axis_labels> axes, compare_options const& options, std::string settings);
    /// Whether the stack has its result already: it is passed on then. Throws data_error when that is of another type.
    bool has(combination const& which, std::string_view type);
    void add(combination const& which, compared_sizes const& sizes, std::vector<compared_run> runs);
    comparison finish();

private:
    void write() const;
    void tell() const;

    compare_options const* options_;
    comparison earlier_;
    comparison result_;
};

/// As the compiler writes them.
struct compared_types {
    std::string_view loss, optimizer, device, numbers;
};
/// What of the options, the data and the types decides about results: two comparisons with the same text may share a
/// file.
std::string comparison_settings(compare_options const& options, data_view const& data, compared_types const& types,
                                double learning_rate);
/// Throws data_error for options that are the comparison's own, and without a seed.
void check_compare_options(compare_options const& options);
void finish_run(compared_run& run, history const& record);

} // namespace detail

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/space/detail/comparison.hpp>
#endif
