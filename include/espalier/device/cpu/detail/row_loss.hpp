// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of device/cpu/row_loss.hpp; see core/library.hpp.
#pragma once

#include <espalier/device/cpu/row_loss.hpp>

#include <espalier/core/text.hpp>

namespace espalier::cpu {

namespace detail {

ESPALIER_LIBRARY void expect_matrix(std::string_view loss, char const* what, index_t given_rows, index_t given_columns,
                                    index_t rows, index_t columns) {
    if (given_rows != rows || given_columns != columns)
        espalier::detail::throw_shape_error(loss, ": ", what, " are ", given_rows, " x ", given_columns,
                                            ", needed are ", rows, " x ", columns);
}

ESPALIER_LIBRARY void expect_label(std::string_view loss, char const* what, std::int32_t label, index_t row,
                                   int columns) {
    if (label < -1 || label >= columns)
        espalier::detail::throw_data_error(loss, ": ", what, " ", label, " in row ", row, ", needed is 0 to ",
                                           columns - 1, ", or -1 for a row that does not count");
}

ESPALIER_LIBRARY index_t check_rows(std::string_view loss, rows const& batch, int columns, bool labels, bool state,
                                    index_t samples) {
    if (labels && !batch.label && batch.count > 0)
        espalier::detail::throw_data_error(loss, " needs labels, the batch has none");
    if (state && !batch.sample && batch.count > 0)
        espalier::detail::throw_data_error(
            loss, " keeps state of every sample and needs the samples' ids, the batch has none");
    index_t counted = 0;
    if (batch.label && !batch.partner_label && !batch.weight && !state) {
        // The common case first, without branches in the loop; the careful loop finds the words for what is wrong.
        std::uint32_t const above = static_cast<std::uint32_t>(columns);
        std::int32_t wrong = 0, ignored = 0;
        std::int32_t const* const label = batch.label;
        for (index_t i = 0; i < batch.count; ++i) {
            wrong |= static_cast<std::uint32_t>(label[i]) + 1u > above;
            ignored += label[i] == -1;
        }
        if (!labels || !wrong) return batch.count - ignored;
    }
    for (index_t i = 0; i < batch.count; ++i) {
        if (labels) {
            expect_label(loss, "label", batch.label[i], i, columns);
            if (batch.partner_label) {
                expect_label(loss, "partner label", batch.partner_label[i], i, columns);
                float const share = batch.mixing_of(i);
                if (!(share >= 0.0f && share <= 1.0f))
                    espalier::detail::throw_data_error(loss, ": mixing share ", share, " in row ", i,
                                                       ", needed is 0 to 1");
            }
        }
        if (!batch.counts(i)) continue;
        ++counted;
        if (state && (batch.sample[i] < 0 || batch.sample[i] >= samples))
            espalier::detail::throw_data_error(loss, ": sample ", batch.sample[i], " in row ", i,
                                               ", the state has samples 0 to ", samples - 1);
    }
    return counted;
}

} // namespace detail

} // namespace espalier::cpu
