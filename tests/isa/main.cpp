// SPDX-License-Identifier: Apache-2.0
// isa_NAME [--write] TABLE: the compositions, then the outputs against the committed table, or the table anew.
#include <isa/parts.hpp>

#include <cstdio>
#include <exception>
#include <string>

int main(int count, char** arguments) {
    bool const write = count == 3 && std::string(arguments[1]) == "--write";
    if (count != 2 && !write) {
        std::fprintf(stderr, "usage: %s [--write] TABLE\n", arguments[0]);
        return 2;
    }
    try {
        if (write) return isa::outputs(arguments[2], true);
        int const wrong = isa::pairs() + isa::drawn() + isa::outputs(arguments[1], false);
        if (wrong > 0) std::printf("%d wrong\n", wrong);
        return wrong > 0;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
