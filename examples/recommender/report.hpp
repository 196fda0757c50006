// SPDX-License-Identifier: Apache-2.0
// What the comparison prints and writes.
#pragma once

#include "problem.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace recommender {

/// One line a gate: mean and standard deviation over the seeds.
std::string table_of(problem const&, std::vector<outcome> const&);

/// For every pair of gates that the paper orders: the difference found, and whether it is larger than the spread.
std::string orderings_of(problem const&, std::vector<outcome> const&);

/// Every run's learning curves, experts a row and the experts' loads over training, as CSV.
void write_curves(std::filesystem::path const& folder, problem const&, std::vector<outcome> const&);

} // namespace recommender
