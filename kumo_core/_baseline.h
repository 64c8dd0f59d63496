/* What every processor has: 16 octets at a time. */
#define KUMO_SET baseline
#define KUMO_PASS static
#define KUMO_INLINE __attribute__((always_inline)) static inline
#define KUMO_LOOKED_AT 7

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
/* Where over-copying costs as much as octet by octet, 0.05 x memcpy; with one place a step it is 0.20. */
#define KUMO_SPARSE 8
#define KUMO_BLOCKWISE 0

KUMO_INLINE kumo_flags kumo_flagged(const unsigned char *p, kumo_kind kind);

typedef uint16_t kumo_8x16 __attribute__((vector_size(16)));
typedef uint32_t kumo_4x32 __attribute__((vector_size(16)));

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define KUMO_BACK(lanes, bits) ((lanes) << (bits))
#define KUMO_ON(lanes, bits) ((lanes) >> (bits))
#else
#define KUMO_BACK(lanes, bits) ((lanes) >> (bits)) /* the octets of a lane to where those before them were */
#define KUMO_ON(lanes, bits) ((lanes) << (bits))
#endif

/* One octet of each in turn, of the first or the second eight. */
KUMO_INLINE kumo_4x32
kumo_in_turn(kumo_16 a, kumo_16 b, int half)
{
    if (half)
        return (kumo_4x32) KUMO_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return (kumo_4x32) KUMO_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/* Each pair twice, of the first or the second four. */
KUMO_INLINE kumo_4x32
kumo_twice(kumo_8x16 pairs, int half)
{
    if (half)
        return (kumo_4x32) KUMO_SHUFFLE(pairs, pairs, 4, 4, 5, 5, 6, 6, 7, 7);
    return (kumo_4x32) KUMO_SHUFFLE(pairs, pairs, 0, 0, 1, 1, 2, 2, 3, 3);
}

/* Four octets are written for two: what is missing before each, and itself. Where nothing is missing an
 * octet stands there twice: if it is the first, all move by one, if the second, what follows overwrites it.
 * With two octets written for one, lone line ends took a fifth longer. Not inlined: seven times over in a
 * block it took half as long again. */
__attribute__((noinline)) static unsigned char *
kumo_insert(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    (void) marks; /* The flags say the same, in the form that is wanted. */
    const kumo_flags flags = kumo_flagged(step, kind);
    const kumo_16 first = {255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0};
    unsigned char fours[2 * KUMO_STEP];
    unsigned char inserted[KUMO_STEP]; /* in every second one how many */
    for (int i = 0; i < 4; i++) {
        const kumo_16 octets = kumo_load_16(step + 16 * i);
        const kumo_16 flagged = flags.quarters[i];
        const kumo_8x16 ones = (kumo_8x16) (flagged & 1);
        const kumo_8x16 both = ones + KUMO_BACK(ones, 8);
        const kumo_8x16 moves = (kumo_8x16) ((kumo_8x16) (flagged & first) == 0);
        const kumo_16 before = octets ^ ((octets ^ kumo_missing_before(octets, kind)) & flagged);
        memcpy(inserted + 16 * i, &both, 16);
        for (int half = 0; half < 2; half++) {
            const kumo_4x32 all = kumo_in_turn(before, octets, half);
            const kumo_4x32 four = all ^ ((all ^ KUMO_BACK(all, 8)) & kumo_twice(moves, half));
            memcpy(fours + 32 * i + 16 * half, &four, 16);
        }
    }
    /* Were it all unrolled, the compiler would take the octets out of the vectors one by one. */
#pragma GCC unroll 16
    for (int i = 0; i < KUMO_STEP; i += 2) {
        memcpy(out + i, fours + 2 * i, 4);
        out += inserted[i];
    }
    return out + KUMO_STEP;
}

/* Four octets at a time, of which the first and the last may both be flagged, as from one leading dot to the
 * next there are three: what is behind the first of them moves by one, and the last is overwritten. With two
 * at a time dense dots took twice as long. */
__attribute__((noinline)) static unsigned char *
kumo_remove(const unsigned char *step, uint64_t marks, unsigned char *out)
{
    (void) marks;
    const kumo_flags flags = kumo_flagged(step, KUMO_UNSTUFF);
    unsigned char fours[KUMO_STEP];
    unsigned char removed[KUMO_STEP]; /* in every fourth one how many */
    for (int i = 0; i < 4; i++) {
        const kumo_4x32 octets = (kumo_4x32) kumo_load_16(step + 16 * i);
        const kumo_4x32 flagged = (kumo_4x32) flags.quarters[i];
        const kumo_4x32 ones = (kumo_4x32) (flags.quarters[i] & 1);
        const kumo_4x32 two = ones + KUMO_BACK(ones, 16);
        const kumo_4x32 all = two + KUMO_BACK(two, 8);
        kumo_4x32 behind = flagged | KUMO_ON(flagged, 8);
        behind |= KUMO_ON(behind, 16);
        const kumo_4x32 kept = octets ^ ((octets ^ KUMO_BACK(octets, 8)) & behind);
        memcpy(fours + 16 * i, &kept, 16);
        memcpy(removed + 16 * i, &all, 16);
    }
#pragma GCC unroll 16
    for (int i = 0; i < KUMO_STEP; i += 4) {
        memcpy(out + i, fours + i, 4);
        out -= removed[i];
    }
    return out + KUMO_STEP;
}
#endif
