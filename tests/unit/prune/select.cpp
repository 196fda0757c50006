// SPDX-License-Identifier: Apache-2.0
// Exact selection against an oracle that sorts, N of M, and what pruning policies are made of.
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/exponential.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/weight/concept.hpp>

#include <support/catch.hpp>
#include <support/kinds_of_weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

bool bit(std::vector<std::uint32_t> const& mask, index_t i) {
    return (mask[static_cast<std::size_t>(i / 32)] >> (i % 32)) & 1;
}

std::vector<std::uint32_t> mask_for(index_t n) {
    return std::vector<std::uint32_t>(static_cast<std::size_t>((n + 31) / 32), 0xdeadbeefu);
}

/// Whether a goes before b when only |w| and then the index count; a NaN is the smallest.
template <class T> bool goes_before(T a, T b) {
    if (std::isnan(a)) return false;
    if (std::isnan(b)) return true;
    return std::fabs(a) > std::fabs(b);
}

/// Sorts all indices of all tensors; true for the first `keep`.
template <class T, class Before = bool (*)(T, T)>
std::vector<bool> oracle(std::vector<std::vector<T>> const& tensors, index_t keep, Before before = goes_before<T>) {
    std::vector<T> all;
    for (auto const& t : tensors)
        all.insert(all.end(), t.begin(), t.end());
    std::vector<std::size_t> order(all.size());
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return before(all[a], all[b]); });
    std::vector<bool> kept(all.size(), false);
    for (std::size_t i = 0; i < static_cast<std::size_t>(keep); ++i)
        kept[order[i]] = true;
    return kept;
}

template <class Criterion, class T>
void compare_with_oracle(std::vector<std::vector<T>> const& tensors, index_t keep, std::vector<bool> const& expected) {
    std::vector<std::vector<std::uint32_t>> masks;
    for (auto const& t : tensors)
        masks.push_back(mask_for(static_cast<index_t>(t.size())));
    std::vector<prune::piece<T>> pieces;
    for (std::size_t i = 0; i < tensors.size(); ++i)
        pieces.push_back({tensors[i].data(), static_cast<index_t>(tensors[i].size()), masks[i].data()});
    prune::select_largest<Criterion>(pieces, keep);
    std::size_t at = 0, wrong = 0;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
        for (std::size_t i = 0; i < tensors[t].size(); ++i, ++at)
            wrong += bit(masks[t], static_cast<index_t>(i)) != expected[at];
        for (index_t i = static_cast<index_t>(tensors[t].size()); i < static_cast<index_t>(32 * masks[t].size()); ++i)
            wrong += bit(masks[t], i); // bits behind the last weight
    }
    INFO("keep " << keep << " of " << at << " in " << tensors.size() << " pieces");
    CHECK(wrong == 0);
}

template <class T> void compare_with_oracle(std::vector<std::vector<T>> const& tensors, index_t keep) {
    compare_with_oracle<prune::by_magnitude>(tensors, keep, oracle(tensors, keep));
}

/// Criteria of two functions, with keys of every value or narrower than a weight.
struct by_bits {
    static constexpr std::string_view name = "bits";
    template <class T> static auto key(T w) { return to_bits(w); }
};
struct by_exponent {
    static constexpr std::string_view name = "exponent";
    template <class T> static std::uint8_t key(T w) {
        return static_cast<std::uint8_t>(w == 0 ? 0 : std::clamp(std::ilogb(w) + 128, 0, 255));
    }
};

template <class Criterion, class T>
void compare_keys_with_oracle(std::vector<std::vector<T>> const& tensors, index_t keep) {
    auto const before = [](T a, T b) { return Criterion::key(a) > Criterion::key(b); };
    compare_with_oracle<Criterion>(tensors, keep, oracle(tensors, keep, before));
}

} // namespace

TEMPLATE_TEST_CASE("selection keeps the exact number of largest weights", "[prune]", float, double) {
    using T = TestType;
    std::mt19937_64 random(7);
    std::normal_distribution<double> normal;
    for (std::size_t n : {1u, 2u, 31u, 32u, 33u, 64u, 100u, 1000u, 5003u}) {
        std::vector<T> w(n), tied(n), same(n, T(-0.25)), odd(n);
        for (std::size_t i = 0; i < n; ++i) {
            w[i] = static_cast<T>(normal(random));
            tied[i] = static_cast<T>(static_cast<int>(random() % 7) - 3) / T(2);
            odd[i] = w[i];
            if (i % 5 == 0) odd[i] = std::numeric_limits<T>::quiet_NaN();
            if (i % 7 == 1) odd[i] = i % 2 ? T(0) : -T(0);
            if (i % 11 == 2) odd[i] = std::numeric_limits<T>::denorm_min() * static_cast<T>(i % 3 + 1);
            if (i % 13 == 3) odd[i] = -std::numeric_limits<T>::infinity();
        }
        auto const size = static_cast<index_t>(n);
        for (index_t keep : {index_t(0), index_t(1), size / 3, size / 2, size - 1, size}) {
            compare_with_oracle<T>({w}, keep);
            compare_with_oracle<T>({tied}, keep);
            compare_with_oracle<T>({same}, keep);
            compare_with_oracle<T>({odd}, keep);
        }
    }
}

