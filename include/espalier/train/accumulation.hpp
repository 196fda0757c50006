// SPDX-License-Identifier: Apache-2.0
// host only. One update from several batches, for batches that do not fit into memory at once.
#pragma once

#include <espalier/train/training.hpp>

namespace espalier {

/// Gradients of several batches, and one update with their mean over rows:
///
///     accumulation sum(training);
///     for (batch_view<float> const& part : parts) sum.add(part);
///     sum.update();
///
/// That is, apart from the rounding of the sum, which is taken in the order of the calls, one step on the whole batch:
/// penalties on parameters, transforms, clipping and the clock included. A row has the random bits that it has there
/// when `rows::first` says where its part begins; rows that do not count are left out there as here, and then
/// `rows::origin` says which of those that do count a row is. What is no mean over rows sees each part by itself:
/// statistics of batch_norm, a gate's balance, `flops` penalties, places within a capacity. Room for one more set of
/// gradients. On the CPU only: elsewhere `gradients()` is the device's memory, and its own libraries add there.
template <class Training> class accumulation {
public:
    using scalar = typename Training::scalar;
    using wide = typename Training::wide;
    static_assert(
        Training::device_type::host_memory,
        "espalier: an accumulation adds gradients on the host; on a GPU add training::gradients() to memory of "
        "your own on the stream of the device, and call training::update()");

    explicit accumulation(Training& training) : training_(&training), sum_(Training::size.parameters) {}

    /// Adds the gradients of a batch; gives its loss. Throws what `gradients_of` does, with nothing added.
    double add(batch_view<scalar> const& batch) {
        double const loss = training_->gradients_of(batch);
        index_t const counted = training_->counted_rows();
        wide const* const from = training_->gradients().data();
        for (index_t i = 0; i < sum_.size(); ++i)
            sum_[i] += static_cast<wide>(counted) * from[i];
        loss_ += static_cast<double>(counted) * loss;
        rows_ += counted;
        return loss;
    }

    /// The update with the mean, which begins at 0 again; also where it throws what `training::update` does. `loss` of
    /// the result is that of all rows, and so is its part of `total`; the terms are those of the last batch. Throws
    /// data_error, with nothing changed, when no row was added.
    step_result update() {
        if (rows_ == 0) detail::throw_data_error("accumulation: no row was added before the update");
        wide* const to = training_->gradients().data();
        for (index_t i = 0; i < sum_.size(); ++i)
            to[i] = sum_[i] / static_cast<wide>(rows_);
        double const loss = loss_ / static_cast<double>(rows_);
        forget();
        step_result r = training_->update();
        r.total += loss - r.loss;
        r.loss = loss;
        return r;
    }

    /// Begins at 0 again.
    void forget() {
        for (index_t i = 0; i < sum_.size(); ++i)
            sum_[i] = wide(0);
        loss_ = 0.0;
        rows_ = 0;
    }

private:
    Training* training_;
    typename Training::template buffer<wide> sum_;
    double loss_ = 0.0;
    index_t rows_ = 0;
};

} // namespace espalier
