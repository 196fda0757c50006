// SPDX-License-Identifier: Apache-2.0
// The update pass: AdamW with penalties, a prox and a mask, in cache and far beyond it.
// Floor: 28 bytes a weight (weight, two moments: read and written; gradient: read), 1/8 more for a bit mask, 4 more for
// an anchor, 4 for an importance and 4 for a copy that products read, at the bandwidth of working in place. A compander
// whose a and b are learned writes that copy in a second pass: 12 bytes. An optimizer chosen by role is that one alone.
#include "common.hpp"

#include <espalier/device/cpu/flush_denormals.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <memory>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

struct state {
    index_t n;
    array<float> w, g, m, kept; // kept: anchor and importance
    array<float> operands;
    array<float> scalars{64, 31}, scalar_gradients{64, 37};
    array<std::uint32_t> mask;
    std::vector<double> values = std::vector<double>(8);
    index_t stride;

    explicit state(index_t count)
        : n(count), w(n, 0), g(n, 5), m(2 * n + 16 * 11, 11), kept(2 * n + 16 * 11, 17), operands(n, 29),
          mask(n / 32 + 2, 23), stride(n + 16 * 11) {
        bench::fill_normal(w.data(), n, 1);
        bench::fill_normal(g.data(), n, 2, 0.1);
        bench::fill_normal(kept.data(), 2 * n + 16 * 11, 3);
        for (index_t i = 0; i < n; ++i)
            importance()[i] *= importance()[i];
        scalars.data()[0] = std::log(0.1f);
        scalars.data()[32] = std::log(0.05f);
        std::mt19937 bits(5);
        for (index_t i = 0; i < n / 32 + 2; ++i)
            mask.data()[i] = static_cast<std::uint32_t>(bits());
    }
    float* anchor() { return kept.data(); }
    float* importance() { return kept.data() + stride; }
    esp::update_segment<float> segment() {
        esp::update_segment<float> s;
        s.rows = 1;
        s.columns = n;
        s.weights = w.data();
        s.gradients = g.data();
        s.companions = kept.data();
        s.companion_stride = stride;
        s.moments = m.data();
        s.moment_stride = stride;
        s.operands = operands.data();
        s.scalars = scalars.data();
        s.scalar_gradients = scalar_gradients.data();
        s.mask = mask.data();
        s.values = values.data();
        return s;
    }
};

constexpr double rate = 1e-4, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 1e-2;
constexpr double l1_strength = 1e-4, l2_strength = 1e-3, anchor_strength = 1e-3, prox_strength = 1e-4;
constexpr double correction1 = 1.0 / (1.0 - 0.9), correction2 = 31.6227766;

esp::optimizer::adamw_op adamw() {
    return {rate, beta1, beta2, epsilon, weight_decay, correction1, correction2};
}

// ---- the same by hand: plain loops that the compiler vectorises

struct hand_numbers {
    float rate, b1, b2, eps, decay, c1, c2, l1, l2, anchor, prox;
};
hand_numbers numbers() {
    return {float(rate),
            float(1.0 - beta1),
            float(beta2),
            float(epsilon),
            float(rate * weight_decay),
            float(rate * correction1),
            float(correction2),
            float(l1_strength),
            float(l2_strength),
            float(anchor_strength),
            float(rate * prox_strength)};
}

#define RESTRICT __restrict__
[[gnu::noinline]] void hand_plain(hand_numbers const k, index_t n, float* RESTRICT w, float const* RESTRICT g,
                                  float* RESTRICT m, float* RESTRICT v) {
    float const one_b2 = 1.0f - k.b2;
    for (index_t i = 0; i < n; ++i) {
        float const gi = g[i];
        m[i] += k.b1 * (gi - m[i]);
        v[i] = one_b2 * gi * gi + k.b2 * v[i];
        float const d = __builtin_sqrtf(v[i]) * k.c2 + k.eps;
        w[i] = w[i] - k.decay * w[i] - k.c1 * m[i] / d;
    }
}

[[gnu::noinline]] double hand_l1(hand_numbers const k, index_t n, float* RESTRICT w, float const* RESTRICT g,
                                 float* RESTRICT m, float* RESTRICT v) {
    float const one_b2 = 1.0f - k.b2;
    double total = 0.0;
    for (index_t s = 0; s < n; s += 4096) {
        index_t const end = s + 4096 < n ? s + 4096 : n;
        float part[16] = {};
        for (index_t i = s; i + 16 <= end; i += 16)
            for (int j = 0; j < 16; ++j) {
                index_t const e = i + j;
                part[j] += k.l1 * __builtin_fabsf(w[e]);
                float const gi = g[e] + (w[e] > 0 ? k.l1 : w[e] < 0 ? -k.l1 : 0.0f);
                m[e] += k.b1 * (gi - m[e]);
                v[e] = one_b2 * gi * gi + k.b2 * v[e];
                float const d = __builtin_sqrtf(v[e]) * k.c2 + k.eps;
                w[e] = w[e] - k.decay * w[e] - k.c1 * m[e] / d;
            }
        for (float p : part)
            total += static_cast<double>(p);
    }
    return total;
}

