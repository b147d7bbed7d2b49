/* image_features.c -- a tape of the classifier, run on pictures in parts. */
#include "rl/measure/image_features.h"
#include "core/maths/distance.h"
#include "core/maths/gaussian.h"
#include "rl/shipped.h"
#include <math.h>
#include <string.h>

enum { PART = 256, GROUP = 32, LANE = 8, NEIGHBOUR = 3 };

/* ---- which classifier ------------------------------------------------------------------------ */

static const Classifier *load(Arena *arena, const char *name, const ImageSet *set, Error *error) {
  Checkpoint c;
  checkpoint_init(&c, arena);
  if (!shipped_or_file(&c, name, error)) return NULL;
  const Classifier *classifier = classifier_load(arena, &c, error);
  if (!classifier) return error_prefix(error, "%s", name), NULL;
  if (classifier->classes == set->classes) return classifier;
  error_set(error, FAIL_USAGE,
            "features=%s: a classifier of %d labels, and %s has %d; expected one that was trained "
            "on it",
            name, classifier->classes, set->name, set->classes);
  return NULL;
}

/* Did the shipped classifier of this name learn these very pictures?  A folder may be called like a
 * set and hold others. */
static bool knows(Arena *arena, const char *name, const ImageSet *set) {
  const Shipped *shipped = shipped_find(name);
  Checkpoint c;
  Error ignored;
  checkpoint_init(&c, arena);
  if (!shipped || !shipped_load(&c, shipped, &ignored)) return false;
  const char *hash = checkpoint_text(&c, "data_hash");
  return hash && !strcmp(hash, set->hash);
}

bool image_features_open(Arena *arena, const char *wanted, const ImageSet *set,
                         const ImageFeatures **features, Error *error) {
  *features = NULL;
  const char *name = wanted;
  if (!strcmp(wanted, "none")) return true;
  if (!strcmp(wanted, "auto")) {
    name = arena_text(arena, "%s-gauge", set->name);
    if (!knows(arena, name, set)) return true;
  }
  ImageFeatures *found = arena_alloc(arena, sizeof *found);
  *found = (ImageFeatures){ load(arena, name, set, error), name };
  *features = found->classifier ? found : NULL;
  return found->classifier;
}

/* ---- features -------------------------------------------------------------------------------- */

static void softmax(const real *logit, int n, double *p) {
  double most = (double)logit[0], sum = 0;
  for (int i = 1; i < n; i++) most = fmax(most, (double)logit[i]);
  for (int i = 0; i < n; i++) sum += p[i] = exp((double)logit[i] - most);
  for (int i = 0; i < n; i++) p[i] /= sum;
}

FeatureSet image_features_of(Arena *arena, const ImageFeatures *features, const double *pictures,
                             int size, int count, Pool *pool, const Kernels *kernels) {
  const Classifier *c = features->classifier;
  FeatureSet set = { .count = count, .width = c->features, .classes = c->classes };
  set.feature = arena_array(arena, double, (int64_t)count *set.width);
  set.probability = arena_array(arena, double, (int64_t)count *set.classes);
  Arena *scratch = arena_new();
  Graph *g = graph_new(
      scratch,
      &(GraphSpec){
          .pool = pool, .kernels = kernels, .max_rows = PART, .group = GROUP, .lane = LANE });
  const Plane plane = { size, size, 1 };
  Tensor *x = t_input(g, "pictures", 1, size * size);
  ClassifierOutput out = classifier_record(c, g, classifier_place(c, g, x, plane));
  graph_keep(out.features), graph_keep(out.logits);
  graph_seal(g);
  int ld = row_stride(size * size);
  real *rows = arena_array(scratch, real, PART * ld);
  graph_bind(x, rows);
  for (int from = 0; from < count; from += PART) {
    int now = count - from < PART ? count - from : PART;
    for (int r = 0; r < now; r++)
      for (int j = 0; j < size * size; j++)
        rows[r * ld + j] = (real)pictures[(int64_t)(from + r) * size * size + j];
    graph_run(g, now, 0, NULL);
    for (int r = 0; r < now; r++) {
      const real *feature = graph_values(out.features) + (ptrdiff_t)r * out.features->ld;
      double *to = set.feature + (int64_t)(from + r) * set.width;
      for (int j = 0; j < set.width; j++) to[j] = (double)feature[j];
      softmax(graph_values(out.logits) + (ptrdiff_t)r * out.logits->ld, set.classes,
              set.probability + (int64_t)(from + r) * set.classes);
    }
  }
  arena_free(scratch);
  return set;
}

/* ---- measures -------------------------------------------------------------------------------- */

double image_features_score(const double *p, int count, int classes) {
  double mean[CLASSIFIER_MAX_CLASSES] = { 0 }, kl = 0;
  for (int i = 0; i < count * classes; i++) mean[i % classes] += p[i] / count;
  /* p log(p / mean) is 0 where p is */
  for (int i = 0; i < count * classes; i++)
    if (p[i] > 0) kl += p[i] * log(p[i] / mean[i % classes]) / count;
  return exp(kl);
}

/* the share whose greatest probability is that of label i % classes */
static double consistency(const FeatureSet *x) {
  int right = 0;
  for (int i = 0; i < x->count; i++) {
    const double *p = x->probability + (int64_t)i * x->classes;
    int best = 0;
    for (int k = 1; k < x->classes; k++) best = p[k] > p[best] ? k : best;
    right += best == i % x->classes;
  }
  return (double)right / x->count;
}

FeatureQuality image_features_compare(const FeatureSet *x, const FeatureSet *reference,
                                      bool labels) {
  Arena *scratch = arena_new();
  int n = x->count, m = reference->count, width = x->width;
  const double *a = x->feature, *b = reference->feature;
  Gaussian of_x = gaussian_fit(scratch, a, n, width), of_y = gaussian_fit(scratch, b, m, width);
  FeatureQuality quality = {
    .frechet = gaussian_frechet(scratch, &of_x, &of_y),
    .kernel = distance_kernel(a, n, b, m, width),
    .precision = distance_coverage(scratch, a, n, b, m, width, NEIGHBOUR),
    .recall = distance_coverage(scratch, b, m, a, n, width, NEIGHBOUR),
    .score = image_features_score(x->probability, n, x->classes),
    .consistency = labels ? consistency(x) : NAN,
  };
  arena_free(scratch);
  return quality;
}
