// SPDX-License-Identifier: Apache-2.0
// The emulated block: runs a kernel body lane by lane on the host, every lane a fiber, and reports what would be
// undefined on a GPU. For tests of kernel bodies, the user's own included. Link with Boost.Context (-lboost_context).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/view.hpp>

// The fibers are switched with the layer below boost::context::fiber: a fiber object returns through Boost's own frames
// after its body has ended, where the sanitizers no longer know the stack. Here the last switch never returns.
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define ESPALIER_EMULATED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ESPALIER_EMULATED_ASAN 1
#endif
#endif
#if !defined(ESPALIER_EMULATED_ASAN)
#define ESPALIER_EMULATED_ASAN 0
#endif
#if ESPALIER_EMULATED_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace espalier {

/// A kernel body did what is undefined on a GPU. The text names block, lane, operation and source line; the same facts
/// are members. `operation` reads as "block sync" or "tile<32> shuffle".
struct emulation_error : error {
    emulation_error(std::string const& text, index_t block_, std::uint32_t lane_, std::string operation_)
        : error(text), block(block_), lane(lane_), operation(std::move(operation_)) {}

    index_t block;
    std::uint32_t lane; ///< in its block
    std::string operation;
};

/// How `emulated_launch` runs its lanes.
struct emulated_options {
    /// 0: blocks in ascending order, lanes in ascending order between two operations of their group. Otherwise the
    /// orders of blocks, lanes and tiles are drawn from this seed: a body that lacks a `sync` gives different results
    /// under different seeds, a correct one never does. The same seed gives the same order.
    std::uint64_t order_seed = 0;
    /// A block that completes more group operations than this is taken to loop for ever.
    std::uint64_t operation_limit = 1'000'000;
    /// What a block may ask for through `shared<T>()` altogether; CUDA's limit for static shared memory.
    std::size_t shared_bytes = 48 * 1024;
};

namespace detail {

// Unwinds a lane that is suspended when its block fails. Not a std::exception: no body should catch it.
struct emulated_lane_abandoned {};

template <class T> inline char emulated_type_tag = 0; // its address identifies T

class emulated_engine;

// What a lane asks for when it stops at an operation of its group. It lives on the lane's stack.
struct emulated_request {
    using finish_function = void(emulated_engine const&, std::uint32_t first, emulated_request const* const* members,
                                 std::uint32_t width);

    std::string_view operation;
    finish_function* finish = nullptr; // called once with the requests of all lanes; fills in every `result`
    bool block = false;
    std::uint32_t width = 0;
    std::uint32_t source = 0; // the lane whose value a shuffle reads
    void const* value = nullptr;
    void* result = nullptr;
    void const* function = nullptr; // of a reduction
    std::source_location where;

    bool matches(emulated_request const& other) const {
        return block == other.block && width == other.width && finish == other.finish && operation == other.operation;
    }
    std::string name() const {
        return (block ? std::string("block ") : "tile<" + std::to_string(width) + "> ") + std::string(operation);
    }
    std::string place() const {
        std::string_view file = where.file_name();
        file.remove_prefix(file.rfind('/') + 1); // npos + 1 is 0
        return std::string(file) + ":" + std::to_string(where.line());
    }
};

// Stacks of finished lanes, kept by the thread for its next blocks. Each has a guard page: a body that overruns its
// stack stops there and does not write over its neighbour's.
class emulated_stacks {
public:
    emulated_stacks() = default;
    emulated_stacks(emulated_stacks const&) = delete;
    emulated_stacks& operator=(emulated_stacks const&) = delete;
    ~emulated_stacks() {
        for (auto& stack : free_) {
            allocator().deallocate(stack);
        }
    }
    boost::context::stack_context take() {
        if (free_.empty()) {
            boost::context::stack_context const fresh = allocator().allocate();
            return fresh;
        }
        boost::context::stack_context const stack = free_.back();
        free_.pop_back();
        return stack;
    }
    void give(boost::context::stack_context const& stack) { free_.push_back(stack); }
    static emulated_stacks& of_thread() {
        static thread_local emulated_stacks stacks;
        return stacks;
    }

private:
    // Address sanitizer puts red zones between the variables of a frame.
    static boost::context::protected_fixedsize_stack allocator() {
        return boost::context::protected_fixedsize_stack(ESPALIER_EMULATED_ASAN ? 512 * 1024 : 128 * 1024);
    }
    std::vector<boost::context::stack_context> free_;
};

// Runs the lanes of one block at a time.
class emulated_engine {
public:
    using lane_function = void(void* body, emulated_engine& engine, std::uint32_t lane);

