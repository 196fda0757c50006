// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/table.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/table.hpp>

#include <espalier/core/error.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

namespace espalier {

ESPALIER_LIBRARY index_t class_count(data_view const& data) {
    index_t classes = 0;
    for (index_t i = 0; i < data.labels.size; ++i) {
        if (data.labels[i] < 0) {
            throw data_error("row " + std::to_string(i) + " has label " + std::to_string(data.labels[i]) +
                             "; labels start at 0");
        }
        classes = std::max<index_t>(classes, index_t{data.labels[i]} + 1);
    }
    return classes;
}

template <number_type T> index_t class_count(data_set_of<T> const& data) {
    return std::max(class_count(data.view()), static_cast<index_t>(data.class_names.size()));
}

namespace detail {

/// Whether every number of a row is finite. Looks at the bits: the loop vectorises, and -ffast-math cannot optimise the
/// question away.
template <class T> bool all_finite(T const* row, index_t count, index_t stride) {
    using bits = std::conditional_t<std::is_same_v<T, double>, std::uint64_t, std::uint32_t>;
    constexpr bits exponent = std::bit_cast<bits>(std::numeric_limits<T>::infinity());
    bits bad = 0;
    for (index_t c = 0; c < count; ++c) {
        bad |= static_cast<bits>((std::bit_cast<bits>(row[c * stride]) & exponent) == exponent);
    }
    return bad == 0;
}

/// Throws unless every number of the matrix is finite or, where some may miss, NaN.
ESPALIER_LIBRARY void check_finite(number_view const& values, std::string_view what, std::string_view part,
                                   std::vector<std::string> const* names, bool may_miss) {
    auto const finite = [&](index_t r, index_t c) {
        double const number = values(r, c);
        return all_finite(&number, 1, 1);
    };
    for (index_t r = 0; r < values.rows; ++r) {
        bool row_is_finite = true;
        values.visit_row(r, [&](index_t, index_t count, auto const* p, index_t apart) {
            row_is_finite = row_is_finite && (apart == 1 ? all_finite(p, count, 1) : all_finite(p, count, apart));
        });
        if (row_is_finite) {
            continue;
        }
        constexpr std::uint64_t fraction = (std::uint64_t{1} << 52) - 1;
        auto const infinite = [&](index_t c) { return (std::bit_cast<std::uint64_t>(values(r, c)) & fraction) == 0; };
        index_t c = 0;
        while (c < values.columns && (finite(r, c) || (may_miss && !infinite(c)))) {
            ++c;
        }
        if (c == values.columns) {
            continue;
        }
        std::string column = "column " + std::to_string(c);
        if (names != nullptr && c < static_cast<index_t>(names->size())) {
            column += " ('" + (*names)[static_cast<std::size_t>(c)] + "')";
        }
        throw data_error(std::string(what) + ": " + std::string(part) + " at row " + std::to_string(r) + ", " + column +
                         " is " + (infinite(c) ? "infinite" : "not a number (NaN)") + "; all must be finite" +
                         (may_miss ? ", or NaN where there is none" : ""));
    }
}

ESPALIER_LIBRARY void check_data(data_view const& data, std::string_view what, index_t classes,
                                 std::vector<std::string> const* names, std::vector<std::string> const* target_names,
                                 bool targets_may_miss) {
    auto const fail = [&](std::string const& reason) { throw data_error(std::string(what) + ": " + reason); };
    auto const number = [](index_t n) { return std::to_string(n); };
    auto const check_matrix = [&](number_view const& m, char const* part) {
        bool const one_row = m.rows <= 1;
        bool const one_column = m.columns <= 1;
        bool const by_rows = (one_column || m.column_stride >= 1) &&
                             (one_row || m.stride > std::max<index_t>(m.columns - 1, 0) * m.column_stride);
        bool const by_columns =
            (one_row || m.stride >= 1) && (one_column || m.column_stride > std::max<index_t>(m.rows - 1, 0) * m.stride);
        bool const empty = m.rows == 0 || m.columns == 0; // whatever its strides, in which libraries differ
        if (m.rows < 0 || m.columns < 0 || (!empty && !by_rows && !by_columns)) {
            fail(std::string(part) + " have " + number(m.rows) + " rows of " + number(m.columns) + ", " +
                 number(m.stride) + " apart" +
                 (m.column_stride == 1 ? std::string() : ", columns " + number(m.column_stride) + " apart") +
                 "; extents must not be negative and rows must not overlap");
        }
        if (m.data == nullptr && m.rows > 0 && m.columns > 0) {
            fail(std::string(part) + " have extents but no memory (a null pointer)");
        }
    };
    check_matrix(data.features, "features");
    check_matrix(data.targets, "targets");
    if (data.features.rows == 0 || data.features.columns == 0) {
        fail("there are no data: " + number(data.features.rows) + " rows of " + number(data.features.columns) +
             " features");
    }
    auto const check_array = [&](auto const& array, std::string const& part) {
        if (array.size != 0 && array.size != data.count()) {
            fail(number(array.size) + " " + part + " for " + number(data.count()) + " rows");
        }
        if (array.size != 0 && array.data == nullptr) {
            fail(part + " have an extent but no memory (a null pointer)");
        }
    };
    check_array(data.labels, "labels");
    check_array(data.keys, "keys");
    check_array(data.groups, "groups");
    check_matrix(data.weights, "weights");
    if (data.has_weights() && (data.weights.rows != data.count() || data.weights.columns != 1)) {
        fail(number(data.weights.rows * data.weights.columns) + " weights for " + number(data.count()) + " rows");
    }
    for (index_t i = 0; i < data.weights.rows; ++i) {
        double const w = data.weights(i, 0);
        if (!(w >= 0.0 && w <= static_cast<double>(std::numeric_limits<float>::max()))) {
            fail("row " + number(i) + " has weight " + detail::text_of(w) + "; weights are finite and not negative");
        }
    }
    if (data.targets.rows != 0 && data.targets.rows != data.count()) {
        fail(number(data.targets.rows) + " rows of targets for " + number(data.count()) + " rows");
    }
    for (index_t i = 0; i < data.labels.size; ++i) {
        std::int32_t const label = data.labels[i];
        if (label < 0 || (classes > 0 && label >= classes)) {
            fail("row " + number(i) + " has label " + number(label) +
                 (classes > 0 ? "; " + number(classes) + " classes take labels 0 to " + number(classes - 1)
                              : std::string("; labels start at 0")));
        }
    }
    check_finite(data.features, what, "the feature", names, false);
    check_finite(data.targets, what, "the target", target_names, targets_may_miss);
}

} // namespace detail

ESPALIER_LIBRARY void check(data_view const& data, std::string_view what, index_t classes, bool targets_may_miss) {
    detail::check_data(data, what, classes, nullptr, nullptr, targets_may_miss);
}

template <number_type T> void check(data_set_of<T> const& data, std::string_view what, index_t classes) {
    auto const fits = [](std::size_t size, index_t rows, index_t columns) {
        return rows >= 0 && columns >= 0 &&
               (columns == 0 ? size == 0
                             : size / static_cast<std::size_t>(columns) == static_cast<std::size_t>(rows) &&
                                   size % static_cast<std::size_t>(columns) == 0);
    };
    auto const fail = [&](std::string const& reason) { throw data_error(std::string(what) + ": " + reason); };
    if (!fits(data.features.size(), data.count, data.width)) {
        fail(std::to_string(data.features.size()) + " feature values for " + std::to_string(data.count) + " rows of " +
             std::to_string(data.width));
    }
    if (!data.targets.empty() && !fits(data.targets.size(), data.count, data.target_width)) {
        fail(std::to_string(data.targets.size()) + " target values for " + std::to_string(data.count) + " rows of " +
             std::to_string(data.target_width));
    }
    if (!data.feature_names.empty() && data.feature_names.size() != static_cast<std::size_t>(data.width)) {
        fail(std::to_string(data.feature_names.size()) + " feature names for " + std::to_string(data.width) +
             " features");
    }
    if (!data.target_names.empty() && data.target_names.size() != static_cast<std::size_t>(data.target_width)) {
        fail(std::to_string(data.target_names.size()) + " target names for " + std::to_string(data.target_width) +
             " targets");
    }
    detail::check_data(data.view(), what, classes, &data.feature_names, &data.target_names, false);
}

namespace detail {

ESPALIER_LIBRARY void require_labels(data_view const& data) {
    if (!data.has_labels()) {
        throw data_error("class weights: the data set has no labels");
    }
}

ESPALIER_LIBRARY void check_class_weights(data_view const& data, std::vector<double> const& by_class) {
    require_labels(data);
    if (data.has_weights() && data.weights.rows != data.labels.size) {
        throw data_error("class weights: the data set has " + std::to_string(data.weights.rows) + " weights for " +
                         std::to_string(data.labels.size) + " labels");
    }
    for (double const w : by_class) {
        if (!(w >= 0.0 && w <= static_cast<double>(std::numeric_limits<float>::max()))) {
            throw data_error("class weights: " + detail::text_of(w) + " is negative or not finite");
        }
    }
    index_t const classes = class_count(data);
    if (classes > static_cast<index_t>(by_class.size())) {
        throw data_error("class weights: there are " + std::to_string(by_class.size()) + " for " +
                         std::to_string(classes) + " classes");
    }
}

ESPALIER_LIBRARY void check_split(index_t first_count, index_t count) {
    if (first_count < 0 || first_count > count) {
        throw data_error("split: the first part has " + std::to_string(first_count) + " rows, the data set " +
                         std::to_string(count));
    }
}

} // namespace detail

ESPALIER_LIBRARY std::vector<double> balanced_class_weights(data_view const& data) {
    detail::require_labels(data);
    std::vector<double> weights(static_cast<std::size_t>(class_count(data)));
    for (index_t i = 0; i < data.labels.size; ++i) {
        weights[static_cast<std::size_t>(data.labels[i])] += 1.0;
    }
    for (double& w : weights) {
        w = w > 0.0 ? static_cast<double>(data.labels.size) / (static_cast<double>(weights.size()) * w) : 0.0;
    }
    return weights;
}

template <number_type T> void weigh_classes(data_set_of<T>& data, std::vector<double> const& by_class) {
    detail::check_class_weights(data.view(), by_class);
    if (data.weights.empty()) {
        data.weights.assign(data.labels.size(), T(1));
    }
    for (std::size_t i = 0; i < data.labels.size(); ++i) {
        data.weights[i] *= static_cast<T>(by_class[static_cast<std::size_t>(data.labels[i])]);
    }
}

ESPALIER_LIBRARY std::pair<data_view, data_view> split(data_view const& data, index_t first_count) {
    detail::check_split(first_count, data.count());
    return {data.middle_rows(0, first_count), data.middle_rows(first_count, data.count() - first_count)};
}

template <number_type T>
std::pair<data_set_of<T>, data_set_of<T>> split(data_set_of<T> const& data, index_t first_count) {
    detail::check_split(first_count, data.count);
    auto const part = [&](index_t first, index_t number) {
        data_set_of<T> result;
        result.count = number;
        result.width = data.width;
        result.target_width = data.target_width;
        result.feature_names = data.feature_names;
        result.class_names = data.class_names;
        result.target_names = data.target_names;
        auto const cut = [&](auto const& from, auto& to, index_t columns) {
            if (!from.empty()) {
                to.assign(from.begin() + first * columns, from.begin() + (first + number) * columns);
            }
        };
        cut(data.features, result.features, data.width);
        cut(data.labels, result.labels, 1);
        cut(data.keys, result.keys, 1);
        cut(data.groups, result.groups, 1);
        cut(data.weights, result.weights, 1);
        cut(data.targets, result.targets, data.target_width);
        return result;
    };
    return {part(0, first_count), part(first_count, data.count - first_count)};
}

template <number_type T> void scale(data_set_of<T>& data, double factor) {
    for (T& value : data.features) {
        value = static_cast<T>(value * factor);
    }
}

template <number_type T> void standardisation::apply(data_set_of<T>& data) const {
    if (static_cast<index_t>(mean.size()) != data.width) {
        throw data_error("standardise: found on " + std::to_string(mean.size()) + " features, applied to " +
                         std::to_string(data.width));
    }
    for (std::size_t i = 0; i < data.features.size(); ++i) {
        std::size_t const c = i % mean.size();
        data.features[i] = static_cast<T>((data.features[i] - mean[c]) * factor[c]);
    }
}

ESPALIER_LIBRARY standardisation find_standardisation(data_view const& data) {
    if (data.count() <= 0) {
        throw data_error("standardise: the data set is empty");
    }
    auto const width = static_cast<std::size_t>(data.width());
    auto const rows = static_cast<double>(data.count());
    standardisation found{std::vector<double>(width, 0.0), std::vector<double>(width, 0.0)};
    for (index_t r = 0; r < data.count(); ++r) {
        for (std::size_t c = 0; c < width; ++c) {
            found.mean[c] += data.features(r, static_cast<index_t>(c));
        }
    }
    for (double& mean : found.mean) {
        mean /= rows;
    }
    for (index_t r = 0; r < data.count(); ++r) {
        for (std::size_t c = 0; c < width; ++c) {
            double const distance = data.features(r, static_cast<index_t>(c)) - found.mean[c];
            found.factor[c] += distance * distance;
        }
    }
    for (std::size_t c = 0; c < width; ++c) {
        double const deviation = std::sqrt(found.factor[c] / rows);
        // Rounding leaves a constant column a deviation near |mean| * 1e-16, which must not be blown up to 1.
        found.factor[c] = deviation > 1e-12 * std::abs(found.mean[c]) ? 1.0 / deviation : 0.0;
    }
    return found;
}

#if !defined(ESPALIER_HEADER_ONLY)
#define ESPALIER_TABLES_OF(T)                                                                                          \
    template index_t class_count<T>(data_set_of<T> const&);                                                            \
    template void check<T>(data_set_of<T> const&, std::string_view, index_t);                                          \
    template void weigh_classes<T>(data_set_of<T>&, std::vector<double> const&);                                       \
    template std::pair<data_set_of<T>, data_set_of<T>> split<T>(data_set_of<T> const&, index_t);                       \
    template void scale<T>(data_set_of<T>&, double);                                                                   \
    template void standardisation::apply<T>(data_set_of<T>&) const
ESPALIER_TABLES_OF(float);
ESPALIER_TABLES_OF(double);
#undef ESPALIER_TABLES_OF
#endif

} // namespace espalier
