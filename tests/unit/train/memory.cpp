// SPDX-License-Identifier: Apache-2.0
// Data as it lies in a program: records, columns, matrices of Eigen, float and double. Whatever the order and the type
// in memory, a network sees the same numbers, so its weights afterwards are the same to the bit.
#include <espalier/activation/tanh.hpp>
#include <espalier/data/eigen_view.hpp>
#include <espalier/data/member_view.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <vector>

using namespace espalier;

namespace {

constexpr index_t count = 21, width = 3, outputs = 2, batch_rows = 8;
using stack = sequence<input<width>, dense<5, activation::tanh>, dense<outputs>>;
template <class T> using net_of = network<stack, device::cpu, T>;

/// Numbers that no float holds.
double feature(index_t r, index_t c) {
    return std::sin(1.0 + static_cast<double>(3 * r + c)) / 3.0;
}
double target(index_t r, index_t c) {
    return std::cos(static_cast<double>(2 * r + c)) / 7.0;
}

template <class T> data_set_of<T> table() {
    data_set_of<T> data;
    data.count = count;
    data.width = width;
    data.target_width = outputs;
    for (index_t r = 0; r < count; ++r) {
        for (index_t c = 0; c < width; ++c)
            data.features.push_back(static_cast<T>(feature(r, c)));
        for (index_t c = 0; c < outputs; ++c)
            data.targets.push_back(static_cast<T>(target(r, c)));
    }
    return data;
}

template <class Net> std::vector<typename Net::wide> weights_of(Net const& net) {
    auto const all = net.values().weights();
    return {all.data(), all.data() + all.size()};
}

template <class T> std::vector<T> fitted(data_view const& data) {
    net_of<T> net{seed{4}, batch_rows};
    fit(net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}, data,
        {.epochs = 2, .batch = batch_rows, .progress = false});
    return weights_of(net);
}

template <class T> std::vector<T> fitted_in_own_loop(matrix_view<T const> x, matrix_view<T const> y) {
    net_of<T> net{seed{4}, count};
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}};
    rows tags;
    tags.count = count;
    for (int step = 0; step < 3; ++step)
        run.step({x, tags, y});
    return weights_of(net);
}

} // namespace

TEST_CASE("memory: a network in double takes data and targets of double, unrounded", "[train][data]") {
    auto const exact = table<double>();
    data_set rounded = table<float>();
    // One step over all rows is the same in the program's own loop and in fit.
    net_of<double> by_fit{seed{4}, count}, by_step{seed{4}, count};
    optimizer::sgd const how{.learning_rate = 0.1};
    fit(by_fit, loss::mean_squared_error{}, how, exact,
        {.epochs = 1, .batch = count, .shuffle = false, .progress = false});
    training run{by_step, loss::mean_squared_error{}, how};
    rows tags;
    tags.count = count;
    run.step({contiguous_view(exact.features.data(), count, width), tags,
              contiguous_view(exact.targets.data(), count, outputs)});
    CHECK(weights_of(by_fit) == weights_of(by_step));

    CHECK(fitted<double>(exact) != fitted<double>(rounded));
    data_set_of<double> only_targets = exact;
    only_targets.targets.assign(rounded.targets.begin(), rounded.targets.end());
    CHECK(fitted<double>(exact) != fitted<double>(only_targets));
    // Float becomes double as it is, and double the nearest float.
    data_set_of<double> widened = exact;
    widened.features.assign(rounded.features.begin(), rounded.features.end());
    widened.targets.assign(rounded.targets.begin(), rounded.targets.end());
    CHECK(fitted<double>(rounded) == fitted<double>(widened));
    CHECK(fitted<float>(exact) == fitted<float>(rounded));

    std::vector<double> const y = predict(by_fit, exact);
    std::vector<double> direct(static_cast<std::size_t>(count * outputs));
    by_fit.predict(exact.view().features, contiguous_view(direct.data(), count, outputs));
    CHECK(y == direct);
    auto const loss = evaluate(by_fit, loss::mean_squared_error{}, exact).loss;
    double expected = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i)
        expected += (y[i] - exact.targets[i]) * (y[i] - exact.targets[i]);
    CHECK(loss == Approx(expected / static_cast<double>(count * outputs)).epsilon(1e-14));
    CHECK_THROWS_AS(by_fit.predict(rounded.view().features, contiguous_view(direct.data(), count, outputs)),
                    data_error);
}

