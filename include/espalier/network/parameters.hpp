// SPDX-License-Identifier: Apache-2.0
// host only. The parameters of a network as a value: copy it, average it, save it, run another executor on it.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/kept_time.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/sequence.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

/// The seed of everything random in a network: initial weights, dropout, data order.
struct seed {
    std::uint64_t value = 0;
};

namespace detail {

/// A whole stack has no sequence around it that would have checked it.
template <class Stack> consteval bool check_stack() {
    if constexpr (!check_is_layer<Stack, diagnostic::alone>())
        return false;
    else
        return Stack::template check<diagnostic::alone, shape{}, type_list<>>();
}
template <class Stack, bool Valid> struct bind_stack { using type = invalid_layer<shape{}, shape{}>; };
template <class Stack> struct bind_stack<Stack, true> {
    using type = typename Stack::template bind<shape{}, type_list<>>;
};

} // namespace detail

/// The bound form of a stack: its layers with the shapes they have there.
template <class Stack> using bound = typename detail::bind_stack<Stack, detail::check_stack<Stack>()>::type;

/// Everything about a stack that can be told by name, collected once.
template <class Stack> layer_report const& report_of() {
    static layer_report const report(&bound<Stack>::describe, bound<Stack>::template size<float>());
    return report;
}

namespace detail {

/// The tensor of that name; null when there is none.
tensor_info const* find_tensor(std::vector<tensor_info> const& tensors, std::string_view name);
/// The same, but for data_error, which lists those that are there, when there is none.
tensor_info const& tensor_named(std::vector<tensor_info> const& tensors, std::string_view name);

/// The place of the tap of that name, or of that path and name where several have it. Throws data_error.
std::size_t tap_place(std::vector<tap_info> const& taps, std::string_view name);
/// The place of the gate of that path. Throws data_error.
std::size_t gate_place(std::vector<std::string> const& gates, std::string_view path);

/// The number of trained values.
index_t count_trained(std::vector<tensor_info> const& tensors);

/// Offsets into the norms arena: sets of groups with the same name share theirs.
struct group_layout {
    std::vector<index_t> offset;
    std::unique_ptr<bool[]> first; ///< whether a set is the first of its name
    index_t size = 0;
};

group_layout layout_groups(std::vector<group_set_info> const& sets);

/// The places of the companions of that name among all tensors. Throws data_error, which lists those that are known,
/// when there is none.
std::vector<std::size_t> companions_named(std::vector<tensor_info> const& tensors, std::string_view name);

/// The place of the fixed tensor `name`, "1.kernel.anchor", once rows x columns are found to be its extents. Throws
/// data_error and shape_error.
std::size_t fixed_place(std::vector<tensor_info> const& tensors, std::string_view name, index_t rows, index_t columns);

/// Throws data_error when a kernel that stays as it was set never was. `given` has an entry for every tensor.
void require_bases(std::vector<tensor_info> const& tensors, std::vector<bool> const& given);
/// The same, and for companions. `given` has an entry for every tensor.
void require_fixed(std::vector<tensor_info> const& tensors, std::vector<bool> const& given);

} // namespace detail

