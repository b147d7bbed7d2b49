/* walk.c -- the functions that an exported policy is made of: C99 and C++, no library.
 *
 * Text that export.c prints, not a part of this program: of the sections below it takes the
 * first and those whose function the policy calls, in this order, and puts the policy's name in the
 * place of "walk".  A section's title is the name of its function without the prefix; sections
 * call earlier ones alone.
 *
 * The arithmetic is that of core/ (rng.c, vecmath.h, kernels_body.h), operation by operation: where
 * the processor has a fused multiply-add, the bits are the same. */

/* ---- compiler -------------------------------------------------------------------------------- */

/* No multiplication and addition are fused but those written so: the bits do not depend on the
 * compiler.  gcc keeps a tile of sums in registers if its loops are unrolled and no memcpy. */
#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2)
#error "expected IEEE arithmetic: no -ffast-math, and -msse2 -mfpmath=sse on 32-bit x86"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define WALK_UNROLL
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-tree-loop-distribute-patterns")
#define WALK_UNROLL _Pragma("GCC unroll 64")
#else
#define WALK_UNROLL
#endif
#ifdef __GNUC__
#define WALK_ALIGNED __attribute__((aligned(64)))
#define WALK_INLINE  static inline __attribute__((always_inline))
#else
#define WALK_ALIGNED
#define WALK_INLINE static inline
#endif

/* ---- finite ---------------------------------------------------------------------------------- */

static uint32_t walk_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static int walk_finite(const float *x, int n) {
  for (int j = 0; j < n; j++)
    if ((walk_bits(x[j]) & 0x7f800000u) == 0x7f800000u) return 0;
  return 1;
}

/* ---- stream ---------------------------------------------------------------------------------- */

static uint64_t walk_mix(uint64_t x) { /* MurmurHash3's finaliser */
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
  return x ^ x >> 33;
}

/* The key of the random numbers with this name. */
static void walk_stream(uint64_t seed, const char *name, uint32_t key[2]) {
  uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
  hash = walk_mix(hash + walk_mix(seed + 0x9e3779b97f4a7c15u));
  key[0] = (uint32_t)hash;
  key[1] = (uint32_t)(hash >> 32);
}

/* ---- fma ------------------------------------------------------------------------------------- */

/* Processors for x86-64 have had AVX2 and the fused multiply-add since 2013, but a compiler uses
 * them when told alone.  It is told here, for all up to the interface, where walk_act asks the
 * processor first.  If WALK_PORTABLE is defined nothing is asked; then, as wherever there is no
 * fused multiply-add, it is made of double numbers: the same bits, over ten times slower. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMAF)
#define WALK_FUSED
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(WALK_PORTABLE)
#define WALK_FUSED
#define WALK_ASKS
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#endif
#if defined(__AVX512F__) && !defined(__clang__) /* gcc would leave half of each register empty */
#pragma GCC target("prefer-vector-width=512")
#define WALK_COLUMNS 32
#else
#define WALK_COLUMNS 16
#endif
#ifdef WALK_FUSED
#define walk_fma(a, b, c) __builtin_fmaf(a, b, c)
#else
#define walk_fma(a, b, c) ((float)((double)(a) * (b) + (c)))
#endif

/* ---- philox ---------------------------------------------------------------------------------- */

/* Four words for a counter: Philox4x32-10 (Salmon et al. 2011). */
static void walk_philox(const uint32_t key[2], uint64_t step, uint32_t row, uint32_t draw,
                        uint32_t word[4]) {
  uint32_t a = (uint32_t)step, b = (uint32_t)(step >> 32), c = row, d = draw;
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p = (uint64_t)0xd2511f53u * a, q = (uint64_t)0xcd9e8d57u * c;
    a = (uint32_t)(q >> 32) ^ b ^ k0;
    c = (uint32_t)(p >> 32) ^ d ^ k1;
    b = (uint32_t)q;
    d = (uint32_t)p;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  word[0] = a, word[1] = b, word[2] = c, word[3] = d;
}

/* ---- normal ---------------------------------------------------------------------------------- */

