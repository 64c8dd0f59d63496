/* Passes that look at octets and change none; compiled once for each instruction set.
 *
 * A block is taken in one of three manners, each of which finds more and takes longer (GB/s with AVX-512, AVX2
 * and SSE2; Zen 5, 128 KiB):
 *
 * - a look: is there anything in it? Two loads, one an octet behind the other, need no state from step to
 *   step. 76, 54 and 28.
 * - a count: how many dots, and are there bare line ends? Where the last block had either, as there it would be
 *   looked at in vain: 45, 33 and, dots alone, 18.
 * - a judge: where? By marks, a word of them a step: for the first bare line end, for an end of data, and where
 *   a count cannot tell dots from what follows a bare LF. 25, 23 and 13, whatever is in the block.
 *
 * What stands at the end of a chunk, too short for a step, is judged in a copy.
 */

/* What a look at a block found; each is some flag or none. */
typedef struct {
    kumo_flags bare;
    kumo_flags dots; /* behind any LF */
    kumo_flags lf;
} kumo_seen;

/* Reads p[-1]. As it sees the LF, too, lines of text need no measuring, which would cost a seventh. */
KUMO_INLINE kumo_seen
kumo_look(const unsigned char *p, ptrdiff_t length)
{
    kumo_seen seen = {kumo_none(), kumo_none(), kumo_none()};
    KUMO_UNROLL(KUMO_LOOKED_AT)
    for (ptrdiff_t i = 0; i < length; i += KUMO_STEP) {
        const kumo_octets here = kumo_held(kumo_load(p + i));
        const kumo_octets before = kumo_held(kumo_load(p + i - 1));
        const kumo_flags lf = kumo_equal(here, KUMO_LF);
        seen.lf = kumo_more(seen.lf, lf);
        seen.bare = kumo_more(seen.bare, kumo_xor(lf, kumo_equal(before, KUMO_CR)));
        seen.dots = kumo_more(seen.dots, kumo_and(kumo_equal(here, KUMO_DOT), kumo_equal(before, KUMO_LF)));
    }
    return seen;
}

/* Adds what a step shows, of which `length` octets are real and the first is p[at]. Reads step[-1]: with CR
 * shifted in from the marks of the step before, in place of that, all took a sixth to a quarter longer.
 *
 * Of the seam it reads the line end and the dots, here those of two octets, and leaves both behind 64 octets.
 * Asks nothing that content answers now so and now so: with a branch for bare line ends, lines of 60 to 90
 * octets that end in LF took twice as long. */
KUMO_INLINE int
kumo_judge(const unsigned char *step, ptrdiff_t length, ptrdiff_t at, kumo_seam *seam, kumo_findings *found)
{
    const kumo_octets octets = kumo_load(step);
    const uint64_t lf = kumo_equal_marks(octets, KUMO_LF);
    const uint64_t after_cr = kumo_equal_marks(kumo_load(step - 1), KUMO_CR);
    const uint64_t line = lf & after_cr;
    const uint64_t dot = kumo_equal_marks(octets, KUMO_DOT) & (line << 1 | seam->line >> 63);
    const uint64_t end = line & (dot << 2 | seam->dot >> 62);
    uint64_t real = ~0ULL >> (KUMO_STEP - length);
    uint64_t bare;
    if (end) {
        found->end = at + __builtin_ctzll(end) + 1;
        real = end ^ (end - 1);
    }
    bare = (lf ^ after_cr) & real;
    if (bare && found->first_bare == KUMO_NOWHERE) {
        const int first = __builtin_ctzll(bare);
        found->first_bare = at + first - !(lf >> first & 1);
    }
    found->bare_lf |= bare & lf;
    found->bare_cr |= bare & ~lf;
    found->dots += __builtin_popcountll(dot & real);
    found->lf |= lf;
    seam->line = line;
    seam->dot = dot;
    return end != 0;
}

