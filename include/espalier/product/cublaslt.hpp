// SPDX-License-Identifier: Apache-2.0
// host only. Products on a GPU by cuBLASLt, with the bias added inside the product. Empty where the CUDA toolkit is not
// installed.
#pragma once

#if __has_include(<cublasLt.h>) && __has_include(<cuda_runtime_api.h>)

#include <espalier/core/error.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/bfloat16.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/product/concept.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier::cuda {

/// The arithmetic of float products: that of the numbers, or their first 10 bits of mantissa on the tensor cores.
enum class float_product { exact, tf32 };

/// Handle and plans of cuBLASLt. A plan (layouts and the algorithm that cuBLASLt recommends) is made once for each
/// shape, by the first product that needs it; afterwards a product is one launch, without allocation and without
/// waiting. Not to be shared by two threads.
class cublaslt_plans {
public:
    /// Everything that a plan depends on, in cuBLASLt's column-major terms: d (m x n) = op(a) b + beta d, `count`
    /// times, with so many elements from one a, b, d and bias to the next.
    struct key {
        cudaDataType_t operand, result;
        cublasComputeType_t compute;
        bool transpose_a, transpose_b, bias, accumulate;
        std::int64_t m, n, k, lda, ldb, ldd;
        std::uint32_t align_a, align_b, align_d;
        std::size_t workspace;
        std::int32_t count;
        std::int64_t next_a, next_b, next_d, next_bias;
        friend bool operator==(key const&, key const&) = default;
    };
    struct plan {
        key shape{};
        cublasLtMatmulDesc_t operation = nullptr;
        cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
        cublasLtMatmulAlgo_t algorithm{};
    };

    cublaslt_plans() {
        int gpus = 0;
        check(cudaGetDeviceCount(&gpus), "looking for a GPU");
        check(cublasLtCreate(&handle_), "cublasLtCreate");
    }
    cublaslt_plans(cublaslt_plans const&) = delete;
    cublaslt_plans& operator=(cublaslt_plans const&) = delete;
    ~cublaslt_plans() {
        for (plan& p : plans_)
            release(p);
        static_cast<void>(cublasLtDestroy(handle_));
    }

    cublasLtHandle_t handle() const { return handle_; }
    std::size_t size() const { return plans_.size(); }

    plan& find(key const& wanted) {
        for (plan& p : plans_)
            if (p.shape == wanted) return p;
        plan fresh;
        fresh.shape = wanted;
        try {
            make(fresh);
            plans_.push_back(fresh);
        } catch (...) {
            release(fresh);
            throw;
        }
        return plans_.back();
    }

private:
    static void release(plan& p) {
        if (p.d) static_cast<void>(cublasLtMatrixLayoutDestroy(p.d));
        if (p.b) static_cast<void>(cublasLtMatrixLayoutDestroy(p.b));
        if (p.a) static_cast<void>(cublasLtMatrixLayoutDestroy(p.a));
        if (p.operation) static_cast<void>(cublasLtMatmulDescDestroy(p.operation));
    }

