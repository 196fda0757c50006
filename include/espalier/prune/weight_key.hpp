// SPDX-License-Identifier: Apache-2.0
// What a weight is worth: the keys that selections compare, where more than the weight decides about them.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>
#include <espalier/core/word_bits.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/weight/concept.hpp>

#include <cstdint>
#include <string_view>

namespace espalier::prune {

/// The numbers of one tensor that a selection may read. The trained numbers that its map is made of stand behind its
/// weights; gradients and moments are null before a step has them.
template <class W> struct sight {
    W const* weights = nullptr;
    W const* gradients = nullptr;
    W const* moments = nullptr;
};

/// The key of weight i of a tensor, stored as `raw`: one whole number, larger for what is kept before others.
template <class Criterion, class Map, class W> struct weight_key {
    Map map; // not [[no_unique_address]]: nvcc takes no kernel argument that is empty through it
    W const* scalars = nullptr;
    W const* gradients = nullptr;
    W const* moments = nullptr;

    /// Of a tensor of n weights.
    static weight_key of(Map const& map, sight<W> const& tensor, index_t n) {
        return {map, weight::detail::map_scalars<Map>() > 0 ? tensor.weights + padded(n) : nullptr, tensor.gradients,
                reads_moment<Criterion> ? tensor.moments : nullptr};
    }

    ESPALIER_FN auto operator()(W raw, [[maybe_unused]] index_t i) const {
        W weight = raw;
        if constexpr (Map::needs_operand)
            weight = weight::detail::effective_weight(weight::detail::with_scalars(map, scalars), raw, true);
        if constexpr (!sees_gradients<Criterion>)
            return Criterion::key(weight);
        else
            return Criterion::key(weight, about<W>{gradients[i], moments ? moments[i] : W(0)});
    }
};

/// Keys of the weights that a mask keeps, or of the others, and one key for the rest, which goes behind all of those or
/// before them.
template <class Key, bool OfKept> struct masked_key {
    Key key;
    std::uint32_t const* mask;

    template <class W> ESPALIER_FN auto operator()(W raw, index_t i) const {
        auto const k = key(raw, i);
        using key_type = decltype(key(raw, i));
        constexpr key_type rest = OfKept ? key_type(0) : static_cast<key_type>(~key_type(0));
        constexpr key_type next = OfKept ? key_type(1) : static_cast<key_type>(rest - 1);
        return espalier::detail::mask_bit(mask, i) != OfKept ? rest : k == rest ? next : k;
    }
};
/// Which of those that are kept stay.
template <class Key> using kept_key = masked_key<Key, true>;
/// Which of the others come beside all that are kept.
template <class Key> using grown_key = masked_key<Key, false>;

/// 1 for weights that a mask keeps and whose key is below a limit, and 0 for others.
template <class Key, class Limit> struct below_key {
    Key key;
    Limit limit;
    std::uint32_t const* mask;

    template <class W> ESPALIER_FN auto operator()(W raw, index_t i) const {
        return espalier::detail::mask_bit(mask, i) && key(raw, i) < limit ? Limit(1) : Limit(0);
    }
};

/// A criterion of keys that were written down: number by number where weights are, with the bits of the keys.
struct by_written_key {
    static constexpr std::string_view name = "written key";

    template <class T> ESPALIER_FN static auto key(T written) { return to_bits(written); }
};

/// What the host's selections compare: weights, or keys of a criterion that sees more.
template <class Criterion> using compared_by = std::conditional_t<sees_gradients<Criterion>, by_written_key, Criterion>;

/// Writes the keys of a tensor of n weights.
template <class Key, class W> void write_keys(Key const& key, W const* weights, index_t n, W* keys) {
    for (index_t i = 0; i < n; ++i)
        keys[i] = from_bits(key(weights[i], i));
}

} // namespace espalier::prune
