// SPDX-License-Identifier: Apache-2.0
// host only. Arithmetic modulo a number as a data set, with labels of which some are wrong.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/table.hpp>

#include <cstdint>
#include <vector>

namespace espalier {

/// What is done to the two numbers of a row.
enum class modular_operation { add, multiply };

/// Which table `modular_table` makes.
struct modular_options {
    index_t modulus = 97; ///< p, 2 to 65535
    modular_operation operation = modular_operation::add;
    double train_share = 0.5;     ///< of the p^2 pairs, 0 to 1
    double corrupted_share = 0.0; ///< of the training rows, 0 to 1: those whose label is drawn anew
    std::uint64_t seed = 0;
};

/// Rows of two numbers 0 ... p - 1, and their class.
struct modular_tables {
    data_set train, test;                  ///< test labels are true
    std::vector<std::int32_t> true_labels; ///< of the training rows
    std::vector<std::uint8_t> corrupted;   ///< 1 for training rows whose label was drawn: one in p is true all the same
};

/// All pairs (n_1, n_2) of numbers 0 ... p - 1 with the label (n_1 op n_2) modulo p, in an order that depends on p and
/// the seed alone. The first floor(train_share p^2) are for training, the others for tests; the first
/// floor(corrupted_share rows) of the training rows get labels drawn from 0 ... p - 1, each as likely as another. What
/// regularisers make of wrong labels is seen here at once, for one rule gives all others (Doshi, Das, He and Gromov
/// 2023, "To grok or not to grok"). Features are ids as `embedding` reads them. Throws data_error for a modulus or
/// share outside its bounds, and when no row is left for training.
modular_tables modular_table(modular_options const& options);

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/data/detail/modular_table.hpp>
#endif
