// SPDX-License-Identifier: Apache-2.0
// A dropout whose rate comes with the rows.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/dropout/concept.hpp>

#include <string_view>

namespace espalier::dropout {

/// y = x k / p with k = 1 with probability p, else 0, for what a decision of Scope covers, and p = 1 - `rows::rate` of
/// the row: a rate that is tuned while training, drawn anew for every sample or handed out by a method that compares
/// rates. Rates and p are quantised as those of bernoulli are. A batch without the tag drops nothing. Throws
/// data_error for a rate outside [0, 1]; on a GPU, where the host does not see it, it makes its row NaN, which a step
/// refuses with numerical_error. Nothing has changed then.
template <random_scope Scope = random_scope::element> struct rate_of_row {
    static_assert(Scope == random_scope::element || Scope == random_scope::row,
                  "espalier: dropout::rate_of_row decides for elements or for rows");
    using axis = espalier::axis::dropout;
    static constexpr std::string_view name = "rate_of_row";
    static constexpr random_scope scope = Scope;
    static constexpr bool needs_tags = true;

    template <class T, class Bits> ESPALIER_FN static T factor(epilogue_about<T, Bits> const& about) {
        row_numbers const rates = about.batch->rate;
        return threshold_of(rates ? rates[about.row] : 0.0).template factor<T>(about.bits);
    }
    static void require_rows(rows const& batch) {
        if (!batch.rate) return;
        for (index_t r = 0; r < batch.count; ++r)
            if (!(batch.rate[r] >= 0.0 && batch.rate[r] <= 1.0))
                espalier::detail::throw_data_error("dropout rate_of_row: the rate of row ", batch.origin_of(r), " is ",
                                                   batch.rate[r], ", needed is one in [0, 1]");
    }
    /// `quantise` of a rate that nobody has looked at.
    ESPALIER_FN static keep_threshold threshold_of(double rate) {
        if (!(rate >= 0.0 && rate <= 1.0)) return {0, __builtin_nan("")};
        return keep_threshold::nearest(rate);
    }
};

} // namespace espalier::dropout
