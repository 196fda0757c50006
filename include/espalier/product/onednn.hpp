// SPDX-License-Identifier: Apache-2.0
// host only. Products by oneDNN's matrix multiplication, for float. There is something in this header only where
// oneDNN's own headers are installed (Debian: libdnnl-dev); programs link the library (espalier::onednn in CMake).
// Nothing for nvcc either: its front end (13.0) stops with an internal error in what this includes.
#pragma once

#if __has_include(<oneapi/dnnl/dnnl.hpp>) && !defined(__CUDACC__)

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/product/concept.hpp>

#include <oneapi/dnnl/dnnl.hpp>
#include <oneapi/dnnl/dnnl_version.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

// Of the OpenMP library that oneDNN is linked with, if it is.
extern "C" [[gnu::weak]] void omp_set_num_threads(int);
extern "C" [[gnu::weak]] int omp_get_max_threads();

namespace espalier::product {

namespace onednn_impl {

/// oneDNN asks OpenMP for its threads, when a primitive is made and again when it runs. Where the two disagree it
/// leaves rows of the product unwritten and reports success: 2.6 half of them under OMP_THREAD_LIMIT=1, which OpenMP's
/// largest number of threads does not show. So both happen with one thread, whatever the program uses elsewhere. The
/// number belongs to the calling thread alone and is set back. The one post-op is the sum with what the result
/// held: what else follows a product is the library's own pass, whatever the product.
class one_thread {
public:
    one_thread() : before_(omp_get_max_threads ? omp_get_max_threads() : 1) {
        if (before_ != 1) omp_set_num_threads(1);
    }
    ~one_thread() {
        if (before_ != 1) omp_set_num_threads(before_);
    }
    one_thread(one_thread const&) = delete;
    one_thread& operator=(one_thread const&) = delete;

private:
    int before_;
};

/// c = a b (+ bias, or + c): extents, and the steps from row to row and from column to column of each operand.
struct shape_key {
    index_t rows = 0, inner = 0, columns = 0;
    index_t a_row = 0, a_column = 0, b_row = 0, b_column = 0, c_row = 0;
    bool bias = false;
    bool accumulate = false;
    friend bool operator==(shape_key const&, shape_key const&) = default;
};

[[noreturn]] inline void fail(char const* what, dnnl_status_t status, shape_key const& k) {
    throw device_error(std::string("product::onednn: ") + what + " failed with status " + std::to_string(status) +
                       " for a product " + std::to_string(k.rows) + " x " + std::to_string(k.inner) + " x " +
                       std::to_string(k.columns));
}

inline dnnl::matmul::primitive_desc describe(shape_key const& k, dnnl::engine const& engine) {
    using memory = dnnl::memory;
    auto constexpr f32 = memory::data_type::f32;
    memory::desc const a({k.rows, k.inner}, f32, memory::dims{k.a_row, k.a_column});
    memory::desc const b({k.inner, k.columns}, f32, memory::dims{k.b_row, k.b_column});
    memory::desc const c({k.rows, k.columns}, f32, memory::dims{k.c_row, 1});
    memory::desc const bias({1, k.columns}, f32, memory::format_tag::ab);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (k.accumulate) {
        dnnl::post_ops sum;
        sum.append_sum(1.0f);
        attributes.set_post_ops(sum);
    }
#if DNNL_VERSION_MAJOR >= 3 // has no descriptors of operations any more
    if (k.bias) return {engine, a, b, bias, c, attributes};
    return {engine, a, b, c, attributes};
#else
    return {k.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c), attributes, engine};
#endif
}

/// A primitive with the memory objects that it is called with.
struct entry {
    shape_key key;
    dnnl::matmul primitive;
    dnnl::memory a, b, bias, c, scratchpad;
    std::size_t scratch_bytes = 0;
    std::unique_ptr<std::byte[]> own_scratch; // when the arena's is too small
};

/// Everything of one thread: oneDNN's streams and our cache are not shared.
class cache {
public:
    static cache& of_thread() {
        thread_local cache c;
        return c;
    }

    entry& find(shape_key const& key) {
        for (std::unique_ptr<entry> const& e : entries_)
            if (e->key == key) return *e;
        return make(key);
    }

    std::size_t scratch_bytes(shape_key const& key) {
        try {
            one_thread const single;
            return describe(key, engine_).scratchpad_desc().get_size();
        } catch (dnnl::error const& error) {
            fail("describing", error.status, key);
        }
    }

