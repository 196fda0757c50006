// SPDX-License-Identifier: Apache-2.0
// Numbers that are not finite, seen by passes that read them anyway.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

#include <cstdint>
#include <string_view>

namespace espalier {

/// Sees whether one of many numbers was an infinity or a NaN: x - x is 0 for a finite x and a NaN for the others, and
/// what is gathered are its bits, which no number has to wait for. Two operations a number, or a pack of them.
/// (-ffast-math, which would take x - x for 0, is not supported.)
///
/// A program compiled with ESPALIER_UNWATCHED looks at nothing and lets such numbers into its weights: that is for
/// benchmarks/finite.py, which measures what looking costs.
template <class P> struct finite_watch {
    using S = scalar_of<P>;
    using bits = decltype(to_bits(P(S(0))));
    bits seen = to_bits(P(S(0)));

#ifdef ESPALIER_UNWATCHED
    static constexpr bool watches = false;
#else
    static constexpr bool watches = true;
#endif

    ESPALIER_FN void see(P const& x) {
        if constexpr (watches) seen = seen | to_bits(x - x);
    }
    /// What another watch has seen.
    ESPALIER_FN void join(finite_watch const& other) {
        seen = seen | other.seen;
    }
    ESPALIER_FN bool all_finite() const {
        if constexpr (!watches) return true;
        P const sum = from_bits(seen);
        if constexpr (pack_width < P >> 1)
            return horizontal_sum(sum) == S(0);
        else
            return sum == S(0);
    }
};

/// Where in a step a device met a number that is not finite.
enum class step_place {
    nowhere,
    activation,      ///< what goes into an activation or a dropout
    activation_back, ///< the gradient that comes back to one
    outputs,         ///< what goes into a loss, at the network's output or at a tap
    loss_back,       ///< the gradient that a loss gives
    gate,            ///< the logits of a gate
    gate_back,       ///< the gradient of a gate's weights
    experts,         ///< what experts give
    statistics,      ///< means and variances of a batch
    rows,            ///< rows that a layer passes on in part
    update,          ///< what an update makes of a weight or of a moment
};

/// In words, for messages.
constexpr std::string_view words_for(step_place place) {
    switch (place) {
    case step_place::activation:
        return "what goes into an activation";
    case step_place::activation_back:
        return "the gradient that comes back to an activation";
    case step_place::outputs:
        return "what goes into a loss";
    case step_place::loss_back:
        return "the gradient of a loss";
    case step_place::gate:
        return "the logits of a gate";
    case step_place::gate_back:
        return "the gradient of a gate's weights";
    case step_place::experts:
        return "what an expert gives";
    case step_place::statistics:
        return "the mean or the variance of a batch";
    case step_place::rows:
        return "what goes into a slice";
    case step_place::update:
        return "what an update gives";
    case step_place::nowhere:
        break;
    }
    return "nothing";
}

/// The first such place of a step, and the random stream of its layer, which says which layer it was.
struct spoiled_place {
    static constexpr std::uint32_t no_stream = ~std::uint32_t{0};

    step_place place = step_place::nowhere;
    std::uint32_t stream = no_stream;
};

} // namespace espalier
