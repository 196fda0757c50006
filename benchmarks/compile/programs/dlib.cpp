// SPDX-License-Identifier: Apache-2.0
// Measured as it is compiled (benchmarks/compile): the training program in dlib, a header library of networks as types.
#include <dlib/dnn.h>

#include <cstdio>
#include <fstream>
#include <vector>

using namespace dlib;

using net = loss_multiclass_log<fc<10, relu<fc<64, dropout<relu<fc<64, input<matrix<float>>>>>>>>>;

int main() {
    std::vector<matrix<float>> rows;
    std::vector<unsigned long> labels;
    std::ifstream file("digits.csv");
    matrix<float> row(64, 1);
    for (char comma = 0; file >> row(0);) {
        for (long c = 1; c < 64; ++c)
            file >> comma >> row(c);
        unsigned long label = 0;
        file >> comma >> label;
        rows.push_back(row);
        labels.push_back(label);
    }
    net model;
    dnn_trainer<net, adam> trainer(model, adam(1e-4f, 0.9f, 0.999f));
    trainer.set_learning_rate(1e-3);
    trainer.set_mini_batch_size(64);
    trainer.set_max_num_epochs(5);
    trainer.be_verbose();
    trainer.train(rows, labels);
    std::vector<unsigned long> const found = model(rows);
    unsigned long right = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
        right += found[i] == labels[i];
    std::printf("accuracy %.4f\n", double(right) / double(found.size()));
    serialize("digits.dat") << model;
}
