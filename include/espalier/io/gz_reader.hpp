// SPDX-License-Identifier: Apache-2.0
// Reads a file that may or may not be gzip-compressed, in pieces, with errors that name the file.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>

namespace espalier {

/// Sequential reader of a plain or gzip file; which of the two it is shows in the first bytes, not in the name.
class gz_reader {
public:
    /// Throws `file_error` when the file cannot be opened.
    explicit gz_reader(std::filesystem::path const& path) : path_(path.string()) {
        int const descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct ::stat info {};
        if (descriptor < 0 || ::fstat(descriptor, &info) != 0) {
            int const reason = errno;
            if (descriptor >= 0) {
                ::close(descriptor);
            }
            throw file_error(path_ + ": cannot be opened: " + std::generic_category().message(reason));
        }
        if (S_ISDIR(info.st_mode)) {
            ::close(descriptor);
            throw file_error(path_ + ": is a folder, not a file");
        }
        if (S_ISREG(info.st_mode)) {
            stored_ = static_cast<std::uint64_t>(info.st_size);
        }
        file_ = ::gzdopen(descriptor, "rb");
        if (file_ == nullptr) {
            ::close(descriptor);
            throw file_error(path_ + ": cannot be opened: not enough memory");
        }
        ::gzbuffer(file_, 1u << 17);
    }
    gz_reader(gz_reader const&) = delete;
    gz_reader& operator=(gz_reader const&) = delete;
    ~gz_reader() {
        if (file_ != nullptr) {
            ::gzclose_r(file_);
        }
    }

    std::string const& path() const { return path_; }

    /// Bytes delivered so far (uncompressed).
    std::uint64_t offset() const { return offset_; }

    /// Reads up to `bytes` and returns how many there were: fewer only at the end of the file.
    /// Throws `file_error` when the file cannot be read or its compressed data is damaged or cut off.
    std::size_t read(void* target, std::size_t bytes) {
        std::size_t done = 0;
        while (done < bytes) {
            auto const piece = static_cast<unsigned>(std::min<std::size_t>(bytes - done, 1u << 30));
            int const got = ::gzread(file_, static_cast<char*>(target) + done, piece);
            int status = Z_OK;
            // A cut compressed file delivers what it has and then reports a "buffer error": both must be looked at.
            char const* const text = ::gzerror(file_, &status);
            if (got < 0 || (status != Z_OK && status != Z_STREAM_END)) {
                std::string const reason = status == Z_ERRNO       ? std::generic_category().message(errno)
                                           : status == Z_BUF_ERROR ? "the compressed data is cut off"
                                                                   : std::string("damaged compressed data: ") + text;
                throw file_error(path_ + ": cannot be read after byte " +
                                 std::to_string(offset_ + static_cast<std::uint64_t>(std::max(got, 0))) + ": " +
                                 reason);
            }
            if (got == 0) {
                break;
            }
            done += static_cast<std::size_t>(got);
            offset_ += static_cast<std::uint64_t>(got);
        }
        return done;
    }

    /// An upper bound of what the whole file can deliver: its size, or 1032 times that (the most that deflate can do)
    /// when it is compressed. A header that claims more is lying; found before anything is allocated for it.
    std::uint64_t delivers_at_most() {
        if (stored_ > std::numeric_limits<std::uint64_t>::max() / 1032) {
            return std::numeric_limits<std::uint64_t>::max(); // not a regular file: its size is not known
        }
        return ::gzdirect(file_) != 0 ? stored_ : stored_ * 1032;
    }

private:
    std::string path_;
    ::gzFile file_ = nullptr;
    std::uint64_t stored_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t offset_ = 0;
};

} // namespace espalier
