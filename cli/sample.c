/* sample.c -- diffrl sample: points of a model made by `diffrl train toy`. */
#include "cli/saved.h"
#include "core/log.h"
#include "rl/task.h"
#include "rl/toy_pictures.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
  Given given;
  const char *which, *sampler, *spacing, *out;
  int64_t count, steps, seed, threads;
} Sample;

static const Option options[] = {
  OPTION_NUMBER_ROW(Sample, count, "count", "N", 4096, 1, 10000000, "points (default 4096)"),
  OPTION_TEXT_ROW(Sample, out, "out", "FILE",
                  "FILE.png: data beside samples; FILE.csv, FILE.npy: the points"),
  OPTION_TEXT_ROW(Sample, sampler, "sampler", "NAME",
                  "one of `diffrl list samplers` (default: the run's)"),
  OPTION_NUMBER_ROW(Sample, steps, "steps", "K", 0, 1, 100000, "its steps (default: the run's)"),
  OPTION_TEXT_ROW(Sample, spacing, "spacing", "NAME",
                  "linspace, leading, trailing, quadratic, lambda or karras (default: the run's)"),
  OPTION_NUMBER_ROW(Sample, seed, "seed", "S", 0, 0, 0, "of the noise (default 0)"),
  OPTION_TEXT_ROW(Sample, which, "which", "last|best|FILE", "checkpoint of the run (default last)"),
  OPTION_NUMBER_ROW(Sample, threads, "threads", "N", 0, 1, 1024,
                    "changes no bit (default: the CPUs this process may use)"),
};

/* ---- files of points ------------------------------------------------------------------------- */

typedef struct {
  const ToyModel *model;
  const ToySampling *how;
  const double *points;
  int count;
} Points;

static bool write_csv(const Points *p, const char *path, Error *error) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  CHECK(out, "out of memory");
  fprintf(out, "x,y\n");
  for (int i = 0; i < p->count; i++)
    fprintf(out, "%.9g,%.9g\n", p->points[TOY_DIM * i], p->points[TOY_DIM * i + 1]);
  CHECK(!fclose(out), "out of memory");
  bool done = task_write_file(path, text, length, error);
  free(text);
  return done;
}

/* NumPy's format 1.0: a header that ends at a multiple of 64, then little-endian float64 */
static bool write_npy(const Points *p, const char *path, Error *error) {
  enum { HEADER = 128 };
  size_t body = sizeof(double) * TOY_DIM * (size_t)p->count;
  char *bytes = malloc(HEADER + body);
  CHECK(bytes, "out of memory");
  memset(bytes, ' ', HEADER);
  memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10); /* 0x76 = 128 - 10 */
  int length =
      snprintf(bytes + 10, HEADER - 10,
               "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d), }", p->count, TOY_DIM);
  bytes[10 + length] = ' ', bytes[HEADER - 1] = '\n';
  memcpy(bytes + HEADER, p->points, body);
  bool done = task_write_file(path, bytes, HEADER + body, error);
  free(bytes);
  return done;
}

static bool write_png(const Points *p, const char *path, Error *error) {
  char title[96];
  const SamplerSpec *s = &p->how->sampler;
  snprintf(title, sizeof title, "samples: %s, %d steps", s->method,
           s->steps ? s->steps : p->model->schedule->steps);
  return toy_picture_points(p->model, p->how->seed, p->points, p->count, title, path, error);
}

typedef bool WritePoints(const Points *points, const char *path, Error *error);

static WritePoints *writer_of(const char *path, Error *error) {
  static const struct {
    const char *end;
    WritePoints *write;
  } kinds[] = { { ".png", write_png }, { ".csv", write_csv }, { ".npy", write_npy } };
  const char *dot = path ? strrchr(path, '.') : NULL;
  for (size_t i = 0; dot && i < sizeof kinds / sizeof *kinds; i++)
    if (!strcmp(dot, kinds[i].end)) return kinds[i].write;
  error_set(error, FAIL_USAGE, "sample: --out %s: expected FILE.png, FILE.csv or FILE.npy",
            path ? path : "is missing");
  return NULL;
}

/* ---- the command ----------------------------------------------------------------------------- */

static ToyModel *open_model(Saved *saved, Arena *arena, const Sample *c, Error *error) {
  const char *path = saved_find(saved, arena, c->given.arguments.word[0], c->which, error);
  if (!path) return NULL;
  Checkpoint checkpoint;
  checkpoint_init(&checkpoint, arena);
  ToyModel *model = checkpoint_load(&checkpoint, path, NULL, error)
                        ? toy_model_load(arena, &checkpoint, error)
                        : NULL;
  if (!model) error_prefix(error, "%s", path);
  return model;
}

static bool sample(Arena *arena, const Sample *c, ToySampling *how, Error *error) {
  WritePoints *write = writer_of(c->out, error);
  Saved saved = { 0 };
  ToyModel *model = write ? open_model(&saved, arena, c, error) : NULL;
  if (!model) return false;
  how->sampler = toy_model_sampler(model);
  if (c->sampler) how->sampler.method = c->sampler, how->sampler.eta = 0;
  if (c->steps) how->sampler.steps = (int)c->steps;
  if (c->spacing) how->sampler.spacing = c->spacing;
  Points p = { model, how, arena_array(arena, double, TOY_DIM * c->count), (int)c->count };
  if (!toy_sample(model, how, p.count, (double *)(uintptr_t)p.points, error)) return false;
  if (!write(&p, c->out, error)) return false;
  log_progress(true, "%d points of %s by %s: %s", p.count, model->data->name, how->sampler.method,
               c->out);
  return true;
}

static int run(const void *request, Error *error) {
  const Sample *c = request;
  Arena *arena = arena_new();
  ToySampling how = { .seed = (uint64_t)c->seed, .kernels = kernels_find("own", error) };
  how.pool = pool_new(c->threads ? (int)c->threads : pool_cpus());
  unsigned denormals = denormals_off();
  bool done = how.kernels && sample(arena, c, &how, error);
  denormals_restore(denormals);
  pool_free(how.pool);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_sample = {
  .name = "sample",
  .usage = "RUN|FILE --out FILE.png|.csv|.npy [--count N] [--sampler NAME] [--steps K] [options]",
  .about = "draw points from a model made by `diffrl train toy`",
  .examples = "  diffrl sample runs/toy-moons-s0 --out moons.png\n"
              "  diffrl sample runs/toy-moons-s0 --sampler dpmpp_2m --steps 10 --out few.png\n"
              "  diffrl sample runs/toy-moons-s0 --count 100000 --seed 1 --out points.npy\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Sample),
  .run = run,
};
