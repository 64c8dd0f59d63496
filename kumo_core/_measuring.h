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

/* Most line ends that are looked for are within a step; else it goes on by blocks. */
KUMO_PASS ptrdiff_t
kumo_last_line_end(const unsigned char *p, ptrdiff_t start, ptrdiff_t end)
{
    while (end > start && end >= KUMO_STEP) {
        const uint64_t marks = kumo_marks(kumo_line_ends(p + end - KUMO_STEP));
        if (marks) {
            const ptrdiff_t hit = end - 1 - __builtin_clzll(marks);
            return hit >= start ? hit : -1;
        }
        end -= KUMO_STEP;
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
    while (end - start >= KUMO_STEP) {
        const uint64_t marks = kumo_marks(kumo_line_ends(p + start));
        if (marks)
            return start + __builtin_ctzll(marks);
        start += KUMO_STEP;
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
    const ptrdiff_t start = line_end + 1;
    return start + (start < n && p[start] == KUMO_LF);
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

/* Measures the lines in p[0:end], going on where it stopped the last time. */
KUMO_PASS void
kumo_measure(const unsigned char *p, ptrdiff_t end, kumo_lines *lines)
{
    for (;;) {
        if (lines->is_long) {
            const ptrdiff_t hit = kumo_next_line_end(p, lines->seen, end);
            lines->seen = hit;
            if (hit == end)
                return;
            if (hit - lines->start > lines->longest)
                lines->longest = hit - lines->start;
            lines->start = kumo_behind(p, hit, end);
            lines->is_long = 0;
        }
        lines->start = kumo_skip_lines(p, lines->start, end, lines->limit);
        if (end - lines->start <= lines->limit)
            return;
        if (kumo_removes_dot(p, lines->start, &lines->before)) {
            lines->start++;
        } else {
            lines->is_long = 1;
            lines->seen = lines->start + lines->limit > 0 ? lines->start + lines->limit : 0;
        }
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
