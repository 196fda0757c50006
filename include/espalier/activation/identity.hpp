// SPDX-License-Identifier: Apache-2.0
// No activation.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = x.
struct identity {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "identity";
    static constexpr bool reads_input = false;
    static constexpr bool reads_output = false;

    template <class T> ESPALIER_FN static T forward(T x) { return x; }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy; }
};

} // namespace espalier::activation
