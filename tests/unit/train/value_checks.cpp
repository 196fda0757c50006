// SPDX-License-Identifier: Apache-2.0
// check_loss, check_optimizer, check_schedule and check_batch: what the library ships passes, and what is wrong fails
// with the point where it is wrong.
#include <espalier/batch/cutmix.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/math.hpp>
#include <espalier/loss/all.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/all.hpp>
#include <espalier/train/batch_check.hpp>
#include <espalier/train/loss_check.hpp>
#include <espalier/train/optimizer_check.hpp>
#include <espalier/train/schedule_check.hpp>

#include <support/catch.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

using namespace espalier;

namespace {

void passes(policy_report const& report) {
    INFO(report.text);
    CHECK(report.ok());
}
void fails(policy_report const& report, std::string_view line) {
    INFO(report.text);
    CHECK_FALSE(report.ok());
    CHECK_THAT(report.text, contains_text("FAIL  " + std::string(line)));
}

enum class fault {
    none,
    numbers,
    gradient,
    value_by_gradient,
    labels,
    missing,
    overflow,
    lanes,
    packs,
    remembered,
    judged,
    judged_gradient,
    packs_of_state
};

/// Half the square of z - target over the row, and the mean of what the sample remembers of z times z.
struct memory_loss {
    fault mistake = fault::none;

    static constexpr std::string_view name = "memory";
    static constexpr bool needs_dense_target = true;
    static constexpr bool skips_missing_targets = true;
    static constexpr bool per_sample_state = true;
    constexpr char const* problem() const { return mistake == fault::numbers ? "no such number" : nullptr; }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>* state) const {
        using S = scalar_of<T>;
        if (state)
            for (int i = 0; i < z.local; ++i)
                state->v[i] = T(S(0.5)) * (state->v[i] + z.v[i]) +
                              T(S(mistake == fault::packs_of_state && is_pack<T> ? 0.1 : 0.0));
        return weigh(group, z, target, dz, state);
    }
    template <class Group, class T, int N>
    ESPALIER_FN void add_prediction(Group const&, row<Group, T, N> const& z, row<Group, T, N>& sum) const {
        for (int i = 0; i < z.local; ++i)
            sum.v[i] += z.v[i];
    }
    template <class Group, class T, int N>
    ESPALIER_FN void remember(Group const&, row<Group, T, N> const& sum, int copies, row<Group, T, N>& state) const {
        using S = scalar_of<T>;
        T const share(S(mistake == fault::remembered ? 0.4 : 0.5)), one(S(1.0 / copies));
        for (int i = 0; i < sum.local; ++i)
            state.v[i] = share * (state.v[i] + sum.v[i] * one);
    }
    template <class Group, class T, int N>
    ESPALIER_FN T judge(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const& target,
                        row<Group, T, N>* dz, row<Group, T, N> const& state) const {
        T value = weigh(group, z, target, dz, &state);
        if (mistake == fault::judged_gradient) dz->v[0] = -dz->v[0];
        return mistake == fault::judged ? value + value : value;
    }

private:
    template <class Group, class T, int N>
    ESPALIER_FN T weigh(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const& target,
                        row<Group, T, N>* dz, row<Group, T, N> const* state) const {
        using S = scalar_of<T>;
        using espalier::exp;
        T const none(S(0)), half(S(0.5)), share(S(1.0 / N));
        row<Group, T, N> part;
        for (int i = 0; i < z.local; ++i) {
            T const t = target.dense->v[i];
            T gap = z.v[i] - t;
            if (mistake != fault::missing) gap = select(t == t, gap, none);
            part.v[i] = half * gap * gap;
            if (state) part.v[i] += share * state->v[i] * z.v[i];
            if (mistake == fault::overflow) part.v[i] += exp(z.v[i] * z.v[i]) - exp(z.v[i] * z.v[i]);
            if (dz) {
                dz->v[i] = gap;
                if (state) dz->v[i] += share * state->v[i];
                if (mistake == fault::gradient) dz->v[i] = dz->v[i] + gap;
            }
        }
        T sum = none;
        if (mistake == fault::lanes) // as if every lane had a whole row
            for (int i = 0; i < z.local; ++i)
                sum += part.v[i];
        else
            sum = row_sum(group, part);
        if (mistake == fault::packs && is_pack<T>) sum += share;
        if (mistake == fault::labels) sum += target.label;
        return mistake == fault::value_by_gradient && !dz ? sum + sum : sum;
    }
};

struct reads_a_target {
    static constexpr std::string_view name = "reads a target";
    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        if (dz) *dz = *target.dense;
        return row_dot(group, z, *target.dense);
    }
};
struct forgetful { // its memory has no part in a `judge`
    static constexpr std::string_view name = "forgetful";
    static constexpr bool per_sample_state = true;
    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const&,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        if (dz)
            for (int i = 0; i < z.local; ++i)
                dz->v[i] = z.v[i] + z.v[i];
        return row_dot(group, z, z);
    }
};

