// SPDX-License-Identifier: Apache-2.0
// Softmax over the columns of a row.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>

#include <string_view>

namespace espalier::activation {

/// y_c = exp(x_c) / sum_k exp(x_k); dx_c = y_c (dy_c - sum_k y_k dy_k). Finite for all finite inputs.
struct softmax {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "softmax";
    static constexpr bool row_form = true;

    template <class Group, class T, int N> ESPALIER_FN static void forward(Group const& group, row<Group, T, N>& x) {
        row_softmax(group, x);
    }
    template <class Group, class T, int N>
    ESPALIER_FN static void backward(Group const& group, row<Group, T, N> const& y, row<Group, T, N>& dy) {
        T const mean = row_dot(group, y, dy);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < y.local; ++i)
            dy.v[i] = y.v[i] * (dy.v[i] - mean);
    }
};

} // namespace espalier::activation
