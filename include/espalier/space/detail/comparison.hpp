// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of space/comparison.hpp; see core/library.hpp.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/printable.hpp>
#include <espalier/space/comparison.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <utility>

namespace espalier {

namespace detail {

/// The numbers of a line by name, in the order of tables and files.
struct compared_column {
    char const* name;
    double compared_stack::*value;
};
inline constexpr std::array<compared_column, 8> compared_columns{
    {{"operations", &compared_stack::operations},
     {"bytes", &compared_stack::bytes},
     {"memory", &compared_stack::memory},
     {"step_seconds", &compared_stack::step_seconds},
     {"floor_seconds", &compared_stack::floor_seconds},
     {"loss", &compared_stack::loss},
     {"validation_loss", &compared_stack::validation_loss},
     {"validation_accuracy", &compared_stack::validation_accuracy}}};

ESPALIER_LIBRARY std::string comparison_settings(compare_options const& options, data_view const& data,
                                                 compared_types const& types, double learning_rate) {
    std::string text =
        text_of(data.count(), " rows of ", data.width(), " features, validation ", options.fit.validation.count(),
                ", batch ", options.fit.batch, ", epochs ", options.fit.epochs, ", ", short_type(types.loss), ", ",
                short_type(types.optimizer), " from ", learning_rate, ", ", short_type(types.numbers), " on ",
                short_type(types.device), ", seeds");
    for (seed const s : options.seeds)
        text += text_of(" ", s.value);
    if (options.fit.patience > 0) text += text_of(", patience ", options.fit.patience);
    if (!options.fit.shuffle) text += ", rows in order";
    for (named_value const& v : options.fit.values)
        text += text_of(", ", v.name.str(), " ", v.value);
    // JSON takes UTF-8 alone
    return options.settings.empty() ? text : text + ", " + printable(options.settings, options.settings.size());
}

ESPALIER_LIBRARY void check_compare_options(compare_options const& options) {
    auto const refuse = [](char const* what) {
        throw data_error(text_of("compare: ", what,
                                 " of a run cannot be given: every stack is trained from its seed, and "
                                 "results are kept in compare_options::file"));
    };
    if (!options.fit.checkpoints.empty()) refuse("checkpoints");
    if (options.fit.resume) refuse("resume");
    if (options.fit.start_over) refuse("start_over");
    if (options.fit.on_step) refuse("on_step");
    if (!options.fit.followers.empty()) refuse("followers");
    if (options.seeds.empty()) throw data_error("compare: there is no seed; give at least one");
}

ESPALIER_LIBRARY void finish_run(compared_run& run, history const& record) {
    auto const last = [&](char const* column) {
        return record.rows() > 0 && record.has(column) ? record.last(column) : not_a_number<double>;
    };
    run.loss = last("loss");
    run.validation_loss = last("validation_loss");
    run.validation_accuracy = last("validation_accuracy");
}

inline nlohmann::ordered_json json_of(compared_stack const& stack) {
    nlohmann::ordered_json row{{"family", "space"}, {"case", stack.which.text()}};
    for (combination::choice const& c : stack.which.choices)
        row["choices"][c.axis] = c.label;
    row["stack"] = stack.type;
    row["parameters"] = stack.parameters;
    for (compared_column const& column : compared_columns)
        row[column.name] = stack.*column.value; // what is not finite becomes null
    row["ns"] = 1e9 * stack.step_seconds;
    row["floor_ns"] = 1e9 * stack.floor_seconds;
    for (char const* const none : {"hand_ns", "peer", "peer_ns"}) // columns of the benchmarks
        row[none] = nullptr;
    return row;
}

inline comparison read_comparison(file_path const& path) {
    std::string const text = read_text_file(path);
    auto const refuse = [&](std::string const& why) {
        throw file_error(path.string() + ": this is no comparison: " + why);
    };
    comparison out;
    try {
        auto const told = nlohmann::ordered_json::parse(text);
        for (auto const& [axis, labels] : told.at("axes").items())
            out.axes.push_back({axis, labels.get<std::vector<std::string>>()});
        out.settings = told.at("settings").get<std::string>();
        for (auto const& row : told.at("rows")) {
            compared_stack& stack = out.stacks.emplace_back();
            for (auto const& [axis, label] : row.at("choices").items())
                stack.which.choices.push_back({axis, label.get<std::string>()});
            stack.type = row.at("stack").get<std::string>();
            stack.parameters = row.at("parameters").get<index_t>();
            for (compared_column const& column : compared_columns)
                stack.*column.value =
                    row.at(column.name).is_null() ? not_a_number<double> : row.at(column.name).get<double>();
        }
    } catch (nlohmann::json::exception const& problem) {
        refuse(problem.what());
    }
    return out;
}

inline bool same_axes(std::vector<axis_labels> const& a, std::vector<axis_labels> const& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](axis_labels const& x, axis_labels const& y) {
        return x.name == y.name && x.options == y.options;
    });
}

