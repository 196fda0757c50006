// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/gz_reader.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/gz_reader.hpp>

#include <espalier/core/error.hpp>

#include <zlib.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace espalier {

ESPALIER_LIBRARY gz_reader::gz_reader(file_path const& path) : path_(path.string()) {
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

ESPALIER_LIBRARY gz_reader::~gz_reader() {
    if (file_ != nullptr) {
        ::gzclose_r(file_);
    }
}

ESPALIER_LIBRARY std::size_t gz_reader::read(void* target, std::size_t bytes) {
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
                             std::to_string(offset_ + static_cast<std::uint64_t>(std::max(got, 0))) + ": " + reason);
        }
        if (got == 0) {
            break;
        }
        done += static_cast<std::size_t>(got);
        offset_ += static_cast<std::uint64_t>(got);
    }
    return done;
}

ESPALIER_LIBRARY std::uint64_t gz_reader::delivers_at_most() {
    if (stored_ > std::numeric_limits<std::uint64_t>::max() / 1032) {
        return std::numeric_limits<std::uint64_t>::max(); // not a regular file: its size is not known
    }
    return ::gzdirect(file_) != 0 ? stored_ : stored_ * 1032;
}

} // namespace espalier