    emulated_engine(index_t blocks, std::uint32_t threads, emulated_options const& options)
        : options_(options), blocks_(blocks), threads_(threads), random_(options.order_seed), lanes_(threads),
          order_(threads) {
        for (lane_state& lane : lanes_) {
            lane.stack = emulated_stacks::of_thread().take();
        }
        for (std::uint32_t i = 0; i < threads_; ++i) {
            order_[i] = i;
        }
    }
    emulated_engine(emulated_engine const&) = delete;
    emulated_engine& operator=(emulated_engine const&) = delete;
    ~emulated_engine() {
        for (lane_state& lane : lanes_) {
            emulated_stacks::of_thread().give(lane.stack);
        }
    }

    void run(lane_function* function, void* body) {
        std::vector<index_t> sequence(static_cast<std::size_t>(blocks_));
        for (index_t b = 0; b < blocks_; ++b) {
            sequence[static_cast<std::size_t>(b)] = b;
        }
        permute(sequence);
        function_ = function;
        body_ = body;
        for (index_t const block : sequence) {
            run_block(block);
        }
    }

    // --- for the groups ----------------------------------------------------------------------------------------------

    index_t block() const { return block_; }
    index_t blocks() const { return blocks_; }
    std::uint32_t threads() const { return threads_; }

    // Suspends the lane until all lanes of the group have asked for the same and `request.result` is filled in.
    void wait(std::uint32_t lane, emulated_request const& request) {
        lane_state& state = lanes_[lane];
        if (abandoned_) throw emulated_lane_abandoned{};
        state.request = &request;
        state.status = lane_status::waiting;
        switch_to_scheduler();
        if (abandoned_) throw emulated_lane_abandoned{};
    }

    [[noreturn]] void fail(std::uint32_t lane, emulated_request const& request, std::string const& what) const {
        throw emulation_error("emulated block " + std::to_string(block_) + ", lane " + std::to_string(lane) + ", " +
                                  request.name() + " (" + request.place() + "): " + what,
                              block_, lane, request.name());
    }

    void* shared(std::uint32_t lane, void const* type, std::size_t bytes, std::size_t alignment,
                 std::source_location where) {
        for (shared_storage const& s : shared_) {
            if (s.type == type) return s.bytes.get();
        }
        std::size_t total = bytes;
        for (shared_storage const& s : shared_) {
            total += s.size;
        }
        if (total > options_.shared_bytes) {
            emulated_request request;
            request.operation = "shared";
            request.block = true;
            request.where = where;
            fail(lane, request,
                 "asks for " + std::to_string(bytes) + " bytes of shared storage, " + std::to_string(total) +
                     " altogether, but a block has " + std::to_string(options_.shared_bytes));
        }
        std::align_val_t const aligned{alignment};
        shared_.push_back({type, bytes, {static_cast<std::byte*>(::operator new(bytes, aligned)), {aligned}}});
        poison(shared_.back());
        return shared_.back().bytes.get();
    }

private:
    enum class lane_status { fresh, ready, waiting, done };

    struct lane_state {
        boost::context::stack_context stack;
        boost::context::detail::fcontext_t context = nullptr;
        emulated_request const* request = nullptr;
        lane_status status = lane_status::fresh;
    };

    struct aligned_delete {
        std::align_val_t alignment;
        void operator()(std::byte* p) const { ::operator delete(p, alignment); }
    };
    struct shared_storage {
        void const* type;
        std::size_t size;
        std::unique_ptr<std::byte, aligned_delete> bytes; // exactly `size`, so that address sanitizer sees the end
    };

    // All bits set is NaN in every floating-point format and -1 in every signed integer.
    static void poison(shared_storage const& s) { std::memset(s.bytes.get(), 0xff, s.size); }

