#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What espalier::math::thin_svd takes, and Eigen's decompositions beside it: CPU seconds and memory of the compiler, and the
best of several turns of U V^T of square random matrices in one run.

    benchmarks/compile/svd.py [--sizes 64 128 320] [--flags=-march=x86-64-v4]
"""

import argparse
import os
import subprocess
import tempfile

from compile import cost, root

ours = """#include <espalier/math/svd.hpp>
static double decompose(double const* a, int n, double* q) {
    espalier::math::thin_svd const svd(espalier::matrix_view<double const>{a, n, n, n});
    svd.polar_factor({q, n, n, n}, 1e-10);
    return svd.nuclear_norm();
}
"""
eigen = """#include <Eigen/SVD>
using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
static double decompose(double const* a, int n, double* q) {
    Eigen::%s svd(Eigen::Map<matrix const>(a, n, n), Eigen::ComputeThinU | Eigen::ComputeThinV);
    Eigen::Map<matrix>(q, n, n) = svd.matrixU() * svd.matrixV().transpose();
    return svd.singularValues().sum();
}
"""
program = """#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>
int main(int argc, char** argv) {
    for (int k = 1; k < argc; ++k) {
        int const n = std::atoi(argv[k]);
        std::vector<double> a(std::size_t(n) * std::size_t(n)), q(a.size());
        std::mt19937 bits(1);
        for (double& x : a)
            x = double(bits()) / 2147483648.0 - 1.0;
        double best = 1e9, norm = 0.0;
        for (int turn = 0; turn < 5; ++turn) {
            auto const begin = std::chrono::steady_clock::now();
            norm = decompose(a.data(), n, q.data());
            best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
        }
        std::printf("%d %.3f %.6f\\n", n, best * 1e3, norm);
    }
}
"""
forms = [("ours", ours), ("BDCSVD", eigen % "BDCSVD<matrix>"),
         ("JacobiSVD", eigen % "JacobiSVD<matrix, Eigen::HouseholderQRPreconditioner>")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 320])
    parser.add_argument("--flags", default="-march=x86-64-v4")
    options = parser.parse_args()
    flags = ["-O2", "-DESPALIER_HEADER_ONLY", "-isystem", "/usr/include/eigen3", *options.flags.split()]
    print("| | compiling | " + " | ".join(f"{n} x {n}" for n in options.sizes) + " |")
    print("|---|--:|" + "--:|" * len(options.sizes))
    norms = set()
    for name, text in forms:
        whole = "#include <algorithm>\n" + text + program
        spent = cost(whole, flags)
        if not spent:
            raise SystemExit(f"svd.py: {name} does not compile")
        with tempfile.TemporaryDirectory() as folder:
            source, binary = os.path.join(folder, "svd.cpp"), os.path.join(folder, "svd")
            with open(source, "w") as out:
                out.write(whole)
            subprocess.run(["g++", "-std=c++20", "-I", os.path.join(root, "include"), *flags, source, "-o", binary], check=True)
            said = subprocess.run([binary, *map(str, options.sizes)], check=True, stdout=subprocess.PIPE, text=True).stdout
        rows = [line.split() for line in said.splitlines()]
        norms.add(tuple(row[2] for row in rows))
        print(f"| {name} | {spent[0]:.1f} s, {spent[1]:.0f} MB | " + " | ".join(f"{float(row[1]):.1f} ms" for row in rows) + " |",
              flush=True)
    if len(norms) != 1:
        raise SystemExit(f"svd.py: the sums of singular values differ: {norms}")


if __name__ == "__main__":
    main()
