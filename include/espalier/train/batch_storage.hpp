// SPDX-License-Identifier: Apache-2.0
// host only. Rows of a data set, gathered into the memory of a batch.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/data/table.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier::detail {

/// Buffers that hold one batch, allocated once.
template <class T> class batch_storage {
    using wide = master_of<T>;

public:
    batch_storage(index_t capacity, index_t width, data_view const& data, bool mixes)
        : inputs_(static_cast<std::size_t>(capacity * width)),
          source_(mixes ? static_cast<std::size_t>(capacity * width) : 0),
          targets_(data.has_targets() ? static_cast<std::size_t>(capacity * data.targets.columns) : 0),
          label_(data.has_labels() ? static_cast<std::size_t>(capacity) : 0), partner_(mixes ? label_.size() : 0),
          mixing_(mixes ? static_cast<std::size_t>(capacity) : 0),
          weight_(mixes || data.has_weights() ? static_cast<std::size_t>(capacity) : 0),
          sample_(static_cast<std::size_t>(capacity)),
          key_(data.keys.size != 0 ? static_cast<std::size_t>(capacity) : 0),
          group_(data.groups.size != 0 ? static_cast<std::size_t>(capacity) : 0), width_(width),
          target_width_(data.targets.columns) {}

    /// Copies the rows `order[first ...]` of the data into the buffers.
    void gather(data_view const& data, std::int64_t const* order, index_t n) {
        std::vector<T>& into = source_.empty() ? inputs_ : source_;
        for (index_t i = 0; i < n; ++i) {
            index_t const from = order ? order[i] : i;
            data.features.copy_row(from, into.data() + i * width_);
            if (!label_.empty()) label_[static_cast<std::size_t>(i)] = data.labels[from];
            if (!targets_.empty()) data.targets.copy_row(from, targets_.data() + i * target_width_);
            sample_[static_cast<std::size_t>(i)] = from;
            if (!key_.empty()) key_[static_cast<std::size_t>(i)] = data.keys[from];
            if (!group_.empty()) group_[static_cast<std::size_t>(i)] = data.groups[from];
            if (!weight_.empty())
                weight_[static_cast<std::size_t>(i)] = wide(data.has_weights() ? data.weights(from, 0) : 1.0);
        }
        std::fill(mixing_.begin(), mixing_.end(), 1.0f);
        for (std::size_t i = 0; i < partner_.size(); ++i)
            partner_[i] = label_[i];
    }

    batch::batch_memory<T> memory(index_t n) {
        batch::batch_memory<T> m;
        if (!source_.empty()) m.source = {source_.data(), n, width_, width_};
        m.inputs = {inputs_.data(), n, width_, width_};
        if (!targets_.empty()) m.targets = {targets_.data(), n, target_width_, target_width_};
        m.label = label_.empty() ? nullptr : label_.data();
        m.partner_label = partner_.empty() ? nullptr : partner_.data();
        m.mixing = mixing_.empty() ? nullptr : mixing_.data();
        m.weight = weight_.empty() ? nullptr : weight_.data();
        m.sample = sample_.data();
        return m;
    }

    batch_view<T> view(batch::batch_memory<T> const& m, index_t n) const {
        batch_view<T> b;
        b.inputs = m.inputs;
        b.targets = m.targets;
        b.tags.count = n;
        b.tags.label = m.label;
        b.tags.partner_label = m.partner_label;
        b.tags.mixing = m.mixing;
        b.tags.weight = m.weight;
        b.tags.sample = m.sample;
        b.tags.key = key_.empty() ? nullptr : key_.data();
        b.tags.group = group_.empty() ? nullptr : group_.data();
        return b;
    }

private:
    std::vector<T> inputs_;
    std::vector<T> source_;
    std::vector<wide> targets_;
    std::vector<std::int32_t> label_;
    std::vector<std::int32_t> partner_;
    std::vector<float> mixing_;
    std::vector<wide> weight_;
    std::vector<std::int64_t> sample_;
    std::vector<std::uint64_t> key_;
    std::vector<std::int32_t> group_;
    index_t width_;
    index_t target_width_;
};

} // namespace espalier::detail
