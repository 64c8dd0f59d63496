/* AVX2: two registers a step; octets are spread and packed eight at a time, by tables of shuffles. */
#define KUMO_SET avx2
#define KUMO_PASS __attribute__((target("avx2,bmi,bmi2,popcnt"))) static
#define KUMO_INLINE __attribute__((always_inline)) KUMO_PASS inline
/* One a step: then over-copying runs at 0.31 x memcpy, shuffling at 0.27 whatever the marks. Were each step
 * asked, lines of random lengths would take up to three times as long, as the processor guesses wrong. */
#define KUMO_SPARSE 7
#define KUMO_BLOCKWISE 1
/* Of a block at once the compiler keeps more comparisons than there are registers. */
#define KUMO_LOOKED_AT 2
#define KUMO_COUNTS_BARE 1

typedef struct {
    __m256i low, high;
} kumo_flags;

typedef kumo_flags kumo_octets;

KUMO_INLINE kumo_octets
kumo_load(const unsigned char *p)
{
    return (kumo_octets) {
        _mm256_loadu_si256((const __m256i *) p),
        _mm256_loadu_si256((const __m256i *) (p + 32)),
    };
}

KUMO_INLINE kumo_octets
kumo_held(kumo_octets octets)
{
    __asm__("" : "+x"(octets.low), "+x"(octets.high));
    return octets;
}

KUMO_INLINE kumo_flags
kumo_none(void)
{
    return (kumo_flags) {_mm256_setzero_si256(), _mm256_setzero_si256()};
}

KUMO_INLINE kumo_flags
kumo_equal(kumo_octets octets, unsigned char octet)
{
    const __m256i wanted = _mm256_set1_epi8((char) octet);
    return (kumo_flags) {_mm256_cmpeq_epi8(octets.low, wanted), _mm256_cmpeq_epi8(octets.high, wanted)};
}

