// SPDX-License-Identifier: Apache-2.0
// host only. Rows and labels become mixtures of two samples of the batch.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::batch {

/// Mixup (Zhang et al. 2018, section 2): x <- l x + (1 - l) x_partner with l ~ Beta(alpha, alpha), one number for the
/// batch as in the authors' code or, with `mixup<mixed_per::row>`, one for every row; the partners are a permutation of
/// the batch. The tags partner_label and mixing = l say so to the loss, and dense targets become l t + (1 - l)
/// t_partner. A batch of one row stays as it is. `probability` (a number or a schedule) is how often a batch is mixed
/// at all. Throws data_error for an alpha that is not above 0 and a probability outside [0, 1], before anything is
/// changed.
template <mixed_per Per = mixed_per::batch, schedule::number_or_schedule Probability = double> struct mixup {
    double alpha = 0.2;
    Probability probability = 1.0;

    static constexpr std::string_view name = "mixup";
    static constexpr bool mixes_rows = true;
    static constexpr bool mixes = true;

    void validate() const {
        detail::check_alpha(alpha, name);
        if constexpr (!schedule::schedule<Probability>)
            detail::check_probability(static_cast<double>(probability), name);
        else if (char const* const why = schedule::problem(probability))
            espalier::detail::throw_data_error("batch mixup: ", why);
    }

    /// The share of a row in itself at a site.
    float share_of(index_t row, random_site const& site) const {
        auto const place = Per == mixed_per::row ? static_cast<std::uint32_t>(row) : 0u;
        return static_cast<float>(symmetric_beta(site, place, detail::share_block, alpha));
    }

    template <class T>
    void apply(batch_memory<T>& batch, index_t n, shape, clock const& now, random_site const& site) const {
        validate();
        double const p = schedule::value_at(probability, now);
        detail::check_probability(p, name);
        if (n <= 1 || !detail::mixes_now(site, p)) return detail::copy_rows(batch, n);
        detail::draw_partners(batch, n, site);
        float const common = share_of(0, site);
        auto const share = [&](index_t i) { return Per == mixed_per::row ? share_of(i, site) : common; };
        for (index_t i = 0; i < n; ++i) {
            T const a = static_cast<T>(share(i)), b = T(1) - a;
            T const* const own = batch.source.row(i);
            T const* const partner = batch.source.row(detail::partner_of(batch, i));
            T* const to = batch.inputs.row(i);
            for (index_t c = 0; c < batch.inputs.columns; ++c)
                to[c] = a * own[c] + b * partner[c];
        }
        detail::mix_tags(batch, n, share);
    }
};

} // namespace espalier::batch
