// SPDX-License-Identifier: Apache-2.0
// host only. A rectangle of another image of the batch is pasted into each image, and the labels follow its area.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/schedule/concept.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace espalier::batch {

/// Rows [y1, y2) and columns [x1, x2) of an image, and the share of the image outside them.
struct cutmix_box {
    index_t y1 = 0;
    index_t x1 = 0;
    index_t y2 = 0;
    index_t x2 = 0;
    double share = 1.0;

    friend bool operator==(cutmix_box const&, cutmix_box const&) = default;
};

/// The box of a drawn share (in [0, 1]) around a centre: sides 2 (int(H sqrt(1 - share)) / 2), always even, cut at the
/// border. Its own share is that of the area that was really left.
inline cutmix_box make_cutmix_box(index_t height, index_t width, double share, index_t centre_y, index_t centre_x) {
    double const side = std::sqrt(1.0 - share);
    index_t const half_y = floor_of_product(side, height) / 2;
    index_t const half_x = floor_of_product(side, width) / 2;
    cutmix_box box;
    box.y1 = std::clamp<index_t>(centre_y - half_y, 0, height);
    box.y2 = std::clamp<index_t>(centre_y + half_y, 0, height);
    box.x1 = std::clamp<index_t>(centre_x - half_x, 0, width);
    box.x2 = std::clamp<index_t>(centre_x + half_x, 0, width);
    box.share = 1.0 - static_cast<double>((box.y2 - box.y1) * (box.x2 - box.x1)) / static_cast<double>(height * width);
    return box;
}

/// to = a, inside the box b; rows of `image` extents, channels outermost.
template <class T> void paste(T const* a, T const* b, T* to, shape const& image, cutmix_box const& box) {
    std::memcpy(to, a, static_cast<std::size_t>(image.size()) * sizeof(T));
    if (box.x2 <= box.x1) return;
    for (index_t c = 0; c < image.features; ++c)
        for (index_t y = box.y1; y < box.y2; ++y) {
            index_t const at = (c * image.height + y) * image.width + box.x1;
            std::memcpy(to + at, b + at, static_cast<std::size_t>(box.x2 - box.x1) * sizeof(T));
        }
}

/// CutMix (Yun et al. 2019, algorithm of the appendix, in the form of the authors' code). With the probability
/// `probability` a batch is mixed: a share l0 ~ Beta(alpha, alpha), a permutation of the rows and a centre uniform over
/// the pixels give one box for the whole batch; inside it each image has the pixels of its partner. The tags
/// partner_label and mixing say so to the loss, mixing = 1 - (area of the box) / (H W), and dense targets become
/// mixing t + (1 - mixing) t_partner. A batch of one row stays as it is. `cutmix<mixed_per::row>` draws share and
/// centre for every row (the decision and the permutation stay those of the batch). `probability` may be a schedule, 0
/// for the last epochs, say. Rows are images: `input<Channels, Height, Width>` begins the stack.
///
///     fit(model, loss::cross_entropy{}, optimizer::adamw{}, data, options, batch::cutmix{.alpha = 1.0});
///
/// Throws data_error for an alpha that is not above 0, a probability outside [0, 1] and rows without a grid, before
/// anything is changed.
template <mixed_per Per = mixed_per::batch, schedule::number_or_schedule Probability = double> struct cutmix {
    double alpha = 1.0;
    Probability probability = 0.5;

    static constexpr std::string_view name = "cutmix";
    static constexpr bool mixes_rows = true;
    static constexpr bool mixes = true;

    void validate() const {
        detail::check_alpha(alpha, name);
        if constexpr (!schedule::schedule<Probability>)
            detail::check_probability(static_cast<double>(probability), name);
        else if (char const* const why = schedule::problem(probability))
            espalier::detail::throw_data_error("batch cutmix: ", why);
    }

    /// The box of a row at a site; one for all rows unless each has its own.
    cutmix_box box_of(index_t row, shape const& image, random_site const& site) const {
        auto const place = Per == mixed_per::row ? static_cast<std::uint32_t>(row) : 0u;
        double const share = symmetric_beta(site, place, detail::share_block, alpha);
        bits8 const centre = draw(site, place, detail::place_block);
        return make_cutmix_box(image.height, image.width, share,
                               below(static_cast<std::uint32_t>(image.height), centre.word[0], centre.word[1]),
                               below(static_cast<std::uint32_t>(image.width), centre.word[2], centre.word[3]));
    }

    template <class T>
    void apply(batch_memory<T>& batch, index_t n, shape of_row, clock const& now, random_site const& site) const {
        validate();
        double const p = schedule::value_at(probability, now);
        detail::check_probability(p, name);
        if (of_row.height * of_row.width <= 1)
            espalier::detail::throw_data_error(
                "batch cutmix: a row is ", of_row.features,
                " features without a grid; begin the stack with input<Channels, Height, Width>");
        if (n <= 1 || !detail::mixes_now(site, p)) return detail::copy_rows(batch, n);
        detail::draw_partners(batch, n, site);
        cutmix_box const common = box_of(0, of_row, site);
        auto const box = [&](index_t i) { return Per == mixed_per::row ? box_of(i, of_row, site) : common; };
        for (index_t i = 0; i < n; ++i)
            paste(batch.source.row(i), batch.source.row(detail::partner_of(batch, i)), batch.inputs.row(i), of_row,
                  box(i));
        detail::mix_tags(batch, n, [&](index_t i) { return static_cast<float>(box(i).share); });
    }
};

} // namespace espalier::batch
