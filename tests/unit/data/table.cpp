// SPDX-License-Identifier: Apache-2.0
// Tables in memory: views, splits, scaling, and what is refused before training starts.
#include <espalier/data/table.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <limits>
#include <type_traits>

using espalier::data_error;
using espalier::data_set;
using espalier::data_view;
using espalier::index_t;

namespace {

/// 6 rows of 2 features, 3 classes, one target.
data_set small_set() {
    data_set data;
    data.count = 6;
    data.width = 2;
    data.target_width = 1;
    for (int r = 0; r < 6; ++r) {
        data.features.push_back(static_cast<float>(r));
        data.features.push_back(static_cast<float>(10 * r + 5));
        data.labels.push_back(r % 3);
        data.targets.push_back(static_cast<float>(-r));
    }
    data.feature_names = {"a", "b"};
    return data;
}

template <class Data, class... More> std::string refusal(Data const& data, More... more) {
    return message_of<data_error>([&] { espalier::check(data, "train", more...); });
}

} // namespace

// A view of a temporary would look at freed memory.
static_assert(std::is_convertible_v<data_set const&, data_view>);
static_assert(!std::is_convertible_v<data_set, data_view>);
static_assert(std::is_trivially_copyable_v<data_view>);

TEST_CASE("a data set converts to a view of its own memory") {
    data_set const data = small_set();
    data_view const view = data;
    CHECK(view.features.data == data.features.data());
    CHECK(view.count() == 6);
    CHECK(view.width() == 2);
    CHECK(view.features(4, 1) == 45.0f);
    CHECK(view.labels[5] == 2);
    CHECK(view.targets(3, 0) == -3.0f);
    CHECK(view.targets.columns == 1);
    data_set bare = small_set();
    bare.labels.clear();
    bare.targets.clear();
    CHECK_FALSE(bare.view().has_labels());
    CHECK_FALSE(bare.view().has_targets());
    CHECK(bare.view().middle_rows(1, 2).labels.size == 0);
}

TEST_CASE("split keeps order, labels, targets and names") {
    data_set const data = small_set();
    auto const [first, rest] = espalier::split(data, 4);
    CHECK(first.count == 4);
    CHECK(rest.count == 2);
    CHECK(first.features == std::vector<float>{0, 5, 1, 15, 2, 25, 3, 35});
    CHECK(rest.features == std::vector<float>{4, 45, 5, 55});
    CHECK(rest.labels == std::vector<std::int32_t>{1, 2});
    CHECK(rest.targets == std::vector<float>{-4, -5});
    CHECK(rest.feature_names == data.feature_names);
    CHECK(refusal(rest) == "no exception");

    auto const [head, tail] = espalier::split(data.view(), 4);
    CHECK(head.count() == 4);
    CHECK(tail.features.data == data.features.data() + 8);
    CHECK(tail.labels[0] == 1);
    CHECK(tail.targets(1, 0) == -5.0f);

    CHECK(espalier::split(data, 0).first.count == 0);
    CHECK(espalier::split(data, 6).second.count == 0);
    CHECK_THROWS_AS(espalier::split(data, 7), data_error);
    CHECK_THROWS_AS(espalier::split(data.view(), -1), data_error);
}

TEST_CASE("scale multiplies the features alone") {
    data_set data = small_set();
    espalier::scale(data, 1.0 / 4);
    CHECK(data.features[5] == 6.25f);
    CHECK(data.targets[5] == -5.0f);
}

TEST_CASE("standardise takes its numbers from the first set") {
    auto [train, test] = espalier::split(small_set(), 4);
    train.width = test.width = 2;
    auto const found = espalier::standardise(train, test);
    CHECK(found.mean[0] == Approx(1.5));
    CHECK(found.mean[1] == Approx(20.0));
    double const deviation = std::sqrt(1.25); // of 0, 1, 2, 3
    CHECK(found.factor[0] == Approx(1.0 / deviation));
    for (int c = 0; c < 2; ++c) {
        double sum = 0, squares = 0;
        for (int r = 0; r < 4; ++r) {
            double const x = train.view().features(r, c);
            sum += x;
            squares += x * x;
        }
        CHECK(std::abs(sum) < 1e-6);
        CHECK(squares / 4 == Approx(1.0).epsilon(1e-6));
    }
    CHECK(test.features[0] == Approx((4 - 1.5) / deviation).epsilon(1e-6));
    CHECK(test.features[3] == Approx((55 - 20) / (10 * deviation)).epsilon(1e-6));
}

TEST_CASE("standardise makes a constant feature zero") {
    data_set data;
    data.count = 3;
    data.width = 2;
    data.features = {0.1f, 1, 0.1f, 2, 0.1f, 3};
    espalier::standardise(data);
    CHECK(data.features[0] == 0.0f);
    CHECK(data.features[4] == 0.0f);
    CHECK(data.features[5] == Approx(std::sqrt(1.5)));
}

