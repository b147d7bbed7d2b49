/* test_conv.c -- convolutions: every path beside the definition in double, on the shapes of the two
 * U-Nets and on random ones; adjoints; one result for any threads, lanes' order and kernels.
 * Promises T1, B1, B2 and B7 of docs/design.md. */
#include "tests/allocations.h"
#include "tests/conv_bench.h"

static const double forward_bound = sizeof(real) == 8 ? 1e-10 : 6e-6;
static const double weights_bound = sizeof(real) == 8 ? 1e-10 : 3e-5;

static void assert_close(const Case *of, double forward, double weights) {
  ConvBench b;
  conv_open(&b, of);
  conv_run(&b);
  ConvError e = conv_error(&b);
  if (!(e.forward <= forward && e.weights <= weights))
    fail_msg("method %d, %d pictures of %dx%dx%d, kernel %dx%d, stride %d, pad %d%s, to %d: "
             "errors %.2e, %.2e",
             of->method, of->rows * of->k, of->spec.in.height, of->spec.in.width,
             of->spec.in.channels, of->spec.kh, of->spec.kw, of->spec.stride, of->spec.pad,
             of->spec.transposed ? ", transposed" : "", of->out, e.forward, e.weights);
  conv_close(&b);
}

/* ---- the two networks ------------------------------------------------------------------------ */

/* temporal U-Net: 32 channels, mults 1 2 4 8, horizon 32; image U-Net: 32x32, channels 32 64 128 */
static const struct {
  int height, width, in, more, out, kh, kw, stride, pad;
  bool transposed;
} network_shapes[] = {
  { 1, 32, 14, 0, 32, 1, 5, 1, CONV_SAME, false },
  { 1, 32, 32, 0, 32, 1, 5, 1, CONV_SAME, false },
  { 1, 16, 32, 0, 64, 1, 5, 1, CONV_SAME, false },
  { 1, 16, 64, 0, 64, 1, 5, 1, CONV_SAME, false },
  { 1, 8, 128, 0, 128, 1, 5, 1, CONV_SAME, false },
  { 1, 4, 256, 0, 256, 1, 5, 1, CONV_SAME, false },
  { 1, 4, 256, 256, 128, 1, 5, 1, CONV_SAME, false },
  { 1, 32, 32, 0, 32, 1, 3, 2, 1, false },
  { 1, 8, 128, 0, 128, 1, 3, 2, 1, false },
  { 1, 4, 128, 0, 128, 1, 4, 2, 1, true },
  { 1, 16, 32, 0, 32, 1, 4, 2, 1, true },
  { 1, 32, 32, 0, 14, 1, 1, 1, 0, false },
  { 1, 16, 32, 0, 64, 1, 1, 1, 0, false },
  { 32, 32, 1, 0, 32, 3, 3, 1, CONV_SAME, false },
  { 32, 32, 32, 0, 32, 3, 3, 1, CONV_SAME, false },
  { 32, 32, 32, 32, 32, 3, 3, 1, CONV_SAME, false },
  { 16, 16, 64, 0, 64, 3, 3, 1, CONV_SAME, false },
  { 16, 16, 128, 64, 64, 3, 3, 1, CONV_SAME, false },
  { 8, 8, 128, 0, 128, 3, 3, 1, CONV_SAME, false },
  { 8, 8, 128, 128, 128, 3, 3, 1, CONV_SAME, false },
  { 32, 32, 32, 0, 32, 3, 3, 2, 1, false },
  { 16, 16, 64, 0, 64, 3, 3, 2, 1, false },
  { 8, 8, 128, 0, 384, 1, 1, 1, 0, false },
  { 32, 32, 64, 32, 32, 1, 1, 1, 0, false },
  { 32, 32, 32, 0, 1, 3, 3, 1, CONV_SAME, false },
};

static Case network_case(size_t i, ConvMethod method) {
  Case c = {
    .k = 1, .rows = 3, .group = 2, .lane = 1, .threads = 1, .kernels = "own", .method = method
  };
  c.spec = (ConvSpec){ .in = { network_shapes[i].height, network_shapes[i].width,
                               network_shapes[i].in + network_shapes[i].more },
                       .kh = network_shapes[i].kh,
                       .kw = network_shapes[i].kw,
                       .stride = network_shapes[i].stride,
                       .pad = network_shapes[i].pad,
                       .transposed = network_shapes[i].transposed };
  c.count = network_shapes[i].more ? 2 : 1;
  c.width[0] = network_shapes[i].in, c.width[1] = network_shapes[i].more;
  c.out = network_shapes[i].out;
  return c;
}

