// SPDX-License-Identifier: Apache-2.0
// host only. Tables of hash routing: the expert of every key, drawn once, balanced by counts, or clustered by position.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <span>
#include <string>
#include <utility>
#include <vector>

// A table is table[key] = expert, 0 ... experts - 1 (Roller et al. 2021, "Hash layers for large sparse models",
// sections 3.1 and 3.2). It is made once and then part of the model's state. An expert without keys is legal. Every
// function is a pure function of its arguments; errors are found before anything is made.

namespace espalier::gate {

namespace detail {

inline constexpr std::uint64_t random_table_stream = ~std::uint64_t{0} - 2;
inline constexpr std::uint64_t clustered_table_stream = random_table_stream - 1;

inline void check_table(char const* name, bool empty, char const* what, int experts) {
    if (empty) espalier::detail::throw_data_error("gate::", name, " was given no ", what, "; at least one is needed");
    if (experts < 1)
        espalier::detail::throw_data_error("gate::", name, " was given ", experts, " experts; at least one is needed");
}

/// An integer in [0, n), n >= 1, every one equally likely: the multiplication of Lemire 2019, "Fast random integer
/// generation in an interval", which draws again for the few products that would favour a value.
inline std::uint32_t exactly_below(std::uint32_t n, random_site const& site, std::uint64_t place) {
    std::uint32_t const refused = (0u - n) % n; // 2^32 mod n
    for (std::uint32_t number = 0;; ++number) {
        bits8 const bits =
            draw(site, static_cast<std::uint32_t>(place), static_cast<std::uint32_t>(place >> 32), number);
        for (std::uint32_t const word : bits.word) {
            std::uint64_t const product = std::uint64_t(n) * word;
            if (static_cast<std::uint32_t>(product) >= refused) return static_cast<std::uint32_t>(product >> 32);
        }
    }
}

/// k-means in double: `centres` are rows of `width` numbers, zero past the last column.
struct k_means {
    using P = native_pack<double>;

    matrix_view<float const> points;
    std::size_t width;
    std::vector<double> row;
    std::vector<double> centres;
    std::vector<double> distance; ///< of each point to its centre, squared
    std::vector<std::int32_t> table;
    std::vector<index_t> members;

    explicit k_means(matrix_view<float const> points_)
        : points(points_),
          width((static_cast<std::size_t>(points.columns) + P::width - 1) / P::width * std::size_t(P::width)),
          row(width, 0.0), distance(static_cast<std::size_t>(points.rows), std::numeric_limits<double>::infinity()),
          table(static_cast<std::size_t>(points.rows), 0) {}

    int count() const { return static_cast<int>(centres.size() / width); }
    double* centre(int c) { return centres.data() + static_cast<std::size_t>(c) * width; }
    void read(index_t point) { std::copy_n(points.row(point), points.columns, row.begin()); }

