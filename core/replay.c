/* replay.c -- running a sealed tape: once-nodes, then phases of lanes and trees of sums. */
#include "core/graph.h"
#include "core/tape.h"
#include <string.h>

real *lane_at(const Lane *lane, const Tensor *t) {
  switch (t->place) {
  case PLACE_LANE: return lane->scratch + t->offset;
  case PLACE_KEPT:
  case PLACE_BOUND: return t->data + lane->row0 * row_size(t);
  case PLACE_SUM: return lane->sums && t->phase == lane->phase ? lane->sums + t->offset : t->data;
  default: return t->data;
  }
}

uint32_t lane_row_id(const Lane *lane, int row) {
  return lane->g->row_ids ? lane->g->row_ids[lane->row0 + row] : (uint32_t)(lane->row0 + row);
}
uint64_t lane_step(const Lane *lane) { return lane->g->step; }
int lane_total_rows(const Lane *lane) { return lane->g->rows; }

void graph_bind(Tensor *input, const real *data) {
  CHECK(input->place == PLACE_BOUND, "graph_bind: %s is not an input", input->op->name);
  input->data = (real *)(uintptr_t)data; /* inputs are never written */
}

void graph_give(Tensor *given, const real *values) {
  CHECK(given->kind == ONCE && given->data, "graph_give: %s is not given", given->op->name);
  memcpy(given->data, values, (size_t)(given->k * given->ld) * sizeof *values);
}

static bool is_stale(const Graph *g, const Tensor *t) {
  return g->fresh || (t->reads & g->changed);
}

/* once-nodes that read Params alone (packed weights) do not wait for each other */
static void run_leaf(void *context, int piece, int worker) {
  (void)worker;
  const Graph *g = context;
  const Tensor *t = g->once[piece];
  if (!t->in[0] && is_stale(g, t)) t->op->run(&(Lane){ .g = g, .rows = 1 }, t);
}

static void run_once(Graph *g) {
  g->changed = 1u << READS_ALWAYS;
  for (int i = 0; i < g->n_params; i++) {
    if (g->params[i]->version != g->seen[i]) g->changed |= 1u << i;
    g->seen[i] = g->params[i]->version;
  }
  pool_run(g->spec.pool, run_leaf, g, g->n_once);
  for (int i = 0; i < g->n_once; i++) {
    const Tensor *t = g->once[i];
    if (t->in[0] && is_stale(g, t)) t->op->run(&(Lane){ .g = g, .rows = 1 }, t);
  }
  g->fresh = false;
}

/* one group: its lanes in order, each through all nodes of the phase */
static void run_group(void *context, int group, int worker) {
  Graph *g = context;
  int from = group * g->spec.group, to = from + g->spec.group;
  if (to > g->rows) to = g->rows;
  Lane lane = { .g = g,
                .phase = g->phase,
                .work = g->scratch[worker],
                .scratch = g->scratch[worker] + g->work_size,
                .sums = g->blocks + (size_t)group * g->sum_size };
  if (g->phase == 0) memset(lane.sums, 0, g->sum_size * sizeof(real));
  for (int row = from; row < to; row += g->spec.lane) {
    lane.row0 = row, lane.rows = to - row < g->spec.lane ? to - row : g->spec.lane;
    for (int i = 0; i < g->n_lane[g->phase]; i++) {
      const Tensor *t = g->lane_nodes[g->phase][i];
      t->op->run(&lane, t);
    }
  }
}

/* block[0] += all others, as a tree whose shape depends on the number of groups alone */
typedef struct {
  Graph *g;
  size_t from, to, chunk;
  int groups;
} Tree;

static void add_blocks(void *context, int piece, int worker) {
  (void)worker;
  const Tree *tree = context;
  size_t from = tree->from + (size_t)piece * tree->chunk, to = from + tree->chunk;
  if (to > tree->to) to = tree->to;
  const Kernels *kernels = tree->g->spec.kernels;
  for (int stride = 1; stride < tree->groups; stride *= 2)
    for (int a = 0; a + stride < tree->groups; a += 2 * stride) {
      real *into = tree->g->blocks + (size_t)a * tree->g->sum_size + from;
      kernels->add(into, into + (size_t)stride * tree->g->sum_size, into, (int)(to - from));
    }
}

static void add_up(Graph *g, size_t from, size_t to, int groups) {
  if (from >= to || groups < 2) return;
  Tree tree = { g, from, to, 16384, groups };
  pool_run(g->spec.pool, add_blocks, &tree, (int)((to - from + tree.chunk - 1) / tree.chunk));
}

static void run_after(Graph *g, int phase, bool slots) {
  Lane lane = { .g = g, .phase = phase, .rows = 1 };
  for (int i = 0; i < g->n_after; i++) {
    const Tensor *t = g->after[i];
    if (t->op->into_slot == slots && (slots || t->phase == phase)) t->op->run(&lane, t);
  }
}

void graph_run(Graph *g, int rows, uint64_t step, const uint32_t *row_ids) {
  CHECK(g->sealed && rows > 0 && rows <= g->spec.max_rows, "graph_run: %d rows of %d", rows,
        g->spec.max_rows);
  g->rows = rows, g->step = step, g->row_ids = row_ids;
  unsigned state = denormals_off(); /* as in the workers: any thread gives the same bits */
  int groups = (rows + g->spec.group - 1) / g->spec.group;
  run_once(g);
  for (g->phase = 0; g->phase < g->phases; g->phase++) {
    pool_run(g->spec.pool, run_group, g, groups);
    add_up(g, g->sum_from[g->phase], g->sum_from[g->phase + 1], groups);
    run_after(g, g->phase, false);
  }
  add_up(g, 0, g->gradient_size, groups);
  run_after(g, g->phases, true);
  denormals_restore(state);
}

double graph_scalar(const Tensor *t) {
  CHECK(t->kept && t->kind != ROW && t->k * t->e * t->n == 1, "graph_scalar: not a kept scalar");
  return (double)t->data[0];
}

const real *graph_values(const Tensor *t) {
  CHECK(t->kept && t->data, "graph_values: %s was not kept", t->op->name);
  return t->data;
}

const real *graph_gradient(const Graph *g) {
  CHECK(g->minimises, "graph_gradient: nothing is minimised");
  return g->blocks;
}
