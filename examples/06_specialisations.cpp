// SPDX-License-Identifier: Apache-2.0
// Lesson 6: a space of specialisations. Names what there is to choose from once; the compiler makes the combinations
// that are asked for, and the program trains each on 8x8 handwritten digits, lays the results side by side, or picks
// one by the names on its command line.
//
//     example_06_specialisations [--quick] [--json FILE] [--csv FILE]
//                                [--activation NAME] [--dropout NAME] [--gate NAME] [--width NUMBER]
#include <espalier/espalier.hpp>
#include <espalier/space/compare.hpp>
#include <espalier/space/select.hpp>

#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

namespace esp = espalier;
namespace hana = boost::hana;

// Types to choose from are hana::tuple_t, numbers hana::tuple_c. 54 combinations, of which none is made yet.
constexpr auto all = esp::space(
    esp::choices<"activation">(hana::tuple_t<esp::activation::relu, esp::activation::silu, esp::activation::gelu>),
    esp::choices<"dropout">(
        hana::tuple_t<esp::dropout::none, esp::dropout::bernoulli<0.2>, esp::dropout::bernoulli<0.5>>),
    esp::choices<"gate">(hana::tuple_t<esp::gate::softmax<4>, esp::gate::top_k<4, 2>>),
    esp::choices<"width">(hana::tuple_c<int, 32, 64, 128>));

template <class Activation, class Dropout, class Gate, class Width>
using stack = esp::sequence<esp::input<64>, esp::dense<Width::value, Activation, Dropout>,
                            esp::moe<Gate, esp::dense<Width::value, Activation>>, esp::dense<10>>;

// What is not worth a compilation is left out, with the reason; who asks for it is told.
constexpr auto worthwhile = esp::where(all, [](auto const& c) {
    return c.is("dropout", "bernoulli") && c.value("width") < 64 ? "a narrow layer keeps too little behind a dropout"
                                                                 : nullptr;
});

// Every two options occur together in one of these: a fraction of all stacks shows what each choice does.
constexpr auto compiled = esp::pairwise(worthwhile);

int main(int argc, char** argv) try {
    bool quick = false;
    std::string json, csv;
    std::map<std::string, std::string> chosen;
    CLI::App app{"Trains specialisations of a mixture of experts on handwritten digits and compares them"};
    app.add_flag("--quick", quick, "One epoch on a quarter of the data");
    app.add_option("--json", json, "Keep results in this file, and go on with what it lacks");
    app.add_option("--csv", csv, "Write the table to this file (for scripts/charts.sh)");
    for (esp::axis_labels const& axis : decltype(all)::labels())
        app.add_option("--" + axis.name, chosen[axis.name], "Train one stack alone, with this option");
    CLI11_PARSE(app, argc, argv);

    esp::data_set digits = esp::read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    esp::scale(digits, 1.0 / 16);
    auto const [train, test] = esp::split(digits, digits.count * 3 / 4);
    esp::data_view const rows = quick ? train.view().middle_rows(0, train.count / 4) : train.view();

    std::vector<std::string> words;
    for (auto const& [axis, option] : chosen)
        if (!option.empty()) words.push_back(axis + '=' + option);
    if (!words.empty()) {
        // One branch, here; what runs behind it is compiled for exactly these policies.
        esp::select<stack>(compiled, words, [&](auto net, esp::combination const& which) {
            using stack_type = typename decltype(net)::type;
            esp::network<stack_type, esp::device::cpu, float> model{esp::seed{1}, 64};
            auto const history =
                esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 2e-3}, rows,
                         {.epochs = quick ? 1 : 10, .batch = 64, .validation = test});
            std::printf("%s: accuracy %.4f\n", which.text().c_str(), history.last("validation_accuracy"));
        });
        return 0;
    }

    esp::compare_options options;
    options.fit = {.epochs = quick ? 1 : 10, .batch = 64, .validation = test, .progress = false};
    options.file = json;
    auto const results = esp::compare<stack>(compiled, esp::loss::cross_entropy{},
                                             esp::optimizer::adamw{.learning_rate = 2e-3}, rows, options);
    std::printf("%zu of %zu combinations\n", decltype(compiled)::size, decltype(all)::size);
    std::fputs(results.text().c_str(), stdout);
    if (!csv.empty()) esp::write_text_file(csv, results.to_csv());
    return 0;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
