// SPDX-License-Identifier: Apache-2.0
// host only. A network as a plain table: its layers, tensors, terms, measures, taps and gates by name. What saves,
// prints or describes a network reads this and is no template.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier {

namespace prune {
struct plan;
}
namespace weight {
struct inverse;
}

/// One declared tensor of a network, by name.
struct tensor_info {
    std::string name;  ///< layer path and tensor, "1.kernel"
    std::string group; ///< name of the parameter group, empty for the default one
    int layer = 0;     ///< index in the outermost sequence
    role tensor_role = role::kernel;
    index_t rows = 0; ///< 1 for vectors
    index_t columns = 0;
    index_t offset = 0;                 ///< elements from the start of the parameter arena (or of the state arena)
    bool trained = true;                ///< false: lives in the state arena
    bool vector = false;                ///< saved with one dimension
    index_t mask_offset = -1;           ///< words from the start of the mask arena, -1 without a mask
    bool held = false;                  ///< what the mask leaves out is held: at 0, or at its value
    prune::plan const* masks = nullptr; ///< how the mask is selected; null: it is not
    int passes = 1;                     ///< passes over this tensor in an update
    bool grouped = false;               ///< carries penalties over groups
    bool mapped = false;                ///< products read a map of it, from a copy
    weight::inverse const* inverse = nullptr; ///< how raw weights are found from what products read; null: they are not
    tensor_rates rates{};                     ///< factors before those of the program
    bool optional = false;                    ///< a file may lack it: then it stays as it is
    bool fixed = false;                       ///< is read, never trained, and means nothing before it was set
    bool units = false;                       ///< a mask of the layer's units: 0 for those that are left out
    std::string companion;                    ///< name among the companions of a trained tensor; empty: it is none
    int of = -1; ///< of a companion, or of a number that a map is made of: the place of their tensor among all

    index_t size() const { return rows * columns; }
    /// The path of its layer: what stands before its own name, which has no full stop.
    std::string_view path() const { return std::string_view(name).substr(0, name.rfind('.')); }
};

/// One value that is added to the loss.
struct term_info {
    std::string name;
};

/// A named place in a stack.
struct tap_info {
    std::string name;
    std::string path; ///< that of the layer and the name, "2.hidden"
    index_t width = 0;
};

/// One set of groups whose norms a penalty needs. Equal non-empty names share their norms.
struct group_set_info {
    std::string name;
    index_t groups = 0;
    bool proximal = false; ///< shrunk by a prox after the step
    bool nested = false;   ///< group i of the penalty is made of groups i, i + 1, ... of these
};

/// The rank of a layer whose product is one of two factors, which may change.
struct rank_info {
    index_t most = 0;                          ///< columns of the first factor; 0: there is no such rank
    index_t (*at)(clock const& now) = nullptr; ///< throws data_error where it is none
    short_name name{};                         ///< of the run-time value that it is; empty: it is none
};

/// A layer whose product is an operator: how to make the matrix it stands for from its tensors.
struct operator_info {
    std::string layer; ///< path
    index_t rows = 0;
    index_t columns = 0;
    index_t offset = 0; ///< of its first tensor in the parameter arena
    index_t fixed = 0;  ///< of its first fixed tensor among all of them
    void (*bake_float)(float const* parameters, float const* fixed, clock const& now,
                       matrix_view<float> kernel) = nullptr;
    void (*bake_double)(double const* parameters, double const* fixed, clock const& now,
                        matrix_view<double> kernel) = nullptr;
    rank_info rank{};
};

/// A number of a policy, under the name that the policy gives it.
struct policy_number {
    std::string name;
    double value = 0.0;
    bool whole = false; ///< it has a type of whole numbers, or bool, and fits into 64 bits with a sign
};

/// A policy of a layer, or a part of one, with its numbers at step 0: those of its op, then its own, then its parts'.
struct policy_info {
    std::string axis; ///< "penalty"; empty for a part
    std::string name; ///< "l1"
    std::vector<policy_number> numbers;
    std::vector<policy_info> parts;
    /// False when its numbers could not be asked for: a schedule has none at step 0 because training goes on from a
    /// later one, or waits for a value of the program.
    bool known = true;
    void (*write)(policy_info&, clock const& now) = nullptr; ///< adds its numbers and parts; null: it has none

    /// Its numbers become those of that time, where they can be asked for.
    void ask(clock const& now);

    /// "penalty l1(coefficient 0.0001)"; of several numbers of one name only the first one says it.
    std::string text() const;
};

/// A line of `describe`.
struct layer_info {
    std::string path;
    std::string kind;
    shape input;
    shape output;
    index_t parameters = 0;
    double flops = 0; ///< of one row, forward
    std::vector<policy_info> policies;
    int depth = 0;            ///< of nesting
    double share = 1.0;       ///< of the rows that reach it: below 1 inside an expert that gathers its rows
    std::uint32_t stream = 0; ///< the first of its random streams

    /// "dense 784 -> 256: activation relu, penalty l1(coefficient 0.0001)"
    std::string text() const;
};

/// What a layer says of a tensor of its own.
struct tensor_facts {
    std::string_view group = {}; ///< name of the parameter group, empty for the default one
    role tensor_role = role::kernel;
    index_t rows = 0;
    index_t columns = 0;
    bool masked = false;
    bool held = false;                        ///< what the mask leaves out is held: at 0, or at its value
    prune::plan const* masks = nullptr;       ///< how the mask is selected; null: it is not
    int passes = 1;                           ///< over the tensor in an update
    bool grouped = false;                     ///< carries penalties over groups
    bool mapped = false;                      ///< products read a map of it, from a copy
    weight::inverse const* inverse = nullptr; ///< how raw weights are found from what products read; null: they are not
};

