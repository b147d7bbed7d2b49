/* test_ops.c -- every listed op: its derivative is the analytic one, or its value the formula.
 * Promise T5 of docs/design.md. */
#include "tests/ops_plane.h"

/* ---- examples: element by element ------------------------------------------------------------ */

static bool takes_all(int map) { return map != MAP_log && map != MAP_sqrt; }

static Tensor *build_maps(Bench *b) {
  Tensor *sum = NULL;
  for (int m = 0; m < MAP_COUNT; m++) {
    Tensor *x = full(b, m % 2), *y = t_map((Map)m, takes_all(m) ? x : positive(x));
    sum = sum ? t_add(sum, y) : y;
  }
  return sum;
}

/* op(a, b) for operands of all shapes that broadcast: rows, members, columns, once */
static Tensor *pairs(Bench *b, Tensor *(*op)(Tensor *, Tensor *)) {
  int k = b->size.k, e = b->size.e, n = b->size.n;
  Tensor *y = op(full(b, 0), positive(full(b, 1)));
  y = t_add(y, op(leaf(b, 0, k, 1, n), positive(leaf(b, 1, 1, e, n))));
  y = t_add(y, op(leaf(b, 0, 1, e, 1), positive(leaf(b, 1, k, 1, n))));
  y = t_add(y, op(once(b, 0, k), positive(leaf(b, 1, k, e, 1))));
  y = t_add(y, op(full(b, 0), positive(slot(b, LEAF, 1))));
  return t_add(y, op(full(b, 0), positive(t_mean(full(b, 1))))); /* a sum: another phase */
}
static Tensor *mix(Tensor *a, Tensor *b) { return t_mix(0.3, a, -1.7, b); }
static Tensor *build_add(Bench *b) { return pairs(b, t_add); }
static Tensor *build_sub(Bench *b) { return pairs(b, t_sub); }
static Tensor *build_mul(Bench *b) { return pairs(b, t_mul); }
static Tensor *build_div(Bench *b) { return pairs(b, t_div); }
static Tensor *build_mix(Bench *b) { return pairs(b, mix); }
static Tensor *build_scale(Bench *b) { return t_scale(-2.5, full(b, 0)); }
static Tensor *build_clip(Bench *b) { return t_clip(full(b, 0), -0.5, 0.25); }
static Tensor *build_blend(Bench *b) {
  return t_blend(t_number(b->g, 0.7), full(b, 0), t_number(b->g, -1.3), full(b, 1));
}

/* ---- examples: products ---------------------------------------------------------------------- */

/* a row and an observation shared by the k candidates, into an ensemble; then member by member */
static Tensor *build_product(Bench *b) {
  Tensor *y = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 0), leaf(b, 1, 1, 1, b->size.n)));
  Tensor *h = t_slice(t_map(MAP_tanh, y), 0, b->size.n < WIDE ? b->size.n : WIDE);
  return t_affine(b->g, b->params, WEIGHT + 1, BIAS + 1, IN(h, full(b, 1)));
}
/* parts without rows: one for all candidates, one for each, and both alone */
static Tensor *build_once_product(Bench *b) {
  int k = b->size.k;
  Tensor *one = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 0), once(b, 1, 1)));
  Tensor *each = t_affine(b->g, b->params, WEIGHT, BIAS, IN(flat(b, 1), once(b, 0, k)));
  Tensor *both = t_affine(b->g, b->params, WEIGHT + 1, BIAS + 1, IN(once(b, 0, k), once(b, 1, k)));
  return t_add(t_mul(one, each), both);
}
static Tensor *build_affine(Bench *b) { return t_mul(build_product(b), build_once_product(b)); }

/* trajectories of two channels, side by side and then as one picture; there and back */
/* halved and doubled again along an axis of n positions, which has 3 taps */
static Tensor *halve_and_double(Bench *b, Plane plane, int kh, int kw) {
  plane.channels = 2;
  ConvSpec down = { .in = plane, .kh = kh, .kw = kw, .stride = 2, .pad = CONV_SAME };
  ConvSpec up = { conv_plane(&down, 2), .kh = kh, .kw = kw, .stride = 2, .transposed = true };
  Tensor *y = t_conv(b->g, b->params, FILTER, OFFSET, IN(flat(b, 0), flat(b, 1)), &down);
  return t_conv(b->g, b->params, FILTER + 1, OFFSET + 1, IN(t_map(MAP_tanh, y)), &up);
}
static Tensor *build_conv(Bench *b) {
  return halve_and_double(b, (Plane){ b->size.n, 1, 0 }, 3, 1);
}
static Tensor *build_line(Bench *b) {
  return halve_and_double(b, (Plane){ 1, b->size.n, 0 }, 1, 3);
}

