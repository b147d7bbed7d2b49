/* method.c -- the list of sampling methods, and those that are no exponential integrators. */
#include "diffusion/method.h"
#include <math.h>

/* ---- stages ---------------------------------------------------------------------------------- */

const Level *table_from(const Table *t) { return &t->knot[t->now]; }
const Level *table_to(const Table *t) { return &t->knot[t->now + 1]; }

Stage *table_move(Table *t) {
  Stage *stage = &t->stage[t->stages++];
  *stage = (Stage){ .rebase = true };
  return stage;
}

Stage *table_ask(Table *t, const Level *at) {
  Stage *stage = &t->stage[t->stages++];
  *stage = stage_evaluating(t->denoiser, t->combines, at);
  return stage;
}

Level table_at_lambda(const Table *t, double lambda) {
  return schedule_level(t->schedule, schedule_time(t->schedule, lambda));
}

/* ---- DDPM and DDIM --------------------------------------------------------------------------- */

/* x' = a1 x0 + sqrt(s1^2 - d^2) eps + d z with eps = (x - a x0) / s and
 * d = eta (s1 / s) sqrt(1 - a^2 / a1^2), or what that is where a^2 + s^2 is not 1 */
static void ddim(Table *t, int order) {
  const Level *l = table_from(t), *l1 = table_to(t);
  Stage *stage = table_ask(t, l);
  double ratio = l->a / l1->a; /* sqrt(abar_n / abar_n1) */
  double kept =
      t->schedule->def->preserves ? 1 - ratio * ratio : l->s * l->s - ratio * ratio * l1->s * l1->s;
  double d = t->spec->eta > 0 ? t->spec->eta * l1->s / l->s * sqrt(fmax(kept, 0)) : 0;
  (void)order;
  stage->base = sqrt(fmax(l1->s * l1->s - d * d, 0)) / l->s;
  stage->out[0] = l1->a - stage->base * l->a;
  stage->noise = d;
}

/* Noise again, for networks that say x_0 at the least noisy level: x' = a1 x0 + d z, where a1 x0
 * has a1 sigma_min of noise already: d^2 = s1^2 - a1^2 sigma_min^2 (Song et al. 2023, alg. 1) */
static void consistency(Table *t, int order) {
  const Level *l1 = table_to(t);
  double least = schedule_lambda(t->schedule, t->schedule->t_min);
  Stage *stage = table_ask(t, table_from(t));
  (void)order;
  stage->out[0] = l1->a;
  stage->noise = l1->s * sqrt(fmax(-expm1(2 * (l1->lambda - least)), 0));
}

/* the posterior with the effective beta of the (sub-)sequence: equal to ddim with eta 1 */
static Stage *posterior_mean(Table *t, double *beta) {
  const Level *l = table_from(t), *l1 = table_to(t);
  Stage *stage = table_ask(t, l);
  double ratio = l->a / l1->a, keep = l->a * l->a / (l1->a * l1->a), v = l->s * l->s;
  bool preserves = t->schedule->def->preserves;
  *beta = preserves ? 1 - keep : v - ratio * ratio * l1->s * l1->s;
  stage->base = (preserves ? sqrt(keep) : ratio) * l1->s * l1->s / v;
  stage->out[0] = l1->s > 0 ? l1->a * *beta / v : l1->a; /* exactly x_0 at the clean end */
  return stage;
}
static void ddpm(Table *t, int order) {
  double beta, s = table_from(t)->s, s1 = table_to(t)->s;
  Stage *stage = posterior_mean(t, &beta);
  (void)order;
  stage->noise = sqrt(beta * s1 * s1 / (s * s));
}
static void ddpm_large(Table *t, int order) {
  double beta;
  Stage *stage = posterior_mean(t, &beta);
  (void)order;
  stage->noise = table_to(t)->s > 0 ? sqrt(beta) : 0;
}
static void ddpm_learned(Table *t, int order) {
  double beta, s = table_from(t)->s, s1 = table_to(t)->s;
  Stage *stage = posterior_mean(t, &beta);
  (void)order;
  if (s1 == 0) return;
  stage->learned = true, stage->noise = 1;
  stage->log_low = log(beta * s1 * s1 / (s * s)), stage->log_high = log(beta);
}

/* ---- slopes in sigma and in t ---------------------------------------------------------------- */

/* y = x / a follows dy/dsigma = eps (Karras et al. 2022, eq. 1) */
static double sigma_of(const Level *l) { return l->s / l->a; }

