// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of device/cpu/thread_team.hpp; see core/library.hpp.
#pragma once

#include <espalier/device/cpu/thread_team.hpp>

#include <espalier/core/text.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

namespace espalier::cpu {

struct thread_team::members {
    struct member {
        std::thread thread; ///< none for the caller, which is the first
        std::exception_ptr failure;
    };

    explicit members(int size) : all(static_cast<std::size_t>(size)) {
        try {
            for (int part = 1; part < size; ++part)
                at(part).thread = std::thread([this, part] { wait_for_tasks(part); });
        } catch (...) {
            stop();
            throw;
        }
    }
    members(members const&) = delete;
    members& operator=(members const&) = delete;
    ~members() { stop(); }

    member& at(int part) { return all[static_cast<std::size_t>(part)]; }

    void stop() {
        task = nullptr;
        round.fetch_add(1, std::memory_order_release);
        round.notify_all();
        for (member& one : all)
            if (one.thread.joinable()) one.thread.join();
    }

    void work(int part) {
        try {
            task(argument, part);
        } catch (...) {
            at(part).failure = std::current_exception();
        }
    }

    void wait_for_tasks(int part) {
        flush_denormals const scope; // as the thread that runs the step does
        for (std::uint32_t seen = 0;;) {
            round.wait(seen, std::memory_order_acquire);
            std::uint32_t const now = round.load(std::memory_order_acquire);
            if (now == seen) continue;
            seen = now;
            if (!task) return;
            work(part);
            if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) left.notify_one();
        }
    }

    void (*task)(void const*, int) = nullptr;
    void const* argument = nullptr;
    std::atomic<std::uint32_t> round{0};
    std::atomic<int> left{0};
    std::vector<member> all;
};

ESPALIER_LIBRARY thread_team::thread_team(int size) : size_(size) {
    if (size < 1 || size > 256)
        espalier::detail::throw_data_error("thread_team: ", size, " threads; needed are 1 to 256");
    if (size == 1) return;
    members_ = std::make_unique<members>(size);
    double seconds[9];
    for (double& one : seconds) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        auto const begin = std::chrono::steady_clock::now();
        run([](int) {});
        one = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    std::nth_element(seconds, seconds + 7, seconds + 9);
    wake_time_ = seconds[7];
}

ESPALIER_LIBRARY thread_team::~thread_team() = default;

ESPALIER_LIBRARY void thread_team::run_all(void (*task)(void const*, int), void const* argument) {
    members& m = *members_;
    m.task = task;
    m.argument = argument;
    m.left.store(size_ - 1, std::memory_order_relaxed);
    m.round.fetch_add(1, std::memory_order_release);
    m.round.notify_all();
    m.work(0);
    for (int left = m.left.load(std::memory_order_acquire); left != 0; left = m.left.load(std::memory_order_acquire))
        m.left.wait(left, std::memory_order_acquire);
    for (int part = 0; part < size_; ++part)
        if (std::exception_ptr const failure = std::exchange(m.at(part).failure, nullptr)) {
            for (int later = part + 1; later < size_; ++later)
                m.at(later).failure = nullptr;
            std::rethrow_exception(failure);
        }
}

} // namespace espalier::cpu
