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

KUMO_INLINE void
kumo_copy(unsigned char *to, const unsigned char *from)
{
    for (int i = 0; i < KUMO_STEP; i += 16) {
        const kumo_16 octets = kumo_load_16(from + i);
        memcpy(to + i, &octets, 16);
    }
}

KUMO_INLINE kumo_flags kumo_flagged(const unsigned char *p, kumo_kind kind);

/* Two octets are written for each: what is missing before it and itself, or itself and whatever, which the
 * next overwrites. Not inlined: seven times over in a block it took half as long again. */
__attribute__((noinline)) static unsigned char *
kumo_insert(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    const kumo_flags flags = kumo_flagged(step, kind);
    unsigned char first[KUMO_STEP];
    unsigned char pairs[2 * KUMO_STEP];
    unsigned char lengths[KUMO_STEP];
    for (int i = 0; i < 4; i++) {
        const kumo_16 octets = kumo_load_16(step + 16 * i);
        const kumo_16 flagged = flags.quarters[i];
        const kumo_16 length = 1 - flagged;
        kumo_16 missing = (kumo_16) {0} + KUMO_DOT;
        if (kind == KUMO_MEND)
            missing = ((kumo_16) (octets == KUMO_LF) & (KUMO_LF ^ KUMO_CR)) ^ KUMO_LF;
        missing = (flagged & missing) | (~flagged & octets);
        memcpy(first + 16 * i, &missing, 16);
        memcpy(lengths + 16 * i, &length, 16);
    }
    for (int i = 0; i < KUMO_STEP; i++) {
        pairs[2 * i] = first[i];
        pairs[2 * i + 1] = step[i];
    }
    /* Left to itself the compiler unrolled it or did not: 128 KiB of LF took 66 to 100 us, not 60. */
#pragma GCC unroll 8
    for (int i = 0; i < KUMO_STEP; i++) {
        memcpy(out, pairs + 2 * i, 2);
        out += lengths[i];
    }
    return out;
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