    double squared_distance(int c) {
        double const* const other = centre(c);
        P sum(0.0);
        for (std::size_t j = 0; j < width; j += std::size_t(P::width)) {
            P const difference = P::load(row.data() + j) - P::load(other + j);
            sum = fma(difference, difference, sum);
        }
        return horizontal_sum(sum);
    }
    /// Makes the point a centre of its own and moves points that are nearer to it than to theirs.
    void add_centre(index_t point) {
        read(point);
        centres.insert(centres.end(), row.begin(), row.end());
        int const c = count() - 1;
        for (index_t i = 0; i < points.rows; ++i) {
            read(i);
            consider(static_cast<std::size_t>(i), c);
        }
    }
    void consider(std::size_t i, int c) {
        double const d = squared_distance(c);
        if (d < distance[i]) {
            distance[i] = d;
            table[i] = c;
        }
    }
    void assign() {
        for (index_t i = 0; i < points.rows; ++i) {
            read(i);
            distance[static_cast<std::size_t>(i)] = std::numeric_limits<double>::infinity();
            for (int c = 0; c < count(); ++c)
                consider(static_cast<std::size_t>(i), c);
        }
    }
    /// Every centre without points takes the farthest point of those that do not stand alone.
    void fill_empty() {
        members.assign(static_cast<std::size_t>(count()), 0);
        for (std::int32_t const c : table)
            ++members[static_cast<std::size_t>(c)];
        for (std::size_t c = 0; c < static_cast<std::size_t>(count()); ++c) {
            if (members[c] != 0) continue;
            std::size_t farthest = 0;
            double most = 0.0;
            for (std::size_t i = 0; i < table.size(); ++i)
                if (distance[i] > most && members[static_cast<std::size_t>(table[i])] > 1) {
                    most = distance[i];
                    farthest = i;
                }
            if (most == 0.0) return;
            --members[static_cast<std::size_t>(table[farthest])];
            table[farthest] = static_cast<std::int32_t>(c);
            distance[farthest] = 0.0;
            members[c] = 1;
        }
    }
    void move_centres() {
        for (int c = 0; c < count(); ++c)
            if (members[static_cast<std::size_t>(c)] != 0) std::fill_n(centre(c), width, 0.0);
        for (index_t i = 0; i < points.rows; ++i) {
            double* const sum = centre(table[static_cast<std::size_t>(i)]);
            for (index_t j = 0; j < points.columns; ++j)
                sum[j] += static_cast<double>(points(i, j));
        }
        for (int c = 0; c < count(); ++c)
            if (index_t const n = members[static_cast<std::size_t>(c)]; n != 0)
                for (std::size_t j = 0; j < width; ++j)
                    centre(c)[j] /= static_cast<double>(n);
    }
};

} // namespace detail

/// Every key to an expert of its own draw, all equally likely. A key's expert depends on the number of experts, the
/// seed and the key alone, so a larger vocabulary extends the table of a smaller one. Throws data_error without keys
/// (vocabulary < 1) and for experts < 1.
inline std::vector<std::int32_t> random_table(index_t vocabulary, int experts, std::uint64_t seed) {
    detail::check_table("random_table", vocabulary < 1, "keys", experts);
    random_site const site = make_site(seed, detail::random_table_stream);
    std::vector<std::int32_t> table(static_cast<std::size_t>(vocabulary));
    for (std::size_t key = 0; key < table.size(); ++key)
        table[key] = static_cast<std::int32_t>(detail::exactly_below(static_cast<std::uint32_t>(experts), site, key));
    return table;
}

/// Equal loads as far as a greedy choice gets: the keys by falling count (equal counts: the lower key first), each to
/// the expert whose keys have the smallest total count so far (equal totals: the lowest expert). Keys that never occur
/// add nothing to a load, so all of them end at one expert; count from 1 to spread them.
/// Throws data_error without counts, for experts < 1, and for counts whose sum exceeds 2^64 - 1.
inline std::vector<std::int32_t> balanced_table(std::span<std::uint64_t const> counts, int experts) {
    detail::check_table("balanced_table", counts.empty(), "counts", experts);
    std::uint64_t total = 0;
    for (std::uint64_t const count : counts) {
        if (count > std::numeric_limits<std::uint64_t>::max() - total)
            espalier::detail::throw_data_error(
                "gate::balanced_table was given counts whose sum exceeds 2^64 - 1; scale them down");
        total += count;
    }
    std::vector<std::size_t> keys(counts.size());
    std::iota(keys.begin(), keys.end(), std::size_t(0));
    std::ranges::sort(
        keys, [&](std::size_t a, std::size_t b) { return counts[a] != counts[b] ? counts[a] > counts[b] : a < b; });

    using load_of_expert = std::pair<std::uint64_t, std::int32_t>;
    std::vector<load_of_expert> loads(std::min(keys.size(), static_cast<std::size_t>(experts))); // no more get any
    for (std::size_t e = 0; e < loads.size(); ++e)
        loads[e] = {0, static_cast<std::int32_t>(e)};
    std::priority_queue least(std::greater<load_of_expert>{}, std::move(loads));
    std::vector<std::int32_t> table(counts.size());
    for (std::size_t const key : keys) {
        auto const [load, expert] = least.top();
        least.pop();
        table[key] = expert;
        least.push({load + counts[key], expert});
    }
    return table;
}

/// Clusters of the points, one row a key (embeddings of a trained dense model, say): k-means with k = experts. The
/// first centres are points drawn by k-means++ (Arthur and Vassilvitskii 2007); then centres move to the means of their
/// points and points to their nearest centre (equally near: the lowest), `rounds` times or until no point moves. A
/// centre that loses all its points takes the farthest point of all (equally far: the lowest key) that shares its
/// cluster, so an expert has no keys only when there are fewer different points than experts. Distances are Euclidean,
/// in double. The same table on every run of one build; processors with and without fused multiplication may round a
/// tie differently. Throws data_error without points or columns, for experts < 1, rounds < 0, and for numbers that are
/// not finite.
inline std::vector<std::int32_t> clustered_table(matrix_view<float const> points, int experts, std::uint64_t seed,
                                                 int rounds = 50) {
    detail::check_table("clustered_table", points.rows < 1 || points.columns < 1, "points", experts);
    if (rounds < 0)
        espalier::detail::throw_data_error("gate::clustered_table was given ", rounds, " rounds; 0 or more are needed");
    for (index_t i = 0; i < points.rows; ++i)
        for (index_t j = 0; j < points.columns; ++j)
            if (!std::isfinite(points(i, j)))
                espalier::detail::throw_data_error("gate::clustered_table was given ", points(i, j), " in row ", i,
                                                   ", column ", j, "; every number of a point must be finite");

    detail::k_means means(points);
    random_site const site = make_site(seed, detail::clustered_table_stream);
    bits8 const first = draw(site, 0, 0);
    auto const anywhere = static_cast<double>(points.rows) * uniform01(first.word[0], first.word[1]);
    means.add_centre(std::min(points.rows - 1, static_cast<index_t>(anywhere)));
    for (int c = 1; c < experts; ++c) {
        double const total = std::accumulate(means.distance.begin(), means.distance.end(), 0.0);
        if (!(total > 0.0)) break; // every point is a centre
        bits8 const bits = draw(site, static_cast<std::uint32_t>(c), 0);
        double const mark = total * uniform01(bits.word[0], bits.word[1]);
        double sum = 0.0;
        index_t chosen = 0;
        for (index_t i = 0; i < points.rows; ++i) {
            double const d = means.distance[static_cast<std::size_t>(i)];
            if (d == 0.0) continue;
            chosen = i;
            sum += d;
            if (sum > mark) break;
        }
        means.add_centre(chosen);
    }
    means.fill_empty();
    for (int round = 0; round < rounds; ++round) {
        std::vector<std::int32_t> const before = means.table;
        means.move_centres();
        means.assign();
        means.fill_empty();
        if (means.table == before) break;
    }
    return means.table;
}

/// The opposite of clusters: the members of each cluster go to all experts in turn. The keys by cluster (in it by
/// number) are dealt out one by one, each cluster going on where the one before ended: the numbers of a cluster's keys
/// at two experts differ by one at most, and so do the numbers of all keys.
/// Throws data_error without clusters, for experts < 1, and for a negative cluster.
inline std::vector<std::int32_t> dispersed_table(std::span<std::int32_t const> clusters, int experts) {
    detail::check_table("dispersed_table", clusters.empty(), "clusters", experts);
    for (std::size_t key = 0; key < clusters.size(); ++key)
        if (clusters[key] < 0)
            espalier::detail::throw_data_error("gate::dispersed_table was given cluster ", clusters[key], " for key ",
                                               key, "; clusters are 0 or more");
    std::vector<std::size_t> keys(clusters.size());
    std::iota(keys.begin(), keys.end(), std::size_t(0));
    std::ranges::sort(keys, [&](std::size_t a, std::size_t b) {
        return clusters[a] != clusters[b] ? clusters[a] < clusters[b] : a < b;
    });
    std::vector<std::int32_t> table(clusters.size());
    for (std::size_t place = 0; place < keys.size(); ++place)
        table[keys[place]] = static_cast<std::int32_t>(place % static_cast<std::size_t>(experts));
    return table;
}

} // namespace espalier::gate
