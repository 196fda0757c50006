// SPDX-License-Identifier: Apache-2.0
// Atomic files: complete or not there, whatever fails in between.
#include <espalier/io/atomic_file.hpp>

#include "temporary_folder.hpp"
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

using namespace espalier_test;

namespace {

/// Files may not grow beyond `bytes` while this lives: the test's stand-in for a full disk.
class file_size_limit {
public:
    explicit file_size_limit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &old_);
        rlimit const now{bytes, old_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &now);
    }
    ~file_size_limit() {
        ::setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, handler_);
    }

private:
    void (*handler_)(int);
    rlimit old_{};
};

} // namespace

TEST_CASE("an atomic file appears at commit and not before") {
    temporary_folder folder;
    auto const path = folder / "out.txt";
    {
        espalier::atomic_file file(path);
        file.write("one ");
        file.write("two");
        CHECK_FALSE(std::filesystem::exists(path));
        file.commit();
        CHECK(content_of(path) == "one two");
        CHECK_THROWS_AS(file.write("more"), espalier::file_error);
        CHECK_THROWS_AS(file.commit(), espalier::file_error);
    }
    CHECK(content_of(path) == "one two");
    CHECK(folder.entries() == 1);
}

TEST_CASE("an atomic file that is abandoned leaves the old content and nothing else") {
    temporary_folder folder;
    auto const path = folder.put("out.txt", "old");
    {
        espalier::atomic_file file(path);
        file.write(std::string(1 << 20, 'x'));
        CHECK(folder.entries() == 2);
    }
    CHECK(content_of(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("a large atomic file keeps the order of small and large pieces") {
    temporary_folder folder;
    std::string expected;
    espalier::atomic_file file(folder / "out");
    for (int i = 0; i < 40; ++i) {
        std::string const piece(i % 3 == 0 ? 300'000u : 70'000u, static_cast<char>('a' + i % 26));
        file.write(piece);
        expected += piece;
    }
    file.commit();
    CHECK(content_of(folder / "out") == expected);
}

TEST_CASE("a full disk keeps the old file and says so") {
    temporary_folder folder;
    auto const path = folder.put("out.txt", "old");
    std::string message;
    {
        file_size_limit const limit(1 << 16);
        message = message_of<espalier::file_error>([&] {
            espalier::atomic_file file(path);
            file.write(std::string(1 << 20, 'x'));
            file.commit();
        });
    }
    CHECK_THAT(message, contains_text(path.string() + ": cannot be written: "));
    CHECK(content_of(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("targets that cannot be replaced are refused") {
    temporary_folder folder;
    CHECK_THAT(message_of<espalier::file_error>([&] { espalier::atomic_file file(folder / "no/such/folder/x"); }),
               contains_text("cannot create a temporary file beside it"));
    CHECK_THAT(message_of<espalier::file_error>([&] { espalier::atomic_file file(folder.path()); }),
               contains_text("not a regular file"));
    CHECK_THAT(message_of<espalier::file_error>([] { espalier::atomic_file file("/dev/null"); }),
               contains_text("/dev/null: cannot be written: it exists and is not a regular file"));
    CHECK(folder.entries() == 0);
}

TEST_CASE("an atomic file keeps permissions and follows symbolic links") {
    temporary_folder folder;
    auto const path = folder.put("out.txt", "old");
    REQUIRE(::chmod(path.c_str(), 0640) == 0);
    std::filesystem::create_symlink("out.txt", folder / "link");
    espalier::write_text_file(folder / "link", "new");
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(content_of(path) == "new");
    struct ::stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0640);
    CHECK(folder.entries() == 2);
}
