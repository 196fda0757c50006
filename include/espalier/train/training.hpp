// SPDX-License-Identifier: Apache-2.0
// host only. One step of training at a time, for programs that own their loop; `fit` is written with it.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/row.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/concept.hpp>
#include <espalier/train/counted_rows.hpp>
#include <espalier/train/masks.hpp>
#include <espalier/train/rates.hpp>
#include <espalier/train/step_decision.hpp>
#include <espalier/train/tiled_rows.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace espalier {

/// A batch of a network<..., T>: inputs, what it says about its rows, and target rows for losses that read them.
template <class T> struct batch_view {
    matrix_view<T const> inputs{};
    rows tags{};
    matrix_view<master_of<T> const> targets{}; ///< double of a network in double, else float
};

/// What one step gives back. `total` is the loss plus all terms.
struct step_result {
    double loss = 0.0;
    double total = 0.0;
    double reference = 0.0; ///< loss of the second stream, where there is one
};

/// What a step hands to a function between forward and backward: the rows at the taps of the stack, and the gradients
/// that are added to theirs. All views are of the device's memory; on a GPU such a function puts its work on the
/// stream of `device()`.
template <class Network> class tap_access {
public:
    using scalar = typename Network::scalar;

    tap_access(Network& net, rows const& tags, bool differentiates)
        : net_(&net), tags_(&tags), differentiates_(differentiates) {}

    auto& device() { return net_->runner().device(); }
    /// The rows that passed, rows of the batch x width. Throws data_error when there is no such tap.
    matrix_view<scalar const> values(std::string_view name) { return record(name).values; }
    /// Room for the gradient of `term` with respect to those rows, zero at first. What is left there is added to the
    /// gradient that comes back through the stack.
    matrix_view<scalar> gradient(std::string_view name) {
        auto& r = record(name);
        if (!r.given) {
            device().zero(r.gradient.data, r.gradient.rows * r.gradient.columns);
            r.given = differentiates_;
        }
        return r.gradient;
    }
    /// The number that is added to the loss for a tap, zero at first; named like the tap among the terms.
    double* term(std::string_view name) { return record(name).term; }

    /// The term and the gradient of a loss of the rows at a tap, in the place of what was there: `targets` for losses
    /// with target rows, labels and weights from `tags`, which are those of the batch when they are left out.
    template <short_name Name, class Loss>
    void loss(Loss const& loss, matrix_view<master_of<scalar> const> targets = {}, rows const* tags = nullptr) {
        constexpr auto width = static_cast<int>(detail::tap_width_in<typename Network::layer, Name>());
        static_assert(width > 0, "espalier: the stack has no tap of that name: `espalier::tap<\"name\"_name>` puts one "
                                 "into a sequence");
        static_assert(!espalier::loss::per_sample_state<Loss>,
                      "espalier: the loss at a tap cannot remember samples: its memory would be that of the loss of "
                      "the network's output");
        auto& r = record(Name.str());
        rows const& about = tags ? *tags : *tags_;
        if (about.count != r.values.rows)
            detail::throw_shape_error("training: ", r.values.rows, " rows passed the tap ", Name.str(),
                                      " and the tags describe ", about.count,
                                      "; behind a multi_sample there are several for each row of the batch");
        if (espalier::loss::needs_dense_target<Loss> && (targets.rows != r.values.rows || targets.columns != width))
            detail::throw_shape_error("training: the targets at tap ", Name.str(), " are ", targets.rows, " x ",
                                      targets.columns, ", needed are ", r.values.rows, " x ", width);
        if (char const* const why = espalier::loss::problem(loss))
            detail::throw_data_error("training: the loss at tap ", Name.str(), ": ", why);
        r.given = differentiates_;
        device().template loss<width>(loss, r.values, about, targets,
                                      differentiates_ ? r.gradient : matrix_view<scalar>{},
                                      matrix_view<master_of<scalar>>{}, r.term);
    }

private:
    tap_record<scalar>& record(std::string_view name) {
        return net_->runner().taps()[detail::tap_place(report_of<typename Network::stack>().taps, name)];
    }

    Network* net_;
    rows const* tags_;
    bool differentiates_;
};

/// What a function sees between the gradients of a step and its update: the gradients of the loss and the terms over
/// activations, gates and taps, which it may change. Penalties on parameters, transforms and the clipping of the norm
/// come after it. All memory is the device's; on a GPU such a function puts its work on the stream of `device()`.
template <class Network> class gradient_access {
public:
    using wide = typename Network::wide;

    gradient_access(Network& net, wide* gradients) : net_(&net), gradients_(gradients) {}

    auto& device() { return net_->runner().device(); }
    /// Those of all trained tensors in one piece, as `parameters::weights` has them.
    wide* data() { return gradients_; }
    static constexpr index_t size() { return Network::size.parameters; }
    /// Those of one tensor. Throws data_error when there is none of that name, or it is not trained.
    matrix_view<wide> tensor(std::string_view name) { return of(gradients_, name); }

    static matrix_view<wide> of(wide* gradients, std::string_view name) {
        tensor_info const& t = detail::tensor_named(Network::tensors(), name);
        if (!t.trained) detail::throw_data_error("training: tensor ", name, " is not trained and has no gradient");
        return {gradients + t.offset, t.rows, t.columns, t.columns};
    }

private:
    Network* net_;
    wide* gradients_;
};

/// Marks a function as the one that a step calls with a `gradient_access` before its update:
/// `training.step(batch, before_update{[&](auto& gradients) { ... }})`.
template <class Function> struct before_update { Function call; };
/// Of any function.
template <class Function> before_update(Function) -> before_update<Function>;

