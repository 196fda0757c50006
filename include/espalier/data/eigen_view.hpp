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

/// Whatever is a matrix to Eigen: dense, sparse, triangular, an expression.
template <class T>
concept eigen_expression = requires(T const& m) {
    []<class D>(Eigen::EigenBase<D> const&) {}(m);
};

/// Some expressions have the flag and no pointer (rows chosen by a sequence), others a pointer to other things (sparse
/// ones).
template <class T>
concept eigen_memory = (Eigen::internal::traits<T>::Flags & Eigen::DirectAccessBit) != 0 && requires(T const& m) {
    m.data();
    m.innerStride();
    m.outerStride();
};

template <class M> struct is_eigen_ref : std::false_type {};
template <class M, int Options, class Stride> struct is_eigen_ref<Eigen::Ref<M, Options, Stride>> : std::true_type {};

/// Whether what was given is memory with numbers that outlives the call; otherwise a sentence says what it is. A Ref to
/// const may hold a matrix of its own.
template <class Given> consteval bool check_eigen_memory() {
    using expression = std::remove_cvref_t<Given>;
    constexpr bool dense = eigen_memory<expression>;
    static_assert(dense, "espalier: this Eigen expression does not lie in memory as a dense matrix: evaluate it into "
                         "one and view that");
    if constexpr (dense) {
        constexpr bool numbers = number_type<typename expression::Scalar>;
        constexpr bool ends =
            !std::is_lvalue_reference_v<Given> &&
            (std::is_base_of_v<Eigen::PlainObjectBase<expression>, expression> || is_eigen_ref<expression>::value);
        static_assert(numbers, "espalier: view and numbers take an Eigen matrix of float or double");
        static_assert(!ends, "espalier: a view of a temporary matrix would look at freed memory: give the matrix a "
                             "name first");
        return numbers;
    } else {
        return false;
    }
}

} // namespace detail

/// The rows of an Eigen matrix, array, Map, Ref, block or transpose of float or double as they lie: for `predict`,
/// `training::step` and whatever else takes a `matrix_view`, as input or as output. Row-major ones, and vectors: a
/// column vector is n rows of one number.
///
///     Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> x(n, 8), y(n, 3);
///     model.predict(view(x), view(y));
///
/// A column-major matrix, which is Eigen's default, does not compile, with a sentence; `numbers` takes one as data.
/// Throws `shape_error` when the elements of a row lie apart (an inner stride other than 1) or rows overlap.
template <class Matrix>
requires detail::eigen_expression<Matrix>
auto view(Matrix&& m) {
    if constexpr (detail::check_eigen_memory<Matrix&&>()) {
        using expression = std::remove_cvref_t<Matrix>;
        constexpr bool column = expression::ColsAtCompileTime == 1;
        static_assert(
            column || expression::IsRowMajor,
            "espalier: the rows of a batch lie one after the other, and this Eigen matrix stores columns, which is "
            "Eigen's default: make it Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> or copy "
            "it into one; fit, evaluate and predict take columns as data_view{espalier::numbers(matrix)}");
        using element = std::remove_pointer_t<decltype(m.data())>;
        index_t const stride = column ? m.innerStride() : m.outerStride();
        if (!column && m.innerStride() != 1 && m.cols() > 1)
            detail::throw_shape_error("view: the elements of a row of this Eigen matrix lie ", m.innerStride(),
                                      " apart; adjacent ones are needed: copy it, or use espalier::numbers for data");
        if (m.rows() > 1 && stride < m.cols())
            detail::throw_shape_error("view: the rows of this Eigen matrix have ", m.cols(), " elements and lie ",
                                      stride, " apart; rows must not overlap");
        return matrix_view<element>{m.data(), m.rows(), m.cols(), stride};
    } else {
        return matrix_view<float>{};
    }
}

/// The same, and matrices of columns and with any strides, as the features or targets of a `data_view`: rows are
/// copied into batches anyway.
///
///     Eigen::MatrixXd const x = ..., y = ...;
///     data_view rows{numbers(x)};
///     rows.targets = numbers(y);
template <class Matrix>
requires detail::eigen_expression<Matrix> number_view numbers(Matrix&& m) {
    if constexpr (detail::check_eigen_memory<Matrix&&>()) {
        using expression = std::remove_cvref_t<Matrix>;
        return {static_cast<typename expression::Scalar const*>(m.data()), m.rows(), m.cols(),
                expression::IsRowMajor ? m.outerStride() : m.innerStride(),
                expression::IsRowMajor ? m.innerStride() : m.outerStride()};
    } else {
        return {};
    }
}

} // namespace espalier
