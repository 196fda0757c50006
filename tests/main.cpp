// SPDX-License-Identifier: Apache-2.0
// The one main of all unit tests. A test without an assertion fails, and so does a filter that selects nothing.
#define CATCH_CONFIG_RUNNER
#include <support/catch.hpp>

#include <type_traits>

// A template, so that only the branch that fits the installed Catch2 has to compile: version 2 calls the second kind of
// failure NoTests, version 3 always fails on an empty selection and calls the rest UnmatchedTestSpec.
template <class Warn> constexpr int strict_warnings() {
    if constexpr (requires { Warn::NoTests; }) {
        return Warn::NoAssertions | Warn::NoTests;
    } else {
        return Warn::NoAssertions | Warn::UnmatchedTestSpec;
    }
}

int main(int argc, char** argv) {
    Catch::Session session;
    if (int const status = session.applyCommandLine(argc, argv); status != 0) {
        return status;
    }
    auto& warnings = session.configData().warnings;
    warnings = static_cast<std::remove_reference_t<decltype(warnings)>>(strict_warnings<Catch::WarnAbout>());
    return session.run();
}
