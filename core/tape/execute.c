/* execute.c -- running a sealed tape: once-nodes, then phases of lanes. */
#include "core/tape/graph.h"
#include "core/tape/tape.h"
#include <math.h>
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

static void run_node(const Lane *lane, const Tensor *t, int worker) {
  Profile *profile = lane->g->spec.profile;
  int64_t began = profile ? profile_clock(profile) : 0;
  t->op->run(lane, t);
  if (profile)
    profile_add(profile, worker, t->op->name, began, t->op->flops ? t->op->flops(lane, t) : 0);
}

/* once-nodes that read Params alone (packed weights) do not wait for each other */
static void run_leaf(void *context, int piece, int worker) {
  const Graph *g = context;
  const Tensor *t = g->once[piece];
  if (!t->in[0] && is_stale(g, t)) run_node(&(Lane){ .g = g, .rows = 1 }, t, worker);
}

const Params *tape_changed(const Graph *g) {
  for (int i = 0; i < g->n_params; i++)
    if (g->params[i]->version != g->seen[i]) return g->params[i];
  return NULL;
}

static void run_once(Graph *g) {
  CHECK(!g->forked || !tape_changed(g), "graph_run: %s changed since this tape was forked",
        tape_changed(g)->block);
  g->changed = g->once_always ? 1u << READS_ALWAYS : 0;
  for (int i = 0; i < g->n_params; i++) {
    if (g->params[i]->version != g->seen[i]) g->changed |= 1u << i;
    g->seen[i] = g->params[i]->version;
  }
  if (!g->changed && !g->fresh) return; /* acting: no thread is woken for nothing */
  pool_run(g->spec.pool, run_leaf, g, g->n_once);
  for (int i = 0; i < g->n_once; i++) {
    const Tensor *t = g->once[i];
    if (t->in[0] && is_stale(g, t)) run_node(&(Lane){ .g = g, .rows = 1 }, t, 0);
  }
  g->fresh = false;
}

/* what lanes will add to; the rest of the gradient is written by those who are first there */
static void clear_sums(const Graph *g, real *sums) {
  if (g->minimises) {
    const Layout *layout = g->spec.trained->layout;
    for (int s = 0; s < layout->slots; s++) {
      const Slot *slot = &layout->slot[s];
      size_t size = (size_t)(slot->e * slot->rows) * (size_t)slot->ld;
      if (g->cleared[s]) memset(sums + slot->offset, 0, size * sizeof *sums);
    }
  }
  for (int p = 0; p < g->phases; p++)
    memset(sums + g->sum_from[p], 0, (g->clear_to[p] - g->sum_from[p]) * sizeof *sums);
}

/* MODE=asan: what a run must write itself is NaN before it, so that a value which is read before it
 * was written shows.  Nothing elsewhere. */
static void spoil(real *values, size_t count) {
#ifdef DIFFRL_CHECKED
  for (size_t i = 0; i < count; i++) values[i] = NAN;
#else
  (void)values, (void)count;
#endif
}

static void spoil_kept(const Graph *g) {
#ifdef DIFFRL_CHECKED
  for (int id = 0; id < g->nodes; id++) {
    const Tensor *t = g->node[id];
    if (t->g == g && t->place == PLACE_KEPT)
      spoil(t->data, (size_t)g->spec.max_rows * (size_t)row_size(t));
  }
#else
  (void)g;
#endif
}

/* one group: its lanes in order, each through all nodes of the phase */
static void run_group(void *context, int piece, int worker) {
  Graph *g = context;
  int group = g->first_group + piece;
  int from = group * g->spec.group, to = from + g->spec.group;
  if (to > g->rows) to = g->rows;
  Lane lane = { .g = g,
                .phase = g->phase,
                .work = g->scratch[worker],
                .scratch = g->scratch[worker] + g->work_size,
                .sums = g->blocks + (size_t)group * g->sum_size };
  if (g->phase == 0) clear_sums(g, lane.sums);
  for (int row = from; row < to; row += g->spec.lane) {
    lane.begins = row == from;
    spoil(g->scratch[worker], g->work_size + g->lane_size);
    lane.row0 = row, lane.rows = to - row < g->spec.lane ? to - row : g->spec.lane;
    for (int i = 0; i < g->n_lane[g->phase]; i++)
      run_node(&lane, g->lane_nodes[g->phase][i], worker);
  }
}

static bool ends_in_slot(const Graph *g, int i, int slot) {
  return g->after[i]->op->into_slot && g->after[i]->attr.i[0] == slot;
}

/* what the sums give to one slot, in order; other slots do not wait */
static void run_slot(void *context, int piece, int worker) {
  const Graph *g = context;
  const int slot = g->after[piece]->attr.i[0];
  if (!ends_in_slot(g, piece, slot)) return;
  for (int i = 0; i < piece; i++)
    if (ends_in_slot(g, i, slot)) return; /* with that one */
  Lane lane = { .g = g, .phase = g->phases, .rows = 1 };
  for (int i = piece; i < g->n_after; i++)
    if (ends_in_slot(g, i, slot)) run_node(&lane, g->after[i], worker);
}

static void run_after(Graph *g, int phase) {
  Lane lane = { .g = g, .phase = phase, .rows = 1 };
  for (int i = 0; i < g->n_after; i++)
    if (!g->after[i]->op->into_slot && g->after[i]->phase == phase) run_node(&lane, g->after[i], 0);
}

void graph_run(Graph *g, int rows, uint64_t step, const uint32_t *row_ids) {
  CHECK(g->sealed && rows > 0 && rows <= g->spec.max_rows, "graph_run: %d rows of %d", rows,
        g->spec.max_rows);
  g->rows = rows, g->step = step, g->row_ids = row_ids;
  unsigned state = denormals_off(); /* as in the workers: any thread gives the same bits */
  g->groups = (rows + g->spec.group - 1) / g->spec.group;
  int me = ranks_index(g->spec.ranks);
  g->first_group = ranks_first(g->spec.ranks, g->groups, me);
  int own = ranks_first(g->spec.ranks, g->groups, me + 1) - g->first_group;
  spoil_kept(g);
  run_once(g);
  for (g->phase = 0; g->phase < g->phases; g->phase++) {
    pool_run(g->spec.pool, run_group, g, own);
    tape_add_up(g, g->sum_from[g->phase], g->sum_from[g->phase + 1]);
    run_after(g, g->phase);
  }
  tape_add_up(g, 0, g->gradient_size);
  if (g->n_after) pool_run(g->spec.pool, run_slot, g, g->n_after);
  denormals_restore(state);
}

double graph_scalar(const Tensor *t) {
  CHECK(t->kept && t->kind != ROW && t->k * t->e * t->n == 1, "graph_scalar: not a kept scalar");
  return (double)t->data[0];
}

const real *graph_values(const Tensor *t) {
  CHECK(t->kept && t->data, "graph_values: %s was not kept", t->op->name);
  CHECK(t->kind != ROW || ranks_count(t->g->spec.ranks) == 1,
        "graph_values: rows of %s that other ranks own", t->op->name);
  return t->data;
}

const real *graph_gradient(const Graph *g) {
  CHECK(g->minimises, "graph_gradient: nothing is minimised");
  return g->blocks;
}
