// SPDX-License-Identifier: Apache-2.0
// Channels that are taken out of a network with batch normalisation, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/remove_channels.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/scale_threshold.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/marked.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

// ---- card 48: MaskSparsity

inline constexpr esp::index_t train_rows = 1216, batch = 64, channels = 64;

// The scales that a mask marks are penalised. Nothing marked is the network without a penalty, everything marked the
// one with a penalty everywhere.
using normalised = esp::batch_norm<esp::batch_norm_options{}, esp::on<esp::role::scale, esp::weight::marked>,
                                   esp::on<esp::role::scale, esp::penalty::where_pruned<esp::penalty::l1<1e-2>>>>;
using rectified = esp::elementwise<esp::activation::relu>;
using stack = esp::sequence<esp::input<64>, esp::dense<channels>, normalised, rectified, esp::dense<channels>,
                            normalised, rectified, esp::dense<10>>;
using model = esp::network<stack, esp::device::cpu, float>;

/// Path of a normalisation, and of the dense layer behind its activation.
struct place {
    std::string normalisation, next;
};
std::array<place, 2> const places{place{"2", "4"}, place{"5", "7"}};
using masks = std::array<esp::prune::keep_flags, 2>;

void mark(model& net, masks const& keep) {
    for (std::size_t i = 0; i < places.size(); ++i)
        esp::set_mask(net, places[i].normalisation + ".scale", keep[i]);
}

/// A stage: at the rate 0.05, and at a tenth of it from 60 % of the epochs on.
void train(model& net, esp::data_set const& data, esp::index_t epochs) {
    for (double const rate : {0.05, 0.005})
        esp::fit(
            net, esp::loss::cross_entropy{},
            esp::optimizer::sgd{.learning_rate = rate, .momentum = esp::optimizer::nesterov{0.9}, .weight_decay = 1e-4},
            data, {.epochs = rate == 0.05 ? epochs * 6 / 10 : epochs * 4 / 10, .batch = batch, .progress = false});
}

double accuracy(model& net, esp::data_set const& data) {
    esp::training run{
        net, esp::loss::cross_entropy{},
        esp::optimizer::sgd{.learning_rate = 0.05, .momentum = esp::optimizer::nesterov{0.9}, .weight_decay = 1e-4}};
    return methods::evaluate(run, data).accuracy;
}

/// Mean |scale| of the channels that the masks keep.
double kept_scale(model& net, masks const& keep) {
    double sum = 0.0, count = 0.0;
    for (std::size_t i = 0; i < places.size(); ++i) {
        auto const scale = methods::tensor(net, places[i].normalisation + ".scale");
        for (std::size_t c = 0; c < scale.size(); ++c)
            if (keep[i][c]) {
                sum += std::fabs(static_cast<double>(scale[c]));
                count += 1.0;
            }
    }
    return sum / count;
}

/// What is measured of one way of training: for each seed.
struct outcome {
    std::vector<double> lost;   ///< accuracy, by taking out the channels, scale and shift
    std::vector<double> folded; ///< the same, with what their shifts give folded into the layer behind
    std::vector<double> scale;  ///< mean of those that stay
    std::vector<double> left;   ///< accuracy of the smaller network
};

void prune_and_measure(outcome& out, model& net, masks const& keep, esp::data_set const& test) {
    double const before = accuracy(net, test);
    out.scale.push_back(kept_scale(net, keep));
    model folded = net;
    for (std::size_t i = 0; i < places.size(); ++i) {
        esp::remove_channels(net, places[i].normalisation, keep[i]);
        esp::remove_channels<esp::activation::relu>(folded, places[i].normalisation, places[i].next, keep[i]);
    }
    out.left.push_back(accuracy(net, test));
    out.lost.push_back(before - out.left.back());
    out.folded.push_back(before - accuracy(folded, test));
}

std::vector<row> all_rows(options const& given) {
    auto const [train_set, test_set] = methods::read_digits(given, train_rows);
    masks const all{esp::prune::keep_flags(channels, 0), esp::prune::keep_flags(channels, 0)};
    outcome everywhere, masked;
    for (int s = 1; s <= given.seeds; ++s) {
        model net{esp::seed{static_cast<std::uint64_t>(s)}, train_rows};
        train(net, train_set, 40);
        model again = net; // the second stage begins with the network that was trained without a penalty
        mark(net, all);
        train(net, train_set, 40);
        masks keep;
        for (std::size_t i = 0; i < places.size(); ++i)
            keep[i] = esp::prune::keep_largest(net.tensor(places[i].normalisation + ".scale"),
                                               esp::prune::kept_count(channels, 0.7));
        train(net, train_set, 80);
        mark(again, keep);
        train(again, train_set, 80);
        prune_and_measure(everywhere, net, keep, test_set);
        prune_and_measure(masked, again, keep, test_set);
    }
    std::string const lost = "test accuracy that is lost with 70 % of the channels, ";
    std::string const instead = "penalty on the scales that go instead of on all; digits";
    double const lost_everywhere = methods::mean(everywhere.lost), lost_masked = methods::mean(masked.lost);
    methods::condition const good = methods::every_above(masked.left, 0.9, "test accuracy of the smaller network");
    methods::line const apart{"ours <= 0.015, baseline >= 0.1",
                              [](double baseline, double ours) { return ours <= 0.015 && baseline >= 0.1; }};
    return {{"48", lost + instead, lost_everywhere, lost_masked, apart, good},
            {"48", "mean of the scales that stay, " + instead, methods::mean(everywhere.scale),
             methods::mean(masked.scale), methods::ratio_at_least(3.0), good},
            {"48", lost + "what their shifts give folded into the next bias instead of dropped; digits", lost_masked,
             methods::mean(masked.folded), methods::no_line(), good}};
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_channels",
                         .purpose = "Channels taken out of a network, on handwritten digits.",
                         .seeds = 5,
                         .rows = all_rows});
}
