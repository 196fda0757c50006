// SPDX-License-Identifier: Apache-2.0
// CUDA's runtime on the host, as much of it as device::cuda calls. The device's memory can be touched by the device's
// work only, and that work waits in its stream until the host waits for it: a program that forgets to wait sees what it
// would see beside a slow GPU.
#include "stand_in/runtime.hpp"
#include "stand_in/kernel_facts.hpp"

#include <cuda_runtime_api.h>

#include <cxxabi.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <set>
#include <utility>

struct CUstream_st {
    bool orders_with_default = true;
    bool captured = false;
    bool spoiled = false; // a forbidden call came while it was captured
    std::vector<stand_in::work> graph;
};
struct CUgraph_st {
    std::vector<stand_in::work> nodes;
};
struct CUgraphExec_st {
    std::vector<stand_in::work> nodes;
};

namespace stand_in {

namespace {

constexpr std::size_t page = 4096, region_bytes = std::size_t{1} << 40;
constexpr std::size_t most_filled = std::size_t{1} << 20; // of memory that nobody has written
constexpr int multiprocessors = 132;

// Of compute capability 9.0.
constexpr unsigned most_threads = 1024, most_grid_rows = 65535;
constexpr std::size_t most_shared = 48 * 1024, most_arguments = 4096;

struct allocation {
    std::size_t bytes, page_bytes;
};
struct waiting {
    CUstream_st* stream; // null: the default stream
    work what;
};

struct device_state {
    unsigned char* region = nullptr;
    unsigned char* next = nullptr;
    std::map<unsigned char*, allocation> memory;
    std::deque<waiting> queue; // of all streams, in the order of the calls
    std::set<CUstream_st*> streams;
    std::map<void const*, std::string> kernels;
    std::map<void const*, kernel_facts> facts;
    std::vector<launch> launches;
    counts counted;
    std::vector<std::string> faults;
    long objects = 0, calls = 0, failing = -1;
    std::string failed_call;
    cudaError_t last = cudaSuccess;
    char const* running = nullptr;
    struct {
        dim3 grid, block;
        std::size_t shared;
        cudaStream_t stream;
    } configuration{};
};

device_state& state() {
    // Never destroyed: a program may free memory at its very end.
    static device_state& all = *[] {
        auto* const made = new device_state;
        void* const p = mmap(nullptr, region_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            std::perror("stand-in for CUDA");
            std::abort();
        }
        made->region = made->next = static_cast<unsigned char*>(p);
        return made;
    }();
    return all;
}

void end_at_wrong_access(int) {
    auto const say = [](char const* text) { static_cast<void>(!write(2, text, std::strlen(text))); };
    char const* const running = state().running;
    say("stand-in for CUDA: ");
    say(running ? running : "the host");
    say(" touches memory that it may not\n");
    _exit(1);
}

/// What no test has asked for is a failure of the program.
void end() {
    int wrong = 0;
    for (std::string const& fault : state().faults)
        if (++wrong <= 20) std::fprintf(stderr, "stand-in for CUDA: %s\n", fault.c_str());
    if (state().objects != 0) {
        ++wrong;
        std::fprintf(stderr, "stand-in for CUDA: %ld allocations, streams, graphs or plans are left\n",
                     state().objects);
    }
    std::fflush(nullptr);
    if (wrong > 0) _exit(1);
}

void announce() {
    static bool const said = [] {
        std::atexit(end);
        void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
        std::fprintf(stderr, "A stand-in for CUDA's runtime: kernels run on the CPU, one after the other%s.\n",
                     driver ? "; this machine's GPU is not used" : "");
        if (driver) dlclose(driver);
        struct sigaction action {};
        action.sa_handler = end_at_wrong_access;
        sigaction(SIGSEGV, &action, nullptr);
        return true;
    }();
    static_cast<void>(said);
}

// ---- memory

unsigned char* pages_of(unsigned char* p) {
    return p - reinterpret_cast<std::uintptr_t>(p) % page;
}
void let_touch(bool allowed) {
    for (auto const& [p, m] : state().memory)
        mprotect(pages_of(p), m.page_bytes, allowed ? PROT_READ | PROT_WRITE : PROT_NONE);
}
/// The device's memory can be touched while one lives.
struct at_work {
    explicit at_work(char const* what) {
        let_touch(true);
        state().running = what;
    }
    at_work(at_work const&) = delete;
    at_work& operator=(at_work const&) = delete;
    ~at_work() {
        state().running = nullptr;
        let_touch(false);
    }
};

bool of_device(void const* p) {
    auto const* const at = static_cast<unsigned char const*>(p);
    return at >= state().region && at < state().region + region_bytes;
}
/// Bytes from p to the end of its allocation, if there is one.
std::size_t bytes_from(void const* p, bool& found) {
    auto* const at = const_cast<unsigned char*>(static_cast<unsigned char const*>(p));
    auto next = state().memory.upper_bound(at);
    found = false;
    if (next == state().memory.begin()) return 0;
    --next;
    auto const offset = static_cast<std::size_t>(at - next->first);
    found = offset <= next->second.bytes;
    return found ? next->second.bytes - offset : 0;
}
bool of_host(std::uint64_t word) {
    if (word < 0x10000 || word >> 47 != 0) return false;
    return msync(reinterpret_cast<void*>(word / page * page), 1, MS_ASYNC) == 0;
}

// ---- streams

bool capturing() {
    return std::any_of(state().streams.begin(), state().streams.end(), [](CUstream_st* s) { return s->captured; });
}

/// Does what `chosen` picks of what waits, in order, up to the last that `until` picks.
template <class Chosen, class Until> void work_off(Chosen const& chosen, Until const& until) {
    auto& queue = state().queue;
    std::size_t end = queue.size();
    while (end > 0 && !until(queue[end - 1].stream))
        --end;
    if (end == 0) return;
    std::deque<waiting> due, left;
    for (std::size_t i = 0; i < queue.size(); ++i)
        (i < end && chosen(queue[i].stream) ? due : left).push_back(std::move(queue[i]));
    queue = std::move(left);
    at_work const open("a kernel");
    for (waiting& w : due) {
        state().running = w.what.name.c_str();
        try {
            w.what.run();
        } catch (std::exception const& e) {
            report(w.what.name + ": " + e.what());
        }
    }
}
bool ordered(CUstream_st* s) {
    return !s || s->orders_with_default;
}
void finish(CUstream_st* s) {
    if (ordered(s))
        work_off(ordered, [s](CUstream_st* other) { return s ? other == s : ordered(other); });
    else
        work_off([s](CUstream_st* other) { return other == s; }, [s](CUstream_st* other) { return other == s; });
}
void finish_all() {
    auto const others = [](CUstream_st* s) { return !ordered(s); };
    work_off(others, others); // which need not come behind the default stream
    finish(nullptr);
}

// ---- copies

enum class side { device, host };

struct block_of_rows {
    unsigned char* data;
    std::size_t stride, bytes, rows; // bytes of a row

