/* Block passes: plain loops of a shape that compilers turn into vector code.
 *
 * Comparisons are written as masks of 0 or 255 because that is what a vector comparison yields; sums in one
 * octet wrap at 256, which the block lengths rule out. Every pass looks back over up to four octets, which the
 * caller keeps readable in front of the first.
 *
 * An AVX2 clone is chosen when the module is loaded. Measured on 128 KiB it doubles the octets a second against
 * the SSE2 baseline; blocks of 512 are a third faster with it than blocks of 256.
 */
#ifndef KUMO_BLOCKS_H
#define KUMO_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A sanitizer's run-time is not up yet when the loader picks a clone. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__)
#define KUMO_CLONES target_clones("avx2", "default"),
#else
#define KUMO_CLONES
#endif

/* Not every module uses every pass. */
#define KUMO_PASS __attribute__((KUMO_CLONES unused)) static

/* Into each clone, to be compiled as the clone is. */
#define KUMO_INLINE __attribute__((always_inline)) static inline

#define KUMO_MASK(condition) ((unsigned char) -(condition))

enum { KUMO_BLOCK = 512, KUMO_COUNTED = 128, KUMO_LF = 0x0A, KUMO_CR = 0x0D, KUMO_DOT = 0x2E };

typedef struct {
    ptrdiff_t dots;       /* dots at line starts with two octets behind them, an end of data's included */
    ptrdiff_t first_bare; /* where the first block with a bare CR or LF begins, or -1 */
    unsigned char bare_lf;
    unsigned char bare_cr;
} kumo_findings;

/* What a pass found in one block; each but the number of dots is zero or not. */
typedef struct {
    unsigned char bare_lf;
    unsigned char bare_cr;
    unsigned char dots;
    unsigned char ends;
} kumo_block;

/* Tells bare CR and LF, and whether a dot follows any LF: if none does, nothing more is to be known. */
KUMO_INLINE kumo_block
kumo_look(const unsigned char *block, ptrdiff_t length)
{
    kumo_block seen = {0, 0, 0, 0};
    for (ptrdiff_t i = 0; i < length; i++) {
        const unsigned char lf = KUMO_MASK(block[i] == KUMO_LF);
        const unsigned char cr = KUMO_MASK(block[i - 1] == KUMO_CR);
        seen.bare_lf |= lf & ~cr;
        seen.bare_cr |= cr & ~lf;
        seen.dots |= KUMO_MASK(block[i - 3] == KUMO_LF) & KUMO_MASK(block[i - 2] == KUMO_DOT);
    }
    return seen;
}

/* Tells the same, counts the dots behind CRLF and finds the end of data; a third slower. At most every third
 * octet is such a dot, 171 in a block. */
KUMO_INLINE kumo_block
kumo_look_closely(const unsigned char *block, ptrdiff_t length)
{
    kumo_block seen = {0, 0, 0, 0};
    for (ptrdiff_t i = 0; i < length; i++) {
        const unsigned char lf = KUMO_MASK(block[i] == KUMO_LF);
        const unsigned char cr = KUMO_MASK(block[i - 1] == KUMO_CR);
        const unsigned char dot = KUMO_MASK(block[i - 4] == KUMO_CR) & KUMO_MASK(block[i - 3] == KUMO_LF)
            & KUMO_MASK(block[i - 2] == KUMO_DOT);
        seen.bare_lf |= lf & ~cr;
        seen.bare_cr |= cr & ~lf;
        seen.dots -= dot;
        seen.ends |= dot & cr & lf;
    }
    return seen;
}

/* Adds up what is in p[start:end] and returns where it stopped: at end, or where the block begins in which an end
 * of data is complete; nothing of that block is added.
 *
 * A dot is judged two octets late, when the octets behind it are there: then no block needs to look ahead. Where
 * one block has dotted lines the next is looked at closely at once. */
KUMO_PASS ptrdiff_t
kumo_take_blocks(const unsigned char *p, ptrdiff_t start, ptrdiff_t end, kumo_findings *found)
{
    int closely = 0;
    while (start < end) {
        const ptrdiff_t length = end - start < KUMO_BLOCK ? end - start : KUMO_BLOCK;
        kumo_block seen;
        if (!closely)
            seen = kumo_look(p + start, length);
        if (closely || seen.dots) {
            seen = kumo_look_closely(p + start, length);
            closely = seen.dots != 0;
        }
        if (seen.ends)
            break;
        if ((seen.bare_lf | seen.bare_cr) && found->first_bare < 0)
            found->first_bare = start;
        found->bare_lf |= seen.bare_lf;
        found->bare_cr |= seen.bare_cr;
        found->dots += seen.dots;
        start += length;
    }
    return start;
}

/* Where the first block of p[start:end] with a bare CR or LF in it begins; end when there is none. A CR is judged
 * at the octet behind it. */
KUMO_PASS ptrdiff_t
kumo_first_bare_block(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    while (start < end) {
        const unsigned char *block = p + start;
        const ptrdiff_t length = end - start < KUMO_BLOCK ? end - start : KUMO_BLOCK;
        unsigned char bare = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            bare |= KUMO_MASK(block[i] == KUMO_LF) ^ KUMO_MASK(block[i - 1] == KUMO_CR);
        if (bare)
            break;
        start += length;
    }
    return start;
}

/* How many bare CR and LF there are in p[start:end]; every octet may be one, hence the short blocks. */
KUMO_PASS ptrdiff_t
kumo_count_bare(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    ptrdiff_t count = 0;
    while (start < end) {
        const unsigned char *block = p + start;
        const ptrdiff_t length = end - start < KUMO_COUNTED ? end - start : KUMO_COUNTED;
        unsigned char bare = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            bare -= KUMO_MASK(block[i] == KUMO_LF) ^ KUMO_MASK(block[i - 1] == KUMO_CR);
        count += bare;
        start += length;
    }
    return count;
}

/* How many dots in p[start:end] follow a CRLF. */
KUMO_PASS ptrdiff_t
kumo_count_leading_dots(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    ptrdiff_t count = 0;
    while (start < end) {
        const unsigned char *block = p + start;
        const ptrdiff_t length = end - start < KUMO_BLOCK ? end - start : KUMO_BLOCK;
        unsigned char dots = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            dots -= KUMO_MASK(block[i - 2] == KUMO_CR) & KUMO_MASK(block[i - 1] == KUMO_LF)
                & KUMO_MASK(block[i] == KUMO_DOT);
        count += dots;
        start += length;
    }
    return count;
}

/* Eight octets as one word, the first in the lowest bits whatever the machine's byte order. */
static inline uint64_t
kumo_load8(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void
kumo_copy8(unsigned char *to, const unsigned char *from)
{
    memcpy(to, from, 8);
}

/* Bit 7 of every octet of the word that equals the one repeated in the pattern; exact, no carry between octets. */
static inline uint64_t
kumo_equal8(uint64_t word, uint64_t pattern)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7FULL;
    const uint64_t difference = word ^ pattern;
    return ~(((difference & low) + low) | difference | low);
}

/* The place of the first marked octet. */
static inline int
kumo_first_octet(uint64_t mask)
{
    return __builtin_ctzll(mask) >> 3;
}

#endif
