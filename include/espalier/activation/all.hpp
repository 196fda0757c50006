// SPDX-License-Identifier: Apache-2.0
// Every activation.
#pragma once

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/gelu_tanh.hpp>
#include <espalier/activation/identity.hpp>
#include <espalier/activation/power.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/sigmoid.hpp>
#include <espalier/activation/silu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