/* ln u for u in (0, 1]: u = 2^e m, m in [sqrt 1/2, sqrt 2), ln m = 2 atanh((m - 1) / (m + 1)). */
static float walk_log_unit(float u) {
  int32_t bits = (int32_t)walk_bits(u), e = (bits - 0x3f3504f3) >> 23;
  float m, k = (float)e;
  bits -= e * (1 << 23);
  memcpy(&m, &bits, sizeof m);
  float s = (m - 1) / (m + 1), z = s * s;
  float tail = z * (2 / 3.f + z * (2 / 5.f + z * (2 / 7.f + z * (2 / 9.f))));
  return k * 0.693138123f + (k * 9.05800152e-06f + (2 * s + s * tail));
}

/* The square root, rounded as the processor's: Newton's iteration in double. */
static float walk_root(float x) {
  uint32_t bits = 0x5f3759dfu - (walk_bits(x) >> 1);
  float guess;
  memcpy(&guess, &bits, sizeof guess);
  double r = guess, half = 0.5 * x;
  for (int i = 0; i < 4; i++) r = r * (1.5 - half * r * r);
  return (float)(x * r);
}

/* Sine and cosine of the angle 2 pi turn / 2^32. */
static void walk_sin_cos(uint32_t turn, float *sine, float *cosine) {
  uint32_t quarter = (turn + (1u << 29)) >> 30;          /* the nearest multiple of pi / 2 */
  float rest = (float)(int32_t)(turn - (quarter << 30)); /* beyond it */
  float x = rest * 1.46291812e-09f, z = x * x;           /* pi / 2^31 */
  float s = x + x * z * (-1 / 6.f + z * (1 / 120.f + z * (-1 / 5040.f + z * (1 / 362880.f))));
  float c = 1 - z * (0.5f - z * (1 / 24.f - z * (1 / 720.f - z * (1 / 40320.f))));
  float a = quarter & 1 ? c : s, b = quarter & 1 ? s : c;
  *sine = quarter & 2 ? -a : a;
  *cosine = (quarter + 1) & 2 ? -b : b;
}

/* y [rows, n], rows ld apart: standard normals by Box and Muller, a counter for every four. */
static void walk_normal(const walk_state *state, int stream, float *y, int ld, int rows, int n) {
  for (int i = 0; i < rows; i++, y += ld)
    for (int j = 0; j < n; j += 4) {
      uint32_t word[4];
      float four[4];
      walk_philox(state->key[stream], state->step, state->row * (uint32_t)rows + (uint32_t)i,
                  (uint32_t)j / 4, word);
      for (int p = 0; p < 4; p += 2) {
        float sine, cosine, u = ((float)(int32_t)(word[p] >> 1) + 0.5f) * 4.65661287e-10f;
        float radius = walk_root(-2 * walk_log_unit(u));
        walk_sin_cos(word[p + 1], &sine, &cosine);
        four[p] = radius * cosine;
        four[p + 1] = radius * sine;
      }
      for (int p = 0; p < 4 && j + p < n; p++) y[j + p] = four[p];
    }
}

/* ---- row_product ----------------------------------------------------------------------------- */

/* y [n] = base + x w, w [inputs, n]: every sum is one chain over the inputs, ascending. */
static void walk_row_product(float *y, const float *x, const float *w, const float *base,
                             int inputs, int n) {
  int j = 0;
  for (; j + 64 <= n; j += 64) {
    float sum[64];
    for (int l = 0; l < 64; l++) sum[l] = base[j + l];
    for (int k = 0; k < inputs; k++) {
      const float s = x[k], *row = w + k * n + j;
      WALK_UNROLL for (int l = 0; l < 64; l++) sum[l] = walk_fma(s, row[l], sum[l]);
    }
    for (int l = 0; l < 64; l++) y[j + l] = sum[l];
  }
  for (; j < n; j += 16) {
    float sum[16];
    for (int l = 0; l < 16; l++) sum[l] = base[j + l];
    for (int k = 0; k < inputs; k++) {
      const float s = x[k], *row = w + k * n + j;
      WALK_UNROLL for (int l = 0; l < 16; l++) sum[l] = walk_fma(s, row[l], sum[l]);
    }
    for (int l = 0; l < 16; l++) y[j + l] = sum[l];
  }
}

/* ---- product --------------------------------------------------------------------------------- */