static Level churned(Table *t, const Level *l) {
  const SamplerSpec *spec = t->spec;
  double sigma = sigma_of(l), most = spec->churn_max > 0 ? spec->churn_max : INFINITY;
  if (!(spec->churn > 0) || sigma < spec->churn_min || sigma > most) return *l;
  double wanted = sigma * (1 + fmin(spec->churn / t->steps, sqrt(2) - 1));
  Level up =
      table_at_lambda(t, -log(wanted)); /* a discrete schedule has no noisier level than its last */
  double hat = fmax(sigma, sigma_of(&up));
  Stage *stage = table_move(t);
  stage->at = *l;
  stage->base = up.a / l->a;
  stage->noise =
      up.a * sqrt(hat * hat - sigma * sigma) * (spec->churn_noise > 0 ? spec->churn_noise : 1);
  return up;
}

/* x' += h ((1 - 1/2alpha) d + 1/2alpha d'), d' taken alpha h further on */
static void edm_heun(Table *t, int order) {
  Level l = churned(t, table_from(t));
  const Level *l1 = table_to(t);
  double alpha = t->spec->alpha > 0 ? t->spec->alpha : 1, sigma = sigma_of(&l);
  double h = sigma_of(l1) - sigma;
  Stage *stage = table_ask(t, &l);
  (void)order;
  stage->base = l1->a / l.a, stage->out[0] = l1->a * h;
  if (l1->s == 0) return;
  Level there = alpha == 1 ? *l1 : table_at_lambda(t, -log(sigma + alpha * h));
  stage->rebase = false;
  stage->base = there.a / l.a, stage->out[0] = there.a * alpha * h;
  stage = table_ask(t, &there);
  double w = l1->a * h / (2 * alpha);
  stage->base = l1->a / l.a, stage->out[0] = w, stage->out[1] = l1->a * h - w;
}

/* Runge-Kutta in t with at most four slopes; row i of a: stage i's weights */
typedef struct {
  int slopes;
  double c[4], a[4][4], b[4];
} RungeKutta;
static const RungeKutta euler_rule = { 1, { 0 }, { { 0 } }, { 1 } };
static const RungeKutta midpoint_rule = { 2, { 0, 0.5 }, { { 0 }, { 0.5 } }, { 0, 1 } };
static const RungeKutta heun_rule = { 2, { 0, 1 }, { { 0 }, { 1 } }, { 0.5, 0.5 } };
static const RungeKutta rk4_rule = { 4,
                                     { 0, 0.5, 0.5, 1 },
                                     { { 0 }, { 0.5 }, { 0, 0.5 }, { 0, 0, 1 } },
                                     { 1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6 } };

static void runge_kutta(Table *t, int order) {
  static const RungeKutta *const rules[] = { &euler_rule, &midpoint_rule, &heun_rule, &rk4_rule };
  const RungeKutta *rule = rules[order - 1];
  double start = table_from(t)->time, h = table_to(t)->time - start;
  for (int i = 0; i < rule->slopes; i++) {
    Level at =
        i && rule->c[i] > 0 ? schedule_level(t->schedule, start + rule->c[i] * h) : *table_from(t);
    bool last = i == rule->slopes - 1;
    const double *w = last ? rule->b : rule->a[i + 1];
    Stage *stage = table_ask(t, &at);
    stage->rebase = last, stage->base = 1;
    for (int j = 0; j <= i; j++) stage->out[i - j] = h * w[j];
  }
}

/* mean x + [u + eta_t^2 / 2t (x + (1 - t) u)] dt, noise eta_t sqrt|dt|, eta_t = eta sqrt(t/(1-t));
 * where 1 - t is 0 the next grid point's is taken (Liu et al. 2025) */
static void flow_sde(Table *t, int order) {
  double time = table_from(t)->time, dt = table_to(t)->time - time;
  double left = time < 1 ? 1 - time : 1 - table_to(t)->time;
  double eta2 = t->spec->eta * t->spec->eta * time / left;
  Stage *stage = table_ask(t, table_from(t));
  (void)order;
  stage->base = 1 + eta2 / (2 * time) * dt;
  stage->out[0] = dt * (1 + eta2 / (2 * time) * (1 - time));
  stage->noise = sqrt(eta2 * -dt);
}

/* ---- the reverse SDE ------------------------------------------------------------------------- */

