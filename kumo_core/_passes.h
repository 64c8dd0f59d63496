/* What an instruction set offers: passes over octets, and what they find.
 *
 * A pass takes any alignment and any length, reads and writes nothing outside what it is given, and allocates
 * nothing. Every instruction set gives the same results.
 */
#ifndef KUMO_PASSES_H
#define KUMO_PASSES_H

#include <stddef.h>
#include <stdint.h>

enum { KUMO_LF = 0x0A, KUMO_CR = 0x0D, KUMO_DOT = 0x2E };

enum {
    KUMO_STEP = 64, /* octets whose marks fill one word */
    /* Octets that are looked at before anything is asked. Blocks of 512 would not bound a line by 998. */
    KUMO_BLOCK = 7 * KUMO_STEP,
    /* Steps in which a line end is looked for, before blocks are passed over: half the usual limit of a line. */
    KUMO_SEARCHED = 8,
    /* Where every whole block has an LF, the first line of a chunk ends before the one bound, and all others
     * have fewer octets than the other. */
    KUMO_FIRST_LINE = KUMO_STEP + KUMO_BLOCK,
    KUMO_SHORT_LINE = 2 * KUMO_BLOCK + KUMO_STEP
};

/* What the octets before a chunk end in. Between chunks only bit 63 counts, where the marks of the step
 * before have its last octet. */
typedef struct {
    uint64_t cr;
    uint64_t line;   /* CRLF, or the line end of the DATA command */
    uint64_t dot;    /* CRLF and a dot */
    uint64_t dot_cr; /* CRLF, a dot and a CR */
} kumo_seam;

/* What was found in a chunk; bits are zero or not. */
typedef struct {
    ptrdiff_t end;        /* offset behind the end of data, 0 without one */
    ptrdiff_t dots;       /* behind CRLF, that of the end of data included */
    ptrdiff_t first_bare; /* offset of the first bare CR or LF, -1 if before the chunk, or KUMO_NOWHERE */
    uint64_t bare_lf;
    uint64_t bare_cr;
    uint64_t lf; /* for the pass itself */
} kumo_findings;

/* Lines being measured. Between chunks `start` is seen from the end of the last one. */
typedef struct {
    ptrdiff_t limit;
    ptrdiff_t start;   /* of the open line, without a dot that is to be removed; negative before the chunk */
    ptrdiff_t longest; /* octets of the longest line over the limit that has ended, or 0 */
    int is_long;       /* the open line is over the limit */
    /* For the pass itself: */
    ptrdiff_t seen;  /* no line ends between start and here, if that is behind start */
    int is_measured; /* whether lines have to be measured at all */
    kumo_seam before;
} kumo_lines;

enum { KUMO_NOWHERE = -2 };

/* How a block is taken. */
typedef enum { KUMO_LOOK, KUMO_COUNT, KUMO_JUDGE } kumo_manner;

typedef enum { KUMO_MEND, KUMO_STUFF, KUMO_UNSTUFF } kumo_kind;

/* A change under way: from[taken:length] is still to be read, to[made:room] may still be written. */
typedef struct {
    const unsigned char *from;
    ptrdiff_t taken;
    ptrdiff_t length;
    unsigned char *to;
    ptrdiff_t made;
    ptrdiff_t room;
} kumo_change;

typedef struct {
    const char *name;

    /* Takes stock of p[0:n], n > 0, up to and with an end of data; returns the offset behind it. */
    ptrdiff_t (*take)(
        const unsigned char *p, ptrdiff_t n, kumo_seam *seam, kumo_lines *lines, kumo_findings *found
    );

    /* Offset of the first bare CR or LF of p[0:n], or n. */
    ptrdiff_t (*first_bare)(const unsigned char *p, ptrdiff_t n);
    /* Offset of the first dot of p[0:n] at its start or behind a CRLF, or n. */
    ptrdiff_t (*first_dot)(const unsigned char *p, ptrdiff_t n);

    /* How many octets the rest of a change inserts. */
    ptrdiff_t (*count_bare)(const kumo_change *change);
    ptrdiff_t (*count_dots)(const kumo_change *change);
    /* Go on with a change until it is done or its room is too small. `taken` is 0 or 4 and more. */
    void (*mend)(kumo_change *change);
    void (*stuff)(kumo_change *change);
    void (*unstuff)(kumo_change *change);

    /* From the start of a line on to that of the first one of which p[0:n] shows that it is over the limit,
     * else to one with at most so many octets behind it. */
    ptrdiff_t (*skip_lines)(const unsigned char *p, ptrdiff_t start, ptrdiff_t n, ptrdiff_t limit);
} kumo_passes;

#endif
