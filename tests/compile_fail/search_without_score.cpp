// SPDX-License-Identifier: Apache-2.0
// expect: search::random needs a function .score\(\)., which gives the number that is to be small
// A search whose score asks for the candidate.
#include <espalier/search/random.hpp>
#ifdef ESPALIER_POSITIVE_TWIN
inline double score() {
    return 1.0;
}
#else
inline double score(espalier::random_site const&) {
    return 1.0;
}
#endif
inline espalier::search::found best() {
    return espalier::search::random(
        {.budget = 1}, [](espalier::random_site const&) {}, score);
}
