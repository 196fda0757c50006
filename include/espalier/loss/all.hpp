// SPDX-License-Identifier: Apache-2.0
// Every loss.
#pragma once

#include <espalier/loss/binary_cross_entropy.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/distillation.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/one_hot_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
