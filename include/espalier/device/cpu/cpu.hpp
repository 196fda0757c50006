// SPDX-License-Identifier: Apache-2.0
// host only. The CPU as a device: what layers, losses and updates ask a device to do, done at once on one core.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/nested_groups.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/pass.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/device/cpu/batch_norm.hpp>
#include <espalier/device/cpu/buffer.hpp>
#include <espalier/device/cpu/dispatch.hpp>
#include <espalier/device/cpu/embedding.hpp>
#include <espalier/device/cpu/epilogue.hpp>
#include <espalier/device/cpu/routing.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/device/cpu/row_map.hpp>
#include <espalier/device/cpu/scale_columns.hpp>
#include <espalier/device/cpu/thread_team.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/product/concept.hpp>
#include <espalier/product/direct.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
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
    static_assert(diagnostic::holds<(product_policy<Product, float> || product_policy<Product, double>),
                                    diagnostic::given_type<Product>>,
                  "espalier: the argument of device::basic_cpu is a product: product::direct, eigen, onednn or one of "
                  "yours with their functions (product/concept.hpp); the next line names what was given");

public:
    static constexpr std::string_view name = "cpu";
    /// The program may read and write the device's memory.
    static constexpr bool host_memory = true;
    using product = Product;
    template <class T> using buffer = espalier::cpu::buffer<T>;

    scratch_view scratch; ///< for every thread an equal part

    basic_cpu() = default;
    explicit basic_cpu(int threads)
        : team_(threads), worth_cutting_(multiplications_worth_cutting(threads, team_.wake_time())) {}
    /// Cuts products of so many multiplications and more, and measures nothing.
    basic_cpu(int threads, index_t worth_cutting) : team_(threads), worth_cutting_(worth_cutting) {}

    int threads() const { return team_.size(); }
    /// Multiplications from which on a product is cut: fewer take one thread less time than half of them and waking the
    /// others would. Measured when the device is made.
    index_t worth_cutting() const { return worth_cutting_; }

    /// Where the verbs since `forget_spoiled` first met a number that is not finite, whose traces a later one may have
    /// hidden: a relu, a dropout, a gate.
    spoiled_place const& spoiled() const { return spoiled_; }
    void forget_spoiled() {
        spoiled_ = {};
        seen_count_ = 0;
    }
    /// The random stream of the layer whose verbs follow: it says which layer that is.
    void watch_layer(std::uint32_t stream) { stream_ = stream; }
    /// Looks at rows that no verb looks at: the first x.rows rows of each of so many blocks, `apart` rows from one to
    /// the next.
    template <class T>
    void watch_rows(step_place place, matrix_view<T const> x, index_t blocks = 1, index_t apart = 0) {
        bool finite = true;
        for (index_t b = 0; b < blocks; ++b)
            for (index_t r = 0; r < x.rows; ++r)
                finite = espalier::cpu::all_finite(x.row(b * apart + r), x.columns) && finite;
        note(finite, place);
    }
    /// Whether all of n numbers are finite. Those that a product since `forget_spoiled` has found to be are not read.
    template <class T> bool all_finite(T const* p, index_t n) {
        std::sort(seen_, seen_ + seen_count_,
                  [](auto const& a, auto const& b) { return std::less<>()(a.first, b.first); });
        T const* const end = p + n;
        for (int i = 0; i < seen_count_; ++i) {
            auto const* const first = static_cast<T const*>(seen_[i].first);
            auto const* const last = static_cast<T const*>(seen_[i].last);
            if (std::less<>()(first, p) || std::less<>()(end, last)) continue;
            if (!espalier::cpu::all_finite(p, first - p)) return false;
            p = last;
        }
        return espalier::cpu::all_finite(p, end - p);
    }

    /// A pass (core/pass.hpp), with one lane; by its own loop for the CPU where it has one.
    template <class Pass> void run(Pass const& pass) {
        if constexpr (requires { pass.on_cpu(); })
            pass.on_cpu();
        else if constexpr (group_pass<Pass>)
            pass(serial_group{}, live_groups{}, 0);
        else
            pass(serial_group{});
    }

    template <class Chosen> using product_for = std::conditional_t<std::is_void_v<Chosen>, Product, Chosen>;

    template <class T, class Chosen>
    static std::size_t product_scratch(index_t batch_rows, index_t inner, index_t columns) {
        return product_for<Chosen>::template scratch<T>(batch_rows, inner, columns);
    }
    template <class Chosen, class T>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z) {
        for_rows<Chosen>(x, z, [&](matrix_view<T const> in, matrix_view<T> out, scratch_view space) {
            product_for<Chosen>::template forward<T>(in, w, bias, out, space);
        });
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        for_rows<Chosen>(dz, dx, [&](matrix_view<T const> in, matrix_view<T> out, scratch_view space) {
            product_for<Chosen>::template input_gradient<T>(in, w, out, space);
        });
    }
    /// z += x W, dx += dz W^T
    template <class Chosen, class T>
    void add_product_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z) {
        if constexpr (check_adds<Chosen, T>())
            for_rows<Chosen>(x, z, [&](matrix_view<T const> in, matrix_view<T> out, scratch_view space) {
                product_for<Chosen>::template add_forward<T>(in, w, out, space);
            });
    }
    template <class Chosen, class T>
    void add_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        if constexpr (check_adds<Chosen, T>())
            for_rows<Chosen>(dz, dx, [&](matrix_view<T const> in, matrix_view<T> out, scratch_view space) {
                product_for<Chosen>::template add_input_gradient<T>(in, w, out, space);
            });
    }
    template <class Chosen, class T>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw) {
        // A product that looks at its result spares a look at it later.
        constexpr bool says =
            std::is_same_v<decltype(product_for<Chosen>::template weight_gradient<T>(x, dz, dw, scratch)), bool>;
        std::atomic<bool> finite = says;
        for_parts<Chosen>(dw.rows, x.rows * dw.columns, [&](index_t first, index_t count, scratch_view space) {
            auto const part = [&] {
                return product_for<Chosen>::template weight_gradient<T>(x.middle_columns(first, count), dz,
                                                                        dw.middle_rows(first, count), space);
            };
            if constexpr (says) {
                if (!part()) finite.store(false, std::memory_order_relaxed);
            } else {
                part();
            }
        });
        if (finite) seen_finite(dw);
    }

    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<T> statistics) {
        note(espalier::cpu::epilogue_forward(op, z, y, site, batch, statistics), step_place::activation);
    }
    template <class Op, class T>
    void epilogue_backward(Op const& op, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                           T* bias_gradient, random_site const& site, rows const& batch,
                           epilogue_statistics<T> statistics) {
        note(espalier::cpu::epilogue_backward(op, z, dy, dz, bias_gradient, site, batch, statistics),
             step_place::activation_back);
    }

    /// A row-wise activation over y, in place; and its gradient over dy, in place.
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        watch_rows(step_place::activation, matrix_view<T const>(y));
        espalier::cpu::row_forward<T, static_cast<int>(Width), Activation>(matrix_view<T const>(y), y);
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        watch_rows(step_place::activation_back, matrix_view<T const>(dy));
        espalier::cpu::row_backward<T, static_cast<int>(Width), Activation>(y, dy);
    }

    template <class T, class Optimizer, class Rule>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<T> segment, double const* squared_norm) {
        if (squared_norm) segment.global_norm = std::sqrt(*squared_norm);
        note(espalier::cpu::update(optimizer, rule, segment), step_place::update);
    }

    /// value = the term of a penalty over groups.
    template <class Op, class T> void group_value(Op const& op, T const* squared_norms, index_t groups, double* value) {
        *value = 0.0;
        for (index_t g = 0; g < groups; ++g)
            *value += static_cast<double>(op.group_value(squared_norms[g]));
    }

    /// Norms and pulls of nested groups, from the squared norms of what each of them has more than the next one.
    template <class Op, class T>
    void nested_groups(Op const& op, T const* squared_norms, index_t groups, T* tails, T* pulls) {
        espalier::nested_groups(serial_group{}, op, squared_norms, groups, tails, pulls);
    }

    /// The step block needs no mirror here.
    void declare_step(void const*, std::size_t) {}
    void forget_step(void const*) {}
    void upload_step(std::uint32_t) {}
    /// Copies results to the host, after everything before it is done.
    void read(double const* from, double* to, index_t n) {
        std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(double));
    }
    template <class T> void zero(T* p, index_t n) {
        if (n > 0) std::memset(static_cast<void*>(p), 0, static_cast<std::size_t>(n) * sizeof(T));
    }
    /// All rows of a view.
    template <class T> void clear(matrix_view<T> rows_of) {
        if (rows_of.stride == rows_of.columns) return zero(rows_of.data, rows_of.rows * rows_of.columns);
        for (index_t r = 0; r < rows_of.rows; ++r)
            zero(rows_of.row(r), rows_of.columns);
    }

    /// The mean loss of the rows of z to `value`; its gradient and the samples' new state where those have memory.
    template <int N, class Loss, class T>
    void loss(Loss const& given, matrix_view<T const> z, rows const& batch, matrix_view<T const> targets,
              matrix_view<T> gradient, matrix_view<T> state, double* value) {
        espalier::cpu::loss_buffers<T> buffers;
        buffers.dense_targets = targets;
        buffers.gradient = gradient;
        buffers.state = state;
        auto const result = espalier::cpu::row_loss<T, N>(given, z, batch, buffers);
        *value = result.value;
        stream_ = spoiled_place::no_stream;
        note(result.finite_logits, step_place::outputs);
        note(result.finite_gradient, step_place::loss_back);
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
        note(espalier::cpu::column_moments(x, mean, variance), step_place::statistics);
        *counted = x.rows;
    }
    template <class T>
    void running_moments(T const* mean, T const* variance, index_t columns, index_t const* row_count, double momentum,
                         T* running, tape_copies copies = {}) {
        espalier::cpu::running_moments(mean, variance, columns, *row_count, momentum, running, copies);
    }

    // ---- mixtures of experts

    /// Weights and experts of all rows; the gate's own term, the mean over the rows, where the run asks for it.
    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts,
               gate_run const& run) {
        note(espalier::cpu::route<T, gate_shape_of<Gate>>(op, logits, weights, experts, run), step_place::gate);
    }
    template <class Gate, class T, class Op>
    void route_backward(Op const& op, matrix_view<T const> logits, matrix_view<T const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<T const> dweights, matrix_view<T> dlogits,
                        gate_run const& run) {
        note(
            espalier::cpu::route_backward<T, gate_shape_of<Gate>>(op, logits, weights, experts, dweights, dlogits, run),
            step_place::gate_back);
    }
    /// Weight 1 and the expert that a keyed gate names for every row. Throws data_error for a row without one.
    template <class Gate, class T, class Op>
    void look_up(Op const& op, rows const& batch, matrix_view<T const> x, T const* table, matrix_view<T> weights,
                 matrix_view<std::int32_t> experts) {
        espalier::cpu::look_up<Gate>(op, batch, x, table, weights, experts);
    }
    /// Every row of `to` is the vector `from`.
    template <class T> void repeat_rows(T const* from, matrix_view<T> to) {
        for (index_t r = 0; r < to.rows; ++r)
            std::memcpy(to.row(r), from, static_cast<std::size_t>(to.columns) * sizeof(T));
    }

    /// Slot s of every row belongs to expert s.
    void number_slots(matrix_view<std::int32_t> experts) {
        for (index_t r = 0; r < experts.rows; ++r)
            for (index_t s = 0; s < experts.columns; ++s)
                experts(r, s) = static_cast<std::int32_t>(s);
    }
    /// The doubly stochastic matrix of a search's scores, and its term; the gradient of the scores; and the permutation
    /// nearest to it as a matrix of zeros and ones (gate/local_search.hpp).
    template <class Op, class T>
    void soft_permutation(Op const& op, int n, T const* scores, random_site const& site, double* noisy,
                          double* potentials, double* soft, T* permutation, double* term) {
        note(espalier::cpu::all_finite(scores, index_t{n} * n), step_place::gate);
        espalier::cpu::soft_permutation(op, n, scores, site, noisy, potentials, soft, permutation, term);
    }

    /// to_i = from_row[i]
    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        for (index_t i = 0; i < to.rows; ++i)
            std::memcpy(to.row(i), from.row(row[i]), static_cast<std::size_t>(to.columns) * sizeof(T));
    }
    /// to[i] = from[row[i]]
    template <class From, class U> void gather_values(From const& from, std::int32_t const* row, index_t n, U* to) {
        for (index_t i = 0; i < n; ++i)
            to[i] = from[row[i]];
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
            espalier::cpu::detail::write_row(b, from.columns,
                                             [&](index_t c, auto const& load) { return load(b + c) + load(a + c); });
        }
    }
    /// sums[c] = sum of column c
    template <class T> void column_sums(matrix_view<T const> m, T* sums) {
        for (index_t c = 0; c < m.columns; ++c)
            sums[c] = T(0);
        for (index_t r = 0; r < m.rows; ++r) {
            T const* const row = m.row(r);
            espalier::cpu::detail::write_row(
                sums, m.columns, [&](index_t c, auto const& load) { return load(sums + c) + load(row + c); });
        }
    }

    // ---- verbs that are a loop with the same arguments

