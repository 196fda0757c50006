// SPDX-License-Identifier: Apache-2.0
// What the code blocks of the pages include unless they are complete programs.
#pragma once

#if !defined(ESPALIER_DOCS_EMPTY_PRELUDE)

#include <espalier/batch/cutmix.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/espalier.hpp>
#include <espalier/product/direct.hpp>
#include <espalier/train/policy_check.hpp>
#include <espalier/train/teacher.hpp>
#include <espalier/weight/low_rank.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#else

namespace espalier {} // namespace espalier

#endif
