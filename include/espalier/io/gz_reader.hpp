// SPDX-License-Identifier: Apache-2.0
// Reads a file that may or may not be gzip-compressed, in pieces, with errors that name the file.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

struct z_stream_s;

namespace espalier {

/// Sequential reader of a plain or gzip file; which of the two it is shows in the first bytes, not in the name. A gzip
/// file may have several members, one after the other, and zeros behind the last one, as tapes leave them.
class gz_reader {
public:
    /// Throws `file_error` when the file cannot be opened.
    explicit gz_reader(file_path const& path);
    gz_reader(gz_reader const&) = delete;
    gz_reader& operator=(gz_reader const&) = delete;
    ~gz_reader();

    std::string const& path() const { return path_; }

    /// Bytes delivered so far (uncompressed).
    std::uint64_t offset() const { return offset_; }

    /// Reads up to `bytes` and returns how many there were: fewer only at the end of the file.
    /// Throws `file_error` when the file cannot be read, its compressed data is damaged or cut off, or something else
    /// follows it.
    std::size_t read(void* target, std::size_t bytes);

    /// An upper bound of what the whole file can deliver: its size, or 1032 times that (the most that deflate can do)
    /// when it is compressed. A header that claims more is lying; found before anything is allocated for it.
    std::uint64_t delivers_at_most();

private:
    void fill();
    std::size_t inflate(void* target, std::size_t bytes);
    [[noreturn]] void fail(std::string const& reason) const;

    std::string path_;
    int descriptor_ = -1;
    z_stream_s* stream_ = nullptr; ///< none for a plain file; owned, without the price of <memory>
    std::string stored_bytes_;
    std::size_t at_ = 0;   ///< of the stored bytes, what comes next
    std::size_t end_ = 0;  ///< of those that were read
    bool ended_ = false;   ///< the file
    bool between_ = false; ///< members of a gzip file, or behind the last
    bool padded_ = false;  ///< zeros have followed a member
    std::uint64_t stored_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t offset_ = 0;
};

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/gz_reader.hpp>
#endif
