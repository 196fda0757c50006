// SPDX-License-Identifier: Apache-2.0
// host only. The CPU as a device: what layers, losses and updates ask a device to do, done at once on one core.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/device/cpu/batch_norm.hpp>
#include <espalier/device/cpu/buffer.hpp>
#include <espalier/device/cpu/dispatch.hpp>
#include <espalier/device/cpu/embedding.hpp>
#include <espalier/device/cpu/epilogue.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/device/cpu/row_map.hpp>
#include <espalier/device/cpu/thread_team.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/product/concept.hpp>
#include <espalier/product/direct.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace espalier::device {

/// The CPU, with the products of `Product` where a layer names none itself.
///
/// One thread unless the program asks for more: `std::make_unique<device::cpu>(2)` as third argument of a network. Then
/// large products are cut into parts, if the bits of their elements do not depend on the cut (a product that says
/// `cuts_freely`, as product::direct does); everything else stays on the calling thread. Results are bitwise equal for
/// any number of threads.
template <class Product = product::direct> class basic_cpu {
public:
    static constexpr std::string_view name = "cpu";
    /// The program may read and write the device's memory.
    static constexpr bool host_memory = true;
    using product = Product;
    template <class T> using buffer = espalier::cpu::buffer<T>;

    scratch_view scratch; ///< for every thread an equal part

    basic_cpu() = default;
    explicit basic_cpu(int threads) : team_(threads) {}

    int threads() const { return team_.size(); }

    template <class Chosen> using product_for = std::conditional_t<std::is_void_v<Chosen>, Product, Chosen>;

    template <class T, class Chosen>
    static std::size_t product_scratch(index_t batch_rows, index_t inner, index_t columns) {
        return product_for<Chosen>::template scratch<T>(batch_rows, inner, columns);
    }
    template <class Chosen, class T>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z) {
        for_parts<Chosen>(z.rows, x.columns * z.columns, [&](index_t first, index_t count, scratch_view space) {
            product_for<Chosen>::template forward<T>(x.middle_rows(first, count), w, bias, z.middle_rows(first, count),
                                                     space);
        });
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        for_parts<Chosen>(dx.rows, dz.columns * dx.columns, [&](index_t first, index_t count, scratch_view space) {
            product_for<Chosen>::template input_gradient<T>(dz.middle_rows(first, count), w,
                                                            dx.middle_rows(first, count), space);
        });
    }
    template <class Chosen, class T>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw) {
        for_parts<Chosen>(dw.rows, x.rows * dw.columns, [&](index_t first, index_t count, scratch_view space) {
            product_for<Chosen>::template weight_gradient<T>(x.middle_columns(first, count), dz,
                                                             dw.middle_rows(first, count), space);
        });
    }

    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<T> statistics) {
        espalier::cpu::epilogue_forward(op, z, y, site, batch, statistics);
    }
    template <class Op, class T>
    void epilogue_backward(Op const& op, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                           T* bias_gradient, random_site const& site, rows const& batch,
                           epilogue_statistics<T> statistics) {
        espalier::cpu::epilogue_backward(op, z, dy, dz, bias_gradient, site, batch, statistics);
    }

    /// A row-wise activation over y, in place; and its gradient over dy, in place.
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        espalier::cpu::row_forward<T, static_cast<int>(Width), Activation>(matrix_view<T const>(y), y);
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        espalier::cpu::row_backward<T, static_cast<int>(Width), Activation>(y, dy);
    }

    template <class T, class Optimizer, class Rule>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<T> segment, double const* squared_norm) {
        if (squared_norm) segment.global_norm = std::sqrt(*squared_norm);
        espalier::cpu::update(optimizer, rule, segment);
    }

    /// value = the term of a penalty over groups.
    template <class Op, class T> void group_value(Op const& op, T const* squared_norms, index_t groups, double* value) {
        *value = 0.0;
        for (index_t g = 0; g < groups; ++g)
            *value += static_cast<double>(op.group_value(squared_norms[g]));
    }

    /// The step block needs no mirror here.
    void declare_step(void const*, std::size_t) {}
    void upload_step(std::uint32_t) {}
    /// Copies results to the host, after everything before it is done.
    void read(double const* from, double* to, index_t n) {
        std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(double));
    }
    template <class T> void zero(T* p, index_t n) {
        if (n > 0) std::memset(static_cast<void*>(p), 0, static_cast<std::size_t>(n) * sizeof(T));
    }

    /// Rows of tables, looked up by number, and the tables' gradient.
    template <class T>
    void embed(matrix_view<T const> ids, index_t const* sizes, T const* table, index_t width, matrix_view<T> y) {
        espalier::cpu::embed(ids, sizes, table, width, y);
    }
    template <class T, class Wide>
    void embed_backward(matrix_view<T const> ids, index_t const* sizes, matrix_view<T const> dy, index_t width,
                        Wide* gradient) {
        espalier::cpu::embed_backward(ids, sizes, dy, width, gradient);
    }

    /// The mean loss of the rows of z to `value`; its gradient and the samples' new state where those have memory.
    template <int N, class Loss, class T>
    void loss(Loss const& given, matrix_view<T const> z, rows const& batch, matrix_view<float const> targets,
              matrix_view<T> gradient, matrix_view<T> state, double* value) {
        espalier::cpu::loss_buffers<T> buffers;
        buffers.dense_targets = targets;
        buffers.gradient = gradient;
        buffers.state = state;
        *value = espalier::cpu::row_loss<T, N>(given, z, batch, buffers).value;
    }

    template <class T> void sum_of_squares_to(T const* p, index_t n, double* result) {
        *result = espalier::cpu::sum_of_squares(p, n);
    }

    /// Sets a tensor's first values by `fill(view, site)`.
    template <class Fill, class T> void initialise(Fill const& fill, matrix_view<T> w, random_site const& site) {
        fill(w, site);
    }
    /// Keeps every element of a tensor of n elements.
    void fill_mask(std::uint32_t* mask, index_t n) {
        for (index_t i = 0; i < (n + 31) / 32; ++i)
            mask[i] = ~std::uint32_t{0};
    }

    /// Bytes of scratch for column_moments and normalise_backward, and for the loss.
    template <class T> static std::size_t moments_scratch(index_t, index_t) { return 0; }
    static std::size_t loss_scratch(index_t) { return 0; }

    /// Means and variances (divided by the number of rows) of the columns of x, and the number of rows to `counted`.
    template <class T> void column_moments(matrix_view<T const> x, T* mean, T* variance, index_t* counted) {
        espalier::cpu::column_moments(x, mean, variance);
        *counted = x.rows;
    }
    template <class T>
    void normalise(matrix_view<T const> x, T const* mean, T const* variance, T const* scale, T const* shift,
                   double epsilon, matrix_view<T> y) {
        espalier::cpu::normalise(x, mean, variance, scale, shift, epsilon, y);
    }
    template <class T>
    void normalise_backward(matrix_view<T const> x, matrix_view<T const> dy, T const* mean, T const* variance,
                            T const* scale, double epsilon, bool through_statistics, T* dscale, T* dshift,
                            matrix_view<T> dx) {
        espalier::cpu::normalise_backward(x, dy, mean, variance, scale, epsilon, through_statistics, dscale, dshift,
                                          dx);
    }
    template <class T>
    void running_moments(T const* mean, T const* variance, index_t columns, index_t const* row_count, double momentum,
                         T* running) {
        espalier::cpu::running_moments(mean, variance, columns, *row_count, momentum, running);
    }

    /// Weights and experts of all rows; the gate's own term, the mean over the rows, to `term` unless it is null.
    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts,
               double* term) {
        double const mean = espalier::cpu::route<T, Gate>(op, logits, weights, experts);
        if (term) *term = mean;
    }
    template <class Gate, class T, class Op>
    void route_backward(Op const& op, matrix_view<T const> logits, matrix_view<T const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<T const> dweights,
                        matrix_view<T> dlogits) {
        espalier::cpu::route_backward<T, Gate>(op, logits, weights, experts, dweights, dlogits);
    }
    template <class T>
    void build_pairs(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                     int expert_count, index_t granule, pair_table const& table) {
        espalier::cpu::build_pairs(weights, experts, batch, expert_count, granule, table);
    }
    template <class T, class Output>
    void combine(matrix_view<T const> weights, matrix_view<T> y, Output const& output) {
        espalier::cpu::combine(weights, y, output);
    }
    template <class T, class Output>
    void weight_gradients(matrix_view<T const> weights, matrix_view<T const> dy, matrix_view<T> dweights,
                          Output const& output) {
        espalier::cpu::weight_gradients(weights, dy, dweights, output);
    }
    /// d_i = weight of expert e in row i * dy of that row, for the rows of `row` (all rows in order when it is null).
    template <class T>
    void expert_gradient(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, int expert,
                         std::int32_t const* row, matrix_view<T const> dy, matrix_view<T> d) {
        for (index_t i = 0; i < d.rows; ++i) {
            index_t const r = row ? row[i] : i;
            T factor = T(0);
            for (index_t s = 0; s < weights.columns; ++s)
                if ((experts.data ? experts(r, s) : static_cast<std::int32_t>(s)) == expert) factor += weights(r, s);
            T const* const from = dy.row(r);
            T* const to = d.row(i);
            for (index_t c = 0; c < d.columns; ++c)
                to[c] = factor * from[c];
        }
    }
    /// to_i = from_row[i]
    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        for (index_t i = 0; i < to.rows; ++i)
            std::memcpy(to.row(i), from.row(row[i]), static_cast<std::size_t>(to.columns) * sizeof(T));
    }
    /// to_row[i] += from_i
    template <class T> void scatter_add(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        for (index_t i = 0; i < from.rows; ++i)
            espalier::cpu::detail::add_scaled(to.row(row[i]), from.row(i), T(1), from.columns);
    }

    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        for (index_t r = 0; r < from.rows; ++r)
            std::memcpy(to.row(r), from.row(r), static_cast<std::size_t>(from.columns) * sizeof(T));
    }
    /// `copies` times the n elements of `from`, one after the other.
    template <class U> void repeat(U const* from, index_t n, int copies, U* to) {
        for (int copy = 0; copy < copies && n > 0; ++copy)
            std::memcpy(to + copy * n, from, static_cast<std::size_t>(n) * sizeof(U));
    }
    /// to += from
    template <class T> void add(matrix_view<T const> from, matrix_view<T> to) {
        for (index_t r = 0; r < from.rows; ++r) {
            T const* const a = from.row(r);
            T* const b = to.row(r);
            for (index_t c = 0; c < from.columns; ++c)
                b[c] += a[c];
        }
    }
    /// sums[c] = sum of column c
    template <class T> void column_sums(matrix_view<T const> m, T* sums) {
        for (index_t c = 0; c < m.columns; ++c)
            sums[c] = T(0);
        for (index_t r = 0; r < m.rows; ++r) {
            T const* const row = m.row(r);
            for (index_t c = 0; c < m.columns; ++c)
                sums[c] += row[c];
        }
    }

private:
    /// Below this many multiplications waking a thread costs more than it brings.
    static constexpr index_t worth_cutting = index_t{1} << 20;

    template <class Chosen> static constexpr bool cuts() {
        if constexpr (requires { product_for<Chosen>::cuts_freely; })
            return product_for<Chosen>::cuts_freely;
        else
            return false;
    }

    /// Calls body(first, count, scratch) for parts of `n` rows of a result, on the team's threads when it pays.
    template <class Chosen, class Body> void for_parts(index_t n, index_t work_of_row, Body const& body) {
        if (n == 0) return;
        int const parts = team_.size();
        if (!cuts<Chosen>() || parts == 1 || n * work_of_row < worth_cutting) {
            body(0, n, scratch);
            return;
        }
        std::size_t const share = scratch.size / static_cast<std::size_t>(parts) / 64 * 64;
        team_.run([&](int part) {
            index_t const first = n * part / parts;
            index_t const count = n * (part + 1) / parts - first;
            if (count > 0) body(first, count, {scratch.data + static_cast<std::size_t>(part) * share, share});
        });
    }

    espalier::cpu::thread_team team_{1};
};

/// The CPU with the default products.
using cpu = basic_cpu<>;

} // namespace espalier::device
