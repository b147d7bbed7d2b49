/* watch.c -- each line and each evaluation against those before it. */
#include "rl/train/watch.h"
#include "core/file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* decades that no ordinary training passes through, from the smallest norm that it has had */
static const double explodes = 1e4;

/* The entry of this name; NULL: no norm, or no room. */
static WatchedNorm *norm_of(Watch *w, const char *name) {
  if (strncmp(name, "grad_norm/", 10)) return NULL;
  for (int i = 0; i < w->norms; i++)
    if (!strcmp(w->norm[i].name, name)) return &w->norm[i];
  if (w->norms == LOG_MAX_SCALARS) return NULL;
  WatchedNorm *n = &w->norm[w->norms++];
  *n = (WatchedNorm){ .least = INFINITY };
  snprintf(n->name, sizeof n->name, "%s", name);
  return n;
}

static void see_norm(Watch *w, const char *name, double value) {
  WatchedNorm *n = norm_of(w, name);
  if (!n || !(value > 0)) return;
  /* the least alone is not enough: a loss near its minimum has gradients of nearly 0 */
  if (value > explodes * n->least && value > explodes)
    warnings_happened(w->warnings, "gradients",
                      "gradients exploded: the norm of %s was %.3g once and is %.3g on average "
                      "since the last report; try a smaller learning rate or a smaller clip",
                      n->name + 10, n->least, value);
  n->least = fmin(n->least, value);
}

void watch_metrics(Watch *w, const Log *log) {
  for (int i = 0; i < log->scalars; i++) see_norm(w, log->name[i], log_mean(log, log->name[i]));
}

void watch_resume(Watch *w, const char *metrics) {
  FILE *file = file_open(metrics);
  if (!file) return;
  char *line = NULL;
  size_t room = 0;
  for (ssize_t length; (length = getline(&line, &room, file)) > 0;) {
    Json *json = json_parse_if(line, (size_t)length);
    for (const Json *m = json_first(json); m && json_is_object(json); m = json_next(m))
      if (json_is_number(m)) see_norm(w, json_key(m), json_number(m, NAN));
    json_free(json);
  }
  free(line);
  fclose(file);
}

void watch_measured(Watch *w, const Measured *measured, double best) {
  const Measure *m = measured->main;
  warnings_state(w->warnings, "no_number", !m,
                 "the last evaluation found no number: what the weights make is not finite");
  /* a return is far from its best where it is not even half of it; a loss has no such measure */
  double gain = measure_gain(m, measured->value);
  bool fell = m && !m->less_is_better && best > 0 && gain < best / 2;
  warnings_state(w->warnings, "fell", fell,
                 "the run fell behind itself: its last %s is %.4g and its best was %.4g, whose "
                 "weights are in best.safetensors (--which best)",
                 m && m->title ? m->title : "measure", measured->value, best);
}
