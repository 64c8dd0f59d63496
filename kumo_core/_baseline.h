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
#define KUMO_BY_ONE(octets) ((octets) << 8)
#else
#define KUMO_BY_ONE(octets) ((octets) >> 8) /* each octet of a lane to where the one before it was */
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
        const kumo_8x16 both = ones + KUMO_BY_ONE(ones);
        const kumo_8x16 moves = (kumo_8x16) ((kumo_8x16) (flagged & first) == 0);
        const kumo_16 before = octets ^ ((octets ^ kumo_missing_before(octets, kind)) & flagged);
        memcpy(inserted + 16 * i, &both, 16);
        for (int half = 0; half < 2; half++) {
            const kumo_4x32 all = kumo_in_turn(before, octets, half);
            const kumo_4x32 four = all ^ ((all ^ KUMO_BY_ONE(all)) & kumo_twice(moves, half));
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

/* Two octets at a time, of which at most one is flagged: from one leading dot to the next there are three.
 * Where it is the first, the second takes its place. */
__attribute__((noinline)) static unsigned char *
kumo_remove(const unsigned char *step, uint64_t marks, unsigned char *out)
{
    (void) marks;
    const kumo_flags flags = kumo_flagged(step, KUMO_UNSTUFF);
    unsigned char octets[KUMO_STEP];
    unsigned char lengths[KUMO_STEP];
    for (int i = 0; i < 4; i++) {
        const kumo_16 flagged = flags.quarters[i];
        const kumo_16 next = kumo_load_16(step + 16 * i + 1);
        const kumo_16 kept = (kumo_load_16(step + 16 * i) & ~flagged) | (next & flagged);
        const kumo_16 length = 1 + flagged;
        memcpy(octets + 16 * i, &kept, 16);
        memcpy(lengths + 16 * i, &length, 16);
    }
    for (int i = 0; i < KUMO_STEP; i += 2) {
        memcpy(out, octets + i, 2);
        out += lengths[i] + lengths[i + 1];
    }
    return out;
}
#endif
