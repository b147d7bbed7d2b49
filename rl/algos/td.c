/* td.c -- batches of a policy's shape, as inputs of a tape; targets and losses of temporal
 * differences. */
#include "rl/algos/td.h"
#include "core/check.h"
#include "diffusion/loss.h"

enum { MOST_COLUMNS = 10 };

/* a history that ends now, a chunk that begins now, and which of its actions are there */
static int cloned(Column *c, const Policy *p) {
  int seen = (int)p->spec.obs_steps, chunk = (int)p->spec.chunk, n = 0;
  c[n++] = (Column)COLUMN("obs", OF_OBS, 1 - seen, seen);
  c[n++] = (Column)COLUMN("act", OF_ACT, 0, chunk);
  if (chunk > 1) c[n++] = (Column)COLUMN("valid", OF_VALID, 0, chunk);
  return n;
}

Batch *td_cloned(const AlgoSetup *setup, const Policy *policy) {
  Column columns[MOST_COLUMNS] = { { 0 } };
  /* batches of cloning look at nothing behind the chunk */
  cloned(columns, policy);
  return algo_batch(setup, columns);
}

Batch *td_batch(const AlgoSetup *setup, const Policy *policy, int nstep, bool next_act,
                Error *error) {
  return td_batch_with(setup, policy, nstep, next_act, NULL, error);
}

Batch *td_batch_with(const AlgoSetup *setup, const Policy *policy, int nstep, bool next_act,
                     const Column *more, Error *error) {
  Column c[MOST_COLUMNS] = { { 0 } };
  int seen = (int)policy->spec.obs_steps, chunk = (int)policy->spec.chunk, n = cloned(c, policy);
  /* a chunk collects the rewards of all its actions */
  int steps = chunk > 1 ? chunk : nstep;
  if (chunk > 1 && nstep > 1) {
    error_set(
        error, FAIL_USAGE,
        "nstep=%d with chunk=%d: the target of a chunk adds up its own %d rewards; use nstep=1",
        nstep, chunk, chunk);
    return NULL;
  }
  /* behind the rewards that are added up: where the value takes over */
  c[n++] = (Column)COLUMN("next", OF_NEXT, steps, seen);
  c[n++] = (Column)COLUMN("reward", OF_REWARD, 0, steps);
  c[n++] = (Column)COLUMN("live", OF_LIVE, 0, steps);
  if (next_act) c[n++] = (Column)COLUMN("next_act", OF_ACT, steps, chunk);
  for (; more && more->name; more++) {
    CHECK(n + 1 < MOST_COLUMNS, "td_batch: no room for %s", more->name);
    c[n++] = *more;
  }
  return algo_batch(setup, c);
}

Tensor *batch_input(Graph *g, const Batch *batch, const char *column) {
  const BatchColumn *c = batch_column(batch, column);
  /* a column that several terms ask for is one input */
  Tensor *input = graph_input(g, c->input);
  if (input) return input;
  input = t_input(g, c->input, 1, c->n);
  graph_bind(input, c->values);
  return input;
}

Tensor *td_entries(Graph *g, const Batch *batch) {
  const BatchColumn *valid = batch_find(batch, "valid");
  if (!valid) return NULL;
  int width = batch->act_dim;
  double *ones = arena_array(graph_arena(g), double, width);
  for (int j = 0; j < width; j++) ones[j] = 1;
  Tensor *mask = batch_input(g, batch, "valid"), *one = t_table(g, ones, 1, width), *all = NULL;
  /* the flag of a step, repeated for every entry of its action */
  for (int i = 0; i < valid->n; i++) {
    Tensor *step = t_mul(one, t_col(mask, i));
    all = all ? t_concat(all, step) : step;
  }
  return all;
}

Tensor *td_masked(Graph *g, const Batch *batch, Tensor *x) {
  Tensor *entries = td_entries(g, batch);
  return entries ? t_mul(x, entries) : x;
}

Tensor *td_denoising_of(Graph *g, const Denoiser *denoiser, const Params *params,
                        const Batch *batch, const char *stream) {
  Error impossible;
  /* settings that are all defaults cannot be refused */
  Loss *loss = loss_new(graph_arena(g), &(LossSpec){ 0 }, denoiser, &impossible);
  CHECK(loss, "%s", impossible.text);
  const LossInputs in = { .x0 = batch_input(g, batch, "act"),
                          .cond = batch_input(g, batch, "obs"),
                          .factor = td_entries(g, batch) };
  return loss_record(g, loss, params, stream, &in).loss;
}

Tensor *td_denoising(Graph *g, const Policy *p, const Batch *batch, const char *stream) {
  return td_denoising_of(g, p->model->denoiser, p->actor, batch, stream);
}

Tensor *td_target(Graph *g, const Batch *batch, double gamma, Tensor *value) {
  Tensor *reward = batch_input(g, batch, "reward"), *live = batch_input(g, batch, "live");
  /* behind a terminal live is 0: nothing is to be expected there */
  return t_mix(1, reward, gamma, t_mul(value, live));
}

Tensor *td_smoothed(Tensor *act, double std, double most) {
  Tensor *noise = t_scale(std, t_normal(act->g, "target action", act->k, act->n));
  return t_clip(t_add(act, t_clip(noise, -most, most)), -1, 1);
}

Tensor *td_loss(Graph *g, const Batch *batch, Tensor *q, Tensor *y) {
  const BatchColumn *valid = batch_find(batch, "valid");
  Tensor *rows = t_sum_last(t_map(MAP_square, t_sub(q, y)));
  /* a chunk cut short by the end of its episode is left out: not all of it was done */
  if (valid) rows = t_mul(rows, t_col(batch_input(g, batch, "valid"), valid->n - 1));
  return t_mean(rows);
}