/* sixteen copies of a trajectory of length n, filtered with 5 taps and read as one picture */
static Tensor *build_tiles(Bench *b) {
  int n = b->size.n + 8; /* shorter ones are products in training */
  Tensor *x = t_mul(noise(b, b->size.k, 16 * n), leaf(b, 0, b->size.k, 1, 1));
  Tensor *z = t_mul(noise(b, b->size.k, 16 * n), leaf(b, 1, b->size.k, 1, 1));
  ConvSpec spec = { .in = { 1, n, 16 }, .kh = 1, .kw = 5, .stride = 1, .pad = CONV_SAME };
  Tensor *y = t_conv(b->g, b->params, TILED, -1, IN(x), &spec);
  return t_mul(y, t_conv(b->g, b->params, TILED + 1, -1, IN(t_map(MAP_tanh, z)), &spec));
}

/* ---- examples: between axes and over rows ---------------------------------------------------- */

static Tensor *build_fold(Bench *b) { return t_fold(leaf(b, 0, b->size.k, b->size.e, 1)); }
static Tensor *build_min_last(Bench *b) {
  Tensor *x = full(b, 1); /* one after the other: what is drawn depends on it */
  return t_mul(t_min_last(full(b, 0)), x);
}
static Tensor *build_slice(Bench *b) {
  int from = b->size.n / 3;
  return t_mul(t_slice(full(b, 0), from, b->size.n - from), t_col(full(b, 1), b->size.n - 1));
}
static Tensor *build_row(Bench *b) {
  Tensor *table = once(b, 0, 4);
  return t_add(t_mul(full(b, 0), t_row(table, 1)), t_mul(full(b, 1), t_row(table, 3)));
}
static Tensor *build_gather(Bench *b) {
  Tensor *j = t_index(b->g, "index", b->size.k, 4);
  return t_mul(full(b, 1), t_gather(once(b, 0, 4), j));
}
static Tensor *build_mean(Bench *b) { return t_mul(t_mean(full(b, 0)), full(b, 1)); }
static Tensor *build_sum_to(Bench *b) {
  Tensor *y = t_mul(t_sum_last(full(b, 0)), full(b, 1));
  y = t_add(y, t_mul(t_sum_to(full(b, 1), leaf(b, 0, 1, 1, b->size.n)), flat(b, 0)));
  return t_add(y, t_mul(t_sum_to(full(b, 0), slot(b, LEAF_N, 0)), full(b, 1)));
}

static Tensor *build_max_last(Bench *b) {
  Tensor *x = full(b, 1);
  return t_mul(t_max_last(full(b, 0)), x);
}
static Tensor *build_sum_k(Bench *b) { return t_mul(t_sum_k(full(b, 0)), full(b, 1)); }

/* ---- examples: side by side, norms ----------------------------------------------------------- */

static Tensor *build_stack(Bench *b) {
  int k = b->size.k;
  Tensor *rows = t_stack(full(b, 0), full(b, 1)), *mixed = t_stack(once(b, 1, 2), full(b, 0));
  return t_mul(t_part(rows, k / 2, k), t_part(mixed, 1, k));
}
static Tensor *build_concat(Bench *b) {
  Tensor *y = t_concat(full(b, 0), leaf(b, 1, 1, 1, b->size.n));
  return t_mul(y, t_concat(once(b, 0, 1), full(b, 1)));
}
static Tensor *build_fourier(Bench *b) {
  int k = b->size.k, half = b->size.n;
  Tensor *y = t_time(TIME_FOURIER, leaf(b, 0, k, 1, 1), 2 * half, t_scale(0.2, slot(b, LEAF_N, 1)));
  return t_mul(y, t_time(TIME_GAUSSIAN, t_scale(0.01, leaf(b, 1, k, 1, 1)), 2 * half, NULL));
}
static Tensor *build_softmax_k(Bench *b) { return t_mul(t_log_softmax_k(full(b, 0)), full(b, 1)); }
static Tensor *build_softmax_last(Bench *b) {
  return t_mul(t_log_softmax_last(full(b, 0)), t_softmax_last(full(b, 1)));
}
static Tensor *build_layernorm(Bench *b) {
  return t_layernorm(b->g, b->params, LEAF, LEAF + 1, full(b, 0), 0.1);
}

