// SPDX-License-Identifier: Apache-2.0
// Where the functions are that are no templates of a network: files, tables, histories, the words of errors, threads.
//
// With ESPALIER_HEADER_ONLY defined (target espalier::headers does) every program compiles them itself: a header's
// definitions, in the folder detail/ beside it, come along and are inline. Without it headers only declare, and the
// library defines them (target espalier::espalier, or `pkg-config espalier`). A program that has neither fails to link,
// and the symbol below says why.
#pragma once

#if defined(ESPALIER_HEADER_ONLY)
#define ESPALIER_LIBRARY inline
#else
#define ESPALIER_LIBRARY

namespace espalier {
/// Defined by the library. The version is part of the name: headers of one and a library of another do not link.
extern char const link_libespalier_0_1_or_define_ESPALIER_HEADER_ONLY;
namespace detail {
[[gnu::used]] static char const* const library_is_linked = &link_libespalier_0_1_or_define_ESPALIER_HEADER_ONLY;
} // namespace detail
} // namespace espalier
#endif
