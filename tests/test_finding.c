/* test_finding.c -- why a gradient is not finite: the first node, its rows and what went in; bound
 * rows and weights before that; whatever the threads and lanes; and nothing is changed by looking.
 * Promise T7 of docs/design.md. */
#include "core/tape/finding.h"
#include "core/tape/optim.h"
#include "tests/tape_net.h"

enum { ROWS = 20 };

/* loss = mean (sqrt (x w + 3) + noise)^2 of inputs that are 1, where x w is small.  A logarithm
 * would not do: in float that of a negative number is some number. */
static void record_root(Net *net) {
  Graph *g = net->g;
  int w = params_slot(net->params, "w", 1, N, 1, 0.01);
  int b = params_slot(net->params, "b", 1, 1, 1, 0.01);
  params_allocate(net->params);
  params_init(net->params, 1);
  for (int i = 0; i < MAX_ROWS * LD; i++) net->data[i] = i % LD < N;
  net->x = t_input(g, "states", 1, N);
  Tensor *y = t_shift(t_affine(g, net->params, w, b, IN(net->x)), 3);
  net->q = t_map(MAP_sqrt, y);
  net_minimise(net, t_mean(t_map(MAP_square, t_add(net->q, t_normal(g, "noise", 1, 1)))), false);
}

static void says(const Finding *f, const char *expected) {
  char text[512];
  finding_text(f, text, sizeof text);
  if (!strstr(text, expected)) fail_msg("\"%s\" is not in \"%s\"", expected, text);
}

/* a row whose root is of a negative number */
static void spoil(Net *net, int row) {
  for (int j = 0; j < N; j++)
    net->data[row * LD + j] = params_at(net->params, 0)[j * LD] > 0 ? (real)-1e4 : (real)1e4;
}

static void the_first_node_is_found_with_its_row_and_inputs(void **state) {
  (void)state;
  static const struct {
    int threads, group, lane;
  } cut[] = { { 0, ROWS, ROWS }, { 2, 7, 3 }, { 3, 2, 1 } };
  for (int i = 0; i < 3; i++) {
    Net net;
    Finding f;
    net_open(&net, cut[i].threads, ROWS, cut[i].group, cut[i].lane);
    record_root(&net);
    assert_false(finding_search(net.g, ROWS, 0, NULL, &f));
    says(&f, "on the tape that trains net, every value is finite");
    spoil(&net, 5), spoil(&net, 16);
    assert_true(finding_search(net.g, ROWS, 0, NULL, &f));
    assert_int_equal(f.kind, FINDING_NODE);
    assert_ptr_equal(f.node, net.q);
    assert_int_equal(f.rows, 2);
    assert_int_equal(f.row[0], 5), assert_int_equal(f.row[1], 16);
    assert_int_equal(f.inputs, 1);
    assert_ptr_equal(f.in[0].of, net.q->in[0]);
    /* the root takes the memory of what it is of, whose range is from before */
    assert_true(f.in[0].low < -1 && f.in[0].odd == 0);
    says(&f, "(map sqrt [1, 1, 1]) of phase 0 is the first that is not finite: ");
    says(&f, " in rows 5, 16 (2 of 20); its inputs there: ");
    net_close(&net);
  }
}

static void bound_rows_and_weights_come_before_nodes(void **state) {
  (void)state;
  Net net;
  Finding f;
  net_open(&net, 2, ROWS, 7, 3);
  record_root(&net);
  spoil(&net, 5);
  net.data[13 * LD + 2] = NAN;
  assert_true(finding_search(net.g, ROWS, 0, NULL, &f));
  assert_int_equal(f.kind, FINDING_INPUT);
  says(&f, "the input \"states\" is nan in row 13 (1 of 20)");
  assert_false(finding_search(net.g, 5, 0, NULL, &f)); /* rows that do not run */
  params_at(net.params, 0)[3 * LD] = INFINITY;
  params_touch(net.params);
  assert_true(finding_search(net.g, ROWS, 0, NULL, &f));
  assert_int_equal(f.kind, FINDING_WEIGHT);
  says(&f, "the weights net/w are not finite: 1 of 5 numbers, the first is inf");
  net_close(&net);
}

/* two groups whose gradients fit a float, and whose sum does not */
static void a_sum_that_overflows_is_a_total(void **state) {
  (void)state;
  Net net;
  Finding f;
  if (sizeof(real) > sizeof(float)) skip();
  net_open(&net, 0, 2, 1, 1);
  int w = params_slot(net.params, "w", 1, N, 1, 0), b = params_slot(net.params, "b", 1, 1, 1, 0);
  params_allocate(net.params);
  for (int i = 0; i < 2 * LD; i++) net.data[i] = i % LD < N ? (real)1e19 : 0;
  net.x = t_input(net.g, "x", 1, N);
  Tensor *y = t_affine(net.g, net.params, w, b, IN(net.x));
  net_minimise(&net, t_mean(t_scale(4e19, y)), false);
  assert_true(finding_search(net.g, 2, 0, NULL, &f));
  assert_int_equal(f.kind, FINDING_TOTAL);
  says(&f, "(weight_grad net/w [5, 1, 1]), added over all rows, is inf");
  net_close(&net);
}

static void a_refused_step_says_why_and_changes_nothing(void **state) {
  (void)state;
  Net net, twin;
  net_open(&net, 2, ROWS, 7, 3), net_open(&twin, 0, ROWS, 7, 3);
  record_root(&net), record_root(&twin);
  OptimSpec spec = optim_adam(1e-3);
  Objective a = { .graph = net.g,
                  .loss = net.loss,
                  .optim = optim_new(net.arena, net.params, &spec),
                  .pool = net.pool };
  Objective b = { .graph = twin.g,
                  .loss = twin.loss,
                  .optim = optim_new(twin.arena, twin.params, &spec) };
  for (uint64_t step = 0; step < 6; step++) {
    if (step == 3) {
      real row[LD];
      memcpy(row, net.data + 5 * LD, sizeof row);
      spoil(&net, 5);
      assert_false(objective_step(&a, ROWS, step));
      assert_non_null(strstr(a.optim->finding, "(map sqrt"));
      memcpy(net.data + 5 * LD, row, sizeof row);
    }
    assert_true(objective_step(&a, ROWS, step) && objective_step(&b, ROWS, step));
    assert_string_equal(a.optim->finding, "");
  }
  assert_memory_equal(net.params->values, twin.params->values, net_bytes(&net));
  assert_memory_equal(a.optim->v->values, b.optim->v->values, net_bytes(&net));
  net_close(&net), net_close(&twin);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_node_is_found_with_its_row_and_inputs),
    cmocka_unit_test(bound_rows_and_weights_come_before_nodes),
    cmocka_unit_test(a_sum_that_overflows_is_a_total),
    cmocka_unit_test(a_refused_step_says_why_and_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
