// SPDX-License-Identifier: Apache-2.0
// host only. The rows of a batch that count, one behind the other: rows that do not count then count nowhere.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/train/tag_arrays.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier::detail {

/// Leaves out the rows of a batch without a label or with weight 0 (`rows::counts`): no term over the batch, no mean of
/// a batch_norm, no capacity and no measure sees them then. Rows keep their origin, so their random bits are those that
/// they have among the others. In host memory, allocated once.
template <class T> class counted_rows {
public:
    counted_rows() = default;
    /// Room for `capacity` rows of inputs and, unless their width is 0, targets.
    counted_rows(index_t capacity, index_t width, index_t target_width)
        : place_(size(capacity)), inputs_(size(capacity * width)), targets_(size(capacity * target_width)),
          origin_(size(capacity)), tags_(size(capacity)) {}

    static bool all_count(rows const& tags) {
        if (!tags.label && !tags.weight) return true;
        for (index_t i = 0; i < tags.count; ++i)
            if (!tags.counts(i)) return false;
        return true;
    }

    /// The batch itself when all of its rows count, else those that do. `Batch` has inputs, tags and targets.
    template <class Batch> Batch of(Batch const& batch) {
        left_out_ = !all_count(batch.tags);
        if (!left_out_) return batch;
        index_t n = 0;
        for (index_t i = 0; i < batch.tags.count; ++i)
            if (batch.tags.counts(i)) place_[static_cast<std::size_t>(n++)] = i;
        Batch part = batch;
        rows& tags = part.tags;
        for (index_t i = 0; i < n; ++i) // also where the batch only says its first one
            origin_[static_cast<std::size_t>(i)] = batch.tags.origin_of(place_[static_cast<std::size_t>(i)]);
        tags.count = n;
        tags.first = 0;
        tags.origin = nullptr; // gathered already
        tags_.map(tags, [&](auto const& from, auto& to) {
            for (index_t i = 0; i < n; ++i)
                to[size(i)] = from[place_[size(i)]];
            return to.data();
        });
        tags.origin = origin_.data();
        part.inputs = gathered_rows(batch.inputs, n, inputs_);
        // Without room for them nobody reads them.
        part.targets = batch.targets.data && !targets_.empty() ? gathered_rows(batch.targets, n, targets_)
                                                               : decltype(part.targets){};
        return part;
    }

    /// Takes the first rows of `to`, those of the part that `of` gave last, to their places in the batch; the rows
    /// between them become 0.
    void spread(matrix_view<T> to, index_t counted) const {
        if (!left_out_) return;
        index_t from = counted;
        for (index_t r = to.rows; r-- > 0;) {
            T* const row = to.row(r);
            if (from > 0 && place_[static_cast<std::size_t>(from - 1)] == r)
                std::copy_n(to.row(--from), to.columns, row); // never behind its place
            else
                std::fill_n(row, to.columns, T(0));
        }
    }

private:
    template <class U> using array = std::vector<U>;
    static std::size_t size(index_t n) { return static_cast<std::size_t>(n); }

    template <class U>
    matrix_view<U const> gathered_rows(matrix_view<U const> from, index_t n, std::vector<U>& to) const {
        for (index_t i = 0; i < n; ++i)
            std::copy_n(from.row(place_[static_cast<std::size_t>(i)]), from.columns, to.data() + i * from.columns);
        return {to.data(), n, from.columns, from.columns};
    }

    bool left_out_ = false;
    std::vector<index_t> place_;
    std::vector<T> inputs_;
    std::vector<master_of<T>> targets_;
    std::vector<std::uint32_t> origin_;
    tag_arrays<array> tags_;
};

} // namespace espalier::detail
