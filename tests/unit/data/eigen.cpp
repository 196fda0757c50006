// SPDX-License-Identifier: Apache-2.0
// Whatever Eigen has in memory, as a view of rows and as data: the same numbers at the same places, nothing copied.
// (What is no memory does not compile: tests/compile_fail/eigen_*.cpp.)
#include <espalier/data/eigen_view.hpp>
#include <espalier/data/table.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <complex>
#include <vector>

using namespace espalier;

namespace {

template <class T> using by_rows = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T> using by_columns = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
using any_stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;

/// 0, 1, 2, ... by rows.
template <class Matrix> Matrix counted(index_t rows, index_t columns) {
    Matrix m(rows, columns);
    for (index_t r = 0; r < rows; ++r)
        for (index_t c = 0; c < columns; ++c)
            m(r, c) = static_cast<typename Matrix::Scalar>(columns * r + c);
    return m;
}

/// What Eigen says of a matrix.
struct seen {
    void const* data;
    index_t rows, columns;
    std::vector<double> values;
};
template <class Matrix> seen by_eigen(Matrix const& m) {
    seen out{m.data(), m.rows(), m.cols(), {}};
    for (index_t r = 0; r < m.rows(); ++r)
        for (index_t c = 0; c < m.cols(); ++c)
            out.values.push_back(static_cast<double>(m(r, c)));
    return out;
}

void compare(char const* what, seen const& expected, number_view got) {
    INFO(what);
    CHECK(got.data == expected.data);
    REQUIRE(got.rows == expected.rows);
    REQUIRE(got.columns == expected.columns);
    std::vector<double> values;
    for (index_t r = 0; r < got.rows; ++r)
        for (index_t c = 0; c < got.columns; ++c)
            values.push_back(got(r, c));
    CHECK(values == expected.values);
    if (!values.empty()) CHECK_NOTHROW(check(data_view{got}));
}

/// `numbers` of it are its numbers, where they lie.
template <class Matrix> void check_numbers(char const* what, Matrix&& m) {
    compare(what, by_eigen(m), numbers(m));
}
/// And so are the rows of its view.
template <class Matrix> void check_rows(char const* what, Matrix&& m) {
    seen const expected = by_eigen(m);
    compare(what, expected, numbers(m));
    compare(what, expected, view(m));
}
/// Data of it, but no rows of adjacent numbers.
template <class Matrix> void check_apart(char const* what, Matrix&& m) {
    compare(what, by_eigen(m), numbers(m));
    INFO(what);
    CHECK_THROWS_WITH(view(m), contains_text("copy it, or use espalier::numbers for data"));
}

} // namespace

TEST_CASE("eigen: matrices, maps, references, blocks and transposes", "[data]") {
    auto m = counted<by_rows<float>>(4, 6);
    auto const constant = m;
    by_columns<float> turned = m;
    Eigen::Matrix<float, 3, 2, Eigen::RowMajor> const fixed = m.topLeftCorner(3, 2);
    Eigen::Matrix<float, 3, 3> const square = m.topLeftCorner(3, 3);
    Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const array = m.array();
    check_rows("matrix", m);
    check_rows("const matrix", constant);
    check_rows("fixed size", fixed);
    check_rows("array", array);
    check_rows("array of a matrix", m.array());
    check_rows("rows", m.middleRows(1, 2));
    check_rows("columns", constant.middleCols(2, 3));
    check_rows("block", m.block(1, 2, 2, 3));
    check_rows("fixed block", m.block<2, 3>(1, 2));
    check_rows("transpose of columns", turned.transpose());
    check_rows("transpose of a fixed size", square.transpose());
    check_rows("reshaped by rows", m.reshaped<Eigen::RowMajor>(8, 3));
    check_rows("map", Eigen::Map<by_rows<float>>(m.data(), 4, 6));
    check_rows("const map", Eigen::Map<by_rows<float> const>(m.data(), 6, 4));
    check_rows("map with gaps",
               Eigen::Map<by_rows<float>, 0, Eigen::OuterStride<>>(m.data(), 4, 3, Eigen::OuterStride<>(6)));
    check_apart("map of apart numbers", Eigen::Map<by_rows<float>, 0, any_stride>(m.data(), 4, 3, any_stride(6, 2)));
    Eigen::Ref<by_rows<float>> const reference(m);
    Eigen::Ref<by_rows<float> const> const kept(constant.leftCols(3)), own(constant * 2.0f);
    check_rows("reference", reference);
    check_rows("const reference", kept);
    check_rows("const reference with a matrix of its own", own);
    check_numbers("columns as data", turned);
    auto const exact = counted<by_rows<double>>(3, 5);
    check_rows("double", exact);
    check_rows("double in the middle", exact.middleCols(1, 3));
    check_numbers("transpose of double", exact.transpose());
    check_numbers("fixed size as data", square);
    check_numbers("rows of columns", turned.middleRows(1, 2));
    check_numbers("transpose of rows", m.transpose());
    check_numbers("reference to columns", Eigen::Map<by_columns<float> const>(m.data(), 4, 6));
    Eigen::Ref<by_columns<float> const> const of_columns(turned.topRows(3));
    check_numbers("const reference to columns", of_columns);
}

