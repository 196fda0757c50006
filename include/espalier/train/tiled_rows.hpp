// SPDX-License-Identifier: Apache-2.0
// host only. The tags of a batch whose rows come out of the network several times.
#pragma once

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier::detail {

/// Tags and target rows repeated `copies` times, in memory allocated once for `capacity` rows.
class tiled_rows {
public:
    tiled_rows(index_t capacity, int copies, index_t target_width)
        : copies_(copies), sample_(size(capacity)), label_(size(capacity)), partner_(size(capacity)),
          group_(size(capacity)), mixing_(size(capacity)), weight_(size(capacity)), sign_(size(capacity)),
          targets_(copies > 1 ? size(capacity) * static_cast<std::size_t>(target_width) : 0) {}

    rows tags(rows const& batch) {
        if (copies_ == 1) return batch;
        rows tiled = batch;
        tiled.count = batch.count * copies_;
        tiled.origin = nullptr;
        tiled.key = nullptr;
        tiled.sample = tile(batch.sample, sample_, batch.count);
        tiled.label = tile(batch.label, label_, batch.count);
        tiled.partner_label = tile(batch.partner_label, partner_, batch.count);
        tiled.group = tile(batch.group, group_, batch.count);
        tiled.mixing = tile(batch.mixing, mixing_, batch.count);
        tiled.weight = tile(batch.weight, weight_, batch.count);
        tiled.sign = tile(batch.sign, sign_, batch.count);
        return tiled;
    }

    matrix_view<float const> targets(matrix_view<float const> from) {
        if (copies_ == 1 || !from.data || targets_.empty()) return from;
        for (int copy = 0; copy < copies_; ++copy)
            for (index_t r = 0; r < from.rows; ++r)
                for (index_t c = 0; c < from.columns; ++c)
                    targets_[static_cast<std::size_t>((copy * from.rows + r) * from.columns + c)] = from(r, c);
        return {targets_.data(), from.rows * copies_, from.columns, from.columns};
    }

private:
    std::size_t size(index_t capacity) const { return copies_ > 1 ? static_cast<std::size_t>(capacity * copies_) : 0; }
    template <class U> U const* tile(U const* from, std::vector<U>& to, index_t n) const {
        if (!from) return nullptr;
        for (int copy = 0; copy < copies_; ++copy)
            for (index_t i = 0; i < n; ++i)
                to[static_cast<std::size_t>(copy * n + i)] = from[i];
        return to.data();
    }

    int copies_;
    std::vector<std::int64_t> sample_;
    std::vector<std::int32_t> label_, partner_, group_;
    std::vector<float> mixing_, weight_, sign_;
    std::vector<float> targets_;
};

} // namespace espalier::detail
