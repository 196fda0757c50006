// SPDX-License-Identifier: Apache-2.0
// expect: a sample has at least one combination and at most all of the set
// More combinations than there are.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>));
#ifdef ESPALIER_POSITIVE_TWIN
constexpr auto some = esp::sample<2>(all);
#else
constexpr auto some = esp::sample<3>(all);
#endif