enum class slip { none, numbers, rate, moves, memory, not_finite, packs, counts };

struct plain_step {
    slip mistake;
    double learning_rate;
    static constexpr int moments = 1;
    static constexpr bool counts_updates = false;

    double rate() const { return learning_rate; }
    template <class T> ESPALIER_FN T step(T w, T g, T* m, T rate, T) const {
        using S = scalar_of<T>;
        m[0] = T(S(0.9)) * m[0] + g;
        if (mistake == slip::memory) m[1] = g;
        if (mistake == slip::moves) return w - T(S(0.01)) * m[0];
        if (mistake == slip::not_finite) return w - rate * (g / (g * g));
        if (mistake == slip::packs && is_pack<T>) return w - rate * g;
        return w - rate * m[0];
    }
};
struct plain_optimizer {
    slip mistake = slip::none;
    void validate() const {
        if (mistake == slip::numbers) throw data_error("no such number");
    }
    plain_step at(espalier::clock const&, std::uint64_t update) const {
        double const rate = mistake == slip::rate     ? -0.1
                            : mistake == slip::counts ? 0.1 / static_cast<double>(update)
                                                      : 0.1;
        return {mistake, rate};
    }
};

enum class lapse { none, numbers, not_finite, range, memory };

struct some_schedule {
    lapse mistake = lapse::none;
    int* calls = nullptr;
    double at(espalier::clock const& now) const {
        if (mistake == lapse::memory) return 1e-3 * ++*calls;
        if (mistake == lapse::not_finite && now.step == 5) return std::numeric_limits<double>::infinity();
        return mistake == lapse::range && now.epoch == 3 ? 1.5 : 0.5;
    }
    constexpr char const* problem() const { return mistake == lapse::numbers ? "no such number" : nullptr; }
    constexpr schedule::bounds range() const {
        return mistake == lapse::range ? schedule::bounds{0.0, 1.0} : schedule::bounds{};
    }
};

enum class blunder { none, numbers, unwritten, source, beyond, share, weight, label, mixes, memory };

struct some_batch {
    blunder mistake = blunder::none;
    int* calls = nullptr;
    static constexpr bool mixes = false;
    void validate() const {
        if (mistake == blunder::numbers) throw data_error("no such number");
    }
    template <class T>
    void apply(batch::batch_memory<T>& batch, index_t n, shape of_row, espalier::clock const& now,
               random_site const&) const {
        T const sign = mistake == blunder::memory ? static_cast<T>(++*calls) : T(-1);
        index_t const written = mistake == blunder::unwritten ? n - 1 : mistake == blunder::beyond ? n + 1 : n;
        for (index_t r = 0; r < written; ++r)
            for (index_t c = 0; c < of_row.size(); ++c)
                batch.inputs(r, c) = sign * batch.source(r, c);
        if (now.step < 2) return;
        if (mistake == blunder::source) batch.source(1, 1) = T(3);
        if (mistake == blunder::share) batch.mixing[2] = 1.25f;
        if (mistake == blunder::weight) batch.weight[2] = std::numeric_limits<float>::infinity();
        if (mistake == blunder::label) batch.label[3] = batch.partner_label[3] = 4;
        if (mistake == blunder::mixes) batch.partner_label[3] = 1;
    }
};

} // namespace

TEST_CASE("check_loss: every shipped loss passes", "[train][policy_check]") {
    passes(check_loss(loss::cross_entropy{.smoothing = 0.1}));
    passes(check_loss(loss::soft_cross_entropy{}));
    passes(check_loss(loss::distillation{.temperature = 2.0}));
    passes(check_loss(loss::mean_squared_error{}));
    passes(check_loss(loss::one_hot_squared_error{}));
    passes(check_loss(loss::binary_cross_entropy{}));
    passes(check_loss<11>(loss::early_learning{}));
    passes(check_loss<2>(loss::columns(loss::column::binary{}, loss::column::squared{.weight = 0.1})));
}

TEST_CASE("check_loss: losses that are wrong fail where they are wrong", "[train][policy_check]") {
    auto const of = [](fault mistake) { return check_loss<11>(memory_loss{mistake}); };
    passes(of(fault::none));
    fails(of(fault::numbers), "its numbers make sense: no such number");
    fails(of(fault::gradient), "dz is the gradient of the loss of a row at row 0, column 0");
    fails(of(fault::value_by_gradient), "the value does not depend on whether a gradient is asked for at row 0");
    fails(of(fault::labels), "reads no labels, since `needs_labels` is not declared at row 0: given nan");
    fails(of(fault::missing), "a target that is NaN counts as none at row 0");
    fails(of(fault::overflow), "equal and large outputs have finite values and gradients at row 0: given the value");
    fails(of(fault::lanes), "values of one row over several lanes at row 0");
    fails(of(fault::packs), "values of several rows in packs at row 0");
    fails(of(fault::packs_of_state), "state of several rows in packs at row 0");
    fails(of(fault::remembered), "remember, after one output, leaves the state that evaluate does at row 0");
    fails(of(fault::judged), "judge gives the value that evaluate does at row 0");
    fails(of(fault::judged_gradient), "judge: dz is the gradient of the loss of a row at row 0, column 0");
    fails(check_loss(reads_a_target{}), "reads no target row, since `needs_dense_target` is not declared at row 0");
    auto const partly = check_loss(forgetful{});
    passes(partly);
    CHECK(partly.not_checked == 1);
    CHECK_THAT(partly.text, contains_text("not checked: the gradient with memory"));
}