/* The same for p[at:at + length], a step or less, in a copy. */
KUMO_INLINE void
kumo_judge_ragged(
    const unsigned char *p, ptrdiff_t length, ptrdiff_t at, kumo_seam *seam, kumo_findings *found
)
{
    unsigned char octets[1 + KUMO_STEP] = {seam->cr >> 63 ? KUMO_CR : 0};
    const unsigned char *const step = octets + 1;
    const uint64_t after_dot = seam->dot >> 63;
    uint64_t cr;
    memcpy(octets + 1, p + at, (size_t) length);
    cr = kumo_equal_marks(kumo_load(step), KUMO_CR);
    seam->dot |= seam->dot_cr >> 1;
    kumo_judge(step, length, at, seam, found);
    seam->dot_cr = (cr & (seam->dot << 1 | after_dot)) << (KUMO_STEP - length);
    seam->cr = cr << (KUMO_STEP - length);
    seam->line <<= KUMO_STEP - length;
    seam->dot <<= KUMO_STEP - length;
}

/* The same for the whole steps of p[at:end], at >= 4; returns how to take the next block.
 *
 * It is judged, too, where it may go on with an end of data, which nothing else sees, and where a count would be
 * in vain again: after this one was, for all but the first bare line end. After a look that is not known yet,
 * and of lines of a thousand octets two blocks in three have nothing in them. */
KUMO_INLINE kumo_manner
kumo_judge_block(const unsigned char *p, ptrdiff_t at, ptrdiff_t end, kumo_manner before, kumo_findings *found)
{
    /* Copies: what is behind a pointer would be stored and loaded again in every step. */
    kumo_seam here = kumo_seam_before(p + at);
    kumo_findings seen = *found;
    const int had_bare = found->first_bare != KUMO_NOWHERE;
    uint64_t bare;
    int several, is_dotted;
    here.dot |= here.dot_cr >> 1;
    seen.lf = seen.bare_lf = seen.bare_cr = 0;
    for (; at < end; at += KUMO_STEP)
        if (kumo_judge(p + at, KUMO_STEP, at, &here, &seen))
            break;
    bare = seen.bare_lf | seen.bare_cr;
    several = (bare & (bare - 1)) != 0; /* those at the same place of several steps count as one */
    is_dotted = seen.dots != found->dots;
    seen.bare_lf |= found->bare_lf;
    seen.bare_cr |= found->bare_cr;
    *found = seen;
    if (here.dot >> 62)
        return KUMO_JUDGE;
    if (!bare && !is_dotted)
        return KUMO_LOOK;
    if (before == KUMO_LOOK)
        return several && !KUMO_COUNTS_BARE ? KUMO_JUDGE : KUMO_COUNT;
    return had_bare || (bare && (is_dotted || !KUMO_COUNTS_BARE)) ? KUMO_JUDGE : KUMO_COUNT;
}

/* The same without asking where, so in half to three quarters of the time; returns KUMO_JUDGE where a judge is
 * to take the block, as it has an end of data, the first bare line end, or bare line ends and dots. Reads
 * p[end], too. */
KUMO_INLINE kumo_manner
kumo_count_block(const unsigned char *p, ptrdiff_t at, ptrdiff_t end, kumo_findings *found)
{
    kumo_flags lf = kumo_none();
    kumo_flags bare_lf = kumo_none();
    kumo_flags bare_cr = kumo_none();
    kumo_flags others = kumo_none();
    kumo_flags dots = kumo_none(); /* behind any LF */
    ptrdiff_t count;
    int is_bare;
    if (p[at] == KUMO_DOT && p[at - 1] == KUMO_LF && p[at - 2] != KUMO_CR)
        return KUMO_JUDGE;
    for (; at < end; at += KUMO_STEP) {
        const kumo_octets here = kumo_held(kumo_load(p + at));
        const kumo_octets before = kumo_held(kumo_load(p + at - 1));
        const kumo_flags is_lf = kumo_equal(here, KUMO_LF);
        const kumo_flags after_cr = kumo_equal(before, KUMO_CR);
        const kumo_flags dot = kumo_and(kumo_equal(here, KUMO_DOT), kumo_equal(before, KUMO_LF));
        lf = kumo_more(lf, is_lf);
        dots = kumo_counted(dots, dot);
        others = kumo_more(others, kumo_and(dot, kumo_equal(kumo_load(p + at + 1), KUMO_CR)));
        if (KUMO_COUNTS_BARE) {
            bare_lf = kumo_more(bare_lf, kumo_but(is_lf, after_cr));
            bare_cr = kumo_more(bare_cr, kumo_but(after_cr, is_lf));
        } else {
            others = kumo_more(others, kumo_xor(is_lf, after_cr));
        }
    }
    count = kumo_sum(dots);
    is_bare = kumo_any(kumo_or(bare_lf, bare_cr));
    if (kumo_any(others) || (is_bare && (count || found->first_bare == KUMO_NOWHERE)))
        return KUMO_JUDGE;
    found->lf = kumo_any(lf);
    found->bare_lf |= kumo_any(bare_lf);
    found->bare_cr |= kumo_any(bare_cr);
    found->dots += count;
    return is_bare || count ? KUMO_COUNT : KUMO_LOOK;
}

