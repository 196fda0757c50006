// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/progress.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/progress.hpp>

#include <espalier/core/exact_count.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <iostream>
#include <utility>

namespace espalier {

ESPALIER_LIBRARY progress_bar::progress_bar(std::uint64_t total, progress_options options, std::ostream& out)
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

ESPALIER_LIBRARY progress_bar::progress_bar(std::uint64_t total, progress_options options)
    : progress_bar(total, std::move(options), std::cerr) {}

ESPALIER_LIBRARY void progress_bar::update(std::uint64_t done, std::string_view text) {
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

ESPALIER_LIBRARY void progress_bar::finish(std::string_view text) {
    if (active_) {
        draw(total_, text, started_ ? std::chrono::duration<double>(time::now() - start_).count() : 0.0);
    }
    end_line();
    active_ = false;
}

ESPALIER_LIBRARY void progress_bar::draw(std::uint64_t done, std::string_view text, double seconds) {
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
    std::snprintf(figures, sizeof figures, "%3d %% ", static_cast<int>(floor_of_product(share, 100)));
    std::string line = options_.label + (options_.label.empty() ? "" : " ") + figures;
    auto const columns = static_cast<std::size_t>(std::max(options_.columns - 1, 10)); // a full line would wrap
    if (std::size_t const used = line.size() + tail.size() + 2; used + 6 <= columns) {
        std::size_t const length = std::min<std::size_t>(columns - used, 30);
        auto const filled = static_cast<std::size_t>(floor_of_product(share, static_cast<index_t>(length)));
        line += '[' + std::string(filled, '=') + std::string(length - filled, ' ') + ']';
    }
    line = (line + tail).substr(0, columns);
    *out_ << '\r' << line << "\x1b[K" << std::flush; // to the end of the line: cleared
    open_ = true;
}

ESPALIER_LIBRARY void progress_bar::end_line() {
    if (std::exchange(open_, false)) {
        *out_ << '\n' << std::flush;
    }
}

ESPALIER_LIBRARY progress_bar::~progress_bar() {
    end_line();
}

} // namespace espalier
