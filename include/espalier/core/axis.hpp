// SPDX-License-Identifier: Apache-2.0
// The axes on which policies stand, and the roles of the tensors they act on.
#pragma once

#include <cstdint>
#include <string_view>

namespace espalier {

/// What a tensor is for. Penalties, transforms, learning rates and decay bind to roles.
enum class role {
    kernel,    ///< the matrix of a product
    bias,      ///< added to a product
    scale,     ///< factor of a normalisation
    shift,     ///< offset of a normalisation
    factor,    ///< half of a low-rank kernel
    adapter,   ///< trained beside a frozen kernel
    score,     ///< decides a mask or a selection
    embedding, ///< rows looked up by key
    gate,      ///< the matrix whose product a gate reads
    scalar,    ///< one number that the map of another tensor is made of
    statistic, ///< not trained: running means, counts
};

/// How many roles there are.
inline constexpr int role_count = static_cast<int>(role::statistic) + 1;

/// The role's name, as `describe` and rules print it.
constexpr std::string_view role_name(role r) {
    switch (r) {
    case role::kernel:
        return "kernel";
    case role::bias:
        return "bias";
    case role::scale:
        return "scale";
    case role::shift:
        return "shift";
    case role::factor:
        return "factor";
    case role::adapter:
        return "adapter";
    case role::score:
        return "score";
    case role::embedding:
        return "embedding";
    case role::gate:
        return "gate";
    case role::scalar:
        return "scalar";
    case role::statistic:
        return "statistic";
    }
    return "?";
}

/// Several roles: those of a layer's tensors.
struct role_set {
    std::uint32_t bits = 0;

    constexpr bool has(role r) const { return (bits >> static_cast<unsigned>(r) & 1u) != 0; }
    constexpr bool has(role_set all) const { return (bits & all.bits) == all.bits; }
    friend constexpr role_set operator|(role_set a, role_set b) { return {a.bits | b.bits}; }
};
/// One role, or none where there is no such tensor.
constexpr role_set roles(role r, bool there = true) {
    return {there ? 1u << static_cast<unsigned>(r) : 0u};
}
/// Of tensors that say nothing of their roles.
inline constexpr role_set any_roles{~0u};

struct policy_checker;
struct clock;

/// Where the policies of an axis act, which says which layers have the axis.
enum class axis_place {
    epilogue, ///< on what a layer puts out
    product,  ///< on one product of rows and a kernel
    tensor,   ///< on trained tensors of any layer
    row,      ///< on the way of a row through a mixture
    layer,    ///< elsewhere: some kind of layer takes such a policy as an argument of its own
};

/// One axis, one decision of a layer. An axis is a type in a header `axis.hpp` of its folder, derived from this; what
/// it leaves out is as here.
///
///     struct my_axis : axis_defaults {
///         static constexpr std::string_view name = "my_axis";
///         static constexpr axis_place place = axis_place::tensor;   // in this list it reaches layers by itself
///         template <class Asked> static consteval bool members();   // ESPALIER_NEEDS of core/members.hpp
///         template <class P> static void check(policy_checker& to, clock const& now); // host, for `check_policy`
///     };
///
/// Axes of the library are in the list of layer/axes.hpp.
struct axis_defaults {
    /// Several policies may stand on the axis of one layer: their contributions add up (penalties) or run one after the
    /// other by stage (transforms).
    static constexpr bool stacks = false;
    static constexpr axis_place place = axis_place::layer;
    /// Whether a policy P of the axis acts on tensors of some roles, of which `on<role, P>` names another one.
    template <class P> static constexpr bool by_role = false;
    /// Whether such a policy, when no `on` binds it, acts on the tensors of that role.
    static constexpr bool acts_unasked(role) { return true; }
    /// Loops and kernels are specialised on the op of such a policy P.
    template <class P> static constexpr bool reaches_kernels = false;
    /// Whether Asked::policy has what the axis asks for; a sentence for each member that is missing.
    template <class Asked> static consteval bool members() { return true; }
    /// What `check_policy` looks at while it runs.
    template <class P, class Checker> static void check(Checker& to, clock const&) {
        to.leave_out("anything but members and names: check_gradients_of<sequence<input<7>, dense<5, ...>>, "
                     "device::cpu> with the policy in a layer that has its axis");
    }
};

} // namespace espalier
