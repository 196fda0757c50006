// SPDX-License-Identifier: Apache-2.0
// A GPU as a device: what layers, losses and updates ask a device to do, put on one stream. Include it from .cu files.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/bfloat16.hpp>
#include <espalier/device/cuda/buffer.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/device/cuda/launch.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/embedding.hpp>
#include <espalier/product/cublaslt.hpp>
#include <espalier/product/tiles.hpp>

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier::device {

/// A GPU and a stream on it. The verbs are those of basic_cpu: same names, same arguments, every pointer a device
/// pointer; `rows` too holds device pointers. No verb waits for the device and none allocates device memory; the
/// members that do say so. Everything a verb needs for a short time comes from `scratch`, device memory that the owner
/// provides (product_scratch says how much) and that one stream's verbs share.
///
/// Numbers. An op is passed by reference. When it lies in the step block (the host memory named by `use_step_block`),
/// the kernel reads it at the same place of the block's mirror in device memory, and `upload_step` renews that mirror
/// without waiting: a captured graph that is replayed sees the new numbers. An op that lies elsewhere travels with the
/// launch and would be frozen in a graph. The step of the random bits comes from the mirror too once there is one. What
/// stays frozen in a graph whatever is done: views, `rows`, the rates and pointers of an update_segment, pass numbers.
///
/// Errors that only the device sees stand in an error word; updates and losses do nothing once it is set, and
/// `throw_on_error` (which waits) tells the host.
template <class Product = product::cublaslt> class basic_cuda {
public:
    static constexpr std::string_view name = "cuda";
    /// The program reads and writes the device's memory through copies only.
    static constexpr bool host_memory = false;
    using product = Product;
    template <class T> using buffer = espalier::cuda::buffer<T>;

    scratch_view scratch;

    /// Parts of the scratch that are in use at once.
    static constexpr int threads() { return 1; }

    /// On the current GPU, with a stream of its own.
    basic_cuda() {
        espalier::cuda::check(cudaStreamCreate(&own_.stream), "cudaStreamCreate");
        target_.stream = own_.stream;
        set_up();
    }
    /// On a stream of the caller's, which must outlive this object.
    explicit basic_cuda(cudaStream_t stream) {
        target_.stream = stream;
        set_up();
    }
    basic_cuda(basic_cuda const&) = delete;
    basic_cuda& operator=(basic_cuda const&) = delete;

    cudaStream_t stream() const { return target_.stream; }
    /// Most blocks of one launch; it changes no result. For tests and tuning.
    void set_most_blocks(index_t blocks) { target_.most_blocks = blocks; }
    /// Waits for everything that was put on the stream.
    void wait() { espalier::cuda::check(cudaStreamSynchronize(target_.stream), "cudaStreamSynchronize"); }

    // ---- the step block

    /// Declares `bytes` of host memory at `host` as the step block. Allocates the mirror, waits; not for steps.
    void use_step_block(void const* host, std::size_t bytes) {
        // Same place within 256 bytes, so that everything in the mirror is aligned as in the original.
        lead_ = 256 + reinterpret_cast<std::uintptr_t>(host) % 256;
        mirror_ = buffer<unsigned char>(static_cast<index_t>(lead_ + bytes));
        host_ = static_cast<unsigned char const*>(host);
        host_bytes_ = bytes;
    }
    /// Copies the step block and the step to the mirror, in the order of the stream. The host may change the block as
    /// soon as this returns. Not part of a captured graph: it comes before each replay.
    void upload_step(std::uint32_t step) {
        if (!host_) return;
        send(&step, sizeof step, 0);
        send(host_, host_bytes_, lead_);
    }

    // ---- errors

    espalier::kernels::error_word* error() { return errors_.data(); }
    /// From now on verbs report numbers that are not finite, or do not: those of a prediction are the caller's to
    /// judge.
    void watch_numbers(bool on) { target_.error = on ? errors_.data() : nullptr; }
    /// Reports what is not finite among n gradients, while numbers are watched.
    template <class T> void watch_gradients(T const* p, index_t n) {
        espalier::cuda::launch_find_not_finite(target_, p, n, espalier::kernels::gradient_not_finite);
    }
    /// Reports what is not finite in rows that a layer passes on in part, while numbers are watched: in the first
    /// x.rows rows of each of so many blocks, `apart` rows from one to the next.
    template <class T> void watch_rows(step_place, matrix_view<T const> x, index_t blocks = 1, index_t apart = 0) {
        espalier::cuda::launch_find_rows_not_finite(target_, x, blocks, apart, espalier::kernels::rows_not_finite);
    }
    /// Waits; throws data_error or numerical_error when a kernel has reported something since the last call.
    void throw_on_error() {
        espalier::kernels::error_word seen;
        wait();
        errors_.copy_to_host(&seen, 1);
        if (seen.clear()) return;
        espalier::kernels::error_word const none{};
        errors_.copy_from_host(&none, 1);
        std::string const where = " in row " + std::to_string(seen.row) + "; no weights or state were changed since";
        using namespace espalier::kernels;
        if (seen.bits & label_out_of_range) throw data_error("a label is out of range" + where);
        if (seen.bits & mixing_out_of_range) throw data_error("a mixing share is not in [0, 1]" + where);
        if (seen.bits & sample_out_of_range) throw data_error("a sample id is out of range" + where);
        if (seen.bits & expert_out_of_range)
            throw data_error(
                "a gate that looks its rows up finds no expert for one: what it looks at is missing or out "
                "of range" +
                where);
        if (seen.bits & id_out_of_range)
            throw data_error("an embedding finds an id that is not a whole number, or not below the size of its column "
                             "in the vocabulary," +
                             where);
        if (seen.bits & loss_not_finite)
            throw numerical_error("the loss, what goes into it or its gradient is not finite" + where);
        if (seen.bits & activation_not_finite)
            throw numerical_error("what goes into an activation, or the gradient that comes back to it, is not finite" +
                                  where);
        if (seen.bits & rows_not_finite)
            throw numerical_error("what goes into a slice, or what an expert gives, is not finite" + where);
        if (seen.bits & gate_not_finite)
            throw numerical_error("the logits of a gate or the gradient of its weights are not finite" + where);
        std::string const place = std::to_string(seen.row);
        std::string const unchanged = "; no weights or state were changed since";
        if (seen.bits & moments_not_finite)
            throw numerical_error("the mean or the variance of a batch is not finite in column " + place + unchanged);
        if (seen.bits & gradient_not_finite)
            throw numerical_error("a gradient is not finite, at number " + place + " of all parameters or behind it" +
                                  unchanged);
        if (seen.bits & norm_not_finite) throw numerical_error("the norm of the gradients overflows" + unchanged);
        throw numerical_error("a weight or a moment is not finite: an update overflowed, and the weights are not those "
                              "before its step");
    }

    // ---- products

    template <class Chosen> using product_for = std::conditional_t<std::is_void_v<Chosen>, Product, Chosen>;

    /// Bytes of scratch that any verb needs for batches of at most `batch_rows` rows and a layer of inner x columns
    /// weights with up to `most_sets` penalties.
    template <class T, class Chosen>
    static std::size_t product_scratch(index_t batch_rows, index_t inner, index_t columns) {
        using W = master_of<T>;
        namespace k = espalier::kernels;
        auto const octets = static_cast<std::size_t>(k::octets_of(columns));
        auto const bytes = [](std::size_t count, std::size_t each) { return piece(count * each); };
        auto const part = [&](index_t line_count, std::size_t sets) {
            return sets * strip_scratch<W>(k::strips_at_most(line_count), columns);
        };
        std::size_t most = product_for<Chosen>::template scratch<T>(batch_rows, inner, columns) +
                           bytes(static_cast<std::size_t>(columns), sizeof(T));
        auto const need = [&](std::size_t n) { most = n > most ? n : most; };
        need(part(batch_rows, most_sets));
        need(part(inner, most_sets) + bytes(static_cast<std::size_t>(inner) * octets, sizeof(W)));
        need(bytes(most_sets * static_cast<std::size_t>(k::update_chunks(inner * columns)), sizeof(double)));
        need(loss_scratch(batch_rows));
        return most;
    }
    /// The same for the verbs on live rows.
    template <class T>
    static std::size_t live_scratch(live_groups const& live, index_t batch_rows, index_t inner, index_t columns) {
        namespace k = espalier::kernels;
        std::size_t const of_rows =
            most_sets * strip_scratch<master_of<T>>(k::most_strips_of(live, batch_rows), columns);
        std::size_t const of_update =
            piece(static_cast<std::size_t>(live.groups) * most_sets *
                  static_cast<std::size_t>(k::update_chunks(inner * columns)) * sizeof(double));
        return of_rows > of_update ? of_rows : of_update;
    }
    /// Bytes of scratch that the loss of so many rows needs.
    static std::size_t loss_scratch(index_t batch_rows) {
        return piece(static_cast<std::size_t>(batch_rows) * sizeof(double));
    }
    static constexpr std::size_t most_sets = 8;

    template <class Chosen, class T>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias, matrix_view<T> z) {
        using P = product_for<Chosen>;
        if (z.rows == 0) return;
        scratch_cursor space(scratch);
        if (!bias) {
            P::template forward<T>(plans_, x, w, nullptr, z, false, space.rest(), target_.stream);
        } else if constexpr (!P::template adds_bias<T>) {
            espalier::cuda::launch_combine<false>(target_, matrix_view<master_of<T> const>{bias, z.rows, z.columns, 0},
                                                  z);
            P::template forward<T>(plans_, x, w, nullptr, z, true, space.rest(), target_.stream);
        } else if constexpr (std::is_same_v<T, master_of<T>>) {
            P::template forward<T>(plans_, x, w, bias, z, false, space.rest(), target_.stream);
        } else {
            // The library adds a bias of the result's type only.
            T* const narrow = space.template take<T>(z.columns);
            espalier::cuda::launch_combine<false>(target_,
                                                  matrix_view<master_of<T> const>{bias, 1, z.columns, z.columns},
                                                  matrix_view<T>{narrow, 1, z.columns, z.columns});
            P::template forward<T>(plans_, x, w, narrow, z, false, space.rest(), target_.stream);
        }
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        if (dx.rows > 0) product_for<Chosen>::template input_gradient<T>(plans_, dz, w, dx, scratch, target_.stream);
    }
    template <class Chosen, class T>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw) {
        product_for<Chosen>::template weight_gradient<T>(plans_, x, dz, dw, scratch, target_.stream);
    }

    // ---- rows that the device counts (device/live_rows.hpp)

    /// Runs the verbs that body calls on the rows, and with the tensors, of the groups.
    template <class Body> void on_live_rows(live_groups const& live, Body const& body) {
        struct restore {
            espalier::cuda::launch_target& target;
            ~restore() { target.live = {}; }
        } const after{target_};
        target_.live = live;
        body();
    }
    template <class T>
    void live_product_forward(matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias,
                              matrix_view<T> z, live_groups const& live) {
        espalier::product::tiles::template forward<T>(plans_, x, w, bias, z, false, {}, target_.stream, live);
    }
    template <class T>
    void live_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                     live_groups const& live) {
        espalier::product::tiles::template input_gradient<T>(plans_, dz, w, dx, {}, target_.stream, live);
    }
    template <class T>
    void live_product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw,
                                      live_groups const& live) {
        espalier::product::tiles::template weight_gradient<T>(plans_, x, dz, dw, {}, target_.stream, live);
    }

    // ---- the same for groups with as many rows each, which the host knows, in one call of a product that can do that

    template <class Chosen>
    static constexpr bool repeats_products = requires(espalier::product::product_batch const& batch, scratch_view space,
                                                      espalier::cuda::cublaslt_plans& plans, matrix_view<float> m) {
        product_for<Chosen>::template input_gradient<float>(plans, m, m, m, space, nullptr, batch);
    };
    template <class Chosen, class T>
    requires(repeats_products<Chosen>&& product_for<Chosen>::template adds_bias<T>) void group_product_forward(
        matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias, matrix_view<T> z,
        live_groups const& live) {
        using P = product_for<Chosen>;
        if (z.rows == 0) return;
        espalier::product::product_batch batch{live.groups, live.apart * x.stride, live.parameters,
                                               live.apart * z.stride, live.parameters};
        scratch_cursor space(scratch);
        if constexpr (std::is_same_v<T, master_of<T>>) {
            P::template forward<T>(plans_, x, w, bias, z, false, space.rest(), target_.stream, batch);
        } else if (!bias) {
            P::template forward<T>(plans_, x, w, nullptr, z, false, space.rest(), target_.stream, batch);
        } else {
            // The biases of all groups in the result's type, one behind the other.
            T* const narrow = space.template take<T>(live.groups * z.columns);
            espalier::cuda::launch_combine<false>(
                target_, matrix_view<master_of<T> const>{bias, live.groups, z.columns, live.parameters},
                matrix_view<T>{narrow, live.groups, z.columns, z.columns});
            batch.bias = z.columns;
            P::template forward<T>(plans_, x, w, narrow, z, false, space.rest(), target_.stream, batch);
        }
    }
    template <class Chosen, class T>
    requires(repeats_products<Chosen>) void group_product_input_gradient(matrix_view<T const> dz,
                                                                         matrix_view<T const> w, matrix_view<T> dx,
                                                                         live_groups const& live) {
        if (dx.rows > 0)
            product_for<Chosen>::template input_gradient<T>(
                plans_, dz, w, dx, scratch, target_.stream,
                {live.groups, live.apart * dz.stride, live.parameters, live.apart * dx.stride, 0});
    }
    template <class Chosen, class T>
    requires(repeats_products<Chosen>) void group_product_weight_gradient(matrix_view<T const> x,
                                                                          matrix_view<T const> dz,
                                                                          matrix_view<master_of<T>> dw,
                                                                          live_groups const& live) {
        product_for<Chosen>::template weight_gradient<T>(
            plans_, x, dz, dw, scratch, target_.stream,
            {live.groups, live.apart * x.stride, live.apart * dz.stride, live.parameters, 0});
    }

    // ---- passes

    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<master_of<T>> statistics) {
        if constexpr (Op::has_penalties) {
            index_t const strips = espalier::kernels::most_strips_of(target_.live, z.rows),
                          octets = espalier::kernels::octets_of(z.columns);
            scratch_cursor space(scratch);
            espalier::kernels::epilogue_scratch<master_of<T>> parts;
            parts.elements = space.template take<double>(Op::penalty_count * strips * octets);
            parts.columns =
                space.template take<master_of<T>>(Op::column_penalties * strips * octets * espalier::kernels::octet);
            espalier::cuda::launch_epilogue_forward(target_, locate(op), z, y, locate(site), batch, statistics, parts);
        } else {
            espalier::cuda::launch_epilogue_forward(target_, locate(op), z, y, locate(site), batch);
        }
    }
    template <class Op, class T>
    void epilogue_backward(Op const& op, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                           master_of<T>* bias_gradient, random_site const& site, rows const& batch,
                           epilogue_statistics<master_of<T>> statistics) {
        scratch_cursor space(scratch);
        master_of<T>* const partial =
            bias_gradient ? space.template take<master_of<T>>(live_partials(z.rows, z.columns)) : nullptr;
        espalier::cuda::launch_epilogue_backward(target_, locate(op), z, dy, dz, locate(site), batch, statistics,
                                                 bias_gradient, partial);
    }

    /// A row-wise activation over y, in place; and its gradient over dy, in place.
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        espalier::cuda::launch_row_forward<static_cast<int>(Width)>(target_, locate(Activation{}), y);
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        espalier::cuda::launch_row_backward<static_cast<int>(Width)>(target_, locate(Activation{}), y, dy);
    }

    /// `squared_norm`, when given, is device memory with the sum of squares of all gradients (sum_of_squares_to); it
    /// takes the place of the segment's global_norm, for which the host would have to wait.
    template <class Wide, class Narrow, class Optimizer, class Rule>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<Wide, Narrow> const& segment,
                double const* squared_norm = nullptr) {
        namespace k = espalier::kernels;
        k::update_context const context{squared_norm, step_word(), errors_.data()};
        scratch_cursor space(scratch);
        if constexpr (Rule::grouped) {
            index_t const strips = k::strips_of(segment.rows).count, octets = k::octets_of(segment.columns);
            k::group_scratch<Wide> parts;
            parts.columns = space.template take<Wide>(strips * octets * k::octet);
            parts.rows = space.template take<Wide>(segment.rows * octets);
            parts.values = space.template take<double>(Rule::penalty_count * strips * octets);
            espalier::cuda::launch_update_grouped(target_, locate(optimizer), locate(rule), segment, context, parts);
        } else {
            double* partial = nullptr;
            if (segment.values && Rule::penalty_count > 0)
                partial = space.template take<double>(target_.live.groups * Rule::penalty_count *
                                                      k::update_chunks(segment.rows * segment.columns));
            espalier::cuda::launch_update(target_, locate(optimizer), locate(rule), segment, context, partial);
        }
    }
    /// value (device memory) = the term of a penalty over groups.
    template <class Op, class W> void group_value(Op const& op, W const* squared_norms, index_t groups, double* value) {
        espalier::cuda::launch_group_value(target_, locate(op), squared_norms, groups, value, errors_.data());
    }
    /// result (device memory) = sum of squares.
    template <class T> void sum_of_squares_to(T const* p, index_t n, double* result) {
        scratch_cursor space(scratch);
        espalier::cuda::launch_sum_of_squares(target_, p, n, result, false,
                                              space.template take<double>(espalier::kernels::norm_chunks(n)));
        espalier::cuda::launch_find_not_finite(target_, static_cast<double const*>(result), 1,
                                               espalier::kernels::norm_not_finite);
    }
    template <class T> void zero(T* p, index_t n) {
        if (n > 0)
            espalier::cuda::check(cudaMemsetAsync(p, 0, static_cast<std::size_t>(n) * sizeof(T), target_.stream),
                                  "zero");
    }
    /// All rows of a view.
    template <class T> void clear(matrix_view<T> rows_of) {
        if (rows_of.rows == 0 || rows_of.columns == 0) return;
        if (target_.live) return espalier::cuda::launch_clear(target_, rows_of);
        espalier::cuda::check(cudaMemset2DAsync(rows_of.data, static_cast<std::size_t>(rows_of.stride) * sizeof(T), 0,
                                                static_cast<std::size_t>(rows_of.columns) * sizeof(T),
                                                static_cast<std::size_t>(rows_of.rows), target_.stream),
                              "clear");
    }
    /// Copies results to the host. Waits, and throws what kernels have reported: not for steps.
    void read(double const* from, double* to, index_t n) {
        throw_on_error();
        espalier::cuda::check(
            cudaMemcpy(to, from, static_cast<std::size_t>(n) * sizeof(double), cudaMemcpyDeviceToHost), "read");
    }
    /// Copies n elements to the host after everything before is done. Waits: not for steps.
    template <class T> void copy_to_host(T const* from, T* to, index_t n) {
        wait();
        espalier::cuda::check(cudaMemcpy(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDeviceToHost),
                              "copy to the host");
    }
    /// basic_cpu's name for use_step_block.
    void declare_step(void const* host, std::size_t bytes) { use_step_block(host, bytes); }

    /// The mean loss of the rows of z to `value` (device memory); its gradient and the samples' new state where those
    /// have memory.
    template <int N, class Loss, class T>
    void loss(Loss const& given, matrix_view<T const> z, rows const& batch, matrix_view<master_of<T> const> targets,
              matrix_view<T> gradient, matrix_view<master_of<T>> state, double* value) {
        espalier::kernels::row_loss_arguments<T> arguments;
        arguments.z = z;
        arguments.batch = batch;
        arguments.dense_targets = targets;
        arguments.gradient = gradient;
        arguments.state = state;
        row_loss<N>(given, arguments, loss_.data());
        static_assert(offsetof(espalier::kernels::row_loss_result, value) == 0);
        espalier::cuda::check(
            cudaMemcpyAsync(value, loss_.data(), sizeof(double), cudaMemcpyDeviceToDevice, target_.stream), "loss");
    }

    /// Losses of the rows of arguments.z; `result` is device memory. Errors of the batch go to the error word.
    template <int N, class Loss, class T>
    void row_loss(Loss const& loss, espalier::kernels::row_loss_arguments<T> const& arguments,
                  espalier::kernels::row_loss_result* result) {
        if (loss::needs_labels<Loss> && !arguments.batch.label && arguments.batch.count > 0)
            throw data_error(std::string(Loss::name) + " needs labels, the batch has none");
        if (loss::needs_dense_target<Loss> && !arguments.dense_targets.data && arguments.batch.count > 0)
            throw data_error(std::string(Loss::name) + " needs target rows, there are none");
        if (loss::per_sample_state<Loss> && arguments.state.data && !arguments.batch.sample &&
            arguments.batch.count > 0)
            throw data_error(std::string(Loss::name) +
                             " keeps state of every sample and needs the samples' ids, the batch has none");
        if (arguments.z.columns != N || arguments.z.rows != arguments.batch.count)
            throw shape_error(std::string(Loss::name) + ": the logits are " + std::to_string(arguments.z.rows) + " x " +
                              std::to_string(arguments.z.columns) + ", needed are " +
                              std::to_string(arguments.batch.count) + " x " + std::to_string(N));
        scratch_cursor space(scratch);
        espalier::cuda::launch_row_loss<N>(target_, locate(loss), arguments, result,
                                           space.template take<double>(arguments.z.rows), errors_.data());
    }

    // ---- batch normalisation (kernels/batch_norm.hpp)

    /// Bytes of scratch that the next three verbs need, and the loss of a network without a product.
    template <class T> static std::size_t moments_scratch(index_t batch_rows, index_t columns) {
        namespace k = espalier::kernels;
        std::size_t const numbers = sizeof(master_of<T>);
        std::size_t const parts = piece(numbers * static_cast<std::size_t>(k::pair_partial_size(batch_rows, columns))) +
                                  piece(numbers * static_cast<std::size_t>(2 * k::octets_of(columns) * k::octet));
        std::size_t const loss = loss_scratch(batch_rows);
        return parts > loss ? parts : loss;
    }
    /// Means and variances (divided by the number of rows) of the columns of x, and the number of rows to `counted`.
    template <class T>
    void column_moments(matrix_view<T const> x, master_of<T>* mean, master_of<T>* variance, index_t* counted) {
        scratch_cursor space(scratch);
        espalier::cuda::launch_column_moments(
            target_, x, mean, variance, counted,
            space.template take<master_of<T>>(espalier::kernels::pair_partial_size(x.rows, x.columns)));
    }
    template <class T>
    void normalise(matrix_view<T const> x, master_of<T> const* mean, master_of<T> const* variance,
                   master_of<T> const* scale, master_of<T> const* shift, double epsilon, matrix_view<T> y) {
        espalier::cuda::launch_normalise(target_, x, mean, variance, scale, shift, epsilon, y);
    }
    template <class T>
    void normalise_backward(matrix_view<T const> x, matrix_view<T const> dy, master_of<T> const* mean,
                            master_of<T> const* variance, master_of<T> const* scale, double epsilon,
                            bool through_statistics, master_of<T>* dscale, master_of<T>* dshift, matrix_view<T> dx) {
        namespace k = espalier::kernels;
        master_of<T>* sums = nullptr;
        scratch_cursor space(scratch);
        if (through_statistics || dscale || dshift) {
            sums = space.template take<master_of<T>>(2 * k::octets_of(dy.columns) * k::octet);
            espalier::cuda::launch_normal_sums(
                target_, x, dy, mean, variance, epsilon, dscale, dshift, sums,
                space.template take<master_of<T>>(k::pair_partial_size(dy.rows, dy.columns)));
        }
        if (dx.data)
            espalier::cuda::launch_normalise_backward(target_, x, dy, mean, variance, scale, epsilon,
                                                      through_statistics ? sums : nullptr, dx);
    }
    /// The running statistics of a step without errors.
    template <class W>
    void running_moments(W const* mean, W const* variance, index_t columns, index_t const* row_count, double momentum,
                         W* running, tape_copies copies = {}) {
        espalier::cuda::launch_running_moments(target_, mean, variance, columns, row_count, momentum, running, copies,
                                               errors_.data());
    }

    // ---- mixtures of experts (kernels/row_gate.hpp, kernels/routing.hpp, kernels/pairs.hpp, kernels/dispatch.hpp)

    /// Bytes of scratch that the verbs of a gate need: `logits` columns, `statistics` numbers a row of terms over the
    /// batch.
    template <class T> static std::size_t gate_scratch(index_t batch_rows, index_t logits, index_t statistics) {
        namespace k = espalier::kernels;
        auto const numbers = [](index_t count) {
            return piece(sizeof(master_of<T>) * static_cast<std::size_t>(count));
        };
        std::size_t const forward = loss_scratch(batch_rows) + numbers(batch_rows * statistics) +
                                    numbers(k::partial_size(batch_rows, statistics));
        std::size_t const bias_gradient = numbers(k::partial_size(batch_rows, logits));
        return forward > bias_gradient ? forward : bias_gradient;
    }
    /// Weights and experts of all rows; the gate's own term, the mean over the rows, where the run asks for it.
    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<master_of<T>> weights,
               matrix_view<std::int32_t> experts, gate_run const& run) {
        using W = master_of<T>;
        constexpr index_t statistics = index_t{espalier::detail::gate_needs_of<Op>().statistics} * Gate::experts;
        scratch_cursor space(scratch);
        espalier::cuda::gate_scratch<W> parts;
        parts.term = run.term;
        if (espalier::detail::gate_has_term<Op>() && run.term) parts.terms = space.template take<double>(logits.rows);
        if (statistics > 0 && run.term) {
            parts.statistics = space.template take<W>(logits.rows * statistics);
            parts.partial = space.template take<W>(espalier::kernels::partial_size(logits.rows, statistics));
            parts.sums = run.slopes;
        }
        espalier::cuda::launch_row_gate_forward<gate_shape_of<Gate>>(target_, locate(op), logits, weights, experts,
                                                                     batch_of<Gate, Op, W>(run), step_word(), parts);
    }
    template <class Gate, class T, class Op>
    void route_backward(Op const& op, matrix_view<T const> logits, matrix_view<master_of<T> const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<master_of<T> const> dweights,
                        matrix_view<T> dlogits, gate_run const& run) {
        espalier::cuda::launch_row_gate_backward<gate_shape_of<Gate>>(
            target_, locate(op), logits, weights, experts, dweights, dlogits, batch_of<Gate, Op, master_of<T>>(run),
            step_word());
    }
    /// Weight 1 and the expert that a keyed gate names for every row. A row without one goes to the error word, and to
    /// expert 0.
    template <class Gate, class T, class Op>
    void look_up(Op const& op, rows const& batch, matrix_view<T const> x, master_of<T> const* table,
                 matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts) {
        espalier::cuda::launch_look_up<gate_shape_of<Gate>>(target_, locate(op), batch, x, table, weights, experts,
                                                            errors_.data());
    }
    /// Keeps the `count` largest weights of every column, the lower row of equal ones; the others become 0. `order` is
    /// not needed here.
    template <class W> void choose_rows(index_t count, W* order, matrix_view<W> weights) {
        static_cast<void>(order);
        espalier::cuda::launch_choose_rows(target_, count, weights);
    }
    /// Every row of `to` is the vector `from`.
    template <class W, class T> void repeat_rows(W const* from, matrix_view<T> to) {
        espalier::cuda::launch_combine<false>(target_, matrix_view<W const>{from, to.rows, to.columns, 0}, to);
    }
    /// Weights by slot as weights by expert, and their gradients back; gates with a search use them.
    template <class W>
    void spread_slots(matrix_view<W const> weights, matrix_view<std::int32_t const> experts, matrix_view<W> spread) {
        espalier::cuda::launch_spread_slots(target_, weights, experts, spread);
    }
    template <class W>
    void gather_slots(matrix_view<W const> dspread, matrix_view<W const> weights,
                      matrix_view<std::int32_t const> experts, matrix_view<W> dweights) {
        espalier::cuda::launch_gather_slots(target_, dspread, weights, experts, dweights);
    }
    /// Slot s of every row belongs to expert s.
    void number_slots(matrix_view<std::int32_t> experts) { espalier::cuda::launch_number_slots(target_, experts); }
    /// Divides every row by its sum, which goes to `sums`, and the gradient of that.
    template <class W> void divide_by_sums(matrix_view<W> weights, W* sums) {
        espalier::cuda::launch_divide_by_sums(target_, weights, sums);
    }
    template <class W>
    void divide_by_sums_backward(matrix_view<W const> weights, matrix_view<W const> dweights, W const* sums,
                                 matrix_view<W> d) {
        espalier::cuda::launch_divide_by_sums_backward(target_, weights, dweights, sums, d);
    }
    /// The soft permutation of a search and its term, the gradient of its scores, its rounding, which a step with an
    /// error leaves alone; one block each.
    template <class Op, class W>
    void soft_permutation(Op const& op, int n, W const* scores, random_site const& site, double* noisy,
                          double* potentials, double* soft, W* permutation, double* term) {
        espalier::cuda::launch_soft_permutation(target_, locate(op), n, scores, locate(site), noisy, potentials, soft,
                                                permutation, term);
    }
    template <class Op, class W>
    void soft_permutation_backward(Op const& op, int n, double const* noisy, double* potentials, double const* soft,
                                   W const* dpermutation, double* dsoft, W* dscores) {
        espalier::cuda::launch_soft_permutation_backward(target_, locate(op), n, noisy, potentials, soft, dpermutation,
                                                         dsoft, dscores);
    }
    template <class W> void round_permutation(int n, double const* soft, double* room, W* permutation) {
        espalier::cuda::launch_round_permutation(target_, n, soft, room, permutation, errors_.data());
    }

    /// Bytes of scratch that build_pairs and measure_mixture need.
    static std::size_t dispatch_scratch(index_t batch_rows, index_t slots, int experts) {
        return piece(sizeof(std::int32_t) *
                     static_cast<std::size_t>(espalier::kernels::counters_of(batch_rows * slots, experts)));
    }
    template <class W>
    void build_pairs(matrix_view<W const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                     pair_plan const& plan, pair_table const& table) {
        espalier::cuda::launch_build_pairs(target_, pair_work_of(weights, experts, plan, table), batch);
    }
    /// What `mixture_measures` lists, then the experts' loads.
    template <class W>
    void measure_mixture(matrix_view<W const> weights, matrix_view<std::int32_t const> experts,
                         std::int32_t const* pair, pair_plan const& plan, double* measures) {
        espalier::cuda::launch_measure_mixture(target_, pair_work_of(weights, experts, plan, {}), pair, measures);
    }
    /// to_i = from_row[i], 0 where row[i] < 0
    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        espalier::cuda::launch_gather_rows(target_, from, row, to);
    }
    /// to_row[i] += from_i where row[i] >= 0; the rows are distinct
    template <class T> void scatter_add(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        espalier::cuda::launch_scatter_add_rows(target_, from, row, to);
    }
    /// to_r += from_p for the pairs p of row r in the order of their numbers; `ordered`: they stand in that order
    template <class T>
    void add_pairs(matrix_view<T const> from, std::int32_t const* pair, index_t slots, bool ordered,
                   matrix_view<T> to) {
        espalier::cuda::launch_add_pairs(target_, from, pair, slots, ordered, to);
    }
    /// dx += the weights of slots without a pair times dy, where the row took the place of the expert's output.
    template <class T>
    void pass_back(matrix_view<master_of<T> const> weights, mixture_tasks const& tasks, std::int32_t const* pair,
                   matrix_view<T const> dy, matrix_view<T> dx) {
        espalier::cuda::launch_pass_back(target_, weights, tasks, pair, dy, dx);
    }
    template <class T>
    void combine(matrix_view<master_of<T> const> weights, expert_outputs<T> const& outputs, matrix_view<T> y) {
        espalier::cuda::launch_combine_experts(target_, weights, outputs, y);
    }
    template <class T>
    void weight_gradients(matrix_view<master_of<T> const> weights, matrix_view<T const> dy,
                          expert_outputs<T> const& outputs, matrix_view<master_of<T>> dweights) {
        espalier::cuda::launch_weight_gradients(target_, weights, dy, outputs, dweights);
    }
    /// d_i = the weights of the block's expert in its row i times dy of that row.
    template <class T>
    void expert_gradient(matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                         mixture_tasks const& tasks, expert_pairs const& block, matrix_view<T const> dy,
                         matrix_view<T> d) {
        espalier::cuda::launch_expert_gradient(target_, weights, experts, tasks, block, dy, d);
    }

    // ---- embeddings (kernels/embedding.hpp)

    /// Rows of tables, looked up by number, and the tables' gradient; `sizes` is host memory. What is no id goes to the
    /// error word, and reads row 0 of its table.
    template <class T>
    void embed(matrix_view<T const> ids, index_t const* sizes, T const* table, index_t width, matrix_view<T> y) {
        for_tables(ids, sizes, [&](matrix_view<T const> some, auto const& tables, index_t f, index_t begin) {
            espalier::cuda::launch_embed(target_, some, tables, table + begin * width, width,
                                         matrix_view<T>{y.data + f * width, y.rows, some.columns * width, y.stride},
                                         errors_.data());
        });
    }
    template <class T, class Wide>
    void embed_backward(matrix_view<T const> ids, index_t const* sizes, matrix_view<T const> dy, index_t width,
                        Wide* gradient) {
        index_t total = 0;
        for (index_t f = 0; f < ids.columns; ++f)
            total += sizes[f];
        zero(gradient, total * width);
        for_tables(ids, sizes, [&](matrix_view<T const> some, auto const& tables, index_t f, index_t begin) {
            espalier::cuda::launch_embed_backward(
                target_, some, tables,
                matrix_view<T const>{dy.data + f * width, dy.rows, some.columns * width, dy.stride}, width,
                gradient + begin * width);
        });
    }

    // ---- memory

    /// Elements that the mask does not keep become 0.
    template <class T> void clear_left_out(T* p, std::uint32_t const* mask, index_t n) {
        espalier::cuda::launch_clear_left_out(target_, p, mask, n);
    }
    /// Sets a tensor's first values by `fill(view, site)`, which runs on the host. Waits: not for steps.
    template <class Fill, class T> void initialise(Fill const& fill, matrix_view<T> w, random_site const& site) {
        std::vector<T> values(static_cast<std::size_t>(w.rows * w.columns));
        fill(matrix_view<T>{values.data(), w.rows, w.columns, w.columns}, site);
        if (values.empty()) return;
        wait();
        espalier::cuda::check(cudaMemcpy2D(w.data, static_cast<std::size_t>(w.stride) * sizeof(T), values.data(),
                                           static_cast<std::size_t>(w.columns) * sizeof(T),
                                           static_cast<std::size_t>(w.columns) * sizeof(T),
                                           static_cast<std::size_t>(w.rows), cudaMemcpyHostToDevice),
                              "copy of initial values to the device");
    }
    /// Keeps every element of a tensor of n elements.
    void fill_mask(std::uint32_t* mask, index_t n) {
        if (n > 0)
            espalier::cuda::check(
                cudaMemsetAsync(mask, 0xff, static_cast<std::size_t>((n + 31) / 32) * 4, target_.stream), "fill_mask");
    }
    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        if (from.rows == 0 || from.columns == 0) return;
        if (target_.live) return espalier::cuda::launch_combine<false>(target_, from, to);
        espalier::cuda::check(cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.stride) * sizeof(T), from.data,
                                                static_cast<std::size_t>(from.stride) * sizeof(T),
                                                static_cast<std::size_t>(from.columns) * sizeof(T),
                                                static_cast<std::size_t>(from.rows), cudaMemcpyDeviceToDevice,
                                                target_.stream),
                              "copy");
    }
    /// `copies` times the n elements of `from`, one after the other.
    template <class U> void repeat(U const* from, index_t n, int copies, U* to) {
        for (int copy = 0; copy < copies && n > 0; ++copy)
            espalier::cuda::check(cudaMemcpyAsync(to + copy * n, from, static_cast<std::size_t>(n) * sizeof(U),
                                                  cudaMemcpyDeviceToDevice, target_.stream),
                                  "repeat");
    }
    /// to += from
    template <class T> void add(matrix_view<T const> from, matrix_view<T> to) {
        espalier::cuda::launch_combine<true>(target_, from, to);
    }
    /// sums[c] = sum of column c
    template <class T> void column_sums(matrix_view<T const> m, master_of<T>* sums) {
        scratch_cursor space(scratch);
        espalier::cuda::launch_column_sums(target_, m, sums,
                                           space.template take<master_of<T>>(live_partials(m.rows, m.columns)));
    }

    /// Where kernels find the numbers of an op; see the class.
    template <class Op> espalier::kernels::numbers<Op> locate(Op const& op) const {
        static_assert(std::is_trivially_copyable_v<Op>,
                      "espalier: the op of a policy must be trivially copyable: it is passed to kernels by value");
        espalier::kernels::numbers<Op> found{nullptr, op};
        auto const address = reinterpret_cast<std::uintptr_t>(&op), first = reinterpret_cast<std::uintptr_t>(host_);
        if (host_ && address >= first && address + sizeof(Op) <= first + host_bytes_)
            found.device = reinterpret_cast<Op const*>(mirror_.data() + lead_ + (address - first));
        return found;
    }
    espalier::kernels::site_numbers locate(random_site const& site) const { return {site, step_word()}; }

