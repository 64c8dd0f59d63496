/* Passes that find line ends and measure lines; compiled once for each instruction set.
 *
 * A line is not followed from start to end: from its start on, the last line end is looked for that its limit
 * allows. So a jump covers nearly the limit, whatever lines a peer chooses: 1.5 x memcpy and more.
 */

KUMO_INLINE kumo_flags
kumo_line_ends(const unsigned char *p)
{
    const kumo_octets octets = kumo_load(p);
    return kumo_or(kumo_equal(octets, KUMO_LF), kumo_equal(octets, KUMO_CR));
}

KUMO_INLINE int
kumo_has_line_end(const unsigned char *block)
{
    kumo_flags any = kumo_none();
    for (ptrdiff_t i = 0; i < KUMO_BLOCK; i += KUMO_STEP)
        any = kumo_more(any, kumo_line_ends(block + i));
    return kumo_any(any);
}

/* Most line ends that are looked for are within some steps; else it goes on by blocks. Only after those steps,
 * for a block that has a line end was looked at in vain: that made lines of 501 octets, whose ends are half the
 * limit from where the search begins, six times as dear as others. */
KUMO_PASS ptrdiff_t
kumo_last_line_end(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    const ptrdiff_t least = start < KUMO_STEP ? KUMO_STEP - 1 : start;
    for (int steps = 1; end > least; steps++) {
        const uint64_t marks = kumo_marks(kumo_line_ends(p + end - KUMO_STEP));
        if (marks) {
            const ptrdiff_t hit = end - 1 - __builtin_clzll(marks);
            return hit >= start ? hit : -1;
        }
        /* Where the next line's end will be looked for, if that line is as long: else those of 501 octets took
         * a quarter longer. */
        __builtin_prefetch(p + end + KUMO_SEARCHED * KUMO_STEP);
        end -= KUMO_STEP;
        if (steps % KUMO_SEARCHED == 0)
            while (end - start >= KUMO_BLOCK && !kumo_has_line_end(p + end - KUMO_BLOCK))
                end -= KUMO_BLOCK;
    }
    while (end > start) {
        end--;
        if (p[end] == KUMO_LF || p[end] == KUMO_CR)
            return end;
    }
    return -1;
}

KUMO_PASS ptrdiff_t
kumo_next_line_end(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    for (int steps = 1; end - start >= KUMO_STEP; steps++) {
        const uint64_t marks = kumo_marks(kumo_line_ends(p + start));
        if (marks)
            return start + __builtin_ctzll(marks);
        start += KUMO_STEP;
        if (steps % KUMO_SEARCHED == 0)
            while (end - start >= KUMO_BLOCK && !kumo_has_line_end(p + start))
                start += KUMO_BLOCK;
    }
    while (start < end && p[start] != KUMO_LF && p[start] != KUMO_CR)
        start++;
    return start;
}

/* The start of the next line after a line end. The LF of CRLF is no line: else those of exactly the limit
 * would be searched to their start each time, because the range in which their end may be divides it. */
KUMO_INLINE ptrdiff_t
kumo_behind(const unsigned char *p, ptrdiff_t line_end, ptrdiff_t n)
{
    ptrdiff_t start = line_end + 1;
    if (start < n && p[start] == KUMO_LF) {
        /* A branch, foretold where lines end alike: added without one, the octet is waited for, a fifth longer. */
        __asm__("");
        start++;
    }
    return start;
}

/* The start of the line after the last line end that the limit allows from `start` on, if that is in the last
 * step before it; else `start`. There are more than `limit` octets behind `start`. In line: with a call for
 * each jump lines of 998 octets took a tenth longer with AVX2, half as long again with AVX-512. */
KUMO_INLINE ptrdiff_t
kumo_jump(const unsigned char *p, ptrdiff_t start, ptrdiff_t n, ptrdiff_t limit)
{
    const ptrdiff_t stop = start + limit + 1;
    uint64_t marks;
    if (stop < KUMO_STEP || limit < KUMO_STEP)
        return start; /* The step would begin before the chunk, or before the line. */
    marks = kumo_marks(kumo_line_ends(p + stop - KUMO_STEP));
    return marks ? kumo_behind(p, stop - 1 - __builtin_clzll(marks), n) : start;
}

KUMO_PASS ptrdiff_t
kumo_skip_lines(const unsigned char *p, ptrdiff_t start, ptrdiff_t n, ptrdiff_t limit)
{
    while (n - start > limit) {
        const ptrdiff_t hit = kumo_last_line_end(p, start > 0 ? start : 0, start + limit + 1);
        if (hit < 0)
            break;
        start = kumo_behind(p, hit, n);
    }
    return start;
}

/* Measures the lines in p[0:end], going on where it stopped the last time. A line that is known to have no end
 * before some octet is searched from there: else those over the limit would be searched twice. */
KUMO_PASS void
kumo_measure(const unsigned char *p, ptrdiff_t end, kumo_lines *lines)
{
    while (lines->is_long || end - lines->start > lines->limit) {
        ptrdiff_t hit;
        if (!lines->is_long && lines->seen <= lines->start) {
            const ptrdiff_t start = lines->start;
            lines->start = kumo_skip_lines(p, start, end, lines->limit);
            if (lines->start > start)
                continue;
            lines->seen = start + lines->limit + 1;
        }
        hit = kumo_next_line_end(p, lines->seen, end);
        lines->seen = hit;
        if (hit - lines->start <= lines->limit) {
            lines->start = kumo_behind(p, hit, end);
            continue;
        }
        if (kumo_removes_dot(p, lines->start, &lines->before)) {
            lines->start++;
            continue;
        }
        lines->is_long = hit == end;
        if (lines->is_long)
            return;
        if (hit - lines->start > lines->longest)
            lines->longest = hit - lines->start;
        lines->start = kumo_behind(p, hit, end);
    }
}

/* Goes to the last line that begins in p[0:end], without measuring those before it. */
KUMO_INLINE void
kumo_start_last_line(const unsigned char *p, ptrdiff_t end, kumo_lines *lines)
{
    const ptrdiff_t hit = kumo_last_line_end(p, lines->start > 0 ? lines->start : 0, end);
    if (hit >= 0)
        lines->start = hit + 1;
}

/* Leaves the start of the open line, without a dot that is to be removed, as seen from the end of p[0:n]. */
KUMO_INLINE void
kumo_finish_lines(const unsigned char *p, ptrdiff_t n, kumo_lines *lines)
{
    if (lines->is_measured)
        kumo_measure(p, n, lines);
    if (!lines->is_long) {
        kumo_start_last_line(p, n, lines);
        if (lines->start < n && kumo_removes_dot(p, lines->start, &lines->before))
            lines->start++;
    }
    lines->start -= n;
}
