// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/source.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::gate {

/// Every row goes, with weight 1, to the expert that it names itself: the expert of its domain or task, known in
/// training and afterwards (Hallee et al. 2024, "Contrastive learning and mixture of experts enables precise vector
/// embeddings", enforced routing). Nothing is trained. A row that names none of 0 ... Experts - 1 throws data_error
/// before anything changes.
template <int Experts, class Source = from_group> struct enforced {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "enforced";
    static constexpr int experts = Experts;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const* x, W const*) const {
        return static_cast<std::int32_t>(detail::whole_number<Source>(batch, r, x, Experts));
    }
    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(batch, r, x, espalier::detail::text_of("an expert below ", Experts));
    }
};

} // namespace espalier::gate