#define ESPALIER_VERB_own(name)
#define ESPALIER_VERB_loop(name)                                                                                       \
    template <class... Arguments> void name(Arguments const&... arguments) {                                           \
        espalier::cpu::name(arguments...);                                                                             \
    }
#define VERB(name, needed, cpu, body, live, ...) ESPALIER_VERB_##cpu(name)
#include <espalier/device/verbs.inc>
#undef ESPALIER_VERB_own
#undef ESPALIER_VERB_loop

private:
    template <class Chosen, class T> static consteval bool check_adds() {
        static_assert(
            diagnostic::holds<adding_product<product_for<Chosen>, T>, diagnostic::given_type<product_for<Chosen>>>,
            "espalier: the product of a layer with weight::low_rank_adapter must add to what is there; the next "
            "line names the product; give it `add_forward` and `add_input_gradient` (product/concept.hpp), or "
            "take product::direct");
        return adding_product<product_for<Chosen>, T>;
    }

    /// A matrix that a product has found finite.
    struct seen_range {
        void const* first;
        void const* last;
    };
    static constexpr int most_seen = 256;

    template <class T> void seen_finite(matrix_view<T> m) {
        if (m.stride == m.columns && seen_count_ < most_seen)
            seen_[seen_count_++] = {m.data, m.data + m.rows * m.columns};
    }
    void note(bool finite, step_place place) {
        if (!finite && spoiled_.place == step_place::nowhere) spoiled_ = {place, stream_};
    }

    /// What one thread multiplies at best, two packs of floats in each of 5e9 cycles a second, in twice the time
    /// that waking takes, and in no less than 60 us: parts of a smaller product gain nothing however fast threads wake,
    /// for each of them arranges the right operand for itself and reads what another core has written.
    static index_t multiplications_worth_cutting(int threads, double wake_time) {
        double const seconds = threads == 1 ? 0.0 : std::max(60e-6, 2.0 * wake_time);
        return static_cast<index_t>(seconds * 5e9 * 2.0 * pack_width<native_pack<float>>);
    }

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
        if (!cuts<Chosen>() || parts == 1 || n * work_of_row < worth_cutting_) {
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

    /// The same of a product whose rows go from those of `in` to those of `out`: body(rows of in, rows of out,
    /// scratch).
    template <class Chosen, class T, class Body>
    void for_rows(matrix_view<T const> in, matrix_view<T> out, Body const& body) {
        for_parts<Chosen>(out.rows, in.columns * out.columns, [&](index_t first, index_t count, scratch_view space) {
            body(in.middle_rows(first, count), out.middle_rows(first, count), space);
        });
    }

    espalier::cpu::thread_team team_{1};
    index_t worth_cutting_ = 0;
    spoiled_place spoiled_;
    seen_range seen_[most_seen];
    int seen_count_ = 0;
    std::uint32_t stream_ = spoiled_place::no_stream;
};

/// The CPU with the default products.
using cpu = basic_cpu<>;

} // namespace espalier::device