TEMPLATE_TEST_CASE("selection over several tensors is one selection", "[prune]", float, double) {
    using T = TestType;
    std::mt19937_64 random(11);
    std::normal_distribution<double> normal;
    std::vector<std::vector<T>> tensors;
    for (std::size_t n : {40u, 0u, 1u, 257u, 32u}) {
        std::vector<T> w(n);
        for (auto& x : w)
            x = static_cast<T>(std::round(normal(random) * 4) / 4); // many ties across tensors
        tensors.push_back(w);
    }
    for (index_t keep = 0; keep <= 330; ++keep)
        compare_with_oracle<T>(tensors, keep);
}

TEMPLATE_TEST_CASE("selection does not depend on where strips, words and samples end", "[prune]", float, double) {
    using T = TestType;
    std::mt19937_64 random(13);
    for (std::size_t n :
         {511u, 512u, 513u, 543u, 544u, 545u, 1023u, 1024u, 1025u, 1055u, 1056u, 1057u, 2560u, 40007u}) {
        auto const tensors = espalier_test::kinds_of_weights<T>(n, random);
        auto const size = static_cast<index_t>(n);
        for (index_t keep : {index_t(1), index_t(2), size / 10, size / 5, size / 2, size - size / 10, size - 1})
            for (auto const& tensor : tensors)
                compare_with_oracle<T>({tensor}, keep);
    }
}

TEMPLATE_TEST_CASE("ties over large tensors go to the earlier one", "[prune]", float, double) {
    using T = TestType;
    std::mt19937_64 random(17);
    std::vector<std::vector<T>> tensors;
    for (std::size_t n : {700u, 0u, 1u, 2049u, 512u, 33u, 6000u}) {
        std::vector<T> w(n);
        for (auto& x : w)
            x = static_cast<T>(static_cast<int>(random() % 9) - 4);
        tensors.push_back(w);
    }
    for (index_t keep = 1; keep < 9295; keep += 371)
        compare_with_oracle<T>(tensors, keep);
    for (auto& t : tensors)
        std::fill(t.begin(), t.end(), T(1));
    for (index_t keep : {1, 699, 700, 701, 702, 2749, 2750, 2751, 3262, 3263, 9294})
        compare_with_oracle<T>(tensors, keep);
}

// More equal keys than can be sorted out at the end, strictly between two keys of the sample.
TEMPLATE_TEST_CASE("many equal weights inside the guess are told apart from their neighbours", "[prune]", float,
                   double) {
    using T = TestType;
    std::mt19937_64 random(19);
    std::vector<T> levels(200000), close(200000);
    std::vector<T> value(100, T(1));
    for (std::size_t i = 1; i < value.size(); ++i)
        value[i] = std::nextafter(value[i - 1], T(2));
    for (std::size_t i = 0; i < levels.size(); ++i) {
        levels[i] = static_cast<T>(static_cast<int>(random() % 100) - 50) / T(64);
        close[i] = value[random() % 100];
    }
    for (index_t keep : {1, 20000, 99999, 100000, 100003, 180000, 199999}) {
        compare_with_oracle<T>({levels}, keep);
        compare_with_oracle<T>({close}, keep);
    }
}

TEST_CASE("a sample that misleads costs time, not exactness", "[prune]") {
    std::mt19937_64 random(23);
    std::normal_distribution<double> normal;
    index_t const n = 30000, stretch = prune::detail::smallest_stretch;
    auto const is_sampled = [&](index_t i) {
        return i % stretch == prune::detail::sampled_place(i / stretch, stretch);
    };
    for (float factor : {1e-6f, 0.0f, 1e6f, std::numeric_limits<float>::infinity()}) {
        // all that is sampled is too small or too large; or 870 others are
        std::vector<float> sampled(static_cast<std::size_t>(n)), others(sampled.size());
        int other_count = 0;
        for (index_t i = 0; i < n; ++i) {
            auto const k = static_cast<std::size_t>(i);
            sampled[k] = others[k] = static_cast<float>(normal(random));
            if (is_sampled(i))
                sampled[k] *= factor;
            else if (i % 29 == 0 && other_count < 870)
                others[k] *= factor, ++other_count;
        }
        for (index_t keep : {index_t(1), index_t(100), index_t(860), n / 3, n - 860, n - 100, n - 1}) {
            compare_with_oracle<float>({sampled}, keep);
            compare_with_oracle<float>({others}, keep);
        }
    }
}

