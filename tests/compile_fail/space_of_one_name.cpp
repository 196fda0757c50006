// SPDX-License-Identifier: Apache-2.0
// expect: two axes of a space have the same name
// A name for two axes.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>),
                                esp::choices<"depth">(boost::hana::tuple_c<int, 1, 2>));
#else
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>),
                                esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>));
#endif
