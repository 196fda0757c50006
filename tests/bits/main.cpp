// SPDX-License-Identifier: Apache-2.0
// espalier_bits: trains the stacks of the other files for 20 steps each on made-up numbers, on one and on two threads,
// and hashes what comes out, so that whoever rearranges the inside of the library sees that no result has changed.
//
//   espalier_bits                  prints the table
//   espalier_bits --write FILE     writes it
//   espalier_bits --compare FILE   names every stack and every column that is not as in FILE
//
// The exit status is 1 where something differs, between the numbers of threads too, and 2 for other arguments.
//
//   outputs      of a prediction of more rows than fit at once
//   gradients    of the last step, those of a second stream too
//   terms        loss, terms and measures of every step, and of an evaluation at the end
//   weights      with running statistics, masks, moments and the memory of the loss
//   checkpoint   the bytes of the file that `save_training` writes, which holds neither a date nor a version nor
//                anything of the machine; cbf29ce484222325, the hash of no bytes, where there is none
//   description  the text of `describe`, and the names of terms and measures
//
// Which policies a stack is made of stands where it is written. Each file has the stacks of one folder or two:
//   layers.cpp         activations, initial values, activation penalties, taps, embeddings
//   combinators.cpp    layers that hold layers, dropout, running statistics
//   penalties.cpp      penalties in every form, transforms
//   weights.cpp        pruning, weight maps and operators, schedules
//   losses.cpp         losses, optimizers, what a batch says of its rows
//   trainers.cpp       rates, accumulation, given gradients, fit with batch policies, a second stream and a teacher
//   gates.cpp          gates that score experts, with their parts
//   searches.cpp       gates that look rows up or choose for all at once, and local searches
//   dispatches.cpp     dispatches, experts of different types
//   several_gates.cpp  shared experts
//   bodies.cpp         mixtures by the bodies of the CUDA kernels, run with one lane
//
// The bits depend on the compiler, its flags (CMakeLists.txt fixes them) and the C library: exp and log of some are
// others, and glibc has one with and one without fused multiply-add, of which it takes what the processor can do.
// gcc-12.txt is of g++ 12.2 and glibc 2.36 (Debian 12) on a processor that has it. Elsewhere a table is written before
// a change and compared with after it.
#include <bits/table.hpp>

#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>

int main(int count, char** arguments) {
    std::string const what = count > 1 ? arguments[1] : "";
    if (count != 1 && !(count == 3 && (what == "--write" || what == "--compare"))) {
        std::fprintf(stderr, "usage: %s [--write FILE | --compare FILE]\n", arguments[0]);
        return 2;
    }
    try {
        bits::table found;
        for (auto const part :
             {bits::train_layers, bits::train_combinators, bits::train_penalties_and_transforms, bits::train_weights,
              bits::train_losses, bits::train_trainers, bits::train_gates, bits::train_searches, bits::train_dispatches,
              bits::train_several_gates, bits::train_bodies})
            part(found);
        if (what == "--compare") {
            bool const same = found.compare(bits::content_of(arguments[2]));
            return same && found.complete() ? 0 : 1;
        }
        if (!found.complete()) return 1;
        if (what == "--write") {
            std::ofstream out(arguments[2], std::ios::binary);
            out << "# SPDX-License-Identifier: Apache-2.0\n# Written by scripts/bits.sh --write; see "
                   "tests/bits/main.cpp.\n"
                << found.text();
            if (!out.flush()) throw std::runtime_error(std::string("cannot write ") + arguments[2]);
        } else {
            std::fputs(found.text().c_str(), stdout);
        }
        return 0;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
