// SPDX-License-Identifier: Apache-2.0
// The exceptions Espalier throws. Every one is thrown before the state it protects has changed, and its text names the
// place (layer, file, line, step), what was given and what is needed.
#pragma once

#include <stdexcept>
#include <string>

namespace espalier {

/// Base of every exception that Espalier throws on purpose.
struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Extents that do not fit: a batch larger than the capacity, a view of the wrong width.
struct shape_error : error {
    using error::error;
};

/// Values that make no sense: a label out of range, an empty data set, a configuration number outside its range.
struct data_error : error {
    using error::error;
};

/// A file that cannot be read or written, or whose content is malformed; names the file and the line or offset.
struct file_error : error {
    using error::error;
};

/// A computation that left the finite numbers; names the step and, where it is known, the layer.
struct numerical_error : error {
    using error::error;
};

/// A status of CUDA, cuBLAS or oneDNN other than success.
struct device_error : error {
    using error::error;
};

} // namespace espalier
