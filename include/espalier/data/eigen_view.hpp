// SPDX-License-Identifier: Apache-2.0
// host only. Matrices of Eigen as inputs, outputs and data, without a copy. Not part of espalier.hpp: who includes this
// header has Eigen (target espalier::eigen).
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/number_view.hpp>

#include <Eigen/Core>

#include <type_traits>

namespace espalier {

namespace detail {

template <class T>
concept eigen_expression = requires(T const& m) {
    []<class D>(Eigen::DenseBase<D> const&) {}(m);
};

template <class M> struct is_eigen_ref : std::false_type {};
template <class M, int Options, class Stride> struct is_eigen_ref<Eigen::Ref<M, Options, Stride>> : std::true_type {};

/// Checks what both views need. A Ref to const may hold a matrix of its own.
template <class Given> constexpr void check_eigen_memory() {
    using expression = std::remove_cvref_t<Given>;
    static_assert((Eigen::internal::traits<expression>::Flags & Eigen::DirectAccessBit) != 0,
                  "espalier: this Eigen expression is not in memory yet: evaluate it into a matrix and view that");
    static_assert(
        std::is_lvalue_reference_v<Given> ||
            !(std::is_base_of_v<Eigen::PlainObjectBase<expression>, expression> || is_eigen_ref<expression>::value),
        "espalier: a view of a temporary matrix would look at freed memory: give the matrix a name first");
}

} // namespace detail

/// The rows of an Eigen matrix, Map, Ref or block as they lie: for `predict`, `training::step` and whatever else takes
/// a `matrix_view`, as input or as output. Row-major ones, and vectors: a column vector is n rows of one number.
///
///     Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> x(n, 8), y(n, 3);
///     model.predict(view(x), view(y));
///
/// A column-major matrix, which is Eigen's default, does not compile, with a sentence; `numbers` takes one as data.
/// Throws `shape_error` when the elements of a row lie apart (an inner stride other than 1) or rows overlap.
template <class Matrix>
requires detail::eigen_expression<Matrix>
auto view(Matrix&& m) {
    using expression = std::remove_cvref_t<Matrix>;
    detail::check_eigen_memory<Matrix&&>();
    constexpr bool column = expression::ColsAtCompileTime == 1;
    static_assert(
        column || expression::IsRowMajor,
        "espalier: the rows of a batch lie one after the other, and this Eigen matrix stores columns, which is "
        "Eigen's default: make it Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> or copy "
        "it into one; fit, evaluate and predict(network, data_view) take columns through espalier::numbers");
    using element = std::remove_pointer_t<decltype(m.data())>;
    index_t const stride = column ? m.innerStride() : m.outerStride();
    if (!column && m.innerStride() != 1 && m.cols() > 1)
        detail::throw_shape_error("view: the elements of a row of this Eigen matrix lie ", m.innerStride(),
                                  " apart; adjacent ones are needed: copy it, or use espalier::numbers for data");
    if (m.rows() > 1 && stride < m.cols())
        detail::throw_shape_error("view: the rows of this Eigen matrix have ", m.cols(), " elements and lie ", stride,
                                  " apart; rows must not overlap");
    return matrix_view<element>{m.data(), m.rows(), m.cols(), stride};
}

/// An Eigen matrix, Map, Ref or block of float or double as the features or targets of a `data_view`, in any order and
/// with any strides: rows are copied into batches anyway.
///
///     Eigen::MatrixXd const x = ..., y = ...;
///     data_view rows{numbers(x)};
///     rows.targets = numbers(y);
template <class Matrix>
requires detail::eigen_expression<Matrix> number_view numbers(Matrix&& m) {
    using expression = std::remove_cvref_t<Matrix>;
    detail::check_eigen_memory<Matrix&&>();
    static_assert(number_type<typename expression::Scalar>,
                  "espalier: numbers takes an Eigen matrix of float or double");
    return {static_cast<typename expression::Scalar const*>(m.data()), m.rows(), m.cols(),
            expression::IsRowMajor ? m.outerStride() : m.innerStride(),
            expression::IsRowMajor ? m.innerStride() : m.outerStride()};
}

} // namespace espalier
