// SPDX-License-Identifier: Apache-2.0
// What runs beside a network's loops: memory, threads, checks, epochs, progress.
#include <espalier/device/cpu/detail/buffer.hpp>
#include <espalier/device/cpu/detail/row_loss.hpp>
#include <espalier/device/cpu/detail/row_map.hpp>
#include <espalier/device/cpu/detail/thread_team.hpp>
#include <espalier/io/detail/progress.hpp>
#include <espalier/train/detail/best_so_far.hpp>
#include <espalier/train/detail/epoch_log.hpp>
#include <espalier/train/detail/rates.hpp>
#include <espalier/train/detail/step_decision.hpp>
#include <espalier/weight/detail/ordered_ranks.hpp>
#include <espalier/weight/detail/ranks.hpp>