static void the_networks_convolutions_are_the_definition(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof network_shapes / sizeof *network_shapes; i++)
    for (int method = 0; method < 2; method++) {
      const Case c = network_case(i, (ConvMethod)method);
      assert_close(&c, forward_bound, weights_bound);
    }
}

/* ---- random shapes --------------------------------------------------------------------------- */

static int draw(int trial, uint32_t what, int low, int high) {
  return low + (int)rng_below(rng_stream(5, "shapes"), (uint64_t)trial, 0, what,
                              (uint64_t)(high - low + 1));
}

/* every third one as filtering wants it: stride 1 and channels in sixteens */
static Case random_case(int trial) {
  static const int kernels[][2] = { { 3, 3 }, { 1, 5 }, { 1, 3 } };
  Case c = { .k = draw(trial, 0, 1, 2),
             .rows = draw(trial, 1, 1, 5),
             .threads = 1,
             .kernels = "own",
             .no_bias = draw(trial, 2, 0, 3) == 0 };
  bool sixteens = trial % 3 == 0;
  c.group = draw(trial, 3, 1, c.rows), c.lane = draw(trial, 4, 1, c.group);
  c.count = draw(trial, 5, 1, 3);
  ConvSpec *s = &c.spec;
  for (int i = 0; i < c.count; i++) {
    c.width[i] =
        sixteens ? 16 * draw(trial, 6 + (uint32_t)i, 1, 3) : draw(trial, 6 + (uint32_t)i, 1, 20);
    s->in.channels += c.width[i];
  }
  c.out = sixteens ? 16 * draw(trial, 10, 1, 4) : draw(trial, 10, 1, 40);
  s->kh = sixteens ? kernels[trial / 3 % 3][0] : draw(trial, 11, 1, 5);
  s->kw = sixteens ? kernels[trial / 3 % 3][1] : draw(trial, 12, 1, 5);
  s->stride = sixteens ? 1 : draw(trial, 13, 1, 3);
  s->transposed = !sixteens && draw(trial, 14, 0, 2) == 0;
  s->in.height = s->kh == 1 && draw(trial, 15, 0, 1) ? 1 : draw(trial, 16, s->kh, 11);
  s->in.width = draw(trial, 17, s->kw, 11);
  int least = s->kh > 1 && s->kh < s->kw ? s->kh : s->kw > 1 ? s->kw : s->kh;
  bool same = s->kh % 2 && s->kw % 2 && !s->transposed && draw(trial, 18, 0, 1);
  s->pad = same ? CONV_SAME : draw(trial, 19, 0, (least - 1) / 2);
  return c;
}

static void two_hundred_shapes_are_the_definition(void **state) {
  (void)state;
  double wide = sizeof(real) == 8 ? 1 : 5. / 3;
  for (int trial = 0; trial < 200; trial++)
    for (int method = 0; method < 2; method++) {
      Case c = random_case(trial);
      c.method = (ConvMethod)method;
      assert_close(&c, wide * forward_bound, wide * weights_bound);
    }
}

/* ---- adjoints -------------------------------------------------------------------------------- */

/* y is linear in x and in the filter f: <w, y> = sum of <x, dx> = <f, df> */
static void assert_adjoint(const Case *of) {
  ConvBench b;
  conv_open(&b, of);
  conv_run(&b);
  const Numbers n = conv_computed(&b);
  const Slot *slot = &b.params->layout->slot[0];
  int samples = of->rows * of->k, size = samples * b.y->n, filter = slot->rows * of->out;
  double *w = arena_array(b.arena, double, size), *f = arena_array(b.arena, double, filter);
  dense(b.w, samples, b.y->n, 1, w), dense(params_at(b.params, 0), slot->rows, of->out, 1, f);
  double forward = dot(w, n.y, size), weights = dot(f, n.df, filter), back = 0;
  for (int i = 0; i < of->count; i++) {
    int inputs = samples * b.dx[i]->n;
    double *x = arena_array(b.arena, double, inputs);
    dense(b.x[i], samples, b.dx[i]->n, 1, x);
    back += dot(x, n.dx[i], inputs);
  }
  double unit = (sizeof(real) == 8 ? 1e-10 : 1e-5) * sqrt(dot(w, w, size) * dot(n.y, n.y, size));
  if (!(fabs(forward - back) <= unit && fabs(forward - weights) <= unit))
    fail_msg("forward %.9g, input gradient %.9g, weight gradient %.9g", forward, back, weights);
  conv_close(&b);
}