    template <class Value>
    static void set(cublasLtMatmulDesc_t to, cublasLtMatmulDescAttributes_t what, Value const& value) {
        check(cublasLtMatmulDescSetAttribute(to, what, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
    }
    template <class Value>
    static void set(cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t what, Value const& value) {
        check(cublasLtMatmulPreferenceSetAttribute(to, what, &value, sizeof value),
              "cublasLtMatmulPreferenceSetAttribute");
    }

    static void repeat(cublasLtMatrixLayout_t layout, std::int32_t count, std::int64_t next) {
        check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
              "cublasLtMatrixLayoutSetAttribute");
        check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &next, sizeof next),
              "cublasLtMatrixLayoutSetAttribute");
    }

    void make(plan& p) {
        key const& s = p.shape;
        check(cublasLtMatmulDescCreate(&p.operation, s.compute,
                                       s.compute == CUBLAS_COMPUTE_64F ? CUDA_R_64F : CUDA_R_32F),
              "cublasLtMatmulDescCreate");
        set(p.operation, CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
        set(p.operation, CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
        if (s.bias) set(p.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        auto const rows = [](bool transposed, std::int64_t r, std::int64_t c) {
            return static_cast<std::uint64_t>(transposed ? c : r);
        };
        check(cublasLtMatrixLayoutCreate(&p.a, s.operand, rows(s.transpose_a, s.m, s.k), rows(s.transpose_a, s.k, s.m),
                                         s.lda),
              "cublasLtMatrixLayoutCreate");
        check(cublasLtMatrixLayoutCreate(&p.b, s.operand, rows(s.transpose_b, s.k, s.n), rows(s.transpose_b, s.n, s.k),
                                         s.ldb),
              "cublasLtMatrixLayoutCreate");
        check(cublasLtMatrixLayoutCreate(&p.d, s.result, static_cast<std::uint64_t>(s.m),
                                         static_cast<std::uint64_t>(s.n), s.ldd),
              "cublasLtMatrixLayoutCreate");

        if (s.count > 1) {
            repeat(p.a, s.count, s.next_a);
            repeat(p.b, s.count, s.next_b);
            repeat(p.d, s.count, s.next_d);
            if (s.bias) set(p.operation, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, s.next_bias);
        }

        cublasLtMatmulPreference_t preference = nullptr;
        check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
        cublasLtMatmulHeuristicResult_t found{};
        int count = 0;
        cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
        try {
            set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, s.workspace);
            // cuBLASLt takes 256 bytes for granted unless it is told.
            set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.align_a);
            set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.align_b);
            set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.align_d);
            set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.align_d);
            status =
                cublasLtMatmulAlgoGetHeuristic(handle_, p.operation, p.a, p.b, p.d, p.d, preference, 1, &found, &count);
        } catch (...) {
            static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
            throw;
        }
        static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
        if (status == CUBLAS_STATUS_SUCCESS && count > 0) {
            p.algorithm = found.algo;
            return;
        }
        throw device_error("product::cublaslt: cuBLASLt has no algorithm for a product of " + std::to_string(s.m) +
                           " x " + std::to_string(s.k) + " and " + std::to_string(s.k) + " x " + std::to_string(s.n) +
                           " (column-major) with " + std::to_string(s.workspace) +
                           " bytes of work space: " + cublasLtGetStatusString(status));
    }

    cublasLtHandle_t handle_ = nullptr;
    std::vector<plan> plans_;
};

} // namespace espalier::cuda

namespace espalier::product {

namespace detail {

template <class T> constexpr cudaDataType_t cuda_type() {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, __nv_bfloat16>,
                  "espalier: product::cublaslt multiplies float, double and bf16");
    if constexpr (std::is_same_v<T, double>)
        return CUDA_R_64F;
    else if constexpr (std::is_same_v<T, float>)
        return CUDA_R_32F;
    else
        return CUDA_R_16BF;
}

/// The largest power of two up to 256 that divides the address and the number of bytes.
inline std::uint32_t alignment_of(void const* p, index_t bytes) {
    auto const address = reinterpret_cast<std::uintptr_t>(p) | static_cast<std::uintptr_t>(bytes) | 256u;
    return static_cast<std::uint32_t>(address & (~address + 1));
}

} // namespace detail

/// Equal products in one call: how many, and the elements from the matrices of one to those of the next. `left` is x,
/// or dz of an input gradient; `right` is W, or dz of a weight gradient.
struct product_batch {
    int count = 1;
    index_t left = 0, right = 0, result = 0, bias = 0;
};

