// SPDX-License-Identifier: Apache-2.0
// Local search over the assignment of experts: a decorator for any gate.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/linear_assignment.hpp>
#include <espalier/gate/sinkhorn.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::gate {

/// Numbers of a local search: a structural value, `local_search<top_k<8, 2>, search{.steps = 500}>`. Temperature (on a
/// logarithmic scale) and iterations go from their first to their last value while the steps are taken. The defaults
/// for the temperature are such that the first scores, U(-0.05, 0.05), leave the permutation soft; the authors'
/// configurations, `published_search`, start where it is almost hard and learn less in our tests.
struct search {
    std::int64_t steps = 1000;       ///< of training, in which the permutation is learned
    double epochs = 0.0;             ///< takes their place when above 0: passes over the training set, or part of one
    double first_temperature = 1e-1; ///< scores are divided by it
    double last_temperature = 1e-3;
    int first_iterations = 20; ///< of the normalisation
    int last_iterations = 150;
    bool apart = false;    ///< a permutation for each of the gate's trees or selectors instead of one for all
    double noise = 0.0;    ///< factor of Gumbel noise on the scores
    double entropy = 1e-4; ///< coefficient of the permutation's entropy

    constexpr char const* problem() const {
        if (steps < 0) return "a local search takes 0 steps or more";
        if (!(epochs >= 0.0 && epochs <= 1e9)) return "a local search takes 0 epochs or more";
        if (!(last_temperature >= 1e-7 && last_temperature <= first_temperature && first_temperature <= 1e6))
            return "the temperatures of a local search need 1e-7 <= last <= first";
        if (!(first_iterations >= 1 && first_iterations <= last_iterations && last_iterations <= 1000))
            return "the iterations of a local search need 1 <= first <= last <= 1000";
        if (!(noise >= 0.0 && noise <= 1e6)) return "the noise of a local search must not be negative";
        return entropy >= 0.0 && entropy <= 1e6 ? nullptr : "the entropy of a local search must not be negative";
    }
    friend constexpr bool operator==(search const&, search const&) = default;
};

/// As in the authors' configurations (supplement of the paper).
constexpr search published_search(std::int64_t steps) {
    return {.steps = steps, .first_temperature = 1e-3, .last_temperature = 1e-7};
}

/// The scorer's op and the numbers of the search at one step.
template <class ScorerOp> struct local_search_op {
    ScorerOp scorer;
    double temperature;
    double noise;
    double entropy; ///< coefficient for each permutation
    int iterations;
    bool learns; ///< while training: the permutation is still soft
    static constexpr auto numbers =
        fields<&local_search_op::temperature, &local_search_op::noise, &local_search_op::iterations>;
};

namespace detail {
/// A gate of trees or selectors with a weight for every one of them and every expert.
template <class Gate> struct taken_apart : Gate {
    using op = typename Gate::op::apart;
    static constexpr int slots = op::slots;
    static op at(clock const& now) { return Gate::at(now).taken_apart(); }
};
template <class Gate>
concept comes_apart = requires {
    typename Gate::op::apart;
};
template <class Gate, bool Apart> consteval auto searched_gate() {
    if constexpr (Apart && comes_apart<Gate>)
        return std::type_identity<taken_apart<Gate>>{};
    else
        return std::type_identity<Gate>{};
}
} // namespace detail