TEST_CASE("eigen: a vector is a row or a column as it stands", "[data]") {
    auto m = counted<by_rows<float>>(4, 6);
    by_columns<float> turned = m;
    Eigen::Matrix<float, Eigen::Dynamic, 1> column = m.col(2);
    Eigen::Matrix<float, 1, Eigen::Dynamic> const row = m.row(1);
    Eigen::Matrix<float, 1, 1> const number = m.topLeftCorner<1, 1>();
    check_rows("column", column);
    check_rows("row", row);
    check_rows("column that is turned", column.transpose());
    check_rows("row that is turned", row.transpose());
    check_rows("part of a column", column.tail(3));
    check_rows("number", number);
    check_rows("column of rows", m.col(5));
    check_rows("column of columns", turned.col(5));
    check_rows("row of rows", m.row(3));
    check_rows("one column", m.middleCols(3, 1));
    check_rows("diagonal", m.diagonal());
    using inner = Eigen::InnerStride<>;
    check_rows("every third as a column", Eigen::Map<decltype(column), 0, inner>(m.data(), 5, inner(3)));
    check_apart("every third as a row",
                Eigen::Map<std::remove_const_t<decltype(row)>, 0, inner>(m.data(), 5, inner(3)));
    check_apart("row of columns", turned.row(2));
    Eigen::Matrix<std::complex<float>, 3, 2, Eigen::RowMajor> pairs;
    pairs.real() = m.topLeftCorner(3, 2);
    pairs.imag() = m.bottomRightCorner(3, 2);
    check_apart("real parts", pairs.real());
    check_apart("imaginary parts", pairs.imag());
}

TEST_CASE("eigen: what is empty has no rows, no columns or neither", "[data]") {
    by_rows<float> const without_rows(0, 5), without_columns(5, 0), nothing;
    Eigen::Matrix<float, Eigen::Dynamic, 1> const no_vector;
    by_columns<float> const columns(0, 5);
    check_rows("no rows", without_rows);
    check_rows("no columns", without_columns);
    check_rows("nothing", nothing);
    check_rows("no vector", no_vector);
    check_numbers("no rows of columns", columns);
    CHECK_THAT(message_of<data_error>([&] { check(data_view{numbers(columns)}); }), contains_text("there are no data"));
    CHECK_THAT(message_of<data_error>([&] { check(data_view{numbers(without_columns)}); }),
               contains_text("there are no data"));
}

TEST_CASE("eigen: a view of what is not const is written to, one of what is const is not", "[data]") {
    auto m = counted<by_rows<float>>(4, 6);
    by_rows<float> const before = m;
    view(m.middleCols(2, 3))(1, 2) = -5.0f;
    Eigen::Map<by_rows<float>> map(m.data(), 4, 6);
    view(map)(3, 5) = -6.0f;
    view(m.col(0))(2, 0) = -7.0f;
    CHECK(m(1, 4) == -5.0f);
    CHECK(m(3, 5) == -6.0f);
    CHECK(m(2, 0) == -7.0f);
    CHECK((m - before).count() == 3);
    STATIC_REQUIRE(std::is_same_v<decltype(view(before)), matrix_view<float const>>);
    STATIC_REQUIRE(std::is_same_v<decltype(view(before.row(1))), matrix_view<float const>>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(view(Eigen::Map<by_rows<float> const>(m.data(), 4, 6))), matrix_view<float const>>);
    STATIC_REQUIRE(std::is_same_v<decltype(view(m.row(1))), matrix_view<float>>);
}
