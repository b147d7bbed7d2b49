/* kernels_random.h -- numbers of rng.h, sixteen counters at a time: the same bits as one by one. */
#include "core/box_muller.h"
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum { COUNTERS = 16 };

/* of each counter its four words, then the words drawn from them */
typedef struct {
  uint32_t word[4][COUNTERS];
} Counters;

/* Philox4x32-10 (Salmon et al. 2011, section 5.3). */
#ifdef __AVX512F__
/* words times m: the processor multiplies every second word, to 64 bits */
static inline __m512i wide_products(__m512i words, uint32_t m, __m512i *low) {
  const __m512i factor = _mm512_set1_epi32((int)m);
  const __m512i even = _mm512_mul_epu32(words, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(words, 32), factor);
  *low = _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32));
  return _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
}

static inline void philox(Rng rng, Counters *c) {
  __m512i w[4], low0, low1;
  for (int i = 0; i < 4; i++) w[i] = _mm512_loadu_si512(c->word[i]);
  for (uint32_t round = 0; round < 10; round++) {
    const __m512i key0 = _mm512_set1_epi32((int)(rng.key[0] + round * 0x9e3779b9u));
    const __m512i key1 = _mm512_set1_epi32((int)(rng.key[1] + round * 0xbb67ae85u));
    const __m512i high0 = wide_products(w[0], 0xd2511f53u, &low0);
    const __m512i high1 = wide_products(w[2], 0xcd9e8d57u, &low1);
    w[0] = _mm512_xor_si512(_mm512_xor_si512(high1, w[1]), key0), w[1] = low1;
    w[2] = _mm512_xor_si512(_mm512_xor_si512(high0, w[3]), key1), w[3] = low0;
  }
  for (int i = 0; i < 4; i++) _mm512_storeu_si512(c->word[i], w[i]);
}
#else
static inline void philox(Rng rng, Counters *c) {
  for (uint32_t round = 0; round < 10; round++)
#pragma GCC unroll 1
    for (int l = 0; l < COUNTERS; l++) {
      uint64_t product0 = (uint64_t)0xd2511f53u * c->word[0][l];
      uint64_t product1 = (uint64_t)0xcd9e8d57u * c->word[2][l];
      c->word[0][l] =
          (uint32_t)(product1 >> 32) ^ c->word[1][l] ^ (rng.key[0] + round * 0x9e3779b9u);
      c->word[1][l] = (uint32_t)product1;
      c->word[2][l] =
          (uint32_t)(product0 >> 32) ^ c->word[3][l] ^ (rng.key[1] + round * 0xbb67ae85u);
      c->word[3][l] = (uint32_t)product0;
    }
}
#endif

/* where the words of a row are drawn: row r and draw */
typedef struct {
  int row, draw;
} Place;

static inline Place next_place(Place at, int draws) {
  return ++at.draw < draws ? at : (Place){ at.row + 1, 0 };
}

/* The counters from `at` on, of rows that draw so often, are turned into words; returns how many
 * there are. */
static inline int draw_words(Rng rng, uint64_t step, const uint32_t *row, int rows, int draws,
                             Place at, Counters *c) {
  int count = 0;
  for (; count < COUNTERS && at.row < rows; count++, at = next_place(at, draws))
    c->word[2][count] = row[at.row], c->word[3][count] = (uint32_t)at.draw;
  for (int l = count; l < COUNTERS; l++) c->word[2][l] = c->word[3][l] = 0;
  for (int l = 0; l < COUNTERS; l++) c->word[0][l] = (uint32_t)step;
  for (int l = 0; l < COUNTERS; l++) c->word[1][l] = (uint32_t)(step >> 32);
  philox(rng, c);
  return count;
}

static void normals(Rng rng, uint64_t step, const uint32_t *row, int rows, int width, float *out) {
  const int draws = (width + 3) / 4;
  if (rows * draws < COUNTERS / 4) { /* most of the sixteen would be for nothing */
    for (int r = 0; r < rows; r++) rng_normals(rng, step, row[r], out + r * width, width);
    return;
  }
  for (Place at = { 0, 0 }; at.row < rows;) {
    Counters c;
    float normal[COUNTERS][4];
    const int count = draw_words(rng, step, row, rows, draws, at, &c);
    for (int l = 0; l < COUNTERS; l++) {
      box_muller(c.word[0][l], c.word[1][l], &normal[l][0]);
      box_muller(c.word[2][l], c.word[3][l], &normal[l][2]);
    }
    for (int l = 0; l < count; l++, at = next_place(at, draws)) {
      float *to = out + (ptrdiff_t)at.row * width + 4 * at.draw;
      const int n = width - 4 * at.draw;
      if (n >= 4)
        memcpy(to, normal[l], sizeof normal[l]);
      else
        for (int i = 0; i < n; i++) to[i] = normal[l][i];
    }
  }
}

static void uniforms(Rng rng, uint64_t step, uint32_t row, int first, double *out, int count) {
  for (Place at = { 0, first }; at.row < 1;) {
    Counters c;
    const int drawn = draw_words(rng, step, &row, 1, first + count, at, &c);
    for (int l = 0; l < drawn; l++, at = next_place(at, first + count)) {
      uint64_t bits = (uint64_t)c.word[0][l] << 32 | c.word[1][l];
      out[at.draw - first] = (double)(bits >> 11) * 0x1p-53;
    }
  }
}