TEST_CASE("a first sample that misleads the second costs time, not exactness", "[prune]") {
    std::mt19937_64 random(37);
    std::normal_distribution<float> normal;
    index_t const n = 1100000, stretch = prune::detail::finest_stretch(n) * 8;
    REQUIRE(n / stretch < prune::detail::sample_size);
    REQUIRE(n / stretch >= prune::detail::sample_size / 8); // it is the first
    std::vector<float> w(static_cast<std::size_t>(n));
    for (auto& x : w)
        x = normal(random);
    compare_with_oracle<float>({w}, n / 10);
    for (float factor : {1e-6f, 1e6f}) {
        auto misleading = w;
        for (index_t i = 0; i < n; ++i)
            if (i % stretch == prune::detail::sampled_place(i / stretch, stretch))
                misleading[static_cast<std::size_t>(i)] *= factor;
        compare_with_oracle<float>({misleading}, n / 2);
    }
}

TEMPLATE_TEST_CASE("a criterion of two functions may use every key", "[prune]", float, double) {
    using T = TestType;
    using bits = decltype(to_bits(T()));
    std::mt19937_64 random(29);
    for (std::size_t n : {100u, 1500u, 9001u}) {
        std::vector<T> any(n), ends(n);
        for (std::size_t i = 0; i < n; ++i) {
            any[i] = from_bits(static_cast<bits>(random()));
            bits const most = static_cast<bits>(~bits(0)), key[] = {0, 1, most, static_cast<bits>(most - 1)};
            ends[i] = from_bits(key[random() % 4]);
        }
        auto const size = static_cast<index_t>(n);
        for (index_t keep : {index_t(1), size / 8, size / 3, size / 2, size - size / 8, size - 1}) {
            compare_keys_with_oracle<by_bits, T>({any}, keep);
            compare_keys_with_oracle<by_bits, T>({ends}, keep);
            compare_keys_with_oracle<by_bits, T>({ends, any}, keep);
            compare_keys_with_oracle<by_exponent, T>({any}, keep);
        }
    }
    for (bits key : {bits(0), bits(1), static_cast<bits>(~bits(0))}) { // alone, and with zeros between two pieces
        std::vector<T> const same(1500, from_bits(key)), few(33, from_bits(key)), zero(5, T(0));
        for (index_t keep : {1, 32, 33, 34, 38, 39, 70, 71, 72, 1000, 1499, 1537}) {
            compare_keys_with_oracle<by_bits, T>({few, zero, same}, keep);
            if (keep < 71) compare_keys_with_oracle<by_bits, T>({few, zero, few}, keep);
            if (keep < 1500) compare_keys_with_oracle<by_bits, T>({same}, keep);
        }
    }
}

TEST_CASE("keys that differ in the last bit only are told apart", "[prune]") {
    std::vector<float> w;
    std::vector<double> v;
    float x = 1.0f;
    double y = 1.0;
    for (int i = 0; i < 200; ++i) {
        w.push_back(i % 2 ? x : -x);
        v.push_back(i % 2 ? y : -y);
        if (i % 3 == 0) x = std::nextafter(x, 2.0f), y = std::nextafter(y, 2.0);
    }
    for (index_t keep = 0; keep <= 200; ++keep) {
        compare_with_oracle<float>({w}, keep);
        compare_with_oracle<double>({v}, keep);
    }
}

TEST_CASE("the sparsity gives the number of weights that go, rounded", "[prune]") {
    CHECK(prune::kept_count(10, 0.0) == 10);
    CHECK(prune::kept_count(10, 1.0) == 0);
    CHECK(prune::kept_count(10, 0.25) == 7); // 2.5 go up to 3
    CHECK(prune::kept_count(1, 0.5) == 0);
    CHECK(prune::kept_count(5, 0.5) == 2);
    CHECK(prune::kept_count(9, 0.5) == 4);
    CHECK(prune::kept_count(1000, 0.9) == 100);
    CHECK(prune::kept_count(0, 0.5) == 0);
    CHECK_THROWS_AS(prune::kept_count(10, -0.1), data_error);
    CHECK_THROWS_AS(prune::kept_count(10, 1.5), data_error);
    CHECK_THROWS_AS(prune::kept_count(10, std::nan("")), data_error);
    std::vector<float> const w{3, -1, 2, -2};
    auto mask = mask_for(4);
    prune::piece<float> const whole[] = {{w.data(), 4, mask.data()}};
    prune::select_threshold<prune::by_magnitude>(whole, 0.5);
    CHECK(mask[0] == 0b0101u); // 3 and the first of the two 2s
}