TEST_CASE("memory: records, columns and matrices of Eigen train as arrays do", "[train][data]") {
    struct record {
        std::int32_t street;
        float rooms[width];
        char grade;
        std::array<float, outputs> prices;
        double area[width];
    };
    auto const plain = table<float>();
    std::vector<record> records(static_cast<std::size_t>(count));
    for (index_t r = 0; r < count; ++r) {
        auto const& from = plain.view();
        record& to = records[static_cast<std::size_t>(r)];
        for (index_t c = 0; c < width; ++c) {
            to.rooms[c] = static_cast<float>(from.features(r, c));
            to.area[c] = feature(r, c);
        }
        for (index_t c = 0; c < outputs; ++c)
            to.prices[static_cast<std::size_t>(c)] = static_cast<float>(from.targets(r, c));
    }
    record const* const first = records.data();
    auto const x = member_view(first, count, &record::rooms);
    auto const y = member_view(first, count, &record::prices);
    data_view lying{x};
    lying.targets = y;
    CHECK(fitted<float>(lying) == fitted<float>(plain));
    data_view mixed{member_view(first, count, &record::area)};
    mixed.targets = y;
    data_set_of<double> exact = table<double>();
    exact.targets.assign(plain.targets.begin(), plain.targets.end());
    CHECK(fitted<double>(mixed) == fitted<double>(exact));
    auto const plain_x = contiguous_view(plain.features.data(), count, width);
    auto const plain_y = contiguous_view(plain.targets.data(), count, outputs);
    CHECK(fitted_in_own_loop<float>(x, y) == fitted_in_own_loop<float>(plain_x, plain_y));

    using by_rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Eigen::MatrixXf columns = Eigen::Map<by_rows const>(plain.features.data(), count, width);
    Eigen::MatrixXd goals = Eigen::Map<by_rows const>(plain.targets.data(), count, outputs).cast<double>();
    data_view of_columns{numbers(columns)};
    of_columns.targets = numbers(goals);
    CHECK(of_columns.features.column_stride == count);
    CHECK(fitted<float>(of_columns) == fitted<float>(plain));

    // In the middle of a wider matrix, as inputs and as outputs.
    by_rows wide = by_rows::Constant(count, 8, -5.0f);
    wide.middleCols(2, width) = columns;
    CHECK(fitted_in_own_loop<float>(view(wide.middleCols(2, width)), plain_y) ==
          fitted_in_own_loop<float>(plain_x, plain_y));
    net_of<float> net{seed{4}, batch_rows};
    by_rows result = by_rows::Constant(count, 4, -5.0f);
    net.predict(view(wide.middleCols(2, width)), view(result.middleCols(1, outputs)));
    std::vector<float> const expected = predict(net, plain);
    for (index_t r = 0; r < count; ++r) {
        CHECK(result(r, 0) == -5.0f);
        CHECK(result(r, 3) == -5.0f);
        for (index_t c = 0; c < outputs; ++c)
            CHECK(result(r, 1 + c) == expected[static_cast<std::size_t>(r * outputs + c)]);
    }
    std::vector<float> from_records(static_cast<std::size_t>(count * outputs));
    net.predict(x, contiguous_view(from_records.data(), count, outputs));
    CHECK(from_records == expected);
}

TEST_CASE("memory: what a network reads and writes may be Eigen's", "[train][data]") {
    using by_rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    auto const plain = table<double>();
    by_rows const x = Eigen::Map<by_rows const>(plain.features.data(), count, width);
    by_rows const y = Eigen::Map<by_rows const>(plain.targets.data(), count, outputs);
    Eigen::MatrixXd const columns = x, goals = y;
    net_of<double> net{seed{4}, batch_rows};
    std::vector<double> const expected = predict(net, plain);
    CHECK(predict(net, data_view{numbers(columns)}) == expected);
    data_view data{numbers(columns)};
    data.targets = numbers(goals);
    loss::mean_squared_error const loss;
    CHECK(evaluate(net, loss, data).loss == evaluate(net, loss, plain).loss);

    // Outputs into a map with gaps, of one row into a vector, of no rows into nothing.
    std::vector<double> memory(static_cast<std::size_t>(count * (outputs + 1)), -5.0);
    Eigen::Map<by_rows, 0, Eigen::OuterStride<>> out(memory.data(), count, outputs, Eigen::OuterStride<>(outputs + 1));
    net.predict(view(x), view(out));
    by_rows const wanted = Eigen::Map<by_rows const>(expected.data(), count, outputs);
    CHECK(out == wanted);
    for (index_t r = 0; r < count; ++r)
        CHECK(memory[static_cast<std::size_t>(r * (outputs + 1) + outputs)] == -5.0);
    Eigen::RowVectorXd one(outputs);
    net.predict(view(x.row(3)), view(one));
    CHECK(one == wanted.row(3));
    by_rows nothing(0, outputs);
    CHECK_NOTHROW(net.predict(view(x.topRows(0)), view(nothing)));
    CHECK_THROWS_AS(net.predict(view(x.leftCols(2)), view(out)), shape_error);
    CHECK_THROWS_AS(net.predict(view(x), view(one)), shape_error);

    // The gradient of the inputs, into the middle of a wider matrix.
    training run{net, loss, optimizer::sgd{}};
    rows tags;
    tags.count = batch_rows;
    batch_view<double> const batch{view(x.topRows(batch_rows)), tags, view(y.topRows(batch_rows))};
    by_rows dx(batch_rows, width), wide = by_rows::Constant(batch_rows, 7, -5.0);
    double const value = run.input_gradients_of(batch, view(dx));
    CHECK(run.input_gradients_of(batch, view(wide.middleCols(2, width))) == value);
    CHECK(wide.middleCols(2, width) == dx);
    CHECK(dx.norm() > 0.0);
    CHECK((wide.leftCols(2).array() == -5.0).all());
    CHECK((wide.rightCols(2).array() == -5.0).all());
}

