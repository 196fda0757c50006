// SPDX-License-Identifier: Apache-2.0
// host only. Random search: of so many random candidates the one with the least score.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>

#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier::search {

/// How far a search has come: plain numbers, which a program may keep and go on from.
struct found {
    std::uint64_t tried = 0; ///< candidates so far, 0 ... tried - 1
    std::uint64_t best = 0;  ///< the first of the least score; `tried` before there is any
    double score = std::numeric_limits<double>::infinity(); ///< its score

    friend bool operator==(found const&, found const&) = default;
};

/// Numbers of a search.
struct options {
    std::uint64_t budget = 0; ///< candidates in all; 1 is the random baseline
    std::uint64_t seed = 0;
    found before{};                        ///< of a search with this seed that was broken off
    std::vector<double>* scores = nullptr; ///< gets the score of every candidate that is tried, behind what it has
};

/// Where candidate `index` of a search draws. No layer draws there: candidates do not depend on the weights, or the
/// weights on them, when both have one seed.
constexpr random_site candidate_site(std::uint64_t seed, std::uint64_t index) {
    return common_site(seed, "random search", index, 0);
}

namespace detail {
/// Throws data_error.
inline void check(options const& given) {
    using espalier::detail::throw_data_error;
    if (given.budget == 0)
        throw_data_error("search::random: a budget of 0 candidates; a budget of 1 is one random candidate");
    if (given.budget > std::uint64_t{1} << 32)
        throw_data_error("search::random: a budget of ", given.budget, " candidates; at most 4294967296");
    if (given.before.tried > given.budget)
        throw_data_error("search::random: ", given.before.tried, " candidates were tried before, and the budget is ",
                         given.budget);
}
} // namespace detail

/// Tries the candidates 0 ... budget - 1: `propose(site)` makes the one that draws at `site`, `score()` judges it, less
/// is better. The first of the least score wins; a score that is NaN never does. In the end the best one is proposed
/// once more, and what the program has then is that one. The same candidates come for the same seed whatever the
/// budget; a search that goes on from what an earlier call gave ends as one in one piece.
///
/// For scores that are independent and normal the expected best lies 1.54, 2.51 and 3.24 standard deviations below
/// their mean for 10, 100 and 1000 candidates.
///
/// Throws data_error before anything is proposed when the budget is 0, more than 2^32 or less than what was tried
/// before; numerical_error when all scores are NaN. What `propose` and `score` throw goes through. Allocates nothing.
template <class Propose, class Score> found random(options const& given, Propose const& propose, Score const& score) {
    static_assert(std::is_invocable_v<Propose const&, random_site const&>,
                  "espalier: search::random needs a function `propose(random_site const& site)`, which makes the "
                  "candidate of its draws");
    static_assert(std::is_invocable_r_v<double, Score const&>,
                  "espalier: search::random needs a function `score()`, which gives the number that is to be small");
    detail::check(given);
    found f = given.before;
    bool any = f.tried > 0 && f.best < f.tried;
    for (; f.tried < given.budget; ++f.tried) {
        propose(candidate_site(given.seed, f.tried));
        double const s = score();
        if (given.scores) given.scores->push_back(s);
        if (s < f.score || (!any && s == s)) {
            f.score = s;
            f.best = f.tried;
            any = true;
        } else if (!any) {
            f.best = f.tried + 1;
        }
    }
    if (!any)
        espalier::detail::throw_numerical_error("search::random: the scores of all ", f.tried, " candidates are NaN");
    propose(candidate_site(given.seed, f.best));
    return f;
}

} // namespace espalier::search