    bool empty() const { return bytes == 0 || rows == 0; }
    std::size_t length() const { return empty() ? 0 : (rows - 1) * stride + bytes; }
};

void expect_side(std::string const& call, block_of_rows const& b, side where) {
    if (b.empty()) return;
    if (where == side::device)
        expect_memory(call, b.data, b.length());
    else if (of_device(b.data))
        report(call + ": memory of the device is given where memory of the host is meant");
    if (b.stride < b.bytes) report(call + ": rows lie over each other");
}
void copy_rows(block_of_rows const& from, block_of_rows const& to) {
    for (std::size_t r = 0; r < to.rows && !to.empty(); ++r)
        std::memmove(to.data + r * to.stride, from.data + r * from.stride, to.bytes);
}

/// A copy in the order of a stream, or, without one, of a call that waits as CUDA's does: for what comes from the host
/// until it has been read, for what goes there until all is done, within the device not at all.
cudaError_t copy(char const* call, block_of_rows from, block_of_rows to, cudaMemcpyKind kind, bool waits,
                 cudaStream_t stream) {
    side const source = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost ? side::host : side::device;
    side const target = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost ? side::host : side::device;
    if (kind == cudaMemcpyDefault || kind == cudaMemcpyHostToHost) report(std::string(call) + ": of an unknown kind");
    expect_side(call, from, source);
    expect_side(call, to, target);
    if (source == side::host || target == side::host) {
        ++state().counted.host_copies;
        if (waits) {
            ++state().counted.waits;
            finish(nullptr);
        }
        if (stream && stream->captured)
            report(std::string(call) + ": memory of the host goes into a graph, which would read it again later");
    }
    if (target == side::host && waits) {
        at_work const open(call);
        copy_rows(from, to);
        return cudaSuccess;
    }
    std::vector<unsigned char> staged;
    if (source == side::host && !from.empty()) staged.assign(from.data, from.data + from.length());
    return put(stream, {call,
                        [=] {
                            expect_side(call, from, source);
                            expect_side(call, to, target);
                        },
                        [=] {
                            block_of_rows rows = from;
                            if (source == side::host) rows.data = const_cast<unsigned char*>(staged.data());
                            copy_rows(rows, to);
                        }});
}

void fill(unsigned char* p, int value, std::size_t n) {
    if (value != 0 || n < 16 * page) {
        std::memset(p, value, n);
        return;
    }
    // Whole pages are given back, and come again as zeros when somebody needs them.
    unsigned char* const first = pages_of(p + page - 1);
    unsigned char* const end = pages_of(p + n);
    std::memset(p, 0, static_cast<std::size_t>(first - p));
    madvise(first, static_cast<std::size_t>(end - first), MADV_DONTNEED);
    std::memset(end, 0, static_cast<std::size_t>(p + n - end));
}
cudaError_t set(char const* call, block_of_rows to, int value, cudaStream_t stream) {
    auto const check = [=] { expect_side(call, to, side::device); };
    check();
    return put(stream, {call, check, [=] {
                            for (std::size_t r = 0; r < to.rows && !to.empty(); ++r)
                                fill(to.data + r * to.stride, value, to.bytes);
                        }});
}

unsigned char* bytes(void* p) {
    return static_cast<unsigned char*>(p);
}
unsigned char* bytes(void const* p) {
    return const_cast<unsigned char*>(static_cast<unsigned char const*>(p));
}

// ---- kernels

/// Copies of a kernel's arguments, each on its boundary.
class kept_arguments {
public:
    kept_arguments(kernel_facts const& facts, void** given) : facts_(&facts) {
        std::size_t size = 0;
        for (auto const& a : facts.arguments)
            size = up(size, a.alignment) + a.size;
        bytes_ = size;
        memory_.reset(static_cast<unsigned char*>(std::aligned_alloc(boundary, up(size + 1, boundary))));
        size = 0;
        for (std::size_t i = 0; i < facts.arguments.size(); ++i) {
            auto const& a = facts.arguments[i];
            size = up(size, a.alignment);
            std::memcpy(memory_.get() + size, given[i], a.size);
            places_.push_back(memory_.get() + size);
            size += a.size;
        }
        facts.clear_padding(places_.data());
    }
    std::size_t size() const { return bytes_; }
    void run(unsigned groups) const { facts_->body(places_.data(), groups); }

