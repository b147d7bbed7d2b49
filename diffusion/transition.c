/* transition.c -- the stages of a table as Gaussians. */
#include "diffusion/transition.h"
#include <math.h>

/* behind the numbers of the call */
enum { BASE, OUT, STD, INVERSE, OFFSET, MOVE_NUMBERS };

bool transition_random(const Sampler *s, int stage) { return s->stage[stage].noise > 0; }

int transition_count(const Sampler *s) {
  int count = 0;
  for (int i = 0; i < s->stages; i++) count += transition_random(s, i);
  return count;
}

bool transition_check(const Sampler *s, Error *error) {
  for (int i = 0; i < s->stages; i++) {
    const Stage *stage = &s->stage[i];
    bool looks_back = stage->out[1] != 0 || stage->out[2] != 0 || stage->out[3] != 0;
    bool alone = stage->evaluates && stage->rebase;
    if (!looks_back && alone && !stage->learned) continue;
    return error_set(error, FAIL_USAGE,
                     "the chain of sampler %s has no log-probability: the mean of stage %d uses %s",
                     s->spec.method, i,
                     stage->learned ? "a variance that the network learns"
                                    : "outputs of older stages (use ddpm, or ddim with eta > 0)");
  }
  return true;
}

int transition_size(const Sampler *s) { return net_call_size(s->spec.guides) + MOVE_NUMBERS; }

void transition_numbers(const Sampler *s, int i, real *row) {
  double n[NET_CALL_MOST + MOVE_NUMBERS];
  const Stage *stage = &s->stage[i];
  int own = net_call_size(s->spec.guides), size = transition_size(s);
  bool random = transition_random(s, i);
  net_call_numbers(s->spec.guides, stage, n);
  n[own + BASE] = stage->base, n[own + OUT] = stage->out[0], n[own + STD] = stage->noise;
  n[own + INVERSE] = random ? 1 / stage->noise : 0;
  n[own + OFFSET] = random ? -log(stage->noise) - 0.5 * log(2 * acos(-1)) : 0;
  for (int j = 0; j < size; j++) row[j] = (real)n[j];
}

void transition_raise(const Sampler *s, int i, double std, double density, real *row) {
  int own = net_call_size(s->spec.guides);
  double noise = s->stage[i].noise, spread = fmax(noise, density);
  row[own + STD] = (real)fmax(noise, std);
  row[own + INVERSE] = (real)(1 / spread);
  row[own + OFFSET] = (real)(-log(spread) - 0.5 * log(2 * acos(-1)));
}

Transition transition_record(const Sampler *sampler, const Denoiser *denoiser, const Params *params,
                             Tensor *x, Tensor *numbers, Tensor *cond) {
  const SamplerSpec *spec = &sampler->spec;
  NetCall call = { .denoiser = denoiser,
                   .params = params,
                   .cond = cond,
                   .guides = spec->guides,
                   .data_form = sampler->data_form,
                   .clip = spec->clip,
                   .low = spec->low,
                   .high = spec->high };
  int own = net_call_size(spec->guides);
  NetCallNumbers n = net_call_columns(&call, numbers);
  Tensor *M = net_call_record(&call, &n, x).M, *out = t_col(numbers, own + OUT);
  return (Transition){ .mean = t_add(t_mul(x, t_col(numbers, own + BASE)), t_mul(M, out)),
                       .std = t_col(numbers, own + STD),
                       .inverse = t_col(numbers, own + INVERSE),
                       .offset = t_scale(denoiser->dim, t_col(numbers, own + OFFSET)),
                       .each = t_col(numbers, own + OFFSET),
                       .M = M,
                       .out = out };
}

Tensor *transition_move(const Transition *t, Tensor *z) { return t_add(t->mean, t_mul(z, t->std)); }

static Tensor *half_square(const Transition *t, Tensor *difference) {
  Tensor *scaled = t_mul(difference, t->inverse);
  return t_scale(-0.5, t_sum_last(t_map(MAP_square, scaled)));
}

Tensor *transition_log_prob(const Transition *t, Tensor *next) {
  return t_add(half_square(t, t_sub(next, t->mean)), t->offset);
}

Tensor *transition_log_probs(const Transition *t, Tensor *next, double low, double high) {
  Tensor *scaled = t_mul(t_sub(next, t->mean), t->inverse);
  return t_clip(t_add(t_scale(-0.5, t_map(MAP_square, scaled)), t->each), low, high);
}

Tensor *transition_kl(const Transition *p, const Transition *q) {
  return t_scale(-1, half_square(p, t_sub(p->mean, q->mean)));
}
