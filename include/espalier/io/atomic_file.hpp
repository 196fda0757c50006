// SPDX-License-Identifier: Apache-2.0
// Files that appear complete or not at all: everything is written to a temporary file beside the target, flushed to
// the disk and renamed over it. Whatever goes wrong before that, the old file stays as it was.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace espalier {

/// A file under construction. `write` appends, `commit` makes the content visible under the name; without `commit` (an
/// exception, an early return) the temporary file is removed. An existing target keeps its permissions; a symbolic link
/// keeps pointing where it does and what it points to is replaced.
///
/// Throws `file_error` (file and reason) when the folder is missing, the target is not a regular file, or the disk is
/// full; the old content is untouched then.
class atomic_file {
public:
    explicit atomic_file(file_path const& path);

    atomic_file(atomic_file const&) = delete;
    atomic_file& operator=(atomic_file const&) = delete;
    ~atomic_file();

    /// Appends bytes.
    void write(std::span<std::byte const> bytes);

    /// Appends text.
    void write(std::string_view text);

    /// Puts the finished file in the place of the old one.
    void commit();

private:
    [[noreturn]] void fail(char const* what, int reason) const;

    void flush();

    void write_through(char const* data, std::size_t size);

    void remove_temporary() noexcept;

    void discard() noexcept;

    std::string shown_;
    std::string target_;
    std::string temporary_;
    std::string pending_;
    int descriptor_ = -1;
};

/// Puts a finished file in the place of another, or of none. Throws `file_error`.
void move_file(file_path const& from, file_path const& to);

/// Removes a file if it is there. Throws `file_error`.
void remove_file(file_path const& path);

/// Removes the temporary files beside `path` whose writers were killed: those that nobody holds a lock on. A file of a
/// writer that is alive stays, and so does one on a file system without locks. Errors are passed over in silence:
/// nothing depends on it.
void remove_abandoned_parts(file_path const& path);

/// Replaces the content of a file by `text`, completely or not at all.
void write_text_file(file_path const& path, std::string_view text);

namespace detail {
/// The content of a file. Throws `file_error` when it cannot be opened, or is a folder.
std::string read_text_file(file_path const& path);
} // namespace detail

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/atomic_file.hpp>
#endif
