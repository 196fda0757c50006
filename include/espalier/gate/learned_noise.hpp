// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/initial/zeros.hpp>

#include <string_view>

namespace espalier::gate {

/// H = clean + eps sigma with sigma = softplus(raw) + 0.01 and eps ~ N(0, 1) for every row and expert, in training only
/// (Shazeer et al. 2017, section 2.1: noisy top-k gating; the floor of sigma is the authors' code's). The scale is
/// learned: the gate's product has 2 Experts columns, the logits first and `raw` after them.
///     dclean_e = dH_e,  draw_e = dH_e eps_e sigmoid(raw_e)
/// Kernel and bias start at 0, as in the paper (appendix A): all logits equal and sigma = ln 2 + 0.01 everywhere, so
/// that noise alone spreads the first rows. Another start is named in the mixture: moe<gate, expert,
/// initial::xavier_uniform>.
struct learned_noise {
    static constexpr part_kind kind = part_kind::noise;
    static constexpr std::string_view name = "learned_noise";
    static constexpr part_needs needs{.noise = true, .noise_logits = true};
    static constexpr double floor = 1e-2; ///< smallest sigma
    using initial = espalier::initial::zeros;

    template <class Group, class About, class State>
    static ESPALIER_FN void disturb(Group const&, About const& about, State& s) {
        using T = typename decltype(s.noisy)::value_type;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i) {
            s.sigma.v[i] = softplus(about.noise_logits.v[i]) + T(static_cast<scalar_of<T>>(floor));
            s.noisy.v[i] = fma(about.noise.v[i], s.sigma.v[i], s.clean.v[i]);
        }
    }
    template <class Group, class About, class Gradient>
    static ESPALIER_FN void backward(Group const&, About& about, Gradient const& d) {
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < d.noisy.local; ++i)
            about.dnoise_logits.v[i] =
                fma(d.noisy.v[i], about.noise.v[i], d.sigma.v[i]) * sigmoid(about.noise_logits.v[i]);
    }
};

} // namespace espalier::gate