TEMPLATE_TEST_CASE("N of M weights stay in every group of a column", "[prune]", float, double) {
    using T = TestType;
    std::mt19937_64 random(5);
    std::normal_distribution<double> normal;
    // how: many values, few of them with some that are no numbers, one, or values that differ in their last bits
    auto const check = [&](group_pattern pattern, index_t row_count, index_t columns, int how) {
        index_t const stride = columns + 3;
        std::vector<T> w(static_cast<std::size_t>(row_count * stride), T(100));
        matrix_view<T> const view{w.data(), row_count, columns, stride};
        for (index_t r = 0; r < row_count; ++r)
            for (index_t c = 0; c < columns; ++c) {
                view(r, c) = static_cast<T>(how == 0 ? normal(random) : static_cast<int>(random() % 5) - 2);
                if (how == 1 && random() % 9 == 0) view(r, c) = std::numeric_limits<T>::quiet_NaN();
                if (how == 2) view(r, c) = T(-0.25);
                if (how == 3) view(r, c) = T(1) + static_cast<T>(random() % 9) * std::numeric_limits<T>::epsilon();
            }
        auto mask = mask_for(row_count * columns);
        prune::select_n_m<prune::by_magnitude, T>(view, pattern, mask.data());
        int wrong = 0;
        for (index_t c = 0; c < columns; ++c)
            for (index_t r = 0; r < row_count; r += pattern.group) {
                index_t const group = std::min<index_t>(pattern.group, row_count - r);
                std::vector<T> values;
                for (index_t i = 0; i < group; ++i)
                    values.push_back(view(r + i, c));
                auto const expected = oracle<T>({values}, std::min<index_t>(pattern.kept, group));
                for (index_t i = 0; i < group; ++i)
                    wrong += bit(mask, (r + i) * columns + c) != expected[static_cast<std::size_t>(i)];
            }
        for (index_t i = row_count * columns; i < static_cast<index_t>(32 * mask.size()); ++i)
            wrong += bit(mask, i);
        INFO(pattern.kept << ":" << pattern.group << " of " << row_count << " x " << columns << ", " << how);
        CHECK(wrong == 0);
    };
    for (int how : {0, 1, 2, 3})
        for (index_t columns : {1, 3, 10, 32, 64, 65, 130})
            for (index_t row_count : {1, 2, 4, 7, 8, 64})
                for (group_pattern const pattern :
                     {group_pattern{2, 4}, group_pattern{1, 4}, group_pattern{4, 8}, group_pattern{3, 3},
                      group_pattern{1, 16}, group_pattern{5, 32}, group_pattern{31, 32}, group_pattern{17, 17}})
                    check(pattern, row_count, columns, how);
    for (int how : {0, 1, 2, 3})
        for (index_t columns : {1, 15, 16, 33})
            for (index_t row_count : {17, 64, 255, 256, 700})
                for (group_pattern const pattern :
                     {group_pattern{8, 64}, group_pattern{1, 100}, group_pattern{16, 256}, group_pattern{1, 256},
                      group_pattern{255, 256}, group_pattern{256, 256}})
                    check(pattern, row_count, columns, how);
}

TEST_CASE("a pattern that no group has is refused", "[prune]") {
    std::vector<float> const w(16, 1.0f);
    auto mask = mask_for(16);
    auto const before = mask;
    for (group_pattern const pattern :
         {group_pattern{0, 4}, group_pattern{3, 2}, group_pattern{1, 257}, group_pattern{-1, 4}, group_pattern{1, 0}}) {
        CHECK_THROWS_AS(
            prune::select_n_m<prune::by_magnitude>(contiguous_view<float const>(w.data(), 8, 2), pattern, mask.data()),
            data_error);
        CHECK(mask == before);
    }
    CHECK_THROWS_WITH(
        prune::select_n_m<prune::by_magnitude>(contiguous_view<float const>(w.data(), 8, 2), {3, 2}, mask.data()),
        "prune: the pattern is 3:2, needed is 1 <= N <= M <= 256");
}

TEST_CASE("the gradual schedule is cubic and says when masks are due", "[prune]") {
    constexpr prune::gradual g{.from = 0.1, .to = 0.9, .start = 100, .steps = 400, .every = 150};
    auto const at = [&](std::uint64_t step) { return g.at(espalier::clock{.step = step}); };
    CHECK(at(0) == 0.0);
    CHECK(at(99) == 0.0);
    CHECK(at(100) == 0.1);
    CHECK(at(200) == Approx(0.9 - 0.8 * 0.421875).epsilon(1e-14)); // (3/4)^3
    CHECK(at(300) == Approx(0.9 - 0.8 * 0.125).epsilon(1e-14));
    CHECK(at(400) == Approx(0.9 - 0.8 * 0.015625).epsilon(1e-14));
    CHECK(at(498) == Approx(0.9 - 0.8 * std::pow(2.0 / 400.0, 3)).epsilon(1e-14));
    CHECK(at(498) < 0.9);
    CHECK(at(499) == 0.9); // the last of 400 steps
    CHECK(at(500) == 0.9);
    CHECK(at(100000) == 0.9);
    std::vector<std::uint64_t> due;
    for (std::uint64_t step = 0; step < 2000; ++step)
        if (g.due(espalier::clock{.step = step})) due.push_back(step);
    CHECK(due == std::vector<std::uint64_t>{100, 250, 400, 499});

    constexpr prune::constant once{.sparsity = 0.5, .start = 10}, often{.sparsity = 0.5, .start = 10, .every = 5};
    CHECK(once.at(espalier::clock{.step = 9}) == 0.0);
    CHECK(once.at(espalier::clock{.step = 10}) == 0.5);
    int once_due = 0, often_due = 0;
    for (std::uint64_t step = 0; step < 30; ++step) {
        once_due += once.due(espalier::clock{.step = step});
        often_due += often.due(espalier::clock{.step = step});
    }
    CHECK(once_due == 1);
    CHECK(often_due == 4); // 10, 15, 20, 25
}