/* 4 rows of a product by `columns`, 16 or 32, from y on. */
WALK_INLINE void walk_tile(float *y, int y_ld, const float *x, int x_ld, const float *w, int n,
                           const float *base, int base_ld, int inputs, const int columns) {
  float sum[4][32];
  for (int r = 0; r < 4; r++)
    for (int l = 0; l < columns; l++) sum[r][l] = base[r * base_ld + l];
  for (int k = 0; k < inputs; k++, w += n) WALK_UNROLL for (int r = 0; r < 4; r++) {
      const float s = x[r * x_ld + k];
      WALK_UNROLL for (int l = 0; l < columns; l++) sum[r][l] = walk_fma(s, w[l], sum[r][l]);
    }
  for (int r = 0; r < 4; r++)
    for (int l = 0; l < columns; l++) y[r * y_ld + l] = sum[r][l];
}

/* y [rows, n] = base + x w; rows are ld apart, base_ld is 0 for a base that they share. */
static void walk_product(float *y, int y_ld, const float *x, int x_ld, const float *w,
                         const float *base, int base_ld, int rows, int inputs, int n) {
  int tiled = rows / 4 * 4, j = 0;
  for (; j + WALK_COLUMNS <= n; j += WALK_COLUMNS)
    for (int i = 0; i < tiled; i += 4)
      walk_tile(y + i * y_ld + j, y_ld, x + i * x_ld, x_ld, w + j, n, base + i * base_ld + j,
                base_ld, inputs, WALK_COLUMNS);
  for (; j < n; j += 16)
    for (int i = 0; i < tiled; i += 4)
      walk_tile(y + i * y_ld + j, y_ld, x + i * x_ld, x_ld, w + j, n, base + i * base_ld + j,
                base_ld, inputs, 16);
  for (int i = tiled; i < rows; i++)
    walk_row_product(y + i * y_ld, x + i * x_ld, w, base + i * base_ld, inputs, n);
}

/* ---- exp_of ---------------------------------------------------------------------------------- */

