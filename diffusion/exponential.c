/* exponential.c -- methods that solve the linear part exactly: DPM-Solver, its ++ forms, UniPC.
 *
 * With h the step in lambda and phi_k the usual functions
 * (phi_0 = e^z, phi_{k+1} = (phi_k - 1/k!) / z), data form (M = x_0) and noise form (M = eps) are
 *
 *   x' = (s'/s) x + a' [H phi_1 M_0 + H phi_2 D_1 + H phi_3 D_2](-H)
 *   x' = (a'/a) x - s' [H phi_1 M_0 + H phi_2 D_1 + H phi_3 D_2](+H)
 *
 * with D_1 = h M', D_2 = h^2 M'' by differences and H = h.  The reverse SDE in data form is the
 * same with H = 2h, base times e^-h and noise s' sqrt(1 - e^-2h); in noise form the bracket counts
 * twice and the noise is s' sqrt(e^2h - 1) (Lu et al. 2022b, section 6 and appendix). */
#include "diffusion/method.h"
#include <math.h>

/* ---- multistep: outputs of earlier steps ----------------------------------------------------- */

static double phi(int k, double z) {
  double term = 1, sum = 0;
  if (fabs(z) < 1) { /* the series z^j / (j + k)! */
    for (int j = 1; j <= k; j++) term /= j;
    for (int j = 1; fabs(term) > 1e-18; j++) sum += term, term *= z / (j + k);
    return sum;
  }
  double p[5] = { exp(z), expm1(z) / z };
  p[2] = (p[1] - 1) / z, p[3] = (p[2] - 0.5) / z, p[4] = (p[3] - 1.0 / 6) / z;
  return p[k];
}

/* one exact linear part: from knot l to l1, H phi_k as w[k], base and noise */
typedef struct {
  double base, w[4], noise;
} Exponential;

static Exponential exponential(const Table *t, const Level *l, const Level *l1, double noise) {
  bool data = t->combines == PREDICTS_X0;
  double h = l1->lambda - l->lambda, H = data && noise > 0 ? 2 * h : h;
  Exponential e = { .base = data ? l1->s / l->s : l1->a / l->a };
  if (data && noise > 0) e.base *= exp(-h), e.noise = l1->s * sqrt(-expm1(-2 * h));
  if (!data && noise > 0) e.noise = l1->s * sqrt(expm1(2 * h));
  double scale = data ? l1->a : noise > 0 ? -2 * l1->s : -l1->s, limit[] = { 0, 1, 1, 0.5 };
  for (int k = 1; k <= 3; k++) /* H phi_k(-H) is 1, 1, 1/2 for a step from no signal at all */
    e.w[k] = scale * (data && isinf(H) ? limit[k] : H * phi(k, data ? -H : H));
  return e;
}

/* the step that ends at clean data is h = infinity: only x0 is left */
static bool ends_clean(Table *t) {
  if (table_to(t)->s > 0) return false;
  table_ask(t, table_from(t))->out[0] = table_to(t)->a;
  return true;
}

static int multistep_order(const Table *t, int order) {
  int left = t->steps - t->now, known = t->now + 1;
  if (t->spec->lower_final && left < order) order = left;
  return order < known ? order : known;
}

static void multistep(Table *t, int order, double noise) {
  if (ends_clean(t)) return;
  const Level *l = table_from(t), *l1 = table_to(t);
  Exponential e = exponential(t, l, l1, noise);
  Stage *stage = table_ask(t, l);
  double h = l1->lambda - l->lambda;
  order = multistep_order(t, order);
  stage->base = e.base, stage->noise = e.noise, stage->out[0] = e.w[1];
  if (order == 1) return;
  double r0 = (l->lambda - l[-1].lambda) / h;
  if (order == 2) { /* D_1 = (M_0 - M_1) / r0 */
    double w = (t->spec->taylor ? e.w[2] : e.w[1] / 2) / r0;
    stage->out[0] += w, stage->out[1] = -w;
    return;
  }
  /* D_10, D_11 the two first differences; D_1 = D_10 + r0 (D_10 - D_11) / (r0 + r1),
   * D_2 = 2 (D_10 - D_11) / (r0 + r1) */
  double r1 = (l[-1].lambda - l[-2].lambda) / h, second = t->spec->compat ? 1 : 2;
  double bend = (e.w[2] * r0 + e.w[3] * second) / (r0 + r1);
  double d10 = (e.w[2] + bend) / r0, d11 = -bend / r1;
  stage->out[0] += d10, stage->out[1] = d11 - d10, stage->out[2] = -d11;
}
void exponential_multistep(Table *t, int order) { multistep(t, order, 0); }
void exponential_multistep_sde(Table *t, int order) { multistep(t, order, 1); }

