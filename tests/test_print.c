/* test_print.c -- a tape as text: a header with counts, a line a node, before and after sealing. */
#include "tests/tape_net.h"

static void record_small(Net *net) {
  Graph *g = net->g;
  int w = params_slot(net->params, "w", 1, N, 2, 1), b = params_slot(net->params, "b", 1, 1, 2, 1);
  params_allocate(net->params);
  params_init(net->params, 1);
  net->x = t_input(g, "x", 1, N);
  Tensor *noisy = t_add(net->x, t_normal(g, "noise", 1, N));
  net->q = t_map(MAP_mish, t_affine(g, net->params, w, b, IN(noisy)));
  (void)t_map(MAP_exp, net->x); /* which nobody reads */
  net->loss = t_mean(t_map(MAP_square, net->q));
  graph_keep(net->q);
}

static const char *printed(const Graph *g) {
  static char text[1 << 14];
  FILE *out = tmpfile();
  assert_non_null(out);
  graph_print(g, out);
  rewind(out);
  text[fread(text, 1, sizeof text - 1, out)] = '\0';
  fclose(out);
  return text;
}

/* the line of node `id`, up to its end; the next call overwrites it */
static const char *line_of(const char *text, int id) {
  static char line[256];
  char begins[16];
  snprintf(begins, sizeof begins, "\n%6d ", id);
  const char *at = strstr(text, begins);
  if (!at) fail_msg("no line of node %d in:\n%s", id, text);
  snprintf(line, sizeof line, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
  return line;
}

static void has(const char *line, const char *part) {
  if (!strstr(line, part)) fail_msg("\"%s\" is not in \"%s\"", part, line);
}

static int id_of(const Net *net, const char *op) {
  for (int id = 0; id < net->g->nodes; id++)
    if (!strcmp(net->g->node[id]->op->name, op)) return id;
  fail_msg("no %s", op);
  return -1;
}

static void an_unsealed_tape_has_its_nodes_and_no_places(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 12, 6, 3);
  record_small(&net);
  const char *text = printed(net.g);
  char expected[96];
  snprintf(expected, sizeof expected,
           "tape that trains net: %d nodes, not sealed; at most 12 rows, 6 a group, 3 a lane\n",
           net.g->nodes);
  assert_memory_equal(text, expected, strlen(expected));
  has(line_of(text, net.x->id),
      "input            ROW  [1, 1, 5]        bound        phase 0  \"x\"");
  has(line_of(text, id_of(&net, "normal")), "[1, 1, 5]        -            phase 0  \"noise\"");
  has(line_of(text, id_of(&net, "pack")), "ONCE [5, 1, 2]        -            phase 0  net/w");
  has(line_of(text, net.q->id), "map mish         ROW  [1, 1, 2]");
  assert_null(strstr(text, "in d"));
  net_close(&net);
}

static void a_sealed_tape_says_what_lies_where_and_whose_gradient_it_is(void **state) {
  (void)state;
  Net net;
  net_open(&net, 0, 12, 6, 3);
  record_small(&net);
  net_minimise(&net, net.loss, false);
  const char *text = printed(net.g);
  char expected[96];
  GraphSize size = graph_size(net.g);
  snprintf(expected, sizeof expected, "tape that trains net: %d nodes, %d live, 1 phases; ",
           size.nodes, size.live);
  assert_memory_equal(text, expected, strlen(expected));
  snprintf(expected, sizeof expected, "\nbytes: %zu of lane scratch", size.lane_bytes);
  has(text, expected);
  snprintf(expected, sizeof expected, "%zu kept for rows, %zu of sums for each of 2 groups",
           size.kept_bytes, size.sum_bytes);
  has(text, expected);
  int lines = 0;
  for (const char *c = text; *c; c++) lines += *c == '\n';
  assert_int_equal(lines, 2 + size.nodes);
  has(line_of(text, net.q->id), "kept         phase 0  <- ");
  has(line_of(text, net.q->id), "  also ");
  has(line_of(text, id_of(&net, "normal")), "lane @");
  has(line_of(text, id_of(&net, "pack")), "once         phase 0  net/w");
  char gradient[32];
  snprintf(gradient, sizeof gradient, "d net/w  in d %d", net.loss->id);
  has(line_of(text, id_of(&net, "weight_grad")), gradient);
  has(line_of(text, id_of(&net, "weight_grad")), "SUM  [5, 1, 2]        sum @0");
  for (int id = 0; id < net.g->nodes; id++)
    if (!net.g->node[id]->live) has(line_of(text, id), "dropped");
  net_close(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_unsealed_tape_has_its_nodes_and_no_places),
    cmocka_unit_test(a_sealed_tape_says_what_lies_where_and_whose_gradient_it_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
