// SPDX-License-Identifier: Apache-2.0
// What a policy of the update may read of one weight beside the numbers that it works on.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>

namespace espalier {

/// Over what a penalty on parameters sums, or what a projection keeps in bounds: single elements, the rows or columns
/// of the tensor as groups, or all of the tensor as one. Ranks are columns of one tensor and rows of another: a policy
/// over them becomes, in each, one over those (`along`).
enum class group_scope { element, rows, columns, tensor, ranks };

/// What one group of a matrix is. A kernel has a row for each input and a column for each output. The ranks of a kernel
/// that is a product of two factors are the columns of the first one and the rows of the second one.
enum class over { rows, columns, tensor, ranks };

/// The scope of such groups.
constexpr group_scope scope_of(over groups) {
    return groups == over::rows      ? group_scope::rows
           : groups == over::columns ? group_scope::columns
           : groups == over::tensor  ? group_scope::tensor
                                     : group_scope::ranks;
}
/// How many groups there are in a tensor; of single elements none are kept.
constexpr index_t groups_of(group_scope scope, index_t rows, index_t columns) {
    return scope == group_scope::rows ? rows : scope == group_scope::columns ? columns : 1;
}

/// Order of gradient transforms, whatever their order in the list.
enum class transform_stage : int { add = 0, gate = 1, scale = 2, clip = 3 };

/// Companions that one penalty or weight map may read.
inline constexpr int max_companions = 2;

/// What the companions of a tensor hold of one weight, in the order of the op's `companion_names`. Members and no
/// array, which compilers would keep in memory.
template <class T> struct companion_values {
    T first = T(scalar_of<T>(0));
    T second = T(scalar_of<T>(0));

    ESPALIER_FN constexpr T const& operator[](int k) const { return k == 0 ? first : second; }
};

/// One weight of a tensor at a step: what penalties, transforms, projections and weight maps may have as their last
/// argument. A field that costs something holds what the comment says for the policies whose op asks for it, and its
/// initial value for the others.
template <class T> struct element_about {
    T weight = T(scalar_of<T>(0));         ///< as it is stored, before the step
    T rate = T(scalar_of<T>(0));           ///< learning rate of the step times the tensor's factor
    mask_of<T> keep = mask_of<T>(true);    ///< whether the tensor's mask keeps it; true without one
    T squared_norm = T(scalar_of<T>(0));   ///< of its group; for ops with `groups`. What acts after the step: after it
    T group_pull = T(scalar_of<T>(0));     ///< in the place of that for ops with `nested`: of all groups that it is in
    T reference = T(scalar_of<T>(0));      ///< gradient of the second stream; for transforms with `needs_reference`
    drawn_bits<T> bits = drawn_bits<T>(0); ///< a 16-bit draw, of this transform alone; for transforms with `draws`
    T global_norm = T(scalar_of<T>(0));    ///< Euclidean norm of all gradients; for transforms with `needs_global_norm`
    companion_values<T> companion{};       ///< further numbers kept of the weight; for ops with `companions`
};

namespace detail {

// What ops say of themselves.
ESPALIER_MEMBER_OR(is_proximal, proximal, false)
ESPALIER_MEMBER_OR(penalty_groups, groups, group_scope::element)
ESPALIER_MEMBER_OR(op_nests, nested, false)
ESPALIER_MEMBER_OR(op_draws, draws, false)
ESPALIER_MEMBER_OR(op_needs_reference, needs_reference, false)
ESPALIER_MEMBER_OR(op_needs_global_norm, needs_global_norm, false)
ESPALIER_MEMBER_OR(op_needs_mask, needs_mask, false)
ESPALIER_MEMBER_OR(op_only_marks, only_marks, false)
ESPALIER_MEMBER_OR(op_freezes, freezes, false)
/// Of a rule's ops behind those of the penalties.
ESPALIER_MEMBER_OR(op_projects, projects, false)

/// Whether an op acts when the norms of the stepped weights are known: in a further pass.
template <class Op> consteval bool waits_for_norms() {
    return penalty_groups<Op>() != group_scope::element && (is_proximal<Op>() || op_projects<Op>());
}

/// Whether a step is the one that applies the proxes over groups: it moves no weight itself, and its rate is that of
/// the step before it, or 0 when nothing is to be shrunk.
ESPALIER_MEMBER_OR(shrinks_groups, shrinks_groups, false)

} // namespace detail

} // namespace espalier
