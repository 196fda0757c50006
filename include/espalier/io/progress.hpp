// SPDX-License-Identifier: Apache-2.0
// A progress bar for loops that take a while: share done, rate, time left and a few words, on one line of a terminal.
// Into a file or a pipe it writes nothing.
// Included by host code (host only).
#pragma once

#include <chrono>
#include <cstdint>
#include <espalier/core/library.hpp>
#include <iosfwd>
#include <string>
#include <string_view>

namespace espalier {

/// How a `progress_bar` looks.
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
    /// On standard error, or on another stream.
    explicit progress_bar(std::uint64_t total, progress_options options = {});
    progress_bar(std::uint64_t total, progress_options options, std::ostream& out);
    progress_bar(progress_bar const&) = delete;
    progress_bar& operator=(progress_bar const&) = delete;
    /// Leaves the line as it is and goes to the next one, also when an exception ends the loop.
    ~progress_bar();

    bool active() const { return active_; }

    /// `done` of the total are done. Costs a clock reading unless it is time to draw.
    void update(std::uint64_t done, std::string_view text = {});

    /// Draws the last state and ends the line.
    void finish(std::string_view text = {});

private:
    using time = std::chrono::steady_clock;

    void draw(std::uint64_t done, std::string_view text, double seconds);

    void end_line();

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

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/progress.hpp>
#endif
