// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/source.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::gate {

/// Every row goes to the expert that a fixed table names for its key, with weight 1 (Roller et al. 2021, "Hash layers
/// for large sparse models", section 3). Nothing is trained. `Keys`: how many keys there are, 0 ... Keys - 1; `Source`:
/// where a row's key comes from. A row whose key is missing or out of range throws data_error before anything changes.
///
/// The table is state, "gate.table", saved with the network. At first it is random, uniform over the experts, drawn
/// from the network's seed. Another one is set by `set_table` (network/set_table.hpp): gate/tables.hpp makes balanced,
/// clustered and dispersed ones.
template <int Experts, index_t Keys, class Source = from_key> struct hash {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    static_assert(Experts <= (1 << 24), "espalier: gate::hash keeps its table in floats, exact up to 2^24 experts");
    static_assert(diagnostic::holds<(Keys >= 1), diagnostic::given<Keys>>,
                  "espalier: gate::hash<experts, keys> needs at least one key; the next line names the number given");
    static_assert(detail::check_source<Source>());
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "hash";
    static constexpr int experts = Experts;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;
    static constexpr index_t keys = Keys;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const* x, W const* table) const {
        std::int64_t const key = detail::whole_number<Source>(batch, r, x, Keys);
        return key < 0 ? -1 : static_cast<std::int32_t>(table[key]);
    }
    template <class T> static std::string refusal(rows const& batch, index_t r, T const* x) {
        return detail::describe_source<Source>(
            batch, r, x,
            espalier::detail::text_of("a whole number below ", Keys, " whose entry in the table is an expert"));
    }
    /// Key k goes to the expert below(Experts, bits of draw(site, k, 0)).
    template <class W> static void fill_table(matrix_view<W> table, random_site const& site) {
        for (index_t k = 0; k < Keys; ++k) {
            bits8 const bits = draw(site, static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32));
            table.data[k] = static_cast<W>(below(Experts, bits.word[0], bits.word[1]));
        }
    }
};

} // namespace espalier::gate
