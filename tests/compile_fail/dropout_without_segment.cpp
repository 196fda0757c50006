// SPDX-License-Identifier: Apache-2.0
// expect: a dropout whose scope is segment needs `std::uint32_t segment` in its op
// expect: at_layer<1>
// expect c++: from_policy<.*my_dropout>
// expect nvcc: P=my_dropout
// A dropout over columns that does not say over how many.
#include <cstdint>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct my_dropout {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::segment;
#ifdef ESPALIER_POSITIVE_TWIN
    std::uint32_t segment = 4;
#endif
    template <class T, class Bits> ESPALIER_FN T factor(Bits) const {
        return T(1);
    }
};
using stack = sequence<input<16>, dense<8, my_dropout>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