/* e^x = 2^n e^r, |r| <= ln2 / 2; the range is [-87, 88]. */
WALK_INLINE float walk_exp_of(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  float shifted = walk_fma(x, 1.44269504f, 12582912.0f); /* rounds to an integer */
  float n = shifted - 12582912.0f, power;
  float r = walk_fma(n, -1.42860677e-6f, walk_fma(n, -0.693145752f, x));
  float p = walk_fma(1.0f / 720, r, 1.0f / 120);
  p = walk_fma(p, r, 1.0f / 24);
  p = walk_fma(p, r, 1.0f / 6);
  p = walk_fma(p, r, 0.5f);
  p = walk_fma(p, r, 1.0f);
  p = walk_fma(p, r, 1.0f);
  uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

/* ---- tanh_of --------------------------------------------------------------------------------- */

/* Near 0 an odd polynomial, else 1 - 2 / (e^2x + 1). */
WALK_INLINE float walk_tanh_of(float x) {
  float z = x * x, a = x < 0 ? -x : x;
  float p = walk_fma(-5.70498872745e-3f, z, 2.06390887954e-2f);
  p = walk_fma(p, z, -5.37397155531e-2f);
  p = walk_fma(p, z, 1.33314422036e-1f);
  p = walk_fma(p, z, -3.33332819422e-1f);
  float odd = walk_fma(p * z, x, x), wide = 1 - 2 / (walk_exp_of(2 * a) + 1);
  return a < 0.625f ? odd : x < 0 ? -wide : wide;
}

/* ---- mish_of --------------------------------------------------------------------------------- */

/* x tanh(ln(1 + e^x)) = x m / (m + 2), m = e^x (e^x + 2)  (Misra 2019). */
WALK_INLINE float walk_mish_of(float x) {
  float e = walk_exp_of(x > 20 ? 20 : x), m = e * (e + 2);
  return x * (m * (1 / (m + 2)));
}

/* ---- gelu_of --------------------------------------------------------------------------------- */

/* x Phi(x) (Hendrycks & Gimpel 2016), Phi by Abramowitz & Stegun 1964, 26.2.17. */
WALK_INLINE float walk_gelu_of(float x) {
  float density = 0.398942280f * walk_exp_of(-0.5f * x * x);
  float a = x < 0 ? -x : x, t = 1 / walk_fma(0.231641888f, a, 1.0f), p = 1.330274429f;
  p = walk_fma(p, t, -1.821255978f);
  p = walk_fma(p, t, 1.781477937f);
  p = walk_fma(p, t, -0.356563782f);
  p = walk_fma(p, t, 0.319381530f);
  float tail = density * p * t;
  return x * (x < 0 ? tail : 1 - tail);
}

/* ---- silu_of --------------------------------------------------------------------------------- */

/* x / (1 + e^-x) (Hendrycks & Gimpel 2016), and its slope. */
WALK_INLINE float walk_silu_of(float x, float *slope) {
  float s = 1 / (1 + walk_exp_of(-x)), y = x * s;
  *slope = walk_fma(y, 1 - s, s);
  return y;
}

/* ---- relu_of --------------------------------------------------------------------------------- */

WALK_INLINE float walk_relu_of(float x) { return x > 0 ? x : 0; }

/* ---- MAP ------------------------------------------------------------------------------------- */

/* Loops over numbers one by one: `count` is a multiple of 16, and y may be x or z. */
#define WALK_MAP(value)                                                                            \
  for (int i = 0; i < count; i += 16) {                                                            \
    float out[16];                                                                                 \
    for (int l = 0; l < 16; l++) out[l] = value;                                                   \
    for (int l = 0; l < 16; l++) y[i + l] = out[l];                                                \
  }

/* ---- mish ------------------------------------------------------------------------------------ */

static void walk_mish(float *y, const float *x, int count) { WALK_MAP(walk_mish_of(x[i + l])) }

/* ---- gelu ------------------------------------------------------------------------------------ */

static void walk_gelu(float *y, const float *x, int count) { WALK_MAP(walk_gelu_of(x[i + l])) }

/* ---- relu ------------------------------------------------------------------------------------ */

static void walk_relu(float *y, const float *x, int count) { WALK_MAP(walk_relu_of(x[i + l])) }

/* ---- tanh ------------------------------------------------------------------------------------ */

static void walk_tanh(float *y, const float *x, int count) { WALK_MAP(walk_tanh_of(x[i + l])) }

/* ---- silu ------------------------------------------------------------------------------------ */

static void walk_silu(float *y, const float *x, int count) {
  float slope;
  WALK_MAP(walk_silu_of(x[i + l], &slope))
}

/* ---- silu_slope ------------------------------------------------------------------------------ */

/* y = f(x), slope = f'(x) */
static void walk_silu_slope(float *y, float *slope, const float *x, int count) {
  float d[16];
  for (int i = 0; i < count; i += 16) {
    float out[16];
    for (int l = 0; l < 16; l++) out[l] = walk_silu_of(x[i + l], &d[l]);
    for (int l = 0; l < 16; l++) y[i + l] = out[l], slope[i + l] = d[l];
  }
}

/* ---- exp ------------------------------------------------------------------------------------- */

static void walk_exp(float *y, const float *x, int count) { WALK_MAP(walk_exp_of(x[i + l])) }

/* ---- add ------------------------------------------------------------------------------------- */

static void walk_add(float *y, const float *x, const float *z, int count) {
  WALK_MAP(x[i + l] + z[i + l])
}

/* ---- sub ------------------------------------------------------------------------------------- */

static void walk_sub(float *y, const float *x, const float *z, int count) {
  WALK_MAP(x[i + l] - z[i + l])
}

/* ---- mul ------------------------------------------------------------------------------------- */

static void walk_mul(float *y, const float *x, const float *z, int count) {
  WALK_MAP(x[i + l] * z[i + l])
}

/* ---- scale ----------------------------------------------------------------------------------- */

static void walk_scale(float *y, float c, const float *x, int count) { WALK_MAP(c * x[i + l]) }

/* ---- blend ----------------------------------------------------------------------------------- */

static void walk_blend(float *y, float a, const float *x, float b, const float *z, int count) {
  WALK_MAP(a * x[i + l] + b * z[i + l])
}

/* ---- clip ------------------------------------------------------------------------------------ */

static void walk_clip(float *y, const float *x, float low, float high, int count) {
  WALK_MAP(x[i + l] < low ? low : x[i + l] > high ? high : x[i + l])
}

/* ---- copy ------------------------------------------------------------------------------------ */

/* y [rows, n] = x [rows, n]; rows are ld apart. */
static void walk_copy(float *y, int y_ld, const float *x, int x_ld, int rows, int n) {
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < n; j++) y[i * y_ld + j] = x[i * x_ld + j];
}

/* ---- standardize ----------------------------------------------------------------------------- */

