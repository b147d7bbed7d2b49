/* test_rng.c -- Philox is Philox, normals are normal, streams are strangers, shuffles shuffle.
 * The source is included to reach its polynomials.  Seeds are fixed: a test passes or fails for
 * ever, and bounds are those of a chance of about 1e-5.  Promises R1 and R6 of docs/design.md. */
#include "core/rng.c"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { MANY = 1 << 20 };

static double chi_square(const int *count, int bins, double expected) {
  double sum = 0;
  for (int i = 0; i < bins; i++) sum += (count[i] - expected) * (count[i] - expected) / expected;
  return (sum - (bins - 1)) / sqrt(2.0 * (bins - 1)); /* nearly N(0, 1) for many bins */
}

/* Random123 1.14, tests/kat_vectors: philox4x32 10. */
static void bits_are_the_known_answers(void **state) {
  static const struct {
    uint64_t step;
    uint32_t row, draw, key[2], bits[4];
  } known[] = {
    { 0, 0, 0, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { UINT64_MAX,
      UINT32_MAX,
      UINT32_MAX,
      { UINT32_MAX, UINT32_MAX },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { 0x85a308d3243f6a88,
      0x13198a2e,
      0x03707344,
      { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    uint32_t bits[4];
    Rng rng = { { known[i].key[0], known[i].key[1] } };
    rng_bits(rng, known[i].step, known[i].row, known[i].draw, bits);
    assert_memory_equal(bits, known[i].bits, sizeof bits);
  }
}

/* Our own first values, written down on the day they were made: whoever changes one of them
 * changes the result of every run with the same seed, and should know. */
static void bits_have_not_changed(void **state) {
  static const float golden[] = { -0x1.e9e4ep+0f, -0x1.5b5c9cp-4f, -0x1.a3e106p+0f,
                                  0x1.03aad6p+0f, 0x1.52f914p+0f,  -0x1.08c5bp-2f };
  static const uint64_t order[] = { 7, 2, 3, 5, 0, 4, 1, 6 };
  (void)state;
  Rng rng = rng_stream(7, "golden");
  assert_int_equal(rng.key[0], 0xb96e582b);
  assert_int_equal(rng.key[1], 0x488d87ea);
  assert_true(rng_seed(7, "golden") == 0x488d87eab96e582b);
  float normal[6];
  rng_normals(rng, 3, 2, normal, 6);
  assert_memory_equal(normal, golden, sizeof golden);
  assert_true(rng_normal(rng, 3, 2, 1) == golden[4]);
  assert_true(rng_uniform(rng, 3, 2, 1) == 0x1.9c2856d3e092p-2);
  assert_int_equal(rng_below(rng, 3, 2, 1, 1000000), 402497);
  for (uint64_t i = 0; i < 8; i++) assert_int_equal(rng_permute(rng, 1, i, 8), order[i]);
  assert_int_equal(rng_permute(rng, 1, 0, 1000000), 528674);
}

/* ---- polynomials ----------------------------------------------------------------------------- */

/* In units of the last place of a float with the size of `exact`. */
static double ulps(float value, double exact) {
  return fabs(value - exact) / (ldexp(1, ilogb(exact)) * 0x1p-23);
}

static void the_logarithm_is_good_to_two_ulp(void **state) {
  (void)state;
  double worst = 0;
  assert_true(log_unit(1) == 0);
  for (uint32_t bits = 0x2f800000; bits < 0x3f800000; bits += 37) { /* 2^-32 to 1 */
    float u;
    memcpy(&u, &bits, sizeof u);
    worst = fmax(worst, ulps(log_unit(u), log(u)));
  }
  assert_true(worst < 2);
}

static void sine_and_cosine_are_good_to_three_ulp(void **state) {
  (void)state;
  double worst = 0;
  for (uint64_t turn = 1; turn < (uint64_t)1 << 32; turn += 1009) {
    float sine, cosine;
    sin_cos((uint32_t)turn, &sine, &cosine);
    double angle = 2 * acos(-1) * (double)turn * 0x1p-32;
    worst = fmax(worst, fmax(ulps(sine, sin(angle)), ulps(cosine, cos(angle))));
  }
  assert_true(worst < 3);
  static const float cycle[] = { 0, 1, 0, -1, 0 };
  for (uint32_t quarter = 0; quarter < 4; quarter++) {
    float sine, cosine;
    sin_cos(quarter << 30, &sine, &cosine);
    assert_true(sine == cycle[quarter] && cosine == cycle[quarter + 1]);
  }
}

static void the_extreme_words_give_finite_normals(void **state) {
  (void)state;
  float normal[2];
  box_muller(0, 0, normal);
  assert_true(fabs(normal[0] - sqrt(64 * log(2))) < 1e-6 && normal[1] == 0);
  box_muller(UINT32_MAX, 1u << 29, normal);
  assert_true(normal[0] == 0 && normal[1] == 0);
}

/* ---- normals --------------------------------------------------------------------------------- */

static float *many_normals(uint64_t step) {
  float *normal = malloc(MANY * sizeof *normal);
  assert_non_null(normal);
  rng_normals(rng_stream(1, "normals"), step, 0, normal, MANY);
  return normal;
}

static void moments_are_those_of_the_normal(void **state) {
  (void)state;
  static const double moment[] = { 1, 0, 1, 0, 3, 0, 15, 0, 105 };
  float *normal = many_normals(0);
  for (int k = 1; k <= 4; k++) {
    double sum = 0, spread = sqrt(moment[2 * k] - moment[k] * moment[k]);
    for (int i = 0; i < MANY; i++) sum += pow(normal[i], k);
    assert_true(fabs(sum / MANY - moment[k]) < 4.5 * spread / sqrt(MANY));
  }
  free(normal);
}

static int compare_floats(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void the_distribution_is_the_normal(void **state) {
  (void)state;
  float *normal = many_normals(1);
  double distance = 0; /* Kolmogorov and Smirnov's */
  qsort(normal, MANY, sizeof *normal, compare_floats);
  for (int i = 0; i < MANY; i++) {
    double below = 0.5 * erfc(-normal[i] / sqrt(2));
    distance = fmax(distance, fmax(below - (double)i / MANY, (i + 1.0) / MANY - below));
  }
  assert_true(distance * sqrt(MANY) < 2.47);
  free(normal);
}

static void tails_have_their_share(void **state) {
  (void)state;
  float *normal = many_normals(2);
  for (int sigma = 2; sigma <= 4; sigma++) {
    double share = erfc(sigma / sqrt(2)), expected = share * MANY;
    int out = 0;
    for (int i = 0; i < MANY; i++) out += fabsf(normal[i]) > (float)sigma;
    assert_true(fabs(out - expected) < 4.5 * sqrt(expected));
  }
  free(normal);
}

static void a_normal_depends_on_its_place_alone(void **state) {
  (void)state;
  Rng rng = rng_stream(5, "place");
  float all[300], part[300];
  rng_normals(rng, 9, 4, all, 300);
  for (int count = 0; count <= 300; count++) {
    part[count % 300] = 99;
    rng_normals(rng, 9, 4, part, count);
    assert_memory_equal(part, all, (size_t)count * sizeof *part);
    if (count < 300) assert_true(part[count] == 99); /* and nothing is written beyond */
  }
  for (uint32_t draw = 0; draw < 75; draw++)
    assert_true((float)rng_normal(rng, 9, 4, draw) == all[4 * draw]);
}

/* ---- streams --------------------------------------------------------------------------------- */

static double correlation(Rng a, uint64_t a_step, uint32_t a_row, Rng b, uint64_t b_step,
                          uint32_t b_row) {
  enum { COUNT = 1 << 16 };
  static float x[COUNT], y[COUNT];
  double sum = 0;
  rng_normals(a, a_step, a_row, x, COUNT);
  rng_normals(b, b_step, b_row, y, COUNT);
  for (int i = 0; i < COUNT; i++) sum += (double)x[i] * y[i];
  return fabs(sum) / sqrt(COUNT);
}

static void streams_steps_and_rows_are_uncorrelated(void **state) {
  (void)state;
  Rng a = rng_stream(1, "actor"), b = rng_stream(1, "critic"), c = rng_stream(2, "actor");
  assert_true(correlation(a, 0, 0, a, 0, 0) > 100); /* the measure sees what is equal */
  assert_true(correlation(a, 0, 0, b, 0, 0) < 4.5);
  assert_true(correlation(a, 0, 0, c, 0, 0) < 4.5);
  assert_true(correlation(a, 0, 0, a, 1, 0) < 4.5);
  assert_true(correlation(a, 0, 0, a, (uint64_t)1 << 32, 0) < 4.5);
  assert_true(correlation(a, 0, 0, a, 0, 1) < 4.5);
}

static void neighbours_are_uncorrelated(void **state) {
  (void)state;
  float *normal = many_normals(3);
  for (int lag = 1; lag <= 8; lag++) {
    double sum = 0, squares = 0;
    for (int i = lag; i < MANY; i++) {
      sum += (double)normal[i] * normal[i - lag];
      squares +=
          ((double)normal[i] * normal[i] - 1) * ((double)normal[i - lag] * normal[i - lag] - 1);
    }
    assert_true(fabs(sum) < 4.5 * sqrt(MANY));
    assert_true(fabs(squares) < 4.5 * 2 * sqrt(MANY));
  }
  free(normal);
}

static int compare_keys(const void *a, const void *b) { return memcmp(a, b, sizeof(Rng)); }

static void seeds_and_names_make_keys_of_their_own(void **state) {
  (void)state;
  enum { SEEDS = 1000, NAMES = 50 };
  static Rng key[SEEDS * NAMES];
  char name[32];
  for (int i = 0; i < SEEDS * NAMES; i++) {
    snprintf(name, sizeof name, "layer %d", i % NAMES);
    key[i] = rng_stream((uint64_t)(i / NAMES), name);
  }
  qsort(key, SEEDS * NAMES, sizeof *key, compare_keys);
  for (int i = 1; i < SEEDS * NAMES; i++)
    assert_int_not_equal(compare_keys(&key[i - 1], &key[i]), 0);
}

/* ---- uniform --------------------------------------------------------------------------------- */

static void uniforms_fill_the_unit_interval(void **state) {
  (void)state;
  enum { BINS = 1000, COUNT = 200000 };
  static int count[BINS];
  Rng rng = rng_stream(3, "uniform");
  for (uint32_t i = 0; i < COUNT; i++) {
    double u = rng_uniform(rng, 0, i, 0);
    assert_true(u >= 0 && u < 1);
    count[(int)(u * BINS)]++;
  }
  assert_true(fabs(chi_square(count, BINS, (double)COUNT / BINS)) < 4.5);
}

static void integers_below_n_are_uniform(void **state) {
  static const uint64_t sizes[] = { 2, 7, 100, 1000 };
  (void)state;
  enum { COUNT = 200000 };
  Rng rng = rng_stream(3, "below");
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    int count[1000] = { 0 };
    for (uint32_t i = 0; i < COUNT; i++) count[rng_below(rng, i, 0, (uint32_t)k, sizes[k])]++;
    assert_true(fabs(chi_square(count, (int)sizes[k], (double)COUNT / (double)sizes[k])) < 4.5);
  }
  assert_int_equal(rng_below(rng, 0, 0, 0, 1), 0);
  int high = 0;
  for (uint32_t i = 0; i < 1000; i++) high += rng_below(rng, i, 0, 9, UINT64_MAX) >> 63;
  assert_in_range(high, 430, 570);
}

/* ---- permutations ---------------------------------------------------------------------------- */

static void a_permutation_hits_every_entry_once(void **state) {
  (void)state;
  enum { LARGEST = 1000000 };
  static const uint64_t large[] = { 1000, 1023, 1024, 1025, 65536, 65537, LARGEST };
  unsigned char *hit = malloc(LARGEST);
  Rng rng = rng_stream(1, "permutation");
  for (uint64_t k = 1; k < 300 + sizeof large / sizeof *large; k++) {
    uint64_t n = k < 300 ? k : large[k - 300];
    memset(hit, 0, n);
    for (uint64_t i = 0; i < n; i++) {
      uint64_t image = rng_permute(rng, k, i, n);
      assert_true(image < n && !hit[image]++);
    }
  }
  free(hit);
}

static void all_orders_of_five_are_equally_likely(void **state) {
  (void)state;
  enum { COUNT = 60000 };
  Rng rng = rng_stream(1, "orders");
  int count[120] = { 0 };
  for (uint64_t epoch = 0; epoch < COUNT; epoch++) {
    int image[5], rank = 0; /* rank: the order's Lehmer code as a number */
    for (int i = 0; i < 5; i++) {
      int smaller = 0;
      image[i] = (int)rng_permute(rng, epoch, (uint64_t)i, 5);
      for (int j = 0; j < i; j++) smaller += image[j] < image[i];
      rank = rank * (i + 1) + smaller;
    }
    count[rank]++;
  }
  assert_true(fabs(chi_square(count, 120, COUNT / 120.0)) < 4.5);
}

static void neighbours_and_epochs_are_shuffled_apart(void **state) {
  (void)state;
  const uint64_t n = 100003;
  Rng rng = rng_stream(1, "apart");
  double next = 0, epoch = 0, middle = (double)(n - 1) / 2, square = (double)n * (double)n / 12;
  for (uint64_t i = 0; i + 1 < n; i++) {
    double x = (double)rng_permute(rng, 0, i, n) - middle;
    next += x * ((double)rng_permute(rng, 0, i + 1, n) - middle) / square;
    epoch += x * ((double)rng_permute(rng, 1, i, n) - middle) / square;
  }
  assert_true(fabs(next) < 4.5 * sqrt((double)n));
  assert_true(fabs(epoch) < 4.5 * sqrt((double)n));
}

static void huge_ranges_stay_in_range(void **state) {
  (void)state;
  Rng rng = rng_stream(1, "huge");
  for (int bits = 31; bits <= 62; bits++) {
    uint64_t n = ((uint64_t)1 << bits) - (bits % 2);
    for (uint64_t i = 0; i < 50; i++) {
      uint64_t first = rng_permute(rng, 0, i, n), last = rng_permute(rng, 0, n - 1 - i, n);
      assert_true(first < n && last < n && first != last);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(bits_are_the_known_answers),
    cmocka_unit_test(bits_have_not_changed),
    cmocka_unit_test(the_logarithm_is_good_to_two_ulp),
    cmocka_unit_test(sine_and_cosine_are_good_to_three_ulp),
    cmocka_unit_test(the_extreme_words_give_finite_normals),
    cmocka_unit_test(moments_are_those_of_the_normal),
    cmocka_unit_test(the_distribution_is_the_normal),
    cmocka_unit_test(tails_have_their_share),
    cmocka_unit_test(a_normal_depends_on_its_place_alone),
    cmocka_unit_test(streams_steps_and_rows_are_uncorrelated),
    cmocka_unit_test(neighbours_are_uncorrelated),
    cmocka_unit_test(seeds_and_names_make_keys_of_their_own),
    cmocka_unit_test(uniforms_fill_the_unit_interval),
    cmocka_unit_test(integers_below_n_are_uniform),
    cmocka_unit_test(a_permutation_hits_every_entry_once),
    cmocka_unit_test(all_orders_of_five_are_equally_likely),
    cmocka_unit_test(neighbours_and_epochs_are_shuffled_apart),
    cmocka_unit_test(huge_ranges_stay_in_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