/* ---- single-step: stages inside the step ----------------------------------------------------- */

static void singlestep_1(Table *t) {
  Exponential e = exponential(t, table_from(t), table_to(t), 0);
  Stage *stage = table_ask(t, table_from(t));
  stage->base = e.base, stage->out[0] = e.w[1];
}

static void singlestep_2(Table *t) {
  const Level *l = table_from(t), *l1 = table_to(t);
  double r = 0.5, h = l1->lambda - l->lambda;
  Level middle = table_at_lambda(t, l->lambda + r * h);
  Exponential half = exponential(t, l, &middle, 0), whole = exponential(t, l, l1, 0);
  Stage *first = table_ask(t, l), *second = table_ask(t, &middle);
  first->rebase = false;
  first->base = half.base, first->out[0] = half.w[1];
  double w = whole.w[1] / (2 * r);
  second->base = whole.base, second->out[0] = w, second->out[1] = whole.w[1] - w;
}

static void singlestep_3(Table *t) {
  const Level *l = table_from(t), *l1 = table_to(t);
  double r1 = 1.0 / 3, r2 = 2.0 / 3, h = l1->lambda - l->lambda;
  Level at1 = table_at_lambda(t, l->lambda + r1 * h), at2 = table_at_lambda(t, l->lambda + r2 * h);
  Exponential e1 = exponential(t, l, &at1, 0), e2 = exponential(t, l, &at2, 0);
  Exponential e = exponential(t, l, l1, 0);
  Stage *stage = table_ask(t, l);
  stage->rebase = false, stage->base = e1.base, stage->out[0] = e1.w[1];
  stage = table_ask(t, &at1);
  double w = r2 / r1 * e2.w[2];
  stage->rebase = false, stage->base = e2.base;
  stage->out[0] = w, stage->out[1] = e2.w[1] - w;
  stage = table_ask(t, &at2);
  w = e.w[2] / r2;
  stage->base = e.base, stage->out[0] = w, stage->out[2] = e.w[1] - w;
}

void exponential_singlestep(Table *t, int order) {
  if (ends_clean(t)) return;
  if (order == 1 || isinf(table_from(t)->lambda)) /* from no signal there is no point inside */
    singlestep_1(t);
  else if (order == 2)
    singlestep_2(t);
  else
    singlestep_3(t);
}

/* The point in the middle and the end share one path of the noise: what the first half adds is
 * carried on linearly, e'.base of it, so that all of it is that of one whole step. */
void exponential_singlestep_sde(Table *t, int order) {
  (void)order;
  if (ends_clean(t)) return;
  const Level *l = table_from(t), *l1 = table_to(t);
  Level middle = table_at_lambda(t, 0.5 * (l->lambda + l1->lambda));
  Exponential e = exponential(t, l, &middle, 1), e1 = exponential(t, &middle, l1, 1);
  Stage *stage = table_ask(t, l);
  stage->base = e.base, stage->out[0] = e.w[1], stage->noise = e.noise;
  stage = table_ask(t, &middle);
  stage->base = e1.base, stage->out[0] = exponential(t, l, l1, 1).w[1], stage->noise = e1.noise;
  stage->out[1] = -e1.base * e.w[1];
}

/* ---- UniPC ----------------------------------------------------------------------------------- */

