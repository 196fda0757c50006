// SPDX-License-Identifier: Apache-2.0
// What the steps of a program's stacks launch, against a table in a file; on the stand-in for CUDA's runtime, which
// keeps the launches. A line of the table is a launch, or several equal ones:
//
//     [times x] pass  blocks x groups, threads [+ bytes of dynamic shared memory]  tensors that its arguments point to
//
// A product of cuBLASLt has no blocks that we know. A gradient of a tensor is written d(tensor).
#pragma once

#include "gpu/verify.hpp"
#include "stand_in/cuda.hpp"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace gpu_tests {

class launch_table {
public:
    /// Launches of what `step` does, under a heading. Nothing where there is no stand-in or no table is asked for.
    template <class Training, class Step> void add(std::string const& heading, Training& run, Step const& step) {
        if (!stand_in::launches || launches.empty()) return step();
        stand_in::forget();
        step();
        text_ += heading + "\n";
        std::string last;
        int times = 0;
        auto const finish = [&] {
            if (times > 0) text_ += "    " + (times > 1 ? std::to_string(times) + " x " : std::string()) + last + "\n";
        };
        for (stand_in::launch const& l : stand_in::launches()) {
            std::string const line = pass(l.kernel) + shape(l) + tensors(l, run);
            if (line != last) {
                finish();
                times = 0;
                last = line;
            }
            ++times;
        }
        finish();
    }

    /// Compares with the file; what was launched instead is left in the current folder.
    void compare() const {
        if (text_.empty()) return;
        std::ifstream file(launches);
        std::string const wanted{std::istreambuf_iterator<char>(file), {}};
        expect(wanted == text_, "the launches are not those of " + launches +
                                    "; what was launched is in launches.txt of this folder, to compare and to copy");
        if (wanted != text_) std::ofstream("launches.txt") << text_;
    }

private:
    static std::string pass(std::string const& kernel) {
        std::string const mark = "passes::", other = "espalier::cuda::";
        auto at = kernel.find(mark);
        at = at != std::string::npos ? at + mark.size() : kernel.find(other);
        if (at == std::string::npos) return kernel;
        if (kernel.compare(at, other.size(), other) == 0) at += other.size();
        return kernel.substr(at, kernel.find_first_of("<>(,", at) - at);
    }
    static std::string shape(stand_in::launch const& l) {
        if (l.grid.x == 0) return {};
        return "  " + std::to_string(l.grid.x) + " x " + std::to_string(l.grid.y) + ", " + std::to_string(l.block.x) +
               (l.shared > 0 ? " + " + std::to_string(l.shared) : std::string());
    }
    template <class Training> static std::string tensors(stand_in::launch const& l, Training& run) {
        std::string found;
        auto const memory = run.net().runner().memory(run.net().values());
        for (void const* p : l.memory)
            for (auto const& t : run.net().tensors()) {
                auto const lies_in = [&](auto const* arena) {
                    return arena && p >= arena + t.offset && p < arena + t.offset + t.size();
                };
                std::string name;
                if (t.trained ? lies_in(memory.parameters) || lies_in(memory.operands) : lies_in(memory.state))
                    name = t.name;
                else if (t.trained && lies_in(run.gradients().data()))
                    name = "d(" + t.name + ")";
                if (!name.empty() && (found + " ").find(" " + name + " ") == std::string::npos) found += " " + name;
            }
        return found.empty() ? found : " " + found;
    }

    std::string text_;
};

} // namespace gpu_tests
