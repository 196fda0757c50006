// SPDX-License-Identifier: Apache-2.0
// expect: a combination of a cell reads a state that is not there yet
// expect: a state of a cell is lost
// expect: all states of a cell are .used.
// expect: the stride of a cell is at least 1
// expect c++: given<\(?(int\))?3
// Cells that cannot be run.
#include <espalier/layer/nasnet.hpp>
using namespace espalier;
constexpr nasnet::cell_table changed(void (*change)(nasnet::cell_table&)) {
    nasnet::cell_table cell = nasnet::normal_cell;
    change(cell);
    return cell;
}
#ifdef ESPALIER_POSITIVE_TWIN
inline constexpr bool wrong = false;
#else
inline constexpr bool wrong = true;
#endif
inline constexpr nasnet::cell_table ahead = changed([](auto& cell) { cell.of[3].second_input = wrong ? 5 : 4; });
inline constexpr nasnet::cell_table lost = changed([](auto& cell) { cell.used[wrong ? 6 : 1] = true; });
inline constexpr nasnet::cell_table empty = changed([](auto& cell) {
    for (bool& used : cell.used)
        used = wrong;
});
inline constexpr nasnet::cell_table still = changed([](auto& cell) { cell.stride = wrong ? 0 : 2; });
static_assert(nasnet::check_cell<ahead>() && nasnet::check_cell<lost>() && nasnet::check_cell<empty>() &&
              nasnet::check_cell<still>());