/* ---- values by formula ----------------------------------------------------------------------- */

static Tensor *build_sources(Bench *b) {
  double values[6] = { 1, 2, 3, 4, 5, 6 };
  Tensor *given = t_given(b->g, "given", 2, 3), *x = noise(b, 2, 3);
  real numbers[2 * 16] = { 10, 20, 30 };
  numbers[16] = 40, numbers[17] = 50, numbers[18] = 60;
  graph_give(given, numbers);
  Tensor *sum = t_add(x, t_add(t_table(b->g, values, 2, 3), given));
  return t_add(sum, t_add(t_number(b->g, 0.5), slot(b, LEAF_N, 0)));
}
static void sources_give_what_they_were_given(const Op *op) {
  (void)op;
  Bench b;
  value(&b, (Size){ 2, 1, 3 }, build_sources);
  FOR_ROWS (b, r, k, j) {
    double x = (double)b.data[0][(r * 2 + k) * 16 + j], once_part = 11 * (k * 3 + j + 1);
    double p = (double)params_at(b.params, LEAF_N)[j];
    assert_true(fabs(at(b.y, r, k, 0, j) - (x + once_part + 0.5 + p)) < 1e-5);
  }
  arena_free(b.arena);
}

/* d(x detach(x)) = detach(x) dx is half of d(x x) */
static Tensor *build_detached(Bench *b) {
  Tensor *x = full(b, 0);
  return t_scale(2, t_mul(x, t_detach(x)));
}
static Tensor *build_square(Bench *b) {
  Tensor *x = full(b, 0);
  return t_mul(x, x);
}
static void detach_stops_gradients(const Op *op) {
  Bench half, whole;
  value(&half, (Size){ 2, 3, 5 }, build_detached), value(&whole, (Size){ 2, 3, 5 }, build_square);
  assert_true(listed_op_is_live(&half, op));
  for (size_t i = 0; i < half.params->layout->size; i++)
    assert_true(fabs((double)(graph_gradient(half.g)[i] - graph_gradient(whole.g)[i])) < 1e-6);
  FOR_ROWS (half, r, k, j) assert_true(at(half.y, r, k, 2, j) == 2 * at(whole.y, r, k, 2, j));
  arena_free(half.arena), arena_free(whole.arena);
}

static Tensor *build_max_k(Bench *b) { return t_max_k(full(b, 0)); }
static void max_k_is_the_largest(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 4, 2, 19 }, build_max_k);
  assert_true(y->op == op);
  for (int e = 0; e < 2; e++)
    FOR_ROWS (b, r, one, j) {
      double most = -INFINITY;
      for (int k = 0; k < 4; k++) most = fmax(most, at(y->in[0], r, k, e, j));
      assert_true(at(y, r, one, e, j) == most);
    }
  arena_free(b.arena);
}

static Tensor *build_spread(Bench *b) { return t_spread(t_mean(full(b, 0)), full(b, 1), -3); }
static void spread_repeats_a_scalar(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 5 }, build_spread);
  assert_true(y->op == op);
  double mean = (double)*y->in[0]->data;
  FOR_ROWS (b, r, k, j) assert_true(fabs(at(y, r, k, 0, j) + 3 * mean) < 1e-6);
  arena_free(b.arena);
}

static double slope_of(Map map, double at) {
  Error error;
  real x = (real)at, y, slope;
  kernels_find("plain", &error)->map[map](&x, &y, &slope, 1);
  return (double)slope;
}

