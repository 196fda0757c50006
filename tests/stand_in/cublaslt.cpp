// SPDX-License-Identifier: Apache-2.0
// cuBLASLt as far as product::cublaslt calls it: plain loops.
#include "stand_in/runtime.hpp"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace stand_in {

namespace {

struct operation {
    cublasComputeType_t compute;
    cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    void const* bias = nullptr;
    std::int64_t next_bias = 0;
};
struct layout {
    cudaDataType_t type;
    std::uint64_t rows, columns;
    std::int64_t stride;
    std::int32_t count = 1;
    std::int64_t next = 0;
};
struct preference {
    std::size_t workspace = 0;
    std::uint32_t align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};
/// What an algorithm was recommended for.
struct recommendation {
    std::uint64_t mark;
    preference given;
};
constexpr std::size_t most_written = std::size_t{1} << 16; // of the work space
constexpr std::uint64_t algorithm_mark = 0x3f1c9e2475d86ab1;

operation& of(cublasLtMatmulDesc_t d) {
    return *reinterpret_cast<operation*>(d);
}
layout& of(cublasLtMatrixLayout_t l) {
    return *reinterpret_cast<layout*>(l);
}
preference& of(cublasLtMatmulPreference_t p) {
    return *reinterpret_cast<preference*>(p);
}

cublasStatus_t begin_call(char const* call) {
    bool const fails = begin(call) != cudaSuccess;
    if (fails) static_cast<void>(cudaGetLastError()); // cuBLASLt's errors are none of the runtime's
    return fails ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
template <class Value> cublasStatus_t take(Value& into, void const* from, std::size_t size) {
    if (size != sizeof into) {
        report("cuBLASLt: an attribute of " + std::to_string(size) + " bytes where " + std::to_string(sizeof into) +
               " are meant");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    std::memcpy(&into, from, size);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t unknown(char const* what) {
    report(std::string("cuBLASLt: the stand-in does not know this ") + what);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

std::size_t size_of(cudaDataType_t type) {
    return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}
double number(void const* p, std::int64_t i, cudaDataType_t type) {
    if (type == CUDA_R_64F) return static_cast<double const*>(p)[i];
    if (type == CUDA_R_32F) return static_cast<double>(static_cast<float const*>(p)[i]);
    return static_cast<double>(__bfloat162float(static_cast<__nv_bfloat16 const*>(p)[i]));
}
void put_number(void* p, std::int64_t i, cudaDataType_t type, double x) {
    if (type == CUDA_R_64F)
        static_cast<double*>(p)[i] = x;
    else if (type == CUDA_R_32F)
        static_cast<float*>(p)[i] = static_cast<float>(x);
    else
        static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16(static_cast<float>(x));
}

/// d = alpha op(a) op(b) + beta d + bias, column-major.
struct product {
    operation what;
    layout la, lb, ld;
    void const *a, *b;
    void* d;
    double alpha, beta;
    void* space;
    std::size_t space_bytes;

    void run() const {
        std::memset(space, 0xff, space_bytes < most_written ? space_bytes : most_written);
        std::int64_t const m = static_cast<std::int64_t>(ld.rows), n = static_cast<std::int64_t>(ld.columns);
        bool const ta = what.transpose_a != CUBLAS_OP_N, tb = what.transpose_b != CUBLAS_OP_N;
        std::int64_t const k = static_cast<std::int64_t>(ta ? la.rows : la.columns);
        for (std::int64_t i = 0; i < ld.count; ++i)
            for (std::int64_t c = 0; c < n; ++c)
                for (std::int64_t r = 0; r < m; ++r) {
                    double sum = 0;
                    for (std::int64_t t = 0; t < k; ++t)
                        sum += number(a, i * la.next + (ta ? r * la.stride + t : t * la.stride + r), la.type) *
                               number(b, i * lb.next + (tb ? t * lb.stride + c : c * lb.stride + t), lb.type);
                    std::int64_t const at = i * ld.next + c * ld.stride + r;
                    double x = alpha * sum;
                    if (beta != 0) x += beta * number(d, at, ld.type);
                    if (what.epilogue == CUBLASLT_EPILOGUE_BIAS)
                        x += number(what.bias, i * what.next_bias + r, ld.type);
                    put_number(d, at, ld.type, x);
                }
    }
    void check() const {
        expect(a, la, "a product's first factor");
        expect(b, lb, "a product's second factor");
        expect(d, ld, "a product's result");
        if (what.epilogue == CUBLASLT_EPILOGUE_BIAS)
            for (std::int64_t i = 0; i < ld.count; ++i)
                expect_memory("a product's bias",
                              static_cast<unsigned char const*>(what.bias) +
                                  static_cast<std::size_t>(i * what.next_bias) * size_of(ld.type),
                              ld.rows * size_of(ld.type));
        std::uint64_t const m = ld.rows, n = ld.columns;
        bool const ta = what.transpose_a != CUBLAS_OP_N, tb = what.transpose_b != CUBLAS_OP_N;
        if ((ta ? la.columns : la.rows) != m || (tb ? lb.rows : lb.columns) != n ||
            (ta ? la.rows : la.columns) != (tb ? lb.columns : lb.rows))
            report("cublasLtMatmul: the extents of its matrices do not fit");
        if (la.count != ld.count || lb.count != ld.count) report("cublasLtMatmul: different numbers of matrices");
    }

private:
    static void expect(void const* p, layout const& l, char const* what) {
        if (l.stride < static_cast<std::int64_t>(l.rows)) report(std::string(what) + ": columns lie over each other");
        for (std::int64_t i = 0; i < l.count; ++i)
            expect_memory(what,
                          static_cast<unsigned char const*>(p) + static_cast<std::size_t>(i * l.next) * size_of(l.type),
                          (static_cast<std::size_t>(l.stride) * (l.columns - 1) + l.rows) * size_of(l.type));
    }
};

void expect_boundary(char const* what, void const* p, std::uint32_t promised) {
    if (reinterpret_cast<std::uintptr_t>(p) % promised != 0)
        report(std::string("cublasLtMatmul: ") + what + " does not lie on a boundary of " + std::to_string(promised) +
               " bytes as its algorithm was promised");
}

} // namespace

} // namespace stand_in

using namespace stand_in;

extern "C" {

char const* cublasLtGetStatusName(cublasStatus_t) {
    return "CUBLAS_STATUS_EXECUTION_FAILED";
}
char const* cublasLtGetStatusString(cublasStatus_t) {
    return "as a test asked for, or because of a fault that the stand-in reports";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    if (cublasStatus_t const status = begin_call("cublasLtCreate")) return status;
    *handle = reinterpret_cast<cublasLtHandle_t>(new char);
    count_objects(1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete reinterpret_cast<char*>(handle);
    count_objects(-1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute, cudaDataType_t) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmulDescCreate")) return status;
    *made = reinterpret_cast<cublasLtMatmulDesc_t>(new operation{compute});
    count_objects(1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
    delete &of(d);
    count_objects(-1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t to, cublasLtMatmulDescAttributes_t what,
                                              void const* from, std::size_t size) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmulDescSetAttribute")) return status;
    switch (what) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return take(of(to).transpose_a, from, size);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return take(of(to).transpose_b, from, size);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return take(of(to).epilogue, from, size);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return take(of(to).bias, from, size);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
        return take(of(to).next_bias, from, size);
    default:
        return unknown("attribute of a product");
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t stride) {
    if (cublasStatus_t const status = begin_call("cublasLtMatrixLayoutCreate")) return status;
    *made = reinterpret_cast<cublasLtMatrixLayout_t>(new layout{type, rows, columns, stride});
    count_objects(1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
    delete &of(l);
    count_objects(-1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t to, cublasLtMatrixLayoutAttribute_t what,
                                                void const* from, std::size_t size) {
    if (cublasStatus_t const status = begin_call("cublasLtMatrixLayoutSetAttribute")) return status;
    switch (what) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return take(of(to).count, from, size);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return take(of(to).next, from, size);
    default:
        return unknown("attribute of a matrix");
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmulPreferenceCreate")) return status;
    *made = reinterpret_cast<cublasLtMatmulPreference_t>(new preference);
    count_objects(1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
    delete &of(p);
    count_objects(-1);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t to,
                                                    cublasLtMatmulPreferenceAttributes_t what, void const* from,
                                                    std::size_t size) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmulPreferenceSetAttribute")) return status;
    switch (what) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return take(of(to).workspace, from, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
        return take(of(to).align_a, from, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
        return take(of(to).align_b, from, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
        return take(of(to).align_c, from, size);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return take(of(to).align_d, from, size);
    default:
        return unknown("preference");
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t wanted, int,
                                              cublasLtMatmulHeuristicResult_t found[], int* count) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmulAlgoGetHeuristic")) return status;
    recommendation const r{algorithm_mark, of(wanted)};
    static_assert(sizeof r <= sizeof found[0].algo);
    std::memcpy(&found[0].algo, &r, sizeof r);
    found[0].state = CUBLAS_STATUS_SUCCESS;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t what, void const* alpha, void const* a,
                              cublasLtMatrixLayout_t la, void const* b, cublasLtMatrixLayout_t lb, void const* beta,
                              void const* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              cublasLtMatmulAlgo_t const* algorithm, void* space, std::size_t space_bytes,
                              cudaStream_t stream) {
    if (cublasStatus_t const status = begin_call("cublasLtMatmul")) return status;
    recommendation r;
    std::memcpy(static_cast<void*>(&r), algorithm, sizeof r);
    if (r.mark != algorithm_mark) report("cublasLtMatmul: with an algorithm that nobody recommended");
    expect_boundary("a", a, r.given.align_a);
    expect_boundary("b", b, r.given.align_b);
    expect_boundary("d", d, r.given.align_d);
    if (space_bytes < r.given.workspace) report("cublasLtMatmul: less work space than its algorithm was promised");
    expect_memory("the work space of a product", space, space_bytes);
    if (c != d || lc != ld) return unknown("product of four matrices");
    bool const wide = of(what).compute == CUBLAS_COMPUTE_64F;
    auto const scale = [wide](void const* p) {
        return wide ? *static_cast<double const*>(p) : static_cast<double>(*static_cast<float const*>(p));
    };
    product const now{of(what), of(la), of(lb), of(ld), a, b, d, scale(alpha), scale(beta), space, space_bytes};
    now.check();
    launch shape{"cublasLtMatmul", dim3(0, 0, 0), dim3(0, 0, 0), 0, stream, {a, b, d}};
    if (now.what.epilogue == CUBLASLT_EPILOGUE_BIAS) shape.memory.push_back(now.what.bias);
    return put(stream, {"cublasLtMatmul", [now] { now.check(); }, [now] { now.run(); }}, &shape) == cudaSuccess
               ? CUBLAS_STATUS_SUCCESS
               : CUBLAS_STATUS_EXECUTION_FAILED;
}
}
