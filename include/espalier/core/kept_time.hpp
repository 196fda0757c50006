// SPDX-License-Identifier: Apache-2.0
// host only. The time that a set of parameters has reached, as a value that owns what schedules read of it.
#pragma once

#include <espalier/core/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace espalier {

/// A clock with its run-time values. Copies are independent.
class kept_time {
public:
    kept_time() = default;
    explicit kept_time(clock const& now) { set(now); }
    kept_time(kept_time const& other) : values_(other.values_), now_(other.now_) { point(); }
    kept_time(kept_time&& other) noexcept : values_(std::move(other.values_)), now_(other.now_) {
        point();
        other.set({});
    }
    kept_time& operator=(kept_time other) noexcept {
        values_.swap(other.values_);
        now_ = other.now_;
        point();
        return *this;
    }

    clock const& now() const { return now_; }

    /// Takes over all of it; the values are copied.
    void set(clock const& now) {
        if (now.values.data != values_.data()) values_.assign(now.values.begin(), now.values.end());
        values_.resize(static_cast<std::size_t>(now.values.size));
        now_ = now;
        now_.standing = false;
        point();
    }
    /// The value of that name, or null.
    named_value const* find(short_name name) const {
        for (named_value const& entry : values_)
            if (entry.name == name) return &entry;
        return nullptr;
    }
    /// What `schedule::runtime` of that name gives from now on. A new name becomes the last one.
    void set(short_name name, double value) {
        if (named_value const* const known = find(name)) {
            values_[static_cast<std::size_t>(known - values_.data())].value = value;
            return;
        }
        values_.push_back({name, value});
        point();
    }
    void remove_last() {
        values_.pop_back();
        point();
    }
    /// One step of training later.
    void advance() { now_ = now_.later(); }

private:
    void point() { now_.values = {values_.data(), static_cast<index_t>(values_.size())}; }

    std::vector<named_value> values_;
    clock now_{};
};

/// How far a training has come, and where the network stood when it began.
struct training_progress {
    std::uint64_t updates = 0;     ///< steps of this training
    std::uint64_t first_step = 0;  ///< of the network when it began
    std::uint64_t first_epoch = 0; ///< likewise

    /// The time as the optimizer counts it.
    constexpr clock since(clock now) const {
        now.step = now.step > first_step ? now.step - first_step : 0;
        now.epoch = now.epoch > first_epoch ? now.epoch - first_epoch : 0;
        now.updates = updates;
        return now;
    }
};

} // namespace espalier