/// Training of a network: gradients and optimizer state. Holds a reference to the network. A step allocates nothing.
/// Denormal numbers count as 0 while a member function runs (device/cpu/flush_denormals.hpp).
///
/// Time belongs to the network: a further training of it goes on where the last one left it, in its random bits and in
/// the schedules of its policies. The optimizer is new in every training and so is its time: its schedules see the
/// steps and epochs of this training, from 0.
///
/// Rows that do not count, those without a label (-1) or with weight 0, count nowhere: a step is the one that the
/// others would make alone, in its loss, terms over activations and gates, statistics, capacities, measures and
/// gradients, with the random bits that they have among them. In `evaluate` such rows get outputs and are no part of
/// the loss. A step with losses at taps, where the program sees all rows, leaves them out of the loss only, and so does
/// one on a GPU whose batch is in device memory; `fit` leaves them out before it copies a batch there.
template <class Network, class Loss, class Optimizer> class training {
    static_assert(detail::check_network<Network>());
    static_assert(espalier::optimizer::detail::check_members<Optimizer>() || true); // it says itself what is missing
    static_assert(diagnostic::holds<loss::has_name<Loss>, diagnostic::given_type<Loss>>,
                  "espalier: a loss needs `static constexpr std::string_view name`, which terms and the history print; "
                  "the next lines name the type");

public:
    using network_type = Network;
    using layer = typename Network::layer;
    using scalar = typename Network::scalar;
    using wide = typename Network::wide;
    using device_type = typename Network::device_type;
    using optimizer_op = decltype(std::declval<Optimizer const&>().at(clock{}, std::uint64_t{1}));
    template <class U> using buffer = typename device_type::template buffer<U>;
    /// Numbers of the optimizer's state for each weight of the tensor that has most.
    static constexpr int moments = optimizer_op::moments;
    /// Those of one tensor.
    static int moments_of([[maybe_unused]] tensor_info const& t) {
        if constexpr (espalier::optimizer::chooses_op<optimizer_op>)
            return optimizer_op::moments_of(t.tensor_role, t.group);
        else
            return moments;
    }
    static constexpr footprint size = Network::size;

    /// `samples`: size of the data set, for losses that remember something of every sample. Throws data_error for rules
    /// of `rates` that set_rates refuses, and for masks that are selected by a moment where the optimizer keeps none.
    training(Network& net, Loss loss, Optimizer optimizer, index_t samples = 0,
             std::vector<rate_rule> const& rates = {})
        : net_(&net), loss_(std::move(loss)), optimizer_(std::move(optimizer)), gradients_(size.parameters),
          reference_(needs_reference ? size.parameters : 0), moments_(moments * size.parameters),
          outputs_(net.capacity() * layer::facts.growth * Network::output_width),
          output_gradients_(layer::facts.reads_output ? outputs_.size() : 0),
          loss_state_(loss::per_sample_state<Loss> ? samples * Network::output_width : 0), samples_(samples),
          tiles_(net.capacity(), layer::facts.growth,
                 loss::needs_dense_target<Loss> || needs_reference ? Network::output_width : 0),
          capacity_(net.capacity()), counted_(room_for_counted(net.capacity())),
          counted_reference_(needs_reference ? room_for_counted(net.capacity()) : counted_type{}),
          kept_state_(loss::per_sample_state<Loss> && undoes ? capacity_ * Network::output_width : 0),
          kept_weights_(prunes ? size.parameters : 0), kept_masks_(prunes ? size.mask_words : 0),
          terms_(1 + size.terms + size.measures), squared_norm_(1),
          seen_terms_(static_cast<std::size_t>(size.terms) + 1), seen_(static_cast<std::size_t>(terms_.size())),
          seen_measures_(static_cast<std::size_t>(size.measures)) {
        static_assert(
            !loss::per_sample_state<Loss> || layer::facts.growth == 1 ||
                loss::remembers_copies<Loss, serial_group, wide, static_cast<int>(Network::output_width)>,
            "espalier: the loss remembers something of every sample, and a multi_sample of the stack gives several "
            "outputs of each; the loss needs `add_prediction`, `remember` and `judge` too (loss/concept.hpp)");
        optimizer_.validate();
        if constexpr (espalier::optimizer::chooses_op<optimizer_op>) {
            // It says itself what is wrong.
            static_assert(optimizer_op::template check_tensors<network_tensors>() || true);
            optimizer_op::require_tensors(Network::tensors());
        }
        for (auto const& t : masks_.tensors())
            if (t.plan().reads_moment && moments_of(*t.info) == 0)
                detail::throw_data_error(
                    "training: the masks of tensor ", t.info->name,
                    " are selected by what the "
                    "optimizer keeps of each weight (prune::by_moment), and this one keeps nothing");
        set_rates(rates);
        progress_.first_step = net.time().step;
        progress_.first_epoch = net.time().epoch;
        net.refresh();
    }

    training(training const&) = delete;
    training& operator=(training const&) = delete;

    /// One step on a batch. Throws, with nothing changed: shape_error and data_error for a batch that does not fit;
    /// numerical_error when the inputs that a layer reads, what goes into an activation, a gate or a loss, the loss, a
    /// term, a gradient or the norm of all gradients is not finite, be the loss finite or not. It names the step and,
    /// on the CPU, the layer or the tensor.
    ///
    /// One thing can only be known afterwards: that finite gradients made a weight or a moment overflow. Then
    /// numerical_error names the tensor and says that the step was made; what this object and the network hold are not
    /// fit for use any more.
    step_result step(batch_view<scalar> const& batch) {
        static_assert(!needs_reference,
                      "espalier: a transform of this stack (transform::agreement) compares the gradients with those of "
                      "a second stream; call training::step(batch, reference_batch, reference_loss)");
        espalier::cpu::flush_denormals const scope;
        return step_with(
            batch, [] { return 0.0; }, no_taps{}, no_function{});
    }

    /// One step with a function between its gradients and its update, which may change them (`gradient_access`): a sum
    /// over processes, noise, a measure. What it throws leaves the network as it was, and so do gradients that it left
    /// with a number that is not finite.
    template <std::invocable<gradient_access<Network>&> Function>
    step_result step(batch_view<scalar> const& batch, before_update<Function> const& between) {
        static_assert(!needs_reference,
                      "espalier: a transform of this stack (transform::agreement) compares the gradients with those of "
                      "a second stream, and a step with a function before its update has none");
        espalier::cpu::flush_denormals const scope;
        return step_with(
            batch, [] { return 0.0; }, no_taps{}, [&] { visit_gradients(between); });
    }

    /// One step with further losses at the taps of the stack: `at_taps` is called with a `tap_access` when the batch
    /// has gone forward, and what it leaves there goes backward with the gradient of the loss. It is one more function
    /// of the step: what it throws leaves the network as it was.
    template <std::invocable<tap_access<Network>&> AtTaps>
    step_result step(batch_view<scalar> const& batch, AtTaps const& at_taps) {
        check_taps();
        espalier::cpu::flush_denormals const scope;
        return step_with(
            batch, [] { return 0.0; }, at_taps, no_function{});
    }
    /// Both.
    template <std::invocable<tap_access<Network>&> AtTaps, std::invocable<gradient_access<Network>&> Function>
    step_result step(batch_view<scalar> const& batch, AtTaps const& at_taps, before_update<Function> const& between) {
        check_taps();
        espalier::cpu::flush_denormals const scope;
        return step_with(
            batch, [] { return 0.0; }, at_taps, [&] { visit_gradients(between); });
    }

    /// One step without waiting for it: on a GPU the work is put on the stream and the host goes on. What only the
    /// device can find wrong (a label, a loss that is not finite) stops it from changing anything, and is thrown by the
    /// next `result`. Time goes on, and masks that were due are selected: the host has not heard of it by then.
    void enqueue(batch_view<scalar> const& batch) {
        static_assert(!needs_reference, "espalier: enqueue has no second stream; call step(batch, reference, loss)");
        espalier::cpu::flush_denormals const scope;
        enqueue_with(
            batch, [] { return 0.0; }, no_taps{}, no_function{}, no_function{});
    }

    /// Loss and terms of the last step that was enqueued. Waits for the device.
    step_result result() {
        double total = 0.0;
        for (double term : read_terms())
            total += term;
        return {seen_terms_[0], total};
    }

    /// One step on a batch with the gradients of a second stream at hand: those of `reference_loss` on `reference`, at
    /// the same weights and with the same random factors (a row's depend on its place, so the same rows give the same
    /// subnetwork), activation penalties included. Transforms that ask for a reference read them; nothing else does,
    /// and penalties on parameters belong to the first stream. Costs a second forward and backward and room for one
    /// more set of gradients, which exists only in stacks with such a transform. The reference loss has no per-sample
    /// state. Throws as the other `step` does, for either stream.
    template <class ReferenceLoss>
    step_result step(batch_view<scalar> const& batch, batch_view<scalar> const& reference,
                     ReferenceLoss const& reference_loss) {
        static_assert(needs_reference,
                      "espalier: no transform of this stack reads the gradients of a second stream; call "
                      "training::step(batch), or add transform::agreement");
        static_assert(!loss::per_sample_state<ReferenceLoss>,
                      "espalier: the loss of a second stream cannot remember samples: its memory would be that of the "
                      "first stream's loss");
        espalier::cpu::flush_denormals const scope;
        check_room(reference);
        return step_with(
            batch,
            [&] {
                auto const part = leave_out(reference, counted_reference_, ReferenceLoss::name,
                                            espalier::loss::needs_labels<ReferenceLoss>, false);
                differentiate_loss<differentiate{true, false}>(reference_loss, part, {}, reference_.data(), no_taps{});
                double const value = read_terms()[0];
                if (!std::isfinite(value)) {
                    std::string why;
                    if constexpr (device_type::host_memory) why = culprit<ReferenceLoss>(reference);
                    detail::throw_numerical_error("training: the loss of the second stream is ", value, " at step ",
                                                  time().step, why, "; the weights are those before this step");
                }
                if constexpr (device_type::host_memory) {
                    check_places(reference, " of the second stream");
                    check_gradients(reference_, " of the second stream",
                                    [&] { return culprit<ReferenceLoss>(reference); });
                }
                return value;
            },
            no_taps{}, no_function{});
    }

    /// Gradients of `objective` with respect to all parameters, left in `gradients()`: of the loss, the terms of gates
    /// and activation penalties, and what `at_taps` adds. Those of penalties on weights, and the optimizer's decay, are
    /// no part of them: they belong to the update, which adds them as it reads the weights. No update, and on the CPU a
    /// loss that remembers samples forgets this visit. Returns the loss. Throws as `step` does; what is in
    /// `gradients()` then is not said.
    double gradients_of(batch_view<scalar> const& batch) { return gradients_of(batch, no_taps{}); }
    template <class AtTaps> double gradients_of(batch_view<scalar> const& batch, AtTaps const& at_taps) {
        return look_back<differentiate{true, false}>(batch, {}, at_taps);
    }

    /// The update that a step makes, with what is in `gradients()`: after `gradients_of` that is the step; a program
    /// may have changed them, or have put others there. Penalties on parameters, transforms, the norm that clips,
    /// pruning, rates and the clock are those of a step, and so is what it takes from the last batch that went forward:
    /// running statistics of batch_norm. A selection of masks that is due is made first, from the weights that those
    /// gradients are of, or from these gradients. `loss` of the result is that of the last `gradients_of`. Throws
    /// numerical_error, with nothing changed, when a gradient or the norm of all gradients is not finite.
    step_result update() {
        static_assert(!needs_reference,
                      "espalier: a transform of this stack (transform::agreement) compares the gradients with those of "
                      "a second stream; call training::step(batch, reference_batch, reference_loss)");
        espalier::cpu::flush_denormals const scope;
        step_result r;
        change_with(
            {},
            [&] {
                if constexpr (device_type::host_memory)
                    check_gradients(gradients_, "", [] { return ""; });
                else
                    device().watch_gradients(gradients_.data(), gradients_.size());
            },
            [&] { r = result(); });
        return r;
    }
    /// The gradient of one tensor in `gradients()`. Throws data_error when there is none of that name, or it is not
    /// trained.
    matrix_view<wide> gradient(std::string_view name) { return gradient_access<Network>::of(gradients_.data(), name); }

    /// Gradients of the same sum with respect to the inputs of a batch: rows x input_width. Returns the loss.
    double input_gradients_of(batch_view<scalar> const& batch, matrix_view<scalar> dx) {
        return input_gradients_of(batch, dx, no_taps{});
    }
    template <class AtTaps>
    double input_gradients_of(batch_view<scalar> const& batch, matrix_view<scalar> dx, AtTaps const& at_taps) {
        if (dx.rows != batch.inputs.rows || dx.columns != Network::input_width)
            detail::throw_shape_error("training: the input gradient has ", dx.rows, " x ", dx.columns,
                                      " elements, needed are ", batch.inputs.rows, " x ", Network::input_width);
        return look_back<differentiate{false, true}>(batch, dx, at_taps);
    }

    /// The value whose gradients those are: the loss plus the terms over activations and at taps, in training
    /// behaviour.
    double objective(batch_view<scalar> const& batch) { return objective(batch, no_taps{}); }
    template <class AtTaps> double objective(batch_view<scalar> const& batch, AtTaps const& at_taps) {
        espalier::cpu::flush_denormals const scope;
        check_room(batch);
        begin_step();
        batch_view<scalar> const part = leave_out<AtTaps>(batch);
        matrix_view<scalar> const y = train_forward(part);
        loss_of(loss_, part, y, {}, terms_.data());
        visit_taps(part.tags, false, at_taps);
        double value = 0.0;
        for (double term : read_terms())
            value += term;
        return value;
    }

    /// The loss on a batch as the network is used: no dropout, running statistics, nothing remembered.
    double evaluate(batch_view<scalar> const& batch) { return look_at<mode::evaluate>(batch, nullptr); }

    /// The same with the statistics of the batch in the place of running ones, which mean nothing before the first
    /// step. Rows that do not count count nowhere, as in a step.
    double judge(batch_view<scalar> const& batch) {
        return look_at<mode::judge>(leave_out<no_taps>(batch), rates_.data());
    }

    /// How many rows of the last step counted.
    index_t counted_rows() const { return counted_count_; }

    /// Outputs of the last `step`, `evaluate` or `gradients_of`, of the rows that counted; after a step they hold
    /// gradients.
    matrix_view<scalar const> outputs(index_t row_count) const {
        return {outputs_.data(), row_count, Network::output_width, Network::output_width};
    }

    /// Values added to the loss in the last step: index 0 is the loss itself, then in the order of `term_names`.
    std::vector<double> const& terms() const { return seen_terms_; }
    static std::vector<std::string> term_names() {
        return detail::names_of_terms(report_of<typename Network::stack>());
    }

    /// Numbers about the last `step` or `evaluate` that are not part of the loss, in the order of `measure_names`: how
    /// a mixture of experts routed the batch.
    std::vector<double> const& measures() const { return seen_measures_; }
    static std::vector<std::string> const& measure_names() { return report_of<typename Network::stack>().measures; }

    /// Throws numerical_error, with the tensor's name, when a weight or a running statistic is not finite: somebody
    /// wrote it, for a step that makes one so throws. Looks at every one; on the CPU only.
    void require_finite_weights() const {
        if constexpr (device_type::host_memory)
            if (std::string const name = spoiled_tensor(); !name.empty())
                detail::throw_numerical_error("training: tensor ", name, " is not finite after step ", time().step);
    }

    /// The network's time. `set_time` and `set_value` are the network's too.
    clock const& time() const { return net_->time(); }
    void set_time(clock const& now) { net_->set_time(now); }
    void set_value(short_name name, double value) { net_->set_value(name, value); }
    /// Time begins at 0 again, for the network and for the optimizer's schedules. Run-time values, weights and moments
    /// stay.
    void start_over() {
        clock start;
        start.values = time().values;
        net_->set_time(start);
        progress_.first_step = progress_.first_epoch = 0;
    }
    /// How far this training has come, and where the network stood when it began: what its optimizer sees is the time
    /// since then.
    training_progress& progress() { return progress_; }
    training_progress const& progress() const { return progress_; }
    Network& net() { return *net_; }
    Loss const& loss() const { return loss_; }
    buffer<wide>& gradients() { return gradients_; }
    /// Gradients of the second stream in the last step; empty in stacks where nothing reads them.
    buffer<wide>& reference_gradients() { return reference_; }
    buffer<wide>& moment_values() { return moments_; }
    buffer<wide>& loss_state() { return loss_state_; }

    /// Rates of the steps from now on: groups of tensors can be frozen and thawed in turn. Throws data_error, with
    /// nothing changed, for a rule that no trained tensor matches or whose factors are negative or not finite.
    void set_rates(std::vector<rate_rule> const& rules) { rates_ = detail::rates_by_tensor(Network::tensors(), rules); }

    /// What decides about numbers of single steps from now on (train/step_decision.hpp); an empty function: nothing.
    void decide_with(step_decision decision) { decision_ = std::move(decision); }

    /// The moments of one tensor become 0, and its optimizer counts its updates from 1 again, as if it had been frozen
    /// until now: for a tensor of which other weights are trained from here on. Throws data_error when there is none of
    /// that name, or it is not trained.
    void forget_moments(std::string_view name) {
        gradient(name); // throws when there is none
        std::size_t i = 0;
        for (tensor_info const& t : Network::tensors()) {
            if (!t.trained) continue;
            if (t.name == name) {
                for (int m = 0; m < moments; ++m)
                    device().zero(moments_.data() + m * size.parameters + t.offset, t.size());
                missed_[i] = progress_.updates;
            }
            ++i;
        }
    }

    /// What a checkpoint keeps of the trained tensors beside their moments, three numbers each: the updates that one
    /// missed because it was frozen, or had before its moments were forgotten, whether a selection of its mask is owed,
    /// and the sparsity of the last one.
    std::vector<double> tensor_progress() const {
        std::vector<double> numbers;
        for (std::size_t i = 0; i < missed_.size(); ++i)
            numbers.insert(numbers.end(), {static_cast<double>(missed_[i]), masks_.record(i).owed ? 1.0 : 0.0,
                                           masks_.record(i).sparsity});
        return numbers;
    }
    void set_tensor_progress(std::vector<double> const& numbers) {
        for (std::size_t i = 0; i < missed_.size(); ++i) {
            double const missed = numbers[3 * i];
            missed_[i] = missed > 0.0 && missed <= static_cast<double>(progress_.updates)
                             ? static_cast<std::uint64_t>(missed)
                             : 0;
            masks_.record(i) = prune::prune_record{.sparsity = numbers[3 * i + 2], .owed = numbers[3 * i + 1] != 0.0};
        }
    }

private:
    /// What an optimizer that differs by tensor asks.
    struct network_tensors {
        template <class Asked> static consteval bool has() { return detail::has_tensor_in<layer, Asked>(); }
    };
    static constexpr bool needs_global_norm = has(layer::facts.needs, need::global_norm);
    static constexpr bool needs_reference = has(layer::facts.needs, need::reference);
    static constexpr bool prunes = has(layer::facts.needs, need::pruning);
    using selector_type =
        std::conditional_t<device_type::host_memory, detail::host_masks<wide>, detail::device_masks<device_type, wide>>;
    static constexpr bool shrinks_groups = size.group_proxes > 0;
    struct nothing {};
    using counted_type = std::conditional_t<device_type::host_memory, detail::counted_rows<scalar>, nothing>;
    static constexpr bool counts_updates = espalier::optimizer::counts_updates<optimizer_op>();

    /// The numbers of one step. It stays where it is: a device may keep a mirror of it.
    struct step_block {
        typename layer::numbers layers;
        optimizer_op optimizers[std::size_t{
            1 + (counts_updates ? size.tensors : 0)}]; ///< the first for those that missed nothing
        [[no_unique_address]] std::conditional_t<shrinks_groups, detail::step_after<optimizer_op>, nothing> after{};
    };

    /// The device knows where the block is as long as this lives.
    class declared_block {
    public:
        declared_block(Network& of, step_block const& block) : net_(&of), block_(&block) {
            of.runner().device().declare_step(block_, sizeof block);
        }
        declared_block(declared_block const&) = delete;
        declared_block& operator=(declared_block const&) = delete;
        ~declared_block() {
            if constexpr (!device_type::host_memory) net_->runner().device().forget_step(block_);
        }

    private:
        [[maybe_unused]] Network* net_;
        [[maybe_unused]] step_block const* block_;
    };

    device_type& device() { return net_->runner().device(); }

    /// The network's time with the numbers that were decided for this step.
    clock const& decided_time() {
        if (!decision_) return time();
        detail::decide(decision_, time(), net_->random_seed().value, report_of<typename Network::stack>().operators,
                       decided_);
        return decided_.now();
    }

    /// Evaluates all schedules once and hands the numbers to the device.
    void begin_step() { begin_step(decided_time()); }
    void begin_step(clock const& now) {
        block_.layers = layer::at(now);
        set_optimizer();
        if constexpr (device_type::host_memory) device().forget_spoiled();
        if constexpr (shrinks_groups) block_.after = detail::after_step(block_.optimizers[0]);
        device().declare_step(&block_, sizeof block_); // another training of the network may have been there
        device().upload_step(static_cast<std::uint32_t>(time().step));
    }

    void set_optimizer() {
        clock const now = progress_.since(time());
        block_.optimizers[0] = optimizer_.at(now, progress_.updates + 1);
        if constexpr (counts_updates) {
            int used = 1;
            for (std::size_t i = 0; i < missed_.size(); ++i) {
                rates_[i].numbers = 0;
                if (missed_[i] == 0 || rates_[i].frozen) continue;
                int at = 1;
                while (at < used && missed_of_[static_cast<std::size_t>(at)] != missed_[i])
                    ++at;
                if (at == used) {
                    ++used;
                    missed_of_[static_cast<std::size_t>(at)] = missed_[i];
                    block_.optimizers[at] = optimizer_.at(now, progress_.updates + 1 - missed_[i]);
                }
                rates_[i].numbers = at;
            }
        }
    }

    /// What is not updated is no part of the norm that clips: frozen tensors, and weights that a mask holds.
    void leave_out_of_norm() {
        std::size_t i = 0;
        for (tensor_info const& t : Network::tensors()) {
            if (!t.trained) continue;
            if (rates_[i++].frozen)
                device().zero(gradients_.data() + t.offset, t.size());
            else if (t.held)
                device().clear_left_out(gradients_.data() + t.offset, net_->values().masks().data() + t.mask_offset,
                                        t.size());
        }
    }

    /// Waits for the device, and throws what it found wrong with the batch.
    std::vector<double> const& read_terms() {
        if constexpr (undoes || size.group_sets == 0) {
            device().read(terms_.data(), seen_.data(), terms_.size());
        } else {
            try {
                device().read(terms_.data(), seen_.data(), terms_.size());
            } catch (...) {
                net_->refresh(); // an update that did nothing has gathered no norms
                throw;
            }
        }
        auto const measured = seen_.begin() + size.terms + 1;
        std::copy(seen_.begin(), measured, seen_terms_.begin());
        std::copy(measured, seen_.end(), seen_measures_.begin());
        return seen_terms_;
    }

    /// Has a device that reports numbers which are not finite do so in this scope; the CPU's always keeps a record.
    class watched_numbers {
    public:
        explicit watched_numbers([[maybe_unused]] device_type& device) : device_(&device) { set(true); }
        watched_numbers(watched_numbers const&) = delete;
        watched_numbers& operator=(watched_numbers const&) = delete;
        ~watched_numbers() { set(false); }

    private:
        void set([[maybe_unused]] bool on) {
            if constexpr (!device_type::host_memory) device_->watch_numbers(on);
        }
        device_type* device_;
    };

    /// Stops compilation where a step with losses at taps cannot be.
    static consteval void check_taps() {
        static_assert(size.taps > 0, "espalier: the stack has no tap: `espalier::tap<\"name\"_name>` puts one into a "
                                     "sequence");
        static_assert(!needs_reference,
                      "espalier: a transform of this stack (transform::agreement) compares the gradients with those of "
                      "a second stream, and a step with losses at taps has none");
    }

    struct no_taps {};
    struct no_function {
        void operator()() const {}
    };
    template <class AtTaps>
    void visit_taps([[maybe_unused]] rows const& tags, [[maybe_unused]] bool differentiates,
                    [[maybe_unused]] AtTaps const& at_taps) {
        if constexpr (!std::is_same_v<AtTaps, no_taps>) {
            tap_access<Network> access(*net_, tags, differentiates);
            at_taps(access);
        }
    }

    template <class Function> void visit_gradients(before_update<Function> const& between) {
        gradient_access<Network> access(*net_, gradients_.data());
        between.call(access);
        // What products said of gradients does not hold for what the function left.
        if constexpr (device_type::host_memory) device().forget_spoiled();
    }

    /// `second_stream` leaves the gradients of the second stream and gives their loss.
    template <class SecondStream, class AtTaps, class Between>
    step_result step_with(batch_view<scalar> const& batch, SecondStream const& second_stream, AtTaps const& at_taps,
                          Between const& between) {
        step_result r;
        double const reference = enqueue_with(batch, second_stream, at_taps, between, [&] { r = result(); });
        r.reference = reference;
        return r;
    }

    template <class SecondStream, class AtTaps, class Between, class Confirm>
    double enqueue_with(batch_view<scalar> const& batch, SecondStream const& second_stream, AtTaps const& at_taps,
                        Between const& between, Confirm const& confirm) {
        check_room(batch);
        batch_view<scalar> const part = leave_out<AtTaps>(batch);
        double reference = 0.0;
        change_with(
            part.tags,
            [&] {
                reference = second_stream();
                differentiate_loss<differentiate{true, false}>(loss_, part, {}, gradients_.data(), at_taps);
                if constexpr (device_type::host_memory) {
                    check_terms(batch);
                    check_places(batch, "");
                    between();
                    check_gradients(gradients_, "", [&] {
                        return culprit(batch) + (std::is_same_v<Between, no_function>
                                                     ? ""
                                                     : ", unless the function before the update left it so");
                    });
                } else {
                    if constexpr (needs_reference) device().watch_gradients(reference_.data(), reference_.size());
                    between();
                    device().watch_gradients(gradients_.data(), gradients_.size());
                }
            },
            confirm);
        return reference;
    }

    /// Changes weights, masks, moments and time once `differentiate` has left gradients that are fit for that; what it
    /// throws leaves everything as it was, the memory of the loss of the rows of `tags` included. So does what
    /// `confirm` throws when the update is on its way: on a GPU that is where the host hears that nothing was updated.
    template <class Differentiate, class Confirm>
    void change_with(rows const& tags, Differentiate const& differentiate, Confirm const& confirm) {
        if constexpr (size.fixed > 0) detail::require_fixed(Network::tensors(), net_->values().given());
        keep_state(tags);
        typename detail::mask_selection<wide>::due_masks due;
        if constexpr (prunes) due = masks_.ask(time(), rates_.data());
        try {
            if constexpr (prunes) {
                if (due) keep_masks();
                if (due.before_gradients) select_masks({net_->values().weights().data()});
            }
            begin_step();
            {
                watched_numbers const watched(device());
                differentiate();
                if constexpr (prunes)
                    if (due.behind_gradients)
                        select_masks({net_->values().weights().data(), gradients_.data(), moments_.data()});
                if constexpr (needs_global_norm) {
                    leave_out_of_norm();
                    device().sum_of_squares_to(gradients_.data(), gradients_.size(), squared_norm_.data());
                    if constexpr (device_type::host_memory)
                        if (!std::isfinite(squared_norm_[0]))
                            detail::throw_numerical_error("training: the norm of the gradients overflows at step ",
                                                          time().step, "; the weights are those before this step");
                }
            }
            update_all();
            confirm();
        } catch (...) {
            restore_state(tags);
            if (due) undo_masks();
            throw;
        }
        ++progress_.updates;
        for (std::size_t i = 0; i < missed_.size(); ++i) {
            missed_[i] += rates_[i].frozen ? 1u : 0u;
            if constexpr (prunes) masks_.record(i).settle(rates_[i].frozen);
        }
        net_->values().time().advance();
        if constexpr (device_type::host_memory)
            if (device().spoiled().place != step_place::nowhere) throw_spoiled_update();
    }

    /// Throws unless the batch fits the network and this object's own memory, which does not grow with the network's.
    void check_room(batch_view<scalar> const& batch) const {
        net_->check_batch(batch.inputs, batch.tags);
        if (batch.inputs.rows > capacity_)
            detail::throw_shape_error("training: a batch of ", batch.inputs.rows, " rows, and there was room for ",
                                      capacity_, " when training began; call reserve before it does");
    }

    static counted_type room_for_counted(index_t capacity) {
        if constexpr (device_type::host_memory)
            return {capacity, Network::input_width,
                    loss::needs_dense_target<Loss> || needs_reference ? Network::output_width : 0};
        else
            return {};
    }
    /// The rows of a batch that count, once what it says of the others makes sense.
    template <class AtTaps> batch_view<scalar> leave_out(batch_view<scalar> const& batch) {
        batch_view<scalar> part = batch;
        if constexpr (std::is_same_v<AtTaps, no_taps>)
            part = leave_out(batch, counted_, Loss::name, loss::needs_labels<Loss>, loss::per_sample_state<Loss>);
        counted_count_ = part.tags.count;
        return part;
    }
    template <class Counted>
    batch_view<scalar> leave_out(batch_view<scalar> const& batch, [[maybe_unused]] Counted& counted,
                                 [[maybe_unused]] std::string_view name, [[maybe_unused]] bool labels,
                                 [[maybe_unused]] bool state) {
        if constexpr (device_type::host_memory) {
            if (counted.all_count(batch.tags)) return batch;
            // Here they have the numbers that the program knows them by.
            espalier::cpu::detail::check_rows(name, batch.tags, static_cast<int>(Network::output_width), labels, state,
                                              samples_);
            if (batch.targets.data && batch.targets.rows != batch.tags.count)
                detail::throw_shape_error("training: the batch has ", batch.tags.count, " rows and ",
                                          batch.targets.rows, " target rows");
            return counted.of(batch);
        } else {
            return batch;
        }
    }

    /// Throws when the loss or a term over activations is not finite.
    void check_terms(batch_view<scalar> const& batch) {
        for (index_t i = 0; i <= size.terms; ++i) {
            if (std::isfinite(terms_[i])) continue;
            detail::throw_numerical_error("training: the ", i == 0 ? "" : "term ",
                                          term_names()[static_cast<std::size_t>(i)], " is ", terms_[i], " at step ",
                                          time().step, culprit(batch), "; the weights are those before this step");
        }
    }

    /// Throws when the passes of a step met a number that is not finite, or a function at the taps left one.
    void check_places(batch_view<scalar> const& batch, std::string_view stream) {
        for (std::size_t i = 0; i < net_->runner().taps().size(); ++i) {
            tap_record<scalar> const& tap = net_->runner().taps()[i];
            if (tap.given && !device().all_finite(tap.gradient.data, tap.gradient.rows * tap.gradient.columns))
                detail::throw_numerical_error(
                    "training: the gradient at tap ", report_of<typename Network::stack>().taps[i].name,
                    " is not finite at step ", time().step, "; the weights are those before this step");
        }
        spoiled_place const& spoiled = device().spoiled();
        if (spoiled.place == step_place::nowhere) return;
        detail::throw_numerical_error("training: ", words_for(spoiled.place), in_layer(spoiled), stream,
                                      " is not finite at step ", time().step, culprit(batch),
                                      "; the weights are those before this step");
    }

    /// " in layer 1", or nothing where the place has no layer.
    static std::string in_layer(spoiled_place const& spoiled) {
        if (spoiled.place == step_place::nowhere || spoiled.stream == spoiled_place::no_stream) return {};
        return " in layer " + report_of<typename Network::stack>().path_of_stream(spoiled.stream);
    }

    /// Throws when a gradient is not finite; `why` says where that came from.
    template <class Why> void check_gradients(buffer<wide> const& gradients, std::string_view stream, Why const& why) {
        if (device().all_finite(gradients.data(), gradients.size())) return;
        detail::throw_numerical_error("training: the gradient of tensor ", spoiled_in(gradients.data()), stream,
                                      " is not finite at step ", time().step, why(),
                                      "; the weights are those before this step");
    }

    /// Says which tensor an update has spoiled.
    [[noreturn]] void throw_spoiled_update() const {
        std::string what = "tensor " + spoiled_tensor();
        for (int i = 0; i < moments && spoiled_tensor().empty(); ++i)
            if (std::string const name = spoiled_in(moments_.data() + i * size.parameters); !name.empty())
                what = "a moment of tensor " + name;
        detail::throw_numerical_error("training: ", what, " is not finite after step ", time().step,
                                      ": the update overflowed, and the weights are not those before this step");
    }

    /// Where numbers that are not finite came from, as far as that can be seen: the inputs, what the loss reads beside
    /// them, or the first tensor.
    template <class Of = Loss> std::string culprit(batch_view<scalar> const& batch) {
        for (index_t r = 0; r < batch.inputs.rows; ++r)
            for (index_t c = 0; c < batch.inputs.columns && batch.tags.counts(r); ++c)
                if (!std::isfinite(static_cast<double>(batch.inputs(r, c))))
                    return detail::text_of(" (the inputs are not finite: row ", r, ", column ", c, ")");
        if constexpr (espalier::loss::needs_dense_target<Of>)
            for (index_t r = 0; r < batch.targets.rows; ++r)
                for (index_t c = 0; c < batch.targets.columns && batch.tags.counts(r); ++c)
                    if (wide const t = batch.targets(r, c); !std::isfinite(static_cast<double>(t)) &&
                                                            !(espalier::loss::skips_missing_targets<Of> && t != t))
                        return detail::text_of(" (the targets are not finite: row ", r, ", column ", c, ")");
        for (index_t r = 0; r < batch.tags.count; ++r)
            if (!std::isfinite(batch.tags.weight_of(r)))
                return detail::text_of(" (the weights of the rows are not finite: row ", r, ")");
        if (std::string const name = spoiled_tensor(); !name.empty())
            return detail::text_of(" (tensor ", name, " is not finite)");
        return detail::text_of(" (inputs and weights are finite: numbers grew too large", in_layer(device().spoiled()),
                               ")");
    }

    /// The first tensor with a value that is not finite, or nothing.
    std::string spoiled_tensor() const {
        for (tensor_info const& t : Network::tensors())
            if (!finite(std::as_const(*net_).values().view(t).data, t.size())) return t.name;
        return {};
    }
    /// The same for an arena that holds something of every trained tensor where the parameters' holds it.
    std::string spoiled_in(wide const* arena) const {
        for (tensor_info const& t : Network::tensors())
            if (t.trained && !finite(arena + t.offset, t.size())) return t.name;
        return {};
    }
    static bool finite(wide const* values, index_t n) {
        return std::all_of(values, values + n, [](wide x) { return std::isfinite(static_cast<double>(x)); });
    }

    // What a failed step leaves as it was. A GPU decides about a step itself, after the host has gone on.
    static constexpr bool undoes = device_type::host_memory;

    bool known(std::int64_t sample) const { return sample >= 0 && sample < samples_; }
    void keep_state([[maybe_unused]] rows const& tags) {
        if constexpr (loss::per_sample_state<Loss> && undoes)
            for (index_t i = 0; tags.sample && i < tags.count; ++i)
                if (known(tags.sample[i])) copy_state(loss_state_, tags.sample[i], kept_state_, i);
    }
    void restore_state([[maybe_unused]] rows const& tags) {
        if constexpr (loss::per_sample_state<Loss> && undoes)
            for (index_t i = 0; tags.sample && i < tags.count; ++i)
                if (known(tags.sample[i])) copy_state(kept_state_, i, loss_state_, tags.sample[i]);
    }
    static void copy_state(buffer<wide>& from, index_t from_row, buffer<wide>& to, index_t to_row) {
        for (index_t c = 0; c < Network::output_width; ++c)
            to[to_row * Network::output_width + c] = from[from_row * Network::output_width + c];
    }

    void undo_masks() {
        if constexpr (prunes) {
            copy_all(kept_weights_, net_->values().weights());
            copy_all(kept_masks_, net_->values().masks());
            net_->refresh();
        }
    }
    template <class U> void copy_all(buffer<U> const& from, buffer<U>& to) {
        device().repeat(from.data(), from.size(), 1, to.data());
    }

    layer_memory<scalar> memory() {
        layer_memory<scalar> m = net_->runner().memory(net_->values());
        m.gradients = gradients_.data();
        m.reference = reference_.data();
        m.moments = moments_.data();
        m.moment_stride = size.parameters;
        m.terms = terms_.data() + 1;
        m.measures = m.terms + size.terms;
        m.rates = rates_.data();
        return m;
    }

    matrix_view<scalar> train_forward(batch_view<scalar> const& batch) {
        check_room(batch);
        device().zero(terms_.data(), terms_.size());
        matrix_view<scalar> const y{outputs_.data(), batch.inputs.rows * layer::facts.growth, Network::output_width,
                                    Network::output_width};
        net_->template forward<mode::train>(block_.layers, batch.tags, batch.inputs, y, time().step, 0,
                                            terms_.data() + 1, terms_.data() + 1 + size.terms, rates_.data());
        return y;
    }

    /// The loss of outputs y to `value`, its gradient to `gradient` when that has memory.
    template <class StreamLoss>
    void loss_of(StreamLoss const& loss, batch_view<scalar> const& batch, matrix_view<scalar const> y,
                 matrix_view<scalar> gradient, double* value) {
        bool const grown = y.rows != batch.tags.count;
        matrix_view<wide> state{};
        if constexpr (espalier::loss::per_sample_state<StreamLoss>)
            if (gradient.data) state = {loss_state_.data(), samples_, Network::output_width, Network::output_width};
        device().template loss<static_cast<int>(Network::output_width)>(
            loss, y, grown ? tiles_.tags(device(), batch.tags) : batch.tags,
            grown ? tiles_.targets(device(), batch.targets) : batch.targets, gradient, state, value);
    }

    template <mode Mode> double look_at(batch_view<scalar> const& batch, tensor_rates const* rates) {
        espalier::cpu::flush_denormals const scope;
        check_room(batch);
        begin_step(time());
        matrix_view<scalar> y{outputs_.data(), batch.inputs.rows, Network::output_width, Network::output_width};
        net_->template forward<Mode>(block_.layers, batch.tags, batch.inputs, y, time().step, 0, nullptr,
                                     terms_.data() + 1 + size.terms, rates);
        loss_of(loss_, batch, y, {}, terms_.data());
        return read_terms()[0];
    }

    /// Forward and backward, and nothing is remembered of it, whatever `at_taps` throws. Gives the loss.
    template <differentiate Want, class AtTaps>
    double look_back(batch_view<scalar> const& batch, matrix_view<scalar> dx, AtTaps const& at_taps) {
        espalier::cpu::flush_denormals const scope;
        check_room(batch);
        begin_step();
        batch_view<scalar> const part = leave_out<AtTaps>(batch);
        keep_state(part.tags);
        watched_numbers const watched(device());
        try {
            differentiate_loss<Want>(loss_, part, dx.data ? dx.middle_rows(0, part.tags.count) : dx, gradients_.data(),
                                     at_taps);
            if constexpr (device_type::host_memory) {
                check_terms(batch);
                check_places(batch, "");
            }
        } catch (...) {
            restore_state(part.tags);
            throw;
        }
        restore_state(part.tags);
        if constexpr (device_type::host_memory)
            if (dx.data) counted_.spread(dx, part.tags.count);
        return read_terms()[0];
    }

    template <differentiate Want, class StreamLoss, class AtTaps>
    void differentiate_loss(StreamLoss const& loss, batch_view<scalar> const& batch, matrix_view<scalar> dx,
                            wide* gradients, AtTaps const& at_taps) {
        matrix_view<scalar> const y = train_forward(batch);
        matrix_view<scalar> const dy =
            layer::facts.reads_output ? matrix_view<scalar>{output_gradients_.data(), y.rows, y.columns, y.stride} : y;
        loss_of(loss, batch, y, dy, terms_.data());
        visit_taps(batch.tags, true, at_taps);
        auto context = net_->runner().template make_context<mode::train>(net_->random_seed(), time().step);
        layer_memory<scalar> m = memory();
        m.gradients = gradients;
        layer::template backward<Want>(context, block_.layers, m, batch.tags, batch.inputs,
                                       matrix_view<scalar const>(y), dy, dx);
    }

    void update_all() {
        update_numbers const given{.squared_norm = squared_norm_.data()};
        auto context = net_->runner().template make_context<mode::train>(net_->random_seed(), time().step);
        net_->values().start_norms(device());
        layer::update(context, optimizer_numbers<optimizer_op>{block_.optimizers}, block_.layers, memory(), given);
        net_->values().finish_norms(device());
        if constexpr (shrinks_groups) {
            // The norms are those of the stepped weights now.
            layer_memory<scalar> m = memory();
            m.terms = nullptr;
            update_numbers after = given;
            after.after_step = true;
            net_->values().start_norms(device());
            layer::update(context, block_.after, block_.layers, m, after);
            net_->values().finish_norms(device());
        }
    }

    void keep_masks() {
        copy_all(net_->values().weights(), kept_weights_);
        copy_all(net_->values().masks(), kept_masks_);
    }
    /// Selects masks anew where that is due, before a step has gradients or once it has them: where the weights are, or
    /// on copies on the host when a policy has a selection that only the host can make.
    void select_masks(prune::sight<wide> const& sight) {
        auto const select = [&](auto& selector, prune::sight<wide> const& numbers, std::uint32_t* masks) {
            masks_.each_due(time(), rates_.data(), sight.gradients != nullptr,
                            [&](auto const& tensors, prune::prune_record const& record) {
                                selector.select(time(), tensors, record, numbers, masks);
                            });
        };
        if (selector_.able()) {
            select(selector_, sight, net_->values().masks().data());
        } else if constexpr (!device_type::host_memory) {
            std::vector<wide> own_weights, own_gradients, own_moments;
            std::vector<std::uint32_t> masks(static_cast<std::size_t>(size.mask_words));
            detail::host_masks<wide> on_host(masks_.tensors());
            auto const copy = [](buffer<wide> const& from, std::vector<wide>& to) {
                to.resize(static_cast<std::size_t>(size.parameters));
                from.copy_to_host(to.data(), size.parameters);
                return to.data();
            };
            prune::sight<wide> numbers{copy(net_->values().weights(), own_weights)};
            if (sight.gradients) numbers.gradients = copy(gradients_, own_gradients);
            if (sight.gradients && moments_.size() > 0) numbers.moments = copy(moments_, own_moments);
            net_->values().masks().copy_to_host(masks.data(), size.mask_words);
            select(on_host, numbers, masks.data());
            net_->values().masks().copy_from_host(masks.data(), size.mask_words);
        }
        net_->refresh();
    }
    selector_type make_selector() {
        if constexpr (device_type::host_memory) {
            return selector_type(masks_.tensors());
        } else {
            using lists = detail::list_device_plans<device_type, wide>;
            typename selector_type::plans found;
            if constexpr (prunes) {
                auto context = net_->runner().template make_context<mode::train>(net_->random_seed(), 0);
                layer::update(context, lists{{}, &found}, block_.layers, memory(), update_numbers{});
            }
            return selector_type(device(), masks_.tensors(), std::move(found));
        }
    }

    Network* net_;
    Loss loss_;
    Optimizer optimizer_;
    training_progress progress_;
    step_decision decision_{};
    kept_time decided_{};             ///< the time of the step, with what was decided for it
    step_block block_ = step_block(); // with {} in its place Clang 18 does not survive to the end of this class
    declared_block declared_{*net_, block_};
    buffer<wide> gradients_;
    buffer<wide> reference_;
    buffer<wide> moments_;
    buffer<scalar> outputs_;
    buffer<scalar> output_gradients_; ///< empty when the gradient may overwrite the outputs
    buffer<wide> loss_state_;
    index_t samples_ = 0;
    detail::tiled_rows<device_type, wide> tiles_;
    index_t capacity_ = 0;
    index_t counted_count_ = 0;
    counted_type counted_;
    counted_type counted_reference_;
    buffer<wide> kept_state_;   ///< memory of the loss of this batch's samples, before the step
    buffer<wide> kept_weights_; ///< and of the weights and masks, when masks are selected anew
    buffer<std::uint32_t> kept_masks_;
    buffer<double> terms_;
    buffer<double> squared_norm_;
    std::vector<double> seen_terms_; ///< of the last step, on the host
    std::vector<double> seen_;       ///< terms and measures as they come from the device
    std::vector<double> seen_measures_;
    std::vector<tensor_rates> rates_; ///< this and the following: of the trained tensors, in the order of declaration
    std::vector<std::uint64_t> missed_ = std::vector<std::uint64_t>(static_cast<std::size_t>(size.tensors));
    std::vector<std::uint64_t> missed_of_ = std::vector<std::uint64_t>(static_cast<std::size_t>(size.tensors) + 1);
    detail::mask_selection<wide> masks_{report_of<typename Network::stack>()};
    selector_type selector_ = make_selector();
};

} // namespace espalier