    // splitmix64
    std::uint64_t draw() {
        std::uint64_t z = random_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    template <class T> void permute(std::vector<T>& values) {
        if (options_.order_seed == 0) return;
        for (std::size_t i = values.size(); i > 1; --i) {
            std::swap(values[i - 1], values[draw() % i]);
        }
    }

    // --- fibers ------------------------------------------------------------------------------------------------------

    void resume(std::uint32_t lane) {
        lane_state& state = lanes_[lane];
        if (state.status == lane_status::fresh) {
            state.context = boost::context::detail::make_fcontext(state.stack.sp, state.stack.size, &enter);
        }
        state.status = lane_status::ready;
        current_ = lane;
#if ESPALIER_EMULATED_ASAN
        void* fake_stack = nullptr;
        __sanitizer_start_switch_fiber(&fake_stack, static_cast<char*>(state.stack.sp) - state.stack.size,
                                       state.stack.size);
#endif
        boost::context::detail::transfer_t const from = boost::context::detail::jump_fcontext(state.context, this);
#if ESPALIER_EMULATED_ASAN
        __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
        state.context = from.fctx;
    }

    void switch_to_scheduler() {
        void* fake_stack = nullptr;
#if ESPALIER_EMULATED_ASAN
        __sanitizer_start_switch_fiber(&fake_stack, scheduler_stack_, scheduler_stack_size_);
#endif
        arrived(boost::context::detail::jump_fcontext(scheduler_, nullptr).fctx, fake_stack);
    }

    // The first thing on a lane's stack after every switch to it.
    void arrived(boost::context::detail::fcontext_t scheduler, [[maybe_unused]] void* fake_stack) {
#if ESPALIER_EMULATED_ASAN
        __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack_, &scheduler_stack_size_);
#endif
        scheduler_ = scheduler;
    }

    // A lane's first frame. It is never left: the last switch away from it abandons it, so it must own nothing, and
    // address sanitizer must not mark its variables.
    __attribute__((noinline, no_sanitize_address)) static void enter(boost::context::detail::transfer_t from) {
        auto& engine = *static_cast<emulated_engine*>(from.data);
        engine.arrived(from.fctx, nullptr);
        engine.run_lane();
        engine.leave();
    }

    __attribute__((noinline, no_sanitize_address)) void leave() {
#if ESPALIER_EMULATED_ASAN
        __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_stack_size_);
#endif
        boost::context::detail::jump_fcontext(scheduler_, nullptr);
        __builtin_unreachable();
    }

    __attribute__((noinline)) void run_lane() {
        std::uint32_t const lane = current_;
        try {
            function_(body_, *this, lane);
        } catch (emulated_lane_abandoned const&) {
        } catch (...) {
            if (!abandoned_) failure_ = std::current_exception();
        }
        lanes_[lane].status = lane_status::done;
    }

    // --- a block -----------------------------------------------------------------------------------------------------

