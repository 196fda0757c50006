// SPDX-License-Identifier: Apache-2.0
// One tag of the rows of a batch for several copies of these rows.
#pragma once

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

namespace espalier::detail {

/// Writes the n numbers `copies` times to `to`, and gives that back.
template <class Device, class U> U const* repeat_tag(Device& device, U const* from, index_t n, int copies, void* to) {
    device.repeat(from, n, copies, static_cast<U*>(to));
    return static_cast<U const*>(to);
}
/// Stays of the type that it has.
template <class Device> row_numbers repeat_tag(Device& device, row_numbers from, index_t n, int copies, void* to) {
    return from.visit(
        [&]<class U>(U const* numbers) -> row_numbers { return repeat_tag(device, numbers, n, copies, to); });
}

} // namespace espalier::detail
