/* SSE4.2 with POPCNT, for processors without AVX2: the baseline's 16 octets at a time, and shuffles. */
#define KUMO_SET sse4
#define KUMO_PASS __attribute__((target("sse4.2,popcnt"))) static
#define KUMO_INLINE __attribute__((always_inline)) KUMO_PASS inline
/* As with AVX2. Were each step asked, LF where nothing foretells them would take 5.5 instead of 3.9 times a
 * look at clean content; were none over-copied, lines of text would take 4.0 instead of 2.8 times. */
#define KUMO_SPARSE 7
#define KUMO_BLOCKWISE 1
#define KUMO_LOOKED_AT 7
/* Lines that end in LF took a third longer. */
#define KUMO_COUNTS_BARE 0
/* From a table it took 3 % more, and small processors have one load a cycle. */
#define KUMO_MARKED_OF(row) __builtin_popcountll(row)

#include "_sixteen.h"

KUMO_INLINE kumo_16
kumo_shuffle(kumo_16 octets, kumo_16 order)
{
    return (kumo_16) _mm_shuffle_epi8((__m128i) octets, (__m128i) order);
}

#include "_shuffling.h"
#undef KUMO_MARKED_OF
