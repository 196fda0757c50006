// SPDX-License-Identifier: Apache-2.0
// History: columns that appear later, numbers that are not finite, and files that read back equal.
#include <espalier/io/history.hpp>

#include "temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>

using namespace espalier_test;
using espalier::data_error;
using espalier::file_error;
using espalier::history;

TEST_CASE("a history grows by rows and by columns") {
    history run;
    CHECK(run.rows() == 0);
    CHECK_THROWS_AS(run.last("loss"), data_error);
    run.append({{"epoch", 0}, {"loss", 2.5}});
    run.append({{"loss", 1.25}, {"accuracy", 0.5}});
    CHECK(run.rows() == 2);
    CHECK(run.columns() == std::vector<std::string>{"epoch", "loss", "accuracy"});
    CHECK(run.column("loss") == std::vector<double>{2.5, 1.25});
    CHECK(std::isnan(run.at(1, "epoch")));
    CHECK(std::isnan(run.at(0, "accuracy")));
    CHECK(run.last("accuracy") == 0.5);
    CHECK(run.has("loss"));
    CHECK_FALSE(run.has("los"));
    CHECK(message_of<data_error>([&] { (void)run.column("los"); }) == "history: there is no column 'los'");
    CHECK(message_of<data_error>([&] { (void)run.at(2, "loss"); }) == "history: row 2 of 2");
    CHECK(message_of<data_error>([&] {
              run.append({{"loss", 1}, {"loss", 2}});
          }) == "history: column 'loss' comes twice in a row");
    CHECK_THROWS_AS(run.append({{"", 1}}), data_error);
    CHECK(run.rows() == 2); // refused rows leave nothing behind
    CHECK(run.column("loss").size() == 2);
}

TEST_CASE("a history as CSV") {
    history run;
    run.append({{"epoch", 0}, {"loss, total", 0.1}, {"a\"b", 1e-300}});
    run.append({{"epoch", 1}, {"loss, total", INFINITY}, {"a\"b", -INFINITY}});
    run.append({{"epoch", 2}});
    CHECK(run.to_csv() == "epoch,\"loss, total\",\"a\"\"b\"\n0,0.1,1e-300\n1,inf,-inf\n2,nan,nan\n");
    CHECK(history{}.to_csv() == "\n");
}

TEST_CASE("a history reads back from JSON, equal to the last bit") {
    temporary_folder folder;
    history run;
    double value = 1.0 / 3;
    for (int i = 0; i < 50; ++i) {
        run.append({{"z last letter first", i}, {"loss", value}, {"penalty \xc3\xa9 \"l2\"", -value * 1e-200}});
        value = value * 1.7 + 1e-5;
    }
    run.append({{"loss", NAN}, {"z last letter first", INFINITY}});
    run.write_json(folder / "run.json");
    run.write_csv(folder / "run.csv");
    CHECK(content_of(folder / "run.csv") == run.to_csv());
    auto const read = history::read_json(folder / "run.json");
    CHECK(read.columns() == run.columns());
    REQUIRE(read.rows() == 51);
    for (auto const& name : run.columns()) {
        for (espalier::index_t r = 0; r < 51; ++r) {
            double const expected = run.at(r, name);
            double const got = read.at(r, name);
            CHECK((std::isfinite(expected) ? got == expected : std::isnan(got)));
        }
    }
    history const empty = history::read_json(folder.put("empty.json", history{}.to_json()));
    CHECK(empty.rows() == 0);
    CHECK(history::read_json(folder.put("n.json", R"({"a": []})")).rows() == 0);
}

TEST_CASE("what is not a history is refused with file and reason") {
    temporary_folder folder;
    auto const refusal = [&](std::string const& text) {
        auto const path = folder.put("h.json", text);
        auto const message = message_of<file_error>([&] { (void)history::read_json(path); });
        return message.rfind(path.string() + ": ", 0) == 0 ? message.substr(path.string().size() + 2) : "? " + message;
    };
    CHECK_THAT(refusal(R"({"a": [1, 2)"), contains_text("not a JSON file"));
    CHECK_THAT(refusal(""), contains_text("not a JSON file"));
    CHECK_THAT(refusal("[1]"), contains_text("not a history"));
    CHECK_THAT(refusal(std::string("{}\0x", 4)), contains_text("not a JSON file: it holds a NUL byte"));
    CHECK_THAT(refusal(R"({"a": 1})"), contains_text("column 'a' is not a list"));
    CHECK_THAT(refusal(R"({"a": [1], "b": [1, 2]})"), contains_text("column 'b' has 2 rows, the first one 1"));
    CHECK_THAT(refusal(R"({"a": [1], "b": [2], "a": [3]})"), contains_text("column 'a' is there twice"));
    CHECK_THAT(refusal(R"({"a": [1], "b": ["x"]})"), contains_text("column 'b' holds something"));
    CHECK_THAT(message_of<file_error>([&] { (void)history::read_json(folder / "absent"); }),
               contains_text("cannot be opened"));
    CHECK_THAT(message_of<file_error>([&] { (void)history::read_json(folder.path()); }),
               contains_text("cannot be opened"));
}
