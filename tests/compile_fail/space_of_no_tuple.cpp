// SPDX-License-Identifier: Apache-2.0
// expect: takes boost::hana::tuple_t<types...>
// Options in a tuple of the standard library.
// nvcc: skip spaces are host code
#include <espalier/space/space.hpp>

#include <boost/hana/tuple.hpp>

#include <tuple>
namespace esp = espalier;
#ifdef ESPALIER_POSITIVE_TWIN
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_t<int, long>));
#else
constexpr auto all = esp::space(esp::choices<"width">(std::tuple<int, long>{}));
#endif
