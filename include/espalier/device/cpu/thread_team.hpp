// SPDX-License-Identifier: Apache-2.0
// host only. Threads that one device owns and that exist only because the program asked for them.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace espalier::cpu {

/// A fixed number of threads that work on the parts of one task at a time. The caller is one of them; a team of one has
/// no thread of its own. Running a task allocates nothing. Between tasks the others sleep.
class thread_team {
public:
    /// Throws data_error for fewer than one or more than 256 threads, and std::system_error where the system has no
    /// more of them.
    explicit thread_team(int size = 1) : size_(size) {
        if (size < 1 || size > 256)
            throw data_error("thread_team: " + std::to_string(size) + " threads; needed are 1 to 256");
        members_ = std::make_unique<member[]>(static_cast<std::size_t>(size));
        try {
            for (int part = 1; part < size; ++part)
                at(part).thread = std::thread([this, part] { wait_for_tasks(part); });
        } catch (...) {
            stop();
            throw;
        }
    }
    thread_team(thread_team const&) = delete;
    thread_team& operator=(thread_team const&) = delete;
    ~thread_team() { stop(); }

    int size() const { return size_; }

    /// Calls task(part) for part = 0 ... size - 1, each on its own thread, and returns when all have. The first
    /// exception, in the order of the parts, is thrown again here. Tasks may not run tasks.
    template <class Task> void run(Task const& task) {
        if (size_ == 1) {
            task(0);
            return;
        }
        task_ = [](void const* t, int part) { (*static_cast<Task const*>(t))(part); };
        argument_ = &task;
        left_.store(size_ - 1, std::memory_order_relaxed);
        round_.fetch_add(1, std::memory_order_release);
        round_.notify_all();
        work(0);
        for (int left = left_.load(std::memory_order_acquire); left != 0; left = left_.load(std::memory_order_acquire))
            left_.wait(left, std::memory_order_acquire);
        for (int part = 0; part < size_; ++part)
            if (std::exception_ptr const failure = std::exchange(at(part).failure, nullptr)) {
                for (int later = part + 1; later < size_; ++later)
                    at(later).failure = nullptr;
                std::rethrow_exception(failure);
            }
    }

private:
    struct member {
        std::thread thread; ///< none for the caller, which is the first
        std::exception_ptr failure;
    };
    member& at(int part) { return members_[static_cast<std::size_t>(part)]; }

    void stop() {
        task_ = nullptr;
        round_.fetch_add(1, std::memory_order_release);
        round_.notify_all();
        for (int part = 1; part < size_; ++part)
            if (at(part).thread.joinable()) at(part).thread.join();
    }

    void work(int part) {
        try {
            task_(argument_, part);
        } catch (...) {
            at(part).failure = std::current_exception();
        }
    }

    void wait_for_tasks(int part) {
        flush_denormals const scope; // as the thread that runs the step does
        for (std::uint32_t seen = 0;;) {
            round_.wait(seen, std::memory_order_acquire);
            std::uint32_t const now = round_.load(std::memory_order_acquire);
            if (now == seen) continue;
            seen = now;
            if (!task_) return;
            work(part);
            if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) left_.notify_one();
        }
    }

    int size_;
    void (*task_)(void const*, int) = nullptr;
    void const* argument_ = nullptr;
    std::atomic<std::uint32_t> round_{0};
    std::atomic<int> left_{0};
    std::unique_ptr<member[]> members_;
};

} // namespace espalier::cpu