/* for every map: the place u beside the second derivative there */
static Tensor *build_curves(Bench *b) {
  Tensor *all = NULL;
  for (int m = 0; m < MAP_COUNT; m++) {
    Tensor *x = noise(b, 1, 5), *u = takes_all(m) ? x : positive(x);
    Tensor *row = t_concat(u, t_grad(t_grad_through(t_map((Map)m, u), u), u));
    all = all ? t_stack(all, row) : row;
  }
  return all;
}
static void curve_is_the_slope_of_the_slope(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_curves);
  assert_true(listed_op_is_live(&b, op));
  double h = sizeof(real) == 8 ? 1e-5 : 0x1p-7, bound = sizeof(real) == 8 ? 1e-8 : 1e-3;
  for (int r = 0; r < ROWS; r++)
    for (int m = 0; m < MAP_COUNT; m++)
      for (int j = 0; j < 5; j++) {
        double u = at(y, r, m, 0, j), f2 = at(y, r, m, 0, 5 + j);
        if (fabs(u) < 2 * h) continue; /* relu and abs bend */
        double numeric = (slope_of((Map)m, u + h) - slope_of((Map)m, u - h)) / (2 * h);
        if (!(fabs(f2 - numeric) < bound))
          fail_msg("%s''(%g) is %g, the difference quotient %g", map_name((Map)m), u, f2, numeric);
      }
  arena_free(b.arena);
}

static Tensor *build_order(Bench *b) {
  double row[3] = { 7, 8, 9 };
  Tensor *x = noise(b, 2, 3), *table = t_table(b->g, row, 1, 3);
  return t_concat(t_part(t_stack(x, table), 1, 2), t_scale(2, table));
}
static void side_by_side_in_the_order_given(const Op *op) {
  Bench b;
  value(&b, (Size){ 1, 1, 1 }, build_order);
  assert_true(listed_op_is_live(&b, op));
  FOR_ROWS (b, r, k, j) {
    double expected = k ? 7 + j : (double)b.data[0][(r * 2 + 1) * 16 + j];
    assert_true(at(b.y, r, k, 0, j) == (j < 3 ? expected : 2 * (7 + j - 3)));
  }
  arena_free(b.arena);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static const double quantiles[] = { 0, 0.3, 0.5, 0.995, 1 };
static Tensor *build_quantiles(Bench *b) {
  Tensor *x = t_map(MAP_abs, noise(b, b->size.k, b->size.n)), *y = x;
  for (int i = 0; i < 5; i++) y = t_concat(y, t_quantile(x, quantiles[i]));
  return y;
}
static void quantiles_are_numpys(const Op *op) {
  for (int n = 1; n < 40; n += 6) {
    Bench b;
    const Tensor *y = value(&b, (Size){ 2, 1, n }, build_quantiles);
    assert_true(listed_op_is_live(&b, op));
    FOR_ROWS (b, r, k, i) {
      if (i >= 5) continue;
      double x[40], place = quantiles[i] * (n - 1), below = floor(place);
      for (int j = 0; j < n; j++) x[j] = at(y, r, k, 0, j);
      qsort(x, (size_t)n, sizeof *x, by_value);
      double above = x[(int)fmin(below + 1, n - 1)];
      double expected = x[(int)below] + (place - below) * (above - x[(int)below]);
      assert_true(fabs(at(y, r, k, 0, n + i) - expected) < 1e-6);
    }
    arena_free(b.arena);
  }
}

/* far from zero, where a naive exponential overflows */
static Tensor *build_far_softmax(Bench *b) {
  Tensor *x = t_shift(t_scale(100, noise(b, 3, 5)), 1000);
  return t_concat(x, t_concat(t_log_softmax_k(x), t_log_softmax_last(x)));
}
static void softmax_sums_to_one(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_far_softmax);
  assert_true(listed_op_is_live(&b, op));
  for (int r = 0; r < ROWS; r++)
    for (int k = 0; k < 3; k++)
      for (int j = 0; j < 5; j++) {
        double over_k = 0, over_last = 0, x = at(y, r, k, 0, j);
        for (int i = 0; i < 3; i++) over_k += exp(at(y, r, i, 0, j) - x);
        for (int i = 0; i < 5; i++) over_last += exp(at(y, r, k, 0, i) - x);
        assert_true(fabs(at(y, r, k, 0, 5 + j) + log(over_k)) < 1e-6 * (1 + log(over_k)));
        assert_true(fabs(at(y, r, k, 0, 10 + j) + log(over_last)) < 1e-6 * (1 + log(over_last)));
      }
  arena_free(b.arena);
}

