// SPDX-License-Identifier: Apache-2.0
// Weights as bounded functions of free ones, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/identity.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

// ---- card 20: weight compander

/// The weights begin between the bounds 1 / sqrt(inputs), near which b is.
template <class Map>
using stack =
    esp::sequence<esp::input<64>, esp::dense<256, esp::activation::relu, esp::initial::uniform<-0.125, 0.125>, Map>,
                  esp::dense<256, esp::activation::relu, esp::initial::uniform<-0.0625, 0.0625>, Map>,
                  esp::dense<10, esp::initial::uniform<-0.0625, 0.0625>, Map>>;
using plain_map = esp::weight::identity;
using fixed_map = esp::weight::compander<esp::weight::arctan, 0.1, 0.05>;
using learned_map = esp::weight::compander<esp::weight::arctan, 0.1, 0.05, esp::weight::learned<0.02>>;

/// One number a seed.
struct findings {
    std::vector<double> error, kurtosis, near_zero;
};

/// The weights that products read, of all layers.
template <class Network> std::vector<float> weights_of(Network& net) {
    std::vector<float> all;
    for (esp::tensor_info const& t : net.tensors()) {
        if (t.tensor_role != esp::role::kernel) continue;
        auto const raw = methods::tensor(net, t.name);
        std::size_t const first = all.size();
        all.insert(all.end(), raw.begin(), raw.end());
        if (t.mapped)
            esp::weight::bake(net, t.name.substr(0, t.name.find('.')),
                              {all.data() + first, t.rows, t.columns, t.columns});
    }
    return all;
}

/// E (w - mean)^4 / sd^4, and the share of weights with |w| < sd / 10.
void measure(std::vector<float> const& w, findings& found) {
    double sum = 0.0, second = 0.0, fourth = 0.0;
    for (float const x : w)
        sum += x;
    auto const n = static_cast<double>(w.size());
    for (float const x : w) {
        double const square = (x - sum / n) * (x - sum / n);
        second += square;
        fourth += square * square;
    }
    double const deviation = std::sqrt(second / n);
    found.kurtosis.push_back(n * fourth / (second * second));
    auto const small = std::count_if(w.begin(), w.end(), [&](float x) { return std::fabs(x) < 0.1 * deviation; });
    found.near_zero.push_back(static_cast<double>(small) / n);
}

template <class Map> findings train_with(options const& given, esp::data_set const& train, esp::data_set const& test) {
    findings found;
    found.error = methods::for_each_seed(given, [&](std::uint64_t seed) {
        esp::network<stack<Map>, esp::device::cpu, float> net{esp::seed{seed}, test.count};
        esp::loss::cross_entropy const loss{};
        esp::optimizer::sgd<double, double> const optimizer{
            .learning_rate = 0.05, .momentum = 0.9, .weight_decay = 5e-4};
        esp::fit(net, loss, optimizer, train, {.epochs = 150, .batch = 50, .progress = false});
        measure(weights_of(net), found);
        esp::training run{net, loss, optimizer};
        return 1.0 - methods::evaluate(run, test).accuracy;
    });
    return found;
}

std::vector<row> all_rows(options const& given) {
    auto const [train, test] = methods::read_digits(given, 200);
    findings const plain = train_with<plain_map>(given, train, test);
    methods::line const tails{"ours <= 2.5, baseline >= 5",
                              [](double baseline, double ours) { return ours <= 2.5 && baseline >= 5.0; }};
    methods::line const no_worse{"ours <= baseline + 0.01",
                                 [](double baseline, double ours) { return ours <= baseline + 0.01; }};
    std::vector<row> rows;
    auto const add = [&](std::string const& numbers, findings const& ours) {
        rows.push_back({"20", "kurtosis of the weights, " + numbers + "; 200 digits", methods::mean(plain.kurtosis),
                        methods::mean(ours.kurtosis), tails,
                        methods::every_below(ours.kurtosis, 3.0, "the kurtosis of companded weights")});
        rows.push_back(
            {"20",
             "share of weights near 0, " + numbers + "; 200 digits",
             methods::mean(plain.near_zero),
             methods::mean(ours.near_zero),
             methods::ratio_at_most(0.6),
             {"fewer weights are near 0",
              methods::least(plain.near_zero) > *std::max_element(ours.near_zero.begin(), ours.near_zero.end())}});
        rows.push_back({"20", "test error, " + numbers + "; 200 digits", methods::mean(plain.error),
                        methods::mean(ours.error), no_worse, methods::every_below(ours.error, 0.15, "the test error")});
    };
    add("a = 0.1 and b = 0.05", train_with<fixed_map>(given, train, test));
    add("a and b learned from there", train_with<learned_map>(given, train, test));
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_compander",
                         .purpose = "Weights as bounded functions of free ones, on handwritten digits.",
                         .seeds = 4,
                         .rows = all_rows});
}