TEST_CASE("a pruning policy is its four choices", "[prune]") {
    using gradual = prune::magnitude<prune::gradual{.to = 0.9, .start = 100, .steps = 1000, .every = 50}>;
    using pooled = prune::magnitude<0.5, prune::global, prune::straight_through>;
    using fading = prune::n_m_magnitude<2, 4, prune::decayed<schedule::linear{.from = 1.0, .to = 0.0, .steps = 10}>>;
    using two_of_four = prune::n_m_magnitude<2, 4>;
    STATIC_REQUIRE(policy_on<gradual, axis::prune>);
    STATIC_REQUIRE(std::is_same_v<op_of<gradual>, prune::hard>);
    STATIC_REQUIRE(std::is_same_v<op_of<pooled>, prune::straight_through>);
    STATIC_REQUIRE(weight::element_map<op_of<gradual>> && weight::element_map<op_of<fading>>);
    STATIC_REQUIRE(pooled::selection::global && !gradual::selection::global);
    CHECK(gradual::name == "magnitude per_layer hard");
    CHECK(fading::name == "magnitude 2:4 decayed");
    using exactly = prune::n_m_magnitude<2, 4, prune::decayed<0.5, prune::derivative::exact>>;
    CHECK(exactly::name == "magnitude 2:4 decayed, exact");
    STATIC_REQUIRE(std::is_same_v<op_of<fading>, prune::decayed_op<prune::derivative::released>>);
    STATIC_REQUIRE(std::is_same_v<op_of<exactly>, prune::decayed_op<prune::derivative::exact>>);
    CHECK(prune::n_m<10, 16>::name == "10:16");
    CHECK(prune::n_m<100, 256>::name == "100:256");
    CHECK(op_at<fading>(espalier::clock{.step = 4}).decay == Approx(0.6));
    CHECK(op_at<fading>(espalier::clock{.step = 4}).next == Approx(0.5));
    CHECK(op_at<fading>(espalier::clock{.step = 4, .standing = true}).next == Approx(0.6));
    using by_epoch =
        prune::decayed<schedule::linear{.from = 1.0, .to = 0.0, .steps = 4, .unit = schedule::time_unit::epoch}>;
    CHECK(by_epoch::at(espalier::clock{.step = 9, .epoch = 1, .steps_per_epoch = 5}).decay == Approx(0.75));
    CHECK(by_epoch::at(espalier::clock{.step = 9, .epoch = 1, .steps_per_epoch = 5}).next == Approx(0.5));
    CHECK(gradual::due(espalier::clock{.step = 150}));
    CHECK_FALSE(gradual::due(espalier::clock{.step = 151}));
    CHECK(pooled::due(espalier::clock{}));
    CHECK_FALSE(pooled::due(espalier::clock{.step = 1}));
    CHECK(pooled::sparsity(espalier::clock{}) == 0.5);
    CHECK(two_of_four::sparsity(espalier::clock{}) == 0.5);
    CHECK(prune::n_m_magnitude<1, 4>::sparsity(espalier::clock{}) == 0.75);
    CHECK(gradual::sparsity(espalier::clock{.step = 5000}) == 0.9);

    using swept = prune::magnitude<schedule::runtime{.name = "sparsity"_name, .initial = 0.5}>;
    CHECK(swept::due(espalier::clock{.step = 17}));
    named_value const bad[] = {{"sparsity"_name, 1.25}};
    CHECK_THROWS_AS(swept::sparsity(espalier::clock{.values = {bad, 1}}), data_error);
    using faded = prune::decayed<schedule::runtime{.name = "decay"_name, .initial = 0.5}>;
    named_value const bad_decay[] = {{"decay"_name, -0.25}};
    CHECK_THROWS_AS(faded::at(espalier::clock{.values = {bad_decay, 1}}), data_error);

    std::vector<float> const w{4, -3, 2, 1, 0.5f, 8};
    auto mask = mask_for(6);
    gradual::select({}, contiguous_view(w.data(), 3, 2), 0.5, mask.data());
    CHECK(mask[0] == 0b100011u);
    two_of_four::select({}, contiguous_view(w.data(), 3, 2), 1.0, mask.data()); // columns 4 2 .5 and -3 1 8
    CHECK(mask[0] == 0b100111u);
    two_of_four::select({}, contiguous_view(w.data(), 3, 2), 0.0, mask.data());
    CHECK(mask[0] == 0b111111u);
    CHECK_THROWS_AS(gradual::select({}, matrix_view<float const>{w.data(), 2, 2, 3}, 0.5, mask.data()), shape_error);
}

namespace {

template <class List> constexpr bool has_stages(List const& list, std::initializer_list<prune::stage> wanted) {
    int i = 0;
    for (prune::stage const& one : wanted)
        if (i >= list.count() || list.at(i++) != one) return false;
    return i == list.count();
}

} // namespace

