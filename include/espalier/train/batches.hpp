// SPDX-License-Identifier: Apache-2.0
// host only. Batches of a data set in random order, for loops of one's own.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/data/table.hpp>
#include <espalier/train/batch_storage.hpp>
#include <espalier/train/epoch_log.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace espalier {

/// The rows of a data set in batches for a network<..., T>, every epoch in an order of its own: that of `fit`, which
/// the seed and the number of the epoch say. A batch is gathered into memory that is allocated once, with labels,
/// targets, weights, keys, groups and the numbers of the samples; it is good until the next one.
///
///     batches<float> rows(data, 64, net.random_seed());
///     for (std::uint64_t epoch = 0; epoch < 10; ++epoch) {
///         rows.begin_epoch(epoch);
///         for (index_t i = 0; i < rows.count(); ++i)
///             train.step(rows[i]);
///     }
///
/// The data stay the program's and must outlive this. On the host only.
template <class T> class batches {
public:
    /// Throws data_error for a data set that `check` refuses or batches without rows.
    batches(data_view const& data, index_t rows, seed order)
        : data_(checked(data, rows)), rows_(rows), seed_(order), storage_(rows, data.width(), data, false),
          order_(static_cast<std::size_t>(data.count())) {
        begin_epoch(0, false);
    }

    /// Batches of an epoch; the last one may be shorter.
    index_t count() const { return (data_.count() + rows_ - 1) / rows_; }
    /// Orders the rows anew, or as they lie in the data set.
    void begin_epoch(std::uint64_t epoch, bool shuffle = true) {
        detail::order_rows(order_, shuffle, seed_.value, epoch);
    }
    /// Batch i of the epoch. Throws data_error when there is none.
    batch_view<T> operator[](index_t i) {
        if (i < 0 || i >= count())
            detail::throw_data_error("batches: there is no batch ", i, ", an epoch has ", count());
        index_t const first = i * rows_, n = std::min(rows_, data_.count() - first);
        storage_.gather(data_, order_.data() + first, n);
        return storage_.view(storage_.memory(n), n);
    }

private:
    static data_view const& checked(data_view const& data, index_t rows) {
        check(data, "batches", 0, true);
        if (rows < 1) detail::throw_data_error("batches: a batch has ", rows, " rows; needed is at least 1");
        return data;
    }

    data_view data_;
    index_t rows_;
    seed seed_;
    detail::batch_storage<T> storage_;
    std::vector<std::int64_t> order_;
};

} // namespace espalier
