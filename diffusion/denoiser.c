/* denoiser.c -- what a network's output says about x_0. */
#include "diffusion/denoiser.h"
#include <math.h>
#include <string.h>

/* ---- what each kind of output is ------------------------------------------------------------- */

typedef Line LineOf(const Level *l, double d);

static Line eps(const Level *l, double d) { return (void)l, (void)d, (Line){ 0, 1 }; }
static Line x0(const Level *l, double d) { return (void)l, (void)d, (Line){ 1, 0 }; }
static Line score(const Level *l, double d) { return (void)d, (Line){ 0, -1 / l->s }; }
static Line v(const Level *l, double d) { return (void)d, (Line){ -l->s, l->a }; }
static Line velocity(const Level *l, double d) { return (void)d, (Line){ l->da, l->ds }; }
static Line edm(const Level *l, double d) {
  double r = sqrt(l->s * l->s + l->a * l->a * d * d);
  return (Line){ l->s / (r * d), -l->a * d / r };
}

static const struct {
  const char *name;
  LineOf *line;
} predictions[PREDICTIONS] = {
  [PREDICTS_EPS] = { "eps", eps },
  [PREDICTS_X0] = { "x0", x0 },
  [PREDICTS_SCORE] = { "score", score },
  [PREDICTS_V] = { "v", v },
  [PREDICTS_VELOCITY] = { "velocity", velocity },
  [PREDICTS_EDM] = { "edm", edm },
};

const char *prediction_name(Prediction predicts) { return predictions[predicts].name; }

Prediction denoiser_prediction(const char *name) {
  for (int i = 0; i < PREDICTIONS; i++)
    if (!strcmp(predictions[i].name, name)) return (Prediction)i;
  CHECK(false, "prediction %s", name);
  return PREDICTS_EPS;
}

/* ---- conversions ----------------------------------------------------------------------------- */

Line prediction_line(Prediction predicts, const Level *level, double data_std) {
  return predictions[predicts].line(level, data_std > 0 ? data_std : 1);
}

/* Cramer's rule.  eps and x_0 are kept apart from the general case: their forms are exact. */
Form line_form(Line y, Line w, const Level *l) {
  if (y.p == w.p && y.q == w.q) return (Form){ 0, 1 };
  if (y.p == 0 && w.p == 0) return (Form){ 0, w.q / y.q }; /* eps and score: without signal, too */
  double det = l->a * y.q - l->s * y.p;
  return (Form){ (w.p * y.q - w.q * y.p) / det, (l->a * w.q - l->s * w.p) / det };
}

Form denoiser_form(const Denoiser *d, Prediction wanted, const Level *level) {
  return line_form(prediction_line(d->predicts, level, d->data_std),
                   prediction_line(wanted, level, d->data_std), level);
}

/* ---- what the network is given --------------------------------------------------------------- */

double denoiser_time(const Denoiser *d, const Level *level) {
  if (d->time == TIME_LOG_SIGMA) return -0.25 * level->lambda;
  if (d->time == TIME_OWN) return level->time;
  int steps = d->schedule->steps;
  return steps ? 1000 * level->time / steps : 1000 * level->time;
}

double denoiser_scale(const Denoiser *d, const Level *level) {
  if (d->predicts != PREDICTS_EDM) return 1;
  double std = d->data_std > 0 ? d->data_std : 1;
  return 1 / sqrt(level->s * level->s + level->a * level->a * std * std);
}
