// SPDX-License-Identifier: Apache-2.0
// A GPU as a runner of passes: a stream, the memory and the errors behind it, and the numbers of a step. Include it
// from .cu files.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/buffer.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/device/cuda/launch.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/passes.hpp>
#include <espalier/product/concept.hpp>
#include <espalier/product/cublaslt.hpp>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace espalier::cuda {

/// What device::basic_cuda and its verbs (kernels/verbs.hpp) stand on.
class runner {
public:
    /// The program reads and writes the device's memory through copies only.
    static constexpr bool host_memory = false;
    template <class T> using buffer = cuda::buffer<T>;

    scratch_view scratch;

    /// Parts of the scratch that are in use at once.
    static constexpr int threads() { return 1; }

    /// On the current GPU, with a stream of its own.
    runner() {
        check(cudaStreamCreate(&own_.stream), "cudaStreamCreate");
        target_.stream = own_.stream;
        set_up();
    }
    /// On a stream of the caller's, which must outlive this object.
    explicit runner(cudaStream_t stream) {
        target_.stream = stream;
        set_up();
    }
    runner(runner const&) = delete;
    runner& operator=(runner const&) = delete;

    cudaStream_t stream() const { return target_.stream; }
    /// Most blocks of one launch; it changes no result. For tests and tuning.
    void set_most_blocks(index_t blocks) { target_.most_blocks = blocks; }
    /// Waits for everything that was put on the stream.
    void wait() { check(cudaStreamSynchronize(target_.stream), "cudaStreamSynchronize"); }

    // ---- passes

    /// Puts a pass on the stream.
    template <class Pass> void run(Pass const& pass) { launch(target_, pass); }
    /// Runs the verbs that body calls on the rows, and with the tensors, of the groups (device/live_rows.hpp).
    template <class Body> void on_live_rows(live_groups const& live, Body const& body) {
        struct restore {
            launch_target& target;
            ~restore() { target.live = {}; }
        } const after{target_};
        target_.live = live;
        body();
    }
    live_groups const& live() const { return target_.live; }
    /// Where kernels report what only they can see; and where they report numbers that are not finite, or null.
    kernels::error_word* error() { return errors_.data(); }
    kernels::error_word* watched() const { return target_.error; }
    kernels::row_loss_result* loss_result() { return loss_.data(); }
    /// Where kernels find the numbers of an op; see the class.
    template <class Op> kernels::numbers<Op> locate(Op const& op) const {
        static_assert(std::is_trivially_copyable_v<Op>,
                      "espalier: the op of a policy must be trivially copyable: it is passed to kernels by value");
        kernels::numbers<Op> found{nullptr, op};
        if (blocks_.empty()) return found;
        step_block const& now = blocks_.back();
        auto const address = reinterpret_cast<std::uintptr_t>(&op), first = reinterpret_cast<std::uintptr_t>(now.host);
        if (address >= first && address + sizeof(Op) <= first + now.bytes)
            found.device = reinterpret_cast<Op const*>(now.mirror.data() + now.lead() + (address - first));
        return found;
    }
    std::uint32_t const* step_word() const {
        return blocks_.empty() ? nullptr : reinterpret_cast<std::uint32_t const*>(blocks_.back().mirror.data());
    }

    // ---- the step block

    /// The numbers of the steps from now on are the `bytes` of host memory at `host`, until `forget_step` or another
    /// block is declared. A block that is new gets a mirror, and the call waits: not for steps. One that is known costs
    /// nothing and keeps its mirror, as a captured graph needs it.
    void declare_step(void const* host, std::size_t bytes) {
        auto const known = std::find_if(blocks_.begin(), blocks_.end(),
                                        [&](step_block const& b) { return b.host == host && b.bytes == bytes; });
        if (known == blocks_.end())
            blocks_.emplace_back(host, bytes);
        else
            std::rotate(known, known + 1, blocks_.end());
    }
    /// The host's memory there is no longer one; the block declared before it is the step block again, if there is one.
    void forget_step(void const* host) {
        std::erase_if(blocks_, [&](step_block const& b) { return b.host == host; });
    }
    /// Copies the step block and the step to the mirror, in the order of the stream. The host may change the block as
    /// soon as this returns. Not part of a captured graph: it comes before each replay.
    void upload_step(std::uint32_t step) {
        if (blocks_.empty()) return;
        step_block& now = blocks_.back();
        send(&step, sizeof step, now.mirror.data());
        send(now.host, now.bytes, now.mirror.data() + now.lead());
    }

    // ---- errors