KUMO_INLINE kumo_flags
kumo_and(kumo_flags a, kumo_flags b)
{
    return (kumo_flags) {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}

KUMO_INLINE kumo_flags
kumo_or(kumo_flags a, kumo_flags b)
{
    return (kumo_flags) {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}

KUMO_INLINE kumo_flags
kumo_but(kumo_flags a, kumo_flags b)
{
    return (kumo_flags) {_mm256_andnot_si256(b.low, a.low), _mm256_andnot_si256(b.high, a.high)};
}

KUMO_INLINE kumo_flags
kumo_xor(kumo_flags a, kumo_flags b)
{
    return (kumo_flags) {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}

/* In one register, not in two: there are sixteen, and with more a count took 45 % longer. */
KUMO_INLINE kumo_flags
kumo_more(kumo_flags some, kumo_flags more)
{
    some.low = _mm256_or_si256(some.low, _mm256_or_si256(more.low, more.high));
    return some;
}

KUMO_INLINE kumo_flags
kumo_counted(kumo_flags counts, kumo_flags flags)
{
    counts.low = _mm256_sub_epi8(counts.low, _mm256_add_epi8(flags.low, flags.high));
    return counts;
}

KUMO_INLINE ptrdiff_t
kumo_sum(kumo_flags counts)
{
    const __m256i sums = _mm256_sad_epu8(counts.low, _mm256_setzero_si256());
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return (ptrdiff_t) (_mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1));
}

KUMO_INLINE int
kumo_any(kumo_flags flags)
{
    const __m256i either = _mm256_or_si256(flags.low, flags.high);
    return !_mm256_testz_si256(either, either);
}

KUMO_INLINE uint64_t
kumo_marks(kumo_flags flags)
{
    const uint32_t low = (uint32_t) _mm256_movemask_epi8(flags.low);
    const uint32_t high = (uint32_t) _mm256_movemask_epi8(flags.high);
    return low | (uint64_t) high << 32;
}

KUMO_INLINE uint64_t
kumo_equal_marks(kumo_octets octets, unsigned char octet)
{
    return kumo_marks(kumo_equal(octets, octet));
}

KUMO_INLINE void
kumo_copy(unsigned char *to, const unsigned char *from)
{
    const __m256i low = _mm256_loadu_si256((const __m256i *) from);
    const __m256i high = _mm256_loadu_si256((const __m256i *) (from + 32));
    _mm256_storeu_si256((__m256i *) to, low);
    _mm256_storeu_si256((__m256i *) (to + 32), high);
}

/* The word turned so that the bit of that place is the lowest: one instruction, where shifting takes two. */
KUMO_INLINE uint64_t
kumo_turned(uint64_t word, int place)
{
    return word >> (place & 63) | word << (-place & 63);
}

/* What is missing before each octet, were it flagged. */
KUMO_INLINE __m256i
kumo_missing_before(__m256i octets, kumo_kind kind)
{
    const __m256i lf = _mm256_set1_epi8(KUMO_LF);
    const __m256i to_cr = _mm256_set1_epi8(KUMO_CR ^ KUMO_LF);
    if (kind == KUMO_STUFF)
        return _mm256_set1_epi8(KUMO_DOT);
    return _mm256_xor_si256(lf, _mm256_and_si256(_mm256_cmpeq_epi8(octets, lf), to_cr));
}

/* Rows of the table are named by their offset, which has as many bits as there are marks. */
KUMO_INLINE __m128i
kumo_row(uint64_t row)
{
    return _mm_loadu_si128((const __m128i *) ((const unsigned char *) kumo_inserted + row));
}

/* The first and the third, or the second and the fourth eight of 32 octets: a shuffle for two of them, as
 * Intel's processors before Ice Lake have one port for shuffles. */
KUMO_INLINE __m256i
kumo_insert_eights(__m256i octets_and_missing, uint64_t low_row, uint64_t high_row)
{
    const __m256i low = _mm256_castsi128_si256(kumo_row(low_row));
    return _mm256_shuffle_epi8(octets_and_missing, _mm256_inserti128_si256(low, kumo_row(high_row), 1));
}

/* What is inserted is counted apart from the eights' own places, and for each half of the step at once: each
 * store waits for the sums before it. With AMD's Zen 5, one sum of three terms after the other took a fourth
 * longer, one of two terms 5 %. */
KUMO_INLINE unsigned char *
kumo_insert(const unsigned char *step, uint64_t marks, unsigned char *out, kumo_kind kind)
{
    for (int i = 0; i < KUMO_STEP; i += 32) {
        const uint64_t half = marks >> i & 0xFFFFFFFF;
        const __m256i octets = _mm256_loadu_si256((const __m256i *) (step + i));
        const __m256i missing = kumo_missing_before(octets, kind);
        uint64_t rows[4];
        for (int j = 0; j < 4; j++)
            rows[j] = kumo_turned(marks, i + 8 * j + 60) & 0xFF0;
        const __m256i even = kumo_insert_eights(_mm256_unpacklo_epi64(octets, missing), rows[0], rows[2]);
        const __m256i odd = kumo_insert_eights(_mm256_unpackhi_epi64(octets, missing), rows[1], rows[3]);
        const uint64_t one = (uint64_t) __builtin_popcountll(rows[0]);
        const uint64_t two = (uint64_t) __builtin_popcountll(half & 0xFFFF);
        const uint64_t three = two + (uint64_t) __builtin_popcountll(rows[2]);
        _mm_storeu_si128((__m128i *) (out + i), _mm256_castsi256_si128(even));
        _mm_storeu_si128((__m128i *) (out + i + 8 + one), _mm256_castsi256_si128(odd));
        _mm_storeu_si128((__m128i *) (out + i + 16 + two), _mm256_extracti128_si256(even, 1));
        _mm_storeu_si128((__m128i *) (out + i + 24 + three), _mm256_extracti128_si256(odd, 1));
        out += __builtin_popcountll(half);
    }
    return out + KUMO_STEP;
}

KUMO_INLINE unsigned char *
kumo_remove(const unsigned char *step, uint64_t marks, unsigned char *out)
{
    for (int i = 0; i < KUMO_STEP; i += 8) {
        const uint64_t row = kumo_turned(marks, i + 61) & 0x7F8;
        const unsigned char *order = (const unsigned char *) kumo_remaining + row;
        const __m128i octets = _mm_loadl_epi64((const __m128i *) (step + i));
        const __m128i kept = _mm_shuffle_epi8(octets, _mm_loadl_epi64((const __m128i *) order));
        _mm_storel_epi64((__m128i *) (out + i), kept);
        out -= __builtin_popcountll(row);
    }
    return out + KUMO_STEP;
}
