// SPDX-License-Identifier: Apache-2.0
// expect: it has a parameter for each axis
// A stack with one parameter for a space of two axes.
// nvcc: skip spaces are host code
#include <boost/hana/tuple.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/space/space.hpp>
namespace esp = espalier;
constexpr auto all = esp::space(esp::choices<"width">(boost::hana::tuple_c<int, 1, 2>),
                                esp::choices<"depth">(boost::hana::tuple_c<int, 1, 2>));
#ifdef ESPALIER_POSITIVE_TWIN
template <class Width, class> using stack = esp::sequence<esp::input<2>, esp::dense<Width::value>>;
#else
template <class Width> using stack = esp::sequence<esp::input<2>, esp::dense<Width::value>>;
#endif
void list() {
    esp::for_each<stack>(all, [](auto, esp::combination const&) {});
}