/// What a walk over the bound layers collects. Whoever describes a part says where it lies, with the offset that its
/// memory has; what has a number of its own (terms, measures, taps, gates, groups) is named in the order of these.
struct layer_report {
    std::vector<tensor_info> tensors;
    std::vector<term_info> terms;
    std::vector<std::string> measures; ///< names of numbers about a step that are not part of the loss
    std::vector<group_set_info> group_sets;
    std::vector<layer_info> layers;
    std::vector<operator_info> operators;
    std::vector<tap_info> taps;
    std::vector<std::string> gates; ///< paths, "1.gate"
    int top_layer = 0;
    int depth = 0;

    layer_report();
    /// What a network's `describe` says, beginning with the path "".
    /// `size` is the network's: throws logic_error when the names are not as many as that says.
    layer_report(void (*describe)(layer_report&, std::string const& path, footprint const& at), footprint const& size);
    layer_report(layer_report const&);
    layer_report& operator=(layer_report const&);
    ~layer_report();

    /// Adds a line of the table at the present depth. Its policies are added by the layer; valid until the next line.
    layer_info& add_layer(std::string_view path, footprint const& at, detail::text_parts kind, shape input,
                          shape output, index_t parameters = 0, double flops = 0.0);
    /// The path of the layer that a random stream belongs to; empty without layers.
    std::string path_of_stream(std::uint32_t stream) const;
    /// Adds the trained tensor `path`.`name`, whose memory begins at `at`.
    void add_tensor(std::string_view path, std::string_view name, footprint const& at, tensor_facts const& facts);
    /// Adds a tensor of the state arena.
    /// `optional`: a file may lack it, those of older versions do.
    void add_state(std::string_view path, std::string_view name, index_t rows, index_t columns, index_t offset,
                   bool optional = false);
    /// Adds the mask of a layer's units, one number each, which a file may lack.
    void add_units(std::string_view path, index_t count, index_t offset);
    /// Adds a companion of the trained tensor that was added last; `offset` counts from the first of all fixed tensors.
    void add_companion(std::string_view name, index_t offset);
    /// Adds the kernel `path`.`name` that stays as it was set; `offset` counts like that of a companion.
    void add_fixed_kernel(std::string_view path, std::string_view name, index_t rows, index_t columns, index_t offset);
    /// Adds a trained number of the map of the tensor that was added before, behind its companions.
    void add_scalar(std::string_view name, index_t offset, tensor_rates const& rates);
    template <class... Parts> void add_term(Parts const&... name) {
        add_term_named(detail::text_parts{detail::text_part(name)...});
    }
    template <class... Parts> void add_measure(Parts const&... name) {
        add_measure_named(detail::text_parts{detail::text_part(name)...});
    }
    void add_tap(std::string_view path, std::string_view name, index_t width);
    void add_gate(std::string_view path);
    /// Adds the groups of a penalty; equal names that are not empty share their norms.
    void add_groups(std::string_view name, index_t groups, bool proximal, bool nested);

private:
    void add_term_named(detail::text_parts name);
    void add_measure_named(detail::text_parts name);
};

namespace detail {

/// The policies of a layer, commas between them.
std::string policy_texts(layer_info const& layer);
/// "784", or "3 x 32 x 32".
std::string shape_name(shape s);

/// "loss", then the names of the terms.
std::vector<std::string> names_of_terms(layer_report const& report);

template <class P>
concept consists_of_parts = requires {
    typename P::consists_of;
};

template <class P>
inline constexpr bool has_numbers =
    names_numbers<typename op_type<P>::type> || names_numbers<P> || consists_of_parts<P>;

void add_number(policy_info& out, std::string_view name, double value, bool whole);
/// Adds a part, and gives it; valid until the next one. One without a name stands for its numbers: they are the
/// policy's.
policy_info& add_part(policy_info& out, std::string_view name);

/// Writes the numbers of a policy or a part of one, and its parts.
template <class P> void write_numbers(policy_info& out, clock const& now) {
    using op = typename op_type<P>::type;
    auto const write = [&out](std::string_view name, auto value) {
        add_number(out, name, static_cast<double>(value), std::is_integral_v<decltype(value)>);
    };
    if constexpr (names_numbers<op>) for_each_number(fields_of<op>(), numbers_at<P>(now), now, write);
    if constexpr (names_numbers<P> && !std::is_same_v<P, op>) for_each_number(fields_of<P>(), 0, now, write);
    if constexpr (consists_of_parts<P>) {
        [&]<class... Parts>(type_list<Parts...>) {
            (write_numbers<Parts>(add_part(out, policy_name<Parts>()), now), ...);
        }(typename P::consists_of{});
    }
}

/// Adds a policy with what `write` says of it. `write` may throw, as a schedule does that has no value at step 0. Names
/// of tensors, and files, are read off the same report and need no number: so the policy's are unknown, and the step
/// that needs them throws.
void add_policy(std::vector<policy_info>& out, std::string_view axis_name, std::string_view policy_name,
                void (*write)(policy_info&, clock const& now) = nullptr);

/// A policy by its name, or another one, with its numbers.
template <class P> void list_policy(std::vector<policy_info>& out, std::string_view name = name_of<P>()) {
    if constexpr (has_numbers<P>)
        add_policy(out, P::axis::name, name, &write_numbers<P>);
    else
        add_policy(out, P::axis::name, name);
}

} // namespace detail

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/layer/detail/report.hpp>
#endif
