// SPDX-License-Identifier: Apache-2.0
// Names and results of spaces of specialisations.
#include <espalier/space/detail/comparison.hpp>
#include <espalier/space/detail/labels.hpp>
