/* What every processor has: 16 octets at a time. */
#define KUMO_SET baseline
#define KUMO_PASS static
#define KUMO_INLINE __attribute__((always_inline)) static inline
#define KUMO_LOOKED_AT 7
/* Lines that end in LF took a fifteenth longer with SSE2. */
#define KUMO_COUNTS_BARE 0

#include "_sixteen.h"

#if KUMO_BASELINE_SHUFFLES
/* NEON of 64 bits looks octets up as SSSE3 does: what holds with SSE4.2 is taken to hold here. */
#define KUMO_SPARSE 7
#define KUMO_BLOCKWISE 1
/* It counts bits only in vectors, there and back. */
#define KUMO_MARKED_OF(row) kumo_marked_of[row]

KUMO_INLINE kumo_16
kumo_shuffle(kumo_16 octets, kumo_16 order)
{
    return (kumo_16) vqtbl1q_u8((uint8x16_t) octets, (uint8x16_t) order);
}

#include "_shuffling.h"
#undef KUMO_MARKED_OF
#else
/* Up to so many places over-copying costs no more than moving. Decided for a block, lines of text took a
 * tenth longer, lines that begin with dots a quarter. */
#define KUMO_SPARSE 8
#define KUMO_BLOCKWISE 0
#include "_moving.h"
#endif
