KUMO_INLINE uint64_t KUMO_OF_SET(bare)(const unsigned char *p) { return kumo_bits(kumo_xor(kumo_equal(p, KUMO_LF), kumo_equal(p - 1, KUMO_CR))); }
KUMO_INLINE uint64_t KUMO_OF_SET(lead)(const unsigned char *p) { return kumo_bits(kumo_and(kumo_equal(p, KUMO_DOT), kumo_and(kumo_equal(p - 1, KUMO_LF), kumo_equal(p - 2, KUMO_CR)))); }
#define LOOP(name, wh, sparse) \
KUMO_PASS __attribute__((noinline)) ptrdiff_t KUMO_OF_SET(name)(const unsigned char *p, ptrdiff_t n, unsigned char *out0) { \
  unsigned char *out = out0; \
  for (ptrdiff_t i = 64; n - i >= 192; i += 64) { uint64_t m = KUMO_OF_SET(wh)(p + i); sparse } return out - out0; }
LOOP(count_bare, bare, out += __builtin_popcountll(m);)
LOOP(count_lead, lead, out += __builtin_popcountll(m);)
LOOP(mend_dense, bare, out = kumo_insert_densely(p + i, m, out, 0);)
LOOP(unstuff_dense, lead, out = kumo_remove_densely(p + i, m, out);)
#define OVER kumo_copy(out, p + i); unsigned char *o = out; while (m) { int k = __builtin_ctzll(m); o[k] = p[i + k] == 10 ? 13 : 10; o++; kumo_copy(o + k, p + i + k); m &= m - 1; } out = o + 64;
LOOP(mend_sparse, bare, OVER)
LOOP(mend_hybrid, bare, if (__builtin_popcountll(m) > 8) out = kumo_insert_densely(p + i, m, out, 0); else { OVER })
#define TWO kumo_copy(out, p + i); int k = m ? __builtin_ctzll(m) : 64; m &= m - 1; out[k] = p[i + k] == 10 ? 13 : 10; kumo_copy(out + k + 1, p + i + k); int c = k < 64; \
   k = m ? __builtin_ctzll(m) : 64; out[k+1] = p[i + k] == 10 ? 13 : 10; kumo_copy(out + k + 2, p + i + k); out += 64 + c + (k < 64);
LOOP(mend_two, bare, if (__builtin_popcountll(m) > 2) out = kumo_insert_densely(p + i, m, out, 0); else { TWO })
LOOP(mend_0, bare, if (m) out = kumo_insert_densely(p + i, m, out, 0); else { kumo_copy(out, p+i); out += 64; })
#define CUT kumo_copy(out, p + i); unsigned char *o = out; while (m) { int k = __builtin_ctzll(m); kumo_copy(o + k, p + i + k + 1); o--; m &= m - 1; } out = o + 64;
LOOP(unstuff_sparse, lead, CUT)
LOOP(unstuff_0, lead, if (m) out = kumo_remove_densely(p + i, m, out); else { kumo_copy(out, p+i); out += 64; })
LOOP(unstuff_hybrid, lead, if (__builtin_popcountll(m) > 8) out = kumo_remove_densely(p + i, m, out); else { CUT })
