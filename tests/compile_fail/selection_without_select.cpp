// SPDX-License-Identifier: Apache-2.0
// expect: the selection of prune::policy is not .global. and needs .*static void select
// A selection over single tensors that selects nothing.
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/policy.hpp>
#include <string_view>
using namespace espalier;
struct first_ones {
    static constexpr std::string_view name = "first_ones";
    static constexpr bool global = false;
#ifdef ESPALIER_POSITIVE_TWIN
    template <class Criterion, class T> static void select(matrix_view<T const>, double, std::uint32_t* mask) {
        mask[0] = 1;
    }
#endif
};
inline constexpr bool global = prune::policy<prune::by_magnitude, first_ones, 0.5, prune::hard>::selection::global;