[[gnu::noinline]] double hand_l1_anchor_mask(hand_numbers const k, index_t n, float* RESTRICT w,
                                             float const* RESTRICT g, float* RESTRICT m, float* RESTRICT v,
                                             float const* RESTRICT a, std::uint32_t const* RESTRICT mask) {
    float const one_b2 = 1.0f - k.b2;
    double total = 0.0;
    for (index_t s = 0; s < n; s += 4096) {
        index_t const end = s + 4096 < n ? s + 4096 : n;
        float part[16] = {};
        for (index_t i = s; i + 16 <= end; i += 16) {
            std::uint32_t const word = mask[i / 32] >> (i % 32);
            for (int j = 0; j < 16; ++j) {
                index_t const e = i + j;
                bool const keep = (word >> j) & 1;
                part[j] += k.l1 * __builtin_fabsf(w[e]);
                float gi = keep ? g[e] : 0.0f;
                gi += w[e] > 0 ? k.l1 : w[e] < 0 ? -k.l1 : 0.0f;
                gi += k.anchor * (w[e] - a[e]);
                m[e] += k.b1 * (gi - m[e]);
                v[e] = one_b2 * gi * gi + k.b2 * v[e];
                float const d = __builtin_sqrtf(v[e]) * k.c2 + k.eps;
                float const next = w[e] - k.decay * w[e] - k.c1 * m[e] / d;
                w[e] = keep ? next : 0.0f;
            }
        }
        for (float p : part)
            total += static_cast<double>(p);
    }
    return total;
}

// ---- reference in double

struct reference_numbers {
    int l1 = 0, l2 = 0, elastic = 0;
    bool prox = false, anchor = false, mask = false, importance = false, compander = false;
};
double reference(reference_numbers const& use, double w, double g, double& m, double& v, double a, double f,
                 bool keep) {
    if (use.mask && !keep) g = 0.0;
    if (use.compander) g *= 0.1 * 0.05 / (0.05 * 0.05 + w * w);
    double const sign = w > 0 ? 1.0 : w < 0 ? -1.0 : 0.0;
    g += use.l1 * l1_strength * sign + use.l2 * l2_strength * w;
    g += use.elastic * (l1_strength * sign + l2_strength * w);
    if (use.anchor) g += anchor_strength * (w - a);
    if (use.importance) g += anchor_strength * f * (w - a);
    m += (1 - beta1) * (g - m);
    v = (1 - beta2) * g * g + beta2 * v;
    double next = w - rate * weight_decay * w - rate * correction1 * m / (std::sqrt(v) * correction2 + epsilon);
    if (use.prox) {
        double const t = rate * prox_strength;
        next = next > t ? next - t : next < -t ? next + t : 0.0;
    }
    return use.mask && !keep ? 0.0 : next;
}

template <class Body> void check(std::string const& name, reference_numbers const& use, Body const& body) {
    state s(10000 + 5);
    std::vector<double> w(s.w.data(), s.w.data() + s.n), m(w.size()), v(w.size());
    for (int step = 0; step < 3; ++step) {
        body(s);
        for (index_t i = 0; i < s.n; ++i) {
            auto const k = static_cast<std::size_t>(i);
            bool const keep = (s.mask.data()[i / 32] >> (i % 32)) & 1;
            w[k] = reference(use, w[k], double(s.g.data()[i]), m[k], v[k], double(s.anchor()[i]),
                             double(s.importance()[i]), keep);
        }
    }
    // the hand-written ones leave what does not fill a register
    for (index_t i = 0; i < s.n / 16 * 16; ++i)
        bench::expect_close(name.c_str(), double(s.w.data()[i]), w[static_cast<std::size_t>(i)], 3e-6);
}

struct size_case {
    char const* name;
    index_t n;
    bool cached;
};
constexpr size_case sizes[] = {{"20k", 20 << 10, true}, {"4M", 4 << 20, false}};

/// `ops`: one op for all tensors, or one for each kind of them.
template <class Rule, class Ops = esp::optimizer::adamw_op>
void add_ours(std::string const& name, Rule const& rule, double bytes, reference_numbers const& use,
              Ops const& ops = adamw()) {
    auto const step = [rule, ops](state& s) {
        auto segment = s.segment();
        esp::cpu::update(esp::detail::op_for<esp::detail::tensor_tag<esp::role::kernel, esp::no_group>>(ops), rule,
                         segment);
        if constexpr (Rule::scalars > 0) {
            segment.gradients = segment.weights;
            esp::cpu::update(esp::no_step{}, rule, segment);
        }
    };
    check(name, use, step);
    for (auto const& size : sizes) {
        auto s = std::make_shared<state>(size.n);
        bench::add("update/" + name + "_" + size.name + "/ours",
                   bench::roof().in_place_ns(bytes * static_cast<double>(size.n), size.cached),
                   [s, step] { step(*s); });
    }
}