/* dx = (f x - (g^2 + w^2)/2 score) dt + w dz with score = -eps / s; the last step is the mean */
static void reverse_euler(Table *t, double w) {
  const Level *l = table_from(t);
  double dt = table_to(t)->time - l->time, g2 = level_g2(l), half = 0.5 * (1 + w * w) * g2;
  Stage *stage = table_ask(t, l);
  stage->base = 1 + level_f(l) * dt;
  stage->out[0] = half / l->s * dt;
  stage->noise = t->now == t->steps - 1 ? 0 : w * sqrt(g2 * -dt);
}
static void euler_maruyama(Table *t, int order) { (void)order, reverse_euler(t, 1); }
static void sde_euler(Table *t, int order) { (void)order, reverse_euler(t, t->spec->eta); }

/* the forward step x_n = keep x_{n-1} + G z, turned round */
static double forward_step(const Table *t, double *keep) {
  const Level *l = table_from(t), *l1 = table_to(t);
  *keep = l->a / l1->a;
  return sqrt(l->s * l->s - *keep * *keep * l1->s * l1->s);
}
static void reverse_diffusion(Table *t, int order) {
  double keep, G = forward_step(t, &keep);
  Stage *stage = table_ask(t, table_from(t));
  (void)order;
  stage->base = 2 - keep, stage->out[0] = -G * G / table_from(t)->s;
  stage->noise = t->now == t->steps - 1 ? 0 : G;
}
static void ancestral(Table *t, int order) {
  double keep, G = forward_step(t, &keep), s = table_from(t)->s, s1 = table_to(t)->s;
  Stage *stage = table_ask(t, table_from(t));
  (void)order;
  stage->base = 1 / keep, stage->out[0] = -G * G / (s * keep);
  stage->noise = t->now == t->steps - 1 ? 0 : t->schedule->def->preserves ? G : G * s1 / s;
}

/* ---- the list -------------------------------------------------------------------------------- */

#define X0     PREDICTS_X0
#define EPS    PREDICTS_EPS
#define U      PREDICTS_VELOCITY
#define NOISY  NEEDS_NOISY_END
#define SLOPES (NEEDS_NOISY_END | NEEDS_SLOPES)
#define BUDGET (BY_BUDGET | TAKES_ORDER)
#define LOWERS TAKES_LOWER_FINAL

