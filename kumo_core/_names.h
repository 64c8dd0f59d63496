/* What each instruction set has of its own: `kumo_equal` is `kumo_equal_avx2` while KUMO_SET is avx2.
 *
 * Every set defines the primitives, all of them on a step of 64 octets; `_measuring.h`, `_looking.h` and
 * `_changing.h` are compiled with them once a set, by `_of_set.h`. It also defines KUMO_SET, KUMO_PASS,
 * KUMO_INLINE, KUMO_SPARSE (up to how many places are worth over-copying), KUMO_BLOCKWISE (whether those of
 * a block are meant, or those of a step), KUMO_LOOKED_AT (how many steps of a look are a turn of its loop) and
 * KUMO_COUNTS_BARE (whether bare line ends are counted in less time than they are judged).
 */
#ifndef KUMO_NAMES_H
#define KUMO_NAMES_H

#define KUMO_JOIN_NOW(name, set) name##_##set
#define KUMO_JOIN(name, set) KUMO_JOIN_NOW(name, set)
#define KUMO_OF_SET(name) KUMO_JOIN(name, KUMO_SET)
#define KUMO_TEXT_NOW(set) #set
#define KUMO_TEXT(set) KUMO_TEXT_NOW(set)

/* Before a loop: how many turns of it become one. */
#define KUMO_PRAGMA(text) _Pragma(#text)
#define KUMO_UNROLL_NOW(turns) KUMO_PRAGMA(GCC unroll turns)
#define KUMO_UNROLL(turns) KUMO_UNROLL_NOW(turns)

/* A step in registers. Held: not to be loaded anew for each comparison, as the compiler does; for it ordinary
 * mail is scanned with 78 GB/s in place of 68 with AVX-512 (Zen 5), with 55 in place of 51 with AVX2. */
#define kumo_octets KUMO_OF_SET(kumo_octets)
#define kumo_load KUMO_OF_SET(kumo_load)
#define kumo_held KUMO_OF_SET(kumo_held)
/* For each octet whether something holds: in the form that is cheapest to compute and to combine. */
#define kumo_flags KUMO_OF_SET(kumo_flags)
#define kumo_none KUMO_OF_SET(kumo_none)
#define kumo_equal KUMO_OF_SET(kumo_equal)
#define kumo_and KUMO_OF_SET(kumo_and)
#define kumo_or KUMO_OF_SET(kumo_or)
#define kumo_xor KUMO_OF_SET(kumo_xor)
/* The first, but not the second. */
#define kumo_but KUMO_OF_SET(kumo_but)
/* Of some flags and more of them: whether there is any is all that may be asked of the result. */
#define kumo_more KUMO_OF_SET(kumo_more)
#define kumo_any KUMO_OF_SET(kumo_any)
/* Counts of flags, for up to a block of them, and what they come to. */
#define kumo_counted KUMO_OF_SET(kumo_counted)
#define kumo_sum KUMO_OF_SET(kumo_sum)
/* The flags as marks: one bit an octet, the first lowest. */
#define kumo_marks KUMO_OF_SET(kumo_marks)
#define kumo_equal_marks KUMO_OF_SET(kumo_equal_marks)
#define kumo_copy KUMO_OF_SET(kumo_copy)
/* Insert an octet before each marked one, or remove the marked ones, at one price whatever the marks; return
 * the end of what was made. Inserting writes up to 128 octets, removing 64. */
#define kumo_insert KUMO_OF_SET(kumo_insert)
#define kumo_remove KUMO_OF_SET(kumo_remove)
#define kumo_missing_before KUMO_OF_SET(kumo_missing_before)
/* Of sets with vectors of 16 octets. Where those can be shuffled by another, `_shuffling.h` has the two
 * above, and KUMO_MARKED_OF says how many octets the row of a table marks. */
#define kumo_load_16 KUMO_OF_SET(kumo_load_16)
#define kumo_load_8 KUMO_OF_SET(kumo_load_8)
#define kumo_marks_16 KUMO_OF_SET(kumo_marks_16)
#define kumo_shuffle KUMO_OF_SET(kumo_shuffle)

#define kumo_seen KUMO_OF_SET(kumo_seen)
#define kumo_look KUMO_OF_SET(kumo_look)
#define kumo_judge KUMO_OF_SET(kumo_judge)
#define kumo_judge_ragged KUMO_OF_SET(kumo_judge_ragged)
#define kumo_judge_block KUMO_OF_SET(kumo_judge_block)
#define kumo_manner_after KUMO_OF_SET(kumo_manner_after)
#define kumo_count_block KUMO_OF_SET(kumo_count_block)
#define kumo_take_steps KUMO_OF_SET(kumo_take_steps)
#define kumo_take KUMO_OF_SET(kumo_take)
#define kumo_flagged KUMO_OF_SET(kumo_flagged)
#define kumo_marked KUMO_OF_SET(kumo_marked)
#define kumo_first KUMO_OF_SET(kumo_first)
#define kumo_first_bare KUMO_OF_SET(kumo_first_bare)
#define kumo_first_dot KUMO_OF_SET(kumo_first_dot)
#define kumo_line_ends KUMO_OF_SET(kumo_line_ends)
#define kumo_has_line_end KUMO_OF_SET(kumo_has_line_end)
#define kumo_last_line_end KUMO_OF_SET(kumo_last_line_end)
#define kumo_next_line_end KUMO_OF_SET(kumo_next_line_end)
#define kumo_behind KUMO_OF_SET(kumo_behind)
#define kumo_jump KUMO_OF_SET(kumo_jump)
#define kumo_skip_lines KUMO_OF_SET(kumo_skip_lines)
#define kumo_measure KUMO_OF_SET(kumo_measure)
#define kumo_start_last_line KUMO_OF_SET(kumo_start_last_line)
#define kumo_finish_lines KUMO_OF_SET(kumo_finish_lines)
#define kumo_end_measuring KUMO_OF_SET(kumo_end_measuring)
#define kumo_begin_measuring KUMO_OF_SET(kumo_begin_measuring)
#define kumo_measure_long KUMO_OF_SET(kumo_measure_long)
#define kumo_measure_block KUMO_OF_SET(kumo_measure_block)
#define kumo_count KUMO_OF_SET(kumo_count)
#define kumo_count_bare KUMO_OF_SET(kumo_count_bare)
#define kumo_count_dots KUMO_OF_SET(kumo_count_dots)
#define kumo_over_copy KUMO_OF_SET(kumo_over_copy)
#define kumo_change_step KUMO_OF_SET(kumo_change_step)
#define kumo_change_block KUMO_OF_SET(kumo_change_block)
#define kumo_change_ragged KUMO_OF_SET(kumo_change_ragged)
#define kumo_change_steps KUMO_OF_SET(kumo_change_steps)
#define kumo_change_all KUMO_OF_SET(kumo_change_all)
#define kumo_mend KUMO_OF_SET(kumo_mend)
#define kumo_stuff KUMO_OF_SET(kumo_stuff)
#define kumo_unstuff KUMO_OF_SET(kumo_unstuff)

#endif
