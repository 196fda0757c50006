// SPDX-License-Identifier: Apache-2.0
// A device that runs the kernel bodies with one lane and whose memory the host does not read: what a GPU does, where
// there is none.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/pass.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/concept.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/passes.hpp>
#include <espalier/kernels/verbs.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace kernel_tests {

using namespace espalier;
namespace k = espalier::kernels;

/// One lane as a runner of passes, with the memory and the products of the CPU.
class lane_runner : public device::cpu {
public:
    static constexpr bool host_memory = false;

    /// As a GPU's.
    template <class T> struct buffer : cpu::buffer<T> {
        using cpu::buffer<T>::buffer;
        void copy_to_host(T* to, index_t n, index_t at = 0) const {
            ++host_copies;
            std::copy_n(this->data() + at, n, to);
        }
        void copy_from_host(T const* from, index_t n, index_t at = 0) {
            ++host_copies;
            std::copy_n(from, n, this->data() + at);
        }
    };
    inline static int host_copies = 0; ///< of buffers, from and to the host

    template <class Pass> void run(Pass const& pass) {
        if (pass.lanes() == 0) return;
        if constexpr (group_pass<Pass>)
            for (int g = 0; g < live_.groups; ++g)
                pass(lane, live_, g);
        else
            pass(lane);
    }
    template <class Body> void on_live_rows(live_groups const& live, Body const& body) {
        if (live.groups > 1) require_scratch(live_bytes);
        ++launches;
        live_ = live;
        body();
        live_ = {};
    }
    live_groups const& live() const { return live_; }
    k::error_word* error() { return &error_; }
    k::error_word* watched() { return watched_; }
    void watch_numbers(bool on) { watched_ = on ? &error_ : nullptr; }
    std::uint32_t const* step_word() const { return nullptr; }
    k::row_loss_result* loss_result() { return &loss_; }
    template <class Op> k::numbers<Op> locate(Op const& op) const { return {nullptr, op}; }

    void read(double const* from, double* to, index_t n) {
        if (!error_.clear()) throw std::logic_error("bodies: a kernel has reported an error");
        device::cpu::read(from, to, n);
    }
    template <class T> void copy_to_host(T const* from, T* to, index_t n) { repeat(from, n, 1, to); }
    template <class T> void clear(matrix_view<T> to) { run(k::passes::clear<T>{to}); }
    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        run(k::passes::combine_rows<false, T, T>{from, to});
    }

    inline static int launches = 0; ///< on rows that the device counts, or for several experts

protected:
    /// Asked for beyond the need, to see that what is asked for is there.
    static constexpr std::size_t dispatch_bytes = 1 << 20, live_bytes = 1 << 19;
    void require_scratch(std::size_t bytes) const {
        if (scratch.size < bytes) throw std::logic_error("bodies: " + std::to_string(bytes) + " bytes are not there");
    }

private:
    alignas(16) std::byte shared_[48 * 1024]; // what a block of a GPU has
    serial_group lane{.shared_memory = shared_};
    live_groups live_{};
    k::error_word error_;
    k::error_word* watched_ = nullptr;
    k::row_loss_result loss_;
};

/// A device of kernel bodies. Rows that are not an expert's hold no number.
class bodies : public k::verbs<lane_runner> {
public:
    using k::verbs<lane_runner>::verbs;

    template <class T, class Chosen>
    static std::size_t product_scratch(index_t batch_rows, index_t inner, index_t columns) {
        return std::max(device::cpu::product_scratch<T, Chosen>(batch_rows, inner, columns),
                        verb_scratch<T>(batch_rows, inner, columns));
    }
    static std::size_t dispatch_scratch(index_t, index_t, int) { return dispatch_bytes; }
    template <class T> static std::size_t live_scratch(live_groups const& live, index_t b, index_t m, index_t n) {
        return verbs::live_scratch<T>(live, b, m, n) + live_bytes;
    }
    template <class T>
    void build_pairs(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                     pair_plan const& plan, pair_table const& table) {
        require_scratch(dispatch_bytes);
        verbs::build_pairs(weights, experts, batch, plan, table);
    }
    template <class T>
    void live_product_forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z,
                              live_groups const& live) {
        for_windows(live, [&](int g, live_window window) {
            spoil(z, window);
            product_forward<void>(k::live_rows(x, window), live.tensor(w, g), live.tensor(bias, g),
                                  k::live_rows(z, window));
        });
    }
    template <class T>
    void live_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                     live_groups const& live) {
        for_windows(live, [&](int g, live_window window) {
            spoil(dx, window);
            product_input_gradient<void>(k::live_rows(dz, window), live.tensor(w, g), k::live_rows(dx, window));
        });
    }
    template <class T>
    void live_product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw,
                                      live_groups const& live) {
        for_windows(live, [&](int g, live_window window) {
            product_weight_gradient<void>(k::live_rows(x, window), k::live_rows(dz, window), live.tensor(dw, g));
        });
    }
    template <class T>
    void expert_gradient(matrix_view<T const> weights, matrix_view<std::int32_t const> experts,
                         mixture_tasks const& tasks, expert_pairs const& block, matrix_view<T const> dy,
                         matrix_view<T> d) {
        spoil(d);
        verbs::expert_gradient(weights, experts, tasks, block, dy, d);
    }
    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        spoil(to);
        verbs::gather(from, row, to);
    }

private:
    template <class Body> static void for_windows(live_groups const& live, Body const& body) {
        ++launches;
        for (int g = 0; g < live.groups; ++g)
            body(g, live.window(g));
    }
    template <class T> void spoil(matrix_view<T> all) const {
        for (int g = 0; g < live().groups; ++g)
            spoil(all, live().window(g));
    }
    /// All rows behind those counted or, where other experts' follow, up to the granule.
    template <class T> static void spoil(matrix_view<T> all, live_window window) {
        matrix_view<T> const some = k::live_rows(all, window);
        index_t const end = window.first ? round_up(some.rows, row_granule) : all.rows; // of its own block
        for (index_t r = some.rows; r < end; ++r)
            for (index_t c = 0; c < all.columns; ++c)
                some.data[r * all.stride + c] = std::numeric_limits<T>::quiet_NaN();
    }
};

static_assert(device::device<bodies>);

} // namespace kernel_tests
