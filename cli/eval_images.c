/* eval_images.c -- `diffrl eval` of a model of pictures: its samples beside real ones. */
#include "cli/command_eval.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/log.h"
#include "rl/measure/image_bits.h"
#include "rl/measure/image_quality.h"
#include "rl/stop.h"
#include "rl/render/picture_grid.h"
#include <string.h>
#include <sys/stat.h>

/* what is measured, and with what */
typedef struct {
  const Eval *asked;
  const Saved *saved;
  PicturesModel *model;
  ImageSet *set;
  const ImageFeatures *features; /* NULL: pixels alone */
  bool changed;                  /* it samples in another way than its own */
  ImageQuality quality;
} Measuring;

/* The pictures it learned from, by their content, wherever they lie now. */
static bool open_set(Measuring *s, Arena *arena, Error *error) {
  static const char unsure[] = "the checkpoint does not say which pictures it was trained on";
  const char *hash = checkpoint_text(s->saved->checkpoint, "data_hash");
  const char *data = s->asked->data ? s->asked->data : s->model->base.data;
  s->set = images_open_resized(arena, data, (int)s->model->resize, error);
  if (!s->set || (hash && !strcmp(hash, s->set->hash))) return s->set;
  /* without a sum nothing but its user can say that these are the right ones */
  if (!hash && s->asked->data) return log_progress(true, "note: %s", unsure), true;
  if (!hash)
    return error_set(error, FAIL_INPUT, "%s; if %s are the right ones, say so with --data %s",
                     unsure, s->set->name, s->set->name);
  /* distances to other pictures than those it learned from would mean nothing */
  return error_set(error, FAIL_INPUT,
                   "%s is not the data this model was trained on (its content differs); give the "
                   "right one with --data",
                   s->set->name);
}

/* Another way to sample than the run's own, where one is asked for. */
static bool choose_sampling(Measuring *s, Arena *arena, Error *error) {
  const Eval *asked = s->asked;
  const struct {
    const char *key, *value, *option;
  } row[] = { { "sampler", asked->sampler, "--sampler" },
              { "sample_steps", asked->steps, "--steps" },
              { "spacing", asked->spacing, "--spacing" },
              { "guidance", asked->guidance, "--guidance" } };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    if (!row[i].value) continue;
    if (!model_resample(&s->model->base, row[i].key, row[i].value, row[i].option, error))
      return false;
    s->changed = true;
  }
  /* what cannot be is refused before data are read */
  ModelSampling how = model_sampling(&s->model->base);
  return model_sampler(arena, &s->model->base, &how.sampler, how.guidance, error);
}

/* The members of measures.json: which weights, the measures, and how pictures were sampled. */
static void write_json(const Measuring *s, JsonText *out) {
  double value[IMAGE_QUALITY_MEASURES];
  image_quality_values(&s->quality, value);
  json_open(out, NULL, '{');
  json_put_text(out, "algo", s->saved->algo);
  json_put_text(out, "data", s->model->base.data);
  json_put_text(out, "which", s->saved->which);
  json_put_integer(out, "step", s->saved->step);
  image_quality_write(value, s->model, s->features, (uint64_t)s->asked->seed, out);
  json_close(out, '}');
}

/* What the classifier's features say, each number with that of real pictures; "" without one. */
static const char *write_features(const Measuring *s, Arena *arena) {
  const FeatureQuality *a = &s->quality.samples, *b = &s->quality.real;
  if (!s->features) return "";
  const char *consistency = s->model->labels ? arena_text(arena, ", label consistency %.3f (%.3f)",
                                                          a->consistency, b->consistency)
                                             : "";
  return arena_text(arena,
                    "by features of %s (of real pictures in brackets): Frechet distance %.3f "
                    "(%.3f), kernel distance %.4f (%.4f), precision %.3f (%.3f), recall %.3f "
                    "(%.3f), inception-style score %.2f (%.2f)%s; ",
                    s->features->name, a->frechet, b->frechet, a->kernel, b->kernel, a->precision,
                    b->precision, a->recall, b->recall, a->score, b->score, consistency);
}

/* One sentence for people: each distance beside that of real pictures, which is the floor. */
static const char *write_line(const Measuring *s, Arena *arena) {
  const ImageQuality *r = &s->quality;
  const ModelSettings *shape = &s->model->base.settings;
  return arena_text(
      arena,
      "%s: %sFrechet distance of pixels %.3f of %d samples to test pictures, %.3f between real "
      "ones (ratio %.2f); nearest training picture at %.3f, of test pictures %.3f "
      "(ratio %.2f); sampled by %s in %d steps, weights %s, guidance %g",
      s->set->name, write_features(s, arena), r->frechet.samples, r->pictures, r->frechet.real,
      r->frechet.samples / r->frechet.real, r->nearest.samples, r->nearest.real,
      r->nearest.samples / r->nearest.real, shape->sampler.s, (int)shape->sample_steps,
      shape->weights.s, shape->guidance);
}