static Tensor *build_normed(Bench *b) {
  Tensor *x = t_shift(noise(b, 2, 29), 3);
  return t_concat(x, t_layernorm(b->g, NULL, -1, -1, x, 1e-5));
}
static void layernorm_is_the_standard_score(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_normed);
  assert_true(listed_op_is_live(&b, op));
  FOR_ROWS (b, r, k, j) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 29; i++) mean += at(y, r, k, 0, i) / 29;
    for (int i = 0; i < 29; i++) variance += pow(at(y, r, k, 0, i) - mean, 2) / 29;
    double score = (at(y, r, k, 0, j % 29) - mean) / sqrt(variance + 1e-5);
    if (j >= 29) assert_true(fabs(at(y, r, k, 0, j) - score) < 2e-6);
  }
  arena_free(b.arena);
}

/* ---- time ------------------------------------------------------------------------------------ */

enum { TIME_DIM = 6 };
static Tensor *build_timeembed(Bench *b) {
  Tensor *t = noise(b, 2, 1), *y = t_time(TIME_DDPM, t, TIME_DIM, NULL);
  y = t_concat(y, t_time(TIME_OPENAI, t, TIME_DIM, NULL));
  y = t_concat(y, t_time(TIME_EDM, t, TIME_DIM, NULL));
  Tensor *w = t_table(b->g, (double[]){ 0.3, -2, 5 }, 1, 3);
  y = t_concat(y, t_time(TIME_GAUSSIAN, t, TIME_DIM, w));
  return t_concat(y, t_time(TIME_FOURIER, t, TIME_DIM, w));
}
static void timeembed_is_sines_and_cosines(const Op *op) {
  static const double frequency[TIME_COUNT][3] = { { 1, 1e-2, 1e-4 },
                                                   { 1, 0.04641588833612779, 0.002154434690031884 },
                                                   { 1, 1e-2, 1e-4 },
                                                   { 0.6, -4, 10 }, /* times pi */
                                                   { 0.6, -4, 10 } };
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 1 }, build_timeembed);
  assert_true(listed_op_is_live(&b, op));
  FOR_ROWS (b, r, k, j) {
    int kind = j / TIME_DIM, first_half = j % TIME_DIM < 3;
    double angle = (double)b.data[0][(r * 2 + k) * 16] * frequency[kind][j % 3];
    if (kind >= TIME_GAUSSIAN) angle *= acos(-1);
    bool sine = first_half == (kind == TIME_DDPM || kind == TIME_GAUSSIAN);
    double expected = sine ? sin(angle) : cos(angle);
    assert_true(fabs(at(y, r, k, 0, j) - expected) < (kind >= TIME_GAUSSIAN ? 1e-5 : 1e-6));
  }
  arena_free(b.arena);
}

/* what the two original programs give for dim 4 at t = 10 */
static Tensor *build_published(Bench *b) {
  Tensor *t = t_number(b->g, 10), *y = t_time(TIME_OPENAI, t, 4, NULL);
  y = t_concat(y, t_timeembed(t, 4));
  y = t_concat(y, t_time(TIME_OPENAI, t, 5, NULL)); /* odd: a zero at the end */
  return t_mul(noise(b, 1, 1), y);
}
static void timeembed_is_as_published(const Op *op) {
  static const double golden[13] = { -0.8390715, 0.9950042,  -0.5440211, 0.0998334,  -0.5440211,
                                     0.0010000,  -0.8390715, 0.9999995,  -0.8390715, 0.9950042,
                                     -0.5440211, 0.0998334,  0 };
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_published);
  assert_true(listed_op_is_live(&b, op));
  FOR_ROWS (b, r, k, j)
    assert_true(fabs(at(y, r, k, 0, j) - (double)b.data[0][r * 16] * golden[j]) < 3e-7);
  arena_free(b.arena);
}

static void embeddings_are_found_by_name_and_refuse_sizes(const Op *op) {
  (void)op;
  for (int i = 0; i < TIME_COUNT; i++) {
    TimeKind kind = TIME_COUNT;
    Error error = { .text = "" };
    assert_true(time_find(time_name((TimeKind)i), &kind, &error) && (int)kind == i);
    assert_true(time_fits(kind, 16, &error));
    assert_int_equal(time_fits(kind, 2, &error), kind != TIME_DDPM && kind != TIME_EDM);
    if (kind == TIME_DDPM) assert_non_null(strstr(error.text, "at least 4"));
    assert_int_equal(time_fits(kind, 5, &error), kind == TIME_OPENAI);
    assert_false(time_fits(kind, 0, &error));
    assert_false(time_find("sine", &kind, &error));
    assert_int_equal(error.kind, FAIL_USAGE);
  }
}

