// SPDX-License-Identifier: Apache-2.0
// expect: the name of an axis of choices has 1 to 16 characters
// A name of more than 16 characters.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr auto all = esp::space(esp::choices<"width_of_layers">(boost::hana::tuple_c<int, 1, 2>));
#else
constexpr auto all = esp::space(esp::choices<"width_of_all_layers">(boost::hana::tuple_c<int, 1, 2>));
#endif
