// SPDX-License-Identifier: Apache-2.0
// What describes a network, and the words of errors.
#include <espalier/core/detail/short_name.hpp>
#include <espalier/core/detail/text.hpp>
#include <espalier/initial/detail/concept.hpp>
#include <espalier/layer/detail/report.hpp>
#include <espalier/math/detail/power_spectrum.hpp>
#include <espalier/math/detail/primitive_root.hpp>
#include <espalier/network/detail/base.hpp>
#include <espalier/network/detail/describe.hpp>
#include <espalier/network/detail/parameters.hpp>
#include <espalier/network/detail/set_mask.hpp>
#include <espalier/network/detail/set_table.hpp>
#include <espalier/network/detail/set_units.hpp>
#include <espalier/optimizer/detail/concept.hpp>
#include <espalier/prune/detail/inverse_participation.hpp>
#include <espalier/prune/detail/unit_scores.hpp>
#include <espalier/schedule/detail/within.hpp>
#include <espalier/search/detail/units.hpp>

namespace espalier {
extern char const link_libespalier_0_1_or_define_ESPALIER_HEADER_ONLY;
char const link_libespalier_0_1_or_define_ESPALIER_HEADER_ONLY = 0;
} // namespace espalier
