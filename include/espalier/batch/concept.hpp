// SPDX-License-Identifier: Apache-2.0
// The batch seam: what happens between drawing rows from the data set and the forward pass.
//
// Archetype. A batch policy is a value the user gives to `fit`:
//
//     struct my_batch {
//         static constexpr std::string_view name = "mine";
//         static constexpr bool mixes = true;    // writes partner_label and mixing
//         // Rows 0 ... n - 1 were gathered into `source`; writes `inputs` and the tags that change. `source` is not
//         // `inputs`, so a row may read any other. The inputs' rows have the shape `of_row`.
//         template <class T>
//         void apply(batch_memory<T>& batch, index_t n, shape of_row, clock const& now, random_site const& site) const;
//     };
//
// The default, `batch::plain`, has no `apply`: rows are gathered straight into `inputs`.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>

namespace espalier::batch {

/// The memory of one batch, capacity rows of everything. Tags start at their neutral values: partner_label equal to
/// label, mixing and weight 1.
template <class T> struct batch_memory {
    matrix_view<T> source{};
    matrix_view<T> inputs{};
    matrix_view<master_of<T>> targets{}; ///< without data when the data set has none
    std::int32_t* label = nullptr;       ///< null when the data set has none
    std::int32_t* partner_label = nullptr;
    float* mixing = nullptr;
    master_of<T>* weight = nullptr;
    std::int64_t* sample = nullptr;
};

template <class B, class T>
concept applies_to_batch = requires(B const& policy, batch_memory<T>& memory, index_t n, shape of_row, clock const& now,
                                    random_site site) {
    policy.apply(memory, n, of_row, now, site);
};

} // namespace espalier::batch
