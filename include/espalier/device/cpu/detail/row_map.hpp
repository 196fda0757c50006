// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of device/cpu/row_map.hpp; see core/library.hpp.
#pragma once

#include <espalier/device/cpu/row_map.hpp>

#include <espalier/core/text.hpp>

namespace espalier::cpu {

namespace detail {

ESPALIER_LIBRARY void expect_columns(char const* what, index_t given_rows, index_t given_columns, index_t rows,
                                     index_t columns) {
    if (given_rows != rows || given_columns != columns)
        espalier::detail::throw_shape_error(what, " is ", given_rows, " x ", given_columns, ", needed is ", rows, " x ",
                                            columns);
}

} // namespace detail

} // namespace espalier::cpu