TEST_CASE("patterns of stages are the published ones", "[prune]") {
    using prune::geometric;
    using prune::stepwise;
    STATIC_REQUIRE(has_stages(stepwise{.kept = 1, .group = 8, .start = 0, .steps = 100},
                              {{0, 7, 8}, {25, 4, 8}, {50, 2, 8}, {75, 1, 8}}));
    STATIC_REQUIRE(has_stages(geometric{.kept = 1, .group = 8, .start = 0, .steps = 100},
                              {{0, 8, 64}, {25, 4, 32}, {50, 2, 16}, {75, 1, 8}}));
    // a tenth of 100 epochs dense before, a tenth for the end
    STATIC_REQUIRE(has_stages(stepwise{.kept = 1, .group = 16, .start = 10, .steps = 80},
                              {{10, 15, 16}, {26, 8, 16}, {42, 4, 16}, {58, 2, 16}, {74, 1, 16}}));
    STATIC_REQUIRE(has_stages(stepwise{.kept = 1, .group = 32, .start = 0, .steps = 350},
                              {{0, 31, 32}, {58, 16, 32}, {116, 8, 32}, {175, 4, 32}, {233, 2, 32}, {291, 1, 32}}));
    STATIC_REQUIRE(has_stages(stepwise{.kept = 6, .group = 12, .start = 3, .steps = 5}, {{3, 11, 12}, {5, 6, 12}}));
    STATIC_REQUIRE(
        has_stages(geometric{.kept = 3, .group = 8, .start = 0, .steps = 9, .stages = 2}, {{0, 6, 16}, {4, 3, 8}}));
    STATIC_REQUIRE(has_stages(prune::stages<prune::stage{5, 1, 64}, prune::stage{9, 1, 8}>{}, {{5, 1, 64}, {9, 1, 8}}));
    // no product of numbers that are large
    STATIC_REQUIRE(prune::stage_begin(7, std::uint64_t{1} << 63, 3, 4) == 7 + 3 * (std::uint64_t{1} << 61));
}

TEST_CASE("a selection in stages is due when one begins and as the schedule says", "[prune]") {
    using four = prune::n_m_stages<prune::stepwise{.kept = 1, .group = 8, .start = 10, .steps = 100}>;
    STATIC_REQUIRE(four::name == "7:8 from 10, 4:8 from 35, 2:8 from 60, 1:8 from 85");
    STATIC_REQUIRE(prune::selects_in_stages<four> && !prune::selects_in_stages<prune::n_m<1, 8>>);
    using once = prune::magnitude<1.0, four, prune::straight_through>;
    using often = prune::magnitude<prune::constant{.sparsity = 1.0, .start = 20, .every = 30}, four, prune::hard>;
    CHECK(once::name == "magnitude 7:8 from 10, 4:8 from 35, 2:8 from 60, 1:8 from 85 straight_through");
    auto const due = []<class Policy>(std::type_identity<Policy>) {
        std::vector<std::uint64_t> at;
        for (std::uint64_t step = 0; step < 120; ++step)
            if (Policy::due(espalier::clock{.step = step})) at.push_back(step);
        return at;
    };
    CHECK(due(std::type_identity<once>{}) == std::vector<std::uint64_t>{0, 10, 35, 60, 85});
    CHECK(due(std::type_identity<often>{}) == std::vector<std::uint64_t>{10, 20, 35, 50, 60, 80, 85, 110});
    auto const sparsity = [](std::uint64_t step) { return once::sparsity(espalier::clock{.step = step}); };
    CHECK(sparsity(0) == 0.0);
    CHECK(sparsity(9) == 0.0);
    CHECK(sparsity(10) == 0.125);
    CHECK(sparsity(34) == 0.125);
    CHECK(sparsity(35) == 0.5);
    CHECK(sparsity(84) == 0.75);
    CHECK(sparsity(1000) == 0.875);
    CHECK(often::sparsity(espalier::clock{.step = 19}) == 0.0); // the schedule has not begun
    CHECK(often::sparsity(espalier::clock{.step = 20}) == 0.125);
    CHECK(four::at(espalier::clock{.step = 70}) == group_pattern{2, 8});
    CHECK(four::at(espalier::clock{.step = 9}) == group_pattern{1, 1});

    // Of an epoch the first step.
    using by_epoch = prune::n_m_stages<prune::geometric{
        .kept = 1, .group = 2, .start = 1, .steps = 4, .stages = 2, .unit = schedule::time_unit::epoch}>;
    STATIC_REQUIRE(by_epoch::name == "2:4 from epoch 1, 1:2 from epoch 3");
    std::vector<std::uint64_t> begins;
    for (espalier::clock now{.steps_per_epoch = 5}; now.step < 40; now = now.later())
        if (by_epoch::due(now)) begins.push_back(now.step);
    CHECK(begins == std::vector<std::uint64_t>{5, 15});
    STATIC_REQUIRE(by_epoch::group_beside(8) == 0 && by_epoch::group_beside(6) == 4);

    std::vector<float> const w{4, -3, 2, 1, 0.5f, 8, 7, 6};
    auto mask = mask_for(8);
    using policy = prune::magnitude<1.0, by_epoch>;
    auto const select = [&](std::uint64_t epoch) {
        espalier::clock const now{.epoch = epoch};
        policy::select(now, contiguous_view(w.data(), 8, 1), policy::sparsity(now), mask.data());
        return mask[0];
    };
    CHECK(select(0) == 0b11111111u);
    CHECK(select(1) == 0b01100011u);
    CHECK(select(3) == 0b01100101u);
}

