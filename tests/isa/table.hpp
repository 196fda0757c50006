// SPDX-License-Identifier: Apache-2.0
// Groups of numbers by name, kept as bits in a text file, and how far numbers may be from those of the file.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace isa {

/// In units in the last place: of the number itself, or, for differences and sums whose terms cancel, of the largest
/// number of the group.
struct bound {
    double units;
    bool of_largest;
    char const* reason;
};

struct group {
    bool wide; ///< double, else float
    bound allowed;
    std::vector<double> number;
};

class table {
public:
    /// Numbers beyond `kept` are left out, evenly: a table that can be looked at.
    static constexpr std::size_t kept = 32;

    template <class T> void add(std::string const& name, bound allowed, std::vector<T> const& all) {
        group g{std::is_same_v<T, double>, allowed, {}};
        std::size_t const n = all.size() < kept ? all.size() : kept;
        for (std::size_t i = 0; i < n; ++i)
            g.number.push_back(static_cast<double>(all[i * all.size() / n]));
        if (!groups_.emplace(name, g).second) throw std::logic_error("two groups of outputs are called " + name);
    }

    void write(std::string const& file) const {
        std::ofstream out(file);
        out << "# Outputs of epilogues, updates, gates and losses: bits of floats and doubles, by group.\n"
               "# Written by tests/isa/main.cpp, `isa_avx512_O2 --write tests/isa/outputs.txt`, compiled by GCC 12.2 "
               "for\n"
               "# AVX-512. The inputs are integers times powers of two; what the numbers mean, tests/isa/outputs.cpp "
               "says.\n";
        for (auto const& [name, g] : groups_) {
            out << name << (g.wide ? " double" : " float") << std::hex;
            for (double v : g.number)
                out << ' ' << bits(v, g.wide);
            out << std::dec << '\n';
        }
        if (!out.flush()) throw std::runtime_error("cannot write " + file);
    }

    /// Prints the largest distance of every group; how many groups are outside their bounds or not in the file, or, of
    /// the `whole` of it, in the file only.
    int compare(std::string const& file, bool whole) const {
        auto const expected = read(file);
        int wrong = 0;
        for (auto const& [name, g] : groups_) {
            auto const found = expected.find(name);
            if (found == expected.end() || found->second.size() != g.number.size()) {
                std::printf("%s: the table has other numbers; --write makes it anew\n", name.c_str());
                ++wrong;
                continue;
            }
            double most = 0.0;
            for (std::size_t i = 0; i < g.number.size(); ++i) {
                double const d = distance(g, from_bits(found->second[i], g.wide), g.number[i], found->second);
                if (!(d <= most)) most = d;
            }
            bool const right = most <= g.allowed.units;
            std::printf("%-44s %8.3g of %4g ulp%s%s\n", name.c_str(), most, g.allowed.units,
                        g.allowed.of_largest ? " of the largest" : "", right ? "" : "  <- too far");
            if (!right) std::printf("    the bound stands for: %s\n", g.allowed.reason);
            wrong += !right;
        }
        for (auto const& entry : expected)
            if (whole && groups_.find(entry.first) == groups_.end()) {
                std::printf("%s: in the table only\n", entry.first.c_str());
                ++wrong;
            }
        return wrong;
    }

private:
    static std::uint64_t bits(double v, bool wide) {
        if (wide) {
            std::uint64_t b;
            std::memcpy(&b, &v, sizeof b);
            return b;
        }
        auto const f = static_cast<float>(v);
        std::uint32_t b;
        std::memcpy(&b, &f, sizeof b);
        return b;
    }
    static double from_bits(std::uint64_t b, bool wide) {
        if (wide) {
            double v;
            std::memcpy(&v, &b, sizeof v);
            return v;
        }
        auto const low = static_cast<std::uint32_t>(b);
        float f;
        std::memcpy(&f, &low, sizeof f);
        return static_cast<double>(f);
    }
    /// The distance of neighbouring floats or doubles at v.
    static double unit(double v, bool wide) {
        int const digits = wide ? 53 : 24, least = wide ? -1022 : -126;
        int const e = v == 0.0 ? least : std::ilogb(v);
        return std::ldexp(1.0, (e < least ? least : e) - digits + 1);
    }
    static double distance(group const& g, double expected, double got, std::vector<std::uint64_t> const& all) {
        if (bits(expected, g.wide) == bits(got, g.wide)) return 0.0;
        if (!std::isfinite(expected) || !std::isfinite(got)) return std::numeric_limits<double>::infinity();
        double largest = std::fabs(expected);
        if (g.allowed.of_largest)
            for (std::uint64_t b : all) {
                double const v = std::fabs(from_bits(b, g.wide));
                if (v > largest) largest = v;
            }
        // Zeros of different sign are apart as far as any two neighbours.
        double const apart = std::fabs(expected - got) / unit(largest, g.wide);
        return apart > 0.0 ? apart : 1.0;
    }
    static std::map<std::string, std::vector<std::uint64_t>> read(std::string const& file) {
        std::ifstream in(file);
        if (!in) throw std::runtime_error("cannot read " + file);
        std::map<std::string, std::vector<std::uint64_t>> expected;
        for (std::string line; std::getline(in, line);) {
            if (line.empty() || line[0] == '#') continue;
            std::istringstream words(line);
            std::string name, kind;
            words >> name >> kind >> std::hex;
            auto& numbers = expected[name];
            for (std::uint64_t b; words >> b;)
                numbers.push_back(b);
        }
        return expected;
    }

    std::map<std::string, group> groups_;
};

} // namespace isa
