// SPDX-License-Identifier: Apache-2.0
// Lesson 8: a network in the place of an expensive function. A program integrates the bending of tapered beams, keeps
// what came out in records of its own, trains on them in a loop of its own, is stopped in the middle of an epoch, goes
// on, and answers from two threads. Shows what early stopping, several losses, a warm-up and gradients on their way
// look like in such a loop, that the stopped run has the bits of the unbroken one, and how good the answers are beside
// a linear model's.
//
//     example_08_surrogate [--quick] [FOLDER]
//
// FOLDER keeps beam.safetensors, the designs and the answers; this is the network in NumPy:
//
//     w, x = safetensors.numpy.load_file("beam.safetensors"), numpy.load("designs.npy")
//     for i in "12": x = (z := x @ w[i + ".kernel"] + w[i + ".bias"]) / (1 + numpy.exp(-z))
//     numpy.allclose(x @ w["3.kernel"] + w["3.bias"], numpy.load("answers.npy"), atol=1e-4)
#include <espalier/activation/silu.hpp>
#include <espalier/data/member_view.hpp>
#include <espalier/data/npy.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/warm_up.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/best_so_far.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace esp = espalier;

using net = esp::sequence<esp::input<7>, esp::dense<64, esp::activation::silu>, esp::dense<64, esp::activation::silu>,
                          esp::dense<3>>;
using model_type = esp::network<net, esp::device::cpu, float>;
using linear_type = esp::network<esp::sequence<esp::input<7>, esp::dense<3>>, esp::device::cpu, float>;

// The program's own record.
struct simulation {
    std::uint32_t number;
    float design[7]; // each from -1 to 1, between the bounds below
    float answer[3]; // log of the deflection in mm, log of the stress in MPa, 1 where the beam yields
};

// A cantilever of rectangular section under a force at its tip and a load along it: moments and curvatures, cell by
// cell. Where it yields the elastic deflection means nothing; NaN says that there is none.
void simulate(simulation& run) {
    auto const between = [&](int i, double low, double high) {
        return low + (high - low) * 0.5 * (1.0 + static_cast<double>(run.design[i]));
    };
    double const length = between(0, 1.0, 3.0), width = between(1, 0.03, 0.08), modulus = between(4, 70e9, 210e9),
                 force = between(5, 200.0, 4000.0), load = between(6, 0.0, 2000.0);
    constexpr int cells = 1000;
    double deflection = 0.0, stress = 0.0;
    for (int cell = 0; cell < cells; ++cell) {
        double const along = (cell + 0.5) / cells, arm = length * (1.0 - along);
        double const height = between(2, 0.06, 0.14) * (1.0 - along) + between(3, 0.02, 0.06) * along;
        double const moment = force * arm + 0.5 * load * arm * arm, inertia = width * height * height * height / 12.0;
        deflection += moment / (modulus * inertia) * arm * length / cells;
        stress = std::max(stress, 0.5 * moment * height / inertia);
    }
    bool const yields = stress > 250e6;
    run.answer[0] = yields ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(std::log(1e3 * deflection));
    run.answer[1] = static_cast<float>(std::log(1e-6 * stress));
    run.answer[2] = yields ? 1.0f : 0.0f;
}

// The records as data, where they lie.
esp::data_view view_of(std::vector<simulation> const& runs) {
    auto const count = static_cast<esp::index_t>(runs.size());
    esp::data_view view{esp::member_view(runs.data(), count, &simulation::design)};
    view.targets = esp::member_view(runs.data(), count, &simulation::answer);
    return view;
}

// A loss for every column: two squared errors, and a yes-or-no question that counts less.
constexpr auto loss = esp::loss::columns(esp::loss::column::squared{}, esp::loss::column::squared{},
                                         esp::loss::column::binary{.weight = 0.1});

struct outcome {
    bool ended = false; // by itself, and not because it was stopped
    std::uint64_t steps = 0;
    double best_loss = 0.0;
    double longest = 0.0; // gradient
};