    void run_block(index_t block) {
        block_ = block;
        abandoned_ = false;
        failure_ = nullptr;
        for (lane_state& lane : lanes_) {
            lane.status = lane_status::fresh;
        }
        for (shared_storage const& s : shared_) {
            poison(s);
        }
        try {
            schedule();
        } catch (...) {
            failure_ = std::current_exception();
        }
        if (failure_) {
            abandoned_ = true;
            for (std::uint32_t lane = 0; lane < threads_; ++lane) {
                while (lanes_[lane].status == lane_status::waiting || lanes_[lane].status == lane_status::ready) {
                    resume(lane);
                }
            }
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

    // Rounds of: every lane that can run does so up to its next operation; then the groups whose lanes have all arrived
    // get their results.
    void schedule() {
        for (std::uint64_t operations = 0;;) {
            permute(order_);
            bool waiting = false;
            for (std::uint32_t const lane : order_) {
                lane_status const status = lanes_[lane].status;
                if (status == lane_status::fresh || status == lane_status::ready) {
                    resume(lane);
                    if (failure_) return;
                }
                waiting |= lanes_[lane].status == lane_status::waiting;
            }
            if (!waiting) return;
            std::uint64_t const finished = finish_groups();
            if (finished == 0) report_divergence();
            operations += finished;
            if (operations > options_.operation_limit) report_endless();
        }
    }

    bool complete(std::uint32_t first, emulated_request const& request) const {
        for (std::uint32_t lane = first; lane < first + request.width; ++lane) {
            if (lanes_[lane].status != lane_status::waiting || !lanes_[lane].request->matches(request)) return false;
        }
        return true;
    }

    std::uint64_t finish_groups() {
        arrived_.clear();
        for (std::uint32_t lane = 0; lane < threads_; ++lane) {
            if (lanes_[lane].status != lane_status::waiting) continue;
            emulated_request const& request = *lanes_[lane].request;
            if (lane % request.width == 0 && complete(lane, request)) arrived_.push_back(lane);
        }
        if (options_.order_seed != 0) {
            // Holding some groups back lets tiles run apart by more than one operation, as warps do.
            std::size_t kept = 0;
            for (std::size_t i = 0; i < arrived_.size(); ++i) {
                bool const last_chance = kept == 0 && i + 1 == arrived_.size();
                if (last_chance || draw() % 2 == 0) arrived_[kept++] = arrived_[i];
            }
            arrived_.resize(kept);
        }
        for (std::uint32_t const first : arrived_) {
            std::array<emulated_request const*, 1024> members;
            std::uint32_t const width = lanes_[first].request->width;
            for (std::uint32_t i = 0; i < width; ++i) {
                members[i] = lanes_[first + i].request;
                lanes_[first + i].status = lane_status::ready;
            }
            if (auto* const finish = members[0]->finish) finish(*this, first, members.data(), width);
        }
        return arrived_.size();
    }

    // No lane can go on. Of the operations at which lanes wait, the one to report is the narrowest that most of its
    // group has reached, or else the one with the most lanes; the first lane that is missing there is the culprit.
    [[noreturn]] void report_divergence() const {
        std::uint32_t reported = threads_;
        std::uint32_t best_count = 0;
        std::uint32_t best_majority = 0; // 0, or larger for a narrower group
        for (std::uint32_t lane = 0; lane < threads_; ++lane) {
            if (lanes_[lane].status != lane_status::waiting) continue;
            emulated_request const& request = *lanes_[lane].request;
            std::uint32_t count = 0;
            for_members(lane, [&](std::uint32_t other) { count += waits_at(other, request); });
            std::uint32_t const majority = 2 * count > request.width ? 1025 - request.width : 0;
            if (reported == threads_ || std::pair(majority, count) > std::pair(best_majority, best_count)) {
                reported = lane;
                best_count = count;
                best_majority = majority;
            }
        }
        emulated_request const& request = *lanes_[reported].request;
        std::uint32_t culprit = threads_;
        for_members(reported, [&](std::uint32_t other) {
            if (culprit == threads_ && !waits_at(other, request)) culprit = other;
        });
        fail(culprit, request,
             (lanes_[culprit].status == lane_status::done
                  ? std::string("the lane has left the kernel")
                  : "the lane waits at " + lanes_[culprit].request->name() + " (" + lanes_[culprit].request->place() +
                        ")" + (lanes_[culprit].request->name() == request.name() ? " with another type" : "")) +
                 ", but " + std::to_string(best_count) + " of " + std::to_string(request.width) +
                 " lanes (the first is lane " + std::to_string(reported) +
                 ") wait for it; every lane of a group must reach the same operations in the same order");
    }

    [[noreturn]] void report_endless() const {
        std::uint32_t lane = 0;
        while (lanes_[lane].status == lane_status::done) {
            ++lane;
        }
        fail(lane, *lanes_[lane].request,
             "the block has not ended after " + std::to_string(options_.operation_limit) + " operations of its groups");
    }

    bool waits_at(std::uint32_t lane, emulated_request const& request) const {
        return lanes_[lane].status == lane_status::waiting && lanes_[lane].request->matches(request);
    }

    template <class F> void for_members(std::uint32_t lane, F&& f) const {
        std::uint32_t const width = lanes_[lane].request->width;
        for (std::uint32_t other = lane / width * width, end = other + width; other < end; ++other) {
            f(other);
        }
    }

    emulated_options options_;
    index_t blocks_;
    std::uint32_t threads_;
    std::uint64_t random_;
    std::vector<lane_state> lanes_;
    std::vector<std::uint32_t> order_;
    std::vector<std::uint32_t> arrived_;
    std::vector<shared_storage> shared_;
    lane_function* function_ = nullptr;
    void* body_ = nullptr;
    index_t block_ = 0;
    std::uint32_t current_ = 0;
    boost::context::detail::fcontext_t scheduler_ = nullptr;
#if ESPALIER_EMULATED_ASAN
    void const* scheduler_stack_ = nullptr;
    std::size_t scheduler_stack_size_ = 0;
#endif
    std::exception_ptr failure_;
    bool abandoned_ = false;
};

// --- what the last lane's arrival computes ---------------------------------------------------------------------------

template <class T> T const& emulated_value(emulated_request const& request) {
    return *static_cast<T const*>(request.value);
}

template <class T>
void emulated_finish_shuffle(emulated_engine const&, std::uint32_t, emulated_request const* const* members,
                             std::uint32_t width) {
    for (std::uint32_t i = 0; i < width; ++i) {
        *static_cast<T*>(members[i]->result) = emulated_value<T>(*members[members[i]->source]);
    }
}

inline void emulated_finish_ballot(emulated_engine const&, std::uint32_t, emulated_request const* const* members,
                                   std::uint32_t width) {
    std::uint32_t bits = 0;
    for (std::uint32_t i = 0; i < width; ++i) {
        bits |= std::uint32_t{emulated_value<bool>(*members[i])} << i;
    }
    for (std::uint32_t i = 0; i < width; ++i) {
        *static_cast<std::uint32_t*>(members[i]->result) = bits;
    }
}

template <bool All>
void emulated_finish_vote(emulated_engine const&, std::uint32_t, emulated_request const* const* members,
                          std::uint32_t width) {
    bool vote = All;
    for (std::uint32_t i = 0; i < width; ++i) {
        vote = All ? vote && emulated_value<bool>(*members[i]) : vote || emulated_value<bool>(*members[i]);
    }
    for (std::uint32_t i = 0; i < width; ++i) {
        *static_cast<bool*>(members[i]->result) = vote;
    }
}

// The butterfly of a tile, and the tiles of a block from left to right: the order that group.hpp promises.
template <class T, class Operation>
void emulated_finish_reduce(emulated_engine const& engine, std::uint32_t first, emulated_request const* const* members,
                            std::uint32_t width) {
    Operation const& operation = *static_cast<Operation const*>(members[0]->function);
    std::uint32_t const tile = std::min<std::uint32_t>(width, 32);
    T total = emulated_value<T>(*members[0]);
    for (std::uint32_t start = 0; start < width; start += tile) {
        std::array<T, 32> v;
        for (std::uint32_t i = 0; i < tile; ++i) {
            v[i] = emulated_value<T>(*members[start + i]);
        }
        for (std::uint32_t m = tile / 2; m > 0; m /= 2) {
            for (std::uint32_t i = 0; i < tile; ++i) {
                if ((i & m) != 0) continue;
                T const a = v[i];
                T const b = v[i ^ m];
                v[i] = operation(a, b);
                v[i ^ m] = operation(b, a);
                // Both lanes must hold the same bits now; NaN is the exception (x != x), structs may have padding.
                if constexpr (std::is_arithmetic_v<T>) {
                    bool const numbers = v[i] == v[i] && v[i ^ m] == v[i ^ m];
                    if (numbers && std::memcmp(&v[i], &v[i ^ m], sizeof(T)) != 0) {
                        engine.fail(first + start + i, *members[start + i],
                                    "the operation is not commutative: " + std::to_string(a) + " and " +
                                        std::to_string(b) + " give " + std::to_string(v[i]) + " or " +
                                        std::to_string(v[i ^ m]) + ", so the lanes would disagree");
                    }
                }
            }
        }
        total = start == 0 ? v[0] : operation(total, v[0]);
        if (width <= 32) {
            for (std::uint32_t i = 0; i < width; ++i) {
                *static_cast<T*>(members[i]->result) = v[i];
            }
            return;
        }
    }
    for (std::uint32_t i = 0; i < width; ++i) {
        *static_cast<T*>(members[i]->result) = total;
    }
}

template <class T, bool Inclusive>
void emulated_finish_scan(emulated_engine const&, std::uint32_t, emulated_request const* const* members,
                          std::uint32_t width) {
    T total = 0;
    for (std::uint32_t i = 0; i < width; ++i) {
        T const next = static_cast<T>(total + emulated_value<T>(*members[i]));
        *static_cast<T*>(members[i]->result) = Inclusive ? next : total;
        total = next;
    }
}

// The numbers that a lane gives to multiply_add.
struct emulated_fragments {
    float d[4];
    std::uint32_t a[4], b[2];
};

inline float emulated_bfloat16(std::uint32_t word, std::uint32_t half) {
    std::uint32_t const bits = half == 0 ? word << 16 : word & 0xffff0000u;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// Adds the products in the order of the inner index.
inline void emulated_finish_multiply_add(emulated_engine const&, std::uint32_t, emulated_request const* const* members,
                                         std::uint32_t) {
    auto const of = [&](std::uint32_t lane) -> emulated_fragments const& {
        return emulated_value<emulated_fragments>(*members[lane]);
    };
    float a[16][16], b[16][8];
    for (std::uint32_t i = 0; i < 16; ++i) {
        for (std::uint32_t k = 0; k < 16; ++k) {
            a[i][k] = emulated_bfloat16(of(i % 8 * 4 + k % 8 / 2).a[i / 8 + k / 8 * 2], k % 2);
        }
    }
    for (std::uint32_t k = 0; k < 16; ++k) {
        for (std::uint32_t j = 0; j < 8; ++j) {
            b[k][j] = emulated_bfloat16(of(j * 4 + k % 8 / 2).b[k / 8], k % 2);
        }
    }
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
        for (std::uint32_t e = 0; e < 4; ++e) {
            float sum = of(lane).d[e];
            for (std::uint32_t k = 0; k < 16; ++k) {
                sum += a[lane / 4 + e / 2 * 8][k] * b[k][lane % 4 * 2 + e % 2];
            }
            static_cast<float*>(members[lane]->result)[e] = sum;
        }
    }
}

template <bool Transposed>
void emulated_finish_load_matrices(emulated_engine const& engine, std::uint32_t first,
                                   emulated_request const* const* members, std::uint32_t width) {
    auto const row = [&](std::uint32_t lane) {
        return static_cast<unsigned char const*>(emulated_value<void const*>(*members[lane]));
    };
    for (std::uint32_t lane = 0; lane < width; ++lane) {
        if (reinterpret_cast<std::uintptr_t>(row(lane)) % 16 != 0) {
            engine.fail(first + lane, *members[lane], "the row of a matrix is not 16-byte aligned");
        }
    }
    for (std::uint32_t lane = 0; lane < width; ++lane) {
        for (std::uint32_t i = 0; i < 4; ++i) {
            std::uint16_t half[2];
            for (std::uint32_t h = 0; h < 2; ++h) {
                std::uint32_t const r = Transposed ? lane % 4 * 2 + h : lane / 4;
                std::uint32_t const c = Transposed ? lane / 4 : lane % 4 * 2 + h;
                std::memcpy(&half[h], row(8 * i + r) + 2 * c, 2);
            }
            static_cast<std::uint32_t*>(members[lane]->result)[i] = half[0] | std::uint32_t{half[1]} << 16;
        }
    }
}

// What blocks and tiles have in common.
template <bool Block, std::uint32_t Lanes> class emulated_group {
public:
    using location = std::source_location;

    static constexpr std::uint32_t lanes = Lanes;

    emulated_group(emulated_engine& engine, std::uint32_t lane) : engine_(&engine), lane_(lane) {}

    constexpr std::uint32_t size() const { return Lanes; }
    std::uint32_t thread_rank() const { return lane_ % Lanes; }
    index_t block_rank() const { return engine_->block(); }
    index_t block_count() const { return engine_->blocks(); }
    index_t group_rank() const { return engine_->block() * (engine_->threads() / Lanes) + lane_ / Lanes; }
    index_t group_count() const { return engine_->blocks() * (engine_->threads() / Lanes); }

    void sync(location where = location::current()) const {
        engine_->wait(lane_, request("sync", nullptr, nullptr, nullptr, where));
    }
    bool any(bool predicate, location where = location::current()) const {
        bool result = false;
        engine_->wait(lane_, request("any", &emulated_finish_vote<false>, &predicate, &result, where));
        return result;
    }
    bool all(bool predicate, location where = location::current()) const {
        bool result = false;
        engine_->wait(lane_, request("all", &emulated_finish_vote<true>, &predicate, &result, where));
        return result;
    }

    template <class T, class Operation>
    T reduce(T value, Operation operation, location where = location::current()) const {
        return reduce_as("reduce", value, operation, where);
    }
    template <class T> T reduce_add(T value, location where = location::current()) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_add takes a number; convert narrow floats first");
        return reduce_as("reduce_add", value, group_add{}, where);
    }
    template <class T> T reduce_max(T value, location where = location::current()) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_max takes a number; convert narrow floats first");
        return reduce_as("reduce_max", value, group_max{}, where);
    }
    template <class T> T reduce_min(T value, location where = location::current()) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_min takes a number; convert narrow floats first");
        return reduce_as("reduce_min", value, group_min{}, where);
    }
    template <std::integral T> T inclusive_scan_add(T value, location where = location::current()) const {
        T result{};
        engine_->wait(lane_, request("inclusive_scan_add", &emulated_finish_scan<T, true>, &value, &result, where));
        return result;
    }
    template <std::integral T> T exclusive_scan_add(T value, location where = location::current()) const {
        T result{};
        engine_->wait(lane_, request("exclusive_scan_add", &emulated_finish_scan<T, false>, &value, &result, where));
        return result;
    }

