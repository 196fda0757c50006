// SPDX-License-Identifier: Apache-2.0
// Weights are compared within their tensor.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/select.hpp>

#include <cstdint>
#include <string_view>

namespace espalier::prune {

/// Every tensor keeps n - round(sparsity n) of its n weights. Throws shape_error for a tensor whose rows lie apart.
struct per_layer {
    static constexpr std::string_view name = "per_layer";
    static constexpr bool global = false;
    static constexpr bool largest = true;

    template <class Criterion, class T>
    static void select(matrix_view<T const> w, double sparsity, std::uint32_t* mask) {
        if (!w.contiguous() && w.rows > 1)
            espalier::detail::throw_shape_error("prune per_layer: rows of ", w.columns, " weights are ", w.stride,
                                                " apart, needed is a contiguous tensor");
        piece<T> const whole[] = {{w.data, w.rows * w.columns, mask}};
        select_threshold<Criterion>(whole, sparsity);
    }
};

} // namespace espalier::prune
