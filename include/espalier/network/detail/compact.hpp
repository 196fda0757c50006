// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/compact.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/compact.hpp>

#include <espalier/core/text.hpp>
#include <espalier/core/word_bits.hpp>
#include <espalier/network/parameters.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace espalier {

namespace detail {

/// What reaches a layer: which columns are not 0 throughout, and who said so.
struct masked_stream {
    std::vector<index_t> const* kept = nullptr; ///< null: nothing is masked
    std::string masked_by{};
    std::string spoiled_by{}; ///< a layer behind the mask that makes something of a 0
    bool read = false;        ///< a product has read it: no further mask may come
};

/// The walk over the layers of a network with masks, from its first to its last.
class compaction_walk {
public:
    compaction_walk(compaction& out, saved_network const& from, saved_network const& to)
        : out_(out), from_(from), to_(to), seen_(from.tensors->size()) {}

    void run() {
        if (from_.type != to_.type) throw data_error("compact: the networks store weights of different types");
        check_layers();
        masked_stream const end = walk("", masked_stream{});
        finish_columns(end.kept);
        need_zeros(end);
        if (end.kept)
            throw_data_error("compact: the mask of layer ", end.masked_by,
                             " reaches the outputs of the network, of which none can be left out");
        for (std::size_t i = 0; i < seen_.size(); ++i)
            if (!seen_[i]) throw_data_error("compact: does not know what becomes of tensor ", (*from_.tensors)[i].name);
        for (tensor_info const& t : *to_.tensors)
            if (std::none_of(out_.tensors.begin(), out_.tensors.end(),
                             [&](compacted_tensor const& known) { return known.to == &t; }))
                throw_data_error("compact: the smaller network has a tensor ", t.name, " that the other one lacks");
    }

private:
    static std::string policy_on(layer_info const& layer, std::string_view axis) {
        for (policy_info const& policy : layer.policies)
            if (policy.axis == axis) return policy.text();
        return text_of("no ", axis);
    }

    void check_layers() const {
        auto const &large = *from_.layers, &small = *to_.layers;
        if (large.size() != small.size())
            throw_data_error("compact: one network has ", large.size(), " layers and the other one ", small.size());
        for (std::size_t i = 0; i < large.size(); ++i) {
            if (large[i].path != small[i].path || large[i].kind != small[i].kind)
                throw_data_error("compact: layer ", large[i].path, " is ", large[i].kind,
                                 ", and in its place the smaller network has ", small[i].kind, " at ", small[i].path);
            for (std::string_view const axis : {"activation", "weight"})
                if (policy_on(large[i], axis) != policy_on(small[i], axis))
                    throw_data_error("compact: layer ", large[i].path, " has ", policy_on(large[i], axis),
                                     ", and in the smaller network ", policy_on(small[i], axis));
        }
    }

    /// What a product reads, or a sum.
    static void need_zeros(masked_stream const& stream) {
        if (stream.kept && !stream.spoiled_by.empty())
            throw_data_error("compact: layer ", stream.spoiled_by, " stands between the mask of layer ",
                             stream.masked_by,
                             " and what reads it, and makes something of the 0 of a unit that is "
                             "left out; move the mask to the last layer before the product, an elementwise<..., "
                             "units::fixed_mask> say");
    }

    tensor_info const* mask_of(layer_info const& layer) const {
        for (tensor_info const& t : *from_.tensors)
            if (t.units && t.name == layer.path + ".units") return &t;
        return nullptr;
    }
    bool keeps(tensor_info const& mask, index_t c) const {
        std::byte const* const at = from_.state + static_cast<std::size_t>(mask.offset + c) * size_of(from_.type);
        if (from_.type == dtype::f64) {
            double number;
            std::memcpy(&number, at, sizeof number);
            return number != 0.0;
        }
        float number;
        std::memcpy(&number, at, sizeof number);
        return number != 0.0f;
    }
    /// The units that a layer's mask keeps of what comes in; null without a mask, or when all are there.
    std::vector<index_t> const* kept_by(layer_info const& layer, std::vector<index_t> const* before) {
        tensor_info const* const mask = mask_of(layer);
        if (!mask) return before;
        std::vector<index_t>& kept = out_.kept.emplace_back();
        for (index_t c = 0; c < mask->columns; ++c)
            if (keeps(*mask, c) && (!before || std::binary_search(before->begin(), before->end(), c)))
                kept.push_back(c);
        return static_cast<index_t>(kept.size()) == mask->columns ? nullptr : &kept;
    }