TEST_CASE("standardise refuses before it changes anything") {
    data_set train = small_set();
    data_set narrow = small_set();
    narrow.width = 1;
    narrow.count = 12;
    auto const before = train.features;
    CHECK_THROWS_AS(espalier::standardise(train, narrow), data_error);
    CHECK(train.features == before);
    data_set empty;
    CHECK_THROWS_AS(espalier::standardise(empty), data_error);
}

TEST_CASE("class_count is the largest label and the known names") {
    data_set data = small_set();
    CHECK(espalier::class_count(data) == 3);
    CHECK(espalier::class_count(data.view()) == 3);
    data.class_names = {"a", "b", "c", "d"};
    CHECK(espalier::class_count(data) == 4);
    data.labels[2] = -1;
    CHECK_THROWS_AS(espalier::class_count(data), data_error);
    data.labels.clear();
    CHECK(espalier::class_count(data.view()) == 0);
}

TEST_CASE("check says what is wrong and where") {
    data_set const good = small_set();
    CHECK(refusal(good) == "no exception");
    CHECK(refusal(good.view()) == "no exception");
    CHECK(refusal(good, 3) == "no exception");
    CHECK(refusal(good, 2) == "train: row 2 has label 2; 2 classes take labels 0 to 1");

    data_set bad = good;
    bad.features[9] = std::numeric_limits<float>::quiet_NaN();
    CHECK(refusal(bad) == "train: the feature at row 4, column 1 ('b') is not a number (NaN); all must be finite");
    CHECK(refusal(bad.view()) == "train: the feature at row 4, column 1 is not a number (NaN); all must be finite");
    bad.features[2] = -std::numeric_limits<float>::infinity();
    CHECK(refusal(bad) == "train: the feature at row 1, column 0 ('a') is infinite; all must be finite");
    bad = good;
    bad.targets[5] = std::numeric_limits<float>::infinity();
    CHECK(refusal(bad) == "train: the target at row 5, column 0 is infinite; all must be finite");
    CHECK(refusal(bad.view(), 0, true) ==
          "train: the target at row 5, column 0 is infinite; all must be finite, or NaN where there is none");
    bad.targets[5] = bad.targets[1] = std::numeric_limits<float>::quiet_NaN();
    CHECK(refusal(bad.view(), 0, true) == "no exception");
    bad.features[9] = bad.targets[1];
    CHECK(refusal(bad.view(), 0, true) ==
          "train: the feature at row 4, column 1 is not a number (NaN); all must be finite");
    bad = good;
    bad.labels[3] = -7;
    CHECK(refusal(bad) == "train: row 3 has label -7; labels start at 0");
    bad = good;
    bad.labels.pop_back();
    CHECK(refusal(bad) == "train: 5 labels for 6 rows");
    bad = good;
    bad.targets.pop_back();
    CHECK(refusal(bad) == "train: 5 target values for 6 rows of 1");
    bad = good;
    bad.features.pop_back();
    CHECK(refusal(bad) == "train: 11 feature values for 6 rows of 2");
    bad = good;
    bad.feature_names.emplace_back("c");
    CHECK(refusal(bad) == "train: 3 feature names for 2 features");
    bad = small_set();
    bad.target_names = {"x", "y"};
    CHECK(refusal(bad) == "train: 2 target names for 1 targets");
    bad.target_names = {"x"};
    CHECK(refusal(bad) == "no exception");
    bad.targets[4] = std::numeric_limits<float>::infinity();
    CHECK(refusal(bad) == "train: the target at row 4, column 0 ('x') is infinite; all must be finite");
    CHECK(refusal(data_set{}) == "train: there are no data: 0 rows of 0 features");
    CHECK(refusal(data_view{}) == "train: there are no data: 0 rows of 0 features");

    data_view odd = good;
    odd.features.stride = 1;
    CHECK(refusal(odd) ==
          "train: features have 6 rows of 2, 1 apart; extents must not be negative and rows must not overlap");
    odd = good;
    odd.features.data = nullptr;
    CHECK(refusal(odd) == "train: features have extents but no memory (a null pointer)");
    odd = good;
    odd.targets.rows = 5;
    CHECK(refusal(odd) == "train: 5 rows of targets for 6 rows");
}

TEST_CASE("check looks at a strided view's rows and not between them") {
    std::vector<float> memory(12, std::numeric_limits<float>::quiet_NaN());
    for (std::size_t r = 0; r < 4; ++r) {
        memory[3 * r] = memory[3 * r + 1] = 1.0f;
    }
    data_view view{{memory.data(), 4, 2, 3}, {}, {}};
    CHECK(refusal(view) == "no exception");
    view.features.columns = 3;
    CHECK(refusal(view) == "train: the feature at row 0, column 2 is not a number (NaN); all must be finite");
}