// Trains until `patience` epochs brought nothing better on the validation rows, and leaves the best network. When
// `steps_allowed` are over it stops, wherever it is, and writes `file`; where there is such a file it goes on from it.
template <class Network>
outcome train(Network& model, esp::data_view data, esp::data_view validation, esp::index_t epochs,
              std::uint64_t steps_allowed, std::filesystem::path const& file) {
    constexpr esp::index_t batch = 128;
    constexpr std::uint64_t patience = 15;
    esp::batches<float> rows(data, batch, model.random_seed());
    auto const per_epoch = static_cast<std::uint64_t>(rows.count());
    auto const falling = esp::schedule::cosine{
        .from = 5e-3, .to = 0.0, .steps = per_epoch * static_cast<std::uint64_t>(epochs) - per_epoch};
    esp::training trainer{
        model, loss,
        esp::optimizer::adam{.learning_rate = esp::schedule::warm_up{.steps = per_epoch, .inner = falling}}};
    esp::best_so_far best{model};
    if (std::filesystem::exists(file)) esp::load_training(trainer, file, {best.follow()});

    outcome result;
    esp::before_update const watch{[&](auto& gradients) { // here a program adds those of its other processes
        double squares = 0.0;
        for (esp::index_t i = 0; i < gradients.size(); ++i)
            squares += static_cast<double>(gradients.data()[i]) * static_cast<double>(gradients.data()[i]);
        result.longest = std::max(result.longest, std::sqrt(squares));
    }};
    while (!result.ended) {
        std::uint64_t const step = model.time().step, within = step % per_epoch;
        if (result.steps == steps_allowed) {
            esp::save_training(trainer, file, {}, {best.follow()});
            return result;
        }
        if (within == 0 || result.steps == 0) rows.begin_epoch(step / per_epoch); // the order depends on the epoch only
        trainer.step(rows[static_cast<esp::index_t>(within)], watch);
        ++result.steps;
        if (within + 1 < per_epoch) continue;
        best.offer(model, esp::evaluate(model, loss, validation).loss);
        result.ended =
            best.worse_since() == patience || model.time().step == per_epoch * static_cast<std::uint64_t>(epochs);
    }
    best.restore(model);
    result.best_loss = best.value();
    return result;
}

std::vector<float> answers_of(auto& model, std::vector<simulation> const& runs) {
    auto const count = static_cast<esp::index_t>(runs.size());
    std::vector<float> y(runs.size() * 3);
    model.predict(esp::member_view(runs.data(), count, &simulation::design), esp::contiguous_view(y.data(), count, 3));
    return y;
}

struct errors {
    double deflection = 0.0; // root mean square of the logarithm's: 0.01 is about one per cent
    double stress = 0.0;
    double yields = 0.0; // share of wrong decisions
};

errors errors_of(std::vector<float> const& answers, std::vector<simulation> const& runs) {
    errors sum;
    double elastic = 0.0;
    auto const all = static_cast<double>(runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) {
        float const *const y = &answers[3 * i], *const truth = runs[i].answer;
        double const of_deflection = y[0] - truth[0], of_stress = y[1] - truth[1];
        if (truth[2] == 0.0f) sum.deflection += of_deflection * of_deflection, elastic += 1.0;
        sum.stress += of_stress * of_stress;
        sum.yields += (y[2] > 0.0f) != (truth[2] == 1.0f);
    }
    return {std::sqrt(sum.deflection / elastic), std::sqrt(sum.stress / all), sum.yields / all};
}

