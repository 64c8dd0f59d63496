/* Octets are spread and packed eight at a time, by tables of shuffles. */

KUMO_INLINE unsigned char *
kumo_insert(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    for (int i = 0; i < KUMO_STEP; i += 16) {
        const kumo_16 octets = kumo_load_16(step + i);
        const kumo_16 missing = kumo_missing_before(octets, kind);
        const kumo_16 eights[2] = {
            KUMO_SHUFFLE(octets, missing, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
            KUMO_SHUFFLE(octets, missing, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31),
        };
        for (int j = 0; j < 2; j++) {
            const size_t row = marks >> (i + 8 * j) & 0xFF;
            const kumo_16 made = kumo_shuffle(eights[j], kumo_inserted[row]);
            memcpy(out + i + 8 * j, &made, 16);
            out += KUMO_MARKED_OF(row);
        }
    }
    return out + KUMO_STEP;
}

KUMO_INLINE unsigned char *
kumo_remove(const unsigned char *step, uint64_t marks, unsigned char *out)
{
    for (int i = 0; i < KUMO_STEP; i += 8) {
        const size_t row = marks >> i & 0xFF;
        const kumo_16 kept = kumo_shuffle(kumo_load_8(step + i), kumo_load_8(kumo_remaining[row]));
        memcpy(out + i, &kept, 8);
        out -= KUMO_MARKED_OF(row);
    }
    return out + KUMO_STEP;
}
