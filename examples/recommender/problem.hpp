// SPDX-License-Identifier: Apache-2.0
// What the comparison of gates is made on, what one training gives, and the function that each gate's translation unit
// provides. Stacks are types, so every gate is compiled on its own, in its own file.
#pragma once

#include <espalier/core/view.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace recommender {

namespace esp = espalier;

/// Rows with everything that the stacks read: `keys` is what a hash gate looks up. Absent parts are empty.
struct part {
    esp::index_t count = 0;
    esp::index_t width = 0;
    std::vector<float> features;      ///< count x width
    std::vector<std::uint64_t> keys;  ///< count
    std::vector<std::int32_t> labels; ///< count, of a classification
    std::vector<float> targets;       ///< count x 2: watched, and the rating less `centre` or NaN
};

enum class kind { ratings, letters, digits };

struct problem {
    std::string name; ///< "movielens", "letters", "digits"
    kind what = kind::ratings;
    part train, validation, test;
    double centre = 0.0; ///< mean rating of the training part
    esp::index_t epochs = 0;
    esp::index_t batch = 0;
    double learning_rate = 1e-3;
    double weight_decay = 0.0;
    std::vector<std::uint64_t> seeds;
};

/// How good predictions are: the loss; for ratings the area under the curve of "watched" and the mean squared error of
/// the rating in stars^2, for classes the share of right ones.
struct score {
    double loss = 0.0;
    double auc = 0.0;
    double squared_error = 0.0;
    double accuracy = 0.0;
};

/// What the loss takes a squared error of a rating times.
inline constexpr double rating_weight = 0.5;

/// Steps of training in which a local search learns: about the first epoch of the ratings.
inline constexpr std::int64_t search_steps = 300;

/// One training. The test part is looked at after the epoch of least validation loss.
struct trained {
    std::uint64_t seed = 0;
    std::vector<double> loss;               ///< of the training part by epoch, without terms
    std::vector<score> curve;               ///< by epoch, of the validation part
    esp::index_t epoch = 0;                 ///< that one, counted from 1
    score test;                             ///< after it
    double experts_per_row = 0.0;           ///< that run for a row of the test part, after it
    double first_step_us = 0.0;             ///< median time of a step in the first epoch of all
    double last_step_us = 0.0;              ///< and in the last one of all
    std::vector<double> epoch_of;           ///< when the next two were measured
    std::vector<double> experts;            ///< run for a row of a training batch
    std::vector<std::vector<double>> loads; ///< [expert]: share of the filled places
    double seconds = 0.0;
};

/// One gate on one problem.
struct outcome {
    std::string gate;   ///< as the table names it
    std::string policy; ///< as the program wrote it
    std::vector<trained> runs;
};

/// Called after each training.
using on_trained = std::function<void(outcome const&, trained const&)>;
using gate_runner = outcome (*)(problem const&, on_trained const&);

outcome run_softmax(problem const&, on_trained const&);
outcome run_hash(problem const&, on_trained const&);
outcome run_hash_search(problem const&, on_trained const&);
outcome run_top_k(problem const&, on_trained const&);
outcome run_top_k_search(problem const&, on_trained const&);
outcome run_dselect_k(problem const&, on_trained const&);
outcome run_comet(problem const&, on_trained const&);
outcome run_comet_search(problem const&, on_trained const&);

} // namespace recommender
