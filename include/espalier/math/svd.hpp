// SPDX-License-Identifier: Apache-2.0
// host only. Singular values and vectors of a small dense matrix, in double.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace espalier::math {

namespace detail {

/// Columns of equal length, each in one piece with zeros behind it, so that loops over them have blocks of constant
/// length: -O2 vectorises no others.
class padded_columns {
public:
    static constexpr index_t block = 8;

    padded_columns(index_t length, index_t count)
        : stride_((length + block - 1) / block * block), values_(static_cast<std::size_t>(stride_ * count)) {}

    double* operator[](index_t c) { return values_.data() + c * stride_; }
    double const* operator[](index_t c) const { return values_.data() + c * stride_; }

    double dot(index_t c, index_t d) const {
        double const *const a = (*this)[c], *const b = (*this)[d];
        double sum[block] = {};
        for (index_t i = 0; i < stride_; i += block)
            for (index_t k = 0; k < block; ++k)
                sum[k] += a[i + k] * b[i + k];
        return std::accumulate(sum, sum + block, 0.0);
    }
    void rotate(index_t c, index_t d, double cosine, double sine) {
        double *const a = (*this)[c], *const b = (*this)[d];
        for (index_t i = 0; i < stride_; i += block) {
            double left[block], right[block];
            for (index_t k = 0; k < block; ++k) {
                left[k] = cosine * a[i + k] - sine * b[i + k];
                right[k] = sine * a[i + k] + cosine * b[i + k];
            }
            std::copy_n(left, block, a + i);
            std::copy_n(right, block, b + i);
        }
    }

private:
    index_t stride_;
    std::vector<double> values_;
};

} // namespace detail

/// A = U S V^T with k = min(rows, columns) singular values in falling order. Allocates.
class thin_svd {
public:
    /// One-sided Jacobi rotations (Hestenes 1958): columns are turned in pairs until any two are orthogonal to
    /// rounding; their lengths are then the singular values, which so come out to high relative accuracy. About 8
    /// sweeps of 7 m k^2 multiplications and additions, with m = max(rows, columns): measured times are in
    /// docs/rationale.md. Throws numerical_error for a matrix with a number that is not finite.
    explicit thin_svd(matrix_view<double const> a)
        : flipped_(a.rows < a.columns), long_(flipped_ ? a.columns : a.rows), short_(flipped_ ? a.rows : a.columns),
          left_(long_, short_), right_(short_, short_) {
        double largest = 0.0;
        for (index_t r = 0; r < a.rows; ++r)
            for (index_t c = 0; c < a.columns; ++c) {
                if (!std::isfinite(a(r, c)))
                    espalier::detail::throw_numerical_error("svd: row ", r, ", column ", c, " is not finite");
                largest = std::max(largest, std::fabs(a(r, c)));
            }
        scale_ = largest > 0.0 ? largest : 1.0; // squares of scaled numbers neither overflow nor vanish
        for (index_t r = 0; r < a.rows; ++r)
            for (index_t c = 0; c < a.columns; ++c)
                (flipped_ ? left_[r][c] : left_[c][r]) = a(r, c) / scale_;
        for (index_t c = 0; c < short_; ++c)
            right_[c][c] = 1.0;
        turn();
        order_.resize(static_cast<std::size_t>(short_));
        std::iota(order_.begin(), order_.end(), index_t{0});
        std::vector<double> size;
        for (index_t c = 0; c < short_; ++c)
            size.push_back(std::sqrt(left_.dot(c, c)));
        std::sort(order_.begin(), order_.end(), [&](index_t c, index_t d) {
            double const left = size[static_cast<std::size_t>(c)], right = size[static_cast<std::size_t>(d)];
            return left != right ? left > right : c < d;
        });
        for (index_t const c : order_)
            values_.push_back(scale_ * size[static_cast<std::size_t>(c)]);
    }

    std::vector<double> const& values() const { return values_; }
    /// Their sum, the nuclear norm ||A||_*.
    double nuclear_norm() const { return std::accumulate(values_.begin(), values_.end(), 0.0); }
    /// Element `row` of the i-th column of U, and of V. 0 in a column of U whose singular value is 0, where U is not
    /// determined.
    double left(index_t row, index_t i) const { return flipped_ ? turned(row, i) : scaled(row, i); }
    double right(index_t row, index_t i) const { return flipped_ ? scaled(row, i) : turned(row, i); }
    /// Q <- U_r V_r^T, rows x columns as A: the sum over the r singular values above tolerance times the largest. It is
    /// the gradient of the nuclear norm where A has full rank, and a subgradient elsewhere; 0 for A = 0.
    void polar_factor(matrix_view<double> q, double tolerance) const {
        for (index_t r = 0; r < q.rows; ++r)
            std::fill_n(q.row(r), q.columns, 0.0);
        for (std::size_t i = 0; i < values_.size() && values_[i] > tolerance * values_[0]; ++i) {
            double const *const u = left_[order_[i]], *const v = right_[order_[i]];
            double const inverse = scale_ / values_[i];
            for (index_t r = 0; r < q.rows; ++r) {
                double const factor = inverse * (flipped_ ? v[r] : u[r]);
                double const* const other = flipped_ ? u : v;
                for (index_t c = 0; c < q.columns; ++c)
                    q(r, c) += factor * other[c];
            }
        }
    }

private:
    double turned(index_t row, index_t i) const { return right_[order_[static_cast<std::size_t>(i)]][row]; }
    double scaled(index_t row, index_t i) const {
        double const value = values_[static_cast<std::size_t>(i)];
        return value > 0.0 ? left_[order_[static_cast<std::size_t>(i)]][row] * (scale_ / value) : 0.0;
    }

    void turn() {
        constexpr int most_sweeps = 60; // of which about 8 are needed
        constexpr double orthogonal = 1e-15;
        std::vector<double> squares(static_cast<std::size_t>(short_));
        bool turned = true;
        for (int sweep = 0; turned && sweep < most_sweeps; ++sweep) {
            turned = false;
            for (index_t c = 0; c < short_; ++c) // kept up to date within the sweep
                squares[static_cast<std::size_t>(c)] = left_.dot(c, c);
            for (index_t c = 0; c < short_; ++c)
                for (index_t d = c + 1; d < short_; ++d) {
                    double &a = squares[static_cast<std::size_t>(c)], &b = squares[static_cast<std::size_t>(d)];
                    double const both = left_.dot(c, d);
                    if (!(std::fabs(both) > orthogonal * std::sqrt(a * b))) continue;
                    turned = true;
                    double const cotangent = (b - a) / (2.0 * both); // of twice the angle
                    double const tangent =
                        std::copysign(1.0, cotangent) / (std::fabs(cotangent) + std::hypot(1.0, cotangent));
                    double const cosine = 1.0 / std::hypot(1.0, tangent);
                    left_.rotate(c, d, cosine, cosine * tangent);
                    right_.rotate(c, d, cosine, cosine * tangent);
                    a = std::max(a - tangent * both, 0.0);
                    b += tangent * both;
                }
        }
    }

    bool flipped_; ///< the decomposed matrix is the transpose, so that it has no more columns than rows
    index_t long_, short_;
    detail::padded_columns left_, right_; ///< U S and V
    double scale_ = 1.0;
    std::vector<index_t> order_;
    std::vector<double> values_;
};

} // namespace espalier::math
