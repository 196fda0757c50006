// SPDX-License-Identifier: Apache-2.0
// A weight is worth what the loss would change by without it, to first order.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/concept.hpp>

#include <string_view>

namespace espalier::prune {

/// |w dL/dw|, of the loss and the terms over activations at the step's batch: with one selection at the first step the
/// connection sensitivity of SNIP (Lee, Ajanthan and Torr 2019, "SNIP: single-shot network pruning based on connection
/// sensitivity", eq. 6 without its normalisation, which changes no order within what is compared), later a first-order
/// Taylor criterion of the batch. A NaN is worth less than 0.
struct by_sensitivity {
    static constexpr std::string_view name = "sensitivity";

    template <class T> ESPALIER_FN static auto key(T w, about<T> const& more) {
        return by_magnitude::key(w * more.gradient);
    }
};

} // namespace espalier::prune