/* Begins to measure, at a whole block without an LF. */
KUMO_INLINE void
kumo_begin_measuring(const unsigned char *p, ptrdiff_t at, kumo_lines *lines)
{
    lines->is_measured = 1;
    kumo_start_last_line(p, at, lines);
    lines->seen = at;
}

/* Measures no longer, behind a block with a line end up to which all lines were measured. */
KUMO_INLINE void
kumo_end_measuring(kumo_lines *lines)
{
    lines->is_measured = lines->limit < KUMO_SHORT_LINE;
}

/* Measures what a block adds to the lines where there is more behind the start of the open one than the limit.
 * Not in line: lines of 998 octets, which do without, took a tenth longer with AVX-512. */
__attribute__((noinline)) KUMO_PASS void
kumo_measure_long(
    const unsigned char *p, ptrdiff_t at, ptrdiff_t length, int has_lf, int is_empty, kumo_lines *lines
)
{
    if (is_empty && lines->seen >= at - 1) {
        lines->seen = at + length - 1; /* A CR there shows in the next block. */
        if (lines->is_long)
            return;
    }
    kumo_measure(p, at + length, lines);
    if (has_lf || lines->start > at)
        kumo_end_measuring(lines);
}

/* Measures what a block adds to the lines, if it has to: from a whole block without an LF on, and up to one in
 * which a line ends. Were all measured from the first such block on, lines of 501 octets would take three times
 * as long as others. */
KUMO_INLINE void
kumo_measure_block(
    const unsigned char *p, ptrdiff_t at, ptrdiff_t length, int has_lf, int is_clean, kumo_lines *lines
)
{
    const ptrdiff_t end = at + length;
    if (!lines->is_measured) {
        if (has_lf || length < KUMO_BLOCK)
            return;
        kumo_begin_measuring(p, at, lines);
    }
    if (!lines->is_long && end - lines->start > lines->limit)
        lines->start = kumo_jump(p, lines->start, end, lines->limit);
    if (lines->is_long || end - lines->start > lines->limit)
        kumo_measure_long(p, at, length, has_lf, is_clean && !has_lf, lines);
    else if (has_lf && at >= lines->start)
        kumo_end_measuring(lines);
    else if (lines->seen >= at - 1 && is_clean && !has_lf)
        lines->seen = end - 1;
}

/* How to take a block after a look at it: again, or not where nothing was found. */
KUMO_INLINE kumo_manner
kumo_manner_after(const kumo_seen *seen, const kumo_findings *found)
{
    if (!kumo_any(kumo_or(seen->bare, seen->dots)))
        return KUMO_LOOK;
    if (!kumo_any(seen->bare))
        return KUMO_COUNT;
    if (!KUMO_COUNTS_BARE || found->first_bare == KUMO_NOWHERE || kumo_any(seen->dots))
        return KUMO_JUDGE;
    return KUMO_COUNT;
}

/* Takes stock of the whole steps of p[at:end]; returns where it stopped, at the end or in the block with an
 * end of data. */
KUMO_INLINE ptrdiff_t
kumo_take_steps(
    const unsigned char *p, ptrdiff_t at, ptrdiff_t end, const kumo_seam *seam, kumo_lines *lines,
    kumo_findings *found
)
{
    kumo_manner before = (seam->dot | seam->dot_cr) >> 63 ? KUMO_JUDGE : KUMO_LOOK;
    while (end - at >= KUMO_STEP) {
        const ptrdiff_t length = end - at < KUMO_BLOCK ? (end - at) / KUMO_STEP * KUMO_STEP : KUMO_BLOCK;
        kumo_manner manner = before;
        int is_clean = 0;
        int has_lf = 0;
        if (manner == KUMO_LOOK) {
            const kumo_seen seen = kumo_look(p + at, length);
            manner = kumo_manner_after(&seen, found);
            is_clean = manner == KUMO_LOOK;
            has_lf = kumo_any(seen.lf);
        }
        if (!is_clean) {
            if (manner == KUMO_COUNT)
                manner = at + length < end ? kumo_count_block(p, at, at + length, found) : KUMO_JUDGE;
            if (manner == KUMO_JUDGE)
                manner = kumo_judge_block(p, at, at + length, before, found);
            if (found->end)
                break;
            before = manner;
            has_lf = found->lf != 0;
        }
        kumo_measure_block(p, at, length, has_lf, is_clean, lines);
        at += length;
    }
    return at;
}