protected:
    emulated_request request(std::string_view operation, emulated_request::finish_function* finish, void const* value,
                             void* result, location where) const {
        emulated_request r;
        r.operation = operation;
        r.finish = finish;
        r.block = Block;
        r.width = Lanes;
        r.value = value;
        r.result = result;
        r.where = where;
        return r;
    }

    template <class T, class Operation>
    T reduce_as(std::string_view name, T value, Operation const& operation, location where) const {
        static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16 && alignof(T) <= 16,
                      "espalier: a group reduces trivially copyable values of at most 16 bytes");
        T result = value;
        emulated_request r = request(name, &emulated_finish_reduce<T, Operation>, &value, &result, where);
        r.function = &operation;
        engine_->wait(lane_, r);
        return result;
    }

    emulated_engine* engine_;
    std::uint32_t lane_; // in the block
};

} // namespace detail

/// W neighbouring lanes of an emulated block. Meaning of the members: core/group.hpp. The trailing argument of each,
/// never given by a body, is where an error says that the operation stands.
template <std::uint32_t W> class emulated_tile : public detail::emulated_group<false, W> {
    static_assert(detail::is_tile_width(W), "espalier: a tile has 1, 2, 4, 8, 16 or 32 lanes");
    using base = detail::emulated_group<false, W>;

public:
    using base::base;
    using typename base::location;

    /// \throws emulation_error if `lane` is not one of the tile's.
    template <class T> T shuffle(T value, std::uint32_t lane, location where = location::current()) const {
        return exchange("shuffle", value, lane, where);
    }
    /// \throws emulation_error if the lane that `mask` leads to is not one of the tile's.
    template <class T> T shuffle_xor(T value, std::uint32_t mask, location where = location::current()) const {
        return exchange("shuffle_xor", value, this->thread_rank() ^ mask, where);
    }
    template <class T> T shuffle_down(T value, std::uint32_t delta, location where = location::current()) const {
        std::uint32_t const rank = this->thread_rank();
        return exchange("shuffle_down", value, delta < W - rank ? rank + delta : rank, where);
    }
    template <class T> T shuffle_up(T value, std::uint32_t delta, location where = location::current()) const {
        std::uint32_t const rank = this->thread_rank();
        return exchange("shuffle_up", value, delta <= rank ? rank - delta : rank, where);
    }
    std::uint32_t ballot(bool predicate, location where = location::current()) const {
        std::uint32_t result = 0;
        this->engine_->wait(this->lane_,
                            this->request("ballot", &detail::emulated_finish_ballot, &predicate, &result, where));
        return result;
    }
    void multiply_add(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2],
                      location where = location::current()) const requires(W == 32) {
        detail::emulated_fragments const given{{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
        this->engine_->wait(this->lane_,
                            this->request("multiply_add", &detail::emulated_finish_multiply_add, &given, &d[0], where));
    }
    /// \throws emulation_error if `row` is not 16-byte aligned.
    template <bool Transposed>
    void load_matrices(std::uint32_t (&words)[4], void const* row, location where = location::current()) const
        requires(W == 32) {
        this->engine_->wait(
            this->lane_,
            this->request("load_matrices", &detail::emulated_finish_load_matrices<Transposed>, &row, &words[0], where));
    }
    template <std::uint32_t V> emulated_tile<V> tile() const {
        static_assert(V <= W, "espalier: a tile of a tile has at most as many lanes");
        return {*this->engine_, this->lane_};
    }

private:
    template <class T> T exchange(std::string_view name, T value, std::uint32_t source, location where) const {
        static_assert(std::is_trivially_copyable_v<T>, "espalier: a value that is shuffled is trivially copyable");
        T result = value;
        detail::emulated_request r = this->request(name, &detail::emulated_finish_shuffle<T>, &value, &result, where);
        r.source = source;
        if (source >= W) {
            this->engine_->fail(this->lane_, r,
                                "the lane has rank " + std::to_string(this->thread_rank()) + " and reads lane " +
                                    std::to_string(source) + ", but the tile has lanes 0 to " + std::to_string(W - 1));
        }
        this->engine_->wait(this->lane_, r);
        return result;
    }
};

/// The group that `emulated_launch` hands to every lane. Meaning of the members: core/group.hpp.
template <std::uint32_t BlockThreads> class emulated_block : public detail::emulated_group<true, BlockThreads> {
    static_assert(detail::is_block_width(BlockThreads),
                  "espalier: a block has 1, 2, 4, 8, 16 or 32 threads, or a multiple of 32 up to 1024");
    using base = detail::emulated_group<true, BlockThreads>;

public:
    using base::base;
    using typename base::location;

    template <std::uint32_t W> emulated_tile<W> tile() const {
        static_assert(W <= BlockThreads, "espalier: a tile of a block has at most as many lanes");
        return {*this->engine_, this->lane_};
    }

    /// Storage of the block, filled with NaN (all bits set) before the block starts: what a body reads without having
    /// written it shows in the result. \throws emulation_error if the block asks for more than it has.
    template <class T> T& shared(location where = location::current()) const {
        static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>,
                      "espalier: shared storage is a type without constructor and destructor");
        return *std::launder(reinterpret_cast<T*>(
            this->engine_->shared(this->lane_, &detail::emulated_type_tag<T>, sizeof(T), alignof(T), where)));
    }
};