    /// Calls use(word) for every word that could be a pointer.
    template <class Use> void for_words(Use const& use) const {
        for (std::size_t i = 0; i < places_.size(); ++i) {
            auto const& a = facts_->arguments[i];
            for (std::size_t at = a.no_pointers; at + 8 <= a.size && a.alignment >= 8; at += 8) {
                std::uint64_t word;
                std::memcpy(&word, static_cast<unsigned char*>(places_[i]) + at, 8);
                use(word, i, at);
            }
        }
    }

private:
    static constexpr std::size_t boundary = 128;
    static std::size_t up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
    struct release {
        void operator()(unsigned char* p) const { std::free(p); }
    };

    kernel_facts const* facts_;
    std::unique_ptr<unsigned char[], release> memory_;
    std::vector<void*> places_;
    std::size_t bytes_ = 0;
};

void expect_pointers(std::string const& kernel, kept_arguments const& arguments) {
    arguments.for_words([&](std::uint64_t word, std::size_t argument, std::size_t at) {
        void const* const p = reinterpret_cast<void const*>(word);
        bool inside = true;
        if (of_device(p))
            bytes_from(p, inside);
        else
            inside = !of_host(word);
        if (!inside)
            report(kernel + ": argument " + std::to_string(argument) + " has at byte " + std::to_string(at) +
                   (of_device(p) ? " a pointer to memory of the device that is not allocated"
                                 : " a pointer to memory of the host"));
    });
}

cudaError_t expect_limits(launch const& l, std::size_t argument_bytes) {
    auto const within = [](dim3 d, unsigned x, unsigned y, unsigned z) {
        return d.x > 0 && d.y > 0 && d.z > 0 && d.x <= x && d.y <= y && d.z <= z;
    };
    char const* wrong = nullptr;
    if (!within(l.grid, 0x7fffffff, most_grid_rows, most_grid_rows)) wrong = "its grid";
    if (!within(l.block, most_threads, most_threads, 64) || l.block.x * l.block.y * l.block.z > most_threads)
        wrong = "its block";
    if (l.shared > most_shared) wrong = "its shared memory";
    if (argument_bytes > most_arguments) wrong = "the size of its arguments";
    if (!wrong) return cudaSuccess;
    report(l.kernel + ": " + wrong + " is none that a GPU takes");
    return failed(cudaErrorInvalidConfiguration);
}

cudaError_t launch_kernel(void const* function, launch shape, void** given) {
    auto const known = state().facts.find(function);
    shape.kernel = function ? state().kernels.at(function) : "a launch";
    if (known == state().facts.end()) {
        report(shape.kernel + ": launched without a kernel, or past the function that launches passes");
        return failed(cudaErrorInvalidDeviceFunction);
    }
    auto const arguments = std::make_shared<kept_arguments>(known->second, given);
    if (cudaError_t const status = expect_limits(shape, arguments->size())) return status;
    arguments->for_words([&](std::uint64_t word, std::size_t, std::size_t) {
        if (void const* const p = reinterpret_cast<void const*>(word); of_device(p)) shape.memory.push_back(p);
    });
    auto const check = [arguments, name = shape.kernel] { expect_pointers(name, *arguments); };
    check();
    return put(shape.stream, {shape.kernel, check, [arguments, groups = shape.grid.y] { arguments->run(groups); }},
               &shape);
}

} // namespace

// ---- for tests and for the other parts

void know(void const* kernel, kernel_facts const& facts) {
    state().facts[kernel] = facts;
}
std::vector<launch> const& launches() {
    return state().launches;
}
counts const& counted() {
    return state().counted;
}
void forget() {
    state().launches.clear();
    state().counted = {};
}
long objects() {
    return state().objects;
}
std::vector<std::string> take_faults() {
    return std::exchange(state().faults, {});
}
long calls() {
    return state().calls;
}
void fail(long call) {
    state().failing = call;
    state().failed_call.clear();
}
std::string failed_call() {
    return state().failed_call;
}

cudaError_t begin(char const* call) {
    if (state().calls++ != state().failing) return cudaSuccess;
    state().failed_call = call;
    return failed(cudaErrorUnknown);
}
cudaError_t begin_uncaptured(char const* call) {
    if (capturing()) {
        report(std::string(call) + " comes while a stream is captured");
        for (CUstream_st* s : state().streams)
            s->spoiled = s->spoiled || s->captured;
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    return begin(call);
}
cudaError_t failed(cudaError_t what) {
    state().last = what;
    return what;
}
cudaError_t put(cudaStream_t stream, work what, launch const* shape) {
    if (stream && state().streams.count(stream) == 0) {
        report(what.name + ": on a stream that does not exist");
        return failed(cudaErrorInvalidResourceHandle);
    }
    if (!stream && capturing()) {
        report(what.name + ": on the default stream while another is captured");
        return failed(cudaErrorStreamCaptureImplicit);
    }
    if (shape) state().launches.push_back(*shape);
    if (stream && stream->captured) {
        ++state().counted.captured;
        stream->graph.push_back(std::move(what));
    } else {
        if (shape) ++state().counted.launches;
        state().queue.push_back({stream, std::move(what)});
    }
    return cudaSuccess;
}
void report(std::string const& fault) {
    state().faults.push_back(fault);
}
void expect_memory(std::string const& what, void const* first, std::size_t bytes) {
    bool found = false;
    if (bytes_from(first, found) < bytes || !found)
        report(what + ": " + std::to_string(bytes) + " bytes that are not in one piece of the device's memory");
}
void count_objects(int change) {
    state().objects += change;
}

} // namespace stand_in

using namespace stand_in;

// What nvcc's host code calls.
extern "C" {

void** __cudaRegisterFatBinary(void*) {
    announce();
    static void* handle = nullptr;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) {
    return 1;
}
void __cudaRegisterFunction(void**, char const* function, char*, char const* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
    char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, nullptr);
    state().kernels[function] = readable ? readable : name;
    std::free(readable);
}
void __cudaRegisterVar(void**, char*, char*, char const*, int, std::size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st* stream) {
    state().configuration = {grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
    auto const& c = state().configuration;
    *grid = c.grid;
    *block = c.block;
    *shared = c.shared;
    *static_cast<cudaStream_t*>(stream) = c.stream;
    return cudaSuccess;
}
// A kernel is known by its function on the host. nvcc's code asks once and keeps what it gets.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, void const* function) {
    if (state().kernels.count(function) == 0) return cudaErrorInvalidDeviceFunction;
    *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream) {
    if (cudaError_t const status = begin("a launch")) return status;
    return launch_kernel(kernel, {{}, grid, block, shared, stream, {}}, arguments);
}

// ---- errors

cudaError_t cudaGetLastError() {
    return std::exchange(state().last, cudaSuccess);
}
char const* cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorUnknown:
        return "cudaErrorUnknown";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction:
        return "cudaErrorInvalidDeviceFunction";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureImplicit:
        return "cudaErrorStreamCaptureImplicit";
    default:
        return "another error";
    }
}
char const* cudaGetErrorString(cudaError_t) {
    return "as a test asked for, or because of a fault that the stand-in reports";
}

