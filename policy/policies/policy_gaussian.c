/* policy_gaussian.c -- a normal around the output of a network, squashed or not: the policies of
 * SAC, IQL, CQL, EDAC and BC. */
#include "policy/policies/policy_gaussian.h"
#include <math.h>
#include <string.h>

#define CONFIG_STRUCT GaussianPolicy
static const ConfigField fields[] = { CONFIG_ROWS(GAUSSIAN_FIELDS) };
#undef CONFIG_STRUCT

static bool is_free(const GaussianPolicy *m) { return !strcmp(m->deviation.s, "free"); }

/* the network says the mean and, unless it is one for all states, the deviation too */
static bool network(Policy *p, Error *error) {
  GaussianPolicy *m = (GaussianPolicy *)p;
  (void)error;
  p->actor = blocks_add(&p->blocks, params_new(p->arena, "actor"));
  m->trunk = mlp_new(p->actor, &(MlpSpec){ .name = "trunk",
                                           .members = 1,
                                           .inputs = p->seen,
                                           .hidden = (int)p->spec.hidden,
                                           .hidden_layers = (int)m->actor_layers,
                                           .outputs = (is_free(m) ? 1 : 2) * p->width,
                                           .activation = MAP_relu });
  /* free: one deviation for all states, a parameter beside the network */
  m->log_std = is_free(m) ? params_slot(p->actor, "log_std", 1, 1, p->width, 0) : -1;
  p->actor_ema = blocks_add(&p->blocks, params_twin(p->actor, "actor_ema"));
  return true;
}

/* the network's two answers: mean and log deviation before squashing */
typedef struct {
  Tensor *mean, *log_std;
} Normal;

static Normal normal_at(const GaussianPolicy *m, Graph *g, const Params *actor, Tensor *obs) {
  int n = m->base.width;
  Tensor *out = mlp(&m->trunk, g, actor, IN(obs));
  /* the deviation is bounded in every form, or log pi could grow without end */
  if (is_free(m)) return (Normal){ out, t_clip(t_param(g, actor, m->log_std), -5, 2) };
  Tensor *raw = t_slice(out, n, n);
  bool clipped = !strcmp(m->deviation.s, "clip");
  /* of the state: cut to [-20, 2], or 3.5 tanh - 1.5, which stays in [-5, 2] */
  Tensor *log_std =
      clipped ? t_clip(raw, -20, 2) : t_shift(t_scale(3.5, t_map(MAP_tanh, raw)), -1.5);
  return (Normal){ t_slice(out, 0, n), log_std };
}

static const double half_log_2pi = 0.91893853320467274178;

/* log N of a number that is `noise` deviations from the centre, summed over the entries */
static Tensor *log_normal(Tensor *noise, Tensor *log_std) {
  return t_shift(t_mix(-0.5, t_map(MAP_square, noise), -1, log_std), -half_log_2pi);
}

/* log(1 - a^2 + 1e-6): what tanh takes away of the volume around tanh^-1(a) */
static Tensor *log_volume(Tensor *act) {
  return t_map(MAP_log, t_shift(t_scale(-1, t_map(MAP_square, act)), 1 + 1e-6));
}

/* log pi(a) = sum log N(u; mean, std) - log(1 - tanh(u)^2 + 1e-6) */
static Tensor *squashed_log_prob(Tensor *noise, Tensor *log_std, Tensor *act) {
  Tensor *normal = t_mix(-0.5, t_map(MAP_square, noise), -1, log_std);
  return t_sum_last(t_shift(t_sub(normal, log_volume(act)), -half_log_2pi));
}

Tensor *gaussian_act(const Policy *p, Graph *g, const Params *actor, Tensor *obs, Tensor *noise,
                     Tensor **log_prob) {
  const GaussianPolicy *m = (const GaussianPolicy *)p;
  if (log_prob) *log_prob = NULL;
  Normal at = normal_at(m, g, actor, obs);
  /* without noise the centre acts */
  if (!noise) return t_map(MAP_tanh, at.mean);
  /* not squashed: a normal around tanh of the network, which may pass the bounds */
  if (!m->squashed) {
    if (log_prob) *log_prob = t_sum_last(log_normal(noise, at.log_std));
    return t_add(t_map(MAP_tanh, at.mean), t_mul(t_map(MAP_exp, at.log_std), noise));
  }
  /* squashed: tanh of a normal, whose density allows for the change of volume */
  Tensor *u = t_add(at.mean, t_mul(t_map(MAP_exp, at.log_std), noise)), *act = t_map(MAP_tanh, u);
  if (log_prob) *log_prob = squashed_log_prob(noise, at.log_std, act);
  return act;
}

/* tanh^-1, of actions that are not quite at the bounds */
static Tensor *unsquash(Tensor *act) {
  /* (log(1 + a) - log(1 - a)) / 2 */
  Tensor *up = t_map(MAP_log, t_shift(act, 1));
  Tensor *down = t_map(MAP_log, t_shift(t_scale(-1, act), 1));
  return t_mix(0.5, up, -0.5, down);
}

Tensor *gaussian_log_prob(const Policy *p, Graph *g, const Params *actor, Tensor *obs, Tensor *act,
                          Tensor *factor) {
  const GaussianPolicy *m = (const GaussianPolicy *)p;
  Normal at = normal_at(m, g, actor, obs);
  const double most = 1 - 1e-6;
  /* actions of data may lie on the bounds, where tanh^-1 is infinite */
  if (m->squashed) act = t_clip(act, -most, most);
  /* distance from the centre, in the space where the policy is normal */
  Tensor *centre = m->squashed ? at.mean : t_map(MAP_tanh, at.mean);
  Tensor *away = t_sub(m->squashed ? unsquash(act) : act, centre);
  Tensor *log_density = log_normal(t_div(away, t_map(MAP_exp, at.log_std)), at.log_std);
  if (m->squashed) log_density = t_sub(log_density, log_volume(act));
  /* `factor` leaves out entries of a chunk that are not there */
  return t_sum_last(factor ? t_mul(log_density, factor) : log_density);
}

static Tensor *propose(const Policy *p, Graph *g, const Params *actor, Tensor *obs, int k,
                       Proposal *more, Error *error) {
  bool mean = !strcmp(p->act.choice.s, "mean"), sample = !strcmp(p->act.choice.s, "sample");
  if (!mean && !sample) {
    error_set(error, FAIL_USAGE, "choice=%s: a gaussian policy has choice=sample or choice=mean",
              p->act.choice.s);
    return NULL;
  }
  Tensor *noise = mean ? NULL : t_normal(g, "act", k, p->width);
  Tensor *act = gaussian_act(p, g, actor, obs, noise, &more->log_prob);
  /* the environment has bounds, a normal has none */
  return ((const GaussianPolicy *)p)->squashed ? act : t_clip(act, -1, 1);
}

const PolicyDef policy_gaussian = {
  .kind = "gaussian",
  .fields = fields,
  .field_count = sizeof fields / sizeof *fields,
  .size = sizeof(GaussianPolicy),
  .takes = "weights choice",
  .ignored = "schedule diffusion_steps predicts",
  .critic_layers = 2,
  .critic_activation = MAP_relu,
  .network = network,
  .propose = propose,
  .lane = 64,
  .exported = true,
};
