/* layout.c -- sealing a tape: what is live, what runs when, and where each value lies.
 *
 * Row values read within their phase alone live in lane scratch, which the lanes of a thread
 * share; intervals of node ids that do not overlap share memory.  Row values that a later phase
 * (or the caller) reads are kept for every row.  Sums lie in a block per group: first the gradient
 * of the trained Params, then the sums of phase 0, 1, .. */
#include "core/tape/tape.h"
#include <string.h>

static size_t rows_of(const Tensor *t) { return (size_t)t->k * (size_t)t->e; }
static size_t lane_reals(const Graph *g, const Tensor *t) {
  return (size_t)g->spec.lane * rows_of(t) * (size_t)t->ld;
}

/* ---- liveness -------------------------------------------------------------------------------- */

static bool is_root(const Tensor *t) { return t->kept || t->op->into_slot; }

static void mark_live(Graph *g) {
  for (int id = g->nodes - 1; id >= 0; id--) {
    Tensor *t = g->node[id];
    if (is_root(t)) t->live = true;
    if (!t->live) continue;
    if (t->twin) t->twin->live = true;
    for (int i = 0; i < OP_INPUTS && t->in[i]; i++) t->in[i]->live = true;
  }
}

/* last reader within the phase; readers in a later phase make a row value kept */
static void mark_readers(Graph *g) {
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    t->last = id;
    if (!t->live) continue;
    for (int i = 0; i < OP_INPUTS && t->in[i]; i++) {
      Tensor *x = t->in[i];
      x->last = id;
      if (x->kind == ROW && x->phase != t->phase) x->kept = true;
    }
  }
}

/* ---- sums that nobody clears ----------------------------------------------------------------- */

/* Is all of a slot's gradient written after the lanes, so that the first to do so may set it? */
static bool set_after(Graph *g, int slot) {
  for (int p = 0; p < g->phases; p++)
    for (int i = 0; i < g->n_lane[p]; i++) {
      const Tensor *t = g->lane_nodes[p][i];
      if (t->op->into_slot && t->attr.i[0] == slot) return false;
    }
  for (int i = 0; i < g->n_after; i++) {
    Tensor *t = g->after[i];
    if (!t->op->into_slot || t->attr.i[0] != slot) continue;
    return t->first = t->op->sets && t->k == g->spec.trained->layout->slot[slot].rows;
  }
  return false;
}

/* The first to write all of a slot's gradient need not add: then nobody has to clear it. */
static void find_first(Graph *g) {
  const Layout *layout = g->spec.trained->layout;
  g->cleared = arena_array(g->arena, bool, layout->slots);
  for (int s = 0; s < layout->slots; s++) {
    int covered = 0;
    Tensor *first[TAPE_MAX_PARTS];
    int parts = 0;
    for (int p = 0; p < g->phases; p++)
      for (int i = 0; i < g->n_lane[p]; i++) {
        Tensor *t = g->lane_nodes[p][i];
        if (!t->op->by_rows || t->attr.i[0] != s || parts == TAPE_MAX_PARTS) continue;
        bool known = false;
        for (int q = 0; q < parts; q++) known |= first[q]->attr.i[1] == t->attr.i[1];
        if (!known) first[parts++] = t, covered += t->k;
      }
    bool all = covered == layout->slot[s].rows || set_after(g, s);
    for (int q = 0; q < parts; q++) first[q]->first = all;
    g->cleared[s] = !all;
  }
}

/* ---- order ----------------------------------------------------------------------------------- */

static void put(Graph *g, Tensor ***list, int *count, Tensor *t) {
  if (!*list) *list = arena_array(g->arena, Tensor *, g->nodes);
  (*list)[(*count)++] = t;
}

static void order_nodes(Graph *g) {
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    if (!t->live) continue;
    if (t->kind != ONCE && t->phase + 1 > g->phases) g->phases = t->phase + 1;
    if (!t->op->run) continue;
    if (t->in_lane)
      put(g, &g->lane_nodes[t->phase], &g->n_lane[t->phase], t);
    else if (t->kind == SUM)
      put(g, &g->after, &g->n_after, t);
    else {
      put(g, &g->once, &g->n_once, t);
      if (t->reads >> READS_ALWAYS) g->once_always = true;
    }
  }
}

static void link_following(Graph *g) {
  for (int p = 0; p < g->phases; p++)
    for (int i = 0; i < g->n_lane[p]; i++)
      for (int j = i + 1; j < g->n_lane[p] && !g->lane_nodes[p][i]->following; j++)
        if (g->lane_nodes[p][j]->op == g->lane_nodes[p][i]->op)
          g->lane_nodes[p][i]->following = g->lane_nodes[p][j];
}

/* ---- lane scratch ---------------------------------------------------------------------------- */

typedef struct {
  size_t from, to; /* [from, to) */
  int last;        /* id after which it is free */
} Interval;

typedef struct {
  Interval *used; /* sorted by from */
  int count;
  size_t high;
} Scratch;

static void release_before(Scratch *s, int id) {
  int kept = 0;
  for (int i = 0; i < s->count; i++)
    if (s->used[i].last >= id) s->used[kept++] = s->used[i];
  s->count = kept;
}

