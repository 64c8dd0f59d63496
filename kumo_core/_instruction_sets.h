/* Every pass, compiled for each instruction set, and the choice between them at run time.
 *
 * Included by `instruction_set.pyx` alone.
 */
#ifndef KUMO_INSTRUCTION_SETS_H
#define KUMO_INSTRUCTION_SETS_H

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define KUMO_HAS_CHOICE 1
#else
#define KUMO_HAS_CHOICE 0
#endif
/* Whether what every processor of the architecture has looks octets up in a register. */
#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#define KUMO_BASELINE_SHUFFLES 1
#else
#define KUMO_BASELINE_SHUFFLES 0
#endif

#include "_names.h"
#include "_passes.h"
#include "_tables.h"

/* A step of a change reads up to two of its lengths and writes up to three. */
enum { KUMO_MARGIN = 3 * KUMO_STEP };

/* How many of n octets to take first, in a copy, so that the steps behind them begin where a line of the
 * cache does: up to a third faster. At least four, for that many before it a step may look at. */
static inline ptrdiff_t
kumo_lead(const unsigned char *p, ptrdiff_t n)
{
    ptrdiff_t lead = KUMO_STEP - (ptrdiff_t) ((uintptr_t) p % KUMO_STEP);
    if (lead < 4)
        lead = KUMO_STEP;
    return n < lead ? n : lead;
}

/* A copy of up to a step of octets, with two before them and zeros behind them as far as a change reads. */
typedef struct {
    unsigned char octets[2 + 2 * KUMO_STEP];
    ptrdiff_t length;
    uint64_t valid; /* marks of the octets that are real */
} kumo_window;

/* Copy p[at:n], up to a step of it, and return where it is. The octets before p count as a line end. */
static inline const unsigned char *
kumo_open_window(kumo_window *window, const unsigned char *p, ptrdiff_t at, ptrdiff_t n)
{
    const ptrdiff_t length = n - at < KUMO_STEP ? n - at : KUMO_STEP;
    memset(window->octets + 2, 0, 2 * KUMO_STEP);
    window->octets[0] = at > 0 ? p[at - 2] : KUMO_CR;
    window->octets[1] = at > 0 ? p[at - 1] : KUMO_LF;
    memcpy(window->octets + 2, p + at, (size_t) length);
    window->length = length;
    window->valid = ~0ULL >> (KUMO_STEP - length);
    return window->octets + 2;
}

/* What p[-4] to p[-1] end in. */
static inline kumo_seam
kumo_seam_before(const unsigned char *p)
{
    const int dot = p[-1] == KUMO_DOT && p[-2] == KUMO_LF && p[-3] == KUMO_CR;
    const int dot_cr = p[-1] == KUMO_CR && p[-2] == KUMO_DOT && p[-3] == KUMO_LF && p[-4] == KUMO_CR;
    return (kumo_seam) {
        (uint64_t) (p[-1] == KUMO_CR) << 63,
        (uint64_t) (p[-1] == KUMO_LF && p[-2] == KUMO_CR) << 63,
        (uint64_t) dot << 63,
        (uint64_t) dot_cr << 63,
    };
}

/* Whether the line that begins there begins with a dot that transparency removes; p[0] stands behind the
 * seam. */
static inline int
kumo_removes_dot(const unsigned char *p, ptrdiff_t start, const kumo_seam *seam)
{
    if (start < 0 || p[start] != KUMO_DOT)
        return 0;
    if (start == 0)
        return seam->line >> 63;
    if (start == 1)
        return p[0] == KUMO_LF && seam->cr >> 63;
    return p[start - 1] == KUMO_LF && p[start - 2] == KUMO_CR;
}

/* What is to be inserted before that octet. */
static inline unsigned char
kumo_missing(unsigned char octet, kumo_kind kind)
{
    if (kind == KUMO_STUFF)
        return KUMO_DOT;
    /* Without a branch: a peer would mix CR and LF so that it is mispredicted. */
    return KUMO_LF + (KUMO_CR - KUMO_LF) * (octet == KUMO_LF);
}

#include "_baseline.h"
#include "_of_set.h"

#if KUMO_HAS_CHOICE
#include "_sse4.h"
#include "_of_set.h"

#include "_avx2.h"
#include "_of_set.h"

#include "_avx512.h"
#include "_of_set.h"
#endif

enum { KUMO_SETS = 4 };

/* The instruction sets that this processor and its operating system have, the fastest first; returns how
 * many. */
static int
kumo_available(const kumo_passes *available[KUMO_SETS])
{
    int count = 0;
    kumo_fill_tables();
#if !KUMO_BASELINE_SHUFFLES
    kumo_fill_moves();
#endif
#if KUMO_HAS_CHOICE
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")
        && __builtin_cpu_supports("popcnt")) {
        if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2"))
            available[count++] = &kumo_passes_avx512;
        available[count++] = &kumo_passes_avx2;
    }
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
        available[count++] = &kumo_passes_sse4;
#endif
    available[count++] = &kumo_passes_baseline;
    return count;
}

#endif
