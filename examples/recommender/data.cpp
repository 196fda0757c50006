// SPDX-License-Identifier: Apache-2.0
#include "data.hpp"

#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <unordered_set>

namespace recommender {

namespace {

constexpr std::uint64_t split_stream = 1, negative_stream = 2;
constexpr float no_rating = std::numeric_limits<float>::quiet_NaN();

struct rating {
    std::uint32_t user, film;
    float stars;
};

std::uint64_t pair_of(std::uint32_t user, std::uint32_t film) {
    return std::uint64_t{user} * static_cast<std::uint64_t>(films) + film;
}

/// Users and films numbered in the order in which they appear.
std::vector<rating> read_pairs(std::filesystem::path const& file) {
    esp::csv_reader rows(file);
    std::vector<std::string> fields;
    if (!rows.next(fields) || fields.size() < 3) rows.fail(1, "the header must begin with user, film and rating");
    std::map<std::string, std::uint32_t> user_of, film_of;
    std::vector<rating> all;
    while (rows.next(fields)) {
        if (fields.size() < 3) rows.fail(rows.line(), "fewer than three columns");
        auto const stars = esp::detail::parse_number<float>(fields[2]);
        if (stars.reason) rows.fail(rows.line(), "the rating " + std::string(stars.reason));
        auto const user = user_of.try_emplace(fields[0], static_cast<std::uint32_t>(user_of.size())).first->second;
        auto const film = film_of.try_emplace(fields[1], static_cast<std::uint32_t>(film_of.size())).first->second;
        all.push_back({user, film, stars.value});
    }
    if (user_of.size() != static_cast<std::size_t>(users) || film_of.size() != static_cast<std::size_t>(films))
        throw esp::data_error(file.string() + " has " + std::to_string(user_of.size()) + " users and " +
                              std::to_string(film_of.size()) + " films; the stacks are compiled for " +
                              std::to_string(users) + " and " + std::to_string(films));
    return all;
}

void add(part& to, std::uint32_t user, std::uint32_t film, float watched, float stars) {
    to.features.push_back(static_cast<float>(user));
    to.features.push_back(static_cast<float>(film));
    to.keys.push_back(user);
    to.targets.push_back(watched);
    to.targets.push_back(stars);
    ++to.count;
}

/// Rows of a classification, with a key of two features that vary: 17 x 17 cells of the plane they span.
part classified(esp::data_view const& rows, double scale, std::array<int, 2> key) {
    part p;
    p.count = rows.count();
    p.width = rows.width();
    for (esp::index_t r = 0; r < p.count; ++r) {
        auto const level = [&](int c) {
            return static_cast<std::uint64_t>(std::clamp(rows.features(r, c), 0.0, 16.0));
        };
        p.keys.push_back(level(key[0]) * 17 + level(key[1]));
        p.labels.push_back(rows.labels[r]);
        for (esp::index_t c = 0; c < p.width; ++c)
            p.features.push_back(static_cast<float>(rows.features(r, c) * scale));
    }
    return p;
}

/// Rows up to `validation` train, those up to `test` validate, the rest tests.
problem classification(char const* name, kind what, esp::data_view const& all, esp::index_t validation,
                       esp::index_t test, double scale, std::array<int, 2> key) {
    problem p;
    p.name = name;
    p.what = what;
    p.train = classified(all.middle_rows(0, validation), scale, key);
    p.validation = classified(all.middle_rows(validation, test - validation), scale, key);
    p.test = classified(all.middle_rows(test, all.count() - test), scale, key);
    return p;
}

void require(bool holds, std::filesystem::path const& file, std::string const& what) {
    if (!holds) throw esp::data_error(file.string() + ": " + what);
}

} // namespace

problem read_ratings(std::filesystem::path const& file, int negatives, std::uint64_t seed) {
    std::vector<rating> const all = read_pairs(file);
    std::unordered_set<std::uint64_t> rated;
    std::vector<esp::index_t> count_of_user(static_cast<std::size_t>(users));
    for (rating const& r : all) {
        rated.insert(pair_of(r.user, r.film));
        ++count_of_user[r.user];
    }
    for (esp::index_t const n : count_of_user)
        require(2 * n < films, file, "a user rated half of all films, so that negatives cannot be drawn by trying");

    problem p;
    p.name = "movielens";
    p.what = kind::ratings;
    std::array<part*, 3> const parts{&p.train, &p.validation, &p.test};
    esp::random_site const splitting = esp::make_site(seed, split_stream);
    esp::random_site const drawing = esp::make_site(seed, negative_stream);
    std::uint32_t row = 0;
    for (rating const& r : all) {
        esp::bits8 const bits = esp::draw(splitting, r.user, r.film);
        double const u = esp::uniform01(bits.word[0], bits.word[1]);
        part& to = *parts[u < 0.8 ? 0 : u < 0.9 ? 1 : 2];
        add(to, r.user, r.film, 1.0f, r.stars);
        for (int n = 0; n < negatives; ++n) {
            std::uint32_t film = r.film;
            for (std::uint32_t attempt = 0; rated.contains(pair_of(r.user, film)); ++attempt) {
                esp::bits8 const drawn = esp::draw(drawing, row, static_cast<std::uint32_t>(n), attempt);
                film = esp::below(static_cast<std::uint32_t>(films), drawn.word[0], drawn.word[1]);
            }
            add(to, r.user, film, 0.0f, no_rating);
        }
        ++row;
    }
    double sum = 0.0, n = 0.0;
    for (std::size_t i = 1; i < p.train.targets.size(); i += 2)
        if (!std::isnan(p.train.targets[i])) {
            sum += static_cast<double>(p.train.targets[i]);
            n += 1.0;
        }
    p.centre = sum / n;
    for (part* const each : parts) {
        each->width = 2;
        for (std::size_t i = 1; i < each->targets.size(); i += 2)
            each->targets[i] -= static_cast<float>(p.centre); // NaN stays
    }
    return p;
}

problem read_letters(std::filesystem::path const& file) {
    esp::data_set const all = esp::read_csv(file, {.label_column = "lettr"});
    require(all.width == 16 && all.count == 20000 && esp::class_count(all) == 26, file,
            "needed are 20000 rows of 16 features and 26 classes");
    return classification("letters", kind::letters, all.view(), 14000, 16000, 1.0 / 15.0, {6, 7}); // x.bar, y.bar
}

problem read_digits(std::filesystem::path const& file) {
    esp::data_set const all = esp::read_csv(file);
    require(all.width == 64 && all.count == 1797 && esp::class_count(all) == 10, file,
            "needed are 1797 rows of 64 features and 10 classes");
    // Row 2, column 4 and row 5, column 3 of the 8 x 8 pixels.
    return classification("digits", kind::digits, all.view(), 1200, 1347, 1.0 / 16.0, {20, 43});
}

score popularity_baseline(problem const& p) {
    std::vector<float> watched(static_cast<std::size_t>(films)), scores, positive;
    for (std::size_t i = 0; i < p.train.targets.size(); i += 2)
        watched[static_cast<std::size_t>(p.train.features[i + 1])] += p.train.targets[i];
    double error = 0.0, n = 0.0;
    for (std::size_t i = 0; i < p.test.targets.size(); i += 2) {
        scores.push_back(watched[static_cast<std::size_t>(p.test.features[i + 1])]);
        positive.push_back(p.test.targets[i]);
        if (auto const t = static_cast<double>(p.test.targets[i + 1]); !std::isnan(t)) {
            error += t * t; // targets are centred on the mean
            n += 1.0;
        }
    }
    score s;
    s.auc = esp::area_under_curve(scores.begin(), scores.end(), positive.begin());
    s.squared_error = error / n;
    return s;
}

} // namespace recommender
