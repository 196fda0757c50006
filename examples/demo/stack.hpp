// SPDX-License-Identifier: Apache-2.0
// What the demo knows about one stack on one data set, and the function each stack's translation unit provides. Stacks
// are types, so every one is compiled on its own, in its own file.
#pragma once

#include <espalier/data/table.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace demo {

/// What is trained, how, and with which seeds.
struct task {
    std::string name; ///< "digits", "mnist"
    espalier::data_view train;
    espalier::data_view test;
    espalier::index_t epochs = 0;
    espalier::index_t batch = 0;
    double learning_rate = 1e-3;
    std::vector<std::uint64_t> seeds;
};

/// One training.
struct trained {
    std::uint64_t seed = 0;
    std::vector<double> loss;     ///< of the training set by epoch, without terms
    std::vector<double> accuracy; ///< of the test set by epoch
    double seconds = 0.0;
};

/// One stack on one task: what the compiler knew, and what training found.
struct outcome {
    std::string stack;
    std::string policy;      ///< what makes it different
    int layers = 0;          ///< that compute something
    int policies = 0;        ///< written in the stack
    int loops = 0;           ///< distinct compositions of policies that code was made for
    long parameters = 0;     ///< trained values
    int passes = 0;          ///< over the weights in an update
    double kflop = 0.0;      ///< of one row, forward; of a mixture, what its chosen experts cost
    long tape_bytes = 0;     ///< for one row while training
    long non_zeros = 0;      ///< values that products read after training, of the last seed
    double step_us = 0.0;    ///< median time of a training step
    std::string description; ///< describe<net>()
    std::string dot;         ///< to_dot<net>()
    std::vector<trained> runs;

    double mean_accuracy() const {
        double sum = 0.0;
        for (trained const& run : runs)
            sum += run.accuracy.empty() ? 0.0 : run.accuracy.back();
        return runs.empty() ? 0.0 : sum / static_cast<double>(runs.size());
    }
};

/// Called after each training of a stack.
using on_trained = std::function<void(outcome const&, trained const&)>;

/// Trains a stack for every seed of the task, for inputs of 64 (digits) or 784 (mnist) features.
using stack_runner = outcome (*)(task const&, on_trained const&);

outcome run_plain(task const&, on_trained const&);
outcome run_l2(task const&, on_trained const&);
outcome run_dropout(task const&, on_trained const&);
outcome run_n_m(task const&, on_trained const&);
outcome run_moe(task const&, on_trained const&);

} // namespace demo