/* clang-format off */
static const Method methods[] = {
  { "ddpm", "posterior mean, variance beta-tilde; Ho et al. 2020",
    X0, 0, 1, ddpm, 1, 1 },
  { "ddim", "eta 0: ODE, 1: as ddpm; Song et al. 2021 (DDIM)",
    X0, INVERTS | TAKES_ETA, 1, ddim, 1, 0 },
  { "dpmpp_2m", "DPM-Solver++, multistep; Lu et al. 2022b",
    X0, TAKES_TAYLOR | LOWERS, 1, exponential_multistep, 2, 0 },
  { "ddpm_large", "posterior mean, variance beta; Ho et al. 2020",
    X0, 0, 1, ddpm_large, 1, 1 },
  { "ddpm_learned", "variance from the network; Nichol & Dhariwal 2021",
    X0, NEEDS_VARIANCE, 1, ddpm_learned, 1, 1 },
  { "consistency", "x_0, then noise again, for consistency models; Song et al. 2023",
    X0, 0, 1, consistency, 1, 1 },
  { "dpm_2s", "DPM-Solver-2, noise form; Lu et al. 2022",
    EPS, NOISY, 2, exponential_singlestep, 2, 0 },
  { "dpm_3s", "DPM-Solver-3, noise form; Lu et al. 2022",
    EPS, NOISY, 3, exponential_singlestep, 3, 0 },
  { "dpm_2m", "multistep, noise form; Lu et al. 2022b",
    EPS, NOISY | TAKES_TAYLOR | LOWERS, 1, exponential_multistep, 2, 0 },
  { "dpm_3m", "multistep, noise form; Lu et al. 2022b",
    EPS, NOISY | TAKES_COMPAT | TAKES_TAYLOR | LOWERS, 1, exponential_multistep, 3, 0 },
  { "dpm_fast", "DPM-Solver-3, 2, 1 by a budget of evaluations; Lu et al. 2022",
    EPS, NOISY | BUDGET, 3, exponential_singlestep, 3, 0 },
  { "dpmpp_2s", "DPM-Solver++(2S); Lu et al. 2022b",
    X0, 0, 2, exponential_singlestep, 2, 0 },
  { "dpmpp_3s", "third order single-step, data form; Lu et al. 2022b",
    X0, 0, 3, exponential_singlestep, 3, 0 },
  { "dpmpp_3m", "third order multistep, data form; Lu et al. 2022b",
    X0, TAKES_COMPAT | TAKES_TAYLOR | LOWERS, 1, exponential_multistep, 3, 0 },
  { "dpmpp_fast", "DPM-Solver++ 3S, 2S, 1 by a budget of evaluations",
    X0, BUDGET, 3, exponential_singlestep, 3, 0 },
  { "sde_dpm_1", "SDE-DPM-Solver-1, noise form; Lu et al. 2022b",
    EPS, NOISY, 1, exponential_multistep_sde, 1, 1 },
  { "sde_dpm_2m", "SDE-DPM-Solver-2M, noise form; Lu et al. 2022b",
    EPS, NOISY | TAKES_TAYLOR | LOWERS, 1, exponential_multistep_sde, 2, 1 },
  { "sde_dpmpp_1", "SDE-DPM-Solver++1, equal to ddpm; Lu et al. 2022b",
    X0, 0, 1, exponential_multistep_sde, 1, 1 },
  { "sde_dpmpp_2s", "its midpoint form on one path of noise (k-diffusion's dpmpp_sde)",
    X0, 0, 2, exponential_singlestep_sde, 2, 1 },
  { "sde_dpmpp_2m", "SDE-DPM-Solver++(2M); Lu et al. 2022b",
    X0, TAKES_TAYLOR | LOWERS, 1, exponential_multistep_sde, 2, 1 },
  { "sde_dpmpp_3m", "its three-point form (k-diffusion's dpmpp_3m_sde)",
    X0, TAKES_COMPAT | TAKES_TAYLOR | LOWERS, 1, exponential_multistep_sde, 3, 1 },
  { "unipc", "predictor and corrector, B(h) = e^h - 1; Zhao et al. 2023",
    X0, TAKES_ORDER | LOWERS, 2, exponential_unipc, 3, 0 },
  { "unipc_bh1", "the same with B(h) = h",
    X0, TAKES_ORDER | LOWERS, 2, exponential_unipc_bh1, 3, 0 },
  { "edm_heun", "Heun in sigma, with churn if asked; Karras et al. 2022, alg. 2",
    EPS, TAKES_CHURN, 3, edm_heun, 2, 0 },
  { "euler", "probability-flow ODE in t; flow matching's sampler",
    U, SLOPES | INVERTS, 1, runge_kutta, 1, 0 },
  { "midpoint", "the same, second order",
    U, SLOPES | INVERTS, 2, runge_kutta, 2, 0 },
  { "heun", "the same, second order by trapezoids",
    U, SLOPES | INVERTS, 2, runge_kutta, 3, 0 },
  { "rk4", "the same, classical Runge-Kutta of fourth order",
    U, SLOPES | INVERTS, 4, runge_kutta, 4, 0 },
  { "flow_sde", "straight paths with noise eta sqrt(t/(1-t)); Liu et al. 2025",
    U, SLOPES | NEEDS_FLOW | TAKES_ETA, 1, flow_sde, 1, 1 },
  { "euler_maruyama", "the reverse SDE; Song et al. 2021",
    EPS, SLOPES, 1, euler_maruyama, 1, 1 },
  { "sde_euler", "the family between ODE and SDE, noise eta g; Karras et al. 2022",
    EPS, SLOPES | TAKES_ETA, 1, sde_euler, 1, 1 },
  { "reverse_diffusion", "the forward step turned round; Song et al. 2021, app. E",
    EPS, 0, 1, reverse_diffusion, 1, 1 },
  { "ancestral", "Song et al. 2021, app. F",
    EPS, 0, 1, ancestral, 1, 1 },
};
/* clang-format on */

const Method *method_list(size_t *count) {
  *count = sizeof methods / sizeof *methods;
  return methods;
}

int method_budget(int evaluations, int highest, int *order) {
  int steps = 0, left = evaluations;
  /* of three: as many threes as leave an end of 1, of 2, or of 2 and 1 */
  int full = highest == 3 ? (left % 3 ? left / 3 : left / 3 - 1) : left / 2;
  for (; full > 0; full--) order[steps++] = highest, left -= highest;
  for (int last = highest - 1; last > 0; last--)
    if (left >= last) order[steps++] = last, left -= last;
  return steps;
}