/// Products by cuBLASLt, the default on CUDA. Row-major matrices are the transposes of what cuBLASLt sees. Float
/// products keep the precision of float unless Precision is tf32; bf16 products accumulate in float, and weight
/// gradients of bf16 operands are float. Throws device_error when cuBLASLt refuses.
template <cuda::float_product Precision = cuda::float_product::exact> struct basic_cublaslt {
    using axis = espalier::axis::product;
    static constexpr std::string_view name =
        Precision == cuda::float_product::exact ? std::string_view("cublaslt") : std::string_view("cublaslt_tf32");

    /// What cuBLASLt may use on Hopper, as NVIDIA recommends.
    static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;
    /// Whether the bias is added inside the product; otherwise z holds it already and the product is added to it.
    template <class T> static constexpr bool adds_bias = !std::is_same_v<T, double>;

    template <class T> static std::size_t scratch(index_t, index_t, index_t) { return workspace_bytes; }

    /// z = x W + bias (or z + x W), x: rows x in, W: in x out, bias: out or null, z: rows x out. Each product once or
    /// as often as `batch` says.
    template <class T>
    static void forward(cuda::cublaslt_plans& plans, matrix_view<T const> x, matrix_view<T const> w, T const* bias,
                        matrix_view<T> z, bool accumulate, scratch_view space, cudaStream_t stream,
                        product_batch const& batch = {}) {
        run<T, T>(plans, false, false, w, x, z, z.columns, z.rows, x.columns, bias, accumulate, space, stream,
                  {batch.count, batch.right, batch.left, batch.result, batch.bias});
    }
    /// dx = dz W^T (or dx + dz W^T)
    template <class T>
    static void input_gradient(cuda::cublaslt_plans& plans, matrix_view<T const> dz, matrix_view<T const> w,
                               matrix_view<T> dx, scratch_view space, cudaStream_t stream,
                               product_batch const& batch = {}, bool accumulate = false) {
        run<T, T>(plans, true, false, w, dz, dx, dx.columns, dx.rows, dz.columns, static_cast<T const*>(nullptr),
                  accumulate, space, stream, {batch.count, batch.right, batch.left, batch.result, 0});
    }
    /// dW = x^T dz
    template <class T>
    static void weight_gradient(cuda::cublaslt_plans& plans, matrix_view<T const> x, matrix_view<T const> dz,
                                matrix_view<master_of<T>> dw, scratch_view space, cudaStream_t stream,
                                product_batch const& batch = {}) {
        run<T, master_of<T>>(plans, false, true, dz, x, dw, dw.columns, dw.rows, x.rows,
                             static_cast<master_of<T> const*>(nullptr), false, space, stream,
                             {batch.count, batch.right, batch.left, batch.result, 0});
    }

private:
    struct repetition {
        int count;
        index_t a, b, d, bias;
    };
    template <class T, class Result>
    static void run(cuda::cublaslt_plans& plans, bool transpose_a, bool transpose_b, matrix_view<T const> a,
                    matrix_view<T const> b, matrix_view<Result> d, index_t m, index_t n, index_t k, Result const* bias,
                    bool accumulate, scratch_view space, cudaStream_t stream, repetition const& next) {
        if (m == 0 || n == 0) return;
        if (k == 0) {
            // An empty sum; cuBLASLt does not take it. Layers without inputs do not exist, so no bias is lost.
            for (int i = 0; i < next.count && !accumulate; ++i)
                cuda::check(cudaMemset2DAsync(d.data + i * next.d, static_cast<std::size_t>(d.stride) * sizeof(Result),
                                              0, static_cast<std::size_t>(m) * sizeof(Result),
                                              static_cast<std::size_t>(n), stream),
                            "product::cublaslt");
            return;
        }
        constexpr bool is_double = std::is_same_v<T, double>;
        cublasComputeType_t const compute = is_double ? CUBLAS_COMPUTE_64F
                                            : std::is_same_v<T, float> && Precision == cuda::float_product::tf32
                                                ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                : CUBLAS_COMPUTE_32F;
        auto& plan = plans.find({detail::cuda_type<T>(),
                                 detail::cuda_type<Result>(),
                                 compute,
                                 transpose_a,
                                 transpose_b,
                                 bias != nullptr,
                                 accumulate,
                                 m,
                                 n,
                                 k,
                                 a.stride,
                                 b.stride,
                                 d.stride,
                                 detail::alignment_of(a.data, next.a * index_t{sizeof(T)}),
                                 detail::alignment_of(b.data, next.b * index_t{sizeof(T)}),
                                 detail::alignment_of(d.data, next.d * index_t{sizeof(Result)}),
                                 space.size,
                                 next.count,
                                 next.a,
                                 next.b,
                                 next.d,
                                 next.bias});
        if (bias)
            cuda::check(
                cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
                "cublasLtMatmulDescSetAttribute");
        using scale = std::conditional_t<is_double, double, float>;
        scale const alpha = 1, beta = accumulate ? 1 : 0;
        cuda::check(cublasLtMatmul(plans.handle(), plan.operation, &alpha, a.data, plan.a, b.data, plan.b, &beta,
                                   d.data, plan.d, d.data, plan.d, &plan.algorithm, space.data, space.size, stream),
                    "cublasLtMatmul");
    }
};

using cublaslt = basic_cublaslt<>;
/// Float products on the tensor cores: about 1e-3 relative error a term.
using cublaslt_tf32 = basic_cublaslt<cuda::float_product::tf32>;

} // namespace espalier::product

#endif
