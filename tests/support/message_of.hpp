// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

/// Text of the exception of type `Error` that `function` throws; "no exception" when it throws none.
template <class Error, class Function> std::string message_of(Function&& function) {
    try {
        function();
    } catch (Error const& error) {
        return error.what();
    }
    return "no exception";
}
