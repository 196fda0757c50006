// SPDX-License-Identifier: Apache-2.0
// The parts of the program that is built for every instruction set.
#pragma once

#include <string>

namespace isa {

/// Runs updates in which every two choices occur together; how many of them went wrong.
int pairs();

/// Runs updates drawn by a seed, against the bodies too; how many of them went wrong.
int drawn();

/// Computes the fixed set of outputs. With `write` the table is written there, else it is compared with `table`; how
/// many groups of numbers are outside their bounds.
int outputs(std::string const& table, bool write);

} // namespace isa
