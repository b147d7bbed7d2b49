/* sample_images.c -- `diffrl sample` of a model of pictures: a PNG grid, or numbers. */
#include "cli/sample_images.h"
#include "core/log.h"
#include "datasets/images.h"
#include "datasets/numpy.h"
#include "rl/render/picture_grid.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 60000 };

/* ---- what was asked for ---------------------------------------------------------------------- */

const char *sample_label_name(const PicturesModel *m, int label) {
  return m->label_name ? m->label_name[label] : images_label_name(m->base.data, label);
}

static bool need_labels(const PicturesModel *m, const char *option, const char *text,
                        Error *error) {
  return pictures_labels(m) ||
         error_set(error, FAIL_USAGE,
                   "sample: --%s %s, but this model is not conditioned on labels", option, text);
}

bool sample_read_label(const PicturesModel *m, const char *text, int *label, Error *error) {
  if (!need_labels(m, "label", text, error)) return false;
  *label = PICTURES_NO_LABEL;
  return !strcmp(text, "none") ||
         images_label_find(m->base.data, m->label_name, m->classes, text, label, error) ||
         error_prefix(error, "sample: --label %s", text);
}

static bool read_number(const char *option, const char *text, double low, double high,
                        double *number, Error *error) {
  char *end;
  *number = strtod(text, &end);
  if (end != text && !*end && *number >= low && *number <= high) return true;
  return error_set(error, FAIL_USAGE, "sample: --%s %s: expected a number from %g to %g", option,
                   text, low, high);
}

/* 0: without regard to the label, 1: as trained, above: further towards it. */
bool sample_read_guidance(const PicturesModel *m, const char *text, double *guidance,
                          Error *error) {
  return need_labels(m, "guidance", text, error) &&
         read_number("guidance", text, 0, 100, guidance, error);
}

static bool read_threshold(const SampleJob *job, const char *text, SamplerSpec *sampler,
                           Error *error) {
  Threshold threshold = { 0 };
  if (!read_number("threshold", text, 0.5, 1, &threshold.quantile, error)) return false;
  const Guide **list = arena_array(job->arena, const Guide *, 2);
  list[0] = guide_threshold(job->arena, &threshold);
  sampler->guides = list;
  return true;
}

/* The run's settings, but for what was asked for instead. */
static bool choose(ImageSampling *s, Error *error) {
  const Sample *asked = s->job->asked;
  ModelSampling *how = &s->how;
  *how = model_sampling(&s->model->base), s->label = PICTURES_ALL_LABELS;
  how->seed = (uint64_t)asked->seed, how->pool = s->job->pool, how->kernels = s->job->kernels;
  how->progress = s->job->progress;
  sample_choose(s->job, &s->model->base, &how->sampler);
  if ((asked->label && !sample_read_label(s->model, asked->label, &s->label, error)) ||
      (asked->guidance &&
       !sample_read_guidance(s->model, asked->guidance, &how->guidance, error)) ||
      (asked->threshold && !read_threshold(s->job, asked->threshold, &how->sampler, error)))
    return false;
  if (s->label != PICTURES_NO_LABEL) return true;
  /* guidance is the way from no label to one */
  how->guidance = 1;
  return !asked->guidance || error_set(error, FAIL_USAGE,
                                       "sample: --guidance %s has no effect with --label none; "
                                       "omit one of them",
                                       asked->guidance);
}

/* ---- sampling -------------------------------------------------------------------------------- */

double *sample_pictures(const ImageSampling *s, int count, Error *error) {
  size_t numbers = (size_t)count * (size_t)pictures_numbers(s->model);
  double *pictures = arena_array(s->job->arena, double, numbers);
  return pictures_sample(&s->model->base, &s->how, s->label, count, pictures, error) &&
                 sample_check(pictures, NULL, numbers, s->how.sampler.method, error)
             ? pictures
             : NULL;
}

/* pictures and the labels that they were asked for, -1 for none */
static bool write_arrays(const ImageSampling *s, const double *pictures, int count, Error *error) {
  const char *path = s->job->asked->out;
  Plane p = pictures_plane(s->model);
  NumpyArray arrays[2] = { { .name = "pictures",
                             .rank = p.channels > 1 ? 4 : 3,
                             .shape = { count, p.height, p.width, p.channels },
                             .value = pictures },
                           { .name = "labels", .rank = 1, .shape = { count } } };
  if (!sample_ends(path, ".npz")) return numpy_save(arrays, path, error);
  int labels = pictures_labels(s->model);
  int64_t *label = arena_array(s->job->arena, int64_t, count);
  for (int i = 0; i < count; i++)
    label[i] = !labels || s->label == PICTURES_NO_LABEL ? -1
               : s->label == PICTURES_ALL_LABELS        ? i % labels
                                                        : s->label;
  arrays[1].whole = label;
  return numpy_save_all(arrays, 2, path, error);
}

static bool sample_file(const ImageSampling *s, Error *error) {
  const Sample *asked = s->job->asked;
  /* by default eight rows of ten, a column for each label of a set with ten */
  int count = asked->count ? (int)asked->count : 10 * 8;
  /* pictures have no form as CSV, and a limit keeps files to a size that can be used */
  if (count > MOST || sample_ends(asked->out, ".csv"))
    return error_set(error, FAIL_USAGE,
                     "sample: pictures go to FILE.png or FILE.npy, FILE.npz or FILE.gif, at most "
                     "%d at once",
                     MOST);
  size_t bytes = (size_t)pictures_numbers(s->model) * 2 * sizeof(double);
  if (!sample_has_room(count, bytes, error)) return false;
  double *pictures = sample_pictures(s, count, error);
  if (!pictures) return false;
  /* with all labels in turn, the grid has a column for each */
  bool done = sample_ends(asked->out, ".png")
                  ? image_write_grid(s->model, pictures, count, s->label == PICTURES_ALL_LABELS,
                                     asked->out, error)
                  : write_arrays(s, pictures, count, error);
  if (done)
    log_progress(true, "%d pictures of %s by %s: %s", count, s->model->base.data,
                 s->how.sampler.method, asked->out);
  return done;
}

bool sample_images(const SampleJob *job, Error *error) {
  const Sample *asked = job->asked;
  ImageSampling s = { .job = job };
  s.model = (PicturesModel *)model_load(job->arena, &model_pictures, job->checkpoint, error);
  if (!s.model || !choose(&s, error)) return false;
  if (asked->rows && !asked->sheet)
    return error_set(error, FAIL_USAGE, "sample: --rows %s are those of a sheet; give --sheet too",
                     asked->rows);
  if (asked->sheet) return sample_sheet(&s, error);
  return sample_ends(asked->out, ".gif") ? sample_motion(&s, error) : sample_file(&s, error);
}
