/* command_sample.c -- diffrl sample: points, pictures or plans of a diffusion model. */
#include "cli/command_sample.h"
#include "cli/saved.h"
#include "core/log.h"
#include "datasets/numpy.h"
#include "policy/models/pictures.h"
#include "policy/models/plans.h"
#include "policy/models/points.h"
#include <math.h>
#include <string.h>

static const Option options[] = {
  OPTION_NUMBER_ROW(Sample, count, "count", "N", 0, 1, 10000000,
                    "how many (default: 4096 points, 80 pictures, 8 plans)"),
  OPTION_TEXT_ROW(Sample, out, "out", "FILE",
                  "FILE.png: data beside points, a grid of pictures, plans; FILE.csv (points and "
                  "plans), FILE.npy; pictures: FILE.npz with labels, FILE.gif: from noise on"),
  OPTION_TEXT_ROW(Sample, label, "label", "C",
                  "pictures: a label's number or name, or none (default: all in turn)"),
  OPTION_TEXT_ROW(Sample, guidance, "guidance", "W",
                  "pictures: towards the label, 1: as trained (default: the run's)"),
  OPTION_TEXT_ROW(Sample, threshold, "threshold", "P",
                  "pictures: dynamic threshold, a quantile of the pixels (0.995)"),
  OPTION_TEXT_ROW(Sample, sheet, "sheet", "labels|guidance|samplers|steps",
                  "pictures: a row with a caption for each of these; --count: in a row"),
  OPTION_TEXT_ROW(Sample, rows, "rows", "A,B,..", "of the sheet (default: a choice of them)"),
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

/* ---- what all kinds share -------------------------------------------------------------------- */

bool sample_fits(const SamplerSpec *sampler, const Model *model) {
  Arena *scratch = arena_new();
  Error ignored;
  bool made = sampler_new(scratch, sampler, model->denoiser, &ignored) != NULL;
  arena_free(scratch);
  return made;
}

void sample_choose(const SampleJob *job, const Model *model, SamplerSpec *sampler) {
  const Sample *asked = job->asked;
  /* the run's eta is meant for its own sampler; another one begins without */
  if (asked->sampler) sampler->method = asked->sampler, sampler->eta = 0;
  if (asked->steps) sampler->steps = (int)asked->steps;
  if (asked->spacing) sampler->spacing = asked->spacing;
  /* the run's own choice stands */
  if (asked->sampler || asked->steps || asked->spacing) sample_settle(model, sampler);
}

void sample_settle(const Model *model, SamplerSpec *sampler) {
  SamplerSpec later = *sampler;
  later.from = points_start(model->schedule);
  /* what fits neither way is refused with its own reason */
  if (sampler->from > 0 || !(later.from > 0) || sample_fits(sampler, model) ||
      !sample_fits(&later, model))
    return;
  *sampler = later;
  log_progress(true,
               "note: %s cannot begin at time %g, where no signal is left; it begins at time %.4g, "
               "where noise is 80 times the signal",
               later.method, model->schedule->t_max, later.from);
}

bool sample_check(const double *values, const float *floats, size_t count, const char *sampler,
                  Error *error) {
  for (size_t i = 0; i < count; i++) {
    double x = values ? values[i] : (double)floats[i];
    if (isfinite(x)) continue;
    return error_set(error, FAIL_DIVERGED,
                     "sample: a number is %g, so nothing is written: the weights have diverged, or "
                     "sampler %s does not converge here (try more --steps, or another --sampler)",
                     x, sampler);
  }
  return true;
}

bool sample_has_room(int count, size_t bytes_each, Error *error) {
  size_t bytes = (size_t)count * bytes_each;
  return arena_has_room(bytes) ||
         error_set(error, FAIL_USAGE,
                   "sample: --count %d needs about %.1f GiB of memory, more than there is; sample "
                   "fewer at once, with another --seed each time",
                   count, (double)bytes / (1024.0 * 1024.0 * 1024.0));
}

bool sample_ends(const char *path, const char *end) {
  const char *dot = strrchr(path, '.');
  return dot && !strcmp(dot, end);
}

bool sample_write_npy(const char *path, const double *values, const int shape[], int rank,
                      Error *error) {
  NumpyArray array = { .rank = rank, .value = values };
  memcpy(array.shape, shape, (size_t)rank * sizeof *shape);
  return numpy_save(&array, path, error);
}

bool sample_refuse_pictures(const Sample *asked, Error *error) {
  const char *given = asked->label       ? "label"
                      : asked->guidance  ? "guidance"
                      : asked->threshold ? "threshold"
                      : asked->sheet     ? "sheet"
                      : asked->rows      ? "rows"
                                         : NULL;
  if (given && (asked->label || asked->guidance))
    return error_set(error, FAIL_USAGE, "sample: --%s needs a model that is conditioned on labels",
                     given);
  if (given) return error_set(error, FAIL_USAGE, "sample: --%s needs a model of pictures", given);
  return !(sample_ends(asked->out, ".npz") || sample_ends(asked->out, ".gif")) ||
         error_set(
             error, FAIL_USAGE,
             "sample: --out %s: this kind of file is of pictures; expected FILE.png, FILE.csv "
             "or FILE.npy",
             asked->out);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The ending of the name chooses the format, so it is checked before anything is sampled. */
static bool check_out(const char *path, Error *error) {
  static const char *const ends[] = { ".png", ".csv", ".npy", ".npz", ".gif" };
  for (size_t i = 0; path && i < sizeof ends / sizeof *ends; i++)
    if (sample_ends(path, ends[i])) return true;
  return error_set(error, FAIL_USAGE,
                   "sample: --out %s: expected FILE.png, FILE.csv or FILE.npy, of pictures also "
                   "FILE.npz or FILE.gif",
                   path ? path : "is missing");
}

/* who samples what a model is of */
static const struct {
  const ModelDef *def;
  bool (*sample)(const SampleJob *job, Error *error);
} kinds[] = { { &model_points, sample_points },
              { &model_pictures, sample_images },
              { &model_plans, sample_plans } };

/* The mark in the checkpoint says what the model is of. */
static bool sample_kind(const SampleJob *job, Error *error) {
  const ModelDef *def = model_saved(job->checkpoint);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].def == def) return kinds[i].sample(job, error);
  return error_set(error, FAIL_INPUT,
                   "no model that can be sampled; expected one made by `diffrl train toy`, `image` "
                   "or `diffuser`");
}

