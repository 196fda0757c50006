// SPDX-License-Identifier: Apache-2.0
// The published cells of NASNet-A, where they stand, and the rates of their paths.
#include <espalier/core/clock.hpp>
#include <espalier/layer/nasnet.hpp>

#include <support/catch.hpp>

#include <vector>

using namespace espalier;
using nasnet::cell_table;
using nasnet::operation;
using nasnet::stacking;

static_assert(nasnet::check_cell<nasnet::normal_cell>() && nasnet::check_cell<nasnet::reduction_cell>());

namespace {

std::vector<int> inputs_of(cell_table const& cell) {
    std::vector<int> inputs;
    for (nasnet::combination const& c : cell.of) {
        inputs.push_back(c.first_input);
        inputs.push_back(c.second_input);
    }
    return inputs;
}
std::vector<operation> operations_of(cell_table const& cell) {
    std::vector<operation> operations;
    for (nasnet::combination const& c : cell.of) {
        operations.push_back(c.first);
        operations.push_back(c.second);
    }
    return operations;
}
std::vector<int> output_of(cell_table const& cell) {
    std::vector<int> states;
    for (int s = 0; s < cell_table::states; ++s)
        if (!cell.used[s]) states.push_back(s);
    return states;
}

} // namespace

TEST_CASE("nasnet: the published cells", "[layer][nasnet]") {
    using enum operation;
    cell_table const normal = nasnet::normal_cell, reduction = nasnet::reduction_cell;
    CHECK(operations_of(normal) == std::vector<operation>{separable_5x5, separable_3x3, separable_5x5, separable_3x3,
                                                          average_3x3, identity, average_3x3, average_3x3,
                                                          separable_3x3, identity});
    CHECK(inputs_of(normal) == std::vector<int>{0, 1, 1, 1, 0, 1, 1, 1, 0, 0});
    CHECK(output_of(normal) == std::vector<int>{1, 2, 3, 4, 5, 6});
    CHECK(normal.width(32) == 192);
    CHECK(normal.stride == 1);
    CHECK(operations_of(reduction) == std::vector<operation>{separable_5x5, separable_7x7, max_3x3, separable_7x7,
                                                             average_3x3, separable_5x5, identity, average_3x3,
                                                             separable_3x3, max_3x3});
    CHECK(inputs_of(reduction) == std::vector<int>{0, 1, 0, 1, 0, 1, 3, 2, 2, 0});
    CHECK(output_of(reduction) == std::vector<int>{3, 4, 5, 6});
    CHECK(reduction.width(64) == 256);
    CHECK(reduction.stride == 2);
    CHECK(!nasnet::drops_path(identity));
    CHECK((nasnet::drops_path(average_3x3) && nasnet::drops_path(max_3x3) && nasnet::drops_path(separable_7x7)));
}

TEST_CASE("nasnet: where reductions stand, and how deep a cell is", "[layer][nasnet]") {
    stacking const digits{.cells = 18}, images{.cells = 18, .stems = 2}, mobile{.cells = 12, .stems = 2};
    CHECK((digits.place_of_reduction(0) == 6 && digits.place_of_reduction(1) == 12));
    CHECK((mobile.place_of_reduction(0) == 4 && mobile.place_of_reduction(1) == 8));
    CHECK((digits.count() == 20 && images.count() == 22 && mobile.count() == 16));
    // Every number is that of one cell, and cells follow one another.
    for (stacking const& stack : {digits, images, mobile, stacking{.cells = 7, .reductions = 3, .stems = 1}}) {
        std::vector<int> depths;
        int next = 0;
        for (int n = 0; n < stack.cells; ++n) {
            for (; next < stack.reductions && stack.place_of_reduction(next) == n; ++next)
                depths.push_back(stack.depth_of_reduction(next));
            depths.push_back(stack.depth_of_cell(n));
        }
        std::vector<int> in_order;
        for (int d = stack.stems; d < stack.count(); ++d)
            in_order.push_back(d);
        INFO(stack.cells << " cells");
        CHECK(depths == in_order);
    }
    CHECK((images.depth_of_cell(0) == 2 && images.depth_of_reduction(0) == 8 && images.depth_of_cell(6) == 9));
    CHECK((digits.filters_of_cell(5, 32) == 32 && digits.filters_of_cell(6, 32) == 64 &&
           digits.filters_of_cell(17, 32) == 128));
    CHECK(digits.problem() == nullptr);
    CHECK(stacking{.cells = 0}.problem() != nullptr);
    CHECK(stacking{.cells = 2}.problem() != nullptr);
    CHECK(stacking{.cells = 3}.problem() == nullptr);
    CHECK(stacking{.cells = 5, .reductions = -1}.problem() != nullptr);
    CHECK(stacking{.cells = 5, .stems = -1}.problem() != nullptr);
}

TEST_CASE("nasnet: the published rates at a cell's depth", "[layer][nasnet]") {
    auto const kept = [](stacking const& stack, int depth, double keep, std::uint64_t steps, std::uint64_t step) {
        return 1.0 - stack.rate_at(depth, keep, steps).at(espalier::clock{.step = step});
    };
    stacking const digits{.cells = 18}, images{.cells = 18, .stems = 2};
    CHECK(kept(digits, 0, 0.6, 937500, 0) == 1.0);
    CHECK(kept(digits, 9, 0.6, 937500, 468750) == Approx(0.9).margin(5e-10));
    CHECK(kept(digits, digits.depth_of_cell(17), 0.6, 937500, 937500) == Approx(0.6).margin(5e-10));
    CHECK(kept(digits, digits.depth_of_cell(17), 0.6, 937500, 2000000) == Approx(0.6).margin(5e-10));
    CHECK(kept(images, images.depth_of_cell(3), 0.7, 250000, 100000) == Approx(0.967272727).margin(5e-10));
}