static void gradients_are_adjoints(void **state) {
  (void)state;
  for (int method = 0; method < 2; method++) {
    for (size_t i = 0; i < sizeof network_shapes / sizeof *network_shapes; i++) {
      Case c = network_case(i, (ConvMethod)method);
      c.no_bias = true;
      assert_adjoint(&c);
    }
    for (int trial = 0; trial < 60; trial++) {
      Case c = random_case(trial);
      c.no_bias = true, c.method = (ConvMethod)method;
      assert_adjoint(&c);
    }
  }
}

/* ---- the same bits --------------------------------------------------------------------------- */

static uint64_t hash_of(const Case *of) {
  ConvBench b;
  conv_open(&b, of);
  conv_run(&b), conv_run(&b);
  const Numbers n = conv_computed(&b);
  const int samples = of->rows * of->k, rows = b.params->layout->slot[0].rows;
  const double *parts[] = { n.y, n.dx[0], n.df, n.db };
  const int sizes[] = { samples * b.y->n, samples * b.dx[0]->n, rows * of->out, of->out };
  uint64_t h = 14695981039346656037u;
  for (int p = 0; p < 4; p++)
    for (size_t i = 0; i < (size_t)sizes[p] * sizeof(double); i++)
      h = (h ^ ((const unsigned char *)parts[p])[i]) * 1099511628211u;
  conv_close(&b);
  return h;
}

static void threads_and_kernels_change_no_bit(void **state) {
  (void)state;
  static const char *const names[] = { "plain", "avx2", "avx512" };
  for (int trial = 0; trial < 36; trial++) {
    Case c = random_case(trial);
    c.method = (ConvMethod)(trial / 3 % 2), c.rows += 4;
    uint64_t expected = hash_of(&c);
    for (c.threads = 2; c.threads < 4; c.threads++) assert_true(hash_of(&c) == expected);
    c.threads = 1;
    for (int i = 0; i < 3; i++) {
      Error error;
      if (!kernels_find(c.kernels = names[i], &error)) continue;
      if (hash_of(&c) != expected) fail_msg("trial %d: other bits with %s", trial, names[i]);
    }
  }
}

/* a row alone is the row among others: lanes and groups change only sums */
static void lanes_change_no_value(void **state) {
  (void)state;
  for (int trial = 0; trial < 30; trial++) {
    Case c = random_case(trial), alone = c;
    c.method = alone.method = (ConvMethod)(trial % 2);
    c.rows = alone.rows = 5, c.group = c.lane = 5, alone.group = alone.lane = 1;
    ConvBench a, b;
    conv_open(&a, &c), conv_open(&b, &alone);
    conv_run(&a), conv_run(&b);
    const Numbers m = conv_computed(&a), n = conv_computed(&b);
    const size_t samples = (size_t)(c.rows * c.k);
    assert_memory_equal(m.y, n.y, samples * (size_t)a.y->n * sizeof *n.y);
    for (int i = 0; i < c.count; i++)
      assert_memory_equal(m.dx[i], n.dx[i], samples * (size_t)a.dx[i]->n * sizeof *n.y);
    conv_close(&a), conv_close(&b);
  }
}

/* products without panels */
static void another_library_agrees(void **state) {
  (void)state;
  Error error;
  if (!kernels_find("openblas", &error)) skip();
  for (int trial = 0; trial < 24; trial++) {
    Case c = random_case(trial);
    c.kernels = "openblas", c.method = (ConvMethod)(trial / 3 % 2);
    assert_close(&c, 5. / 3 * forward_bound, 5. / 3 * weights_bound);
  }
}

static void nothing_is_allocated_in_a_run(void **state) {
  (void)state;
  for (int trial = 0; trial < 24; trial++) {
    Case c = random_case(trial);
    c.threads = 2, c.rows += 4;
    ConvBench b;
    int before = allocations;
    conv_open(&b, &c);
    conv_run(&b);
    int opened = allocations;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(opened > before); /* the counter counts */
#else
    (void)before;
#endif
    conv_run(&b);
    params_touch(b.params); /* filters are transformed again */
    conv_run(&b);
    assert_int_equal(allocations, opened);
    conv_close(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_networks_convolutions_are_the_definition),
    cmocka_unit_test(two_hundred_shapes_are_the_definition),
    cmocka_unit_test(gradients_are_adjoints),
    cmocka_unit_test(threads_and_kernels_change_no_bit),
    cmocka_unit_test(lanes_change_no_value),
    cmocka_unit_test(another_library_agrees),
    cmocka_unit_test(nothing_is_allocated_in_a_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
