/* toy.c -- the sets: curves with a little noise, squares, and mixtures of Gaussians. */
#include "datasets/toy_sets.h"
#include "core/names.h"
#include <math.h>

#define PI 3.14159265358979323846

/* ---- the sets -------------------------------------------------------------------------------- */

/* The random numbers of sample i; the noise of each coordinate is one draw. */
enum { DRAW_PLACE, DRAW_PART, DRAW_NOISE };

static double place(Rng rng, uint64_t i) { return rng_uniform(rng, i, 0, DRAW_PLACE); }
static int part(Rng rng, uint64_t i, int parts) {
  return (int)rng_below(rng, i, 0, DRAW_PART, (uint64_t)parts);
}
static void add_noise(Rng rng, uint64_t i, double deviation, double out[2]) {
  for (int d = 0; d < 2; d++) out[d] += deviation * rng_normal(rng, i, 0, DRAW_NOISE + (uint32_t)d);
}

/* t (cos t, sin t), t uniform in [1.5 pi, 4.5 pi] */
static void sample_swissroll(Rng rng, uint64_t i, double out[2]) {
  double t = 1.5 * PI * (1 + 2 * place(rng, i));
  out[0] = t * cos(t), out[1] = t * sin(t);
  add_noise(rng, i, 0.4, out);
}

/* an upper half circle, and a lower one that reaches into it */
static void sample_moons(Rng rng, uint64_t i, double out[2]) {
  double t = PI * place(rng, i);
  bool lower = part(rng, i, 2);
  out[0] = lower ? 1 - cos(t) : cos(t);
  out[1] = lower ? 0.5 - sin(t) : sin(t);
  add_noise(rng, i, 0.07, out);
}

/* radii 1, 2, 3, 4, each as often */
static void sample_rings(Rng rng, uint64_t i, double out[2]) {
  double t = 2 * PI * place(rng, i), radius = 1 + part(rng, i, 4);
  out[0] = radius * cos(t), out[1] = radius * sin(t);
  add_noise(rng, i, 0.1, out);
}

/* the unit squares of [-2, 2]^2 whose lower left corner has an even sum */
static void sample_checkerboard(Rng rng, uint64_t i, double out[2]) {
  out[0] = 4 * place(rng, i) - 2;
  int odd = (int)(out[0] + 2) % 2;
  out[1] = rng_uniform(rng, i, 0, DRAW_NOISE) + 2 * part(rng, i, 2) - 2 + odd;
}

/* around eight points of a circle of radius 4 */
static void sample_8gaussians(Rng rng, uint64_t i, double out[2]) {
  double t = PI / 4 * part(rng, i, 8);
  out[0] = 4 * cos(t), out[1] = 4 * sin(t);
  add_noise(rng, i, 0.5, out);
}

/* two arms t (cos t, sin t), t = 3 pi sqrt(u): about as dense everywhere */
static void sample_2spirals(Rng rng, uint64_t i, double out[2]) {
  double t = 3 * PI * sqrt(place(rng, i)), arm = part(rng, i, 2) ? 1 : -1;
  out[0] = arm * t * cos(t), out[1] = arm * t * sin(t);
  add_noise(rng, i, 0.3, out);
}

/* m + L eps, L L' = C (Cholesky) */
static void sample_gmm(Rng rng, uint64_t i, double out[2]) {
  double u = place(rng, i), eps[2] = { 0, 0 };
  const ToyGaussian *g = toy_gmm;
  while (u >= g->weight && g < toy_gmm + TOY_GMM - 1) u -= g++->weight;
  add_noise(rng, i, 1, eps);
  double l = sqrt(g->xx);
  out[0] = g->mean[0] + l * eps[0];
  out[1] = g->mean[1] + g->xy / l * eps[0] + sqrt(g->yy - g->xy * g->xy / g->xx) * eps[1];
}

