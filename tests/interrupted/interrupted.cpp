// SPDX-License-Identifier: Apache-2.0
// A run that is killed at any moment and started again is the unbroken one, and what it leaves in its folder in between
// is a matching set: the last checkpoint, the history of what it holds, the best network so far.
//
//     espalier_interrupted killed            before, in the middle of, and after every operation on a file
//     espalier_interrupted killed_anywhere   220 times after a random time
//     espalier_interrupted full_disk         from every operation on a file on, the disk has no room left
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/teacher.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace esp = espalier;
using namespace esp::literals;

// ---- operations on files, counted while somebody wants to be stopped at one of them

namespace {

enum class fate { none, kill, full };
enum class moment { before, within, after };
fate planned = fate::none;
moment planned_moment = moment::before;
long planned_at = 0, operations = 0;

template <class Function> Function* library_function(char const* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
bool now_is(moment m) {
    return planned == fate::kill && operations == planned_at && planned_moment == m;
}
void die_if(moment m) {
    if (now_is(m)) ::raise(SIGKILL);
}
/// Runs an operation that either happens or does not. A full disk refuses those that take room.
template <class Call> int operation(bool takes_room, Call const& call) {
    if (planned == fate::none) return call();
    die_if(moment::before);
    if (planned == fate::full && takes_room && operations >= planned_at) {
        ++operations;
        errno = ENOSPC;
        return -1;
    }
    int const result = call();
    die_if(moment::after);
    ++operations;
    return result;
}

} // namespace

extern "C" {
ssize_t write(int file, void const* data, std::size_t size) {
    static auto* const real = library_function<ssize_t(int, void const*, std::size_t)>("write");
    if (planned == fate::none || file <= 2) return real(file, data, size);
    die_if(moment::before);
    if (planned == fate::full && operations >= planned_at) {
        ++operations;
        errno = ENOSPC;
        return -1;
    }
    if (now_is(moment::within)) {
        if (real(file, data, size / 2) >= 0) ::raise(SIGKILL);
    }
    ssize_t const written = real(file, data, size);
    die_if(moment::after);
    ++operations;
    return written;
}
int fsync(int file) {
    struct ::stat what {};
    // What a process wrote outlives it without being flushed, and flushing would take most of the time. A folder that
    // cannot be flushed is no failure: the files in it are whole.
    if (::fstat(file, &what) == 0 && S_ISDIR(what.st_mode)) return 0;
    return operation(false, [] { return 0; });
}
int rename(char const* from, char const* to) {
    static auto* const real = library_function<int(char const*, char const*)>("rename");
    return operation(false, [&] { return real(from, to); });
}
int unlink(char const* name) {
    static auto* const real = library_function<int(char const*)>("unlink");
    return operation(false, [&] { return real(name); });
}
int open(char const* name, int flags, ...) {
    static auto* const real = library_function<int(char const*, int, ...)>("open");
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        std::va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if ((flags & O_CREAT) == 0) return real(name, flags);
    return operation(true, [&] { return real(name, flags, mode); });
}
}

// ---- the run

namespace {

using stack = esp::sequence<
    esp::input<4>,
    esp::dense<16, esp::activation::tanh, esp::dropout::bernoulli<esp::schedule::runtime{"rate"_name, 0.25}>>,
    esp::batch_norm<>, esp::dense<3>>;
using model_type = esp::network<stack, esp::device::cpu, float>;

constexpr esp::index_t epochs = 6;

esp::data_set make_data() {
    esp::data_set data;
    data.count = 48;
    data.width = 4;
    std::mt19937 engine(3);
    std::normal_distribution<float> noise;
    for (esp::index_t r = 0; r < data.count; ++r) {
        data.labels.push_back(static_cast<std::int32_t>(r % 3));
        for (esp::index_t c = 0; c < data.width; ++c)
            data.features.push_back(noise(engine) + (c == r % 3 ? 1.0f : 0.0f));
    }
    return data;
}

struct result {
    std::vector<float> weights;
    std::vector<double> losses;
    friend bool operator==(result const&, result const&) = default;
};

/// The whole run, from wherever the folder says it stands. `pause`: microseconds a step, so that somebody can come in
/// between.
result run(std::string const& folder, unsigned pause = 0) {
    esp::data_set const data = make_data();
    model_type model{esp::seed{5}, 16};
    esp::ema_teacher teacher{model, 0.9};
    esp::fit_options options{.epochs = epochs,
                             .batch = 16,
                             .validation = data.view(),
                             .checkpoints = folder,
                             .resume = true,
                             .values = {{"rate"_name, 0.5}},
                             .progress = false,
                             .followers = {teacher.follow(model)}};
    options.on_epoch = [](esp::history const&, std::vector<esp::named_value>& values) {
        values[0].value *= 0.75;
        return true;
    };
    options.on_step = [&](esp::clock const&) {
        if (pause > 0) ::usleep(pause);
    };
    auto const record =
        esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adam{.learning_rate = 1e-2}, data, options);
    result out;
    for (auto const* values : {&model.values(), &teacher.values()})
        out.weights.insert(out.weights.end(), values->weights().data(),
                           values->weights().data() + values->weights().size());
    out.losses = record.column("validation_loss");
    return out;
}

[[noreturn]] void fail(std::string const& text) {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::exit(1);
}
void require(bool holds, std::string const& text) {
    if (!holds) fail(text);
}

std::string make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "espalier-interrupted-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    return name;
}
std::string content_of(std::string const& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// How many files in the folder are none of the set.
long strangers(std::string const& folder) {
    long count = 0;
    for (auto const& entry : std::filesystem::directory_iterator(folder)) {
        std::string const name = entry.path().filename().string();
        count += name != "last.safetensors" && name != "best.safetensors" && name != "history.json";
    }
    return count;
}

/// What `last` holds and what it says of itself agree with each other and with the unbroken run; the best network that
/// it speaks of is there, under its name or under that of one that was not moved yet.
void check_set(std::string const& folder, result const& whole, std::string const& when) {
    std::string const last = folder + "/last.safetensors";
    if (!std::filesystem::exists(last)) {
        require(!std::filesystem::exists(folder + "/best.safetensors"), when + ": a best network without a last one");
        return;
    }
    auto const file = esp::read_safetensors(last);
    auto const& metadata = file.metadata();
    auto const record = esp::history::from_json(metadata.find("history")->second, last);
    auto const epoch = std::stol(std::string(metadata.find("epoch")->second));
    require(record.rows() == epoch, when + ": the checkpoint of epoch " + std::to_string(epoch) + " has a history of " +
                                        std::to_string(record.rows()) + " rows");
    for (esp::index_t r = 0; r < record.rows(); ++r)
        require(record.at(r, "validation_loss") == whole.losses[static_cast<std::size_t>(r)],
                when + ": the history is not that of the unbroken run");
    auto const best_epoch = std::string(metadata.find("best_epoch")->second);
    bool found = false;
    for (auto const* name : {"/best.safetensors", "/best.safetensors.new"})
        if (std::filesystem::exists(folder + name)) {
            model_type best{esp::seed{1}, 16};
            esp::load(best, folder + name); // whole
            auto const holds = esp::read_safetensors(folder + name);
            if (std::string(holds.metadata().find("best_epoch")->second) != best_epoch) continue;
            auto const data = make_data();
            found |= esp::evaluate(best, esp::loss::cross_entropy{}, data.view()).loss ==
                     std::stod(std::string(metadata.find("best")->second));
        }
    require(found, when + ": the best network of epoch " + best_epoch + " is not there");
}

/// Runs in a child; gives its status.
template <class Body> int in_child(Body const& body) {
    ::pid_t const child = ::fork();
    require(child >= 0, "no child process");
    if (child == 0) {
        body();
        std::_Exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}
bool was_killed(int status) {
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void finish(std::string const& folder, result const& whole, std::string const& best, std::string const& when) {
    require(run(folder) == whole, when + ": the run that was started again ended elsewhere");
    require(strangers(folder) == 0, when + ": files of dead runs are left");
    require(esp::history::read_json(folder + "/history.json").column("validation_loss") == whole.losses,
            when + ": the history is not whole");
    require(content_of(folder + "/best.safetensors") == best, when + ": the best network is another one");
    std::filesystem::remove_all(folder);
}

} // namespace

int main(int count, char** arguments) {
    std::string const mode = count == 2 ? arguments[1] : "";
    std::string folder = make_folder();
    result const whole = run(folder);
    require(whole.losses.size() == static_cast<std::size_t>(epochs), "the unbroken run has another length");
    require(run(folder) == whole, "a run that is over goes on");
    std::string const best = content_of(folder + "/best.safetensors");
    std::filesystem::remove_all(folder);

    long stopped = 0;
    if (mode == "killed" || mode == "full_disk") {
        bool const kills = mode == "killed";
        long all = 0; // operations of an unbroken run
        for (moment const m : {moment::before, moment::within, moment::after}) {
            for (long at = 0; m == moment::before ? at == all : kills && at < all; ++at) {
                folder = make_folder();
                std::string const when = mode + " at operation " + std::to_string(at);
                int const status = in_child([&] {
                    planned_at = at;
                    planned_moment = m;
                    planned = kills ? fate::kill : fate::full;
                    try {
                        run(folder);
                        std::_Exit(0);
                    } catch (esp::file_error const&) {
                        std::_Exit(2);
                    }
                });
                check_set(folder, whole, when);
                bool const over = WIFEXITED(status) && WEXITSTATUS(status) == 0;
                if (kills)
                    require(over || was_killed(status), when + ": neither killed nor done");
                else
                    require(over || (WIFEXITED(status) && WEXITSTATUS(status) == 2),
                            when + ": a full disk went unnoticed");
                stopped += !over;
                if (m == moment::before && !over) ++all;
                finish(folder, whole, best, when);
            }
        }
        std::printf("%ld operations on files\n", all);
    } else if (mode == "killed_anywhere") {
        std::mt19937 engine(11);
        folder = make_folder();
        for (int i = 0; i < 220; ++i) {
            ::pid_t const child = ::fork();
            require(child >= 0, "no child process");
            if (child == 0) {
                run(folder, 300);
                std::_Exit(0);
            }
            ::usleep(std::uniform_int_distribution<unsigned>(500, 12000)(engine));
            ::kill(child, SIGKILL);
            int status = 0;
            ::waitpid(child, &status, 0);
            stopped += was_killed(status);
            check_set(folder, whole, "killed for the " + std::to_string(i) + "th time");
            if (was_killed(status)) continue;
            finish(folder, whole, best, "at the end");
            folder = make_folder();
        }
        finish(folder, whole, best, "at the end");
    } else {
        fail("one of killed, killed_anywhere, full_disk is needed");
    }
    std::printf("%s: %ld times\n", mode.c_str(), stopped);
    return stopped > 50 ? 0 : 1;
}