private:
    template <class Gate, class Op, class W> static espalier::kernels::gate_batch<W> batch_of(gate_run const& run) {
        constexpr index_t statistics = index_t{espalier::detail::gate_needs_of<Op>().statistics} * Gate::experts;
        return {run.site, run.batch, run.draws, nullptr, statistics > 0 ? run.slopes + statistics : nullptr};
    }
    /// Calls launch(ids, tables, first column, first row of the tables) for as many columns of ids as one launch takes.
    template <class T, class Launch>
    static void for_tables(matrix_view<T const> ids, index_t const* sizes, Launch const& launch) {
        using tables = espalier::kernels::id_tables;
        index_t begin = 0;
        for (index_t f = 0; f < ids.columns; f += tables::most) {
            index_t const count = ids.columns - f < tables::most ? ids.columns - f : tables::most;
            launch(matrix_view<T const>{ids.data + f, ids.rows, count, ids.stride}, tables::of(sizes + f, count), f,
                   begin);
            for (index_t i = f; i < f + count; ++i)
                begin += sizes[i];
        }
    }
    template <class W>
    espalier::kernels::pair_work<W> pair_work_of(matrix_view<W const> weights, matrix_view<std::int32_t const> experts,
                                                 pair_plan const& plan, pair_table const& table) const {
        scratch_cursor space(scratch);
        return {weights, experts, plan, table,
                space.template take<std::int32_t>(
                    espalier::kernels::counters_of(weights.rows * weights.columns, plan.experts))};
    }
    /// Numbers of the partial sums of columns.
    index_t live_partials(index_t row_count, index_t columns) const {
        namespace k = espalier::kernels;
        return k::most_strips_of(target_.live, row_count) * k::octets_of(columns) * k::octet;
    }
    /// Bytes of the partial sums of one set of penalties.
    template <class W> static std::size_t strip_scratch(index_t strips, index_t columns) {
        namespace k = espalier::kernels;
        auto const octets = static_cast<std::size_t>(strips * k::octets_of(columns));
        return piece(octets * k::octet * sizeof(W)) + piece(octets * sizeof(double));
    }
    /// Scratch is dealt out in pieces of 256 bytes.
    static constexpr std::size_t piece(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

    /// Deals out scratch in pieces; throws before anything is launched.
    class scratch_cursor {
    public:
        explicit scratch_cursor(scratch_view all) : left_(all) {}
        template <class U> U* take(index_t count) {
            std::size_t const bytes = piece(static_cast<std::size_t>(count) * sizeof(U));
            if (bytes > left_.size)
                throw shape_error("device::cuda: a piece of " + std::to_string(bytes) + " bytes is needed, " +
                                  std::to_string(left_.size) +
                                  " bytes of scratch are left; product_scratch says how "
                                  "much a layer needs");
            U* const piece = reinterpret_cast<U*>(left_.data);
            left_.data += bytes;
            left_.size -= bytes;
            return piece;
        }
        scratch_view rest() const { return left_; }

    private:
        scratch_view left_;
    };

    void set_up() {
        int gpu = 0, multiprocessors = 0;
        espalier::cuda::check(cudaGetDevice(&gpu), "cudaGetDevice");
        espalier::cuda::check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, gpu),
                              "cudaDeviceGetAttribute");
        // Eight blocks of 256 threads are what a multiprocessor holds at once.
        target_.most_blocks = static_cast<index_t>(multiprocessors) * 8;
        errors_ = buffer<espalier::kernels::error_word>(1);
        espalier::kernels::error_word const none{};
        errors_.copy_from_host(&none, 1);
        loss_ = buffer<espalier::kernels::row_loss_result>(1);
    }
    std::uint32_t const* step_word() const {
        return host_ ? reinterpret_cast<std::uint32_t const*>(mirror_.data()) : nullptr;
    }
    void send(void const* from, std::size_t bytes, std::size_t to) {
        for (std::size_t at = 0; at < bytes; at += espalier::cuda::step_payload::capacity) {
            espalier::cuda::step_payload payload;
            std::size_t const n = bytes - at < espalier::cuda::step_payload::capacity
                                      ? bytes - at
                                      : espalier::cuda::step_payload::capacity;
            std::memcpy(payload.bytes, static_cast<unsigned char const*>(from) + at, n);
            espalier::cuda::store_bytes_kernel<<<1, espalier::cuda::block_threads, 0, target_.stream>>>(
                payload, mirror_.data() + to + at, static_cast<unsigned>(n));
            espalier::cuda::check_launch("store_bytes");
        }
    }

    struct owned_stream {
        cudaStream_t stream = nullptr;
        ~owned_stream() {
            if (stream) static_cast<void>(cudaStreamDestroy(stream));
        }
    };

    espalier::cuda::cublaslt_plans plans_; // first: it reports that there is no GPU
    owned_stream own_;
    espalier::cuda::launch_target target_;
    buffer<espalier::kernels::error_word> errors_;
    buffer<espalier::kernels::row_loss_result> loss_;
    buffer<unsigned char> mirror_;
    unsigned char const* host_ = nullptr;
    std::size_t host_bytes_ = 0;
    std::size_t lead_ = 0; // of the mirror: the step, then the block at the host's place within 256 bytes
};

/// A GPU with the default products.
using cuda = basic_cuda<>;

} // namespace espalier::device
