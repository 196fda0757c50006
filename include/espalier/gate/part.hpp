// SPDX-License-Identifier: Apache-2.0
// Parts of gates that choose by score: noise, a temperature, over what weights are normalised, terms of the loss.
//
// Archetype (everything but `kind` is optional; `name` is for messages):
//
//     struct my_part {
//         static constexpr part_kind kind = part_kind::term;
//         static constexpr std::string_view name = "mine";
//         using op = my_op;                     // numbers and row functions, default: my_part itself
//         static op at(clock const&);           // the numbers of this step, default: op{}
//         using initial = initial::zeros;       // first values of the gate's kernel and bias
//     };
//
// Its op is a trivially copyable aggregate with `kind`, `static constexpr part_needs needs` where it needs anything,
// `numbers` for describe (core/fields.hpp), and by kind the functions
//
//     temperature    T scaled(T z) const                                  linear: its own gradient
//     noise          void disturb(Group const&, About const&, State&) const            noisy (and sigma) from clean
//                    void backward(Group const&, About&, Gradient&) const                  after all terms
//     normalisation  none: over_all is the only one
//     term           T share(Group const&, State const&) const                            a mean over rows, or
//                    void statistic(Group const&, State const&, Row* rows) const          needs.statistics rows and
//                    template <int Experts> double finish(double const* sums, index_t rows, double* slopes) const
//                    void backward(Group const&, State const&, Row const* slopes, T const& term_scale, Gradient&) const
//
// with About a `gate_about`, State a `scored_row`, Gradient a `scored_gradient`; terms add to the gradients that they
// have.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/schedule/within.hpp>

#include <concepts>

namespace espalier::gate {

/// What a part does. A gate has at most one noise, one temperature and one normalisation, and any number of terms.
enum class part_kind { noise, temperature, normalisation, term };

template <class P>
concept part = requires {
    { P::kind } -> std::convertible_to<part_kind>;
};

/// What the op of a part needs of the gate.
struct part_needs {
    bool noise = false;         ///< standard normal numbers
    bool noise_logits = false;  ///< as many further logits, the scale of the noise
    bool sigma = false;         ///< learned_noise beside it: a scale of the noise for every expert
    bool weights = false;       ///< the weights as a row over the experts
    bool probabilities = false; ///< softmax over all experts
    bool winners = false;       ///< who wins: `wins` in `share` and `statistic`
    bool runner_up = false;     ///< the last winner, and the largest of those that did not win; `wins` everywhere
    bool choice = false;        ///< experts that do not win: K < Experts
    int statistics = 0;         ///< rows over the experts that are summed over the batch
};

/// A row as the parts see it: `noisy` always, the rest where a part asks for it by its `needs`.
template <class Group, class T, int Experts, int Winners> struct scored_row {
    static constexpr int experts = Experts;
    static constexpr int winners = Winners; ///< places that a row fills, Experts where all of them count

    row<Group, T, Experts> noisy; ///< what is ranked and normalised: clean and noise
    row<Group, T, Experts> clean; ///< logits divided by the temperature; in a gate with noise
    row<Group, T, Experts> sigma; ///< scale of the noise; with learned_noise
    row<Group, T, Experts> g;     ///< `weights`: over the experts, 0 for those not chosen
    row<Group, T, Experts> p;     ///< `probabilities`: softmax of `noisy` over all experts
    T top;                        ///< the same: largest of `noisy`
    T total;                      ///< the same: sum of exp(noisy - top)
    row_place<T> last;            ///< `winners`, `runner_up`: the winner of smallest `noisy`; minus infinity: none
    row_place<T> next;            ///< `runner_up`: the largest of those after it

    /// Whether the column of element i is among the winners. Its weight does not say so: that of a winner far below the
    /// first one is rounded to 0.
    ESPALIER_FN auto wins(Group const& group, int i) const {
        auto const first =
            (noisy.v[i] > last.value) | ((noisy.v[i] == last.value) & (noisy.column(group, i) <= last.column));
        return first & (noisy.v[i] > T(static_cast<scalar_of<T>>(-__builtin_inf())));
    }
    /// log p of element i
    ESPALIER_FN T log_p(int i, T const& log_total) const { return noisy.v[i] - top - log_total; }
};

/// The gradients of the same, where it exists; `clean` and `sigma` with `runner_up`.
template <class Group, class T, int Experts> struct scored_gradient {
    row<Group, T, Experts> noisy;
    row<Group, T, Experts> clean; ///< beside what comes from `noisy`
    row<Group, T, Experts> sigma; ///< the same
    row<Group, T, Experts> g;
    row<Group, T, Experts> p;
};

/// Base of a part whose op is made of numbers: `struct balance : part_of<balance<C>, balance_op, number<C,
/// coefficient>>` is a part but for its name.
template <class Part, class Op, class... Numbers> struct part_of : schedule::made_of<axis::gate, Part, Op, Numbers...> {
    static constexpr part_kind kind = Op::kind;
};

namespace detail {

template <class P> using part_op = typename espalier::detail::op_type<P>::type;

template <class P> constexpr part_op<P> part_at(clock const& now) {
    if constexpr (requires { P::at(now); })
        return P::at(now);
    else
        return part_op<P>{};
}

ESPALIER_MEMBER_OR(part_needs_of, needs, part_needs{})

} // namespace detail

} // namespace espalier::gate
