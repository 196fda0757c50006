// SPDX-License-Identifier: Apache-2.0
// Rows have identity: where a row of a batch came from, and what the batch says about it.
#pragma once

#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// The rows of a batch and their tags. A null pointer means the tag is absent and its neutral value holds. Arrays have
/// `count` elements. Combinators and dispatch map the arrays, so that random bits, losses and per-sample state do not
/// depend on the layout that a layer happens to use.
struct rows {
    index_t count = 0;
    int copies = 1; ///< row i is one of so many outputs of one row: those of row i + k count / copies, tags alike
    std::uint32_t first = 0;               ///< origin of row 0 when `origin` is absent: row i has origin first + i
    std::uint32_t const* origin = nullptr; ///< position of the row in the batch as it was planned
    std::int64_t const* sample = nullptr;  ///< index of the row's sample in the data set
    std::int32_t const* label = nullptr;   ///< class
    std::int32_t const* partner_label = nullptr; ///< class of the sample it was mixed with
    float const* mixing = nullptr;               ///< share of its own sample in a mixed row; 1 when absent
    float const* weight = nullptr;               ///< factor of the row's loss; 1 when absent
    float const* sign = nullptr;                 ///< direction of the row's loss; +1 when absent
    std::int32_t const* group = nullptr;         ///< rows that belong together
    std::uint64_t const* key = nullptr;          ///< what a hash gate looks up

    ESPALIER_FN constexpr std::uint32_t origin_of(index_t i) const {
        return origin ? origin[i] : first + static_cast<std::uint32_t>(i);
    }
    ESPALIER_FN constexpr std::int64_t sample_of(index_t i) const { return sample ? sample[i] : i; }
    ESPALIER_FN constexpr float mixing_of(index_t i) const { return mixing ? mixing[i] : 1.0f; }
    ESPALIER_FN constexpr float weight_of(index_t i) const { return weight ? weight[i] : 1.0f; }

    /// Whether the row has a part in anything: a weight other than 0 and, where there are labels, one of its own or of
    /// the sample that it was mixed with.
    ESPALIER_FN constexpr bool counts(index_t i) const {
        if (weight && weight[i] == 0.0f) return false;
        return !label || label[i] != -1 || (partner_label && partner_label[i] != -1);
    }

    /// Rows [from, from + n) of this batch, tags included.
    ESPALIER_FN constexpr rows slice(index_t from, index_t n) const {
        rows part = *this;
        part.count = n;
        part.copies = 1;
        part.first = first + static_cast<std::uint32_t>(from);
        if (origin) part.origin += from;
        if (sample) part.sample += from;
        if (label) part.label += from;
        if (partner_label) part.partner_label += from;
        if (mixing) part.mixing += from;
        if (weight) part.weight += from;
        if (sign) part.sign += from;
        if (group) part.group += from;
        if (key) part.key += from;
        return part;
    }
};

/// Labels of one row, 0 without any. -1 says that a label is unknown: of two mixed samples the one with a label stands
/// for both.
struct row_labels {
    std::int32_t label = 0;
    std::int32_t partner_label = 0;
    float mixing = 1.0f;
};

/// What the tags say of the labels of row i: 0 where there are none.
ESPALIER_FN constexpr row_labels labels_of(rows const& batch, index_t i) {
    row_labels r;
    if (!batch.label) return r;
    r.label = r.partner_label = batch.label[i];
    if (batch.partner_label) {
        r.partner_label = batch.partner_label[i];
        r.mixing = batch.mixing_of(i);
        if (r.label == -1 || r.partner_label == -1) {
            r.label = r.partner_label = r.label == -1 ? r.partner_label : r.label;
            r.mixing = 1.0f;
        }
    }
    return r;
}

} // namespace espalier
