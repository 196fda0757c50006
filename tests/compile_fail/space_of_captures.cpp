// SPDX-License-Identifier: Apache-2.0
// expect: the predicate of a space is asked while compiling
// A predicate that looks at a variable of the program.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>));
void list() {
#ifdef ESPALIER_POSITIVE_TWIN
    static_cast<void>(esp::where(all, [](auto const& c) { return c.value("width") > 1; }));
#else
    int const least = 1;
    static_cast<void>(esp::where(all, [&least](auto const& c) { return c.value("width") > least; }));
#endif
}
