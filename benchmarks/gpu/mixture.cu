// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts on a GPU.
//
// Family `comet`: gates of soft trees and of binary codes. `gate_` is the product that gives the logits and the row
// kernel, `rows_` the row kernel alone, `rows_backward_` its way back, each for a quarter of a million rows; `layer_`
// is a whole layer of 16 experts, forward and backward, while all of them are active (open) and once the splits are
// saturated (sparse), with every expert on all rows (dense) and on rows that the device counts (automatic).
//
// Family `moe`: a feed-forward block of 64 experts behind a top-2 gate, forward and backward, in blocks of a capacity
// (products by cuBLASLt, on what is left of a block too) and with rows that the device counts (products by our tiles).
// "By hand" is one dense block of cuBLASLt's products for as many rows as the experts get in all: hand/ours is the
// share of the dense rate that the mixture reaches.
//
// Floor of a gate: its product at the rate that this run's large products reach, or its bytes if that is more, and the
// bytes of the row kernel. Floor of a layer: the products of the gate and of the active pairs of row and expert at
// that rate, or what must move if that is more: weights read twice, their gradients written, four passes over the rows.
#include "../reference_gate.hpp"
#include "bench.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>

#include <memory>
#include <type_traits>

namespace {

namespace esp = espalier;
using namespace gpu_bench;
using bench::phase, bench::reference_gate;
using esp::master_of, esp::matrix_view;

/// Rates of large products, TFLOP/s.
struct rates {
    double narrow = 0.0, wide = 0.0;
    template <class T> double of() const { return sizeof(T) == 2 ? narrow : wide; }
    template <class T> double ns(double operations) const { return 1e-3 * operations / of<T>(); }
};

template <class T> double as_double(T v) {
    return static_cast<double>(static_cast<master_of<T>>(v));
}
template <class T> std::vector<double> as_doubles(std::vector<T> const& from) {
    std::vector<double> to;
    to.reserve(from.size());
    for (T v : from)
        to.push_back(as_double(v));
    return to;
}
/// Compares numbers of one kind. `scale` says how large they are: what is small beside it need not be exact.
void expect_all_close(std::string const& what, std::vector<double> const& got, std::vector<double> const& want,
                      double scale, double tolerance) {
    for (std::size_t i = 0; i < want.size(); ++i)
        expect_close(what, got[i] / scale, want[i] / scale, tolerance);
}
double size_of(std::vector<double> const& v) {
    double sum = 0.0;
    for (double x : v)
        sum += x * x;
    return std::sqrt(sum / static_cast<double>(v.size())) + 1e-30;
}

// ---- gates

/// `name`: comet_64_4
template <class T, class Gate>
void measure_gate(bench_device& device, report& results, rates const& rate, std::string const& name,
                  std::string const& type) {
    constexpr index_t row_count = 262144, in = 1024, logits = Gate::logits, slots = Gate::slots;
    double const size = sizeof(T), n = static_cast<double>(row_count), columns = logits;
    double const row_bytes = n * (columns * size + 4.0 * slots);
    int const sets = results.sets(row_bytes);
    auto const x = normal<T>(row_count * in, 1), w = normal<T>(in * logits, 2, 0.01);
    auto const bias = normal<float>(logits, 3, 0.03), dweights = normal<float>(row_count * slots, 4);
    device_array<T> z(sets * row_count * logits), dz(sets * row_count * logits);
    device_array<float> weights(sets * row_count * slots);
    device_array<double> term(1);
    auto const op = esp::op_at<Gate>(esp::clock{});
    esp::gate_run run;
    run.term = term.data();
    run.batch.count = row_count;
    matrix_view<std::int32_t> const nobody{};

    auto const logits_of = [&](device_array<T>& of, int i) {
        return matrix_view<T>{of.data() + i % sets * row_count * logits, row_count, logits, logits};
    };
    auto const weights_of = [&](int i) {
        return matrix_view<float>{weights.data() + i % sets * row_count * slots, row_count, slots, slots};
    };
    auto const product = [&](int i) {
        device.template product_forward<void>(matrix_view<T const>{x.data(), row_count, in, in},
                                              matrix_view<T const>{w.data(), in, logits, logits}, bias.data(),
                                              logits_of(z, i));
    };
    auto const rows = [&](int i) {
        device.template route<Gate>(op, matrix_view<T const>(logits_of(z, i)), weights_of(i), nobody, run);
    };
    auto const backward = [&](int i) {
        device.template route_backward<Gate>(
            op, matrix_view<T const>(logits_of(z, i)), matrix_view<float const>(weights_of(i)),
            matrix_view<std::int32_t const>(nobody), matrix_view<float const>{dweights.data(), row_count, slots, slots},
            logits_of(dz, i), run);
    };
    auto const both = [&](int i) {
        product(i);
        rows(i);
    };
    for (int i = 0; i < sets; ++i) {
        both(i);
        backward(i);
    }
    device.throw_on_error();

    constexpr index_t checked = 4;
    constexpr double narrow = sizeof(T) == 2 ? 2e-2 : 1e-4;
    auto const found = as_doubles(first_of(z, checked * logits)), g = as_doubles(first_of(weights, checked * slots));
    auto const slopes = as_doubles(first_of(dz, checked * logits)), d = as_doubles(first_of(dweights, checked * slots));
    auto const from = as_doubles(first_of(x, checked * in)), by = as_doubles(first_of(w, in * logits));
    auto const offset = as_doubles(first_of(bias, logits));
    for (index_t r = 0; r < checked; ++r) {
        std::vector<double> at(found.begin() + r * logits, found.begin() + (r + 1) * logits), want(slots);
        for (index_t c = 0; c < logits; ++c) {
            double sum = offset[static_cast<std::size_t>(c)];
            for (index_t i = 0; i < in; ++i)
                sum += from[static_cast<std::size_t>(r * in + i)] * by[static_cast<std::size_t>(i * logits + c)];
            expect_close(name + ": logit", at[static_cast<std::size_t>(c)], sum, narrow);
        }
        // The row kernel is compared at the logits that it was given.
        reference_gate<Gate>::weights(at.data(), want.data());
        expect_all_close(name + ": weight", {g.begin() + r * slots, g.begin() + (r + 1) * slots}, want, size_of(want),
                         1e-4);
        auto const value = [&] {
            double sum = reference_gate<Gate>::weights(at.data(), want.data()) / n;
            for (index_t s = 0; s < slots; ++s)
                sum += want[static_cast<std::size_t>(s)] * d[static_cast<std::size_t>(r * slots + s)];
            return sum;
        };
        std::vector<double> differences;
        constexpr double h = 1e-6;
        for (double& logit : at) {
            double const middle = logit;
            logit = middle + h;
            double const above = value();
            logit = middle - h;
            differences.push_back((above - value()) / (2.0 * h));
            logit = middle;
        }
        expect_all_close(name + ": gradient of a logit",
                         {slopes.begin() + r * logits, slopes.begin() + (r + 1) * logits}, differences,
                         size_of(differences), sizeof(T) == 2 ? 2e-2 : 1e-3);
    }

    cudaStream_t const stream = device.stream();
    std::string const of_rows = name + "_" + std::to_string(row_count);
    double const moved = n * size * (in + columns) + size * in * columns;
    double const product_floor = std::max(rate.ns<T>(2.0 * n * in * columns), results.floor_of(moved));
    results.add({"comet", "gate_" + of_rows + "x" + std::to_string(in) + "_" + type, median_ns(stream, both, 5), 0.0,
                 product_floor + results.floor_of(row_bytes)});
    results.add(
        {"comet", "rows_" + of_rows + "_" + type, median_ns(stream, rows, 5), 0.0, results.floor_of(row_bytes)});
    results.add({"comet", "rows_backward_" + of_rows + "_" + type, median_ns(stream, backward, 5), 0.0,
                 results.floor_of(n * (2.0 * columns * size + 8.0 * slots))});
}

// ---- experts in double, from the numbers that their products read

double gelu(double x) {
    return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
}
double gelu_slope(double x) {
    return 0.5 * (1.0 + std::erf(x / std::sqrt(2.0))) +
           x * std::exp(-0.5 * x * x) / std::sqrt(2.0 * 3.14159265358979323846);
}

/// In -> Hidden with gelu, Hidden -> In; without Hidden In -> In with relu.
template <class T, int In, int Hidden> struct host_expert {
    static constexpr bool two = Hidden > 0;
    static constexpr std::size_t in = In, hidden = two ? Hidden : In;
    std::vector<double> first, first_bias, second, second_bias;

    /// `tensor(name)`: its numbers in the type of products, and biases, as doubles.
    template <class Tensor> explicit host_expert(std::string const& path, Tensor const& tensor) {
        first = tensor(path + (two ? ".0.kernel" : ".kernel"));
        first_bias = tensor(path + (two ? ".0.bias" : ".bias"));
        if constexpr (two) {
            second = tensor(path + ".1.kernel");
            second_bias = tensor(path + ".1.bias");
        }
    }

    static double value(double z) { return two ? gelu(z) : std::max(z, 0.0); }
    static double slope(double z) { return two ? gelu_slope(z) : z > 0.0 ? 1.0 : 0.0; }

    double unit(double const* x, std::size_t j) const {
        double z = first_bias[j];
        for (std::size_t i = 0; i < in; ++i)
            z += x[i] * first[i * hidden + j];
        return z;
    }
    std::vector<double> units(double const* x) const {
        std::vector<double> z = first_bias;
        for (std::size_t i = 0; i < in; ++i)
            for (std::size_t j = 0; j < hidden; ++j)
                z[j] += x[i] * first[i * hidden + j];
        return z;
    }
    std::vector<double> outputs(std::vector<double> const& z) const {
        std::vector<double> o(second_bias);
        if constexpr (!two) o.resize(in);
        for (std::size_t j = 0; j < hidden; ++j) {
            double const h = value(z[j]);
            if constexpr (two)
                for (std::size_t c = 0; c < in; ++c)
                    o[c] += h * second[j * in + c];
            else
                o[j] = h;
        }
        return o;
    }
    /// The gradient of unit j before its activation, from that of the outputs.
    double unit_gradient(double z, std::size_t j, double const* d) const {
        double sum = two ? 0.0 : d[j];
        if constexpr (two)
            for (std::size_t c = 0; c < in; ++c)
                sum += second[j * in + c] * d[c];
        return sum * slope(z);
    }
    /// dx += the gradient of the inputs
    void add_input_gradient(std::vector<double> const& z, double const* d, std::vector<double>& dx) const {
        std::vector<double> dz(hidden);
        for (std::size_t j = 0; j < hidden; ++j)
            dz[j] = unit_gradient(z[j], j, d);
        for (std::size_t i = 0; i < in; ++i)
            for (std::size_t j = 0; j < hidden; ++j)
                dx[i] += first[i * hidden + j] * dz[j];
    }
};

// ---- layers

template <int In, int Hidden> struct expert_layer {
    using type = esp::sequence<esp::dense<Hidden, esp::activation::gelu, esp::initial::zeros>,
                               esp::dense<In, esp::initial::zeros>>;
};
template <int In> struct expert_layer<In, 0> {
    using type = esp::dense<In, esp::activation::relu, esp::initial::zeros>;
};

/// A mixture, forward and the gradients of all parameters and of the inputs for a given gradient of the outputs. No
/// loss, no update.
template <class T, class Gate, int In, int Hidden, class Dispatch> class layer_pass {
public:
    using W = master_of<T>;
    using stack = esp::sequence<esp::input<In>, esp::moe<Gate, typename expert_layer<In, Hidden>::type, Dispatch>>;
    using network = esp::network<stack, esp::device::cuda, T>;
    using layer = typename network::layer;
    static constexpr int experts = Gate::experts, slots = Gate::slots, logits = Gate::logits;
    static constexpr double products_of_expert = (Hidden > 0 ? 2.0 * Hidden : 1.0 * In) * In; ///< multiply-adds a row

    layer_pass(cudaStream_t stream, index_t row_count, phase p)
        : rows_(row_count), net_(esp::seed{42}, row_count, std::make_unique<esp::device::cuda>(stream)),
          numbers_(layer::at(esp::clock{})), x_(normal<T>(row_count * In, 1)), y_(row_count * In),
          dy_(normal<T>(row_count * In, 2)), d_(row_count * In), dx_(row_count * In),
          gradients_(network::size.parameters), terms_(network::size.terms + 1) {
        batch_.count = rows_;
        using reference = reference_gate<Gate>;
        bool const tree = reference::split(0) >= 0;
        if (tree) {
            // Away from 0, so that a split on one feature is saturated for every row.
            auto x = first_of(x_, x_.size());
            for (T& v : x)
                v = static_cast<T>(static_cast<W>(v) + (static_cast<W>(v) < W(0) ? W(-0.25) : W(0.25)));
            x_.copy_from_host(x.data(), x_.size());
        }
        // Every tensor of the experts is a piece of one table of numbers; the experts are drawn as zeros because
        // drawing half a billion numbers takes longer than all that is measured.
        constexpr index_t most = Hidden > 0 ? index_t{Hidden} * In : index_t{In} * In;
        auto const table = normal<float>(most + 4 * 4099 * experts, 3, 1.0 / std::sqrt(static_cast<double>(In)));
        index_t shift = 0;
        for (auto const& t : network::tensors()) {
            if (t.name.find(".expert.") == std::string::npos) continue;
            check(cudaMemcpyAsync(net_.values().view(t).data, table.data() + shift,
                                  static_cast<std::size_t>(t.size()) * sizeof(float), cudaMemcpyDeviceToDevice, stream),
                  "cudaMemcpyAsync");
            shift += 4099;
        }
        std::mt19937 generator(4);
        std::normal_distribution<float> draw;
        std::vector<float> kernel(static_cast<std::size_t>(In) * logits), bias(logits);
        float const deviation = tree ? 0.03f : 1.0f / std::sqrt(static_cast<float>(In));
        for (std::size_t i = 0; i < kernel.size(); ++i) {
            int const split = reference::split(static_cast<int>(i % logits));
            bool const own = static_cast<int>(i / logits) == split % In;
            kernel[i] = deviation * draw(generator);
            if (split >= 0) kernel[i] = p == phase::open ? 0.2f * kernel[i] : own ? 5.0f : 0.0f;
        }
        for (float& b : bias)
            b = 0.03f * draw(generator);
        device().wait();
        put("1.gate.kernel", kernel);
        put("1.gate.bias", bias);
        net_.refresh();
        step();
        device().throw_on_error();
    }

    esp::device::cuda& device() { return net_.runner().device(); }

    void step() {
        auto context = net_.runner().template make_context<esp::mode::train>(esp::seed{42}, 0);
        esp::layer_memory<T> m = net_.runner().memory(net_.values());
        m.gradients = gradients_.data();
        m.terms = terms_.data();
        auto const dy = esp::contiguous_view<T const>(dy_.data(), rows_, In);
        auto const d = esp::contiguous_view<T>(d_.data(), rows_, In);
        auto const y = esp::contiguous_view<T>(y_.data(), rows_, In);
        layer::forward(context, numbers_, m, batch_, inputs(), y);
        // A backward pass may write over the gradient it is given.
        device().copy(dy, d);
        layer::template backward<esp::differentiate{true, true}>(context, numbers_, m, batch_, inputs(),
                                                                 matrix_view<T const>(y), d,
                                                                 esp::contiguous_view<T>(dx_.data(), rows_, In));
    }

    /// Compares outputs and gradients of the inputs of a few rows, and the gradients of one unit of an expert, with
    /// sums in double. What the gate makes of the batch comes from its own verbs, which are compared elsewhere.
    void check_result(std::string const& what) {
        constexpr double tolerance = sizeof(T) == 2 ? 3e-2 : 1e-3;
        auto const kernel = operand("1.gate.kernel");
        device_array<T> gate_kernel(In * logits), z(rows_ * logits), dz(rows_ * logits);
        device_array<W> weights(rows_ * slots), dweights(rows_ * slots);
        device_array<std::int32_t> chosen(Gate::slot_is_expert ? 0 : rows_ * slots);
        std::vector<T> narrow;
        for (double v : kernel)
            narrow.push_back(static_cast<T>(static_cast<W>(v)));
        gate_kernel.copy_from_host(narrow.data(), gate_kernel.size());
        auto const of_logits = [&](device_array<T>& a) { return esp::contiguous_view<T>(a.data(), rows_, logits); };
        auto const of_slots = [&](auto& a) { return esp::contiguous_view(a.data(), rows_, slots); };
        matrix_view<std::int32_t> const expert_view =
            Gate::slot_is_expert ? matrix_view<std::int32_t>{} : of_slots(chosen);
        auto const op = esp::op_at<Gate>(esp::clock{});
        esp::gate_run run;
        run.batch = batch_;
        device().template product_forward<void>(inputs(), matrix_view<T const>{gate_kernel.data(), In, logits, logits},
                                                static_cast<W const*>(net_.tensor("1.gate.bias").data), of_logits(z));
        device().template route<Gate>(op, matrix_view<T const>(of_logits(z)), of_slots(weights), expert_view, run);
        device().throw_on_error();

        auto const g = first_of(weights, weights.size());
        auto const scores = first_of(z, z.size());
        auto const choice = first_of(chosen, chosen.size());
        auto const at = [](index_t r, index_t s) { return static_cast<std::size_t>(r * slots + s); };
        auto const expert_of = [&](index_t r, index_t s) {
            return Gate::slot_is_expert ? static_cast<int>(s) : static_cast<int>(choice[at(r, s)]);
        };
        // Slots that an expert runs for: with a capacity all rows' first choices come before the second ones.
        std::vector<char> served(g.size(), 0);
        std::vector<index_t> filled(static_cast<std::size_t>(experts), 0);
        index_t wanted = 0;
        pairs_ = 0.0;
        for (index_t s = 0; s < slots; ++s)
            for (index_t r = 0; r < rows_; ++r) {
                if (g[at(r, s)] == W(0)) continue;
                ++wanted;
                index_t& n = filled[static_cast<std::size_t>(expert_of(r, s))];
                if constexpr (esp::dispatch::limits<Dispatch>)
                    if (n >= Dispatch::capacity_of(slots, rows_, experts)) continue;
                ++n;
                served[at(r, s)] = 1;
                pairs_ += 1.0;
            }
        std::printf("%s: %.0f pairs of row and expert, %.0f without room, %.0f to %.0f an expert\n", what.c_str(),
                    pairs_, static_cast<double>(wanted) - pairs_,
                    static_cast<double>(*std::min_element(filled.begin(), filled.end())),
                    static_cast<double>(*std::max_element(filled.begin(), filled.end())));

        auto const x = first_of(x_, x_.size()), dy = first_of(dy_, dy_.size());
        auto const row_of = [&](std::vector<T> const& all, index_t r) {
            std::vector<double> row;
            for (index_t i = r * In; i < (r + 1) * In; ++i)
                row.push_back(as_double(all[static_cast<std::size_t>(i)]));
            return row;
        };
        auto const load = [&](int e) {
            return host_expert<T, In, Hidden>("1.expert." + std::to_string(e),
                                              [&](std::string const& name) { return operand(name); });
        };
        std::vector<index_t> checked;
        for (index_t r = 0; r < rows_ && checked.size() < 3; ++r)
            if (clear_choice(scores, r)) checked.push_back(r);
        std::vector<std::vector<double>> want_dx;
        std::vector<W> of_weights(g.size(), W(0));
        for (index_t r : checked) {
            auto const from = row_of(x, r), upstream = row_of(dy, r);
            std::vector<double> want_y(In, 0.0), dx(In, 0.0);
            for (index_t s = 0; s < slots; ++s) {
                if (!served[at(r, s)]) continue;
                auto const expert = load(expert_of(r, s));
                double const weight = static_cast<double>(g[at(r, s)]);
                auto const units = expert.units(from.data());
                auto const out = expert.outputs(units);
                std::vector<double> d = upstream;
                double slope = 0.0;
                for (std::size_t c = 0; c < In; ++c) {
                    want_y[c] += weight * out[c];
                    slope += d[c] * out[c];
                    d[c] *= weight;
                }
                of_weights[at(r, s)] = static_cast<W>(slope);
                expert.add_input_gradient(units, d.data(), dx);
            }
            expect_all_close(what + ": output", part_of(y_, r), want_y, size_of(want_y), tolerance);
            want_dx.push_back(dx);
        }
        dweights.copy_from_host(of_weights.data(), dweights.size());
        device().template route_backward<Gate>(
            op, matrix_view<T const>(of_logits(z)), matrix_view<W const>(of_slots(weights)),
            matrix_view<std::int32_t const>(expert_view), matrix_view<W const>(of_slots(dweights)), of_logits(dz), run);
        device().throw_on_error();
        auto const gate_slopes = first_of(dz, dz.size());
        for (std::size_t k = 0; k < checked.size(); ++k) {
            index_t const r = checked[k];
            for (std::size_t i = 0; i < In; ++i)
                for (std::size_t c = 0; c < logits; ++c)
                    want_dx[k][i] +=
                        kernel[i * logits + c] * as_double(gate_slopes[static_cast<std::size_t>(r) * logits + c]);
            expect_all_close(what + ": gradient of the inputs", part_of(dx_, r), want_dx[k], size_of(want_dx[k]),
                             tolerance);
        }

        constexpr int e = experts / 2;
        auto const expert = load(e);
        constexpr std::size_t unit = expert.hidden / 3;
        std::vector<double> first(In, 0.0), second(expert.two ? In : 0, 0.0);
        for (index_t r = 0; r < rows_; ++r)
            for (index_t s = 0; s < slots; ++s) {
                if (!served[at(r, s)] || expert_of(r, s) != e) continue;
                auto const from = row_of(x, r);
                auto d = row_of(dy, r);
                for (double& v : d)
                    v *= static_cast<double>(g[at(r, s)]);
                double const z_unit = expert.unit(from.data(), unit);
                double const slope = expert.unit_gradient(z_unit, unit, d.data());
                for (std::size_t i = 0; i < In; ++i)
                    first[i] += slope * from[i];
                for (std::size_t i = 0; i < second.size(); ++i)
                    second[i] += expert.value(z_unit) * d[i];
            }
        std::string const path = "1.expert." + std::to_string(e) + (expert.two ? ".0.kernel" : ".kernel");
        auto const got = gradient(path);
        std::vector<double> column;
        for (std::size_t i = 0; i < In; ++i)
            column.push_back(got[i * expert.hidden + unit]);
        expect_all_close(what + ": gradient of a kernel", column, first, size_of(first), tolerance);
        if constexpr (expert.two) {
            auto const below = gradient("1.expert." + std::to_string(e) + ".1.kernel");
            expect_all_close(what + ": gradient of the second kernel",
                             {below.begin() + unit * In, below.begin() + (unit + 1) * In}, second, size_of(second),
                             tolerance);
        }
    }

    /// Of row and expert that run in a step; known after the check.
    double pairs() const { return Dispatch::gathers ? pairs_ : static_cast<double>(rows_) * experts; }
    double floor_ns(report const& results, rates const& rate) const {
        double const size = sizeof(T), n = static_cast<double>(rows_);
        double const operations = 6.0 * (n * In * logits + pairs() * products_of_expert);
        double const bytes =
            static_cast<double>(network::size.parameters) * (2.0 * size + sizeof(W)) + 4.0 * n * In * size;
        return std::max(rate.ns<T>(operations), results.floor_of(bytes));
    }

private:
    matrix_view<T const> inputs() const { return {x_.data(), rows_, In, In}; }
    void put(char const* name, std::vector<float> const& values) {
        check(cudaMemcpy(net_.tensor(name).data, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice),
              "cudaMemcpy");
    }
    static std::vector<float> read(float const* from, index_t n) {
        std::vector<float> values(static_cast<std::size_t>(n));
        check(cudaMemcpy(values.data(), from, values.size() * sizeof(float), cudaMemcpyDeviceToHost), "cudaMemcpy");
        return values;
    }
    /// A tensor as it enters the products: kernels in their type, biases as they are.
    std::vector<double> operand(std::string const& name) {
        auto const t = net_.tensor(name);
        std::vector<double> numbers;
        for (float v : read(t.data, t.rows * t.columns))
            numbers.push_back(t.rows > 1 ? as_double(static_cast<T>(v)) : static_cast<double>(v));
        return numbers;
    }
    std::vector<double> gradient(std::string const& name) {
        auto const t = net_.tensor(name);
        return as_doubles(read(gradients_.data() + (t.data - net_.values().weights().data()), t.rows * t.columns));
    }
    static std::vector<double> part_of(device_array<T> const& from, index_t r) {
        std::vector<T> row(In);
        from.copy_to_host(row.data(), In, r * In);
        return as_doubles(row);
    }
    /// Whether rounding the logits another way would choose the same experts.
    static bool clear_choice(std::vector<T> const& scores, index_t r) {
        if constexpr (Gate::slot_is_expert) return true;
        std::vector<double> z;
        for (index_t c = 0; c < logits; ++c)
            z.push_back(as_double(scores[static_cast<std::size_t>(r * logits + c)]));
        std::sort(z.begin(), z.end(), std::greater<>());
        return z[slots - 1] - z[slots] > 0.1;
    }

    index_t rows_;
    network net_;
    typename layer::numbers numbers_;
    esp::rows batch_;
    device_array<T> x_, y_, dy_, d_, dx_;
    device_array<W> gradients_;
    device_array<double> terms_;
    double pairs_ = 0.0;
};

/// ns of one dense block In -> Hidden -> In on so many rows, forward and all gradients: the products only.
template <class T, int In, int Hidden> double dense_block_ns(bench_device& device, index_t row_count) {
    using W = master_of<T>;
    auto const x = normal<T>(row_count * In, 1), w = normal<T>(index_t{In} * Hidden, 2, 0.03),
               v = normal<T>(index_t{In} * Hidden, 3, 0.03), d = normal<T>(row_count * In, 4);
    device_array<T> h(row_count * Hidden), o(row_count * In), dh(row_count * Hidden), dx(row_count * In);
    device_array<W> dw(index_t{In} * Hidden), dv(index_t{In} * Hidden);
    auto const wide = [&](auto& a) { return esp::contiguous_view(a.data(), row_count, Hidden); };
    auto const narrow = [&](auto& a) { return esp::contiguous_view(a.data(), row_count, In); };
    auto const first = esp::contiguous_view(w.data(), In, Hidden), second = esp::contiguous_view(v.data(), Hidden, In);
    W const* const none = nullptr;
    return median_ns(
        device.stream(),
        [&](int) {
            device.template product_forward<void>(narrow(x), first, none, wide(h));
            device.template product_forward<void>(matrix_view<T const>(wide(h)), second, none, narrow(o));
            device.template product_weight_gradient<void>(matrix_view<T const>(wide(h)), narrow(d),
                                                          esp::contiguous_view(dv.data(), Hidden, In));
            device.template product_input_gradient<void>(narrow(d), second, wide(dh));
            device.template product_weight_gradient<void>(narrow(x), matrix_view<T const>(wide(dh)),
                                                          esp::contiguous_view(dw.data(), In, Hidden));
            device.template product_input_gradient<void>(matrix_view<T const>(wide(dh)), first, narrow(dx));
        },
        4);
}

template <class T, class Gate, int In, int Hidden, class Dispatch>
void measure_layer(bench_device& device, report& results, rates const& rate, char const* family,
                   std::string const& name, index_t row_count, phase p) {
    layer_pass<T, Gate, In, Hidden, Dispatch> pass(device.stream(), row_count, p);
    pass.check_result(std::string(family) + "/" + name);
    double dense = 0.0;
    if constexpr (Hidden > 0)
        dense = dense_block_ns<T, In, Hidden>(device, esp::round_up(static_cast<index_t>(pass.pairs()), 128));
    double const floor = pass.floor_ns(results, rate);
    auto const step = [&](int) { pass.step(); };
    results.add({family, name, median_ns(device.stream(), step, 4), dense, floor});
    results.add({family, name + "_in_a_graph", median_graph_ns(device.stream(), step, 4), dense, floor});
    pass.device().throw_on_error();
}

template <class Dispatch>
void measure_comet_layer(bench_device& device, report& results, rates const& rate, std::string const& dispatch) {
    for (phase const p : {phase::open, phase::sparse})
        measure_layer<float, esp::gate::comet<16, 2>, 64, 0, Dispatch>(
            device, results, rate, "comet",
            std::string("layer_comet_16_2_262144x64_f32_") + (p == phase::open ? "open_" : "sparse_") + dispatch,
            262144, p);
}

template <class Dispatch>
void measure_block(bench_device& device, report& results, rates const& rate, std::string const& dispatch) {
    measure_layer<esp::bfloat16, esp::gate::top_k<64, 2>, 1024, 4096, Dispatch>(
        device, results, rate, "moe", "top_k_64_2_16384x1024x4096_bf16_" + dispatch, 16384, phase::open);
}

void measure(bench_device& device, report& results) {
    rates const rate{product_rate<esp::bfloat16>(device, 8192), product_rate<float>(device, 4096)};
    std::printf("products: bf16 %.0f TFLOP/s, float %.1f TFLOP/s\n", rate.narrow, rate.wide);
    results.roof("product_bf16_tflops", rate.narrow);
    results.roof("product_f32_tflops", rate.wide);
    measure_block<esp::dispatch::capacity<1.25>>(device, results, rate, "capacity");
    measure_block<esp::dispatch::compacted>(device, results, rate, "compacted");
    measure_gate<esp::bfloat16, esp::gate::comet<16, 2>>(device, results, rate, "comet_16_2", "bf16");
    measure_gate<esp::bfloat16, esp::gate::comet<64, 4>>(device, results, rate, "comet_64_4", "bf16");
    measure_gate<esp::bfloat16, esp::gate::dselect_k<64, 2>>(device, results, rate, "dselect_64_2", "bf16");
    measure_comet_layer<esp::dispatch::dense>(device, results, rate, "dense");
    measure_comet_layer<esp::dispatch::automatic<>>(device, results, rate, "automatic");
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
