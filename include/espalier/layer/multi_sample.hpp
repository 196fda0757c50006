// SPDX-License-Identifier: Apache-2.0
// A head that is run several times a step, each time with its own random factors.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/sequence.hpp>

#include <cstddef>
#include <cstdint>

namespace espalier {

namespace detail {

template <int Samples, class Tail> struct bound_multi_sample {
    static constexpr shape input = Tail::input;
    static constexpr shape output = Tail::output;
    static constexpr layer_facts facts{.reads_output = Tail::facts.reads_output,
                                       .growth = Samples * Tail::facts.growth,
                                       .needs = without(Tail::facts.needs, need::samples)};

    using numbers = typename Tail::numbers;
    static numbers at(clock const& now) { return Tail::at(now); }

    // One set of parameters, one tape a sample.
    template <class T> static constexpr footprint size() {
        footprint f = Tail::template size<T>();
        f.tape = Samples * f.tape;
        return Samples > 1 ? f.scattered() : f;
    }
    static constexpr index_t tail_parameters = Tail::template size<float>().parameters;
    static constexpr int tail_terms = Tail::template size<float>().terms;

    /// One sample's input gradient, gradients and terms, which are added to those of the samples before.
    template <class T> struct work_blocks : block_list {
        constexpr work_blocks() {}
        static constexpr bool several = Samples > 1;
        memory_block<T> dinputs{*this, several ? input.size() : 0};
        memory_block<master_of<T>> gradients{*this, several ? tail_parameters : 0, single_row};
        memory_block<double> terms{*this, several ? tail_terms : 0, single_row};
        memory_block<std::byte> tail{*this, Tail::template work<T>()};
    };
    template <class T> static constexpr work_blocks<T> work_at{};
    template <class T> static constexpr extent work() { return work_at<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t const tail = Tail::template scratch<Device, T>(capacity);
        std::size_t const loss = Device::loss_scratch(facts.growth * capacity);
        return tail > loss ? tail : loss;
    }

    /// A pass of its own for every sample: of a sample inside another one, and of a further forward pass, too.
    template <class Context> static Context context_of(Context const& context, int sample) {
        Context its = context;
        its.sample = static_cast<std::uint32_t>(sample);
        its.pass = context.pass * static_cast<std::uint32_t>(Samples) + its.sample;
        return its;
    }
    template <class T> static layer_memory<T> sample_memory(layer_memory<T> const& m, int sample) {
        layer_memory<T> s = m.child({}, work_at<T>.tail.at);
        if (s.tape) s.tape += sample * Tail::template size<T>().tape.bytes(m.capacity);
        return s;
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        constexpr int count = Context::behaviour == mode::train ? Samples : 1;
        index_t const each = y.rows / count; // more than those of x where a sample has samples of its own
        for (int i = 0; i < count; ++i) {
            Context sample = context_of(context, i);
            layer_memory<T> s = sample_memory(m, i);
            bool const adds_terms = i > 0 && tail_terms > 0 && m.terms;
            if (adds_terms) {
                // Not every tensor's terms are written by forward.
                s.terms = m.work_block(work_at<T>.terms);
                context.device.zero(s.terms, tail_terms);
            }
            Tail::forward(sample, n, s, batch, x, y.middle_rows(i * each, each));
            if (adds_terms)
                context.device.add(contiguous_view<double const>(s.terms, 1, tail_terms),
                                   contiguous_view(m.terms, 1, tail_terms));
        }
    }

    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const> y, matrix_view<T> dy, matrix_view<T> dx) {
        constexpr int count = Context::behaviour == mode::train ? Samples : 1;
        index_t const each = y.rows / count;
        matrix_view<T> const part{m.work_block(work_at<T>.dinputs), x.rows, input.size(), input.size()};
        master_of<T>* const gradients = m.work_block(work_at<T>.gradients);
        for (int i = 0; i < count; ++i) {
            Context sample = context_of(context, i);
            layer_memory<T> s = sample_memory(m, i);
            if (i > 0) s.gradients = gradients;
            Tail::template backward<Want>(sample, n, s, batch, x, y.middle_rows(i * each, each),
                                          dy.middle_rows(i * each, each), i > 0 ? part : dx);
            if (i == 0) continue;
            if constexpr (Want.inputs) context.device.add(matrix_view<T const>(part), dx);
            if constexpr (Want.parameters)
                context.device.add(contiguous_view<master_of<T> const>(gradients, 1, tail_parameters),
                                   contiguous_view(m.gradients, 1, tail_parameters));
        }
    }

