/* Octets are spread and packed eight at a time where the processor cannot shuffle: each moves by one, two and
 * four places, or does not, by tables of masks. With pairs of octets that were stored one after the other
 * dense line ends took a third longer (Zen 5), dense dots as well. */

/* How the octets of a vector get to their places: which of them stay at all; which of those move by one
 * place, of what that makes by two, and of that by four. */
typedef struct {
    kumo_16 kept, by_one, by_two, by_four;
} kumo_moves;

/* By the marks of eight octets: each of them behind what may be missing before it; and each by itself. */
static kumo_moves kumo_inserting[256];
static kumo_moves kumo_removing[256];

static void
kumo_plan_moves(kumo_moves *moves, uint32_t kept)
{
    kumo_16 *const by[3] = {&moves->by_one, &moves->by_two, &moves->by_four};
    int to = 0;
    for (int from = 0; from < 16; from++) {
        int at = from;
        if (!(kept >> from & 1))
            continue;
        moves->kept[from] = 255;
        for (int step = 0; step < 3; step++)
            if ((from - to) >> step & 1) {
                (*by[step])[at] = 255;
                at -= 1 << step;
            }
        to++;
    }
}

static void
kumo_fill_moves(void)
{
    for (uint32_t marks = 0; marks < 256; marks++) {
        /* The last octet is not among them: it alone may have eight places to go, and is stored by itself. */
        uint32_t pairs = 0x2AAA;
        for (int i = 0; i < 8; i++)
            pairs |= (marks >> i & 1) << 2 * i;
        kumo_plan_moves(&kumo_inserting[marks], pairs);
        kumo_plan_moves(&kumo_removing[marks], ~marks & 0xFF);
    }
}

KUMO_INLINE kumo_16
kumo_moved(kumo_16 octets, const kumo_moves *moves, int has_four)
{
    const kumo_16 none = {0};
    kumo_16 moving;
    octets &= moves->kept;
    moving = octets & moves->by_one;
    octets ^= moving;
    octets |= KUMO_SHUFFLE(moving, none, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    moving = octets & moves->by_two;
    octets ^= moving;
    octets |= KUMO_SHUFFLE(moving, none, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17);
    if (has_four) {
        moving = octets & moves->by_four;
        octets ^= moving;
        octets |= KUMO_SHUFFLE(moving, none, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19);
    }
    return octets;
}

KUMO_INLINE unsigned char *
kumo_insert(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    for (int i = 0; i < KUMO_STEP; i += 16) {
        const kumo_16 octets = kumo_load_16(step + i);
        const kumo_16 missing = kumo_missing_before(octets, kind);
        const kumo_16 pairs[2] = {
            KUMO_SHUFFLE(missing, octets, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            KUMO_SHUFFLE(missing, octets, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
        };
        for (int j = 0; j < 2; j++) {
            const int place = i + 8 * j;
            const size_t row = marks >> place & 0xFF;
            const kumo_16 made = kumo_moved(pairs[j], &kumo_inserting[row], 1);
            memcpy(out + place, &made, 16);
            out += kumo_marked_of[row];
            out[place + 7] = step[place + 7];
        }
    }
    return out + KUMO_STEP;
}

/* Of eight octets three may be flagged: from one leading dot to the next there are three. */
KUMO_INLINE unsigned char *
kumo_remove(const unsigned char *step, uint64_t marks, unsigned char *out)
{
    for (int i = 0; i < KUMO_STEP; i += 8) {
        const size_t row = marks >> i & 0xFF;
        const kumo_16 kept = kumo_moved(kumo_load_8(step + i), &kumo_removing[row], 0);
        memcpy(out + i, &kept, 8);
        out -= kumo_marked_of[row];
    }
    return out + KUMO_STEP;
}