/* ---- a function of the caller's -------------------------------------------------------------- */

static void ratio(void *user, const CallSamples *s) { /* x_0 / (t + user) and its square */
  for (int i = 0; i < s->count; i++) {
    real y = s->x[i * s->x_stride] / (s->time[i * s->time_stride] + *(const real *)user);
    s->out[i * s->out_stride] = y, s->out[i * s->out_stride + 1] = y * y;
  }
}
static const real ratio_shift = 2;
static const Call ratio_call = { ratio, (void *)(uintptr_t)&ratio_shift };

/* a time for every sample, for every row, for all */
static Tensor *build_call(Bench *b) {
  Tensor *x = noise(b, 3, 5), *t = t_map(MAP_square, noise(b, 3, 1));
  Tensor *same = t_map(MAP_square, noise(b, 1, 1));
  assert_ptr_equal(t_call(&ratio_call, x, t, 2), t_call(&ratio_call, x, t, 2));
  Tensor *y = t_concat(t_call(&ratio_call, x, t, 2), t_call(&ratio_call, x, same, 2));
  return t_concat(y, t_call(&ratio_call, x, t_number(b->g, 1), 2));
}
static void call_hands_over_every_sample(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_call);
  assert_true(listed_op_is_live(&b, op));
  for (int r = 0; r < ROWS; r++)
    for (int k = 0; k < 3; k++) {
      real x = b.data[0][(r * 3 + k) * 16];
      real t[3] = { b.data[1][(r * 3 + k) * 16], b.data[2][r * 16], 1 };
      for (int i = 0; i < 3; i++) {
        real expected = x / (t[i] * t[i] + ratio_shift);
        assert_true(at(y, r, k, 0, 2 * i) == (double)expected);
        assert_true(at(y, r, k, 0, 2 * i + 1) == (double)(expected * expected));
      }
    }
  arena_free(b.arena);
}

/* ---- random ops: functions of (seed, name; step 3, row, draw) -------------------------------- */

static Tensor *build_normal(Bench *b) { return t_normal(b->g, "draw", 2, 19); }
static Tensor *build_long_normal(Bench *b) { return t_normal(b->g, "draw", 2, 9001); }
static void normals_are_their_stream(const Op *op, int n, Build *build) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, n }, build);
  assert_true(y->op == op);
  float row[9001];
  FOR_ROWS (b, r, k, j) {
    if (!j) rng_normals(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), row, n);
    assert_true(at(y, r, k, 0, j) == (double)row[j]);
  }
  arena_free(b.arena);
}
static void normal_is_its_stream(const Op *op) {
  normals_are_their_stream(op, 19, build_normal);
  normals_are_their_stream(op, 9001, build_long_normal); /* of a picture: more than is buffered */
}

static Tensor *build_uniform(Bench *b) { return t_uniform(b->g, "draw", 2, 19); }
static void uniform_is_its_stream(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 19 }, build_uniform);
  assert_true(y->op == op);
  FOR_ROWS (b, r, k, j) {
    double u = rng_uniform(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), (uint32_t)j);
    assert_true(at(y, r, k, 0, j) == (double)(real)u);
  }
  arena_free(b.arena);
}

static Tensor *build_index(Bench *b) { return t_index(b->g, "draw", 2, 5); }
static void index_is_its_stream(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 2, 1, 1 }, build_index);
  assert_true(y->op == op);
  FOR_ROWS (b, r, k, j)
    assert_true(at(y, r, k, 0, j) ==
                (double)rng_below(rng_stream(5, "draw"), 3, (uint32_t)(r * 2 + k), 0, 5));
  arena_free(b.arena);
}

