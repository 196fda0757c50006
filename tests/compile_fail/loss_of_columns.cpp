// SPDX-License-Identifier: Apache-2.0
// expect: loss::by_column is made of losses of single numbers
// expect c++: given_type<.*cross_entropy
// A loss of a row where one of a single number is meant.
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/cross_entropy.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using second = loss::column::squared;
#else
using second = loss::cross_entropy;
#endif
inline constexpr auto chosen = loss::columns(loss::column::binary{}, second{});
