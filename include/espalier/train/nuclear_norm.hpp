// SPDX-License-Identifier: Apache-2.0
// host only. A penalty on the singular values of the trained part of matrices: no sum over single weights, so it is
// added to the gradients of a step by a function before its update.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/core/word_bits.hpp>
#include <espalier/math/svd.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace espalier {

/// Which matrices a visit of `nuclear_norm` decomposes.
enum class visited_matrices {
    all,
    one_at_random, ///< of those that qualify, uniformly by the network's seed and the step; its gradient is not scaled
};

/// What a `nuclear_norm` looks at, and how much it counts.
struct nuclear_norm_options {
    double coefficient = 5e-4;
    visited_matrices visits = visited_matrices::all;
    index_t larger_than = 64; ///< tensors whose smaller extent is not larger are left out
    index_t least_kept = 100; ///< and those of which the mask keeps fewer weights
    std::uint64_t every = 1;  ///< steps from one visit to the next, of `every` times the gradient
    double tolerance = 1e-10; ///< singular values up to this share of the largest have no gradient
};

/// Coefficient * sum over matrices of ||W M||_*, the sum of the singular values of what the mask M of a tensor keeps; a
/// tensor without a mask is taken as a whole. With W M = U S V^T the gradient is coefficient * (U V^T) M, over singular
/// values above the tolerance: a subgradient where the rank is deficient, 0 where W M = 0. It keeps what is trained of
/// low rank (SaRA: Hu et al. 2024, "SaRA: high-efficient diffusion model fine-tuning with progressive sparse low-rank
/// adaptation", where one matrix is taken at random). The weights are the raw ones.
///
///     nuclear_norm rank(net, {.coefficient = 5e-3});
///     run.step(batch, before_update{[&](auto& gradients) { rank.add_to(gradients); }});
///
/// It is part of the norm that clips, like the loss, and of no term. On the CPU only. A visit costs a decomposition in
/// double of each matrix (`math::thin_svd`), about 20 m k^2 multiplications for m x k with k <= m, and k = 320 takes
/// longer than a step on a batch: `every`. (Newton and Schulz's X <- 1.5 X - 0.5 X X^T X gives U V^T by products alone;
/// a singular value that is a share x of the largest takes log(1 / x) / log(1.5) rounds of 4 m k^2, and it does not
/// know the rank.)
template <class Network> class nuclear_norm {
    static_assert(detail::check_network<Network>());
    static_assert(Network::device_type::host_memory,
                  "espalier: nuclear_norm decomposes matrices in host memory; train this network on device::cpu");

public:
    using wide = typename Network::wide;

    /// Refers to the network. Throws data_error for a coefficient that is negative or not finite, a tolerance outside
    /// [0, 1), `every` of 0, and when no trained tensor is large enough. Memory is taken here and in each visit.
    explicit nuclear_norm(Network& net, nuclear_norm_options const& options = {}) : net_(&net), options_(options) {
        if (!(options.coefficient >= 0.0 && std::isfinite(options.coefficient)))
            detail::throw_data_error("nuclear_norm: the coefficient is ", options.coefficient,
                                     ", needed is a finite number that is not negative");
        if (!(options.tolerance >= 0.0 && options.tolerance < 1.0))
            detail::throw_data_error("nuclear_norm: the tolerance is ", options.tolerance,
                                     ", needed is a number in [0, 1)");
        if (options.every == 0) detail::throw_data_error("nuclear_norm: `every` is 0, needed is at least 1 step");
        index_t most = 0;
        for (tensor_info const& t : Network::tensors())
            if (t.trained && std::min(t.rows, t.columns) > options.larger_than) {
                matrices_.push_back(&t);
                most = std::max(most, t.size());
            }
        if (matrices_.empty())
            detail::throw_data_error("nuclear_norm: no trained tensor has more than ", options.larger_than,
                                     " rows and columns; `larger_than` is that limit");
        part_.resize(static_cast<std::size_t>(most));
        factor_.resize(static_cast<std::size_t>(most));
    }

    /// The penalty of the present weights, of all matrices that qualify. Throws numerical_error for a weight that is
    /// not finite.
    double value() {
        double sum = 0.0;
        for (tensor_info const* const t : qualified())
            sum += math::thin_svd(kept_part(*t)).nuclear_norm();
        return options_.coefficient * sum;
    }

    /// Adds the gradient of this step to those that an update is about to take; on steps between two visits nothing.
    /// Throws numerical_error for a weight that is not finite: the step then leaves everything as it was.
    void add_to(gradient_access<Network>& gradients) {
        std::uint64_t const step = std::as_const(*net_).time().step;
        if (options_.coefficient == 0.0 || step % options_.every != 0) return;
        std::vector<tensor_info const*> chosen = qualified();
        if (options_.visits == visited_matrices::one_at_random && !chosen.empty()) {
            auto const bits = draw(common_site(net_->random_seed().value, "nuclear_norm", step, 0), 0, 0);
            chosen = {chosen[bits.word[0] % chosen.size()]};
        }
        double const factor = options_.coefficient * static_cast<double>(options_.every);
        for (tensor_info const* const t : chosen) {
            matrix_view<double> const q{factor_.data(), t->rows, t->columns, t->columns};
            math::thin_svd(kept_part(*t)).polar_factor(q, options_.tolerance);
            wide* const g = gradients.data() + t->offset;
            for (index_t i = 0; i < t->size(); ++i)
                if (kept(*t, i)) g[i] += static_cast<wide>(factor * factor_[static_cast<std::size_t>(i)]);
        }
    }

private:
    std::uint32_t const* mask_of(tensor_info const& t) const {
        return t.mask_offset < 0 ? nullptr : net_->values().masks().data() + t.mask_offset;
    }
    bool kept(tensor_info const& t, index_t i) const {
        std::uint32_t const* const mask = mask_of(t);
        return !mask || detail::mask_bit(mask, i);
    }
    std::vector<tensor_info const*> qualified() const {
        std::vector<tensor_info const*> found;
        for (tensor_info const* const t : matrices_) {
            std::uint32_t const* const mask = mask_of(*t);
            if ((mask ? prune::count_kept(mask, t->size()) : t->size()) >= options_.least_kept) found.push_back(t);
        }
        return found;
    }
    /// W M, until the next one is asked for.
    matrix_view<double const> kept_part(tensor_info const& t) {
        wide const* const w = std::as_const(*net_).values().view(t).data;
        for (index_t i = 0; i < t.size(); ++i)
            part_[static_cast<std::size_t>(i)] = kept(t, i) ? static_cast<double>(w[i]) : 0.0;
        return {part_.data(), t.rows, t.columns, t.columns};
    }

    Network* net_;
    nuclear_norm_options options_;
    std::vector<tensor_info const*> matrices_;
    std::vector<double> part_, factor_;
};

} // namespace espalier
