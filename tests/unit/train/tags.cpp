// SPDX-License-Identifier: Apache-2.0
// Every tag of a row arrives wherever the row does.
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/counted_rows.hpp>
#include <espalier/train/device_batch.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/tiled_rows.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <set>
#include <vector>

using namespace espalier;

namespace {

/// Tags of rows that all follow from the number of the row.
struct tagged {
    std::vector<std::uint32_t> origin;
    std::vector<std::int64_t> sample;
    std::vector<std::int32_t> label, partner, group;
    std::vector<float> mixing, weight, sign;
    std::vector<double> weight_of_double, rate;
    std::vector<std::uint64_t> key;

    explicit tagged(int count, bool some_miss = false) {
        for (int i = 0; i < count; ++i) {
            origin.push_back(static_cast<std::uint32_t>(1000 + i));
            sample.push_back(i);
            label.push_back(some_miss && i % 3 == 1 ? -1 : i % 3);
            partner.push_back(label.back() == -1 ? -1 : (i + 1) % 3);
            group.push_back(i % 7);
            mixing.push_back(1.0f / static_cast<float>(1 + i));
            weight.push_back(1.0f / static_cast<float>(2 + i));
            weight_of_double.push_back(1.0 / (2 + i));
            rate.push_back(1.0 / (3 + i));
            sign.push_back(i % 2 == 0 ? 1.0f : -1.0f);
            key.push_back(static_cast<std::uint64_t>(i) << 40);
        }
    }
    rows tags(bool in_double = false) const {
        rows t;
        t.count = static_cast<index_t>(sample.size());
        t.first = 77;
        t.origin = origin.data();
        t.sample = sample.data();
        t.label = label.data();
        t.partner_label = partner.data();
        t.mixing = mixing.data();
        t.weight = weight.data();
        if (in_double) t.weight = weight_of_double.data();
        t.sign = sign.data();
        t.group = group.data();
        t.key = key.data();
        t.rate = rate.data();
        return t;
    }
};

/// Whether the tags of row r are those of row `from` of `all`; written out, so that it does not believe the list of
/// tags.
bool same_tags(rows const& some, index_t r, rows const& all, index_t from) {
    auto const same = [&](auto const& mine, auto const& other) { return mine && mine[r] == other[from]; };
    return some.origin_of(r) == all.origin_of(from) && same(some.sample, all.sample) && same(some.label, all.label) &&
           same(some.partner_label, all.partner_label) && same(some.mixing, all.mixing) &&
           same(some.weight, all.weight) && same(some.sign, all.sign) && same(some.group, all.group) &&
           same(some.key, all.key) && same(some.rate, all.rate);
}

} // namespace

TEST_CASE("tags: a slice has all of them") {
    for (bool in_double : {false, true}) {
        tagged const t(9);
        rows const all = t.tags(in_double), part = all.slice(4, 3);
        CHECK(part.count == 3);
        CHECK(part.first == 81);
        for (index_t r = 0; r < 3; ++r)
            CHECK(same_tags(part, r, all, 4 + r));
        CHECK(part.weight_of(0) == (in_double ? 1.0 / 6.0 : static_cast<double>(1.0f / 6.0f)));
    }
    rows none;
    none.count = 9;
    rows const part = none.slice(4, 3);
    for_each_tag([&](auto tag, auto) { CHECK_FALSE(part.*tag.array); });
}

TEST_CASE("tags: rows that are left alone keep theirs") {
    for (bool in_double : {false, true}) {
        tagged const t(8, true);
        rows const all = t.tags(in_double);
        detail::counted_rows<float> counted(8, 1, 0);
        std::vector<float> x(8);
        auto const part = counted.of(batch_view<float>{contiguous_view<float const>(x.data(), 8, 1), all, {}}).tags;
        REQUIRE(part.count == 5);
        index_t r = 0;
        for (index_t i : {0, 2, 3, 5, 6})
            CHECK(same_tags(part, r++, all, i));
    }
}

TEST_CASE("tags: each output of a row has those of the row") {
    for (bool in_double : {false, true}) {
        tagged const t(5);
        rows const all = t.tags(in_double);
        device::cpu device;
        detail::tiled_rows<device::cpu, float> tiles(5, 3, 0);
        rows const tiled = tiles.tags(device, all);
        REQUIRE(tiled.count == 15);
        CHECK(tiled.copies == 3);
        for (index_t r = 0; r < 15; ++r)
            CHECK(same_tags(tiled, r, all, r % 5));
        rows few;
        few.count = 5;
        few.first = 40;
        rows const plain = tiles.tags(device, few);
        for (index_t r = 0; r < 15; ++r)
            CHECK(plain.origin_of(r) == few.origin_of(r % 5));
    }
}

namespace {
/// Memory that the host is said not to read.
struct other_memory : device::cpu {
    static constexpr bool host_memory = false;
    template <class U> struct buffer : device::cpu::buffer<U> {
        using device::cpu::buffer<U>::buffer;
        void copy_from_host(U const* from, index_t n) {
            for (index_t i = 0; i < n; ++i)
                this->data()[i] = from[i];
        }
    };
};
} // namespace

