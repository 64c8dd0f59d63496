/* Compiles every pass for the instruction set whose primitives stand before it; makes way for the next. */
#include "_measuring.h"
#include "_looking.h"
#include "_changing.h"

static const kumo_passes KUMO_OF_SET(kumo_passes) = {
    KUMO_TEXT(KUMO_SET), kumo_take, kumo_first_bare, kumo_first_dot, kumo_count_bare, kumo_count_dots,
    kumo_mend, kumo_stuff, kumo_unstuff, kumo_skip_lines,
};

#undef KUMO_SET
#undef KUMO_PASS
#undef KUMO_INLINE
#undef KUMO_SPARSE
#undef KUMO_BLOCKWISE
#undef KUMO_LOOKED_AT
#undef KUMO_COUNTS_BARE
