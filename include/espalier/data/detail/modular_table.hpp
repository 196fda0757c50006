// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/modular_table.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/modular_table.hpp>

#include <espalier/core/exact_count.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>

#include <cstddef>

namespace espalier {

namespace detail {

inline constexpr std::uint64_t modular_order_stream = ~std::uint64_t{0} - 5;
inline constexpr std::uint64_t modular_label_stream = modular_order_stream - 1;

inline void require_share(double share, char const* name) {
    if (!(share >= 0.0 && share <= 1.0))
        throw_data_error("modular_table: ", name, " is ", share, "; needed is a number in [0, 1]");
}

} // namespace detail

ESPALIER_LIBRARY modular_tables modular_table(modular_options const& options) {
    index_t const p = options.modulus;
    if (p < 2 || p > 65535)
        detail::throw_data_error("modular_table: the modulus is ", p, "; needed is a number from 2 to 65535");
    detail::require_share(options.train_share, "train_share");
    detail::require_share(options.corrupted_share, "corrupted_share");
    index_t const pairs = p * p;
    index_t const train_rows = floor_of_product(options.train_share, pairs);
    if (train_rows < 1)
        detail::throw_data_error("modular_table: a share of ", options.train_share, " of ", pairs,
                                 " pairs leaves no row for training");
    index_t const corrupted = floor_of_product(options.corrupted_share, train_rows);
    std::vector<std::uint32_t> order(static_cast<std::size_t>(pairs));
    random_permutation(make_site(options.seed, detail::modular_order_stream),
                       array_view<std::uint32_t>{order.data(), pairs});
    random_site const drawn = make_site(options.seed, detail::modular_label_stream);
    modular_tables tables;
    for (index_t i = 0; i < pairs; ++i) {
        index_t const pair = order[static_cast<std::size_t>(i)], first = pair / p, second = pair % p;
        auto const label = static_cast<std::int32_t>(
            (options.operation == modular_operation::add ? first + second : first * second) % p);
        data_set& part = i < train_rows ? tables.train : tables.test;
        part.features.insert(part.features.end(), {static_cast<float>(first), static_cast<float>(second)});
        part.labels.push_back(label);
        if (i >= train_rows) continue;
        tables.true_labels.push_back(label);
        tables.corrupted.push_back(i < corrupted ? 1 : 0);
        if (i < corrupted) {
            bits8 const bits = draw(drawn, static_cast<std::uint32_t>(i), 0);
            part.labels.back() =
                static_cast<std::int32_t>(below(static_cast<std::uint32_t>(p), bits.word[0], bits.word[1]));
        }
    }
    for (data_set* part : {&tables.train, &tables.test}) {
        part->width = 2;
        part->count = static_cast<index_t>(part->labels.size());
    }
    return tables;
}

} // namespace espalier
