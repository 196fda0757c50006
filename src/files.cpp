// SPDX-License-Identifier: Apache-2.0
// Files, checkpoints and histories: what reads and writes JSON, and what takes networks for what a file has of them.
#include <espalier/io/detail/atomic_file.hpp>
#include <espalier/io/detail/checkpoint.hpp>
#include <espalier/io/detail/history.hpp>
#include <espalier/io/detail/printable.hpp>
#include <espalier/io/detail/safetensors.hpp>
#include <espalier/network/detail/compact.hpp>
