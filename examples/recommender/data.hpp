// SPDX-License-Identifier: Apache-2.0
// The three problems: MovieLens ratings as two tasks, printed letters, handwritten digits.
#pragma once

#include "problem.hpp"

#include <cstdint>
#include <filesystem>

namespace recommender {

/// Users and films of the bundled file; widths of the embedding, so part of the type.
inline constexpr esp::index_t users = 671;
inline constexpr esp::index_t films = 9066;
/// Keys of a classification: two features of 17 levels.
inline constexpr esp::index_t class_keys = 17 * 17;

/// Every rated pair is a positive of "watched" and carries its rating; for each of them `negatives` films are drawn
/// that the user did not rate: negatives without a rating. A pair's part (0.8 / 0.1 / 0.1) is a function of user, film
/// and `seed`; its negatives stay with it. Throws file_error and data_error for a file that is not such a table.
problem read_ratings(std::filesystem::path const& file, int negatives, std::uint64_t seed);

/// 16 000 letters to train on, of which 2000 validate, and 4000 to test: the conventional split; features divided
/// by 15.
problem read_letters(std::filesystem::path const& file);

/// The first 1347 digits to train on, of which 147 validate, the other 450 to test; features divided by 16.
problem read_digits(std::filesystem::path const& file);

/// What a program without a network would say: films by how often they were watched, and the mean rating.
score popularity_baseline(problem const&);

} // namespace recommender