    /// From now on verbs report numbers that are not finite, or do not: those of a prediction are the caller's to
    /// judge.
    void watch_numbers(bool on) { target_.error = on ? errors_.data() : nullptr; }
    /// Waits; throws data_error or numerical_error when a kernel has reported something since the last call.
    void throw_on_error() {
        kernels::error_word seen;
        wait();
        errors_.copy_to_host(&seen, 1);
        if (seen.clear()) return;
        kernels::error_word const none{};
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

    // ---- memory

    template <class T> void zero(T* p, index_t n) {
        if (n > 0) check(cudaMemsetAsync(p, 0, static_cast<std::size_t>(n) * sizeof(T), target_.stream), "zero");
    }
    /// All rows of a view.
    template <class T> void clear(matrix_view<T> rows_of) {
        if (rows_of.rows == 0 || rows_of.columns == 0) return;
        if (target_.live) return run(kernels::passes::clear<T>{rows_of});
        check(cudaMemset2DAsync(rows_of.data, static_cast<std::size_t>(rows_of.stride) * sizeof(T), 0,
                                static_cast<std::size_t>(rows_of.columns) * sizeof(T),
                                static_cast<std::size_t>(rows_of.rows), target_.stream),
              "clear");
    }
    /// Copies results to the host. Waits, and throws what kernels have reported: not for steps.
    void read(double const* from, double* to, index_t n) {
        throw_on_error();
        check(cudaMemcpy(to, from, static_cast<std::size_t>(n) * sizeof(double), cudaMemcpyDeviceToHost), "read");
    }
    /// Copies n elements to the host after everything before is done. Waits: not for steps.
    template <class T> void copy_to_host(T const* from, T* to, index_t n) {
        wait();
        check(cudaMemcpy(to, from, static_cast<std::size_t>(n) * sizeof(T), cudaMemcpyDeviceToHost),
              "copy to the host");
    }

    /// Sets a tensor's first values by `fill(view, site)`, which runs on the host. Waits: not for steps.
    template <class Fill, class T> void initialise(Fill const& fill, matrix_view<T> w, random_site const& site) {
        std::vector<T> values(static_cast<std::size_t>(w.rows * w.columns));
        fill(matrix_view<T>{values.data(), w.rows, w.columns, w.columns}, site);
        if (values.empty()) return;
        check(cudaMemcpy2DAsync(w.data, static_cast<std::size_t>(w.stride) * sizeof(T), values.data(),
                                static_cast<std::size_t>(w.columns) * sizeof(T),
                                static_cast<std::size_t>(w.columns) * sizeof(T), static_cast<std::size_t>(w.rows),
                                cudaMemcpyHostToDevice, target_.stream),
              "copy of initial values to the device");
        wait();
    }
    /// Keeps every element of a tensor of n elements.
    void fill_mask(std::uint32_t* mask, index_t n) {
        if (n > 0)
            check(cudaMemsetAsync(mask, 0xff, static_cast<std::size_t>((n + 31) / 32) * 4, target_.stream),
                  "fill_mask");
    }
    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        if (from.rows == 0 || from.columns == 0) return;
        if (target_.live) return run(kernels::passes::combine_rows<false, T, T>{from, to});
        check(cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.stride) * sizeof(T), from.data,
                                static_cast<std::size_t>(from.stride) * sizeof(T),
                                static_cast<std::size_t>(from.columns) * sizeof(T), static_cast<std::size_t>(from.rows),
                                cudaMemcpyDeviceToDevice, target_.stream),
              "copy");
    }
    /// `copies` times the n elements of `from`, one after the other.
    template <class U> void repeat(U const* from, index_t n, int copies, U* to) {
        for (int copy = 0; copy < copies && n > 0; ++copy)
            check(cudaMemcpyAsync(to + copy * n, from, static_cast<std::size_t>(n) * sizeof(U),
                                  cudaMemcpyDeviceToDevice, target_.stream),
                  "repeat");
    }

protected:
    cublaslt_plans plans_; // first: it reports that there is no GPU
    launch_target target_;

private:
    void set_up() {
        int gpu = 0, multiprocessors = 0;
        check(cudaGetDevice(&gpu), "cudaGetDevice");
        check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, gpu), "cudaDeviceGetAttribute");
        // Eight blocks of 256 threads are what a multiprocessor holds at once.
        target_.most_blocks = static_cast<index_t>(multiprocessors) * 8;
        errors_ = buffer<kernels::error_word>(1);
        kernels::error_word const none{};
        errors_.copy_from_host(&none, 1);
        loss_ = buffer<kernels::row_loss_result>(1);
    }
    void send(void const* from, std::size_t bytes, unsigned char* to) {
        using payload = kernels::passes::store_bytes<2048>;
        for (std::size_t at = 0; at < bytes; at += sizeof payload::bytes) {
            payload pass;
            std::size_t const n = bytes - at < sizeof pass.bytes ? bytes - at : sizeof pass.bytes;
            std::memcpy(pass.bytes, static_cast<unsigned char const*>(from) + at, n);
            pass.to = to + at;
            pass.count = static_cast<unsigned>(n);
            run(pass);
        }
    }

    /// Numbers of steps on the host and, in device memory, the step and a copy of them.
    struct step_block {
        void const* host;
        std::size_t bytes;
        buffer<unsigned char> mirror;

        step_block(void const* host_, std::size_t bytes_)
            : host(host_), bytes(bytes_), mirror(static_cast<index_t>(lead() + bytes_)) {}
        /// Where the copy begins: at the host's place within 256 bytes, so that everything is aligned as there.
        std::size_t lead() const { return 256 + reinterpret_cast<std::uintptr_t>(host) % 256; }
    };
    struct owned_stream {
        cudaStream_t stream = nullptr;
        ~owned_stream() {
            if (stream) static_cast<void>(cudaStreamDestroy(stream));
        }
    };

    owned_stream own_;
    buffer<kernels::error_word> errors_;
    buffer<kernels::row_loss_result> loss_;
    std::vector<step_block> blocks_; // the last is that of the steps
};

} // namespace espalier::cuda