static Tensor *build_coin(Bench *b) { return t_mul(t_coin(b->g, "draw"), noise(b, 1, 1)); }
static void coin_falls_on_both_sides(const Op *op) {
  Bench b;
  value(&b, (Size){ 1, 1, 1 }, build_coin);
  assert_true(b.y->in[0]->op == op);
  int heads = 0;
  for (uint64_t step = 0; step < 1000; step++) {
    graph_run(b.g, 1, step, NULL);
    double coin = (double)*b.y->in[0]->data;
    assert_true(coin == 0 || coin == 1);
    heads += coin == 1;
  }
  assert_in_range(heads, 437, 563); /* 4 standard deviations */
  arena_free(b.arena);
}

static Tensor *build_pick(Bench *b) {
  return t_pick(noise(b, 3, 5), noise(b, 3, 1), "draw", b->size.e > 1 ? 0.8 : 0);
}
static void pick_takes_the_best_or_draws_from_softmax(const Op *op) {
  enum { STEPS = 4000 };
  for (int soft = 0; soft < 2; soft++) {
    Bench b;
    const Tensor *y = value(&b, (Size){ 1, 1 + soft, 1 }, build_pick);
    assert_true(y->op == op);
    int count[ROWS][3] = { 0 };
    for (uint64_t step = 0; step < STEPS; step++) {
      graph_run(b.g, ROWS, step, NULL);
      for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < 3; k++) count[r][k] += at(y, r, 0, 0, 4) == at(y->in[0], r, k, 0, 4);
    }
    for (int r = 0; r < ROWS; r++) {
      double s[3], total = 0, best = -INFINITY;
      for (int k = 0; k < 3; k++) best = fmax(best, s[k] = at(y->in[1], r, k, 0, 0));
      for (int k = 0; k < 3; k++) total += s[k] = soft ? exp(s[k] / 0.8) : s[k] == best;
      for (int k = 0; k < 3; k++) {
        double p = s[k] / total, spread = sqrt(p * (1 - p) * STEPS);
        assert_true(fabs(count[r][k] - p * STEPS) <= 4 * spread);
      }
    }
    arena_free(b.arena);
  }
}

static Tensor *build_average(Bench *b) { return t_average(noise(b, 3, 5), noise(b, 3, 1), 0.7); }
static void average_weighs_by_softmax(const Op *op) {
  Bench b;
  const Tensor *y = value(&b, (Size){ 1, 1, 1 }, build_average);
  assert_true(y->op == op);
  graph_run(b.g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++)
    for (int j = 0; j < 5; j++) {
      double total = 0, sum = 0;
      for (int k = 0; k < 3; k++) {
        double w = exp(at(y->in[1], r, k, 0, 0) / 0.7);
        total += w, sum += w * at(y->in[0], r, k, 0, j);
      }
      assert_true(fabs(at(y, r, 0, 0, j) - sum / total) <= 2e-6);
    }
  arena_free(b.arena);
}

/* ---- every op has an example ----------------------------------------------------------------- */

