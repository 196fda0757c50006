// SPDX-License-Identifier: Apache-2.0
// A space of specialisations on 8x8 digits: each stack's training step against the floor of this machine's roofs.
// With SPACE_PART=n only the n-th stack is compiled: benchmarks/space.py measures what each takes.
//
//     bench_space RESULTS.json        goes on with what RESULTS.json lacks
//     bench_space --list              the names of the stacks
#include "../roof.hpp"

#include <espalier/espalier.hpp>
#include <espalier/space/compare.hpp>

#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>

#include <cstdio>
#include <exception>
#include <string_view>

namespace esp = espalier;
namespace hana = boost::hana;

constexpr auto all = esp::space(
    esp::choices<"activation">(hana::tuple_t<esp::activation::relu, esp::activation::silu, esp::activation::gelu>),
    esp::choices<"dropout">(hana::tuple_t<esp::dropout::none, esp::dropout::bernoulli<0.2>>),
    esp::choices<"penalty">(hana::tuple_t<esp::penalty::l2<1e-4>, esp::penalty::elastic_net<1e-5, 1e-4>>),
    esp::choices<"gate">(hana::tuple_t<esp::gate::softmax<4>, esp::gate::top_k<4, 2>, esp::gate::comet<4, 2>>),
    esp::choices<"width">(hana::tuple_c<int, 64, 128>));

template <class Activation, class Dropout, class Penalty, class Gate, class Width>
using stack = esp::sequence<esp::input<64>, esp::dense<Width::value, Activation, Dropout, Penalty>,
                            esp::moe<Gate, esp::dense<Width::value, Activation>>, esp::dense<10>>;

constexpr auto compared = esp::pairwise(all);
#ifdef SPACE_PART
constexpr auto compiled = esp::part<SPACE_PART, decltype(compared)::size>(compared);
#else
constexpr auto compiled = compared;
#endif

int main(int argc, char** argv) try {
    if (argc > 1 && std::string_view(argv[1]) == "--list") {
        for (std::size_t n = 0; n < decltype(compared)::size; ++n)
            std::puts(esp::combination_at(compared, decltype(compared)::index(n)).text().c_str());
        return 0;
    }
    esp::data_set digits = esp::read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    esp::scale(digits, 1.0 / 16);
    auto const [train, test] = esp::split(digits, digits.count * 3 / 4);
    esp::compare_options options;
    options.fit = {.epochs = 10, .batch = 64, .validation = test, .progress = false};
    options.seeds = {esp::seed{1}, esp::seed{2}, esp::seed{3}};
    options.file = argc > 1 ? argv[1] : "";
    bench::roofs const& roof = bench::roof();
    options.roof = {.bytes_per_second = 1e9 * roof.copy_cached, .operations_per_second = 1e9 * roof.fma};
    auto const results = esp::compare<stack>(compiled, esp::loss::cross_entropy{},
                                             esp::optimizer::adamw{.learning_rate = 2e-3}, train, options);
    std::fputs(results.text().c_str(), stdout);
    return 0;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
