// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/atomic_file.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/atomic_file.hpp>

#include <espalier/core/error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

namespace espalier {

namespace detail {
/// Smaller pieces are gathered before they are written.
inline constexpr std::size_t file_buffer_size = std::size_t{1} << 18;

/// Whether the file is there for this process alone. On a file system without locks it is taken for that.
inline bool locked(int descriptor) {
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        return errno != EWOULDBLOCK;
    }
    struct ::stat now {};
    return ::fstat(descriptor, &now) == 0 && now.st_nlink > 0;
}

/// The entry of a rename or a removal is durable once the folder is flushed; either state is whole.
inline void flush_folder_of(std::string const& path) {
    std::filesystem::path const target = path;
    auto const folder = target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
    if (int const handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); handle >= 0) {
        (void)::fsync(handle);
        ::close(handle);
    }
}
} // namespace detail

ESPALIER_LIBRARY atomic_file::atomic_file(file_path const& path) : shown_(path.string()), target_(path.string()) {
    std::error_code code;
    if (std::filesystem::is_symlink(target_, code)) {
        target_ = std::filesystem::weakly_canonical(target_, code).string();
        if (code) {
            fail("cannot follow the symbolic link", code.value());
        }
    }
    struct ::stat old {};
    bool const exists = ::stat(target_.c_str(), &old) == 0;
    if (exists && !S_ISREG(old.st_mode)) {
        throw file_error(shown_ + ": cannot be written: it exists and is not a regular file");
    }
    // The process number and a counter make the name unique here; O_EXCL settles it between machines that share
    // the folder. mkstemp is not used because its files are readable by the owner only.
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && descriptor_ < 0; ++attempt) {
        temporary_ = target_ + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
        descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor_ < 0 && errno != EEXIST) {
            break;
        }
        // The lock lives as long as the process and says so to `remove_abandoned_parts`, which may have come between.
        if (descriptor_ >= 0 && !detail::locked(descriptor_)) {
            discard();
        }
    }
    if (descriptor_ < 0) {
        fail("cannot create a temporary file beside it", errno);
    }
    if (exists && ::fchmod(descriptor_, old.st_mode & 07777) != 0) {
        int const reason = errno;
        discard(); // a constructor that throws runs no destructor
        fail("cannot keep the permissions of the old file", reason);
    }
}

ESPALIER_LIBRARY void atomic_file::write(std::span<std::byte const> bytes) {
    if (descriptor_ < 0) {
        throw file_error(shown_ + ": cannot be written: it is already complete");
    }
    if (pending_.size() + bytes.size() > detail::file_buffer_size) {
        flush();
    }
    if (bytes.size() >= detail::file_buffer_size) {
        write_through(reinterpret_cast<char const*>(bytes.data()), bytes.size());
    } else {
        pending_.append(reinterpret_cast<char const*>(bytes.data()), bytes.size());
    }
}

ESPALIER_LIBRARY void atomic_file::commit() {
    if (descriptor_ < 0) {
        throw file_error(shown_ + ": cannot be written: it is already complete");
    }
    flush();
    // Without this a crash of the machine may leave the new name with no content. Some file systems cannot do it.
    if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP) {
        fail("cannot flush to the disk", errno);
    }
    // Renamed before it is closed: until then the lock says that somebody is at work on it.
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0) {
        int const reason = errno;
        discard();
        fail("cannot rename the temporary file to it", reason);
    }
    temporary_.clear();
    ::close(descriptor_);
    descriptor_ = -1;
    detail::flush_folder_of(target_);
}

ESPALIER_LIBRARY void move_file(file_path const& from, file_path const& to) {
    if (std::rename(from.string().c_str(), to.string().c_str()) != 0) {
        throw file_error(to.string() + ": cannot rename " + from.string() +
                         " to it: " + std::generic_category().message(errno));
    }
    detail::flush_folder_of(to.string());
}

ESPALIER_LIBRARY void remove_file(file_path const& path) {
    if (::unlink(path.string().c_str()) != 0 && errno != ENOENT) {
        throw file_error(path.string() + ": cannot be removed: " + std::generic_category().message(errno));
    }
}

ESPALIER_LIBRARY void remove_abandoned_parts(file_path const& path) {
    std::filesystem::path const target = path.string();
    std::string const beginning = target.filename().string() + ".part-";
    std::error_code code;
    std::filesystem::directory_iterator entry(target.has_parent_path() ? target.parent_path() : ".", code), end;
    for (; !code && entry != end; entry.increment(code)) {
        if (entry->path().filename().string().compare(0, beginning.size(), beginning) != 0) {
            continue;
        }
        int const handle = ::open(entry->path().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (handle < 0) {
            continue;
        }
        if (::flock(handle, LOCK_EX | LOCK_NB) == 0) {
            ::unlink(entry->path().c_str());
        }
        ::close(handle);
    }
}

ESPALIER_LIBRARY void atomic_file::fail(char const* what, int reason) const {
    throw file_error(shown_ + ": " + what + ": " + std::generic_category().message(reason));
}

ESPALIER_LIBRARY void atomic_file::flush() {
    write_through(pending_.data(), pending_.size());
    pending_.clear();
}

ESPALIER_LIBRARY void atomic_file::write_through(char const* data, std::size_t size) {
    while (size > 0) {
        ::ssize_t const written = ::write(descriptor_, data, size);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            fail("cannot be written", errno);
        }
        data += written;
        size -= static_cast<std::size_t>(written);
    }
}

ESPALIER_LIBRARY void atomic_file::remove_temporary() noexcept {
    if (!temporary_.empty()) {
        ::unlink(temporary_.c_str());
        temporary_.clear();
    }
}

ESPALIER_LIBRARY void atomic_file::discard() noexcept {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
        descriptor_ = -1;
    }
    remove_temporary();
}

ESPALIER_LIBRARY void write_text_file(file_path const& path, std::string_view text) {
    atomic_file file(path);
    file.write(text);
    file.commit();
}

ESPALIER_LIBRARY std::string detail::read_text_file(file_path const& path) {
    std::error_code ignored;
    std::ifstream in(path.string(), std::ios::binary);
    if (!in || std::filesystem::is_directory(path.string(), ignored)) {
        throw file_error(path.string() + ": cannot be opened");
    }
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

ESPALIER_LIBRARY atomic_file::~atomic_file() {
    discard();
}

ESPALIER_LIBRARY void atomic_file::write(std::string_view text) {
    write(std::as_bytes(std::span(text.data(), text.size())));
}

} // namespace espalier