/// g = w P / sum(w P), where w are the weights of `Scorer` over the experts and P a permutation of the experts that is
/// learned in the first Options.steps steps of training, or Options.epochs passes over its data (Ibrahim et al. 2023,
/// COMET, section 4 and supplement):
///     soft:  P = Sinkhorn((R + noise * Gumbel) / temperature), R trained with everything else, U(-0.05, 0.05) at first
///     hard:  the permutation that maximises sum_u P[u][c(u)], P of the last soft step; used by every evaluation and,
///            after the steps, by training
/// The term, while P is soft, is entropy * (sum -P log(P + 1e-6) + sum -Q log(Q + 1e-6)), Q = P / row sums. Weights of
/// a scorer that need not add up to one (`sums_to_one = false`: dselect_k, expert_choice, over_all) are not divided,
/// g = w P. One permutation serves the whole gate, as in the
/// authors' configurations; with `apart`, comet and dselect_k have one for each tree or selector j, g = sum_j w_j P_j /
/// sum, and the term is the mean of theirs.
///
/// While P is soft every expert has a weight above 0, so that a compacting dispatch runs all of them;
/// dispatch::automatic copes. Afterwards rows have as many experts as the scorer gives them, and P costs a product of
/// experts x experts. Tensors: "scores" (role::score, penalties reach it only by on<>), state: "permutation" as zeros
/// and ones. Cost of a soft step beside that: iterations x experts^2 exponentials and experts^3 for the rounding, once
/// a batch.
template <class Scorer, search Options = search{}> struct local_search {
    static_assert(diagnostic::holds<gate_policy<Scorer>, diagnostic::from_policy<Scorer>>,
                  "espalier: gate::local_search<gate> takes a gate to move the experts of; the next line names what it "
                  "was given");
    static_assert(!espalier::detail::gate_searches<Scorer>(),
                  "espalier: gate::local_search already searches; give it the gate inside instead");
    static_assert(diagnostic::holds<Options.problem() == nullptr, diagnostic::given<Options>>,
                  "espalier: the numbers of gate::local_search are out of range: 1e-7 <= last_temperature <= "
                  "first_temperature, 1 <= first_iterations <= last_iterations <= 1000, nothing negative; the next "
                  "line names those given");
    static_assert(Scorer::experts <= 512, "espalier: gate::local_search takes at most 512 experts: its cost grows with "
                                          "their third power");
    static_assert(!Options.apart || detail::comes_apart<Scorer>,
                  "espalier: gate::search{.apart = true} needs a gate of trees or selectors, comet or dselect_k: the "
                  "mean of several permutations of any other gate is none");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "local_search";
    using scorer = typename decltype(detail::searched_gate<Scorer, Options.apart>())::type;
    using consists_of = type_list<Scorer>;
    static constexpr double entropy = Options.entropy; // the op has the share of one permutation
    static constexpr auto numbers = fields<&local_search::entropy>;
    static constexpr int experts = Scorer::experts;
    static constexpr int slots = experts;
    static constexpr int parts = Options.apart ? scorer::slots / experts : 1;
    static constexpr int logits = Scorer::logits;
    static constexpr bool slot_is_expert = true;
    /// Doubles that a search needs to remember or to round.
    static constexpr index_t scratch = [] {
        index_t const soft = sinkhorn_scratch(experts, Options.last_iterations);
        index_t const hard = linear_assignment_scratch(experts) + experts;
        return soft > hard ? soft : hard;
    }();

    using op = local_search_op<op_of<scorer>>;
    static op at(clock const& now) {
        // Who counts epochs but not their steps moves on once an epoch.
        bool const by_epochs = Options.epochs > 0.0;
        double const steps = static_cast<double>(now.step) + 1.0;
        double const passes =
            now.steps_per_epoch > 0 ? steps / static_cast<double>(now.steps_per_epoch) : static_cast<double>(now.epoch);
        double const done = by_epochs ? passes : steps;
        double const all = by_epochs ? Options.epochs : static_cast<double>(Options.steps);
        double const f = done >= all ? 1.0 : done / all;
        op o{op_at<scorer>(now), 0.0, Options.noise, Options.entropy / parts, 0, done < all};
        double const first = std::log10(Options.first_temperature), last = std::log10(Options.last_temperature);
        o.temperature = std::pow(10.0, first + f * (last - first));
        // f stands for a quotient of two whole numbers: where its product is whole, it is meant to be.
        o.iterations = Options.first_iterations +
                       static_cast<int>(floor_of_product(f, Options.last_iterations - Options.first_iterations));
        return o;
    }
};

} // namespace espalier::gate