/* The report is a convenience: a folder that cannot be written to does not undo the figures. */
static void keep(const Measuring *s, Arena *arena, const JsonText *json) {
  struct stat status;
  const char *run = s->asked->parsed.arguments.word[0];
  Error error;
  /* the report speaks of the run as it samples by itself */
  if (s->changed) return;
  /* of a checkpoint outside a run there is no folder to keep them in */
  if (stat(run, &status) || !S_ISDIR(status.st_mode)) return;
  if (!file_write(arena_text(arena, "%s/measures.json", run), json->text, json->length, &error))
    log_progress(true, "not kept: %s", error.text);
}

/* Sample as the run's settings say, compare with real pictures, and draw the first of them. */
static bool measure(Measuring *s, Arena *arena, Error *error) {
  enum { ROWS = 8 }; /* of the grid */
  const Eval *asked = s->asked;
  ModelSampling how = model_sampling(&s->model->base);
  if (!(how.kernels = kernels_find("own", error))) return false;
  how.seed = (uint64_t)asked->seed;
  how.pool = pool_new(asked->threads ? (int)asked->threads : pool_cpus(), error);
  if (!how.pool) return false;
  log_progress(true, "%s at step %lld (%s) on %s, seed %llu, threads %d, kernels %s",
               s->saved->path, (long long)s->saved->step, s->model->base.def->trained_by,
               s->set->name, (unsigned long long)how.seed, pool_threads(how.pool),
               how.kernels->name);
  double *pictures = image_quality_sample(arena, s->model, s->set, s->features, &how,
                                          (int)asked->pictures, &s->quality, error);
  pool_free(how.pool);
  if (!pictures || !asked->out) return pictures;
  /* labels come in turn, so whole rows hold each of them once */
  int labels = pictures_labels(s->model), shown = ROWS * (labels ? labels : ROWS);
  if (shown > s->quality.pictures) shown = s->quality.pictures;
  return image_write_grid(s->model, pictures, shown, true, asked->out, error);
}

/* The bound on test pictures, which samples nothing. */
static int measure_bits(Measuring *s, Arena *arena, Error *error) {
  const Eval *asked = s->asked;
  ModelSampling how = model_sampling(&s->model->base);
  ImageBits bits;
  if (!(how.kernels = kernels_find("own", error))) return (int)error->kind;
  how.seed = (uint64_t)asked->seed;
  how.pool = pool_new(asked->threads ? (int)asked->threads : pool_cpus(), error);
  if (!how.pool) return (int)error->kind;
  bool done = image_bits(s->model, s->set, 0, (int)asked->bits, &how, NULL, &bits, error);
  pool_free(how.pool);
  if (!done) return stop_signal() ? 128 + stop_signal() : (int)error->kind;
  JsonText json = { 0 };
  json_open(&json, NULL, '{');
  json_put_text(&json, "algo", s->saved->algo);
  json_put_text(&json, "data", s->model->base.data);
  json_put_text(&json, "which", s->saved->which);
  json_put_integer(&json, "step", s->saved->step);
  json_put_integer(&json, "seed", asked->seed);
  json_put_integer(&json, "pictures", bits.pictures);
  json_put_number(&json, "bits_per_dim", bits.bits);
  json_put_number(&json, "bits_per_dim_error", bits.error);
  json_put_integer(&json, "terms", bits.steps);
  json_close(&json, '}');
  const char *line = arena_text(
      arena,
      "%s: at most %.3f +- %.3f bits per dimension (mean and standard error) over %d test "
      "pictures; variational bound of %d terms, weights %s",
      s->set->name, bits.bits, bits.error, bits.pictures, bits.steps,
      s->model->base.settings.weights.s);
  command_print(asked->json ? json.text : escaped(arena, line));
  json_text_free(&json);
  return 0;
}

int eval_images(const Eval *asked, Saved *saved, Arena *arena, Error *error) {
  static const char *const foreign[] = { "env", "episodes", "act", "reference", NULL };
  Measuring s = { .asked = asked, .saved = saved };
  if (!eval_refuse(asked, foreign, "samples pictures and does not act", error))
    return (int)error->kind;
  static const char *const unsampled[] = { "pictures", "features", "guidance", "sampler",
                                           "steps",    "spacing",  "out",      NULL };
  if (asked->bits && !eval_refuse(asked, unsampled, "is not sampled for --bits", error))
    return (int)error->kind;
  if (!(s.model = (PicturesModel *)model_load(arena, &model_pictures, saved->checkpoint, error))) {
    error_prefix(error, "%s", saved->path);
    return (int)error->kind;
  }
  if (!choose_sampling(&s, arena, error)) return (int)error->kind;
  /* sampling takes minutes; a signal ends it between two parts */
  stop_on_signals();
  const char *features = asked->features ? asked->features : "auto";
  if (!open_set(&s, arena, error)) return (int)error->kind;
  if (asked->bits) return measure_bits(&s, arena, error);
  if (!image_features_open(arena, features, s.set, &s.features, error)) return (int)error->kind;
  /* nothing is told of a measurement that was cut short */
  if (!measure(&s, arena, error)) return stop_signal() ? 128 + stop_signal() : (int)error->kind;
  JsonText json = { 0 };
  write_json(&s, &json);
  command_print(asked->json ? json.text : escaped(arena, write_line(&s, arena)));
  keep(&s, arena, &json);
  json_text_free(&json);
  return 0;
}
