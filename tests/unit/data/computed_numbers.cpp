// SPDX-License-Identifier: Apache-2.0
// Tables whose rows are computed as they are read, against the same numbers in memory.
#include <espalier/core/view.hpp>
#include <espalier/data/computed_numbers.hpp>
#include <espalier/data/number_view.hpp>
#include <espalier/data/table.hpp>

#include <support/catch.hpp>

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

using namespace espalier;

namespace {

constexpr index_t count = 5, width = 150; // more columns than are computed at once, and no multiple of that

double element(index_t r, index_t c) {
    return static_cast<double>(r) + static_cast<double>(c) / 3.0;
}

template <class Table> void check_table(Table const& table) {
    number_view const whole = table;
    CHECK(whole.rows == count);
    CHECK(whole.columns == width);
    number_view const last = whole.middle_rows(1, 4).middle_rows(2, 2);
    std::vector<float> row(static_cast<std::size_t>(width));
    last.copy_row(1, row.data());
    for (index_t c = 0; c < width; ++c) {
        CHECK(whole(2, c) == element(2, c));
        CHECK(last(0, c) == element(3, c));
        CHECK(row[static_cast<std::size_t>(c)] == static_cast<float>(element(4, c)));
    }
}

} // namespace

TEST_CASE("computed numbers: by element and by row", "[data]") {
    computed_numbers const by_element(count, width, element);
    check_table(by_element);
    computed_numbers const by_row(count, width, [](index_t r, index_t first, index_t n, double* to) {
        for (index_t i = 0; i < n; ++i)
            to[i] = element(r, first + i);
    });
    check_table(by_row);
}

TEST_CASE("computed numbers: a data set of them is checked, split and measured", "[data]") {
    computed_numbers const x(count, 2, [](index_t r, index_t c) { return c == 0 ? 0.5f : static_cast<float>(r); });
    computed_numbers const y(count, 1, [](index_t r, index_t) { return 10 * r; }); // whole numbers are converted
    data_view data{x};
    data.targets = y;
    check(data);
    auto const rest = split(data, 3).second;
    CHECK(rest.count() == 2);
    CHECK(rest.features(1, 1) == 4.0);
    CHECK(rest.targets(0, 0) == 30.0);
    CHECK(find_standardisation(data).mean == std::vector<double>{0.5, 2.0});

    computed_numbers const fewer(count - 1, 1, [](index_t, index_t) { return 1.0; });
    data.targets = fewer;
    CHECK_THROWS_WITH(check(data), contains_text("4 rows of targets for 5 rows"));
}

TEST_CASE("computed numbers: what is refused", "[data]") {
    auto const one = [](index_t, index_t) { return 1.0; };
    CHECK_THROWS_WITH((computed_numbers{-1, 2, one}), contains_text("-1 rows of 2 columns"));
    computed_numbers const x(2, 100, [](index_t r, index_t c) {
        return r == 1 && c == 70 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    });
    CHECK_THROWS_WITH(check(data_view{x}), contains_text("row 1, column 70 is not a number"));
    computed_numbers const ones(2, 3, one);
    number_view const view = ones;
    CHECK_THROWS_AS(static_cast<matrix_view<double const>>(view), data_error);
    CHECK_THROWS_WITH(static_cast<matrix_view<float const>>(view), contains_text("computed row by row"));
}
