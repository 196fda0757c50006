// SPDX-License-Identifier: Apache-2.0
// host only. What is frozen under adapters comes from a network without them, and goes back to one.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/weight/bake.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

/// What goes from one tensor to another; masks where both have one.
struct tensor_copy {
    tensor_info const *from, *to;

    bool mask() const { return from->mask_offset >= 0 && to->mask_offset >= 0; }
};

/// What `load_base` does. `given`: of the tensors that are read. Throws data_error and shape_error as that does.
std::vector<tensor_copy> plan_base(std::vector<tensor_info> const& from, std::vector<bool> const& given,
                                   std::vector<tensor_info> const& to);
/// What `merge_adapters` does: copies, and for operators the kernel they stand for, to the tensor at that place. Throws
/// data_error and shape_error as that does.
struct merge_plan {
    std::vector<tensor_copy> copies;
    std::vector<std::pair<operator_info const*, tensor_info const*>> baked;
};
merge_plan plan_merge(std::vector<tensor_info> const& from, std::vector<operator_info> const& operators,
                      std::vector<tensor_info> const& to);

template <class From, class To>
void copy_tensors(std::vector<tensor_copy> const& copies, parameters_on_host<From>& from, parameters_on_host<To>& to) {
    for (tensor_copy const& c : copies) {
        std::transform(from.at(*c.from), from.at(*c.from) + c.from->size(), to.at(*c.to),
                       [](auto x) { return static_cast<typename To::wide>(x); });
        if (c.mask()) std::copy_n(from.mask_of(*c.from), (c.from->size() + 31) / 32, to.mask_of(*c.to));
    }
}

} // namespace detail

/// Takes what is frozen under adapters or scores from `base`, a network of the same stack without them, and everything
/// else that it has under the name of a tensor of this network: biases, norms, kernels of layers without an adapter.
/// What `base` lacks, the adapters' factors say, and the time stay. Any device and number type; on a GPU the numbers go
/// through the host once.
///
///     network<sequence<input<64>, dense<10>>, device::cpu> model; // trained
///     network<sequence<input<64>, dense<10, weight::low_rank_adapter<4>>>, device::cpu> adapted{seed{1}};
///     load_base(adapted, model);
///
/// Throws, with nothing changed: data_error where `base` lacks a frozen kernel, holds one that it never was given, or
/// has a kernel whose mask leaves out weights that are still there (prune::straight_through); shape_error for other
/// extents. A map of weights (weight/concept.hpp) is not applied: the kernel is the one that is stored.
template <class Network, class Base>
requires detail::is_network<Base>
void load_base(Network& net, Base const& base) {
    static_assert(detail::check_network<Network>() && detail::check_network<Base>());
    auto const copies = detail::plan_base(Base::tensors(), base.values().given(), Network::tensors());
    // Only read: the arenas' host side serves writing too.
    detail::parameters_on_host<Base> from(const_cast<Base&>(base).values());
    detail::parameters_on_host<Network> to(net.values());
    detail::copy_tensors(copies, from, to);
    to.write_back();
    for (detail::tensor_copy const& c : copies)
        if (c.to->fixed) net.values().given()[static_cast<std::size_t>(c.to - Network::tensors().data())] = true;
    net.refresh();
}

/// Makes `dense`, a network of the same stack without adapters, give what `adapted` gives: its kernels are what `bake`
/// says, W + A B summed in double or the weights that scores keep, everything else is copied by name, and so is the
/// time. `adapted` lies in host
/// memory. Throws, with nothing changed: data_error where `adapted` lacks a tensor of `dense` or was never given its
/// base, shape_error for other extents.
template <class Adapted, class Dense> void merge_adapters(Adapted const& adapted, Dense& dense) {
    static_assert(detail::check_network<Adapted>() && detail::check_network<Dense>());
    static_assert(Adapted::device_type::host_memory,
                  "espalier: merge_adapters reads a network in host memory; load its file into one on device::cpu");
    using report_type = typename Adapted::stack;
    auto const plan = detail::plan_merge(Adapted::tensors(), report_of<report_type>().operators, Dense::tensors());
    if constexpr (Adapted::size.fixed > 0) detail::require_bases(Adapted::tensors(), adapted.values().given());
    detail::parameters_on_host<Adapted> from(const_cast<Adapted&>(adapted).values());
    detail::parameters_on_host<Dense> to(dense.values());
    detail::copy_tensors(plan.copies, from, to);
    std::vector<typename Adapted::wide> kernel;
    for (auto const& [op, target] : plan.baked) {
        kernel.resize(static_cast<std::size_t>(op->rows * op->columns));
        weight::bake(adapted, op->layer, contiguous_view(kernel.data(), op->rows, op->columns));
        std::transform(kernel.begin(), kernel.end(), to.at(*target),
                       [](auto x) { return static_cast<typename Dense::wide>(x); });
    }
    to.write_back();
    dense.values().time() = const_cast<Adapted&>(adapted).values().time();
    dense.refresh();
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/base.hpp>
#endif
