// SPDX-License-Identifier: Apache-2.0
// Reads a mixture's numbers, writes its loss, terms and gradients: what gates.py compares with. In double.
//
// stdin:  rows, then inputs [rows][in], targets [rows][out], and the value of every parameter in declaration order
// stdout: "loss V", "term NAME V" for each further term, "output" and all outputs, "gradient NAME" and all values
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <vector>

using namespace espalier;

namespace {

constexpr int in = 5, out = 3;

template <class Gate, class Dispatch> int run() {
    using stack = sequence<input<in>, moe<Gate, dense<out>, Dispatch>>;
    index_t n = 0;
    std::cin >> n;
    std::vector<double> x(static_cast<std::size_t>(n * in)), y(static_cast<std::size_t>(n * out));
    std::vector<double> targets(static_cast<std::size_t>(n * out));
    for (double& v : x)
        std::cin >> v;
    for (double& v : targets)
        std::cin >> v;
    network<stack, device::cpu, double> net(seed{1}, n);
    for (tensor_info const& t : net.tensors())
        for (index_t i = 0; i < t.size(); ++i)
            std::cin >> net.values().view(t).data[i];
    if (!std::cin) return 1;
    net.refresh();
    training run(net, loss::mean_squared_error{}, optimizer::sgd{});
    rows tags;
    tags.count = n;
    batch_view<double> const batch{contiguous_view<double const>(x.data(), n, in), tags,
                                   contiguous_view<double const>(targets.data(), n, out)};
    run.gradients_of(batch);
    auto const names = run.term_names();
    for (std::size_t i = 0; i < names.size(); ++i)
        std::printf("%s %s %.17g\n", i == 0 ? "loss" : "term", names[i].c_str(), run.terms()[i]);
    for (tensor_info const& t : net.tensors()) {
        std::printf("gradient %s", t.name.c_str());
        for (index_t i = 0; i < t.size(); ++i)
            std::printf(" %.17g", run.gradients().data()[t.offset + i]);
        std::printf("\n");
    }
    net.predict(contiguous_view<double const>(x.data(), n, in), contiguous_view(y.data(), n, out));
    std::printf("output y");
    for (double v : y)
        std::printf(" %.17g", v);
    std::printf("\n");
    return 0;
}

template <class Gate> int either(char const* dispatch_name) {
    return std::strcmp(dispatch_name, "dense") == 0 ? run<Gate, dispatch::dense>() : run<Gate, dispatch::compacted>();
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    std::string const which = argv[1];
    if (which == "comet_2_1") return either<gate::comet<2, 1, 0.3, 0.8>>(argv[2]);
    if (which == "comet_3_2") return either<gate::comet<3, 2, 0.3, 0.8>>(argv[2]);
    if (which == "comet_5_3") return either<gate::comet<5, 3, 0.3, 0.8>>(argv[2]);
    if (which == "comet_8_2") return either<gate::comet<8, 2, 0.3, 0.8>>(argv[2]);
    if (which == "dselect_2_1") return either<gate::dselect_k<2, 1, 0.3, 0.8, 0.2>>(argv[2]);
    if (which == "dselect_5_2") return either<gate::dselect_k<5, 2, 0.3, 0.8, 0.2>>(argv[2]);
    if (which == "dselect_8_3") return either<gate::dselect_k<8, 3, 0.3, 0.8, 0.2>>(argv[2]);
    return 2;
}
