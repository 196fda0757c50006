// SPDX-License-Identifier: Apache-2.0
// host only. A network: parameters and the executor that runs them.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/error.hpp>
#include <espalier/device/concept.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace espalier {

/// Memory to run a stack on batches of up to `capacity` rows: tape, work space, packing space. Runs any parameters of
/// that type. Nothing is allocated after construction.
template <class Stack, class Device, class T> class executor {
    static_assert(device::check_device<Device>());

public:
    using layer = bound<Stack>;
    using parameters_type = parameters<Stack, Device, T>;
    static_assert(
        !has(layer::facts.needs, need::samples),
        "espalier: a by_sample of the stack stands in no multi_sample, so that there are no samples of which "
        "each could run another of its layers; put it into a multi_sample, or one of its layers in its place");

    explicit executor(index_t capacity, std::unique_ptr<Device> device = std::make_unique<Device>())
        : device_(std::move(device)) {
        make_room(capacity);
    }

    /// Memory for batches of up to `capacity` rows instead, on the same device. The tape is lost.
    void make_room(index_t capacity) {
        capacity = round_up(std::max<index_t>(capacity, 1), row_granule);
        buffer tape(layer::template size<T>().tape.bytes(capacity));
        buffer work(layer::template work<T>().bytes(capacity));
        buffer scratch(device_->threads() *
                       round_up(static_cast<index_t>(layer::template scratch<Device, T>(capacity)), 256));
        capacity_ = capacity;
        tape_ = std::move(tape);
        work_ = std::move(work);
        scratch_ = std::move(scratch);
        taps_ = {};
        gates_ = {};
        device_->scratch = {scratch_.data(), static_cast<std::size_t>(scratch_.size())};
    }

    index_t capacity() const { return capacity_; }
    Device& device() { return *device_; }
    Device const& device() const { return *device_; }

    /// The parameters' memory completed by this executor's.
    layer_memory<T> memory(parameters_type& p) {
        layer_memory<T> m = p.memory();
        m.tape = tape_.data();
        m.work = work_.data();
        m.capacity = capacity_;
        m.taps = taps_.data();
        m.gates = gates_.data();
        return m;
    }

    /// What taps and gates hold since the last pass, in the order of their places.
    auto& taps() { return taps_; }
    auto& gates() { return gates_; }

    template <mode Mode> context<Device, T, Mode> make_context(seed s, std::uint64_t step, std::uint32_t pass = 0) {
        return {*device_, s.value, static_cast<std::uint32_t>(step), pass};
    }

private:
    using buffer = typename Device::template buffer<std::byte>;

    index_t capacity_ = 0;
    std::unique_ptr<Device> device_; // a context and layers hold references to it
    buffer tape_, work_, scratch_;
    std::array<tap_record<T>, layer::template size<T>().taps> taps_{};
    std::array<gate_record<T>, layer::template size<T>().gates> gates_{};
};

