/* finding.c -- the search, and what is said about what it finds. */
#include "core/tape/finding.h"
#include "core/tape/tape.h"
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- looking at values ----------------------------------------------------------------------- */

/* rows of n numbers, ld apart */
typedef struct {
  const real *at;
  size_t rows;
  int n, ld;
} Values;

static Range range_of(const Tensor *of, Values v) {
  Range r = { .of = of, .low = INFINITY, .high = -INFINITY };
  for (size_t i = 0; i < v.rows; i++)
    for (int j = 0; j < v.n; j++) {
      double x = (double)v.at[i * (size_t)v.ld + (size_t)j];
      r.count++;
      if (!isfinite(x) && !r.odd++) r.first = x;
      if (!isfinite(x)) continue;
      r.low = x < r.low ? x : r.low, r.high = x > r.high ? x : r.high;
    }
  return r;
}

static size_t rows_of(const Tensor *t) { return (size_t)t->k * (size_t)t->e; }

static Values slot_values(const Params *params, int slot, const real *at) {
  const Slot *s = &params->layout->slot[slot];
  return (Values){ at, (size_t)s->e * (size_t)s->rows, s->n, s->ld };
}

/* all that a lane has of t */
static Values values_of(const Lane *lane, const Tensor *t) {
  const real *at = lane_at(lane, t);
  if (t->kind == SUM && t->op->into_slot)
    return slot_values(lane->g->spec.trained, t->attr.i[0], at);
  if (t->kind == ONCE && t->op->run) { /* packed or not */
    int whole = (int)tape_once_row(t);
    return (Values){ at, rows_of(t), whole, whole };
  }
  return (Values){ at, (size_t)lane_rows(lane, t) * rows_of(t), t->n, t->ld };
}

static Range look(const Lane *lane, const Tensor *t) { return range_of(t, values_of(lane, t)); }

/* ---- what is found --------------------------------------------------------------------------- */

typedef struct {
  Graph *g;
  Finding *found;
  int limit; /* of the list that runs: nodes after this one are not looked at; -1: none is */
} Search;

static void found_kind(Search *s, FindingKind kind, const Tensor *t, Range values) {
  *s->found = (Finding){ .kind = kind, .g = s->g, .node = t, .values = values };
}

static void add_row(Finding *f, int row) {
  if (f->rows < FINDING_ROWS) f->row[f->rows] = row;
  f->rows++;
}

/* which rows of the lane have one; those of a sum are all */
static void add_rows(const Lane *lane, const Tensor *t, Finding *f) {
  const size_t size = t->kind == ROW ? (size_t)row_size(t) : 0;
  const real *at = lane_at(lane, t);
  for (int r = 0; r < lane->rows; r++)
    if (t->kind != ROW ||
        range_of(t, (Values){ at + (size_t)r * size, rows_of(t), t->n, t->ld }).odd)
      add_row(f, lane->row0 + r);
}

/* does y take the memory of its first input? */
static bool overwrites(const Tensor *y) {
  const Tensor *x = y->in[0];
  return x && y->op->in_place && x->place == PLACE_LANE && y->place == PLACE_LANE &&
         x->offset == y->offset;
}

/* numbers that a run need not write must not look like its own */
static void clear_second(const Lane *lane, const Tensor *y) {
  if (!y->aux || !y->aux->live || y->aux->kind != ROW) return;
  memset(lane_at(lane, y->aux), 0, (size_t)lane->rows * (size_t)row_size(y->aux) * sizeof(real));
}

static const Tensor *odd_output(const Lane *lane, const Tensor *y) {
  if (look(lane, y).odd) return y;
  return y->aux && y->aux->live && look(lane, y->aux).odd ? y->aux : NULL;
}

static void note_node(Search *s, const Lane *lane, const Tensor *y, const Tensor *odd,
                      const Range *before) {
  Finding *f = s->found;
  found_kind(s, FINDING_NODE, odd, look(lane, odd));
  for (int i = 0; i < OP_INPUTS && y->in[i]; i++)
    f->in[f->inputs++] = !i && before ? *before : look(lane, y->in[i]);
}

/* run number i of a list of nodes, and look */
static void run_node(Search *s, const Lane *lane, const Tensor *y, int i) {
  if (i > s->limit) {
    y->op->run(lane, y);
    return;
  }
  bool takes = overwrites(y), lanes = lane->scratch != NULL;
  Range before = { 0 };
  if (takes) before = look(lane, y->in[0]);
  bool was = y->kind == SUM && look(lane, y).odd; /* of another lane, or another node */
  if (lanes) clear_second(lane, y);
  y->op->run(lane, y);
  const Tensor *odd = was ? NULL : odd_output(lane, y);
  if (!odd) return;
  if (i < s->limit) {
    note_node(s, lane, y, odd, takes ? &before : NULL);
    s->limit = i;
  }
  if (lanes) add_rows(lane, odd, s->found);
}