/// The trained numbers of a network of type `Stack` on a device, with what is derived from them (masks, operand copies,
/// group norms), and the time that their training has reached. All tensors lie in one arena each, in the order of the
/// layers.
template <class Stack, class Device, class T> class parameters {
public:
    using layer = bound<Stack>;
    using wide = master_of<T>;
    template <class U> using buffer = typename Device::template buffer<U>;
    static constexpr footprint size = layer::template size<T>();

    parameters()
        : weights_(size.parameters), state_(size.state + size.fixed), masks_(size.mask_words),
          operands_(size.parameters), norms_(groups().size), next_norms_(groups().size),
          given_(size.fixed > 0 ? tensors().size() : 0) {}

    buffer<wide>& weights() { return weights_; }
    buffer<wide> const& weights() const { return weights_; }
    buffer<wide>& state() { return state_; }
    buffer<wide> const& state() const { return state_; }
    buffer<std::uint32_t>& masks() { return masks_; }
    buffer<std::uint32_t> const& masks() const { return masks_; }

    /// What products read in the place of weights that are mapped, or of another type.
    buffer<T> const& operands() const { return operands_; }

    /// Whether each tensor was given its numbers, where that is asked of any: of fixed ones, which mean nothing before.
    /// Empty in networks that have none.
    std::vector<bool>& given() { return given_; }
    std::vector<bool> const& given() const { return given_; }

    /// The time whose numbers these parameters are used with: that of the next step of their training.
    kept_time& time() { return time_; }
    clock const& time() const { return time_.now(); }

    /// The memory of the outermost layer, without tape, work space, gradients and optimizer.
    layer_memory<T> memory() {
        layer_memory<T> m;
        m.parameters = weights_.data();
        m.operands = operands_.data();
        m.state = state_.data();
        m.fixed = state_.data() + size.state;
        m.masks = masks_.data();
        m.group_offset = groups().offset.data();
        m.group_first = groups().first.get();
        m.norms = norms_.data();
        m.next_norms = next_norms_.data();
        return m;
    }

    /// Begins the gathering of new group norms; `finish_norms` makes them the current ones.
    void start_norms(Device& device) { device.zero(next_norms_.data(), next_norms_.size()); }
    void finish_norms(Device& device) {
        if constexpr (Device::host_memory)
            std::swap(norms_, next_norms_);
        else if (norms_.size() > 0) // their places stay, for a captured graph has taken them down
            device.copy(contiguous_view<wide const>(next_norms_.data(), 1, next_norms_.size()),
                        contiguous_view(norms_.data(), 1, norms_.size()));
    }

    static std::vector<tensor_info> const& tensors() { return report_of<Stack>().tensors; }

    /// The tensor of that name. Throws data_error when there is none.
    static tensor_info const& find(std::string_view name) { return detail::tensor_named(tensors(), name); }

    /// A tensor's elements.
    matrix_view<wide> tensor(std::string_view name) { return view(find(name)); }
    matrix_view<wide> view(tensor_info const& t) {
        return {(t.trained ? weights_ : state_).data() + t.offset, t.rows, t.columns, t.columns};
    }
    matrix_view<wide const> view(tensor_info const& t) const {
        return {(t.trained ? weights_ : state_).data() + t.offset, t.rows, t.columns, t.columns};
    }

    /// this <- keep * this + (1 - keep) * other, over weights and state: the exponential average of a teacher.
    /// Fixed tensors become those of the other.
    void average(parameters const& other, double keep) {
        static_assert(Device::host_memory,
                      "espalier: parameters are averaged in host memory; on a GPU add them up in a pass of your own");
        blend(weights_, other.weights_, size.parameters, keep);
        blend(state_, other.state_, size.state, keep);
        std::copy_n(other.state_.data() + size.state, size.fixed, state_.data() + size.state);
        given_ = other.given_;
    }

private:
    static detail::group_layout const& groups() {
        static detail::group_layout const layout = detail::layout_groups(report_of<Stack>().group_sets);
        return layout;
    }

    static void blend(buffer<wide>& mine, buffer<wide> const& other, index_t count, double keep) {
        wide const a = static_cast<wide>(keep);
        wide const b = static_cast<wide>(1.0 - keep);
        for (index_t i = 0; i < count; ++i)
            mine.data()[i] = a * mine.data()[i] + b * other.data()[i];
    }

    buffer<wide> weights_;
    buffer<wide> state_;
    buffer<std::uint32_t> masks_;
    buffer<T> operands_;
    buffer<wide> norms_;
    buffer<wide> next_norms_;
    std::vector<bool> given_;
    kept_time time_;
};

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/parameters.hpp>
#endif