/* Find and read the checkpoint, then leave it to the kind of its model. */
static bool sample(SampleJob *job, Error *error) {
  const Sample *asked = job->asked;
  Saved saved;
  if (!check_out(asked->out, error) ||
      !saved_read(&saved, job->arena, asked->parsed.arguments.word[0], asked->which, error))
    return false;
  job->checkpoint = saved.checkpoint;
  bool done = sample_kind(job, error);
  /* what is wrong with the file should name the file */
  if (!done && error->kind == FAIL_INPUT) error_prefix(error, "%s", saved.path);
  return done;
}

/* Set up what every kind of model needs: memory, threads and kernels. */
static int run(const void *request, Error *error) {
  const Sample *asked = request;
  SampleJob job = { .asked = asked, .kernels = kernels_find("own", error) };
  job.arena = arena_new();
  job.pool = pool_new(asked->threads ? (int)asked->threads : pool_cpus(), error);
  unsigned denormals = denormals_off();
  Progress progress;
  progress_begin(&progress, "done", "sampling");
  job.progress = &progress;
  bool done = job.kernels && job.pool && sample(&job, error);
  denormals_restore(denormals);
  pool_free(job.pool);
  arena_free(job.arena);
  return done ? 0 : (int)error->kind;
}

const Command command_sample = {
  .name = "sample",
  .usage = "RUN|FILE --out FILE.png|.csv|.npy|.npz|.gif [--count N] [--sampler NAME] [--steps K] "
           "[options]",
  .about = "sample from a model of `diffrl train toy`, `image` or `diffuser`",
  .examples = "  diffrl sample runs/toy-moons-s0 --out moons.png\n"
              "  diffrl sample runs/toy-moons-s0 --sampler dpmpp_2m --steps 10 --out few.png\n"
              "  diffrl sample runs/toy-moons-s0 --count 100000 --seed 1 --out points.npy\n"
              "  diffrl sample runs/image-fashion-mnist-s0 --label sneaker --out sneakers.png\n"
              "  diffrl sample runs/image-fashion-mnist-s0 --sheet guidance --out sheet.png\n"
              "  diffrl sample runs/image-fashion-mnist-s0 --out denoising.gif\n"
              "  diffrl sample runs/diffuser-hopper-medium-s0 --count 64 --out plans.npy\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = 1,
  .size = sizeof(Sample),
  .run = run,
};
