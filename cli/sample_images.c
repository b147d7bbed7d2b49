/* sample_images.c -- `diffrl sample` of a model of pictures: a PNG grid, or numbers. */
#include "cli/command_sample.h"
#include "core/log.h"
#include "policy/models/pictures.h"
#include "datasets/images.h"
#include "rl/render/picture_grid.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 60000 };

/* what a label is called: by the folder that was learned, or by the list of sets */
static const char *class_name(const PicturesModel *m, int label) {
  return m->label_name ? m->label_name[label] : images_label_name(m->base.data, label);
}

/* a number, or its name */
static bool read_label(const PicturesModel *m, const char *text, int *label, Error *error) {
  char *end;
  long number = strtol(text, &end, 10);
  if (!pictures_labels(m))
    return error_set(error, FAIL_USAGE,
                     "sample: --label %s, but this model is not conditioned on labels", text);
  /* numbers always work, names where the set has them */
  for (*label = 0; *label < m->classes; ++*label) {
    const char *name = class_name(m, *label);
    if ((name && !strcmp(name, text)) || (end != text && !*end && number == *label)) return true;
  }
  /* all names, if the set has any */
  char names[512] = "";
  for (int i = 0; i < m->classes && class_name(m, i); i++)
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : ", or one of ",
             class_name(m, i));
  return error_set(error, FAIL_USAGE, "sample: --label %s: expected 0 to %d%s", text,
                   m->classes - 1, names);
}

/* 0: without regard to the label, 1: as trained, above: further towards it. */
static bool read_guidance(const char *text, double *guidance, Error *error) {
  char *end;
  *guidance = strtod(text, &end);
  if (end != text && !*end && *guidance >= 0 && *guidance <= 100) return true;
  return error_set(error, FAIL_USAGE, "sample: --guidance %s: expected a number from 0 to 100",
                   text);
}

/* The run's settings, but for what was asked for instead. */
static bool choose(const SampleJob *job, const PicturesModel *m, ModelSampling *how, int *label,
                   Error *error) {
  const Sample *asked = job->asked;
  *how = model_sampling(&m->base), *label = PICTURES_ALL_LABELS;
  how->seed = (uint64_t)asked->seed, how->pool = job->pool, how->kernels = job->kernels;
  how->progress = job->progress;
  sample_choose(job, &m->base, &how->sampler);
  return (!asked->label || read_label(m, asked->label, label, error)) &&
         (!asked->guidance || read_guidance(asked->guidance, &how->guidance, error));
}

bool sample_images(const SampleJob *job, Error *error) {
  const Sample *asked = job->asked;
  PicturesModel *m =
      (PicturesModel *)model_load(job->arena, &model_pictures, job->checkpoint, error);
  ModelSampling how;
  int label;
  if (!m || !choose(job, m, &how, &label, error)) return false;
  /* by default eight rows of ten, a column for each label of a set with ten */
  int count = asked->count ? (int)asked->count : 10 * 8, size = (int)m->size;
  int channels = pictures_plane(m).channels;
  bool png = sample_ends(asked->out, ".png");
  /* pictures have no form as CSV, and a limit keeps files to a size that can be used */
  if (count > MOST || sample_ends(asked->out, ".csv"))
    return error_set(error, FAIL_USAGE,
                     "sample: pictures go to FILE.png or FILE.npy, at most %d at once", MOST);
  if (!sample_has_room(count, (size_t)pictures_numbers(m) * 2 * sizeof(double), error))
    return false;
  size_t numbers = (size_t)count * (size_t)pictures_numbers(m);
  double *pictures = arena_array(job->arena, double, numbers);
  if (!pictures_sample(&m->base, &how, label, count, pictures, error) ||
      !sample_check(pictures, NULL, numbers, how.sampler.method, error))
    return false;
  /* with all labels in turn, the grid has a column for each */
  bool done =
      png ? image_write_grid(m, pictures, count, label == PICTURES_ALL_LABELS, asked->out, error)
          : sample_write_npy(asked->out, pictures, (int[]){ count, size, size, channels },
                             channels > 1 ? 4 : 3, error);
  if (done)
    log_progress(true, "%d pictures of %s by %s: %s", count, m->base.data, how.sampler.method,
                 asked->out);
  return done;
}
