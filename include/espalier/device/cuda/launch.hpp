// SPDX-License-Identifier: Apache-2.0
// The kernel of every pass and the function that launches it: it decides the number of blocks, checks the status and
// never waits. Include it from .cu files.
#pragma once

#include <espalier/core/live_groups.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pass.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/before_launch.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/device/cuda/group.hpp>
#include <espalier/device/cuda/launched_group.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/passes.hpp>

#include <cuda_runtime_api.h>

#include <source_location>

namespace espalier::cuda {

using kernels::block_threads;
using block = block_group<block_threads>;

/// Where kernels go, and the most blocks of one launch.
struct launch_target {
    cudaStream_t stream = nullptr;
    index_t most_blocks = 1024;
    /// Only passes that are for groups heed it.
    live_groups live{};
    /// Where kernels report what is not finite; null: nobody asks.
    kernels::error_word* error = nullptr;

    /// Blocks for so many threads' worth of work: enough, but no more than run at once; the bodies loop over the rest.
    unsigned blocks(index_t threads) const {
        index_t const needed = (threads + block_threads - 1) / block_threads;
        return static_cast<unsigned>(needed < 1 ? 1 : needed < most_blocks ? needed : most_blocks);
    }
    /// The same for every group, each with a row of the grid.
    dim3 grid(index_t threads) const {
        index_t const all = blocks(threads), most = live.blocks_each(most_blocks);
        return dim3(static_cast<unsigned>(all < most ? all : most), static_cast<unsigned>(live.groups));
    }
};

// A kernel has the members of its pass as arguments, each for itself: then nvcc keeps them in registers as if the
// kernel had been written by hand, and what it finds out about one stays known. A pass with `whole` is one argument,
// which stays where arguments are: what is indexed at run time would be copied to local memory otherwise.

template <class Pass, class... Members>
ESPALIER_KERNEL void __launch_bounds__(block_threads, kernels::blocks_at_once<Pass>()) pass_kernel(Members... members) {
    Pass{members...}(block{});
}
template <class Pass, class... Members>
ESPALIER_KERNEL void __launch_bounds__(block_threads, kernels::blocks_at_once<Pass>())
    group_pass_kernel(live_groups groups, Members... members) {
    Pass{members...}(block{}, groups, launched_group());
}
template <class Pass>
ESPALIER_KERNEL void __launch_bounds__(block_threads, kernels::blocks_at_once<Pass>())
    whole_pass_kernel(Pass const __grid_constant__ pass) {
    pass(block{});
}
template <class Pass>
ESPALIER_KERNEL void __launch_bounds__(block_threads, kernels::blocks_at_once<Pass>())
    whole_group_pass_kernel(Pass const __grid_constant__ pass, live_groups groups) {
    pass(block{}, groups, launched_group());
}

namespace detail {

struct anything {
    template <class T> operator T() const;
};
template <class Pass, class... Members> consteval int member_count() {
    if constexpr (requires { Pass{Members{}..., anything{}}; })
        return member_count<Pass, Members..., anything>();
    else
        return sizeof...(Members);
}
/// Calls use(members...).
template <class Pass, class Use> void with_members(Pass const& pass, Use const& use) {
    constexpr int count = member_count<Pass>();
    static_assert(count <= 9, "espalier: a pass has nine members at most");
    if constexpr (count == 1) {
        auto const& [a] = pass;
        use(a);
    } else if constexpr (count == 2) {
        auto const& [a, b] = pass;
        use(a, b);
    } else if constexpr (count == 3) {
        auto const& [a, b, c] = pass;
        use(a, b, c);
    } else if constexpr (count == 4) {
        auto const& [a, b, c, d] = pass;
        use(a, b, c, d);
    } else if constexpr (count == 5) {
        auto const& [a, b, c, d, e] = pass;
        use(a, b, c, d, e);
    } else if constexpr (count == 6) {
        auto const& [a, b, c, d, e, f] = pass;
        use(a, b, c, d, e, f);
    } else if constexpr (count == 7) {
        auto const& [a, b, c, d, e, f, g] = pass;
        use(a, b, c, d, e, f, g);
    } else if constexpr (count == 8) {
        auto const& [a, b, c, d, e, f, g, h] = pass;
        use(a, b, c, d, e, f, g, h);
    } else if constexpr (count == 9) {
        auto const& [a, b, c, d, e, f, g, h, i] = pass;
        use(a, b, c, d, e, f, g, h, i);
    }
}

} // namespace detail

template <class Pass> void launch(launch_target const& target, Pass const& pass) {
    index_t const lanes = pass.lanes();
    if (lanes == 0) return;
    if constexpr (kernels::whole<Pass> && group_pass<Pass>) {
        ESPALIER_BEFORE_LAUNCH(
            0, whole_group_pass_kernel<Pass>,
            [](auto const& lane, int group, Pass const& p, live_groups const& groups) { p(lane, groups, group); });
        whole_group_pass_kernel<<<target.grid(lanes), block_threads, 0, target.stream>>>(pass, target.live);
    } else if constexpr (kernels::whole<Pass>) {
        ESPALIER_BEFORE_LAUNCH(0, whole_pass_kernel<Pass>, [](auto const& lane, int, Pass const& p) { p(lane); });
        whole_pass_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(pass);
    } else {
        detail::with_members(pass, [&]<class... Members>(Members const&... members) {
            if constexpr (group_pass<Pass>) {
                ESPALIER_BEFORE_LAUNCH(0, (group_pass_kernel<Pass, Members...>),
                                       [](auto const& lane, int group, live_groups const& groups,
                                          auto const&... arguments) { Pass{arguments...}(lane, groups, group); });
                group_pass_kernel<Pass>
                    <<<target.grid(lanes), block_threads, 0, target.stream>>>(target.live, members...);
            } else {
                ESPALIER_BEFORE_LAUNCH(
                    0, (pass_kernel<Pass, Members...>),
                    [](auto const& lane, int, auto const&... arguments) { Pass{arguments...}(lane); });
                pass_kernel<Pass><<<target.blocks(lanes), block_threads, 0, target.stream>>>(members...);
            }
        });
    }
    check_launch(std::source_location::current().function_name());
}

} // namespace espalier::cuda
