// SPDX-License-Identifier: Apache-2.0
// Selection of masks: which weights stay, of one tensor, of four together, and N of every M inputs of a unit. "By hand"
// is the ordinary way: std::nth_element on a copy of the magnitudes, then a loop that writes the mask; for 2:4 a loop
// that counts for each weight how many of its group go before it, for larger groups std::nth_element for each.
// "exchange": of the 784 x 256 weights of a layer a tenth is kept, of which three tenths of least magnitude go and as
// many of largest gradient come; by hand two times std::nth_element. Floor: the weights are read twice (for N:M once,
// and with the gradients for the exchange) and one bit for each is written, at the bandwidth of a copy.
#include "common.hpp"

#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/plan.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/weight/identity.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>

namespace esp = espalier;
using bench::array;
using bench::index_t;
using criterion = esp::prune::by_magnitude;

namespace {

constexpr index_t columns = 64; // of the matrix for N:M

/// `tensors` tensors of unequal size with n weights together, n a multiple of 4 * columns * tensors, for N:M of
/// M * columns.
struct state {
    index_t n;
    std::vector<array<float>> weights;
    std::vector<array<std::uint32_t>> masks;
    std::vector<esp::prune::piece<float>> pieces;
    std::vector<float> magnitudes; // for the way by hand

    state(index_t count, int tensors) : n(count) {
        weights.reserve(static_cast<std::size_t>(tensors));
        masks.reserve(static_cast<std::size_t>(tensors));
        for (int t = 0; t < tensors; ++t) {
            // half of the first goes to the last
            index_t const share = n / tensors;
            index_t const size = share + (tensors == 1 ? 0 : t == 0 ? -share / 2 : t == tensors - 1 ? share / 2 : 0);
            weights.emplace_back(size, t);
            masks.emplace_back(size / 32 + 1, 5 + t);
            float* const w = weights.back().data();
            bench::fill_normal(w, size, static_cast<unsigned>(t + 1), 0.05 * (t + 1));
            for (index_t i = 0; i < size; ++i) // the table of random numbers comes again and again, weights do not
                w[i] *= 1.0f + 1e-6f * static_cast<float>(i >> 16);
            pieces.push_back({weights.back().data(), size, masks.back().data()});
        }
    }
};

bool kept(esp::prune::piece<float> const& p, index_t i) {
    return (p.mask[i / 32] >> (i % 32)) & 1;
}

// ---- by hand

[[gnu::noinline]] void hand_largest(state& s, index_t keep) {
    s.magnitudes.resize(static_cast<std::size_t>(s.n));
    float* to = s.magnitudes.data();
    for (auto const& p : s.pieces)
        for (index_t i = 0; i < p.size; ++i)
            *to++ = std::fabs(p.weights[i]);
    auto const at = s.magnitudes.begin() + (keep - 1);
    std::nth_element(s.magnitudes.begin(), at, s.magnitudes.end(), std::greater<float>());
    float const threshold = *at;
    index_t ties = keep - std::count_if(s.magnitudes.begin(), at, [&](float x) { return x > threshold; });
    for (auto const& p : s.pieces)
        for (index_t first = 0; first < p.size; first += 32) {
            index_t const count = std::min<index_t>(32, p.size - first);
            std::uint32_t word = 0;
            for (index_t i = 0; i < count; ++i) {
                float const x = std::fabs(p.weights[first + i]);
                bool keeps = x > threshold;
                if (x == threshold && ties > 0) keeps = true, --ties;
                word |= static_cast<std::uint32_t>(keeps) << i;
            }
            p.mask[first / 32] = word;
        }
}

/// What the floor counts, by loads alone: a processor that reads no faster than it copies cannot come near the floor.
[[gnu::noinline]] void read_twice(state& s) {
    using keys = esp::pack<std::uint32_t, 16>;
    for (int time = 0; time < 2; ++time)
        for (auto const& p : s.pieces) {
            keys all[4] = {keys(0u), keys(0u), keys(0u), keys(0u)};
            for (index_t i = 0; i < p.size; i += 64)
                for (int k = 0; k < 4; ++k)
                    all[k] = all[k] | to_bits(esp::pack<float, 16>::load(p.weights + i + 16 * k));
            p.mask[time] = ((all[0] | all[1]) | (all[2] | all[3]))[0];
        }
}

[[gnu::noinline]] void hand_two_of_four(state& s) {
    auto const& p = s.pieces[0];
    for (index_t first = 0; first < p.size; first += 4 * columns)
        for (index_t c = 0; c < columns; c += 32) {
            std::uint32_t word[4] = {};
            for (index_t k = 0; k < 32; ++k) {
                float x[4];
                for (index_t r = 0; r < 4; ++r)
                    x[r] = std::fabs(p.weights[first + r * columns + c + k]);
                for (int r = 0; r < 4; ++r) {
                    int before = 0;
                    for (int other = 0; other < 4; ++other)
                        before += other < r ? x[other] >= x[r] : x[other] > x[r];
                    word[r] |= static_cast<std::uint32_t>(before < 2) << k;
                }
            }
            for (index_t r = 0; r < 4; ++r)
                p.mask[(first + r * columns + c) / 32] = word[r];
        }
}

[[gnu::noinline]] void hand_n_m(state& s, esp::group_pattern pattern) {
    auto const& p = s.pieces[0];
    std::vector<std::pair<float, index_t>> group(static_cast<std::size_t>(pattern.group));
    for (index_t w = 0; w < p.size / 32; ++w)
        p.mask[w] = 0;
    for (index_t first = 0; first < p.size; first += pattern.group * columns)
        for (index_t c = 0; c < columns; ++c) {
            for (index_t r = 0; r < pattern.group; ++r) {
                index_t const i = first + r * columns + c;
                group[static_cast<std::size_t>(r)] = {-std::fabs(p.weights[i]), i};
            }
            std::nth_element(group.begin(), group.begin() + (pattern.kept - 1), group.end());
            for (index_t r = 0; r < pattern.kept; ++r) {
                index_t const i = group[static_cast<std::size_t>(r)].second;
                p.mask[i / 32] |= std::uint32_t{1} << i % 32;
            }
        }
}

// ---- exchanges

using rigl = esp::prune::policy<criterion, esp::prune::exchange<0.3>,
                                esp::prune::constant{.sparsity = 0.9, .every = 100}, esp::prune::hard>;

struct exchanged {
    static constexpr index_t n = 784 * 256, keep = n / 10, stay = keep - keep * 3 / 10;

