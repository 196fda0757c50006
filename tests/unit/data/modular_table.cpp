// SPDX-License-Identifier: Apache-2.0
// Tables of modular arithmetic: every pair once, its label, and the labels that are drawn.
#include <espalier/core/error.hpp>
#include <espalier/data/modular_table.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

using namespace espalier;

namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// The pair n_1 p + n_2 of each row.
std::vector<index_t> pairs_of(data_set const& rows, index_t p) {
    std::vector<index_t> pairs;
    for (index_t i = 0; i < rows.count; ++i)
        pairs.push_back(static_cast<index_t>(rows.features[at(2 * i)]) * p +
                        static_cast<index_t>(rows.features[at(2 * i + 1)]));
    return pairs;
}

} // namespace

TEST_CASE("modular_table: every pair is there once, with what the operation gives", "[data]") {
    constexpr index_t p = 23;
    for (auto const operation : {modular_operation::add, modular_operation::multiply}) {
        auto const t = modular_table(
            {.modulus = p, .operation = operation, .train_share = 0.3, .corrupted_share = 0.2, .seed = 4});
        check(t.train, "train", p);
        check(t.test, "test", p);
        CHECK(t.train.count == 158); // floor(0.3 529)
        CHECK(t.test.count == 529 - 158);
        auto pairs = pairs_of(t.train, p);
        auto const of_test = pairs_of(t.test, p);
        auto const label = [&](index_t pair) {
            return (operation == modular_operation::add ? pair / p + pair % p : (pair / p) * (pair % p)) % p;
        };
        for (index_t i = 0; i < t.train.count; ++i) {
            CHECK(t.true_labels[at(i)] == label(pairs[at(i)]));
            CHECK(t.corrupted[at(i)] == (i < 31)); // floor(0.2 158)
            if (i >= 31) CHECK(t.train.labels[at(i)] == t.true_labels[at(i)]);
        }
        for (index_t i = 0; i < t.test.count; ++i)
            CHECK(t.test.labels[at(i)] == label(of_test[at(i)]));
        CHECK(!std::is_sorted(pairs.begin(), pairs.end()));
        pairs.insert(pairs.end(), of_test.begin(), of_test.end());
        std::sort(pairs.begin(), pairs.end());
        std::vector<index_t> all(at(p * p));
        std::iota(all.begin(), all.end(), index_t{0});
        CHECK(pairs == all);
    }
}

TEST_CASE("modular_table: wrong labels are drawn evenly, and the seed says which", "[data]") {
    constexpr index_t p = 59;
    modular_options const given{.modulus = p, .train_share = 1.0, .corrupted_share = 1.0, .seed = 1};
    auto const t = modular_table(given), same = modular_table(given);
    CHECK(t.test.count == 0);
    CHECK(t.train.labels == same.train.labels);
    CHECK(t.train.features == same.train.features);
    std::vector<int> seen(at(p));
    int right = 0;
    for (std::size_t i = 0; i < t.train.labels.size(); ++i) {
        ++seen[static_cast<std::size_t>(t.train.labels[i])];
        right += t.train.labels[i] == t.true_labels[i];
    }
    // 3481 rows: each label 59 times, 7.6 the deviation.
    CHECK(*std::min_element(seen.begin(), seen.end()) > 59 - 5 * 7.6);
    CHECK(*std::max_element(seen.begin(), seen.end()) < 59 + 5 * 7.6);
    CHECK(std::abs(right - 59) < 5 * 7.6);
    // A share of training or of wrong labels moves no row, and another seed all of them.
    auto const few = modular_table({.modulus = p, .train_share = 0.5, .corrupted_share = 0.1, .seed = 1});
    CHECK(std::equal(few.train.features.begin(), few.train.features.end(), t.train.features.begin()));
    CHECK(std::equal(few.train.labels.begin(), few.train.labels.begin() + 174, t.train.labels.begin()));
    auto const other = modular_table({.modulus = p, .train_share = 1.0, .corrupted_share = 1.0, .seed = 2});
    CHECK(other.train.features != t.train.features);
    CHECK(other.train.labels != t.train.labels);
}

TEST_CASE("modular_table: what makes no sense is refused", "[data]") {
    auto const why = [](modular_options const& given) { return message_of<data_error>([&] { modular_table(given); }); };
    CHECK(why({.modulus = 1}) == "modular_table: the modulus is 1; needed is a number from 2 to 65535");
    CHECK(why({.modulus = 65536}) == "modular_table: the modulus is 65536; needed is a number from 2 to 65535");
    CHECK(why({.train_share = 1.5}) == "modular_table: train_share is 1.5; needed is a number in [0, 1]");
    CHECK(why({.corrupted_share = -0.5}) == "modular_table: corrupted_share is -0.5; needed is a number in [0, 1]");
    CHECK(why({.corrupted_share = std::numeric_limits<double>::quiet_NaN()}) ==
          "modular_table: corrupted_share is nan; needed is a number in [0, 1]");
    CHECK(why({.modulus = 2, .train_share = 0.2}) ==
          "modular_table: a share of 0.2 of 4 pairs leaves no row for training");
}