KUMO_PASS ptrdiff_t
kumo_take(const unsigned char *p, ptrdiff_t n, kumo_seam *seam, kumo_lines *lines, kumo_findings *found)
{
    /* The first step knows the octets before it from the seam, all others from p. */
    const ptrdiff_t first = kumo_lead(p, n);
    ptrdiff_t at = first;
    lines->before = *seam;
    lines->is_measured = lines->limit < KUMO_SHORT_LINE || -lines->start > lines->limit - KUMO_FIRST_LINE;
    lines->seen = 0;
    kumo_judge_ragged(p, first, 0, seam, found);
    if (!found->end) {
        if (lines->is_measured)
            kumo_measure(p, first, lines);
        at = kumo_take_steps(p, first, n, seam, lines, found);
    }
    if (!found->end && at > first)
        *seam = kumo_seam_before(p + at);
    if (!found->end && at < n)
        kumo_judge_ragged(p, n - at, at, seam, found);
    if (found->end)
        n = found->end;
    kumo_finish_lines(p, n, lines);
    return n;
}

/* Where a change of that kind is due: bare LF, what follows a bare CR, or leading dots. Reads p[-2]. */
KUMO_INLINE kumo_flags
kumo_flagged(const unsigned char *p, kumo_kind kind)
{
    const kumo_octets here = kumo_load(p);
    const kumo_octets before = kumo_load(p - 1);
    if (kind == KUMO_MEND)
        return kumo_xor(kumo_equal(here, KUMO_LF), kumo_equal(before, KUMO_CR));
    return kumo_and(
        kumo_equal(here, KUMO_DOT),
        kumo_and(kumo_equal(before, KUMO_LF), kumo_equal(kumo_load(p - 2), KUMO_CR))
    );
}

/* Its marks in a step that begins at p[at], and how many octets of it there are. */
KUMO_INLINE uint64_t
kumo_marked(const unsigned char *p, ptrdiff_t at, ptrdiff_t n, kumo_kind kind, ptrdiff_t *length)
{
    kumo_window window;
    const unsigned char *step;
    if (at > 0 && n - at >= KUMO_STEP) {
        *length = KUMO_STEP;
        return kumo_marks(kumo_flagged(p + at, kind));
    }
    step = kumo_open_window(&window, p, at, n);
    *length = window.length;
    return kumo_marks(kumo_flagged(step, kind)) & window.valid;
}

/* Offset of the first octet of p[0:n] at which a change of that kind is due, or n. */
KUMO_INLINE ptrdiff_t
kumo_first(const unsigned char *p, ptrdiff_t n, kumo_kind kind)
{
    ptrdiff_t at = 0;
    while (at < n) {
        ptrdiff_t length;
        uint64_t marks;
        while (at > 0 && n - at >= KUMO_BLOCK) {
            kumo_flags any = kumo_none();
            for (ptrdiff_t i = 0; i < KUMO_BLOCK; i += KUMO_STEP)
                any = kumo_more(any, kumo_flagged(p + at + i, kind));
            if (kumo_any(any))
                break;
            at += KUMO_BLOCK;
        }
        if (at == n)
            break;
        marks = kumo_marked(p, at, at > 0 ? n : kumo_lead(p, n), kind, &length);
        if (marks)
            return at + __builtin_ctzll(marks);
        at += length;
    }
    return n;
}

KUMO_PASS ptrdiff_t
kumo_first_bare(const unsigned char *p, ptrdiff_t n)
{
    const ptrdiff_t at = kumo_first(p, n, KUMO_MEND);
    if (at < n)
        return p[at] == KUMO_LF ? at : at - 1;
    return n > 0 && p[n - 1] == KUMO_CR ? n - 1 : n;
}

KUMO_PASS ptrdiff_t
kumo_first_dot(const unsigned char *p, ptrdiff_t n)
{
    return kumo_first(p, n, KUMO_STUFF);
}