TEST_CASE("check_optimizer: shipped ones pass, wrong ones fail where they are wrong", "[train][policy_check]") {
    passes(check_optimizer(optimizer::sgd{}));
    passes(check_optimizer(optimizer::sgd{.momentum = optimizer::nesterov{0.9}, .weight_decay = 0.1}));
    passes(check_optimizer(optimizer::adam{}));
    passes(check_optimizer(optimizer::adamw{}));
    auto const of = [](slip mistake) { return check_optimizer(plain_optimizer{mistake}); };
    passes(of(slip::none));
    CHECK_THAT(of(slip::none).text, contains_text("not checked: whether it descends"));
    fails(of(slip::numbers), "validate accepts its numbers: no such number");
    fails(of(slip::rate), "the learning rate is finite and not negative at the first update: given -0.1");
    fails(of(slip::moves), "a learning rate of 0 leaves the weight alone at w = -3");
    fails(of(slip::memory), "the step writes `moments` numbers of state, no more at w = -3");
    fails(of(slip::not_finite), "finite gradients leave weight and moments finite at w = -3, g = 0");
    fails(of(slip::packs), "weights of a pack after three steps at x = ");
    fails(of(slip::counts), "`at` does not look at the number of the update");
    // Of several every one.
    auto const with = [](slip mistake) {
        return check_optimizer(optimizer::by_group{optimizer::of<role::bias>(plain_optimizer{mistake}),
                                                   optimizer::rest(optimizer::adam{})});
    };
    passes(with(slip::none));
    CHECK(with(slip::none).not_checked == 2);
    CHECK_THAT(with(slip::none).text, contains_text("an optimizer, that of role bias"));
    fails(with(slip::memory), "the step writes `moments` numbers of state, no more at w = -3");
}

TEST_CASE("check_schedule: shipped ones pass, wrong ones fail where they are wrong", "[train][policy_check]") {
    passes(check_schedule(schedule::constant{0.3}));
    passes(check_schedule(schedule::linear{.from = 0.1, .to = 0.9, .steps = 300}));
    passes(check_schedule(schedule::cosine{.from = 1.0, .to = 0.0, .steps = 300}));
    passes(check_schedule(schedule::exponential{.from = 1.0, .rate = 0.9}));
    int calls = 0;
    auto const of = [&](lapse mistake) { return check_schedule(some_schedule{mistake, &calls}); };
    passes(of(lapse::none));
    fails(of(lapse::numbers), "its numbers make sense: no such number");
    fails(of(lapse::not_finite), "values are finite at step 5: given inf");
    fails(of(lapse::range), "values lie in its range at step 30: given 1.5, the range is 0 to 1");
    fails(of(lapse::memory), "a time has one value at step 0");
}

TEST_CASE("check_batch: shipped ones pass, wrong ones fail where they are wrong", "[train][policy_check]") {
    passes(check_batch(batch::mixup{}));
    passes(check_batch(batch::mixup<batch::mixed_per::row>{}));
    passes(check_batch(batch::cutmix{}, shape{2, 3, 3}));
    int calls = 0;
    auto const of = [&](blunder mistake) { return check_batch(some_batch{mistake, &calls}); };
    passes(of(blunder::none));
    fails(of(blunder::numbers), "validate accepts its numbers: no such number");
    fails(of(blunder::unwritten),
          "the inputs of every row are written, from finite sources at step 0, row 6: given nan");
    fails(of(blunder::source), "the sources and rows beyond the batch are left alone at step 2, row 1: given 3");
    fails(of(blunder::beyond), "the sources and rows beyond the batch are left alone at step 0, row 7 of 7");
    fails(of(blunder::share), "tags make sense at step 2, row 2: mixing is 1.25");
    fails(of(blunder::weight), "tags make sense at step 2, row 2: weight is inf");
    fails(of(blunder::label), "tags make sense at step 2, row 3: a label is 4");
    fails(of(blunder::mixes), "tags make sense at step 2, row 3: partner_label or mixing has changed");
    fails(of(blunder::memory), "the same site gives the same batch at step 0, row 0");
}
