/* What every processor has: 16 octets at a time, as the compiler maps them to SSE2, to NEON or to words. */
#define KUMO_SET baseline
#define KUMO_PASS static
#define KUMO_INLINE __attribute__((always_inline)) static inline
/* Where over-copying costs as much as octet by octet, 0.05 x memcpy; with one place a step it is 0.20. */
#define KUMO_SPARSE 8
#define KUMO_BLOCKWISE 0

typedef unsigned char kumo_16 __attribute__((vector_size(16)));

typedef struct {
    kumo_16 quarters[4];
} kumo_flags;

KUMO_INLINE kumo_16
kumo_load_16(const unsigned char *p)
{
    kumo_16 octets;
    memcpy(&octets, p, 16);
    return octets;
}

KUMO_INLINE kumo_flags
kumo_none(void)
{
    return (kumo_flags) {{{0}}};
}

KUMO_INLINE kumo_flags
kumo_equal(const unsigned char *p, unsigned char octet)
{
    kumo_flags flags;
    for (int i = 0; i < 4; i++)
        flags.quarters[i] = (kumo_16) (kumo_load_16(p + 16 * i) == octet);
    return flags;
}

KUMO_INLINE kumo_flags
kumo_and(kumo_flags a, kumo_flags b)
{
    for (int i = 0; i < 4; i++)
        a.quarters[i] &= b.quarters[i];
    return a;
}

KUMO_INLINE kumo_flags
kumo_or(kumo_flags a, kumo_flags b)
{
    for (int i = 0; i < 4; i++)
        a.quarters[i] |= b.quarters[i];
    return a;
}

KUMO_INLINE kumo_flags
kumo_xor(kumo_flags a, kumo_flags b)
{
    for (int i = 0; i < 4; i++)
        a.quarters[i] ^= b.quarters[i];
    return a;
}

#ifdef __SSE2__
#include <emmintrin.h>
KUMO_INLINE uint64_t
kumo_marks_16(kumo_16 flags)
{
    return (uint64_t) _mm_movemask_epi8((__m128i) flags);
}
#else
/* The lowest bit of eight octets, gathered in the highest octet of a product. */
KUMO_INLINE uint64_t
kumo_marks_16(kumo_16 flags)
{
    uint64_t words[2];
    memcpy(words, &flags, 16);
    for (int i = 0; i < 2; i++) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        words[i] = __builtin_bswap64(words[i]);
#endif
        words[i] = (words[i] & 0x0101010101010101ULL) * 0x0102040810204080ULL >> 56;
    }
    return words[0] | words[1] << 8;
}
#endif

KUMO_INLINE int
kumo_any(kumo_flags flags)
{
    return kumo_marks_16(flags.quarters[0] | flags.quarters[1] | flags.quarters[2] | flags.quarters[3]) != 0;
}

KUMO_INLINE uint64_t
kumo_marks(kumo_flags flags)
{
    return kumo_marks_16(flags.quarters[0]) | kumo_marks_16(flags.quarters[1]) << 16
        | kumo_marks_16(flags.quarters[2]) << 32 | kumo_marks_16(flags.quarters[3]) << 48;
}

KUMO_INLINE uint64_t
kumo_equal_marks(const unsigned char *p, unsigned char octet)
{
    return kumo_marks(kumo_equal(p, octet));
}

KUMO_INLINE void
kumo_copy(unsigned char *to, const unsigned char *from)
{
    for (int i = 0; i < KUMO_STEP; i += 16) {
        const kumo_16 octets = kumo_load_16(from + i);
        memcpy(to + i, &octets, 16);
    }
}

KUMO_INLINE kumo_flags kumo_flagged(const unsigned char *p, kumo_kind kind);

typedef uint16_t kumo_8x16 __attribute__((vector_size(16)));
typedef uint32_t kumo_4x32 __attribute__((vector_size(16)));

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define KUMO_BY_ONE(octets) ((octets) << 8)
#else
#define KUMO_BY_ONE(octets) ((octets) >> 8) /* each octet of a lane to where the one before it was */
#endif

#ifdef __clang__
#define KUMO_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define KUMO_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)) {__VA_ARGS__})
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
        kumo_16 before = (kumo_16) {0} + KUMO_DOT;
        if (kind == KUMO_MEND)
            before = ((kumo_16) (octets == KUMO_LF) & (KUMO_LF ^ KUMO_CR)) ^ KUMO_LF;
        before = octets ^ ((octets ^ before) & flagged);
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
