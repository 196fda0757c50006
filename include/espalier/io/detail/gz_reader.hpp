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
#include <cstring>
#include <string_view>
#include <system_error>

namespace espalier {

namespace detail {
inline constexpr std::size_t gz_piece = std::size_t{1} << 17;
inline constexpr std::string_view gz_magic = "\x1f\x8b";
} // namespace detail

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
    descriptor_ = descriptor;
    try {
        stored_bytes_.resize(detail::gz_piece);
        fill();
        if (end_ >= 2 && stored_bytes_.compare(0, 2, detail::gz_magic) == 0) {
            stream_ = new z_stream_s{};
            if (::inflateInit2(stream_, 15 + 16) != Z_OK) { // 16: with the header and the checksum of gzip
                throw file_error(path_ + ": cannot be opened: not enough memory");
            }
        }
    } catch (...) {
        delete stream_;
        ::close(descriptor_);
        throw;
    }
}

ESPALIER_LIBRARY gz_reader::~gz_reader() {
    if (stream_ != nullptr) {
        ::inflateEnd(stream_);
        delete stream_;
    }
    ::close(descriptor_);
}

ESPALIER_LIBRARY void gz_reader::fail(std::string const& reason) const {
    throw file_error(path_ + ": cannot be read after byte " + std::to_string(offset_) + ": " + reason);
}

/// Moves what is left of the stored bytes to the front and reads more, to the end of the piece or of the file.
ESPALIER_LIBRARY void gz_reader::fill() {
    std::memmove(stored_bytes_.data(), stored_bytes_.data() + at_, end_ - at_);
    end_ -= at_;
    at_ = 0;
    while (!ended_ && end_ < detail::gz_piece) {
        ::ssize_t const got = ::read(descriptor_, stored_bytes_.data() + end_, detail::gz_piece - end_);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            fail(std::generic_category().message(errno));
        }
        ended_ = got == 0;
        end_ += static_cast<std::size_t>(got);
    }
}

/// Delivers 1 to `bytes` bytes, or 0 at the end of the file.
ESPALIER_LIBRARY std::size_t gz_reader::inflate(void* target, std::size_t bytes) {
    stream_->next_out = static_cast<unsigned char*>(target);
    auto const room = static_cast<unsigned>(std::min<std::size_t>(bytes, 1u << 30));
    stream_->avail_out = room;
    while (stream_->avail_out == room) {
        if (end_ - at_ < 2) {
            fill();
        }
        if (between_) {
            if (at_ == end_) {
                return 0;
            }
            if (stored_bytes_[at_] == 0) {
                ++at_;
                padded_ = true;
                continue;
            }
            if (padded_ || end_ - at_ < 2 || stored_bytes_.compare(at_, 2, detail::gz_magic) != 0) {
                fail("the compressed data has ended, and something else follows");
            }
            ::inflateReset(stream_);
            between_ = false;
        }
        if (at_ == end_) {
            fail("the compressed data is cut off");
        }
        stream_->next_in = reinterpret_cast<unsigned char*>(stored_bytes_.data()) + at_;
        stream_->avail_in = static_cast<unsigned>(end_ - at_);
        int const status = ::inflate(stream_, Z_NO_FLUSH);
        at_ = end_ - stream_->avail_in;
        between_ = status == Z_STREAM_END;
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
            offset_ += room - stream_->avail_out;
            fail(status == Z_MEM_ERROR ? std::string("not enough memory")
                                       : std::string("damaged compressed data: ") +
                                             (stream_->msg != nullptr ? stream_->msg : "unknown form"));
        }
    }
    return room - stream_->avail_out;
}

ESPALIER_LIBRARY std::size_t gz_reader::read(void* target, std::size_t bytes) {
    std::size_t done = 0;
    while (done < bytes) {
        char* const to = static_cast<char*>(target) + done;
        std::size_t got = 0;
        if (stream_ != nullptr) {
            got = inflate(to, bytes - done);
        } else {
            if (at_ == end_) {
                fill();
            }
            got = std::min(bytes - done, end_ - at_);
            std::memcpy(to, stored_bytes_.data() + at_, got);
            at_ += got;
        }
        if (got == 0) {
            break;
        }
        done += got;
        offset_ += got;
    }
    return done;
}

ESPALIER_LIBRARY std::uint64_t gz_reader::delivers_at_most() {
    if (stored_ > std::numeric_limits<std::uint64_t>::max() / 1032) {
        return std::numeric_limits<std::uint64_t>::max(); // not a regular file: its size is not known
    }
    return stream_ != nullptr ? stored_ * 1032 : stored_;
}

} // namespace espalier