TEST_CASE("memory: what does not lie as a view says is refused with the way out", "[data]") {
    using by_rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using any_stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
    std::vector<float> memory(60);
    for (std::size_t i = 0; i < memory.size(); ++i)
        memory[i] = static_cast<float>(i);
    auto const map = [&](index_t outer, index_t inner) {
        return Eigen::Map<by_rows const, 0, any_stride>(memory.data(), 4, 3, any_stride(outer, inner));
    };
    auto const message = [&](index_t outer, index_t inner) {
        return message_of<shape_error>([&] { view(map(outer, inner)); });
    };
    CHECK(message(5, 1) == "no exception");
    CHECK(view(map(5, 1))(2, 1) == 11.0f);
    CHECK(message(10, 2) ==
          "view: the elements of a row of this Eigen matrix lie 2 apart; adjacent ones are needed: copy "
          "it, or use espalier::numbers for data");
    CHECK(message(2, 1) ==
          "view: the rows of this Eigen matrix have 3 elements and lie 2 apart; rows must not overlap");
    number_view const apart = numbers(map(10, 2));
    CHECK(apart(2, 1) == 22.0);
    CHECK(apart.middle_rows(1, 2)(1, 1) == 22.0);
    check(data_view{apart});
    CHECK(message_of<data_error>([&] { static_cast<void>(static_cast<matrix_view<float const>>(apart)); }) ==
          "numbers of float that lie 2 apart in a row were given where rows of adjacent "
          "numbers of float are read as they lie; copy them into such an array");
    CHECK_THROWS_AS(check(data_view{numbers(map(5, 3))}), data_error);
    CHECK_THROWS_AS(check(data_view{number_view{memory.data(), 4, 3, 1, 3}}), data_error);
    check(data_view{number_view{memory.data(), 4, 3, 1, 4}});

    // Vectors: one column or one row.
    Eigen::VectorXf column = Eigen::VectorXf::LinSpaced(6, 0.0f, 5.0f);
    CHECK(view(column).rows == 6);
    CHECK(view(column)(4, 0) == 4.0f);
    Eigen::Map<Eigen::VectorXf const, 0, Eigen::InnerStride<>> const every_third(memory.data(), 5,
                                                                                 Eigen::InnerStride<>(3));
    CHECK(view(every_third)(4, 0) == 12.0f);
    Eigen::RowVectorXf const row = column.transpose();
    CHECK(view(row).columns == 6);
    Eigen::MatrixXf const by_columns = Eigen::MatrixXf::Random(3, 4);
    CHECK(view(by_columns.transpose())(3, 2) == by_columns(2, 3));
    Eigen::Ref<by_rows const> const reference(map(5, 1));
    CHECK(view(reference)(1, 2) == 7.0f);
}

TEST_CASE("memory: labels, keys and groups of records", "[data]") {
    struct record {
        float x[2];
        std::int32_t kind;
        std::int32_t household;
        std::uint64_t user;
    };
    std::vector<record> records;
    for (int r = 0; r < 5; ++r)
        records.push_back({{static_cast<float>(r), 0.5f}, r % 3, r / 2, static_cast<std::uint64_t>(100 + r)});
    data_view rows{member_view(records.data(), 5, &record::x)};
    rows.labels = member_view(records.data(), 5, &record::kind);
    rows.groups = member_view(records.data(), 5, &record::household);
    rows.keys = member_view(records.data(), 5, &record::user);
    check(rows, "records", 3);
    CHECK(class_count(rows) == 3);
    auto const [first, rest] = split(rows, 2);
    CHECK(first.count() == 2);
    for (index_t i = 0; i < 3; ++i) {
        auto const r = static_cast<std::size_t>(2 + i);
        CHECK(rest.features(i, 0) == static_cast<double>(records[r].x[0]));
        CHECK(rest.labels[i] == records[r].kind);
        CHECK(rest.groups[i] == records[r].household);
        CHECK(rest.keys[i] == records[r].user);
    }
    records[3].kind = 3;
    CHECK_THROWS_AS(check(rows, "records", 3), data_error);
    CHECK(member_view(static_cast<record const*>(nullptr), 0, &record::kind).size == 0);
}
