// SPDX-License-Identifier: Apache-2.0
// A user's program that has nearly every warning turned on and finds our headers by a plain include path, so that the
// compiler warns of them as of the program's own code. It goes through what such a program takes from us, for what is
// not instantiated is not looked at: readers, fit, a loop of its own, policies of every axis, gates, files.
#include <espalier/espalier.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace esp = espalier;

namespace {

constexpr esp::index_t features = 8, rows = 96;

using hidden =
    esp::dense<16, esp::activation::gelu, esp::dropout::bernoulli<0.1>, esp::penalty::elastic_net<1e-5, 1e-5>,
               esp::prune::n_m_magnitude<2, 4>, esp::activation_penalty::l1<1e-6>>;
template <class Gate, class Dispatch> using gated = esp::moe<Gate, esp::dense<8, esp::activation::relu>, Dispatch>;

using first_half = esp::sequence<
    esp::input<features>, hidden, esp::batch_norm<>, esp::residual<esp::dense<16, esp::activation::silu>>,
    gated<esp::gate::top_k<4, 2, esp::gate::learned_noise, esp::gate::balance<0.01>, esp::gate::load<0.01>>,
          esp::dispatch::automatic<>>,
    gated<esp::gate::comet<4, 2>, esp::dispatch::compacted>, esp::dense<3>>;
using second_half =
    esp::sequence<esp::input<features>,
                  esp::everywhere<esp::sequence<esp::dense<16, esp::activation::tanh>>, esp::transform::clip_value<1.0>,
                                  esp::transform::clip_global_norm<1.0>>,
                  gated<esp::gate::local_search<esp::gate::dselect_k<4, 2>, esp::gate::search{.steps = 4}>,
                        esp::dispatch::capacity<1.25>>,
                  gated<esp::gate::hash<4, 12>, esp::dispatch::dense>,
                  esp::multi_sample<2, esp::dense<8, esp::weight::low_rank<2>,
                                                  esp::penalty::group_lasso<1e-4, esp::penalty::over::rows>>>,
                  esp::parallel<esp::merge::concatenate, esp::dense<2, esp::activation::softmax>, esp::dense<1>>>;

template <class Stack> using model_of = esp::network<Stack, esp::device::cpu, float>;

// A loop of the program's own: a batch is views and tags.
template <class Stack, class Optimizer> double train(model_of<Stack>& model, Optimizer optimizer, esp::data_view data) {
    esp::training trainer{model, esp::loss::cross_entropy{}, optimizer};
    esp::rows tags;
    tags.count = data.count();
    tags.label = data.labels.data;
    tags.key = data.keys.data;
    trainer.gradients_of({data.features, tags, {}});
    double loss = 0.0;
    for (int i = 0; i < 3; ++i)
        loss = trainer.step({data.features, tags, {}}).loss;
    esp::save_training(trainer, "strict.training.safetensors");
    esp::load_training(trainer, "strict.training.safetensors");
    return loss;
}

} // namespace

int main() {
    std::string text;
    for (esp::index_t row = 0; row < rows; ++row) {
        for (esp::index_t i = 0; i < features; ++i)
            text += std::to_string((row * 7919 + i * 104729) % 1000) + "e-3,";
        text += std::to_string(row * row % 3) + "\n";
    }
    esp::write_text_file("strict.csv", text);
    esp::data_set table = esp::read_csv("strict.csv");
    esp::standardise(table);
    for (esp::index_t row = 0; row < rows; ++row)
        table.keys.push_back(static_cast<std::uint64_t>(row % 12));

    std::string const described =
        esp::describe<first_half>() + esp::describe<second_half>() + esp::to_dot<first_half>();
    model_of<first_half> one{esp::seed{1}, rows};
    esp::history const record =
        esp::fit(one, esp::loss::cross_entropy{}, esp::optimizer::adamw{}, table,
                 {.epochs = 2, .batch = 32, .validation = table, .checkpoints = "strict.run", .progress = false});
    double const loss = train(one, esp::optimizer::sgd{.learning_rate = 1e-2, .momentum = 0.9}, table);

    model_of<second_half> two{esp::seed{2}, rows};
    esp::ema_teacher teacher{two, 0.99};
    train(two, esp::optimizer::adam{}, table);
    teacher.update(two);
    esp::save(two, "strict.safetensors");
    model_of<second_half> copy{esp::seed{3}, rows};
    esp::load(copy, "strict.safetensors");

    bool const same = esp::predict(copy, table) == esp::predict(two, table);
    std::printf("%zu bytes described and recorded, loss %g\n", described.size() + record.to_csv().size(), loss);
    return same ? 0 : 1;
}
