/* support.c -- a tape that samples, and a table of what it has said. */
#include "rl/algos/support.h"
#include "core/check.h"
#include "rl/source/source_transitions.h"
#include <string.h>

struct Support {
  const Batch *batch;
  const BatchColumn *seen, *row;
  const char *name; /* of the input */
  Graph *tape;
  Tensor *drawn;
  Policy behaviour; /* a copy whose record samples plainly */
  uint64_t step;    /* states and next states have noise of their own */
  int count, width, ld;
  float *kept; /* [transitions, count, width] */
  bool *held;  /* [transitions] */
  real *asked; /* [rows, seen]: states that are drawn for */
  uint32_t *id;
  int *place;
  real *actions; /* [rows, count, ld] */
};

/* two floats hold any row's number exactly */
enum { LOW_BITS = 20 };

const Column *support_rows(const AlgoSetup *setup) {
  const Dataset *data = transitions_of(setup->source)->data;
  float *own = arena_array(setup->arena, float, 2 * data->rows);
  for (int64_t i = 0; i < data->rows; i++) {
    own[2 * i] = (float)(i >> LOW_BITS);
    own[2 * i + 1] = (float)(i & ((1 << LOW_BITS) - 1));
  }
  Column *list = arena_array(setup->arena, Column, 2);
  list[0] = (Column){ .name = "row", .of = OF_OWN, .steps = 1, .own = own, .width = 2 };
  return list;
}

static int64_t row_of(const Support *s, int r) {
  const real *v = s->row->values + (ptrdiff_t)r * s->row->ld;
  return ((int64_t)v[0] << LOW_BITS) + (int64_t)v[1];
}

static bool take_table(Support *s, const AlgoSetup *setup, Error *error) {
  int64_t rows = transitions_of(setup->source)->data->rows;
  size_t bytes = (size_t)rows * (size_t)(s->count * s->width) * sizeof *s->kept;
  if (!arena_has_room(bytes))
    return error_set(error, FAIL_USAGE,
                     "support=%d: %.1f GB of actions for %lld rows of data, more than there is; "
                     "use a smaller support",
                     s->count, 1e-9 * (double)bytes, (long long)rows);
  s->kept = arena_alloc(setup->arena, bytes);
  s->held = arena_array(setup->arena, bool, rows);
  return true;
}

static bool record_tape(Support *s, const AlgoSetup *setup, Error *error) {
  Policy *p = &s->behaviour;
  p->act.guidance = 0, p->act.candidates = 1;
  strcpy(p->act.choice.s, "sample");
  s->tape = algo_graph(setup, NULL);
  Tensor *obs = t_input(s->tape, "obs", 1, s->seen->n);
  graph_bind(obs, s->asked);
  Proposal more;
  s->drawn = policy_propose(p, s->tape, obs, s->count, &more, error);
  if (!s->drawn) return false;
  graph_keep(s->drawn), graph_seal(s->tape);
  return true;
}

Support *support_new(const AlgoSetup *setup, const Policy *behaviour, const Batch *batch,
                     const char *column, int count, Error *error) {
  Arena *arena = setup->arena;
  Support *s = arena_alloc(arena, sizeof *s);
  *s = (Support){ .batch = batch,
                  .seen = batch_column(batch, column),
                  .row = batch_column(batch, "row"),
                  .name = arena_text(arena, "%s support", column),
                  .behaviour = *behaviour,
                  .step = !strcmp(column, "next"),
                  .count = count,
                  .width = behaviour->width,
                  .ld = row_stride(behaviour->width) };
  CHECK(s->row->n == 2, "support: the batch's rows are those of support_rows");
  s->asked = arena_array(arena, real, (ptrdiff_t)batch->rows * s->seen->ld);
  s->id = arena_array(arena, uint32_t, batch->rows),
  s->place = arena_array(arena, int, batch->rows);
  s->actions = arena_array(arena, real, (ptrdiff_t)batch->rows * count * s->ld);
  return take_table(s, setup, error) && record_tape(s, setup, error) ? s : NULL;
}

/* the states of the batch that have none yet */
static int gather(Support *s) {
  int missing = 0;
  size_t bytes = (size_t)s->seen->ld * sizeof(real);
  for (int r = s->batch->from; r < s->batch->to; r++) {
    int64_t row = row_of(s, r);
    if (s->held[row]) continue;
    s->held[row] = true; /* a row that the batch shows twice is drawn for once */
    memcpy(s->asked + (ptrdiff_t)missing * s->seen->ld,
           s->seen->values + (ptrdiff_t)r * s->seen->ld, bytes);
    s->id[missing++] = (uint32_t)row;
  }
  return missing;
}

void support_find(Support *s) {
  int missing = gather(s);
  ptrdiff_t each = (ptrdiff_t)s->count * s->width;
  if (missing) graph_run(s->tape, missing, s->step, s->id);
  for (int i = 0; i < missing; i++)
    for (int k = 0; k < s->count; k++)
      for (int j = 0; j < s->width; j++)
        s->kept[s->id[i] * each + k * s->width + j] =
            (float)graph_values(s->drawn)[((ptrdiff_t)i * s->count + k) * s->drawn->ld + j];
  for (int r = s->batch->from; r < s->batch->to; r++) {
    const float *from = s->kept + row_of(s, r) * each;
    for (int k = 0; k < s->count; k++)
      for (int j = 0; j < s->width; j++)
        s->actions[((ptrdiff_t)r * s->count + k) * s->ld + j] = (real)from[k * s->width + j];
  }
}

Tensor *support_input(Graph *g, const Support *s) {
  Tensor *t = graph_input(g, s->name);
  if (t) return t;
  t = t_input(g, s->name, s->count, s->width);
  graph_bind(t, s->actions);
  return t;
}