void print(char const* name, errors const& e) {
    std::printf("%-28s %9.2f %% %9.2f %% %9.2f %%\n", name, 100.0 * e.deflection, 100.0 * e.stress, 100.0 * e.yields);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int run(bool quick, std::filesystem::path const& folder) {
    // 1. The expensive function, as often as the program can afford.
    std::vector<simulation> runs(quick ? 8000 : 20000);
    std::mt19937 engine(21);
    for (std::size_t i = 0; i < runs.size(); ++i) {
        runs[i].number = static_cast<std::uint32_t>(i);
        for (float& x : runs[i].design)
            x = 2.0f * static_cast<float>(engine() >> 8) / 16777216.0f - 1.0f;
    }
    auto start = std::chrono::steady_clock::now();
    for (simulation& each : runs)
        simulate(each);
    double const expensive = seconds_since(start) / static_cast<double>(runs.size());
    auto const tenth = static_cast<std::ptrdiff_t>(runs.size() / 10);
    std::vector<simulation> const test(runs.end() - tenth, runs.end());
    runs.resize(runs.size() - test.size());
    auto const [data, validation] = esp::split(view_of(runs), static_cast<esp::index_t>(runs.size() - test.size()));
    esp::index_t const epochs = quick ? 60 : 120;
    constexpr std::uint64_t forever = std::numeric_limits<std::uint64_t>::max();

    // 2. A run without a break, and a linear model by the same loop: a stack of one layer.
    model_type model{esp::seed{8}};
    errors const before = errors_of(answers_of(model, test), test);
    start = std::chrono::steady_clock::now();
    outcome const whole = train(model, data, validation, epochs, forever, folder / "unused.safetensors");
    double const training = seconds_since(start);
    errors const after = errors_of(answers_of(model, test), test);
    linear_type linear{esp::seed{8}};
    outcome const line = train(linear, data, validation, epochs, forever, folder / "unused.safetensors");
    errors const baseline = errors_of(answers_of(linear, test), test);

    // 3. The same run, stopped in the middle of an epoch; what goes on is another network in another training.
    auto const stopped = folder / "stopped.safetensors";
    std::filesystem::remove(stopped);
    model_type first_part{esp::seed{8}}, second_part{esp::seed{8}};
    outcome const part = train(first_part, data, validation, epochs, whole.steps / 2 + 7, stopped);
    outcome const rest = train(second_part, data, validation, epochs, forever, stopped);
    std::filesystem::remove(stopped);
    std::vector<float> const answers = answers_of(model, test);
    bool const same_bits = !part.ended && part.steps + rest.steps == whole.steps && rest.best_loss == whole.best_loss &&
                           answers_of(second_part, test) == answers;

    // 4. Answers from two threads, each with a copy of the network.
    std::vector<float> together(answers.size());
    {
        auto const half = static_cast<esp::index_t>(test.size() / 2);
        auto const answer = [&](model_type mine, esp::index_t from, esp::index_t count) {
            mine.predict(esp::member_view(&test[static_cast<std::size_t>(from)], count, &simulation::design),
                         esp::contiguous_view(together.data() + 3 * from, count, 3));
        };
        std::thread a(answer, model, 0, half), b(answer, model, half, static_cast<esp::index_t>(test.size()) - half);
        a.join();
        b.join();
    }
    bool const same_from_threads = together == answers;
    start = std::chrono::steady_clock::now();
    answers_of(model, test);
    double const cheap = seconds_since(start) / static_cast<double>(test.size());

    // 5. For others: the weights, and what they make of the test rows.
    esp::save(model, folder / "beam.safetensors");
    auto const count = static_cast<esp::index_t>(test.size());
    esp::write_npy(folder / "designs.npy", esp::member_view(test.data(), count, &simulation::design));
    esp::write_npy(folder / "answers.npy", esp::contiguous_view(answers.data(), count, 3));

    std::printf("%-28s %11s %11s %11s\n", "error on test rows", "deflection", "stress", "yields");
    print("linear model", baseline);
    print("network before training", before);
    print("network", after);
    std::printf(
        "\nnetwork: %llu steps in %.1f s, longest gradient %.1f, best validation loss %.5f; linear model: %llu\n",
        static_cast<unsigned long long>(whole.steps), training, whole.longest, whole.best_loss,
        static_cast<unsigned long long>(line.steps));
    std::printf("a simulation takes %.1f us, an answer of the network %.2f us\n", 1e6 * expensive, 1e6 * cheap);
    std::printf("stopped after %llu steps and gone on: the answers are %s\n",
                static_cast<unsigned long long>(part.steps), same_bits ? "bitwise equal" : "DIFFERENT");
    std::printf("one thread or two: the answers are %s\n", same_from_threads ? "bitwise equal" : "DIFFERENT");

    double const bound = quick ? 0.06 : 0.03;
    bool const good =
        after.deflection < bound && after.stress < bound && after.yields < 0.02 && after.stress < 0.2 * baseline.stress;
    if (!good) std::printf("the errors are not below %.0f %%\n", 100.0 * bound);
    return good && same_bits && same_from_threads ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    bool quick = false;
    std::filesystem::path folder;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--quick") == 0)
            quick = true;
        else
            folder = argv[i];
    }
    try {
        if (!folder.empty()) return run(quick, folder);
        folder =
            std::filesystem::temp_directory_path() / ("espalier_surrogate_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder);
        int const status = run(quick, folder);
        std::filesystem::remove_all(folder);
        return status;
    } catch (std::exception const& problem) { // a checkpoint of another seed, a folder that is not there, ...
        std::fprintf(stderr, "surrogate: %s\n", problem.what());
        return 1;
    }
}