/// A stack with parameters on a device. `T` is the type of activations and products.
///
/// Construction allocates everything that inference and training need for batches of up to `capacity` rows; later
/// calls allocate nothing. Copies are independent networks with the same parameters.
template <class Stack, class Device, class T = float> class network {
    static_assert(device::check_device<Device>() && detail::check_network_number<T>());

public:
    using stack = Stack;
    using device_type = Device;
    using scalar = T;
    using layer = bound<Stack>;
    using wide = master_of<T>;
    using parameters_type = parameters<Stack, Device, T>;
    using executor_type = executor<Stack, Device, T>;
    static constexpr index_t input_width = layer::input.size();
    static constexpr index_t output_width = layer::output.size();
    static constexpr footprint size = layer::template size<T>();

    /// Weights drawn from the layers' initialisers; the same seed gives the same weights on every machine.
    explicit network(seed s = {}, index_t capacity = 128, std::unique_ptr<Device> device = std::make_unique<Device>())
        : seed_(s), run_(capacity, std::move(device)) {
        initialise();
    }
    network(network const& other)
        : seed_(other.seed_), values_(other.values_), run_(other.run_.capacity(), device_like(other.run_.device())) {}
    network(network&&) noexcept = default;
    network& operator=(network other) noexcept {
        seed_ = other.seed_;
        std::swap(values_, other.values_);
        run_ = std::move(other.run_);
        return *this;
    }

    seed random_seed() const { return seed_; }
    index_t capacity() const { return run_.capacity(); }
    parameters_type& values() { return values_; }
    parameters_type const& values() const { return values_; }
    executor_type& runner() { return run_; }

    /// Room for larger batches. Allocates; does nothing when there is room already.
    void reserve(index_t rows_wanted) {
        if (rows_wanted > run_.capacity()) run_.make_room(rows_wanted);
    }

    /// Where training stands: what schedules of the stack see in `predict`, `evaluate` and the next step of a training.
    /// A copy of the network, a saved file and a new training have it too.
    clock const& time() const { return std::as_const(values_).time(); }
    /// Another time, run-time values included. What is derived from the weights follows where it depends on it. Throws
    /// data_error, with nothing changed, for a time at which a schedule of the stack leaves the range of its policy.
    void set_time(clock const& now) {
        kept_time before = values_.time();
        values_.time().set(now);
        take_time([&] { values_.time() = std::move(before); });
    }
    /// The number that `schedule::runtime` of that name gives from now on. Throws as `set_time` does.
    void set_value(short_name name, double value) {
        named_value const* const known = values_.time().find(name);
        double const before = known ? known->value : 0.0;
        values_.time().set(name, value);
        take_time([&] {
            if (known)
                values_.time().set(name, before);
            else
                values_.time().remove_last();
        });
    }

    /// Draws all weights anew, and begins with time 0. Run-time values stay.
    void initialise() {
        clock start;
        start.values = time().values;
        values_.time().set(start);
        auto context = run_.template make_context<mode::train>(seed_, 0);
        layer::initialise(context, run_.memory(values_));
        refresh();
    }

    /// Makes operand copies, masks and group norms agree with the weights. Call it after weights were set by hand.
    void refresh() { refresh(values_); }
    /// The same for other parameters of this type: those of a teacher, say.
    void refresh(parameters_type& values) {
        clock now = std::as_const(values).time();
        now.standing = true;
        auto context = run_.template make_context<mode::train>(seed_, 0);
        values.start_norms(run_.device());
        layer::update(context, no_step{}, layer::at(now), run_.memory(values), update_numbers{});
        values.finish_norms(run_.device());
    }

    static std::vector<tensor_info> const& tensors() { return parameters_type::tensors(); }
    /// The lines of `describe`, in order: path, kind, widths, policies with their numbers.
    static std::vector<layer_info> const& layers() { return report_of<Stack>().layers; }
    /// The elements of a tensor by name, "1.kernel": rows x columns.
    matrix_view<wide> tensor(std::string_view name) { return values_.tensor(name); }

    /// The rows at a tap, "features" or "2.features", as the last pass left them there: of the last training step, or
    /// of the last part that `predict` went through. Memory of the device; the next pass writes there again. Throws
    /// data_error when there is no such tap, or was no pass yet.
    matrix_view<T const> tap(std::string_view name) {
        auto const& record = run_.taps()[detail::tap_place(report_of<Stack>().taps, name)];
        if (!record.values.data) detail::throw_data_error("network: no rows have passed the tap \"", name, "\" yet");
        return record.values;
    }

    /// The weights and experts that the gate at "1.gate" (of a multi_gate "1.gate.0", ...) gave the rows of the last
    /// pass, as `tap` shows rows. Throws data_error likewise.
    gate_record<T> gate(std::string_view path) {
        auto const& record = run_.gates()[detail::gate_place(report_of<Stack>().gates, path)];
        if (!record.weights.data) detail::throw_data_error("network: no rows have passed the gate \"", path, "\" yet");
        return record;
    }

    /// The number of trained values.
    static index_t parameter_count() { return detail::count_trained(tensors()); }

    /// One traversal. `x`: rows x input_width, `y`: rows x output_width (times the growth of the stack while training).
    /// Throws shape_error when extents do not fit or the batch exceeds the capacity. `terms`, unless it is null: room
    /// for size.terms values that are added to the loss; `measures` likewise: size.measures about the routing; `rates`
    /// likewise: those of the trained tensors, for layers that are used otherwise while they are frozen. Forward passes
    /// of one step with different numbers `pass` draw different bits; throws data_error when it is not below 65536,
    /// divided while training by the growth of the stack.
    template <mode Mode>
    void forward(typename layer::numbers const& numbers, rows const& batch, matrix_view<T const> x, matrix_view<T> y,
                 std::uint64_t step = 0, std::uint32_t pass = 0, double* terms = nullptr, double* measures = nullptr,
                 tensor_rates const* rates = nullptr) {
        check_batch(x, batch);
        index_t const grown = Mode == mode::train ? layer::facts.growth : 1;
        if (pass >= max_passes / grown)
            detail::throw_data_error("network: pass ", pass, " of a step was asked for; a stack that runs its head ",
                                     grown, " times has ", max_passes / grown);
        if (y.rows != x.rows * grown || y.columns != output_width)
            detail::throw_shape_error("network: the output has ", y.rows, " x ", y.columns, " elements, needed are ",
                                      x.rows * grown, " x ", output_width);
        traverse<Mode>(values_, numbers, batch, x, y, step, pass, terms, measures, rates);
    }

    /// Outputs of the network as it is used: no dropout, running statistics. Any number of rows; larger batches than
    /// the capacity go through in parts. Policies with a schedule (the rank of weight::low_rank, the temperature of a
    /// gate) stand where training left them: `time()`. Denormal numbers count as 0 on the way.
    void predict(matrix_view<T const> x, matrix_view<T> y) { predict_with(values_, x, y); }
    /// The same for rows that something is known of: the keys that a hash gate looks up, say.
    void predict(matrix_view<T const> x, rows const& tags, matrix_view<T> y) { predict_with(values_, x, tags, y); }
    /// No prediction: the compiler's "no matching function" would not say what a matrix of Eigen needs.
    template <class X, class Y>
    requires(detail::foreign_matrix<X> || detail::foreign_matrix<Y>) void predict(X const&, Y const&) {
        static_assert(!(detail::foreign_matrix<X> || detail::foreign_matrix<Y>),
                      "espalier: predict takes views of inputs and outputs: espalier::view(matrix) of a matrix of "
                      "Eigen, from espalier/data/eigen_view.hpp");
    }

    /// The same with other parameters of this type, at their time. They must have been refreshed since they were
    /// changed.
    void predict_with(parameters_type& values, matrix_view<T const> x, matrix_view<T> y) {
        rows tags;
        tags.count = x.rows;
        predict_with(values, x, tags, y);
    }
    void predict_with(parameters_type& values, matrix_view<T const> x, rows const& tags, matrix_view<T> y) {
        espalier::cpu::flush_denormals const scope;
        if (x.rows != tags.count)
            detail::throw_shape_error("predict: the inputs have ", x.rows, " rows and their tags describe ",
                                      tags.count);
        if (x.columns != input_width || y.columns != output_width || x.rows != y.rows)
            detail::throw_shape_error("predict: inputs are ", x.rows, " x ", x.columns, " and outputs ", y.rows, " x ",
                                      y.columns, "; needed are n x ", input_width, " and n x ", output_width);
        auto const numbers = layer::at(std::as_const(values).time());
        for (index_t r = 0; r < x.rows; r += capacity()) {
            index_t const n = std::min(capacity(), x.rows - r);
            traverse<mode::evaluate>(values, numbers, tags.slice(r, n), x.middle_rows(r, n), y.middle_rows(r, n), 0, 0,
                                     nullptr, nullptr, nullptr);
        }
    }

    void check_batch(matrix_view<T const> x, rows const& batch) const {
        if (x.columns != input_width)
            detail::throw_shape_error("network: rows have ", x.columns, " features, the input layer takes ",
                                      input_width);
        if (x.rows != batch.count)
            detail::throw_shape_error("network: the inputs have ", x.rows, " rows and their tags describe ",
                                      batch.count);
        if (x.rows > capacity())
            detail::throw_shape_error("network: a batch of ", x.rows, " rows exceeds the capacity of ", capacity(),
                                      "; call reserve first");
    }

private:
    template <class Undo> void take_time(Undo const& undo) {
        try {
            layer::at(time());
        } catch (...) {
            undo();
            throw;
        }
        if constexpr (size.timed_operands > 0) refresh();
    }
    static std::unique_ptr<Device> device_like(Device const& other) {
        if constexpr (std::is_constructible_v<Device, int, index_t>)
            return std::make_unique<Device>(other.threads(), other.worth_cutting());
        else
            return std::make_unique<Device>();
    }
    template <mode Mode>
    void traverse(parameters_type& values, typename layer::numbers const& numbers, rows const& batch,
                  matrix_view<T const> x, matrix_view<T> y, std::uint64_t step, std::uint32_t pass, double* terms,
                  double* measures, tensor_rates const* rates) {
        if constexpr (size.fixed > 0) detail::require_bases(tensors(), values.given());
        auto context = run_.template make_context<Mode>(seed_, step, pass);
        layer_memory<T> memory = run_.memory(values);
        memory.terms = terms;
        memory.measures = measures;
        memory.rates = rates;
        layer::forward(context, numbers, memory, batch, x, y);
    }

    seed seed_;
    parameters_type values_;
    executor_type run_;
};

} // namespace espalier
