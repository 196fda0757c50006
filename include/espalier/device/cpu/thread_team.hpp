// SPDX-License-Identifier: Apache-2.0
// host only. Threads that one device owns and that exist only because the program asked for them.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>

#include <memory>

namespace espalier::cpu {

/// A fixed number of threads that work on the parts of one task at a time. The caller is one of them; a team of one has
/// no thread of its own. Running a task allocates nothing. Between tasks the others sleep.
class thread_team {
public:
    /// Throws data_error for fewer than one or more than 256 threads, and std::system_error where the system has no
    /// more of them. A team of more than one measures its own `wake_time`, in a few milliseconds.
    explicit thread_team(int size = 1);
    thread_team(thread_team const&) = delete;
    thread_team& operator=(thread_team const&) = delete;
    ~thread_team();

    int size() const { return size_; }
    /// Seconds from the call of `run` for a task that does nothing to its return, when the threads have fallen asleep
    /// before: the last but one of nine, for what a sleeping core takes varies tenfold. 0 for a team of one.
    double wake_time() const { return wake_time_; }

    /// Calls task(part) for part = 0 ... size - 1, each on its own thread, and returns when all have. The first
    /// exception, in the order of the parts, is thrown again here. Tasks may not run tasks.
    template <class Task> void run(Task const& task) {
        if (size_ == 1)
            task(0);
        else
            run_all([](void const* t, int part) { (*static_cast<Task const*>(t))(part); }, &task);
    }

private:
    struct members;
    void run_all(void (*task)(void const*, int), void const* argument);

    int size_;
    double wake_time_ = 0.0;
    std::unique_ptr<members> members_; ///< of a team of more than one
};

} // namespace espalier::cpu

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/device/cpu/detail/thread_team.hpp>
#endif
