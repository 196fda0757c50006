// SPDX-License-Identifier: Apache-2.0
// expect: predict takes views of inputs and outputs: espalier::view\(matrix\) of a matrix of Eigen
// nvcc: skip a header of Eigen's, which nvcc takes long for and warns of
// Matrices where views are taken.
#include <espalier/data/eigen_view.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using net = espalier::network<espalier::sequence<espalier::input<3>, espalier::dense<2>>, espalier::device::cpu, float>;
void run(net& model, matrix const& x, matrix& y) {
#ifdef ESPALIER_POSITIVE_TWIN
    model.predict(espalier::view(x), espalier::view(y));
#else
    model.predict(x, y);
#endif
}
