/* Passes that copy octets and insert or remove some on the way; compiled once for each instruction set.
 *
 * Where there are few places to change a step is copied whole, and what is behind each place once more, an
 * octet further on or nearer. Where there are many, that would take up to 64 copies a step, and the processor
 * would guess wrong how many; so they are changed by the instruction set's own means, at one price whatever
 * the marks. Both write more than they make, hence the margin.
 */

/* Change 64 octets where they are marked, at a price for each; returns the end of what was made. Reads 128
 * octets, writes up to 192. */
KUMO_INLINE unsigned char *
kumo_over_copy(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    kumo_copy(out, step);
    for (; marks; marks &= marks - 1) {
        const int place = __builtin_ctzll(marks);
        if (kind == KUMO_UNSTUFF) {
            kumo_copy(out + place, step + place + 1);
            out--;
        } else {
            out[place] = kumo_missing(step[place], kind);
            out++;
            kumo_copy(out + place, step + place);
        }
    }
    return out + KUMO_STEP;
}

/* The same at one price, but for few marks: of the step, or of its block. */
KUMO_INLINE unsigned char *
kumo_change_step(
    const unsigned char *step, uint64_t marks, int is_sparse, unsigned char *out, kumo_kind kind
)
{
    if (is_sparse)
        return kumo_over_copy(step, marks, out, kind);
    if (kind == KUMO_UNSTUFF)
        return kumo_remove(step, marks, out);
    return kumo_insert(step, marks, out, kind);
}

/* Change up to 64 octets in copies of exact size; tells whether there was room. */
KUMO_INLINE int
kumo_change_ragged(kumo_change *change, kumo_kind kind)
{
    unsigned char out[4 * KUMO_STEP];
    kumo_window window;
    const ptrdiff_t end = change->taken > 0 ? change->length : kumo_lead(change->from, change->length);
    const unsigned char *step = kumo_open_window(&window, change->from, change->taken, end);
    const int is_last = change->taken + window.length == change->length;
    const uint64_t marks = kumo_marks(kumo_flagged(step, kind));
    const int changed = __builtin_popcountll(marks & window.valid);
    ptrdiff_t made = window.length + (kind == KUMO_UNSTUFF ? -changed : changed);

    /* What is flagged behind the window's end changes nothing before it. */
    kumo_change_step(step, marks, __builtin_popcountll(marks) <= KUMO_SPARSE, out, kind);
    if (kind == KUMO_MEND && is_last && step[window.length - 1] == KUMO_CR)
        out[made++] = KUMO_LF;
    if (made > change->room - change->made)
        return 0;
    memcpy(change->to + change->made, out, (size_t) made);
    change->made += made;
    change->taken += window.length;
    return 1;
}

/* Change a block, over-copying where there are few places: in each step by itself, or in all of it.
 *
 * It is all marked before any of it is changed, so that nothing waits for marks: with AVX-512 lone CR took a
 * tenth longer when each step was marked and changed in turn, lines of 78 octets at the baseline a third. */
KUMO_INLINE unsigned char *
kumo_change_block(const unsigned char *block, unsigned char *out, kumo_kind kind)
{
    const unsigned char *const end = block + KUMO_BLOCK;
    uint64_t marks[KUMO_BLOCK / KUMO_STEP];
    int count = 0;
    for (int i = 0; i < KUMO_BLOCK / KUMO_STEP; i++) {
        marks[i] = kumo_marks(kumo_flagged(block + i * KUMO_STEP, kind));
        count += __builtin_popcountll(marks[i]);
    }
    if (!KUMO_BLOCKWISE) {
        for (int i = 0; block < end; block += KUMO_STEP, i++) {
            const int is_sparse = __builtin_popcountll(marks[i]) <= KUMO_SPARSE;
            out = kumo_change_step(block, marks[i], is_sparse, out, kind);
        }
        return out;
    }
    if (count <= KUMO_SPARSE) {
        for (int i = 0; block < end; block += KUMO_STEP, i++)
            out = kumo_change_step(block, marks[i], 1, out, kind);
        return out;
    }
    /* The compiler leaves the AVX2 form rolled up: 6 % more. */
#pragma GCC unroll 7
    for (int i = 0; block < end; block += KUMO_STEP, i++)
        out = kumo_change_step(block, marks[i], 0, out, kind);
    return out;
}

/* Change the whole steps that leave the margin, in place. */
KUMO_INLINE void
kumo_change_steps(kumo_change *change, kumo_kind kind)
{
    const unsigned char *from = change->from + change->taken;
    unsigned char *to = change->to + change->made;
    ptrdiff_t length = change->length - change->taken;
    const unsigned char *const end = change->to + change->room;
    while (length >= KUMO_BLOCK + KUMO_MARGIN && end - to >= 2 * KUMO_BLOCK + KUMO_MARGIN) {
        to = kumo_change_block(from, to, kind);
        from += KUMO_BLOCK;
        length -= KUMO_BLOCK;
    }
    for (; length >= KUMO_MARGIN && end - to >= KUMO_MARGIN; length -= KUMO_STEP) {
        const uint64_t marks = kumo_marks(kumo_flagged(from, kind));
        to = kumo_change_step(from, marks, __builtin_popcountll(marks) <= KUMO_SPARSE, to, kind);
        from += KUMO_STEP;
    }
    change->taken = change->length - length;
    change->made = to - change->to;
}

KUMO_INLINE void
kumo_change_all(kumo_change *change, kumo_kind kind)
{
    while (change->taken < change->length) {
        if (change->taken > 0)
            kumo_change_steps(change, kind);
        if (!kumo_change_ragged(change, kind))
            return;
    }
}

KUMO_PASS void
kumo_mend(kumo_change *change)
{
    kumo_change_all(change, KUMO_MEND);
}

KUMO_PASS void
kumo_stuff(kumo_change *change)
{
    kumo_change_all(change, KUMO_STUFF);
}

KUMO_PASS void
kumo_unstuff(kumo_change *change)
{
    kumo_change_all(change, KUMO_UNSTUFF);
}

KUMO_INLINE ptrdiff_t
kumo_count(const kumo_change *change, kumo_kind kind)
{
    ptrdiff_t at = change->taken;
    ptrdiff_t count = 0;
    while (at < change->length) {
        ptrdiff_t length;
        count += __builtin_popcountll(kumo_marked(change->from, at, change->length, kind, &length));
        at += length;
    }
    if (kind == KUMO_MEND && at > 0 && change->from[at - 1] == KUMO_CR)
        count++;
    return count;
}

KUMO_PASS ptrdiff_t
kumo_count_bare(const kumo_change *change)
{
    return kumo_count(change, KUMO_MEND);
}

KUMO_PASS ptrdiff_t
kumo_count_dots(const kumo_change *change)
{
    return kumo_count(change, KUMO_STUFF);
}
