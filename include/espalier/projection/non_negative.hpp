// SPDX-License-Identifier: Apache-2.0
// No weight below 0.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/projection/axis.hpp>
#include <espalier/projection/concept.hpp>

#include <string_view>

namespace espalier::projection {

/// Element function of `non_negative`.
struct non_negative_op {
    template <class T> ESPALIER_FN T apply(T next) const {
        using espalier::max;
        return max(T(scalar_of<T>(0)), next);
    }
};

/// w <- max(0, w); a NaN stays one. A network of such kernels and convex, non-decreasing activations is convex in its
/// input (Amos et al. 2017, proposition 1, where the kernels that read the input itself stay free).
struct non_negative {
    using axis = espalier::axis::projection;
    static constexpr std::string_view name = "non_negative";
    using op = non_negative_op;
};

} // namespace espalier::projection
