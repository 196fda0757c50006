// SPDX-License-Identifier: Apache-2.0
// Losses of a single number against its target: what losses over the columns of a row are made of.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

namespace espalier::loss {

/// A loss and its derivative.
template <class T> struct value_and_slope {
    T value;
    T slope;
};

namespace column {

/// A yes-or-no decision from its logit z, for a target t in [0, 1]: log(1 + exp(z)) - t z, slope sigmoid(z) - t.
struct binary {
    double weight = 1.0;

    template <class T> static ESPALIER_FN value_and_slope<T> of(T z, T t) {
        using S = scalar_of<T>;
        T const none(S(0)), one(S(1)), e = exp(-abs(z));
        // max(z, 0) - t z without cancellation: z (1 - t) or -z t; the sigmoid from the same e
        T const linear = select(z > none, z * (one - t), -z * t);
        return {linear + log1p(e), select(z > none, one, e) / (one + e) - t};
    }
};

/// (z - t)^2, slope 2 (z - t).
struct squared {
    double weight = 1.0;

    template <class T> static ESPALIER_FN value_and_slope<T> of(T z, T t) {
        T const difference = z - t;
        return {difference * difference, T(scalar_of<T>(2)) * difference};
    }
};

} // namespace column
} // namespace espalier::loss