// ---- the device

cudaError_t cudaGetDeviceCount(int* count) {
    if (cudaError_t const status = begin("cudaGetDeviceCount")) return status;
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
    if (cudaError_t const status = begin("cudaGetDevice")) return status;
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    if (cudaError_t const status = begin("cudaDeviceGetAttribute")) return status;
    if (attribute != cudaDevAttrMultiProcessorCount) {
        report("cudaDeviceGetAttribute: an attribute that the stand-in does not know");
        return failed(cudaErrorInvalidValue);
    }
    *value = multiprocessors;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    if (cudaError_t const status = begin_uncaptured("cudaDeviceSynchronize")) return status;
    ++state().counted.waits;
    finish_all();
    return cudaSuccess;
}

// ---- memory

cudaError_t cudaMalloc(void** p, std::size_t size) {
    if (cudaError_t const status = begin_uncaptured("cudaMalloc")) return status;
    // At the end of its pages, on a boundary of 256 bytes, and with a page behind it that is nobody's.
    std::size_t const whole = (size + 255) / 256 * 256, pages = (whole + page - 1) / page * page;
    unsigned char* const first = state().next;
    if (first + pages + page > state().region + region_bytes) return failed(cudaErrorMemoryAllocation);
    if (mprotect(first, pages, PROT_READ | PROT_WRITE) != 0) return failed(cudaErrorMemoryAllocation);
    state().next += pages + page;
    std::memset(first, 0xff, std::min(pages, most_filled)); // no number
    mprotect(first, pages, PROT_NONE);
    state().memory[first + (pages - whole)] = {size, pages};
    *p = first + (pages - whole);
    ++state().counted.allocations;
    count_objects(1);
    return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
    if (!p) return cudaSuccess;
    if (capturing()) report("cudaFree comes while a stream is captured");
    auto const m = state().memory.find(bytes(p));
    if (m == state().memory.end()) {
        report("cudaFree of what is not allocated");
        return failed(cudaErrorInvalidValue);
    }
    ++state().counted.waits;
    finish_all();
    mprotect(pages_of(m->first), m->second.page_bytes, PROT_NONE);
    madvise(pages_of(m->first), m->second.page_bytes, MADV_DONTNEED);
    state().memory.erase(m);
    ++state().counted.frees;
    count_objects(-1);
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, void const* from, std::size_t n, cudaMemcpyKind kind) {
    if (cudaError_t const status = begin_uncaptured("cudaMemcpy")) return status;
    return copy("cudaMemcpy", {bytes(from), n, n, 1}, {bytes(to), n, n, 1}, kind, true, nullptr);
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_stride, void const* from, std::size_t from_stride, std::size_t n,
                         std::size_t rows, cudaMemcpyKind kind) {
    if (cudaError_t const status = begin_uncaptured("cudaMemcpy2D")) return status;
    return copy("cudaMemcpy2D", {bytes(from), from_stride, n, rows}, {bytes(to), to_stride, n, rows}, kind, true,
                nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t n, cudaMemcpyKind kind, cudaStream_t stream) {
    if (cudaError_t const status = begin("cudaMemcpyAsync")) return status;
    return copy("cudaMemcpyAsync", {bytes(from), n, n, 1}, {bytes(to), n, n, 1}, kind, false, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_stride, void const* from, std::size_t from_stride, std::size_t n,
                              std::size_t rows, cudaMemcpyKind kind, cudaStream_t stream) {
    if (cudaError_t const status = begin("cudaMemcpy2DAsync")) return status;
    return copy("cudaMemcpy2DAsync", {bytes(from), from_stride, n, rows}, {bytes(to), to_stride, n, rows}, kind, false,
                stream);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t n, cudaStream_t stream) {
    if (cudaError_t const status = begin("cudaMemsetAsync")) return status;
    return set("cudaMemsetAsync", {bytes(to), n, n, 1}, value, stream);
}
cudaError_t cudaMemset2DAsync(void* to, std::size_t stride, int value, std::size_t n, std::size_t rows,
                              cudaStream_t stream) {
    if (cudaError_t const status = begin("cudaMemset2DAsync")) return status;
    return set("cudaMemset2DAsync", {bytes(to), stride, n, rows}, value, stream);
}

// ---- streams and graphs

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    if (cudaError_t const status = begin("cudaStreamCreate")) return status;
    *stream = new CUstream_st;
    (*stream)->orders_with_default = flags != cudaStreamNonBlocking;
    state().streams.insert(*stream);
    count_objects(1);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    finish(stream);
    state().streams.erase(stream);
    delete stream;
    count_objects(-1);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (cudaError_t const status = begin_uncaptured("cudaStreamSynchronize")) return status;
    ++state().counted.waits;
    finish(stream);
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (cudaError_t const status = begin_uncaptured("cudaStreamBeginCapture")) return status;
    stream->captured = true;
    stream->spoiled = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    stream->captured = false;
    auto nodes = std::exchange(stream->graph, {});
    *graph = nullptr;
    if (cudaError_t const status = begin("cudaStreamEndCapture")) return status;
    if (stream->spoiled) return failed(cudaErrorStreamCaptureInvalidated);
    *graph = new CUgraph_st{std::move(nodes)};
    count_objects(1);
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    if (cudaError_t const status = begin_uncaptured("cudaGraphInstantiate")) return status;
    *executable = new CUgraphExec_st{graph->nodes};
    count_objects(1);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    if (cudaError_t const status = begin("cudaGraphLaunch")) return status;
    for (work const& node : executable->nodes) {
        node.check();
        if (cudaError_t const status = put(stream, node)) return status;
    }
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    finish_all();
    delete executable;
    count_objects(-1);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    count_objects(-1);
    return cudaSuccess;
}
}
