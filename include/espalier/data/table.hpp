// SPDX-License-Identifier: Apache-2.0
// Labelled tables: `data_set` owns one in memory, `data_view` looks at the arrays of whoever has one already, and
// everything that trains or evaluates takes the view.
// Included by host code (host only).
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/number_view.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

/// Rows of features with, optionally, a class per row (`labels`) and numbers to predict per row (`targets`). Owns
/// nothing: the program's own arrays, of float or double, can be trained on where they lie. A part that is absent has
/// no rows.
struct data_view {
    number_view features{};                   ///< count x width
    column_view<std::int32_t const> labels{}; ///< count, or 0
    number_view targets{};                    ///< count x number of targets, or 0 rows
    column_view<std::uint64_t const> keys{};  ///< count, or 0: what hash gates look up, `rows::key`
    column_view<std::int32_t const> groups{}; ///< count, or 0: rows that belong together, `rows::group`
    number_view weights{};                    ///< count x 1, or 0 rows: factors of the rows' losses, `rows::weight`

    constexpr index_t count() const { return features.rows; }
    constexpr index_t width() const { return features.columns; }
    constexpr bool has_labels() const { return labels.size != 0; }
    constexpr bool has_targets() const { return targets.rows != 0; }
    constexpr bool has_weights() const { return weights.rows != 0; }

    /// Rows [first, first + number).
    data_view middle_rows(index_t first, index_t number) const {
        data_view part{features.middle_rows(first, number)};
        if (has_labels()) {
            part.labels = labels.middle(first, number);
        }
        if (keys.size != 0) {
            part.keys = keys.middle(first, number);
        }
        if (groups.size != 0) {
            part.groups = groups.middle(first, number);
        }
        if (has_weights()) {
            part.weights = weights.middle_rows(first, number);
        }
        if (has_targets()) {
            part.targets = targets.middle_rows(first, number);
        }
        return part;
    }
};

/// A table in memory, of float or double. All parts are plain vectors, row-major, to fill and change at will; `check`
/// tells whether they fit together.
template <number_type T> struct data_set_of {
    std::vector<T> features;          ///< count x width
    index_t count = 0;                ///< rows
    index_t width = 0;                ///< features of a row
    std::vector<std::int32_t> labels; ///< count, or empty
    std::vector<T> targets;           ///< count x target_width, or empty
    index_t target_width = 0;
    std::vector<std::uint64_t> keys;        ///< count, or empty
    std::vector<std::int32_t> groups;       ///< count, or empty
    std::vector<T> weights;                 ///< count, or empty
    std::vector<std::string> feature_names; ///< width, or empty
    std::vector<std::string> class_names;   ///< by label, or empty
    std::vector<std::string> target_names;  ///< target_width, or empty

    data_view view() const& {
        data_view result{contiguous_view(features.data(), count, width)};
        result.labels = {labels.data(), static_cast<index_t>(labels.size())};
        result.keys = {keys.data(), static_cast<index_t>(keys.size())};
        result.groups = {groups.data(), static_cast<index_t>(groups.size())};
        result.weights = contiguous_view(weights.data(), static_cast<index_t>(weights.size()), 1);
        if (!targets.empty()) {
            result.targets = contiguous_view(
                targets.data(), target_width > 0 ? static_cast<index_t>(targets.size()) / target_width : count,
                target_width);
        }
        return result;
    }
    operator data_view() const& { return view(); }
    // A view of a temporary would look at freed memory: name the data set first.
    data_view view() const&& = delete;
    operator data_view() const&& = delete;
};
/// A table of float.
using data_set = data_set_of<float>;

/// Number of classes: the largest label + 1, or the number of `class_names` when there are more of those. 0 without
/// labels. Throws `data_error` for a negative label.
index_t class_count(data_view const& data);
/// The same for an owning table.
template <number_type T> index_t class_count(data_set_of<T> const& data);

/// Throws `data_error` unless the table can be trained on: not empty, as many labels and targets as rows, labels not
/// negative (and below `classes` when that is given), every number finite, no weight negative. The text starts with
/// `what` and names the row and the column. With `targets_may_miss` targets may be NaN, which some losses take for
/// "there is none".
void check(data_view const& data, std::string_view what = "data set", index_t classes = 0,
           bool targets_may_miss = false);

/// The same for an owning table, whose arrays must also have the sizes that `count` and `width` say.
template <number_type T>
void check(data_set_of<T> const& data, std::string_view what = "data set", index_t classes = 0);

/// The first `first_count` rows and the rest, without a copy. Throws `data_error` when there are not that many.
std::pair<data_view, data_view> split(data_view const& data, index_t first_count);

/// The first `first_count` rows and the rest as two tables that own their rows; names are kept in both.
/// Throws `data_error` when there are not that many.
template <number_type T>
std::pair<data_set_of<T>, data_set_of<T>> split(data_set_of<T> const& data, index_t first_count);

/// Weights by which every class counts as much as if all had equally many rows: rows / (classes x rows of the class); 0
/// for a class without rows. Throws `data_error` without labels.
std::vector<double> balanced_class_weights(data_view const& data);

/// Multiplies the weight of every row (1 where there is none) by that of its class. Throws `data_error`, with nothing
/// changed, without labels, for a class that has no weight, and for a weight that is negative or not finite.
template <number_type T> void weigh_classes(data_set_of<T>& data, std::vector<double> const& by_class);

/// Multiplies every feature by `factor` (1.0 / 16 for the 8x8 digits).
template <number_type T> void scale(data_set_of<T>& data, double factor);

/// What `standardise` found: x -> (x - mean) * factor per feature.
struct standardisation {
    std::vector<double> mean;
    std::vector<double> factor;

    /// Applies it to another table. Throws `data_error` when the widths differ; nothing is changed then.
    template <number_type T> void apply(data_set_of<T>& data) const;
};

/// Mean 0 and variance 1 (over the count, not count - 1) of every feature of `data`; a constant feature becomes 0.
/// Two passes in double. Throws `data_error` for an empty table.
standardisation find_standardisation(data_view const& data);

/// Standardises `train` and, with the numbers found there, the other tables:
/// `standardise(train, validation, test)`. Returns what was applied, for later data.
template <number_type T, number_type... Others>
standardisation standardise(data_set_of<T>& train, data_set_of<Others>&... others) {
    standardisation const found = find_standardisation(train.view());
    index_t const widths[] = {train.width, others.width...};
    for (index_t const width : widths) {
        if (width != train.width) { // before anything is changed
            detail::throw_data_error("standardise: the first data set has ", train.width, " features, another one ",
                                     width);
        }
    }
    found.apply(train);
    (found.apply(others), ...);
    return found;
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/data/detail/table.hpp>
#endif
