// SPDX-License-Identifier: Apache-2.0
// Loops that no policy is part of, compiled once for each width of a pack (cmake/library.cmake).
#include <espalier/core/detail/random.hpp>
#include <espalier/product/detail/direct.hpp>

// Flags of the whole build may ask for a wider instruction set than this object is for: then another object has the
// loops of that width, and no program of that build needs these.
#if ESPALIER_PACK_BYTES == ESPALIER_LOOPS_BYTES

namespace espalier::product::direct_impl {

#define ESPALIER_MULTIPLY(T, transposed, adjacent)                                                                     \
    template bool multiply<transposed, T, adjacent>(left_operand<T, adjacent>, index_t, T const*, index_t, T const*,   \
                                                    matrix_view<T>, scratch_view, bool)
#define ESPALIER_PRODUCTS(T)                                                                                           \
    ESPALIER_MULTIPLY(T, false, false);                                                                                \
    ESPALIER_MULTIPLY(T, true, false);                                                                                 \
    ESPALIER_MULTIPLY(T, false, true)
ESPALIER_PRODUCTS(float);
ESPALIER_PRODUCTS(double);

} // namespace espalier::product::direct_impl

namespace espalier::pack_impl {

template void fill_draws<10>(random_site const&, std::uint32_t const*, std::uint32_t, index_t, std::uint32_t, index_t,
                             std::uint16_t*);
template void fill_draws<7>(random_site const&, std::uint32_t const*, std::uint32_t, index_t, std::uint32_t, index_t,
                            std::uint16_t*);

} // namespace espalier::pack_impl

#endif
