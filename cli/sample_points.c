/* sample_points.c -- `diffrl sample` of a model of points in the plane. */
#include "cli/command_sample.h"
#include "core/file.h"
#include "core/log.h"
#include "rl/render/points_picture.h"
#include <stdlib.h>

/* the samples, and what they are shown beside */
typedef struct {
  const Model *model;
  const ToyDef *data;
  const ModelSampling *how;
  const double *points;
  int count;
} Points;

/* The file is made in memory first, so that it is written whole or not at all. */
static bool write_csv(const Points *p, const char *path, Error *error) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  NEED_MEMORY(out);
  fprintf(out, "x,y\n");
  for (int i = 0; i < p->count; i++)
    fprintf(out, "%.9g,%.9g\n", p->points[TOY_DIM * i], p->points[TOY_DIM * i + 1]);
  NEED_MEMORY(!fclose(out));
  bool done = file_write(path, text, length, error);
  free(text);
  return done;
}

/* The same numbers as an array [count, 2]. */
static bool write_npy(const Points *p, const char *path, Error *error) {
  return sample_write_npy(path, p->points, (int[]){ p->count, TOY_DIM }, 2, error);
}

/* The picture is titled by what made it: the sampler and its number of steps. */
static bool write_png(const Points *p, const char *path, Error *error) {
  char title[96];
  const SamplerSpec *s = &p->how->sampler;
  snprintf(title, sizeof title, "samples: %s, %d steps", s->method,
           s->steps ? s->steps : p->model->schedule->steps);
  return points_plot_samples(p->data, p->how->seed, p->points, p->count, title, path, error);
}

/* The ending of the file's name chooses the format. */
static bool write_points(const Points *p, const char *path, Error *error) {
  return (sample_ends(path, ".csv")   ? write_csv
          : sample_ends(path, ".npy") ? write_npy
                                      : write_png)(p, path, error);
}

bool sample_points(const SampleJob *job, Error *error) {
  const Sample *asked = job->asked;
  Model *model = model_load(job->arena, &model_points, job->checkpoint, error);
  /* the picture shows the data beside the samples, so the set has to be known */
  const ToyDef *data = model ? toy_find(model->data, error) : NULL;
  if (!data) return false;
  /* points have no labels */
  if (!sample_refuse_pictures(asked, error)) return false;
  /* the run's own sampler, but for what was asked for instead */
  ModelSampling how = model_sampling(model);
  how.seed = (uint64_t)asked->seed, how.pool = job->pool, how.kernels = job->kernels;
  how.progress = job->progress;
  sample_choose(job, model, &how.sampler);
  int count = asked->count ? (int)asked->count : 4096;
  if (!sample_has_room(count, TOY_DIM * 4 * sizeof(double), error)) return false;
  double *points = arena_array(job->arena, double, TOY_DIM *count);
  Points p = { model, data, &how, points, count };
  if (!points_sample(model, &how, count, points, error) ||
      !sample_check(points, NULL, (size_t)count * TOY_DIM, how.sampler.method, error) ||
      !write_points(&p, asked->out, error))
    return false;
  log_progress(true, "%d points of %s by %s: %s", count, model->data, how.sampler.method,
               asked->out);
  return true;
}