    dnnl::stream& stream() { return stream_; }

private:
    entry& make(shape_key const& key) {
        try {
            auto const d = describe(key, engine_);
            auto e = std::make_unique<entry>();
            e->key = key;
            e->primitive = dnnl::matmul(d);
            e->a = dnnl::memory(d.src_desc(), engine_, nullptr);
            e->b = dnnl::memory(d.weights_desc(), engine_, nullptr);
            e->c = dnnl::memory(d.dst_desc(), engine_, nullptr);
            if (key.bias) e->bias = dnnl::memory(d.bias_desc(), engine_, nullptr);
            e->scratchpad = dnnl::memory(d.scratchpad_desc(), engine_, nullptr);
            e->scratch_bytes = d.scratchpad_desc().get_size();
            entries_.push_back(std::move(e));
            return *entries_.back();
        } catch (dnnl::error const& error) {
            fail("making the primitive", error.status, key);
        }
    }

    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    std::vector<std::unique_ptr<entry>> entries_;
};

inline void run(shape_key const& key, float const* a, float const* b, float const* bias, float* c, scratch_view space) {
    one_thread const single;
    cache& mine = cache::of_thread();
    entry& e = mine.find(key);
    std::byte* scratch = space.data;
    if (e.scratch_bytes > space.size) {
        if (!e.own_scratch) e.own_scratch = std::make_unique<std::byte[]>(e.scratch_bytes + 64);
        scratch = e.own_scratch.get();
    }
    auto const handle = [&](dnnl::memory& m, void const* p) {
        if (dnnl_status_t const s = dnnl_memory_set_data_handle(m.get(), const_cast<void*>(p)); s != dnnl_success)
            fail("setting a pointer", s, key);
    };
    handle(e.a, a);
    handle(e.b, b);
    handle(e.c, c);
    handle(e.scratchpad, scratch);
    dnnl_exec_arg_t arguments[5] = {{DNNL_ARG_SRC, e.a.get()},
                                    {DNNL_ARG_WEIGHTS, e.b.get()},
                                    {DNNL_ARG_DST, e.c.get()},
                                    {DNNL_ARG_SCRATCHPAD, e.scratchpad.get()},
                                    {}};
    int count = 4;
    if (key.bias) {
        handle(e.bias, bias);
        arguments[count++] = {DNNL_ARG_BIAS, e.bias.get()};
    }
    if (dnnl_status_t const s = dnnl_primitive_execute(e.primitive.get(), mine.stream().get(), count, arguments);
        s != dnnl_success)
        fail("execution", s, key);
    if (dnnl_status_t const s = dnnl_stream_wait(mine.stream().get()); s != dnnl_success) fail("waiting", s, key);
}

} // namespace onednn_impl

/// Products by oneDNN, on the calling thread alone, for float.
///
/// Every shape (extents and strides) has its primitive, made when it is used first and kept by the thread: that first
/// use generates code and allocates. Later uses allocate no buffers; oneDNN itself still makes a list of the arguments
/// of each call, a few hundred bytes. Errors of the library are `device_error`s.
struct onednn {
    using axis = espalier::axis::product;
    static constexpr std::string_view name = "onednn";

    template <class T>
    requires std::is_same_v<T, float>
    static std::size_t scratch(index_t rows, index_t inner, index_t columns) {
        if (rows <= 0 || inner <= 0 || columns <= 0) return 0;
        auto& c = onednn_impl::cache::of_thread();
        std::size_t most = 0;
        for (auto const& key : {forward_key(rows, inner, columns, inner, columns, columns, true),
                                input_gradient_key(rows, inner, columns, columns, columns, inner),
                                weight_gradient_key(rows, inner, columns, inner, columns, columns)})
            if (std::size_t const need = c.scratch_bytes(key); need > most) most = need;
        return (most + 63) / 64 * 64;
    }

    template <class T>
    requires std::is_same_v<T, float>
    static void forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z,
                        scratch_view space) {
        run_rows(forward_key(z.rows, x.columns, z.columns, x.stride, w.stride, z.stride, bias != nullptr), x, w, bias,
                 z, space);
    }

    template <class T>
    requires std::is_same_v<T, float>
    static void input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx, scratch_view space) {
        run_rows(input_gradient_key(dx.rows, dx.columns, dz.columns, dz.stride, w.stride, dx.stride), dz, w, nullptr,
                 dx, space);
    }

    template <class T>
    requires std::is_same_v<T, float>
    static void add_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z, scratch_view space) {
        run_rows(added(forward_key(z.rows, x.columns, z.columns, x.stride, w.stride, z.stride, false)), x, w, nullptr,
                 z, space);
    }

    template <class T>
    requires std::is_same_v<T, float>
    static void add_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                   scratch_view space) {
        run_rows(added(input_gradient_key(dx.rows, dx.columns, dz.columns, dz.stride, w.stride, dx.stride)), dz, w,
                 nullptr, dx, space);
    }

    template <class T>
    requires std::is_same_v<T, float>
    static void weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw,
                                scratch_view space) {
        if (dw.rows == 0 || dw.columns == 0) return;
        if (x.rows == 0) {
            for (index_t r = 0; r < dw.rows; ++r)
                for (index_t c = 0; c < dw.columns; ++c)
                    dw(r, c) = T(0);
            return;
        }
        onednn_impl::run(weight_gradient_key(x.rows, dw.rows, dw.columns, x.stride, dz.stride, dw.stride), x.data,
                         dz.data, nullptr, dw.data, space);
    }

private:
    using key = onednn_impl::shape_key;
    static void run_rows(key const& k, matrix_view<float const> from, matrix_view<float const> w, float const* bias,
                         matrix_view<float> to, scratch_view space) {
        if (to.rows == 0 || to.columns == 0) return;
        onednn_impl::run(k, from.data, w.data, bias, to.data, space);
    }
    static key added(key k) {
        k.accumulate = true;
        return k;
    }
    static key forward_key(index_t rows, index_t in, index_t out, index_t x, index_t w, index_t z, bool bias) {
        return {rows, in, out, x, 1, w, 1, z, bias, false};
    }
    static key input_gradient_key(index_t rows, index_t in, index_t out, index_t dz, index_t w, index_t dx) {
        return {rows, out, in, dz, 1, 1, w, dx, false, false};
    }
    static key weight_gradient_key(index_t rows, index_t in, index_t out, index_t x, index_t dz, index_t dw) {
        return {in, rows, out, 1, x, dz, 1, dw, false, false};
    }
};

} // namespace espalier::product

#endif
