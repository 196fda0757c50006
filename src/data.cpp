// SPDX-License-Identifier: Apache-2.0
// The readers of data and their tables.
#include <espalier/data/detail/csv.hpp>
#include <espalier/data/detail/idx.hpp>
#include <espalier/data/detail/modular_table.hpp>
#include <espalier/data/detail/npy.hpp>
#include <espalier/data/detail/table.hpp>
#include <espalier/io/detail/gz_reader.hpp>
