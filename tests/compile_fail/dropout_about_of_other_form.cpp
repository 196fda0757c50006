// SPDX-License-Identifier: Apache-2.0
// expect: a dropout needs .*factor\(epilogue_about<T, Bits> const& about\) const
// expect: at_layer<1>
// expect c++: from_policy<.*my_dropout>
// expect nvcc: P=my_dropout
// A dropout that takes its bits and what it wants to know besides.
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct my_dropout {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T, class Bits> ESPALIER_FN T factor(epilogue_about<T, Bits> const&) const {
        return T(1);
    }
#else
    template <class T, class Bits> ESPALIER_FN T factor(Bits, epilogue_about<T, Bits> const&) const {
        return T(1);
    }
#endif
};
using stack = sequence<input<16>, dense<8, my_dropout>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