    template <class Asked> static consteval bool has_tensor() { return has_tensor_in<Tail, Asked>(); }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        update_numbers its = given;
        // What a layer learns from a batch, it learns from all samples of it.
        if constexpr (Samples > 1) its.copies = {Samples, Tail::template size<T>().tape.bytes(m.capacity)};
        Tail::update(context, optimizer, n, sample_memory(m, 0), its);
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        Tail::initialise(context, sample_memory(m, 0));
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"multi_sample x", Samples}, input, output);
        Tail::describe(report, path, at);
    }
};

template <class Where, int Samples, class Tail> consteval bool check_samples() {
    constexpr bool few = std::int64_t{Samples} * Tail::facts.growth <= max_passes;
    static_assert(diagnostic::holds<few, Where, diagnostic::given<Samples>, diagnostic::needed<max_passes>>,
                  "espalier: a multi_sample inside a multi_sample makes more than 65536 samples together, and each has "
                  "random bits of its own; the next lines name the layer's index, the outer number of samples and the "
                  "most that both make");
    constexpr index_t scattered = Samples > 1 ? Tail::template size<float>().scattered_state : 0;
    static_assert(diagnostic::holds<(scattered == 0), Where, diagnostic::given<scattered>>,
                  "espalier: a batch_norm or a search of a gate learns from all samples of a batch, and inside an "
                  "expert or a further multi_sample a multi_sample does not find what each of them left; the next "
                  "lines name the layer's index and the numbers that are learned so; put that layer before the "
                  "multi_sample, or out of the expert or the inner multi_sample");
    return few && scattered == 0;
}

} // namespace detail

/// Runs `sequence<Tail...>` Samples times on the same rows with the same parameters and independent random factors; the
/// outputs follow one another, Samples * rows of them, and the loss averages over all (Inoue 2019, "Multi-sample
/// dropout for accelerated training and better generalization": the mean of the losses, not of the logits). With one
/// sample it is the plain tail, bit for bit. Evaluation runs the tail once. Penalties on activations inside count once
/// a sample; a batch_norm or a search of a gate inside learns from all samples, once a step. Layers behind it have the
/// rows of all samples, with the tags of the row that each came from and random bits of its own.
template <int Samples, class... Tail> struct multi_sample {
    static constexpr std::string_view name = "multi_sample";
    static constexpr shape output(shape in) { return sequence<Tail...>::output(in); }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        static_assert(diagnostic::holds<(Samples >= 1), Where, diagnostic::given<Samples>, diagnostic::needed<1>>,
                      "espalier: multi_sample needs at least one sample; the next lines name the layer's index and the "
                      "number given");
        static_assert(diagnostic::holds<(Samples <= max_passes), Where, diagnostic::given<Samples>,
                                        diagnostic::needed<max_passes>>,
                      "espalier: multi_sample runs at most 65536 samples, each with random bits of its own; the next "
                      "lines name the layer's index, the number given and the most");
        if constexpr (Samples < 1 || Samples > max_passes || !sequence<Tail...>::template check<Where, In, Inherited>())
            return false;
        else
            return detail::check_samples<Where, Samples, typename sequence<Tail...>::template bind<In, Inherited>>() &&
                   detail::check_no_taps<Where, typename sequence<Tail...>::template bind<In, Inherited>>();
    }
    template <shape In, class Inherited>
    using bind = detail::bound_multi_sample<Samples, typename sequence<Tail...>::template bind<In, Inherited>>;
};

} // namespace espalier