template <class Body>
void add_hand(std::string const& name, double bytes, reference_numbers const& use, Body const& body) {
    check(name + " by hand", use, body);
    for (auto const& size : sizes) {
        auto s = std::make_shared<state>(size.n);
        bench::add("update/" + name + "_" + size.name + "/hand",
                   bench::roof().in_place_ns(bytes * static_cast<double>(size.n), size.cached),
                   [s, body] { body(*s); });
    }
}

using esp::flat_tuple;
template <class Map, class Penalties, class Transforms> using rule_of = esp::tensor_rule<Map, Penalties, Transforms>;
using plain_map = esp::weight::identity;
using mask_map = esp::weight::fixed_mask;
using l1 = esp::penalty::l1_op;
using l2 = esp::penalty::l2_op;
using elastic = esp::op_of<esp::penalty::elastic_net<l1_strength, l2_strength>>;
using prox = esp::penalty::proximal_op<l1>;
using anchor = esp::penalty::anchor_op;
using consolidation = esp::penalty::elastic_weight_consolidation_op;

} // namespace

int main(int argc, char** argv) {
    // As in training, for the loops by hand too: moments of masked weights decay into the denormals.
    esp::cpu::flush_denormals const scope;
    l1 const a{l1_strength};
    l2 const b{l2_strength};
    elastic const c = esp::op_at<esp::penalty::elastic_net<l1_strength, l2_strength>>(esp::clock{});
    prox const p{{prox_strength}};

    add_ours("adamw", rule_of<plain_map, flat_tuple<>, flat_tuple<>>{}, 28.0, {});
    auto const by_role = esp::optimizer::by_group{
        esp::optimizer::of<esp::role::bias>(esp::optimizer::sgd{.learning_rate = rate}),
        esp::optimizer::rest(esp::optimizer::adamw{rate, beta1, beta2, epsilon, weight_decay})};
    add_ours("adamw_by_group", rule_of<plain_map, flat_tuple<>, flat_tuple<>>{}, 28.0, {}, by_role.at(esp::clock{}, 1));
    add_ours("adamw+1", rule_of<plain_map, flat_tuple<l1>, flat_tuple<>>{{}, {{a}}, {}}, 28.0, {.l1 = 1});
    add_ours("adamw+2", rule_of<plain_map, flat_tuple<l1, l2>, flat_tuple<>>{{}, {{{a}, {b}}}, {}}, 28.0,
             {.l1 = 1, .l2 = 1});
    add_ours("adamw+4",
             rule_of<plain_map, flat_tuple<l1, l2, elastic, l2>, flat_tuple<>>{{}, {{{a}, {b}, {c}, {b}}}, {}}, 28.0,
             {.l1 = 1, .l2 = 2, .elastic = 1});
    add_ours("adamw+prox", rule_of<plain_map, flat_tuple<prox>, flat_tuple<>>{{}, {{p}}, {}}, 28.0, {.prox = true});
    add_ours("adamw+mask", rule_of<mask_map, flat_tuple<>, flat_tuple<>>{}, 28.125, {.mask = true});
    add_ours("adamw+anchor", rule_of<plain_map, flat_tuple<anchor>, flat_tuple<>>{{}, {{{anchor_strength}}}, {}}, 32.0,
             {.anchor = true});
    add_ours("adamw+consolidation",
             rule_of<plain_map, flat_tuple<consolidation>, flat_tuple<>>{{}, {{{anchor_strength}}}, {}}, 36.0,
             {.importance = true});
    add_ours("adamw+l1+anchor+mask",
             rule_of<mask_map, flat_tuple<l1, anchor>, flat_tuple<>>{{}, {{{a}, {{anchor_strength}}}}, {}}, 32.125,
             {.l1 = 1, .anchor = true, .mask = true});

    using compander = esp::weight::compander_op<esp::weight::arctan>;
    using learned = esp::weight::learned_compander_op<esp::weight::arctan>;
    add_ours("adamw+compander", rule_of<compander, flat_tuple<>, flat_tuple<>>{{0.1, 0.05}, {}, {}}, 32.0,
             {.compander = true});
    add_ours("adamw+learned_compander", rule_of<learned, flat_tuple<>, flat_tuple<>>{{{0.1, 0.05}}, {}, {}}, 40.0,
             {.compander = true});

    add_hand("adamw", 28.0, {},
             [](state& s) { hand_plain(numbers(), s.n, s.w.data(), s.g.data(), s.m.data(), s.m.data() + s.stride); });
    add_hand("adamw+1", 28.0, {.l1 = 1}, [](state& s) {
        s.values[0] += hand_l1(numbers(), s.n, s.w.data(), s.g.data(), s.m.data(), s.m.data() + s.stride);
    });
    add_hand("adamw+l1+anchor+mask", 32.125, {.l1 = 1, .anchor = true, .mask = true}, [](state& s) {
        s.values[0] += hand_l1_anchor_mask(numbers(), s.n, s.w.data(), s.g.data(), s.m.data(), s.m.data() + s.stride,
                                           s.anchor(), s.mask.data());
    });
    return bench::run(argc, argv);
}