TEST_CASE("tags: a copy for another memory has all of them, and none of the host's arrays") {
    for (bool in_double : {false, true}) {
        tagged const t(6);
        rows const all = t.tags(in_double);
        detail::device_batch<other_memory, float> transfer(6, 1, 1, 0);
        std::vector<float> x(6);
        rows const there = transfer.upload({contiguous_view<float const>(x.data(), 6, 1), all, {}}).tags;
        for (index_t r = 0; r < 6; ++r)
            CHECK(same_tags(there, r, all, r));
        CHECK(there.origin != all.origin);
        CHECK(there.sample != all.sample);
        CHECK(there.label != all.label);
        CHECK(there.partner_label != all.partner_label);
        CHECK(there.mixing != all.mixing);
        CHECK(there.sign != all.sign);
        CHECK(there.group != all.group);
        CHECK(there.key != all.key);
        there.weight.visit([&](auto const* mine) {
            all.weight.visit(
                [&](auto const* other) { CHECK(static_cast<void const*>(mine) != static_cast<void const*>(other)); });
        });
    }
}

namespace {
rows const* expected = nullptr;
std::multiset<std::int64_t> seen; ///< samples that a gate has looked up
bool all_right = true;

/// The label of a row whose tags are all those of its sample.
struct from_all {
    static constexpr std::string_view name = "label";
    static bool present(rows const& batch) { return batch.label != nullptr; }
    template <class T> static double value(rows const& batch, index_t r, T const*) {
        all_right = all_right && same_tags(batch, r, *expected, batch.sample[r]);
        seen.insert(batch.sample[r]);
        return static_cast<double>(batch.label[r]);
    }
};

/// A step with `count` rows, and how many of them the inner gate looked up in its forward pass.
template <class Stack> std::set<std::int64_t> looked_up(bool in_double) {
    constexpr int count = 40;
    tagged const t(count);
    rows const tags = t.tags(in_double);
    expected = &tags;
    seen.clear();
    all_right = true;
    network<Stack, device::cpu, float> net(seed{5}, count);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    std::vector<float> x(count * 4);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(i * 37 % 19) / 10.0f - 1.0f;
    run.step({contiguous_view<float const>(x.data(), count, 4), tags, {}});
    CHECK(all_right);
    return {seen.begin(), seen.end()};
}
using looking = moe<gate::enforced<3, from_all>, dense<3>, dispatch::dense>;
template <class Dispatch> using inside = sequence<input<4>, moe<gate::top_k<3, 2>, looking, Dispatch>>;
} // namespace

TEST_CASE("tags: an expert sees all of them, by every dispatch") {
    for (bool in_double : {false, true}) {
        CHECK(looked_up<inside<dispatch::dense>>(in_double).size() == 40);
        CHECK(looked_up<inside<dispatch::compacted>>(in_double).size() == 40);
        CHECK(looked_up<inside<dispatch::capacity<3.0>>>(in_double).size() == 40);
        CHECK(looked_up<sequence<input<4>, multi_sample<2, looking>>>(in_double).size() == 40);
    }
}

TEST_CASE("row weights of a network in double are taken as they are") {
    using stack = sequence<input<2>, dense<3>>;
    auto const loss_with = [](auto const& weights) {
        network<stack, device::cpu, double> net(seed{5}, 4);
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
        std::vector<double> const x{0.5, -1.0, 0.25, 2.0, -0.5, 1.0, 1.0, 0.0};
        std::vector<std::int32_t> const labels{0, 1, 2, 1};
        rows tags;
        tags.count = 4;
        tags.label = labels.data();
        tags.weight = weights.data();
        return run.step({contiguous_view<double const>(x.data(), 4, 2), tags, {}}).total;
    };
    std::vector<double> const thirds{1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0};
    std::vector<float> const rounded(4, static_cast<float>(1.0 / 3.0));
    double const whole = loss_with(std::vector<double>(4, 1.0));
    CHECK(loss_with(thirds) == Approx(whole / 3.0).epsilon(1e-15));
    CHECK(std::abs(loss_with(rounded) - whole / 3.0) > 1e-9 * whole);

    // And those of a table in double, on their way through the batches of `fit`.
    data_set_of<double> data;
    data.count = 4;
    data.width = 2;
    data.features = {0.5, -1.0, 0.25, 2.0, -0.5, 1.0, 1.0, 0.0};
    data.labels = {0, 1, 2, 1};
    data.weights = thirds;
    network<stack, device::cpu, double> net(seed{5}, 4);
    double const weighted = evaluate(net, loss::cross_entropy{}, data.view()).loss;
    data.weights.clear();
    CHECK(weighted == Approx(evaluate(net, loss::cross_entropy{}, data.view()).loss / 3.0).epsilon(1e-15));
    data.weights.assign(3, 1.0);
    CHECK_THROWS_WITH(evaluate(net, loss::cross_entropy{}, data.view()), contains_text("3 weights for 4 rows"));
}