/* a list begins: all of it is looked at, unless something was found before */
static void begin(Search *s) { s->limit = s->found->kind == FINDING_NONE ? INT_MAX : -1; }

/* ---- what the tape reads --------------------------------------------------------------------- */

static void look_at_weights(Search *s) {
  const Graph *g = s->g;
  for (int id = 0; id < g->nodes && s->found->kind == FINDING_NONE; id++) {
    const Tensor *t = g->node[id];
    const Params *params = t->live ? tape_params(g, t) : NULL;
    if (!params) continue;
    int slot = t->attr.i[0];
    Range r = range_of(t, slot_values(params, slot, params_at(params, slot)));
    if (!r.odd) continue;
    found_kind(s, FINDING_WEIGHT, t, r);
    s->found->params = params, s->found->slot = slot;
  }
}

static void look_at_inputs(Search *s, int from, int to) {
  const Graph *g = s->g;
  Lane lane = { .g = g, .row0 = from, .rows = to > from ? to - from : 0 }; /* a rank may own none */
  for (int id = 0; id < g->nodes && s->found->kind == FINDING_NONE; id++) {
    const Tensor *t = g->node[id];
    bool given = t->place == PLACE_FIXED && !t->op->run && !tape_params(g, t);
    if (!t->live || !(given || t->place == PLACE_BOUND)) continue;
    Range r = look(&lane, t);
    if (!r.odd) continue;
    found_kind(s, FINDING_INPUT, t, r);
    if (t->kind == ROW) add_rows(&lane, t, s->found);
  }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void run_group(Search *s, int group) {
  Graph *g = s->g;
  int from = group * g->spec.group, to = from + g->spec.group;
  if (to > g->rows) to = g->rows;
  Lane lane = { .g = g,
                .phase = g->phase,
                .work = g->scratch[0],
                .scratch = g->scratch[0] + g->work_size,
                .sums = g->blocks + (size_t)group * g->sum_size };
  for (int row = from; row < to; row += g->spec.lane) {
    lane.begins = row == from;
    lane.row0 = row, lane.rows = to - row < g->spec.lane ? to - row : g->spec.lane;
    for (int i = 0; i < g->n_lane[g->phase]; i++) run_node(s, &lane, g->lane_nodes[g->phase][i], i);
  }
}

/* sums that were finite by group and are not when added up */
static void look_at_totals(Search *s, bool slots) {
  Graph *g = s->g;
  Lane lane = { .g = g, .phase = g->phase };
  for (int i = 0; i < g->nodes && s->found->kind == FINDING_NONE; i++) {
    const Tensor *t = g->node[i];
    if (t->place != PLACE_SUM || !t->in_lane || t->op->into_slot != slots) continue;
    if (!slots && t->phase != g->phase) continue;
    Range r = look(&lane, t);
    if (r.odd) found_kind(s, FINDING_TOTAL, t, r);
  }
}

static void run_after(Search *s, bool slots) {
  Graph *g = s->g;
  Lane lane = { .g = g, .phase = g->phase, .rows = 1 };
  begin(s);
  for (int i = 0; i < g->n_after; i++) {
    const Tensor *t = g->after[i];
    if (t->op->into_slot == slots && (slots || t->phase == g->phase)) run_node(s, &lane, t, i);
  }
}

static void run_once(Search *s) {
  Lane lane = { .g = s->g, .rows = 1 };
  begin(s);
  for (int i = 0; i < s->g->n_once; i++) run_node(s, &lane, s->g->once[i], i);
}

/* the steps of graph_run, one after the other */
static void run(Search *s, int first, int end) {
  Graph *g = s->g;
  run_once(s);
  for (int group = first; group < end; group++)
    memset(g->blocks + (size_t)group * g->sum_size, 0, g->sum_size * sizeof(real));
  for (g->phase = 0; g->phase < g->phases; g->phase++) {
    begin(s);
    for (int group = first; group < end; group++) run_group(s, group);
    tape_add_up(g, g->sum_from[g->phase], g->sum_from[g->phase + 1]);
    look_at_totals(s, false);
    run_after(s, false);
  }
  tape_add_up(g, 0, g->gradient_size);
  look_at_totals(s, true);
  run_after(s, true);
}

bool finding_search(Graph *g, int rows, uint64_t step, const uint32_t *row_ids, Finding *finding) {
  CHECK(g->sealed && rows > 0 && rows <= g->spec.max_rows, "finding_search: %d rows of %d", rows,
        g->spec.max_rows);
  Search s = { .g = g, .found = finding };
  *finding = (Finding){ .g = g };
  unsigned state = denormals_off();
  g->rows = rows, g->step = step, g->row_ids = row_ids;
  g->groups = (rows + g->spec.group - 1) / g->spec.group;
  int me = ranks_index(g->spec.ranks), first = ranks_first(g->spec.ranks, g->groups, me);
  int end = ranks_first(g->spec.ranks, g->groups, me + 1), last = end * g->spec.group;
  g->first_group = first;
  look_at_weights(&s);
  look_at_inputs(&s, first * g->spec.group, last < rows ? last : rows);
  run(&s, first, end);
  denormals_restore(state);
  return finding->kind != FINDING_NONE;
}

/* ---- for people ------------------------------------------------------------------------------ */

typedef struct {
  char *text;
  size_t size, length;
} Line;

__attribute__((format(printf, 2, 3))) static void say(Line *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int count = vsnprintf(l->text + l->length, l->size - l->length, format, args);
  va_end(args);
  if (count > 0) l->length += (size_t)count;
  if (l->length >= l->size) l->length = l->size - 1;
}

static void say_node(Line *l, const Graph *g, const Tensor *t) {
  char op[TAPE_OP_TEXT];
  const Params *params = t->op->into_slot ? g->spec.trained : tape_params(g, t);
  say(l, "%d (%s", t->id, tape_op_text(t, op));
  if (t->twin) say(l, " of %d, %s", t->twin->id, tape_op_text(t->twin, op));
  if (params) say(l, " %s/%s", params->block, params->layout->slot[t->attr.i[0]].name);
  if (t->name) say(l, " \"%s\"", t->name);
  if (t->attr.stream) say(l, ", stream \"%s\"", t->attr.stream);
  say(l, " [%d, %d, %d])", t->k, t->e, t->n);
}

static void say_range(Line *l, const Range *r) {
  if (r->low <= r->high) say(l, "%.4g to %.4g", r->low, r->high);
  if (r->odd) say(l, "%s%lld not finite", r->odd < r->count ? ", " : "", (long long)r->odd);
}

static void say_rows(Line *l, const Finding *f) {
  const int shown = f->rows < FINDING_ROWS ? f->rows : FINDING_ROWS;
  if (!f->rows) return;
  say(l, f->node->kind == ROW ? " in row%s" : " after row%s", f->rows > 1 ? "s" : "");
  for (int i = 0; i < shown; i++) say(l, "%s %d", i ? "," : "", f->row[i]);
  if (f->rows > shown) say(l, ", ..");
  if (f->node->kind == ROW) say(l, " (%d of %d)", f->rows, f->g->rows);
}

static void say_inputs(Line *l, const Finding *f) {
  for (int i = 0; i < f->inputs; i++) {
    say(l, i ? ", " : "; its inputs there: ");
    say_node(l, f->g, f->in[i].of);
    say(l, " ");
    say_range(l, &f->in[i]);
  }
}

void finding_text(const Finding *f, char *text, size_t size) {
  Line l = { text, size, 0 };
  const Graph *g = f->g;
  say(&l, "on the tape that trains %s, ", g->spec.trained ? g->spec.trained->block : "nothing");
  switch (f->kind) {
  case FINDING_NONE:
    say(&l, "every value is finite when it runs again; only the norm of its gradient is not, or "
            "the first run went wrong");
    return;
  case FINDING_WEIGHT:
    say(&l, "the weights %s/%s are not finite: %lld of %lld numbers, the first is %g",
        f->params->block, f->params->layout->slot[f->slot].name, (long long)f->values.odd,
        (long long)f->values.count, f->values.first);
    return;
  case FINDING_INPUT:
    say(&l, "the input \"%s\" is ", f->node->name ? f->node->name : "table");
    break;
  case FINDING_NODE:
    say(&l, "node ");
    say_node(&l, g, f->node);
    say(&l, " of phase %d is the first that is not finite: ", f->node->phase);
    break;
  case FINDING_TOTAL:
    say(&l, "node ");
    say_node(&l, g, f->node);
    say(&l, "%s, added over all rows, is ",
        ranks_count(g->spec.ranks) > 1 ? " (finite in the rows of this rank)" : "");
  }
  say(&l, "%g", f->values.first);
  say_rows(&l, f);
  say_inputs(&l, f);
}