/* first gap that fits */
static size_t take(Scratch *s, size_t size, int last) {
  size_t at = 0;
  int i = 0;
  for (; i < s->count && s->used[i].from < at + size; i++)
    if (s->used[i].to > at) at = s->used[i].to;
  memmove(s->used + i + 1, s->used + i, (size_t)(s->count - i) * sizeof *s->used);
  s->used[i] = (Interval){ at, at + size, last };
  s->count++;
  if (at + size > s->high) s->high = at + size;
  return at;
}

/* y takes over the memory of an input that dies with it */
static bool take_over(Scratch *s, Tensor *y) {
  Tensor *x = y->in[0];
  if (!y->op->in_place || x->place != PLACE_LANE || x->last != y->id) return false;
  if (x->k != y->k || x->e != y->e || x->n != y->n || x->twin) return false;
  for (int i = 0; i < s->count; i++)
    if (s->used[i].from == x->offset) {
      s->used[i].last = y->last;
      y->offset = x->offset, y->place = PLACE_LANE;
      return true;
    }
  return false;
}

static void place_in_lane(Graph *g, Scratch *s, Tensor *t) {
  if (t->place != PLACE_NONE || t->kept || take_over(s, t)) return;
  t->place = PLACE_LANE;
  t->offset = take(s, lane_reals(g, t), t->last);
}

static void plan_lanes(Graph *g) {
  Arena *scratch = arena_under(g->arena);
  Scratch s = { .used = arena_array(scratch, Interval, g->nodes + 1) };
  for (int p = 0; p < g->phases; p++) {
    s.count = 0;
    for (int i = 0; i < g->n_lane[p]; i++) {
      Tensor *t = g->lane_nodes[p][i];
      release_before(&s, t->id);
      size_t work = t->op->work ? t->op->work(t) : 0;
      if (work > g->work_size) g->work_size = (work + 15) / 16 * 16;
      if (t->kind == ROW) place_in_lane(g, &s, t);
      /* an aux is written with its twin, before its own place in the order */
      if (t->aux && t->aux->live) place_in_lane(g, &s, t->aux);
    }
  }
  g->lane_size = s.high;
  arena_free(scratch);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static real *zeros(Graph *g, size_t count) { return arena_array(g->arena, real, count); }

size_t tape_once_row(const Tensor *t) {
  if (!t->op->run && !t->twin) return (size_t)t->ld; /* tables */
  size_t n = (size_t)(t->n + 31) / 32 * 32;          /* packed panels are 32 wide */
  return n < (size_t)t->ld ? (size_t)t->ld : n;
}

static void place_fixed(Graph *g, Tensor *t) {
  if (t->place == PLACE_FIXED || t->place == PLACE_BOUND) return; /* tables, parameters, inputs */
  t->place = PLACE_FIXED;
  t->data = zeros(g, rows_of(t) * tape_once_row(t));
}

static void place_kept(Graph *g, Tensor *t) {
  if (t->place == PLACE_BOUND) return;
  size_t count = (size_t)g->spec.max_rows * rows_of(t) * (size_t)t->ld;
  t->place = PLACE_KEPT;
  t->data = zeros(g, count);
  g->kept_size += count;
}

/* the sums of a phase: those that begin as zero, or those that the first lane sets */
static void place_sums(Graph *g, int phase, bool set) {
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    if (!t->live || t->kind != SUM || t->phase != phase || (t->op->sets && t->in_lane) != set)
      continue;
    t->place = PLACE_SUM;
    if (set) t->first = true;
    if (t->op->into_slot)
      t->offset = g->spec.trained->layout->slot[t->attr.i[0]].offset;
    else
      t->offset = g->sum_size, g->sum_size += rows_of(t) * (size_t)t->ld;
  }
}

static void plan_sums(Graph *g) {
  g->gradient_size = g->minimises ? g->spec.trained->layout->size : 0;
  g->sum_size = g->gradient_size;
  for (int p = 0; p < g->phases; p++) {
    g->sum_from[p] = g->sum_size;
    place_sums(g, p, false);
    g->clear_to[p] = g->sum_size;
    place_sums(g, p, true);
  }
  g->sum_from[g->phases] = g->sum_size;
  g->max_groups = (g->spec.max_rows + g->spec.group - 1) / g->spec.group;
  g->blocks = zeros(g, (size_t)g->max_groups * g->sum_size);
  for (int id = 0; id < g->nodes; id++)
    if (g->node[id]->place == PLACE_SUM) g->node[id]->data = g->blocks + g->node[id]->offset;
}

void tape_plan(Graph *g) {
  mark_live(g);
  mark_readers(g);
  order_nodes(g);
  link_following(g);
  if (g->minimises) find_first(g);
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    if (!t->live) continue;
    if (t->kind == ONCE) place_fixed(g, t);
    if (t->kind == ROW && t->kept) place_kept(g, t);
  }
  plan_sums(g);
  plan_lanes(g);
  int workers = g->spec.pool ? pool_threads(g->spec.pool) : 1;
  g->scratch = arena_array(g->arena, real *, workers);
  for (int w = 0; w < workers; w++) g->scratch[w] = zeros(g, g->work_size + g->lane_size + 16);
}
