/* Steps of four vectors of 16 octets, as the compiler maps them to SSE2, to NEON or to words. */
#ifndef KUMO_SIXTEEN_H
#define KUMO_SIXTEEN_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef unsigned char kumo_16 __attribute__((vector_size(16)));
typedef uint64_t kumo_2x64 __attribute__((vector_size(16)));

#ifdef __clang__
#define KUMO_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define KUMO_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)) {__VA_ARGS__})
#endif

#endif

typedef struct {
    kumo_16 quarters[4];
} kumo_flags;

typedef kumo_flags kumo_octets;

KUMO_INLINE kumo_16
kumo_load_16(const unsigned char *p)
{
    kumo_16 octets;
    memcpy(&octets, p, 16);
    return octets;
}

KUMO_INLINE kumo_16
kumo_load_8(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return (kumo_16) (kumo_2x64) {word, 0};
}

KUMO_INLINE kumo_flags
kumo_none(void)
{
    return (kumo_flags) {{{0}}};
}

KUMO_INLINE kumo_octets
kumo_load(const unsigned char *p)
{
    kumo_octets octets;
    for (int i = 0; i < 4; i++)
        octets.quarters[i] = kumo_load_16(p + 16 * i);
    return octets;
}

/* Not held: a comparison of SSE2 overwrites one of its registers, so that to load once more was cheaper
 * (27 GB/s in place of 23), and elsewhere the compiler knows best. */
KUMO_INLINE kumo_octets
kumo_held(kumo_octets octets)
{
    return octets;
}

KUMO_INLINE kumo_flags
kumo_equal(kumo_octets octets, unsigned char octet)
{
    kumo_flags flags;
    for (int i = 0; i < 4; i++)
        flags.quarters[i] = (kumo_16) (octets.quarters[i] == octet);
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
kumo_but(kumo_flags a, kumo_flags b)
{
    for (int i = 0; i < 4; i++)
        a.quarters[i] &= ~b.quarters[i];
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

/* In one register: with four for each question there are not enough, and a look took 40 % longer. */
KUMO_INLINE kumo_flags
kumo_more(kumo_flags some, kumo_flags more)
{
    some.quarters[0] |= (more.quarters[0] | more.quarters[1]) | (more.quarters[2] | more.quarters[3]);
    return some;
}

KUMO_INLINE kumo_flags
kumo_counted(kumo_flags counts, kumo_flags flags)
{
    counts.quarters[0] -= (flags.quarters[0] + flags.quarters[1]) + (flags.quarters[2] + flags.quarters[3]);
    return counts;
}

KUMO_INLINE ptrdiff_t
kumo_sum(kumo_flags counts)
{
    ptrdiff_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += counts.quarters[0][i];
    return sum;
}

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
kumo_equal_marks(kumo_octets octets, unsigned char octet)
{
    return kumo_marks(kumo_equal(octets, octet));
}

KUMO_INLINE void
kumo_copy(unsigned char *to, const unsigned char *from)
{
    for (int i = 0; i < KUMO_STEP; i += 16) {
        const kumo_16 octets = kumo_load_16(from + i);
        memcpy(to + i, &octets, 16);
    }
}

/* What is missing before each octet, were it flagged. */
KUMO_INLINE kumo_16
kumo_missing_before(kumo_16 octets, kumo_kind kind)
{
    if (kind == KUMO_STUFF)
        return (kumo_16) {0} + KUMO_DOT;
    return ((kumo_16) (octets == KUMO_LF) & (KUMO_LF ^ KUMO_CR)) ^ KUMO_LF;
}
