// SPDX-License-Identifier: Apache-2.0
// host only. The smaller network that a network with masked units is.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>

#include <deque>
#include <type_traits>
#include <vector>

namespace espalier {

namespace detail {

/// Which rows and columns of a tensor stay, and where they go. Null: all of them, or none there.
struct compacted_tensor {
    tensor_info const* from;
    tensor_info const* to;
    std::vector<index_t> const* rows;
    std::vector<index_t> const* columns;
};

/// What is copied once everything was found to fit.
struct compaction {
    std::deque<std::vector<index_t>> kept; ///< of the streams between products
    std::vector<compacted_tensor> tensors;

    /// Throws data_error and shape_error.
    compaction(saved_network const& from, saved_network const& to);
    void run(saved_network const& from, saved_network const& to) const;
};

} // namespace detail

/// Fills `to` with the kept rows and columns of `from`, whose layers have units::fixed_mask: kernels, biases,
/// normalisations with their running statistics, companions, bits of pruned weights, and the time. The stack of `to` is
/// that of `from` with the widths that are left; it may do without masks.
///
///     using large = sequence<input<64>, dense<128, activation::relu, units::fixed_mask>, dense<10>>;
///     using small = sequence<input<64>, dense<32, activation::relu>, dense<10>>;
///     network<large, device::cpu> parent{seed{1}}; // set_units(parent, "1", ...) keeps 32 units
///     network<small, device::cpu> child{seed{1}};
///     compact(parent, child);
///
/// Both are the same function with the same gradients, up to rounding: sums of a product leave out terms that are 0.
/// With dropout that holds in evaluation, since a kept column has the draws of its new place in training. A training of
/// `to` begins with new moments.
///
/// Knows input, dense with a kernel, embedding, batch_norm, elementwise, tap, slice, residual and parallel with
/// merge::add. Throws, with nothing changed: data_error for another layer or operator, layers or tensors that one of
/// them lacks, other activations or weight maps, a normalisation or an activation of its own between a mask and the
/// next product, which would make something of a 0, masks that differ where layers are added, a mask of what a slice or
/// an embedding reads, and masked outputs; shape_error for other widths.
template <class From, class To> void compact(From& from, To& to) {
    static_assert(detail::check_network<From>() && detail::check_network<To>());
    static_assert(std::is_same_v<typename From::wide, typename To::wide>,
                  "espalier: compact copies weights, and these networks store theirs in different types");
    detail::host_parameters<From> source(from.values());
    detail::host_parameters<To> target(to.values());
    detail::saved_network const given = source.saved(), taken = target.saved();
    detail::compaction const plan(given, taken);
    to.set_time(from.time());
    plan.run(given, taken);
    target.write_back();
    to.refresh();
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/compact.hpp>
#endif