/* solve the n x n system by Gauss elimination with pivoting; n <= 3 */
static void solve(int n, double m[3][4], double *x) {
  for (int i = 0; i < n; i++) {
    int pivot = i;
    for (int r = i + 1; r < n; r++)
      if (fabs(m[r][i]) > fabs(m[pivot][i])) pivot = r;
    for (int c = 0; c <= n; c++) {
      double swap = m[i][c];
      m[i][c] = m[pivot][c], m[pivot][c] = swap;
    }
    for (int r = i + 1; r < n; r++) {
      double f = m[r][i] / m[i][i];
      for (int c = i; c <= n; c++) m[r][c] -= f * m[i][c];
    }
  }
  for (int i = n - 1; i >= 0; i--) {
    x[i] = m[i][n];
    for (int c = i + 1; c < n; c++) x[i] -= m[i][c] * x[c];
    x[i] /= m[i][i];
  }
}

/* rho of sum_k rho_k D_k with D_k = (M_k - M_0) / r_k: row i of the system is r^i = b_i,
 * b_i = i! h phi_{i+1}(h) / B (Zhao et al. 2023, eq. 5 and 9, data form: h is -h) */
static void unipc_weights(int n, const double *r, double hh, double B, double *rho) {
  double m[3][4], factorial = 1;
  if (n == 1) {
    rho[0] = 0.5;
    return;
  }
  for (int i = 0; i < n; i++) {
    factorial *= i + 1;
    for (int k = 0; k < n; k++) m[i][k] = pow(r[k], i);
    m[i][n] = factorial * hh * phi(i + 2, hh) / B;
  }
  solve(n, m, rho);
}

/* One move from the base point at knot i to knot i + 1 by outputs at r[0..n-1] (in steps of h from
 * knot i) and M_0 at knot i itself.  place[k]: which M is the k-th, `zero` which one is M_0. */
static void unipc_move(const Table *t, Stage *stage, int i, int n, const double *r,
                       const int *place, int zero) {
  const Level *l = &t->knot[i], *l1 = &t->knot[i + 1];
  double hh = -(l1->lambda - l->lambda), B = t->unipc_bh1 ? hh : expm1(hh), rho[3];
  stage->base = l1->s / l->s;
  stage->out[zero] += -l1->a * expm1(hh);
  if (n) unipc_weights(n, r, hh, B, rho);
  for (int k = 0; k < n; k++) {
    double w = -l1->a * B * rho[k] / r[k];
    stage->out[place[k]] += w, stage->out[zero] -= w;
  }
}

/* Corrector of the step that arrived here (its point was the prediction), then the predictor of
 * this step.  The correction has no question of its own; the last step has none. */
void exponential_unipc(Table *t, int order) {
  const Level *knot = t->knot;
  int now = t->now, p = order < now ? order : now;
  if (t->spec->lower_final && t->steps - now + 1 < p) p = t->steps - now + 1;
  Stage *stage = table_ask(t, table_from(t));
  if (now > 0) {
    double h = knot[now].lambda - knot[now - 1].lambda, r[3];
    int place[3];
    for (int k = 1; k < p; k++)
      r[k - 1] = (knot[now - 1 - k].lambda - knot[now - 1].lambda) / h, place[k - 1] = k + 1;
    r[p - 1] = 1, place[p - 1] = 0;
    unipc_move(t, stage, now - 1, p, r, place, 1);
    Level at = stage->at;
    stage = table_move(t);
    stage->at = at;
  }
  stage->rebase = now == t->steps - 1;
  if (table_to(t)->s == 0) {
    stage->out[0] = table_to(t)->a;
    return;
  }
  int q = order < now + 1 ? order : now + 1, place[3];
  if (t->spec->lower_final && t->steps - now < q) q = t->steps - now;
  double h = knot[now + 1].lambda - knot[now].lambda, r[3];
  for (int k = 1; k < q; k++)
    r[k - 1] = (knot[now - k].lambda - knot[now].lambda) / h, place[k - 1] = k;
  unipc_move(t, stage, now, q - 1, r, place, 0);
}

void exponential_unipc_bh1(Table *t, int order) {
  t->unipc_bh1 = true;
  exponential_unipc(t, order);
}