TEST_CASE("N of M with fading weights gives the published masks, products and gradients", "[prune]") {
    // Two outputs of eight inputs; a kernel has a column for each output, and groups go down it.
    double const w[2][8] = {{.5, -.1, .3, -.7, .2, .25, -.6, .05}, {-.02, .9, .4, -.4, .8, -.3, .1, .7}};
    double const x[8] = {1, -1, .5, 2, 0, 1, -.5, .3};
    std::vector<double> kernel;
    for (int i = 0; i < 8; ++i)
        for (auto const& output : w)
            kernel.push_back(output[i]);
    matrix_view<double> const view{kernel.data(), 8, 2, 2};
    auto const mask_of_pattern = [&](group_pattern pattern) {
        auto mask = mask_for(16);
        prune::select_n_m<prune::by_magnitude, double>(view, pattern, mask.data());
        return mask;
    };
    auto const two_of_four = mask_of_pattern({2, 4}), one_of_four = mask_of_pattern({1, 4});
    auto const one_of_eight = mask_of_pattern({1, 8});
    bool const wanted[2][8] = {{1, 0, 0, 1, 0, 1, 1, 0}, {0, 1, 1, 0, 1, 0, 0, 1}}; // of |.4| twice the first one
    for (int output = 0; output < 2; ++output)
        for (int i = 0; i < 8; ++i) {
            CHECK(bit(two_of_four, 2 * i + output) == wanted[output][i]);
            CHECK(bit(one_of_eight, 2 * i + output) == (i == (output == 0 ? 3 : 1)));
        }
    // Groups over outputs are groups down a column of w as it is printed.
    bool const over_outputs[2][8] = {{1, 0, 0, 1, 0, 0, 1, 0}, {0, 1, 1, 0, 1, 1, 0, 1}};
    auto one_of_two = mask_for(16);
    prune::select_n_m<prune::by_magnitude>(contiguous_view<double const>(&w[0][0], 2, 8), {1, 2}, one_of_two.data());
    for (int output = 0; output < 2; ++output)
        for (int i = 0; i < 8; ++i)
            CHECK(bit(one_of_two, 8 * output + i) == over_outputs[output][i]);

    constexpr schedule::exponential fast{.from = 1.0, .rate = 0.99900049983337499},
        slow{.from = 1.0, .rate = 0.99990000499983334};
    constexpr schedule::linear line{.from = 1.0, .to = 0.0, .steps = 1000};
    auto const check = [&](auto const& rule, double first, double second) {
        for (int output = 0; output < 2; ++output) {
            double y = 0.0;
            for (int i = 0; i < 8; ++i)
                y += x[i] *
                     espalier::weight::detail::effective(
                         rule, espalier::element_about<double>{.keep = bit(one_of_four, 2 * i + output)}, w[output][i]);
            CHECK(y == Approx(output == 0 ? first : second).epsilon(0).margin(6e-10));
        }
    };
    // What an update leaves is for the step after it.
    check(prune::decayed<fast>::at(espalier::clock{.step = 499}), -0.48437138, -1.360963301);
    check(prune::decayed<line>::at(espalier::clock{.step = 499}), -0.5925, -1.28);
    check(prune::decayed<slow>::at(espalier::clock{.step = 19999}), -0.962634688, -1.002854815);
    check(prune::straight_through{}, -1.1, -0.9);

    double const g[8] = {0.1, 0.2, -0.1, 0.3, 0, -0.2, 0.1, 0.05};
    double const faded[8] = {0.060653066, 0.121306132, -0.060653066, 0.3, 0, -0.121306132, 0.1, 0.030326533};
    auto const released = prune::decayed<fast>::at(espalier::clock{.step = 500});
    auto const exact = prune::decayed<fast, prune::derivative::exact>::at(espalier::clock{.step = 500});
    for (int i = 0; i < 8; ++i) {
        bool const keep = bit(one_of_four, 2 * i);
        CHECK(released.pull(g[i], {.weight = w[0][i], .keep = keep}) == g[i]);
        CHECK(exact.pull(g[i], {.weight = w[0][i], .keep = keep}) == Approx(faded[i]).epsilon(0).margin(6e-10));
    }

    // SR-STE: straight through, and what is left out decays. A step of rate 1 gives the gradient back.
    using decayed = penalty::where_pruned<penalty::l2<2e-4>>;
    using rule_type = tensor_rule<prune::straight_through, flat_tuple<op_of<decayed>>, flat_tuple<>>;
    using step_type = optimizer::sgd_op<optimizer::momentum_kind::none>;
    double const refined[8] = {0.1001, 0.19998, -0.09994, 0.3, 0.00004, -0.19995, 0.1, 0.05001};
    rule_type const rule{{}, {{{op_at<decayed>({})}}}, {}};
    step_type const step{.learning_rate = 1.0, .momentum = 0.0, .weight_decay = 0.0};
    for (int i = 0; i < 8; ++i) {
        double value = 0.0;
        element_about<double> const about{.weight = w[0][i], .rate = 1.0, .keep = bit(one_of_four, 2 * i)};
        double const next = update_element(
            step, rule, g[i], static_cast<double*>(nullptr), 0.0, about, [](int) { return 0; }, [](int) { return 0.0; },
            [&](int, double v) { value = v; });
        CHECK(w[0][i] - next == Approx(refined[i]).epsilon(0).margin(1e-15));
        CHECK(value == (about.keep ? 0.0 : 1e-4 * w[0][i] * w[0][i]));
    }
}

