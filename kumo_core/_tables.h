/* Tables of shuffles, by the marks of eight octets; shared by all sets that can look octets up. */
#ifndef KUMO_TABLES_H
#define KUMO_TABLES_H

typedef unsigned char kumo_order __attribute__((vector_size(16)));

/* Which of the octets (0 to 7) and of those to be inserted before them (8 to 15) follow each other; which of
 * them stay; how many are marked. */
static kumo_order kumo_inserted[256];
static unsigned char kumo_remaining[256][8];
static unsigned char kumo_marked_of[256];

static void
kumo_fill_tables(void)
{
    for (int marks = 0; marks < 256; marks++) {
        unsigned char *inserted = (unsigned char *) &kumo_inserted[marks];
        unsigned char *remaining = kumo_remaining[marks];
        kumo_marked_of[marks] = (unsigned char) __builtin_popcount((unsigned) marks);
        for (unsigned char i = 0; i < 8; i++) {
            if (marks >> i & 1)
                *inserted++ = 8 + i;
            else
                *remaining++ = i;
            *inserted++ = i;
        }
    }
}

#endif
