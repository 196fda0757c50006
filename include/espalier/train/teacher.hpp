// SPDX-License-Identifier: Apache-2.0
// host only. A second set of parameters that follows the trained ones: the exponential average of a mean teacher.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/io/safetensors.hpp>
#include <espalier/network/network.hpp>
#include <espalier/schedule/concept.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace espalier {

/// How the average of `ema_teacher` begins. `warm`: the decay of update t = 0, 1, ... is min(1 - 1 / (t + 1), decay),
/// so that the first update copies the student and the average is the plain mean until the decay is reached. `cold`:
/// the decay from the first update on; the first weights keep their share decay^t.
enum class ema_start { warm, cold };

/// w_teacher <- a w_teacher + (1 - a) w_student, over all weights and running statistics, once a step (Polyak and
/// Juditsky 1992; as a teacher Tarvainen and Valpola 2017, section 2). `a` is a number or a schedule with values in
/// [0, 1], evaluated at the student's time, which the teacher takes over. Masks are those of the student.
///
///     ema_teacher teacher{model, 0.999};
///     run.step(batch);                         // training with a loop of one's own
///     teacher.update(model);
///     teacher.predict(model, x, y);
///
///     fit(model, loss, optimizer, data, {.followers = {teacher.follow(model)}}); // also part of its checkpoints
///
/// The teacher has parameters only: it runs in the student's executor. Operand copies are made anew before they are
/// used, once after any number of updates. Nothing is allocated after construction.
template <class Network, schedule::number_or_schedule Decay = double> class ema_teacher {
public:
    static_assert(detail::check_network<Network>());
    static_assert(Network::device_type::host_memory,
                  "espalier: ema_teacher averages in host memory; train the student on device::cpu");
    using scalar = typename Network::scalar;
    using parameters_type = typename Network::parameters_type;

    /// Starts as a copy of the student. Throws data_error for a decay outside [0, 1].
    explicit ema_teacher(Network const& student, Decay decay = 0.999, ema_start start = ema_start::warm)
        : decay_(decay), start_(start), values_(student.values()) {
        if constexpr (!schedule::schedule<Decay>)
            check(static_cast<double>(decay));
        else if (char const* const why = schedule::problem(decay))
            espalier::detail::throw_data_error("ema_teacher: ", why);
    }

    /// One step towards the student. Throws data_error, before anything is changed, when a schedule gives a decay
    /// outside [0, 1].
    void update(Network const& student) {
        double keep = schedule::value_at(decay_, student.time());
        check(keep);
        if (start_ == ema_start::warm) keep = std::min(1.0 - 1.0 / (static_cast<double>(updates_) + 1.0), keep);
        values_.average(student.values(), keep);
        auto const& masks = student.values().masks();
        std::copy_n(masks.data(), masks.size(), values_.masks().data());
        values_.time().set(student.time());
        ++updates_;
        stale_ = true;
    }

    /// Outputs with the teacher's parameters: `student.predict` without the student's weights. Its executor's memory is
    /// used, so it is not called between a forward and its backward.
    void predict(Network& student, matrix_view<scalar const> x, matrix_view<scalar> y) {
        refresh(student);
        student.predict_with(values_, x, y);
    }

    /// Makes operand copies agree with the averaged weights, when they do not. `predict` does it by itself; another use
    /// of `values()` in an executor calls it first.
    void refresh(Network& student) {
        if (!stale_) return;
        student.refresh(values_);
        stale_ = false;
    }

    /// `update` after every step, and the teacher's part of checkpoints: tensors of the student's names behind
    /// "teacher." and the number of updates, so that a resumed training has the bits of an unbroken one. Several
    /// teachers of one student need names of their own. Both objects must outlive what is returned.
    follower follow(Network const& student, std::string const& name = "teacher") {
        auto const prefix = name + ".";
        return {
            [this, &student](clock const&) { update(student); },
            [this, prefix](std::vector<tensor_record>& records) {
                detail::host_parameters<Network> host(values_);
                detail::add_records(records, host.saved(), prefix);
                records.push_back(make_record(prefix + "updates", {1}, array_view<std::uint64_t const>{&updates_, 1}));
            },
            [this, prefix](safetensors_file const& file) -> std::function<void()> {
                detail::host_parameters<Network> host(values_);
                detail::load_plan plan;
                plan.add(file, host.saved(), prefix);
                plan.add(file, prefix + "updates", {1}, &updates_);
                return [this, plan, time = detail::time_in(file)] {
                    plan.run();
                    values_.time() = time;
                    stale_ = true;
                };
            }};
    }

    parameters_type& values() { return values_; }
    parameters_type const& values() const { return values_; }
    std::uint64_t updates() const { return updates_; }

private:
    static void check(double keep) {
        if (!(keep >= 0.0 && keep <= 1.0))
            espalier::detail::throw_data_error("ema_teacher: its decay is ", keep, ", needed is a number in [0, 1]");
    }

    Decay decay_;
    ema_start start_;
    parameters_type values_;
    std::uint64_t updates_ = 0;
    bool stale_ = true;
};

} // namespace espalier