ESPALIER_LIBRARY comparison_log::comparison_log(std::vector<axis_labels> axes, compare_options const& options,
                                                std::string settings)
    : options_(&options) {
    result_.axes = std::move(axes);
    result_.settings = std::move(settings);
    if (options.file.empty() || !std::filesystem::exists(options.file.string())) return;
    earlier_ = read_comparison(options.file);
    if (!same_axes(earlier_.axes, result_.axes))
        throw data_error(options.file.string() + ": its comparison has other axes or options; name another file");
    if (earlier_.settings != result_.settings)
        throw data_error(options.file.string() + ": its comparison was made with other settings, \"" +
                         earlier_.settings + "\" and not \"" + result_.settings + "\"; name another file");
}

ESPALIER_LIBRARY bool comparison_log::has(combination const& which, std::string_view type) {
    for (compared_stack const& stack : earlier_.stacks) {
        if (stack.which.text() != which.text()) continue;
        if (std::string const own = short_type(type); stack.type != own)
            throw data_error(options_->file.string() + ": its result for " + which.text() +
                             " is that of another stack, " + printable(stack.type) + " and not " + own +
                             "; name another file");
        result_.stacks.push_back(stack);
        result_.stacks.back().which = which;
        tell();
        return true;
    }
    return false;
}

ESPALIER_LIBRARY void comparison_log::add(combination const& which, compared_sizes const& sizes,
                                          std::vector<compared_run> runs) {
    compared_stack stack;
    stack.which = which;
    stack.type = short_type(sizes.type);
    network_summary const& s = sizes.summary;
    auto const batch = static_cast<double>(options_->fit.batch);
    double const weights = static_cast<double>(s.gradient_bytes),
                 moments = weights * static_cast<double>(sizes.moments),
                 tape = static_cast<double>(s.tape_bytes_per_row) * batch + static_cast<double>(s.tape_bytes_fixed);
    stack.parameters = s.parameters;
    stack.operations = 3.0 * s.flops * batch;
    stack.bytes = 4.0 * weights + 2.0 * weights + 2.0 * moments + 2.0 * tape;
    stack.memory = static_cast<double>(s.parameter_bytes) + weights + moments + tape +
                   static_cast<double>(s.work_bytes_per_row) * batch;
    machine_roof const& roof = options_->roof;
    if (roof.bytes_per_second > 0.0) stack.floor_seconds = stack.bytes / roof.bytes_per_second;
    if (roof.operations_per_second > 0.0)
        stack.floor_seconds = std::max(stack.floor_seconds, stack.operations / roof.operations_per_second);
    std::vector<double> steps;
    auto const count = static_cast<double>(runs.size());
    for (compared_run const& run : runs) {
        stack.loss += run.loss / count;
        stack.validation_loss += run.validation_loss / count;
        stack.validation_accuracy += run.validation_accuracy / count;
        steps.insert(steps.end(), run.steps.begin(), run.steps.end());
    }
    stack.step_seconds = not_a_number<double>;
    if (!steps.empty()) {
        auto const middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
        std::nth_element(steps.begin(), middle, steps.end());
        stack.step_seconds = *middle;
    }
    result_.stacks.push_back(std::move(stack));
    write();
    tell(); // may throw: the result is in the file by now
}

ESPALIER_LIBRARY void comparison_log::write() const {
    if (options_->file.empty()) return;
    // What an earlier call found and this one has not come to yet stays in the file.
    comparison all = result_;
    for (compared_stack const& old : earlier_.stacks)
        if (std::none_of(all.stacks.begin(), all.stacks.end(),
                         [&](compared_stack const& own) { return own.which.text() == old.which.text(); }))
            all.stacks.push_back(old);
    write_text_file(options_->file, all.to_json());
}

ESPALIER_LIBRARY void comparison_log::tell() const {
    if (options_->on_result) options_->on_result(result_.stacks.back());
}

