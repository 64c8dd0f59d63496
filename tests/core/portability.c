/* Runs every pass of every instruction set that this processor has on the same random octets.
 *
 * Prints a digest of all results, which are to be the same everywhere; exits with 1, and says where, if two
 * sets differ.
 */
#include <stdio.h>
#include <stdlib.h>

#include "_instruction_sets.h"

enum { MOST = 3000, TURNS = 4000 };

static const char *const ALPHABETS[] = {
    "\r\n", "\r\nx.", "\n.xxxxxxxxxxxxx", "\rxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};

/* What a chunk before can end in. */
static const kumo_seam SEAMS[] = {
    {0}, {.cr = 1ULL << 63}, {.line = 1ULL << 63}, {.dot = 1ULL << 63}, {.cr = 1ULL << 63, .dot_cr = 1ULL << 63},
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

enum {
    TAKEN, END, DOTS, FIRST_BARE, HAS_BARE_LF, HAS_BARE_CR, LONGEST, START, IS_LONG, BARE, DOT, BARE_COUNT,
    DOT_COUNT, SKIPPED, MADE, NUMBERS = MADE + 3
};

/* What is found in, and made of, some octets. */
typedef struct {
    ptrdiff_t numbers[NUMBERS];
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
    ptrdiff_t *const numbers = all->numbers;
    numbers[TAKEN] = passes->take(p, n, &seam, &lines, &found);
    numbers[END] = found.end;
    numbers[DOTS] = found.dots;
    numbers[FIRST_BARE] = found.first_bare;
    numbers[HAS_BARE_LF] = found.bare_lf != 0;
    numbers[HAS_BARE_CR] = found.bare_cr != 0;
    numbers[LONGEST] = lines.longest;
    numbers[START] = lines.start;
    numbers[IS_LONG] = lines.is_long != 0;
    numbers[BARE] = passes->first_bare(p, n);
    numbers[DOT] = passes->first_dot(p, n);
    numbers[BARE_COUNT] = passes->count_bare(&rest);
    numbers[DOT_COUNT] = passes->count_dots(&rest);
    numbers[SKIPPED] = passes->skip_lines(p, 0, n, lines.limit);
}

static void
change(const kumo_passes *passes, const unsigned char *p, ptrdiff_t n, outcome *all)
{
    void (*const kinds[])(kumo_change *) = {passes->mend, passes->stuff, passes->unstuff};
    for (int kind = 0; kind < 3; kind++) {
        const size_t room = sizeof all->changed[kind];
        kumo_change whole = {.from = p, .length = n, .to = all->changed[kind], .room = (ptrdiff_t) room};
        kinds[kind](&whole);
        all->numbers[MADE + kind] = whole.made;
        /* What a pass writes behind its result is its own affair. */
        memset(all->changed[kind] + whole.made, 0, room - (size_t) whole.made);
    }
}

/* FNV-1a, by words and by octets. */
static uint64_t
digested(uint64_t digest, const outcome *all)
{
    const uint64_t prime = 0x100000001B3ULL;
    for (int i = 0; i < NUMBERS; i++)
        digest = (digest ^ (uint64_t) all->numbers[i]) * prime;
    for (int kind = 0; kind < 3; kind++)
        for (ptrdiff_t i = 0; i < all->numbers[MADE + kind]; i++)
            digest = (digest ^ all->changed[kind][i]) * prime;
    return digest;
}

int
main(void)
{
    static outcome first, other;
    static unsigned char octets[MOST + 64];
    const kumo_passes *available[KUMO_SETS];
    const int count = kumo_available(available);
    uint64_t digest = 0xCBF29CE484222325ULL;
    for (int turn = 0; turn < TURNS; turn++) {
        unsigned char *const p = octets + any(64);
        const ptrdiff_t n = 1 + any(MOST);
        const char *alphabet = ALPHABETS[turn % 4];
        const kumo_seam seam = SEAMS[any(sizeof SEAMS / sizeof *SEAMS)];
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
        digest = digested(digest, &first);
    }
    printf("%016llx\n", (unsigned long long) digest);
    return 0;
}