    array<float> weights{n}, gradients{n, 3}, room{n, 7};
    std::vector<std::uint32_t> mask = std::vector<std::uint32_t>(n / 32);
    std::vector<std::pair<float, index_t>> order = std::vector<std::pair<float, index_t>>(n); // by hand

    exchanged() {
        bench::fill_normal(weights.data(), n, 1, 0.05);
        bench::fill_normal(gradients.data(), n, 2, 0.01);
        for (std::size_t w = 0; w < mask.size(); ++w)
            mask[w] = 0x10010041u << w % 3; // an eighth; one bit less where it falls out
    }
    bool kept(index_t i) const { return mask[static_cast<std::size_t>(i / 32)] >> i % 32 & 1; }
};

[[gnu::noinline]] void our_exchange(exchanged& s) {
    static auto const exchange = esp::prune::plan_of<rigl, esp::weight::identity>->template of<float>().exchange;
    exchange({}, {s.weights.data(), s.gradients.data(), nullptr}, s.n, s.stay, s.keep, s.room.data(), s.mask.data());
}

[[gnu::noinline]] void hand_exchange(exchanged& s) {
    auto const choose = [&s](index_t count, auto const& worth) {
        for (index_t i = 0; i < s.n; ++i)
            s.order[static_cast<std::size_t>(i)] = {-worth(i), i};
        std::nth_element(s.order.begin(), s.order.begin() + (count - 1), s.order.end());
        std::fill(s.mask.begin(), s.mask.end(), 0u);
        for (index_t k = 0; k < count; ++k) {
            index_t const i = s.order[static_cast<std::size_t>(k)].second;
            s.mask[static_cast<std::size_t>(i / 32)] |= std::uint32_t{1} << i % 32;
        }
    };
    choose(s.stay, [&s](index_t i) { return s.kept(i) ? std::fabs(s.weights.data()[i]) : -1.0f; });
    choose(s.keep, [&s](index_t i) { return s.kept(i) ? 1e30f : std::fabs(s.gradients.data()[i]); });
}

void add_exchange(char const* column, void (*body)(exchanged&)) {
    auto s = std::make_shared<exchanged>();
    bench::add(std::string("prune/exchange_0.9_784x256/") + column, bench::roof().copy_ns(8.125 * exchanged::n, true),
               [s, body] { body(*s); });
}

// ---- checks: sorting

void expect_same(std::string const& name, bool got, bool want) {
    bench::expect_close(name.c_str(), got, want, 0.0);
}

template <class Body> void check_largest(std::string const& name, int tensors, double sparsity, Body const& body) {
    state s(4 * columns * 40, tensors);
    for (auto& w : s.weights)
        w.data()[3] = w.data()[100] = 0.07f; // ties
    std::vector<std::pair<float, std::size_t>> order;
    for (auto const& p : s.pieces)
        for (index_t i = 0; i < p.size; ++i)
            order.push_back({-std::fabs(p.weights[i]), order.size()});
    std::sort(order.begin(), order.end());
    index_t const keep = esp::prune::kept_count(s.n, sparsity);
    std::vector<bool> want(order.size(), false);
    for (index_t i = 0; i < keep; ++i)
        want[order[static_cast<std::size_t>(i)].second] = true;
    body(s, keep);
    std::size_t at = 0;
    for (auto const& p : s.pieces)
        for (index_t i = 0; i < p.size; ++i)
            expect_same(name, kept(p, i), want[at++]);
}

template <class Body> void check_n_m(std::string const& name, esp::group_pattern pattern, Body const& body) {
    state s(pattern.group * columns * 10, 1);
    body(s);
    auto const& p = s.pieces[0];
    for (index_t first = 0; first < s.n; first += pattern.group * columns)
        for (index_t c = 0; c < columns; ++c) {
            std::vector<std::pair<float, index_t>> group;
            for (index_t r = 0; r < pattern.group; ++r)
                group.push_back({-std::fabs(p.weights[first + r * columns + c]), r});
            std::sort(group.begin(), group.end());
            for (index_t place = 0; place < pattern.group; ++place)
                expect_same(name, kept(p, first + group[static_cast<std::size_t>(place)].second * columns + c),
                            place < pattern.kept);
        }
}

void check_exchange() {
    exchanged ours, hand;
    for (int turn = 0; turn < 3; ++turn) {
        auto const before = ours.mask;
        our_exchange(ours);
        hand_exchange(hand);
        expect_same("exchange", ours.mask == hand.mask, true);
        if (turn == 0) expect_same("exchange: something changes", ours.mask == before, false);
    }
}

struct size_case {
    char const* name;
    index_t n;
    bool cached;
};
constexpr size_case sizes[] = {{"20k", 20 << 10, true}, {"4M", 4 << 20, false}}, largest = {"64M", 64 << 20, false};

void add_case(std::string const& name, char const* column, int tensors, double bytes, size_case const& size,
              std::function<void(state&)> const& body) {
    auto s = std::make_shared<state>(size.n, tensors);
    bench::add("prune/" + name + "_" + size.name + "/" + column,
               bench::roof().copy_ns(bytes * static_cast<double>(size.n), size.cached), [s, body] { body(*s); });
}

template <class Body>
void add_largest(std::string const& name, char const* column, int tensors, double sparsity, Body const& body) {
    check_largest(name + " " + column, tensors, sparsity, body);
    for (auto const& size : sizes)
        add_case(name, column, tensors, 8.125, size,
                 [body, sparsity](state& s) { body(s, esp::prune::kept_count(s.n, sparsity)); });
}

/// The same of one tensor that no cache holds.
template <class Body> void add_largest_of_all(Body const& body) {
    auto s = std::make_shared<state>(largest.n, 1);
    for (auto const& [name, sparsity] : {std::pair("0.5", 0.5), std::pair("0.9", 0.9)})
        bench::add(std::string("prune/per_layer_") + name + "_" + largest.name + "/ours",
                   bench::roof().copy_ns(8.125 * static_cast<double>(largest.n), largest.cached),
                   [s, body, keep = esp::prune::kept_count(s->n, sparsity)] { body(*s, keep); });
    bench::add(std::string("prune/read_twice_") + largest.name + "/hand", 0.0, [s] { read_twice(*s); });
}

template <class Body> void add_n_m(char const* column, esp::group_pattern pattern, Body const& body) {
    std::string const name = std::to_string(pattern.kept) + "of" + std::to_string(pattern.group);
    check_n_m(name + " " + column, pattern, body);
    add_case(name, column, 1, 4.125, sizes[1], body);
}

} // namespace