ESPALIER_LIBRARY comparison comparison_log::finish() {
    return std::move(result_);
}

template <class... Numbers> std::string formatted(char const* format, Numbers... numbers) {
    char text[64];
    std::snprintf(text, sizeof text, format, numbers...);
    return text;
}

/// 1234567 -> "1.23 M"
inline std::string with_prefix(double value) {
    for (auto const& [size, letter] :
         {std::pair{1e12, 'T'}, std::pair{1e9, 'G'}, std::pair{1e6, 'M'}, std::pair{1e3, 'k'}})
        if (value >= 0.9995 * size) return formatted("%.3g %c", value / size, letter);
    return formatted("%.3g", value);
}

/// Nothing where there is no number.
inline std::string fixed(double value, int digits) {
    return std::isfinite(value) ? formatted("%.*f", digits, value) : std::string("-");
}

} // namespace detail

ESPALIER_LIBRARY std::string comparison::text() const {
    std::vector<std::vector<std::string>> table(1);
    std::vector<std::size_t> shown; // axes of one option say nothing
    for (std::size_t a = 0; a < axes.size(); ++a)
        if (axes[a].options.size() > 1) {
            shown.push_back(a);
            table[0].push_back(axes[a].name);
        }
    struct column {
        char const* head;
        std::string (*cell)(compared_stack const&);
    };
    using detail::fixed, detail::with_prefix;
    static constexpr column columns[] = {
        {"parameters", [](compared_stack const& s) { return std::to_string(s.parameters); }},
        {"accuracy", [](compared_stack const& s) { return fixed(s.validation_accuracy, 4); }},
        {"validation loss", [](compared_stack const& s) { return fixed(s.validation_loss, 5); }},
        {"loss", [](compared_stack const& s) { return fixed(s.loss, 5); }},
        {"step us", [](compared_stack const& s) { return fixed(1e6 * s.step_seconds, 1); }},
        {"floor us",
         [](compared_stack const& s) { return s.floor_seconds > 0.0 ? fixed(1e6 * s.floor_seconds, 1) : "-"; }},
        {"operations", [](compared_stack const& s) { return with_prefix(s.operations); }},
        {"bytes", [](compared_stack const& s) { return with_prefix(s.bytes); }},
        {"memory", [](compared_stack const& s) { return with_prefix(s.memory); }},
    };
    table.resize(1 + stacks.size());
    for (std::size_t i = 0; i < stacks.size(); ++i)
        for (std::size_t const a : shown)
            table[1 + i].push_back(stacks[i].which.choices[a].label);
    for (column const& c : columns) {
        // A column without a number, such as the floor of a machine that nobody measured, is left out.
        if (std::all_of(stacks.begin(), stacks.end(), [&](compared_stack const& s) { return c.cell(s) == "-"; }))
            continue;
        table[0].push_back(c.head);
        for (std::size_t i = 0; i < stacks.size(); ++i)
            table[1 + i].push_back(c.cell(stacks[i]));
    }
    std::string out;
    for (std::string const& line : detail::aligned_lines(table, shown.size(), table[0].size()))
        out += line + '\n';
    return out;
}

ESPALIER_LIBRARY std::string comparison::to_csv() const {
    std::string out;
    for (axis_labels const& axis : axes)
        out += axis.name + ',';
    out += "parameters";
    for (detail::compared_column const& column : detail::compared_columns)
        out += std::string(",") + column.name;
    out += '\n';
    for (compared_stack const& s : stacks) {
        for (combination::choice const& c : s.which.choices) {
            std::string label = c.label; // readers of charts take no quotes
            std::replace(label.begin(), label.end(), ',', ';');
            out += label + ',';
        }
        out += std::to_string(s.parameters);
        for (detail::compared_column const& column : detail::compared_columns)
            out += detail::formatted(",%.17g", s.*column.value);
        out += '\n';
    }
    return out;
}

ESPALIER_LIBRARY std::string comparison::to_json() const {
    nlohmann::ordered_json out;
    out["settings"] = settings;
    out["axes"] = nlohmann::ordered_json::object();
    for (axis_labels const& axis : axes)
        out["axes"][axis.name] = axis.options;
    out["rows"] = nlohmann::ordered_json::array();
    for (compared_stack const& s : stacks)
        out["rows"].push_back(detail::json_of(s));
    return out.dump(1) + '\n';
}

} // namespace espalier
