// SPDX-License-Identifier: Apache-2.0
// Every schedule.
#pragma once

#include <espalier/schedule/constant.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/drop_path.hpp>
#include <espalier/schedule/exponential.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/piecewise.hpp>
#include <espalier/schedule/polynomial.hpp>
#include <espalier/schedule/product.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/schedule/step.hpp>
#include <espalier/schedule/validate.hpp>
#include <espalier/schedule/warm_up.hpp>
#include <espalier/schedule/within.hpp>
