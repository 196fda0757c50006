// SPDX-License-Identifier: Apache-2.0
// The progress bar: silent where it is not wanted, never wider than the line, never more often than asked.
#include <espalier/io/progress.hpp>

#include <support/catch.hpp>

#include <sstream>

using espalier::progress_bar;

namespace {

/// The last drawing on the line, without the control characters around it.
std::string last_drawing(std::string const& text) {
    auto const start = text.rfind('\r');
    auto const end = text.find("\x1b[K", start);
    return start == std::string::npos || end == std::string::npos ? "" : text.substr(start + 1, end - start - 1);
}

} // namespace

TEST_CASE("progress into something that is not a terminal is silent") {
    std::ostringstream out;
    {
        progress_bar bar(100, {}, out);
        CHECK_FALSE(bar.active());
        bar.update(10, "loss 1");
        bar.finish();
    }
    CHECK(out.str().empty());
}

TEST_CASE("progress draws share, bar and text") {
    std::ostringstream out;
    progress_bar bar(200, {.label = "epoch 3/20", .force = true, .columns = 70, .every = {}}, out);
    bar.update(0, "loss 2.5");
    // Nothing is known about the rate yet.
    CHECK(last_drawing(out.str()) == "epoch 3/20   0 % [" + std::string(30, ' ') + "]  loss 2.5");
    bar.update(50, "loss 1.5");
    std::string const quarter = last_drawing(out.str());
    CHECK_THAT(quarter, contains_text(" 25 % ["));
    CHECK_THAT(quarter, contains_text(" rows/s "));
    CHECK_THAT(quarter, contains_text(" left  loss 1.5"));
    CHECK(quarter.size() < 70);
    auto const open = quarter.find('[');
    auto const close = quarter.find(']');
    auto const length = close - open - 1;
    CHECK(quarter.substr(open + 1, length) == std::string(length / 4, '=') + std::string(length - length / 4, ' '));
    bar.update(199);
    CHECK_THAT(last_drawing(out.str()), contains_text(" 99 % [")); // 100 % only when all is done
    bar.finish("done");
    CHECK_THAT(last_drawing(out.str()), contains_text("100 % [="));
    CHECK(out.str().back() == '\n');
    std::string const before = out.str();
    bar.update(10); // after the end: nothing
    bar.finish();
    CHECK(out.str() == before);
}

TEST_CASE("progress is drawn no more often than asked") {
    std::ostringstream out;
    progress_bar bar(1'000'000, {.force = true, .columns = 80, .every = std::chrono::hours(1)}, out);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        bar.update(i);
    }
    std::string const text = out.str();
    CHECK(std::count(text.begin(), text.end(), '\r') == 1);
}

TEST_CASE("progress fits any width and any count") {
    for (int const columns : {1, 5, 20, 40, 200}) {
        std::ostringstream out;
        progress_bar bar(0, {.label = std::string(30, 'l'), .force = true, .columns = columns, .every = {}}, out);
        bar.update(5, std::string(300, 't')); // more than the total
        bar.update(7);
        CHECK(last_drawing(out.str()).size() <= static_cast<std::size_t>(std::max(columns - 1, 10)));
        CHECK(out.str().find("100 %") != (columns > 40 ? std::string::npos : 0));
    }
}

TEST_CASE("an exception leaves the progress line closed") {
    std::ostringstream out;
    try {
        progress_bar bar(10, {.force = true, .columns = 80}, out);
        bar.update(1);
        throw 1;
    } catch (int) {
    }
    CHECK(out.str().back() == '\n');
}

TEST_CASE("progress shows whole per cents where they are whole") {
    for (std::uint64_t total : {100, 300, 1000}) {
        std::ostringstream out;
        progress_bar bar(total, {.force = true, .columns = 60, .every = {}}, out);
        for (std::uint64_t done = 0; done < total; ++done) {
            bar.update(done);
            INFO(done << " of " << total << ": " << last_drawing(out.str()));
            CHECK(std::stoi(last_drawing(out.str())) == static_cast<int>(100 * done / total));
        }
    }
}