/* Variances are E|x - mean|^2 / 2, that of the noise included. */
static const ToyDef sets[] = {
  { "swissroll", "one and a half turns of a spiral", sample_swissroll, .mean = { 2, 2 / (3 * PI) },
    .variance = (9.75 * PI * PI - 4 - 4 / (9 * PI * PI)) / 2 + 0.4 * 0.4 },
  { "moons", "two half circles, one reaching into the other", sample_moons, .mean = { 0.5, 0.25 },
    .variance = (0.75 + 0.5625 - 1 / PI) / 2 + 0.07 * 0.07 },
  { "rings", "four circles around one point", sample_rings, .variance = 3.75 + 0.1 * 0.1 },
  { "checkerboard", "every other square of a 4 by 4 board", sample_checkerboard,
    .variance = 4 / 3.0 },
  { "8gaussians", "eight blobs on a circle", sample_8gaussians, .variance = 8 + 0.5 * 0.5 },
  { "2spirals", "two arms of one and a half turns", sample_2spirals,
    .variance = 2.25 * PI * PI + 0.3 * 0.3 },
  { "gmm", "three Gaussians, with a known score", sample_gmm, .variance = 1 },
};
enum { SETS = sizeof sets / sizeof *sets };

const ToyDef *toy_list(size_t *count) {
  *count = SETS;
  return sets;
}

const ToyDef *toy_find(const char *name, Error *error) {
  int i = names_find(NAMES(sets, SETS, .what = "toy set"), name, error);
  return i < 0 ? NULL : &sets[i];
}

void toy_sample(const ToyDef *def, uint64_t seed, uint64_t i, double out[2]) {
  double deviation = sqrt(def->variance);
  def->sample(rng_stream(seed, def->name), i, out);
  for (int d = 0; d < 2; d++) out[d] = (out[d] - def->mean[d]) / deviation;
}

/* ---- the known density ----------------------------------------------------------------------- */

/* The means of the three average 0, the variances 1, like those of every set. */
const ToyGaussian toy_gmm[TOY_GMM] = {
  { 0.5, { 0.8, 0.5 }, .xx = 0.12, .xy = 0.08, .yy = 0.12 },
  { 0.3, { -1.2, 0.5 }, .xx = 0.05, .xy = -0.03, .yy = 0.15 },
  { 0.2, { -0.2, -2 }, .xx = 0.25, .xy = 0.04, .yy = 0.05 },
};

/* ln (weight N(x; a m, a^2 C + s^2 I)), and its gradient */
static double part_density(const ToyGaussian *g, const double x[2], double a, double s,
                           double gradient[2]) {
  double xx = a * a * g->xx + s * s, xy = a * a * g->xy, yy = a * a * g->yy + s * s;
  double dx = x[0] - a * g->mean[0], dy = x[1] - a * g->mean[1], det = xx * yy - xy * xy;
  gradient[0] = (xy * dy - yy * dx) / det;
  gradient[1] = (xy * dx - xx * dy) / det;
  return log(g->weight / (2 * PI * sqrt(det))) + 0.5 * (gradient[0] * dx + gradient[1] * dy);
}

double toy_gmm_log_density(const double x[2], double a, double s, double score[2]) {
  double logs[TOY_GMM], gradient[TOY_GMM][2], most = -INFINITY, sum = 0, mean[2] = { 0, 0 };
  for (int k = 0; k < TOY_GMM; k++) {
    logs[k] = part_density(&toy_gmm[k], x, a, s, gradient[k]);
    most = fmax(most, logs[k]);
  }
  for (int k = 0; k < TOY_GMM; k++) { /* relative to the largest: nothing overflows */
    double share = exp(logs[k] - most);
    sum += share;
    for (int d = 0; d < 2; d++) mean[d] += share * gradient[k][d];
  }
  for (int d = 0; score && d < 2; d++) score[d] = mean[d] / sum;
  return most + log(sum);
}
