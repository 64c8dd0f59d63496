/* Runs every pass of every instruction set that this processor has on the same random octets.
 *
 * Compiled so that undefined behaviour ends it; exits with 1, and says where, if two sets differ.
 */
#include <stdio.h>
#include <stdlib.h>

#include "_instruction_sets.h"

enum { MOST = 3000, TURNS = 4000 };

static const char *const ALPHABETS[] = {
    "\r\n", "\r\nx.", "\n.xxxxxxxxxxxxx", "\rxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};

static uint32_t
any(uint32_t below)
{
    static uint32_t state = 20261130;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

/* What is found in, and made of, some octets. */
typedef struct {
    ptrdiff_t taken, end, dots, first_bare, longest, start, skipped, bare, dot, bare_count, dot_count;
    int has_bare_lf, has_bare_cr, is_long;
    ptrdiff_t made[3];
    unsigned char changed[3][2 * MOST + 512];
} outcome;

static void
find(
    const kumo_passes *passes, const unsigned char *p, ptrdiff_t n, kumo_seam seam, kumo_lines lines,
    outcome *all
)
{
    kumo_findings found = {.first_bare = KUMO_NOWHERE};
    kumo_change rest = {.from = p, .length = n};
    all->taken = passes->take(p, n, &seam, &lines, &found);
    all->end = found.end;
    all->dots = found.dots;
    all->first_bare = found.first_bare;
    all->has_bare_lf = found.bare_lf != 0;
    all->has_bare_cr = found.bare_cr != 0;
    all->longest = lines.longest;
    all->start = lines.start;
    all->is_long = lines.is_long != 0;
    all->bare = passes->first_bare(p, n);
    all->dot = passes->first_dot(p, n);
    all->bare_count = passes->count_bare(&rest);
    all->dot_count = passes->count_dots(&rest);
    all->skipped = passes->skip_lines(p, 0, n, lines.limit);
}

static void
change(const kumo_passes *passes, const unsigned char *p, ptrdiff_t n, outcome *all)
{
    void (*const kinds[])(kumo_change *) = {passes->mend, passes->stuff, passes->unstuff};
    for (int kind = 0; kind < 3; kind++) {
        const size_t room = sizeof all->changed[kind];
        kumo_change whole = {.from = p, .length = n, .to = all->changed[kind], .room = (ptrdiff_t) room};
        kinds[kind](&whole);
        all->made[kind] = whole.made;
        /* What a pass writes behind its result is its own affair. */
        memset(all->changed[kind] + whole.made, 0, room - (size_t) whole.made);
    }
}

int
main(void)
{
    static outcome first, other;
    static unsigned char octets[MOST + 64];
    const kumo_passes *available[3];
    const int count = kumo_available(available);
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned char *const p = octets + any(64);
        const ptrdiff_t n = 1 + any(MOST);
        const char *alphabet = ALPHABETS[turn % 4];
        const kumo_seam seam = {.cr = (uint64_t) any(2) << 63};
        const kumo_lines lines = {.limit = any(2) ? 998 : 1 + any(40), .start = -(ptrdiff_t) any(50)};
        for (ptrdiff_t i = 0; i < n; i++)
            p[i] = (unsigned char) alphabet[any((uint32_t) strlen(alphabet))];
        for (int i = 0; i < count; i++) {
            outcome *all = i == 0 ? &first : &other;
            memset(all, 0, sizeof *all);
            find(available[i], p, n, seam, lines, all);
            change(available[i], p, n, all);
            if (memcmp(&first, all, sizeof first) != 0) {
                printf("turn %d: %s differs from %s\n", turn, available[i]->name, available[0]->name);
                return 1;
            }
        }
    }
    return 0;
}
