// SPDX-License-Identifier: Apache-2.0
// host only. Learning rates, decay and freezing by tensor.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/update.hpp>
#include <espalier/layer/report.hpp>

#include <optional>
#include <string_view>
#include <vector>

namespace espalier {

/// Factors of the learning rate and the decay, and freezing, for the tensors that match. Empty fields match everything.
/// Where several rules match a tensor their factors multiply, and one that freezes is enough: the order does not
/// matter. Numbers that the map of a tensor is made of (role::scalar, "1.kernel.log_a") have a factor of their map
/// before any rule, and no decay whatever a rule says; they are frozen with their tensor.
struct rate_rule {
    std::string_view path = {};  ///< beginning of the tensor's name: "1." is layer 1, "1.kernel" its kernel
    std::string_view group = {}; ///< name of the tensor's parameter group, see `in_group`
    std::optional<role> tensor_role = {};
    double learning_rate = 1.0; ///< finite and not negative
    double decay = 1.0;         ///< finite and not negative
    bool frozen = false;

    bool matches(tensor_info const& t) const;
};

namespace detail {

/// The rates of the trained tensors, in their order. Throws data_error for a rule that no trained tensor matches or
/// whose factors are negative or not finite.
std::vector<tensor_rates> rates_by_tensor(std::vector<tensor_info> const& tensors, std::vector<rate_rule> const& rules);

} // namespace detail
} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/train/detail/rates.hpp>
#endif