    /// A mask that the smaller network does without.
    void need_all(tensor_info const& mask, std::vector<index_t> const* columns) const {
        for (index_t c = 0; c < mask.columns; ++c)
            if ((!columns || std::binary_search(columns->begin(), columns->end(), c)) && !keeps(mask, c))
                throw_data_error("compact: ", mask.name, " leaves out column ", c,
                                 ", which a later mask keeps, and the smaller network has no such mask");
    }

    static bool same(std::vector<index_t> const* a, std::vector<index_t> const* b) {
        return a == b || (a && b && *a == *b);
    }

    /// Whether a layer is the one of that path, or inside it.
    static bool lies_in(layer_info const& layer, std::string_view path) {
        return path.empty() || layer.path == path || (layer.path.starts_with(path) && layer.path[path.size()] == '.');
    }

    /// Layers from the present one on that lie inside `path`. Those with one number a column behind the last product
    /// are left to whoever knows what comes next.
    masked_stream walk(std::string_view path, masked_stream stream) {
        auto const& layers = *from_.layers;
        while (at_ < layers.size() && lies_in(layers[at_], path)) {
            layer_info const& layer = layers[at_++];
            if (layer.kind == "input" || layer.kind.starts_with("tap ")) continue;
            if (layer.kind == "dense") {
                need_zeros(stream);
                stream = product(layer, stream.kept);
            } else if (layer.kind == "batch_norm") {
                columns_.push_back(layer.path);
                stream.spoiled_by = layer.path;
            } else if (layer.kind == "elementwise") {
                columns_.push_back(layer.path);
                masked_by_own(layer, stream);
            } else if (layer.kind == "residual") {
                residual(layer, stream);
            } else if (layer.kind == "parallel add") {
                added(layer, stream);
            } else if (layer.kind.starts_with("slice ") || layer.kind.starts_with("embedding ")) {
                read_by_place(layer, stream);
            } else {
                throw_data_error("compact: layer ", layer.path, " is ", layer.kind,
                                 "; known are input, dense, embedding, batch_norm, elementwise, tap, slice, residual "
                                 "and parallel with merge::add");
            }
        }
        return stream;
    }

    void masked_by_own(layer_info const& layer, masked_stream& stream) {
        bool const masked = mask_of(layer) != nullptr;
        auto const* const kept = kept_by(layer, stream.spoiled_by.empty() ? stream.kept : nullptr);
        if (stream.read && !same(kept, stream.kept))
            throw_data_error("compact: the mask of layer ", layer.path,
                             " comes behind a product that reads the same columns without it");
        stream.kept = kept;
        stream.spoiled_by = masked ? std::string() : layer.path;
        if (masked) stream.masked_by = layer.path;
    }
    masked_stream product(layer_info const& layer, std::vector<index_t> const* rows) {
        finish_columns(rows);
        add(layer.path + ".kernel", rows, nullptr, true);
        columns_.push_back(layer.path);
        masked_stream after;
        after.kept = kept_by(layer, nullptr);
        after.masked_by = layer.path;
        return after;
    }
    void residual(layer_info const& layer, masked_stream& stream) {
        need_zeros(stream);
        stream.read = true;
        finish_columns(stream.kept);
        masked_stream const inner = walk(layer.path, stream);
        finish_columns(inner.kept);
        need_zeros(inner);
        if (!same(inner.kept, stream.kept))
            throw_data_error("compact: the masks of what residual ", layer.path,
                             " adds differ; give the layers whose outputs are added one mask");
    }

    /// Branches on one input whose outputs are added: what a mask behind the sum leaves out goes in each of them.
    void added(layer_info const& layer, masked_stream& stream) {
        need_zeros(stream);
        stream.read = true;
        finish_columns(stream.kept);
        std::vector<std::string> columns;
        masked_stream sum;
        bool first = true;
        auto const& layers = *from_.layers;
        while (at_ < layers.size() && lies_in(layers[at_], layer.path)) {
            std::string const& inner = layers[at_].path; // "2.0.1" in the branch "2.0" of layer 2
            masked_stream const branch = walk(inner.substr(0, inner.find('.', layer.path.size() + 1)), stream);
            need_zeros(branch);
            if (!first && !same(branch.kept, sum.kept))
                throw_data_error("compact: the masks of what the branches of layer ", layer.path,
                                 " add differ; give the layers whose outputs are added one mask");
            bool const read = sum.read || branch.read;
            if (first) sum = branch;
            sum.read = read;
            first = false;
            columns.insert(columns.end(), columns_.begin(), columns_.end());
            columns_.clear();
        }
        columns_ = columns;
        stream = sum;
    }
    /// What takes columns by their places, or their values for places: all of them are there.
    void read_by_place(layer_info const& layer, masked_stream& stream) {
        if (stream.kept)
            throw_data_error("compact: layer ", layer.path, ", ", layer.kind,
                             ", reads columns by their places, and the mask of layer ", stream.masked_by,
                             " would move them");
        finish_columns(nullptr);
        masked_stream after;
        after.read = layer.kind.starts_with("slice "); // others may take the same columns
        columns_.push_back(layer.path);
        stream = after;
    }

