// SPDX-License-Identifier: Apache-2.0
// expect: asks for an axis that the space does not have
// A predicate that asks for an axis that the space does not have.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
constexpr auto all = esp::space(esp::choices<"dropout">(boost::hana::tuple_t<esp::dropout::none>));
#ifdef ESPALIER_POSITIVE_TWIN
constexpr auto some = esp::where(all, [](auto const& c) { return c.is("dropout", "none"); });
#else
constexpr auto some = esp::where(all, [](auto const& c) { return c.is("drop_out", "none"); });
#endif