/* The sum of a_j b_j, or of a_j: 16 interleaved sums, added pairwise. */
static float walk_sum(const float *a, const float *b, int n) {
  float part[16] = { 0 };
  for (int j = 0; j < n; j++) part[j % 16] += b ? a[j] * b[j] : a[j];
  for (int width = 8; width; width /= 2)
    for (int l = 0; l < width; l++) part[l] += part[l + width];
  return part[0];
}

/* The square root of a normal number: Newton's iteration, then what is left of x exactly. */
static double walk_wide_root(double x) {
  uint64_t bits;
  double s, high, low;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits >> 1) + 0x1ff7a3bea91d9b1bu;
  memcpy(&s, &bits, sizeof s);
  for (int i = 0; i < 5; i++) s = 0.5 * (s + x / s);
  high = s * 134217729.0; /* 2^27 + 1: halves whose products are exact (Dekker 1971) */
  high = high - (high - s);
  low = s - high;
  return s + (((x - high * high) - 2 * high * low) - low * low) / (2 * s);
}

/* y = (x - mean) / sqrt(variance + eps) of each of the rows, which are ld apart. */
static void walk_standardize(float *y, int y_ld, const float *x, int x_ld, int rows, int n,
                             double eps) {
  for (int i = 0; i < rows; i++, x += x_ld, y += y_ld) {
    float mean = walk_sum(x, 0, n) / (float)n, r;
    for (int j = 0; j < n; j++) y[j] = x[j] - mean;
    r = (float)(1 / walk_wide_root((double)walk_sum(y, y, n) / n + eps));
    for (int j = 0; j < n; j++) y[j] *= r;
    for (int j = n; j % 16; j++) y[j] = 0;
  }
}

/* ---- least ----------------------------------------------------------------------------------- */

/* y [rows, 1] = the least of x [rows, n]; rows are ld apart. */
static void walk_least(float *y, int y_ld, const float *x, int x_ld, int rows, int n) {
  for (int i = 0; i < rows; i++, x += x_ld) {
    int least = 0;
    for (int j = 1; j < n; j++) least = x[j] < x[least] ? j : least;
    y[i * y_ld] = x[least];
  }
}

/* ---- greatest -------------------------------------------------------------------------------- */

/* Index of the greatest of `count` values, ld apart: the first of equal ones. */
static int walk_greatest(const float *value, int ld, int count) {
  int best = 0;
  for (int i = 1; i < count; i++) best = value[i * ld] > value[best * ld] ? i : best;
  return best;
}

/* ---- pick ------------------------------------------------------------------------------------ */

/* e^x for x <= 0, in double. */
static double walk_weight(double x) {
  if (!(x > -700)) return 0;
  int n = (int)(x * 1.4426950408889634 - 0.5);
  double r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10, p = 1, power;
  for (int k = 14; k > 0; k--) p = 1 + p * r / k;
  uint64_t bits = (uint64_t)(n + 1023) << 52;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

/* Index drawn from softmax(value / temperature). */
static int walk_pick(const walk_state *state, int stream, const float *value, int ld, int count,
                     double temperature) {
  uint32_t word[4];
  walk_philox(state->key[stream], state->step, state->row, 0, word);
  uint64_t fraction = ((uint64_t)word[0] << 32 | word[1]) >> 11;
  double u = (double)fraction / 9007199254740992.0, total = 0, part = 0; /* 2^53 */
  int best = walk_greatest(value, ld, count);
  double most = value[best * ld];
  for (int i = 0; i < count; i++) total += walk_weight((value[i * ld] - most) / temperature);
  for (int i = 0; i < count; i++)
    if ((part += walk_weight((value[i * ld] - most) / temperature)) > u * total) return i;
  return best;
}

/* ---- average --------------------------------------------------------------------------------- */

/* The mean of count rows of n, weighed by e^((value - greatest) scale). */
static void walk_average(float *out, const float *x, int x_ld, const float *value, int ld,
                         int count, int n, float scale) {
  float most = value[walk_greatest(value, ld, count) * ld], total = 0;
  for (int i = 0; i < count; i++) total += walk_exp_of((value[i * ld] - most) * scale);
  for (int j = 0; j < n; j++) {
    float sum = 0;
    for (int i = 0; i < count; i++)
      sum += walk_exp_of((value[i * ld] - most) * scale) * x[i * x_ld + j];
    out[j] = sum / total;
  }
}
