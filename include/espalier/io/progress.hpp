// SPDX-License-Identifier: Apache-2.0
// A progress bar for loops that take a while: share done, rate, time left and a few words, on one line of a terminal.
// Into a file or a pipe it writes nothing.
// Included by host code (host only).
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

namespace espalier {

struct progress_options {
    std::string label = {};               ///< before the bar
    std::string unit = "rows";            ///< what the rate counts
    bool force = false;                   ///< draw even when the stream is not a terminal
    int columns = 0;                      ///< width of the line; 0: that of the terminal, else 80
    std::chrono::milliseconds every{100}; ///< shortest time between two drawings
};

/// Draws `label  45 % [=====>      ] 12.3k rows/s 0:07 left  text` over and over on one line. The rate counts from the
/// first `update`, so that a resumed run is not credited with what an earlier one did.
class progress_bar {
public:
    explicit progress_bar(std::uint64_t total, progress_options options = {}, std::ostream& out = std::cerr)
        : options_(std::move(options)), out_(&out), total_(total) {
        int const descriptor = &out == &std::cout                         ? STDOUT_FILENO
                               : &out == &std::cerr || &out == &std::clog ? STDERR_FILENO
                                                                          : -1;
        bool const terminal = descriptor >= 0 && ::isatty(descriptor) == 1;
        active_ = terminal || options_.force;
        winsize size{};
        if (options_.columns <= 0) {
            bool const known = terminal && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
            options_.columns = known ? size.ws_col : 80;
        }
    }
    progress_bar(progress_bar const&) = delete;
    progress_bar& operator=(progress_bar const&) = delete;
    /// Leaves the line as it is and goes to the next one, also when an exception ends the loop.
    ~progress_bar() { end_line(); }

    bool active() const { return active_; }

    /// `done` of the total are done. Costs a clock reading unless it is time to draw.
    void update(std::uint64_t done, std::string_view text = {}) {
        if (!active_) {
            return;
        }
        auto const now = time::now();
        if (!started_) {
            started_ = true;
            start_ = now;
            first_ = done;
        } else if (now - drawn_ < options_.every) {
            return;
        }
        drawn_ = now;
        draw(done, text, std::chrono::duration<double>(now - start_).count());
    }

    /// Draws the last state and ends the line.
    void finish(std::string_view text = {}) {
        if (active_) {
            draw(total_, text, started_ ? std::chrono::duration<double>(time::now() - start_).count() : 0.0);
        }
        end_line();
        active_ = false;
    }

private:
    using time = std::chrono::steady_clock;

    void draw(std::uint64_t done, std::string_view text, double seconds) {
        double const share = total_ == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
        double const rate = seconds > 0 && done > first_ ? static_cast<double>(done - first_) / seconds : 0.0;
        char figures[96];
        std::string tail;
        if (rate > 0) {
            double const left = done < total_ ? static_cast<double>(total_ - done) / rate : seconds;
            auto const whole = static_cast<unsigned long long>(std::min(left, 3.6e8));
            std::snprintf(figures, sizeof figures, " %.*f%s %s/s %llu:%02llu", rate < 10e3 ? 0 : 1,
                          rate < 10e3   ? rate
                          : rate < 10e6 ? rate / 1e3
                                        : rate / 1e6,
                          rate < 10e3   ? ""
                          : rate < 10e6 ? "k"
                                        : "M",
                          options_.unit.substr(0, 24).c_str(), whole / 60, whole % 60);
            tail = std::string(figures) + (done < total_ ? " left" : "");
        }
        tail += text.empty() ? "" : "  " + std::string(text);
        std::snprintf(figures, sizeof figures, "%3d %% ", static_cast<int>(share * 100));
        std::string line = options_.label + (options_.label.empty() ? "" : " ") + figures;
        auto const columns = static_cast<std::size_t>(std::max(options_.columns - 1, 10)); // a full line would wrap
        if (std::size_t const used = line.size() + tail.size() + 2; used + 6 <= columns) {
            std::size_t const length = std::min<std::size_t>(columns - used, 30);
            auto const filled = static_cast<std::size_t>(share * static_cast<double>(length));
            line += "[" + std::string(filled, '=') + std::string(length - filled, ' ') + "]";
        }
        line = (line + tail).substr(0, columns);
        *out_ << '\r' << line << "\x1b[K" << std::flush; // to the end of the line: cleared
        open_ = true;
    }

    void end_line() {
        if (std::exchange(open_, false)) {
            *out_ << '\n' << std::flush;
        }
    }

    progress_options options_;
    std::ostream* out_;
    std::uint64_t total_;
    std::uint64_t first_ = 0;
    bool active_ = false;
    bool started_ = false;
    bool open_ = false;
    time::time_point start_{};
    time::time_point drawn_{};
};

} // namespace espalier