    /// Those of the tensors of layers that have one number a column, once it is known which columns stay.
    void finish_columns(std::vector<index_t> const* kept) {
        for (std::string const& path : columns_) {
            for (compacted_tensor& known : out_.tensors)
                if (known.from->name == path + ".kernel" || known.from->name.starts_with(path + ".kernel."))
                    known.columns = kept;
            for (std::string_view const name :
                 {"bias", "units", "scale", "shift", "running_mean", "running_variance", "table"})
                add(text_of(path, ".", name), nullptr, kept, false);
            add(path + ".largest_batch", nullptr, nullptr, false);
        }
        columns_.clear();
    }

    /// A tensor of that name and its companions.
    void add(std::string const& name, std::vector<index_t> const* rows, std::vector<index_t> const* columns,
             bool needed) {
        bool found = false;
        for (std::size_t i = 0; i < seen_.size(); ++i) {
            tensor_info const& t = (*from_.tensors)[i];
            if (seen_[i] || !(t.name == name || (!t.companion.empty() && t.name.starts_with(name + '.')))) continue;
            seen_[i] = found = true;
            if (tensor_info const* const twin = find_tensor(*to_.tensors, t.name))
                out_.tensors.push_back({&t, twin, rows, columns});
            else if (!t.units)
                throw_data_error("compact: the smaller network has no tensor ", t.name);
            else
                need_all(t, columns);
        }
        if (needed && !found)
            throw_data_error("compact: there is no tensor ", name, ": a layer with a weight operator is not known");
    }

    compaction& out_;
    saved_network const& from_;
    saved_network const& to_;
    std::vector<bool> seen_;
    std::size_t at_ = 0;
    std::vector<std::string> columns_; ///< layers with one number a column since the last product
};

ESPALIER_LIBRARY compaction::compaction(saved_network const& from, saved_network const& to) {
    compaction_walk(*this, from, to).run();
    for (compacted_tensor const& one : tensors) {
        tensor_info const &large = *one.from, &small = *one.to;
        index_t const rows = one.rows ? static_cast<index_t>(one.rows->size()) : large.rows;
        index_t const columns = one.columns ? static_cast<index_t>(one.columns->size()) : large.columns;
        if (small.rows != rows || small.columns != columns)
            throw_shape_error("compact: ", rows, " x ", columns, " numbers of ", large.name,
                              " are kept, and the smaller network has room for ", small.rows, " x ", small.columns);
        if ((large.mask_offset >= 0) != (small.mask_offset >= 0))
            throw_data_error("compact: the weights of ", large.name, " have a mask in one of the networks only");
    }
}

ESPALIER_LIBRARY void compaction::run(saved_network const& from, saved_network const& to) const {
    std::size_t const bytes = size_of(from.type);
    for (compacted_tensor const& one : tensors) {
        tensor_info const &large = *one.from, &small = *one.to;
        std::byte const* const source =
            (large.trained ? from.weights : from.state) + static_cast<std::size_t>(large.offset) * bytes;
        std::byte* const target =
            (small.trained ? to.weights : to.state) + static_cast<std::size_t>(small.offset) * bytes;
        for (index_t r = 0; r < small.rows; ++r)
            for (index_t c = 0; c < small.columns; ++c) {
                index_t const i = (one.rows ? (*one.rows)[static_cast<std::size_t>(r)] : r) * large.columns +
                                  (one.columns ? (*one.columns)[static_cast<std::size_t>(c)] : c);
                index_t const j = r * small.columns + c;
                std::memcpy(target + static_cast<std::size_t>(j) * bytes, source + static_cast<std::size_t>(i) * bytes,
                            bytes);
                if (small.mask_offset >= 0)
                    put_bits(to.masks + small.mask_offset, j, mask_bit(from.masks + large.mask_offset, i), 1);
            }
        if (!small.companion.empty())
            (*to.given)[static_cast<std::size_t>(one.to - to.tensors->data())] =
                (*from.given)[static_cast<std::size_t>(one.from - from.tensors->data())];
    }
}

} // namespace detail

} // namespace espalier