/// Runs `body(group)` for each of the `BlockThreads` lanes of `block_count` blocks, one lane after the other on the
/// calling thread, where `group` is this lane's `emulated_block<BlockThreads>`; returns when all have ended.
///
///     template <class Group> ESPALIER_FN void row_sums(Group group, matrix_view<float const> x, float* sums) {
///         auto tile = group.template tile<32>();
///         for (index_t r = tile.group_rank(); r < x.rows; r += tile.group_count()) {
///             float sum = 0;
///             for (index_t c = tile.thread_rank(); c < x.columns; c += tile.size()) sum += x(r, c);
///             sum = tile.reduce_add(sum);
///             if (tile.thread_rank() == 0) sums[r] = sum;
///         }
///     }
///
///     TEST_CASE("row sums") {
///         for (std::uint64_t seed = 0; seed < 8; ++seed) {
///             emulated_launch<64>(3, [&](auto& group) { row_sums(group, x, sums); }, {.order_seed = seed});
///             // compare sums with a plain loop
///         }
///     }
///
/// What is found: lanes of a group that do not reach the same operation (one has left the kernel, or waits elsewhere; a
/// deadlock is this case), a shuffle from a lane outside the tile, a reduction whose operation is not commutative, too
/// much shared storage, a block that never ends; under address sanitizer also accesses outside shared or global
/// arrays; by NaN, shared storage that is read before it is written; by comparing several `order_seed`s, a missing
/// `sync`. Not found: a shuffle used in place of `sync` to make writes visible, and lanes that spin on a variable
/// without calling their group, which hang.
///
/// An exception that leaves the body of one lane ends the launch: the other lanes are unwound, and the caller gets it.
/// A body that is called here must not be noexcept and must not swallow exceptions it does not know.
///
/// \throws shape_error if `block_count` is negative; emulation_error as above; whatever the body throws.
template <std::uint32_t BlockThreads, class Body>
void emulated_launch(index_t block_count, Body&& body, emulated_options const& options = {}) {
    static_assert(detail::is_block_width(BlockThreads),
                  "espalier: a block has 1, 2, 4, 8, 16 or 32 threads, or a multiple of 32 up to 1024");
    if (block_count < 0) {
        throw shape_error("emulated_launch: " + std::to_string(block_count) + " blocks; at least 0 are needed");
    }
    using body_type = std::remove_reference_t<Body>;
    detail::emulated_engine engine(block_count, BlockThreads, options);
    engine.run(
        [](void* function, detail::emulated_engine& e, std::uint32_t lane) {
            emulated_block<BlockThreads> group(e, lane);
            (*static_cast<body_type*>(function))(group);
        },
        const_cast<void*>(static_cast<void const*>(std::addressof(body))));
}

} // namespace espalier
