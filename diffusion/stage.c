/* stage.c -- the evaluation of a stage. */
#include "diffusion/stage.h"

Stage stage_evaluating(const Denoiser *d, Prediction combines, const Level *at) {
  const Line x0 = { 1, 0 };
  Line output = prediction_line(d->predicts, at, d->data_std);
  Line wanted = prediction_line(combines, at, d->data_std);
  return (Stage){ .at = *at,
                  .time = denoiser_time(d, at),
                  .scale = denoiser_scale(d, at),
                  .evaluates = true,
                  .rebase = true,
                  .x0 = line_form(output, x0, at),
                  .back = line_form(x0, wanted, at),
                  .direct = line_form(output, wanted, at) };
}

/* ---- numbers --------------------------------------------------------------------------------- */

typedef enum {
  N_TIME,
  N_A,
  N_S,
  N_EMBED,
  N_SCALE,
  N_X0_X,
  N_X0_OUT,
  N_BACK_X,
  N_BACK_X0,
  N_DIRECT_X,
  N_DIRECT_OUT,
  N_LOW,
  N_HIGH,
  NUMBERS
} NumberOf;
_Static_assert((int)NUMBERS == (int)NET_CALL_OWN, "the numbers of a call");

static int count(const Guide *const *guides) {
  int n = 0;
  while (guides && guides[n]) n++;
  return n;
}

bool net_call_check(const Guide *const *guides, Error *error) {
  int n = count(guides), calling = 0;
  for (int i = 0; i < n; i++) calling += guides[i]->call != NULL;
  if (n > NET_CALL_GUIDES)
    return error_set(error, FAIL_USAGE, "%d guides, at most %d", n, NET_CALL_GUIDES);
  if (calling > 1)
    return error_set(
        error, FAIL_USAGE,
        "%d of the guides evaluate the network themselves; only one can, as the others "
        "change its output",
        calling);
  return true;
}

int net_call_size(const Guide *const *guides) {
  return NET_CALL_OWN + count(guides) * GUIDE_NUMBERS;
}

void net_call_numbers(const Guide *const *guides, const Stage *s, double *n) {
  n[N_TIME] = s->at.time, n[N_A] = s->at.a, n[N_S] = s->at.s;
  n[N_EMBED] = s->time, n[N_SCALE] = s->scale;
  n[N_X0_X] = s->x0.to_x, n[N_X0_OUT] = s->x0.to_out;
  n[N_BACK_X] = s->back.to_x, n[N_BACK_X0] = s->back.to_out;
  n[N_DIRECT_X] = s->direct.to_x, n[N_DIRECT_OUT] = s->direct.to_out;
  n[N_LOW] = s->log_low, n[N_HIGH] = s->log_high;
  n += NUMBERS;
  for (; guides && *guides; guides++, n += GUIDE_NUMBERS) {
    for (int j = 0; j < GUIDE_NUMBERS; j++) n[j] = 0;
    if ((*guides)->numbers) (*guides)->numbers(*guides, &s->at, n);
  }
}

NetCallNumbers net_call_constants(Graph *g, const NetCall *q, const Stage *stage, Tensor *h) {
  double n[NET_CALL_MOST];
  NetCallNumbers numbers = { .h = h };
  net_call_numbers(q->guides, stage, n);
  for (int i = 0; i < NUMBERS; i++) numbers.own[i] = t_number(g, n[i]);
  for (int i = 0; i < count(q->guides); i++)
    numbers.guide[i] = t_table(g, n + NUMBERS + i * GUIDE_NUMBERS, 1, GUIDE_NUMBERS);
  return numbers;
}

NetCallNumbers net_call_columns(const NetCall *q, Tensor *row) {
  NetCallNumbers numbers = { .h = NULL };
  for (int i = 0; i < NUMBERS; i++) numbers.own[i] = t_col(row, i);
  for (int i = 0; i < count(q->guides); i++)
    numbers.guide[i] = t_slice(row, NUMBERS + i * GUIDE_NUMBERS, GUIDE_NUMBERS);
  numbers.h = q->denoiser->embed(q->denoiser, row->g, q->params, numbers.own[N_EMBED]);
  return numbers;
}

/* ---- evaluating ----------------------------------------------------------------------------- */

Tensor *call_net(const NetInput *a, Tensor *x, Tensor *cond) {
  return a->denoiser->net(a->denoiser, a->g, a->params, a->scale ? t_mul(x, a->scale) : x, a->h,
                          cond);
}

/* the same sum for all rows, or with a number of its own for each */
static Tensor *form(const NetCallNumbers *n, NumberOf at, Tensor *x, Tensor *y) {
  Tensor *a = n->own[at], *b = n->own[at + 1];
  return a->kind == ONCE ? t_blend(a, x, b, y) : t_add(t_mul(x, a), t_mul(y, b));
}

static Tensor *evaluate_net(const NetCall *q, const NetCallNumbers *n, NetInput *input,
                            Tensor **x) {
  int guides = count(q->guides);
  for (int i = 0; i < guides; i++) {
    input->own = n->guide[i];
    if (q->guides[i]->before) *x = q->guides[i]->before(q->guides[i], input, *x);
  }
  for (int i = 0; i < guides; i++) {
    input->own = n->guide[i];
    if (q->guides[i]->call) return q->guides[i]->call(q->guides[i], input, *x);
  }
  return call_net(input, *x, q->cond);
}

/* ln variance = low + (v + 1) / 2 (high - low) (Nichol & Dhariwal 2021, eq. 15) */
static Tensor *learned_std(const NetCallNumbers *n, Tensor *v) {
  Tensor *low = n->own[N_LOW], *share = t_scale(0.5, t_shift(v, 1));
  Tensor *log_variance = t_add(t_mul(share, t_sub(n->own[N_HIGH], low)), low);
  return t_map(MAP_exp, t_scale(0.5, log_variance));
}

/* M directly, or by way of x_0 where somebody wants to change that */
static Tensor *combined(const NetCall *q, const NetCallNumbers *n, NetInput *input, Tensor *x,
                        Tensor *output) {
  int guides = count(q->guides);
  if (!q->clip && !guides) return form(n, N_DIRECT_X, x, output);
  Tensor *x0 = form(n, N_X0_X, x, output);
  for (int i = 0; i < guides; i++) {
    input->own = n->guide[i];
    if (q->guides[i]->after) x0 = q->guides[i]->after(q->guides[i], input, x, x0);
  }
  if (q->clip) x0 = t_clip(x0, q->low, q->high);
  return q->data_form ? x0 : form(n, N_BACK_X, x, x0);
}

NetOutput net_call_record(const NetCall *q, const NetCallNumbers *n, Tensor *x) {
  const Denoiser *d = q->denoiser;
  NetInput input = { .g = x->g,
                     .denoiser = d,
                     .params = q->params,
                     .h = n->h,
                     .cond = q->cond,
                     .time = n->own[N_TIME],
                     .a = n->own[N_A],
                     .s = n->own[N_S],
                     .scale = d->predicts == PREDICTS_EDM ? n->own[N_SCALE] : NULL };
  NetOutput result = { .output = evaluate_net(q, n, &input, &x) };
  if (d->learns_variance) {
    result.std = learned_std(n, t_slice(result.output, d->dim, d->dim));
    result.output = t_slice(result.output, 0, d->dim);
  }
  result.M = combined(q, n, &input, x, result.output);
  return result;
}