static const struct {
  const char *op;
  Build *build;                  /* differentiable: the example's derivative is checked */
  void (*formula)(const Op *op); /* else its value */
} examples[] = {
  { "input", NULL, sources_give_what_they_were_given },
  { "table", NULL, sources_give_what_they_were_given },
  { "given", NULL, sources_give_what_they_were_given },
  { "number", NULL, sources_give_what_they_were_given },
  { "param", NULL, sources_give_what_they_were_given },
  { "slot_add", build_add, NULL },
  { "map", build_maps, NULL },
  { "curve", NULL, curve_is_the_slope_of_the_slope },
  { "add", build_add, NULL },
  { "sub", build_sub, NULL },
  { "mul", build_mul, NULL },
  { "div", build_div, NULL },
  { "mix", build_mix, NULL },
  { "scale", build_scale, NULL },
  { "detach", NULL, detach_stops_gradients },
  { "clip", build_clip, NULL },
  { "blend", build_blend, NULL },
  { "pack", build_product, NULL },
  { "product", build_once_product, NULL },
  { "weight_grad", build_affine, NULL },
  { "filter", build_conv, NULL },
  { "conv_down", build_conv, NULL },
  { "conv_up", build_conv, NULL },
  { "conv_weights", build_conv, NULL },
  { "sum_places", build_conv, NULL },
  { "filter", build_line, NULL },
  { "filter_slot", build_line, NULL },
  { "conv_line", build_line, NULL },
  { "conv_line_weights", build_line, NULL },
  { "filter", build_tiles, NULL },
  { "conv_tiles", build_tiles, NULL },
  { "conv_points", build_tiles, NULL },
  { "filter_back", build_tiles, NULL },
  { "fold", build_fold, NULL },
  { "unfold", build_fold, NULL },
  { "min_last", build_min_last, NULL },
  { "min_last", build_max_last, NULL },
  { "quantile", NULL, quantiles_are_numpys },
  { "max_k", NULL, max_k_is_the_largest },
  { "slice", build_slice, NULL },
  { "into_slice", build_slice, NULL },
  { "row", build_row, NULL },
  { "into_row", build_row, NULL },
  { "gather", build_gather, NULL },
  { "scatter", build_gather, NULL },
  { "mean", build_mean, NULL },
  { "spread", NULL, spread_repeats_a_scalar },
  { "spread", build_mean, NULL },
  { "sum_to", build_sum_to, NULL },
  { "sum_to", build_sum_k, NULL },
  { "sum_rows", build_sum_to, NULL },
  { "stack", build_stack, NULL },
  { "stack", NULL, side_by_side_in_the_order_given },
  { "part", build_stack, NULL },
  { "into_part", build_stack, NULL },
  { "concat", build_concat, NULL },
  { "concat", build_fourier, NULL },
  { "log_softmax_k", build_softmax_k, NULL },
  { "log_softmax_k", NULL, softmax_sums_to_one },
  { "log_softmax_last", build_softmax_last, NULL },
  { "standardize", build_layernorm, NULL },
  { "standardize", NULL, layernorm_is_the_standard_score },
  { "standardize_back", build_layernorm, NULL },
  { "channel_add", build_channel_pairs, NULL },
  { "channel_mul", build_channel_pairs, NULL },
  { "channel_sum", build_channel_sum, NULL },
  { "channel_spread", build_channel_sum, NULL },
  { "slice", build_channel_concat, NULL },
  { "into_slice", build_channel_concat, NULL },
  { "concat", build_channel_concat, NULL },
  { "upsample", build_resized, NULL },
  { "downsample", build_resized, NULL },
  { "standardize", build_channel_norm, NULL },
  { "standardize_back", build_channel_norm, NULL },
  { "group_norm", build_group_norm, NULL },
  { "group_norm_back", build_group_norm, NULL },
  { "attention", build_attention, NULL },
  { "attention_back", build_attention, NULL },
  { "linear_attention", build_linear_attention, NULL },
  { "linear_attention_back", build_linear_attention, NULL },
  { "timeembed", NULL, timeembed_is_sines_and_cosines },
  { "timeembed", NULL, timeembed_is_as_published },
  { "timeembed", NULL, embeddings_are_found_by_name_and_refuse_sizes },
  { "call", NULL, call_hands_over_every_sample },
  { "normal", NULL, normal_is_its_stream },
  { "uniform", NULL, uniform_is_its_stream },
  { "index", NULL, index_is_its_stream },
  { "coin", NULL, coin_falls_on_both_sides },
  { "pick", NULL, pick_takes_the_best_or_draws_from_softmax },
  { "average", NULL, average_weighs_by_softmax },
};

/* Its slope jumps: differences of slopes want the small steps of MODE=double. */
static bool bends(const Op *op) {
  return !strcmp(op->name, "map") || !strcmp(op->name, "clip") || !strcmp(op->name, "min_last");
}

static void has_an_example_that_holds(void **state) {
  const Op *op = *state;
  bool found = false;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
    if (strcmp(examples[i].op, op->name)) continue;
    found = true;
    if (examples[i].formula) examples[i].formula(op);
    if (!examples[i].build) continue;
    derivative(op, examples[i].build, 0);
    if (op->twice && (sizeof(real) == 8 || !bends(op))) derivative(op, examples[i].build, THROUGH);
  }
  if (!found) fail_msg("the op %s has no example", op->name);
}

int main(void) {
  size_t count;
  const Op *const *ops = op_list(&count);
  struct CMUnitTest *tests = calloc(count, sizeof *tests);
  for (size_t i = 0; i < count; i++)
    tests[i] = (struct CMUnitTest){ ops[i]->name, has_an_example_that_holds, NULL, NULL,
                                    (void *)(uintptr_t)ops[i] };
  int failed = _cmocka_run_group_tests("ops", tests, count, NULL, NULL);
  free(tests);
  return failed;
}