TEST_CASE("mask rules differ in what is stored, what is read and what is learnt", "[prune]") {
    CHECK(prune::hard::pull(2.0, {.keep = true}) == 2.0);
    CHECK(prune::hard::pull(2.0, {.keep = false}) == 0.0);
    CHECK(prune::hard::store(3.0, {.keep = true}) == 3.0);
    CHECK(prune::hard::store(3.0, {.keep = false}) == 0.0);
    STATIC_REQUIRE(prune::hard::uses_mask && !prune::hard::needs_operand);

    CHECK(prune::straight_through::pull(2.0) == 2.0);
    CHECK(prune::straight_through::store(3.0) == 3.0);
    CHECK(prune::straight_through::effective(3.0, {.keep = false}) == 0.0);
    CHECK(prune::straight_through::effective(3.0, {.keep = true}) == 3.0);
    // A product with 0 would make NaN of these.
    double const infinite = std::numeric_limits<double>::infinity();
    CHECK(prune::hard::store(infinite, {.keep = false}) == 0.0);
    CHECK(prune::hard::pull(infinite, {.keep = false}) == 0.0);
    CHECK(prune::straight_through::effective(infinite, {.keep = false}) == 0.0);
    STATIC_REQUIRE(prune::straight_through::uses_mask && prune::straight_through::needs_operand);

    // The whole gradient goes on unless its derivative is asked for; what is read is the same.
    prune::decayed_op<prune::derivative::released> const released{0.5, 0.25};
    CHECK(released.pull(2.0, {.keep = false}) == 2.0);
    CHECK(released.pull(2.0, {.keep = true}) == 2.0);
    CHECK(released.store(3.0) == 3.0);
    CHECK(released.effective(3.0, {.keep = false}) == 0.75);
    CHECK(released.effective(3.0, {.keep = true}) == 3.0);
    prune::decayed_op<prune::derivative::exact> const half{0.5, 0.25};
    CHECK(half.pull(2.0, {.keep = false}) == 1.0);
    CHECK(half.pull(2.0, {.keep = true}) == 2.0);
    CHECK(half.store(3.0) == 3.0);
    CHECK(half.effective(3.0, {.keep = false}) == 0.75); // what the next step reads
    CHECK(half.effective(3.0, {.keep = true}) == 3.0);
    STATIC_REQUIRE(decltype(half)::uses_mask && decltype(half)::needs_operand);
    STATIC_REQUIRE(decltype(released)::uses_mask && decltype(released)::needs_operand);
    // beta = exp(-1e-3 * 500), half of a group's weights kept
    prune::decayed_op<prune::derivative::exact> const fading{0.60653066, 0.60653066};
    CHECK(fading.pull(0.1, {.keep = false}) == Approx(0.060653066).epsilon(1e-8));
    CHECK(fading.pull(0.3, {.keep = true}) == 0.3);

    using P = pack<float, 16>;
    P const w = P::iota(1.0f), g = P::iota(-3.0f);
    auto const keep = mask_of<P>::first(5);
    for (int i = 0; i < 16; ++i) {
        CHECK(prune::hard::pull(g, {.keep = keep})[i] == prune::hard::pull(g[i], {.keep = i < 5}));
        CHECK(prune::hard::store(w, {.keep = keep})[i] == prune::hard::store(w[i], {.keep = i < 5}));
        CHECK(prune::straight_through::effective(w, {.keep = keep})[i] ==
              prune::straight_through::effective(w[i], {.keep = i < 5}));
        CHECK(half.effective(w, {.keep = keep})[i] == half.effective(w[i], {.keep = i < 5}));
        CHECK(half.pull(g, {.keep = keep})[i] == half.pull(g[i], {.keep = i < 5}));
        CHECK(released.effective(w, {.keep = keep})[i] == half.effective(w[i], {.keep = i < 5}));
        CHECK(released.pull(g, {.keep = keep})[i] == g[i]);
    }
}
