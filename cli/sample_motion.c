/* sample_motion.c -- `diffrl sample --out FILE.gif`: the states of the sampler, from noise to
 * pictures. */
#include "cli/sample_images.h"
#include "core/check.h"
#include "core/log.h"
#include "datasets/gif.h"
#include "rl/render/picture_grid.h"
#include <math.h>

enum { MOST_FRAMES = 100, ROWS = 4, LAST = 200, ALL = 400, LEAST = 4, MOST_DELAY = 20 };

typedef struct {
  const ImageSampling *images;
  int count, stride, states, every, seen; /* states: after the noise */
  double *picture;                        /* [numbers] */
  const Image *frame[MOST_FRAMES + 1];
  int frames;
  Error *error;
} Motion;

/* Noise may be many times as large as data: what is larger is shown with a mean square of 1. */
static double scale_of(const Motion *m, const real *x) {
  int numbers = pictures_numbers(m->images->model);
  double sum = 0;
  for (int i = 0; i < m->count; i++)
    for (int j = 0; j < numbers; j++) sum += pow((double)x[i * m->stride + j], 2);
  double size = sqrt(sum / ((double)m->count * numbers));
  return size > 1 ? 1 / size : 1;
}

static void take_state(void *user, int stage, const real *x) {
  Motion *m = user;
  (void)stage;
  /* counted from the end, so that the last is there */
  if ((m->states - m->seen++) % m->every || m->frames > MOST_FRAMES) return;
  const PicturesModel *model = m->images->model;
  bool all = m->images->label == PICTURES_ALL_LABELS;
  Image *frame = picture_grid_new(m->images->job->arena, model, m->count, all, m->error);
  if (!frame) return;
  int numbers = pictures_numbers(model);
  double scale = scale_of(m, x);
  for (int i = 0; i < m->count; i++) {
    for (int j = 0; j < numbers; j++) m->picture[j] = scale * (double)x[i * m->stride + j];
    picture_grid_put(frame, model, i, m->picture);
  }
  m->frame[m->frames++] = frame;
}

/* how many states the sampler passes through */
static bool count_states(Motion *m, Error *error) {
  const ImageSampling *s = m->images;
  const Sampler *sampler =
      model_sampler(s->job->arena, &s->model->base, &s->how.sampler, s->how.guidance, error);
  for (int i = 0; sampler && i < sampler->stages; i++) m->states += sampler->stage[i].rebase;
  m->every = (m->states + MOST_FRAMES - 1) / MOST_FRAMES;
  return sampler;
}

static bool check_count(const Motion *m, Error *error) {
  const PicturesModel *model = m->images->model;
  int most = model->base.def->chunk;
  if (m->count > most)
    return error_set(error, FAIL_USAGE, "sample: --count %d: expected at most %d in FILE.gif",
                     m->count, most);
  bool all = m->images->label == PICTURES_ALL_LABELS;
  const Image *one = picture_grid_new(m->images->job->arena, model, m->count, all, error);
  if (!one) return false;
  size_t frame = (size_t)one->width * (size_t)one->height * (size_t)one->channels;
  if (one->width > GIF_MOST || one->height > GIF_MOST)
    return error_set(error, FAIL_USAGE, "sample: --count %d: a GIF of %d x %d pixels is too large",
                     m->count, one->width, one->height);
  return sample_has_room(MOST_FRAMES, frame, error);
}

bool sample_motion(const ImageSampling *images, Error *error) {
  const SampleJob *job = images->job;
  int labels = images->label == PICTURES_ALL_LABELS ? pictures_labels(images->model) : 0;
  int most = images->model->base.def->chunk;
  Motion m = { .images = images, .error = error };
  m.count = job->asked->count                     ? (int)job->asked->count
            : labels > 0 && ROWS * labels <= most ? ROWS * labels
                                                  : ROWS * ROWS;
  m.stride = row_stride(pictures_numbers(images->model));
  m.picture = arena_array(job->arena, double, pictures_numbers(images->model));
  if (!check_count(&m, error) || !count_states(&m, error)) return false;
  ImageSampling watched = *images;
  watched.how.watch = take_state, watched.how.watch_user = &m;
  if (!sample_pictures(&watched, m.count, error)) return false;
  CHECK(m.frames > 0, "a sampler without states");
  int delay = ALL / m.frames;
  delay = delay < LEAST ? LEAST : delay > MOST_DELAY ? MOST_DELAY : delay;
  if (!gif_save(m.frame, m.frames, delay, LAST, job->asked->out, error)) return false;
  log_progress(true, "%d pictures of %s by %s in %d frames: %s", m.count, images->model->base.data,
               images->how.sampler.method, m.frames, job->asked->out);
  return true;
}
