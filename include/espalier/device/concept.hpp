// SPDX-License-Identifier: Apache-2.0
// What a device is: the verbs that layers, losses and updates call. docs/devices.md says what each does.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/product/concept.hpp>

#include <concepts>
#include <cstdint>

namespace espalier::device {

namespace detail {

/// In the place of any policy's op: verbs are asked for by their declarations only.
struct any_op {};
/// In the place of any pass.
struct any_pass {
    index_t lanes() const { return 0; }
    template <class Block> ESPALIER_FN void operator()(Block const&) const {}
};

/// Arguments of the calls in verbs.inc.
struct verb_arguments {
    any_op op;
    matrix_view<float const> in;
    matrix_view<float> out;
    float const* wide_in;
    float* wide;
    double const* numbers_in;
    double* numbers;
    index_t const* counted_in;
    index_t* counted;
    std::uint32_t const* words_in;
    std::uint32_t* words;
    matrix_view<std::int32_t const> ids;
    matrix_view<std::int32_t> ids_out;
    std::int32_t const* row;
    index_t n;
    int count;
    random_site site;
    rows batch;
    epilogue_statistics<float> statistics;
    update_segment<float> segment;
    gate_run run;
    pair_plan plan;
    pair_table table;
    mixture_tasks tasks;
    expert_pairs pairs;
    expert_outputs<float> outputs;
    live_groups live;
    mask_request request;
    mask_survey* survey;
};

/// Whether a device needs the verbs of a kind.
template <class D> struct needs {
    static constexpr bool always = true, host = D::host_memory, other = !D::host_memory;
};

#define VERB(name, needed, cpu, body, live, ...)                                                                       \
    template <class D>                                                                                                 \
    concept has_##name = !needs<D>::needed || requires(D & device, verb_arguments const a) {                           \
        device.__VA_ARGS__;                                                                                            \
    };
#include <espalier/device/verbs.inc>

} // namespace detail

/// Memory for the verbs, and whether the program may read it.
template <class D>
concept device_memory = requires(D& device, scratch_view space) {
    typename D::template buffer<float>;
    { D::host_memory } -> std::convertible_to<bool>;
    { device.threads() } -> std::convertible_to<int>;
    device.scratch = space;
};

#define VERB(name, needed, cpu, body, live, ...) &&detail::has_##name<D>
/// A device: memory, and all verbs that its kind of memory needs.
template <class D>
concept device = device_memory<D>
#include <espalier/device/verbs.inc>
    ;

/// Fails to compile, with the name of the first verb that D lacks.
template <class D> consteval bool check_device() {
    static_assert(diagnostic::holds<device_memory<D>, diagnostic::given_type<D>>,
                  "espalier: a device has host_memory, threads(), scratch and a template buffer; the next line names "
                  "what was given; docs/devices.md says what they are, and the order is network<stack, device, float>");
    if constexpr (device_memory<D>) {
#define VERB(name, needed, cpu, body, live, ...)                                                                       \
    static_assert(detail::has_##name<D>, "espalier: this device has no verb " #name                                    \
                                         " that takes what layers give it; docs/devices.md says what "                 \
                                         "it does and with what arguments");
#include <espalier/device/verbs.inc>
    }
    return true;
}

} // namespace espalier::device
