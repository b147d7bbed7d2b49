/* episodes.c -- walks over flags and observations. */
#include "datasets/episodes.h"
#include <math.h>
#include <stddef.h>

/* does the next row hold what followed row i? */
static bool continues(const EpisodeFlags *f, int64_t i) {
  const float *said = f->next + i * f->obs_dim, *found = f->observations + (i + 1) * f->obs_dim;
  for (int j = 0; j < f->obs_dim; j++)
    if (fabsf(said[j] - found[j]) > f->tolerance[j]) return false;
  return true;
}

EpisodeCounts episodes_find(const EpisodeFlags *flags, int64_t *transition, int64_t *start) {
  EpisodeCounts n = { .first_cut = -1, .complete = true };
  bool twice = flags->observations && flags->next; /* the file says successors twice */
  int64_t first = 0;                               /* row of the running episode */
  for (int64_t i = 0; i < flags->rows; i++) {
    if (n.complete) {
      first = i;
      if (start) start[n.episodes] = i;
      n.episodes++;
    }
    bool last = i == flags->rows - 1;
    bool timeout = flags->timeouts ? flags->timeouts[i]
                                   : flags->horizon > 0 && i - first == flags->horizon - 1;
    bool terminal = flags->terminals && flags->terminals[i];
    if (twice && !timeout && !terminal && !last) {
      n.compared++;
      timeout = !continues(flags, i);
      if (timeout && !n.cut++) n.first_cut = i;
    }
    bool state_next = flags->timeouts && !last && flags->timeouts[i + 1] == EPISODE_STATE;
    n.complete = timeout || (terminal && !state_next);
    if (timeout || last) continue;
    if (transition) transition[n.transitions] = i;
    n.transitions++;
  }
  if (start) start[n.episodes] = flags->rows;
  return n;
}

void episodes_tolerance(const float *observations, int64_t rows, int dim, float *tolerance) {
  for (int j = 0; j < dim; j++) tolerance[j] = 0;
  for (int64_t i = 0; i < rows; i++)
    for (int j = 0; j < dim; j++) {
      float size = fabsf(observations[i * dim + j]);
      tolerance[j] = size > tolerance[j] ? size : tolerance[j];
    }
  for (int j = 0; j < dim; j++) tolerance[j] *= 1e-5f;
}

/* mean square step of entry j */
static double mean_step(const float *x, int64_t rows, int dim, int j) {
  double sum = 0;
  for (int64_t i = 0; i + 1 < rows; i++) {
    double step = (double)x[(i + 1) * dim + j] - (double)x[i * dim + j];
    sum += step * step;
  }
  return sum / (double)(rows - 1);
}

/* row i to row i + 1, in mean square steps of the first `seen` entries, of those that move */
static double step_size(const float *x, int dim, int64_t i, const double *mean, int seen) {
  double sum = 0, moving = 0;
  for (int j = 0; j < seen; j++) {
    if (!(mean[j] > 0)) continue;
    double step = (double)x[(i + 1) * dim + j] - (double)x[i * dim + j];
    sum += step * step / mean[j], moving++;
  }
  return moving > 0 ? sum / moving : 0;
}

int64_t episodes_guess(const float *x, int64_t rows, int dim) {
  enum { MOST = 64, STANDS_OUT = 20 };
  double mean[MOST], largest = 0;
  int seen = dim < MOST ? dim : MOST; /* of wide observations the first entries tell as much */
  for (int j = 0; j < seen; j++) mean[j] = mean_step(x, rows, dim, j);
  for (int pass = 0; pass < 2; pass++)
    for (int64_t i = 0; i + 1 < rows; i++) {
      double size = step_size(x, dim, i, mean, seen);
      if (!pass) largest = fmax(largest, size);
      if (pass && size >= 0.5 * largest && size > STANDS_OUT) return i + 1;
    }
  return -1;
}