int main(int argc, char** argv) {
    auto const ours = [](state& s, index_t keep) { esp::prune::select_largest<criterion>(s.pieces, keep); };
    for (auto const& [name, sparsity] : {std::pair("0.5", 0.5), std::pair("0.9", 0.9)}) {
        add_largest(std::string("per_layer_") + name, "ours", 1, sparsity, ours);
        add_largest(std::string("per_layer_") + name, "hand", 1, sparsity, hand_largest);
        add_largest(std::string("global_") + name, "ours", 4, sparsity, ours);
        add_largest(std::string("global_") + name, "hand", 4, sparsity, hand_largest);
    }
    add_largest_of_all(ours);
    for (auto const& [kept, group] :
         {std::pair(2, 4), std::pair(1, 16), std::pair(4, 32), std::pair(8, 64), std::pair(16, 256)}) {
        esp::group_pattern const pattern{kept, group};
        add_n_m("ours", pattern, [pattern](state& s) {
            auto const& p = s.pieces[0];
            esp::prune::select_n_m<criterion>(esp::contiguous_view(p.weights, s.n / columns, columns), pattern, p.mask);
        });
        if (group == 4)
            add_n_m("hand", pattern, hand_two_of_four);
        else
            add_n_m("hand", pattern, [pattern](state& s) { hand_n_m(s, pattern); });
    }
    check_exchange();
    add_exchange("ours", our_exchange);
    add_exchange("hand", hand_exchange);
    return bench::run(argc, argv);
}
