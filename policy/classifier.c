/* classifier.c -- a residual network with group norms over pictures.
 *
 *   levels   convolution of 3 with stride 2, then blocks
 *   block    x + conv3(silu(norm(conv3(silu(norm(x))))))
 *   end      features = dense(mean over positions of silu(norm(x)))
 *            logits = dense(silu(features))
 */
#include "policy/classifier.h"
#include "policy/nets/layer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LEVELS = 5, MAX_BLOCKS = 4 };

#define CONFIG_STRUCT ClassifierShape
static const ConfigField shape_fields[] = { CONFIG_ROWS(CLASSIFIER_FIELDS) };
#undef CONFIG_STRUCT
enum { SHAPE_FIELDS = sizeof shape_fields / sizeof *shape_fields };

typedef struct {
  int gain, bias;
} Norm;

typedef struct {
  Norm norm[2];
  Layer conv[2];
} Block;

typedef struct {
  ClassifierShape shape;
  Layer halve[MAX_LEVELS], features, logits;
  Block block[MAX_LEVELS][MAX_BLOCKS];
  Norm norm;
} Network;

/* ---- shape ----------------------------------------------------------------------------------- */

void classifier_shape_from(ClassifierShape *shape, const ConfigField *fields, size_t count,
                           const void *values) {
  Config own;
  config_init(&own, shape_fields, SHAPE_FIELDS, shape);
  config_copy(&own, fields, count, values);
}

static int channels_at(const ClassifierShape *s, int level) { return (int)s->hidden << level; }

static Norm new_norm(Params *p, const char *name, int channels) {
  char slot[64];
  snprintf(slot, sizeof slot, "%s/gain", name);
  Norm norm = { .gain = params_slot(p, slot, 1, 1, channels, 0) };
  params_start(p, norm.gain, 1);
  snprintf(slot, sizeof slot, "%s/bias", name);
  norm.bias = params_slot(p, slot, 1, 1, channels, 0);
  return norm;
}

/* first weights of variance 1 / inputs, biases zero */
static Layer new_layer(Params *p, const char *name, int inputs, int outputs) {
  return layer_new(p, name, inputs, outputs, sqrt(3.0 / inputs), 0);
}

static void declare_level(Network *m, Params *p, int level) {
  const ClassifierShape *s = &m->shape;
  int in = level ? channels_at(s, level - 1) : 1, out = channels_at(s, level);
  char name[48];
  snprintf(name, sizeof name, "%d/halve", level);
  m->halve[level] = new_layer(p, name, 9 * in, out);
  for (int b = 0; b < s->blocks; b++)
    for (int i = 0; i < 2; i++) {
      snprintf(name, sizeof name, "%d/%d/norm%d", level, b, i);
      m->block[level][b].norm[i] = new_norm(p, name, out);
      snprintf(name, sizeof name, "%d/%d/conv%d", level, b, i);
      m->block[level][b].conv[i] = new_layer(p, name, 9 * out, out);
    }
}

static bool check_shape(const ClassifierShape *s, int classes, Error *error) {
  if (classes < 2 || classes > CLASSIFIER_MAX_CLASSES)
    return error_set(error, FAIL_USAGE, "a classifier of %d labels; expected 2 to %d", classes,
                     CLASSIFIER_MAX_CLASSES);
  if (channels_at(s, (int)s->levels - 1) > PLANE_MAX_CHANNELS)
    return error_set(error, FAIL_USAGE,
                     "hidden=%d with levels=%d makes more than %d channels; use fewer of either",
                     (int)s->hidden, (int)s->levels, PLANE_MAX_CHANNELS);
  return group_norm_fits((int)s->hidden, (int)s->groups, error);
}

static const char *const *copy_names(Arena *arena, const char *const *name, int classes) {
  const char **copy = arena_array(arena, const char *, classes);
  for (int i = 0; i < classes; i++)
    copy[i] = name && name[i] ? arena_text(arena, "%s", name[i]) : NULL;
  return copy;
}

Classifier *classifier_new(Arena *arena, const ClassifierShape *shape, int classes,
                           const char *const *name, const char *data, Error *error) {
  if (!check_shape(shape, classes, error)) return NULL;
  Network *m = arena_alloc(arena, sizeof *m);
  Classifier *c = arena_alloc(arena, sizeof *c);
  m->shape = *shape;
  Params *p = params_new(arena, "classifier");
  for (int l = 0; l < shape->levels; l++) declare_level(m, p, l);
  int last = channels_at(shape, (int)shape->levels - 1);
  m->norm = new_norm(p, "norm", last);
  m->features = new_layer(p, "features", last, (int)shape->features);
  m->logits = new_layer(p, "logits", (int)shape->features, classes);
  *c = (Classifier){ .plane = { (int)shape->size, (int)shape->size, 1 },
                     .classes = classes,
                     .features = (int)shape->features,
                     .name = copy_names(arena, name, classes),
                     .data = arena_text(arena, "%s", data),
                     .accuracy = NAN,
                     .params = p,
                     .own = m };
  return c;
}

/* ---- files ----------------------------------------------------------------------------------- */

static const char mark[] = "classifier", shape_text[] = "classifier_shape";

bool classifier_saved(const Checkpoint *c) { return checkpoint_text(c, mark); }

void classifier_save_texts(const Classifier *m, Checkpoint *c) {
  const Network *own = m->own;
  checkpoint_add_text(c, mark, m->data);
  checkpoint_add_config(c, shape_text, shape_fields, SHAPE_FIELDS, &own->shape);
  checkpoint_add_text(c, "classes", arena_text(c->arena, "%d", m->classes));
  const char *names = "";
  /* a label without a name is an empty line */
  for (int i = 0; i < m->classes; i++)
    names = arena_text(c->arena, "%s%s%s", names, i ? "\n" : "", m->name[i] ? m->name[i] : "");
  checkpoint_add_text(c, "class_names", names);
  if (!isnan(m->accuracy))
    checkpoint_add_text(c, "accuracy", arena_text(c->arena, "%.17g", m->accuracy));
}

bool classifier_save_half(const Classifier *m, Checkpoint *c, Error *error) {
  classifier_save_texts(m, c);
  return params_save_half(m->params, c, error);
}

static bool read_names(const Checkpoint *c, int classes, const char **name, Error *error) {
  const char *text = checkpoint_need_text(c, "class_names", "a classifier", error);
  if (!text) return false;
  char *rest = arena_text(c->arena, "%s", text), *line;
  int count = 0;
  for (; (line = strsep(&rest, "\n")); count++)
    if (count < classes) name[count] = *line ? line : NULL;
  return count == classes ||
         error_set(error, FAIL_INPUT, "\"class_names\" in the metadata has %d lines, expected %d",
                   count, classes);
}

Classifier *classifier_load(Arena *arena, const Checkpoint *c, Error *error) {
  const char *what = "a classifier made by `diffrl train classifier`";
  const char *data = checkpoint_need_text(c, mark, what, error);
  const char *name[CLASSIFIER_MAX_CLASSES];
  ClassifierShape shape;
  int64_t classes;
  double accuracy = NAN;
  if (!data ||
      !checkpoint_read_config(c, shape_text, shape_fields, SHAPE_FIELDS, &shape, what, error) ||
      !checkpoint_read_whole(c, "classes", 2, CLASSIFIER_MAX_CLASSES, &classes, error) ||
      !read_names(c, (int)classes, name, error) ||
      (checkpoint_text(c, "accuracy") && !checkpoint_read_number(c, "accuracy", &accuracy, error)))
    return NULL;
  Classifier *m = classifier_new(arena, &shape, (int)classes, name, data, error);
  /* shapes are compared with the file before memory is taken */
  if (!m || !params_match(m->params, c, error)) {
    error_blame(error, FAIL_INPUT);
    return NULL;
  }
  params_allocate(m->params);
  m->accuracy = accuracy;
  return params_load(m->params, c, error) ? m : NULL;
}

/* ---- recording ------------------------------------------------------------------------------- */

typedef struct {
  Graph *g;
  const Params *p;
  int groups;
} Pass;

static Tensor *norm(const Pass *a, Norm n, Tensor *x, Plane plane) {
  GroupNorm how = { .plane = plane, .groups = a->groups, .eps = 1e-5, .map = MAP_silu };
  return t_group_norm(a->g, a->p, n.gain, n.bias, x, &how);
}

static Tensor *record_block(const Pass *a, const Block *b, Tensor *x, Plane plane) {
  ConvSpec how = { .in = plane, .kh = 3, .kw = 3, .stride = 1, .pad = 1 };
  Tensor *h = x;
  for (int i = 0; i < 2; i++)
    h = layer_conv(&b->conv[i], a->g, a->p, IN(norm(a, b->norm[i], h, plane)), &how);
  return t_add(x, h);
}

ClassifierOutput classifier_record(const Classifier *c, Graph *g, Tensor *x) {
  const Network *m = c->own;
  const ClassifierShape *s = &m->shape;
  Pass a = { g, c->params, (int)s->groups };
  Plane plane = c->plane;
  for (int l = 0; l < s->levels; l++) {
    ConvSpec half = { .in = plane, .kh = 3, .kw = 3, .stride = 2, .pad = 1 };
    x = layer_conv(&m->halve[l], g, c->params, IN(x), &half);
    plane = conv_plane(&half, channels_at(s, l));
    for (int b = 0; b < s->blocks; b++) x = record_block(&a, &m->block[l][b], x, plane);
  }
  Tensor *mean = t_channel_mean(norm(&a, m->norm, x, plane), plane.channels);
  ClassifierOutput out;
  out.features = t_affine(g, c->params, m->features.w, m->features.b, IN(mean));
  Tensor *seen = t_map(MAP_silu, out.features);
  out.logits = t_affine(g, c->params, m->logits.w, m->logits.b, IN(seen));
  return out;
}

/* Along one axis of `positions` parts of `size` pieces of `unit` numbers each: `wanted` pieces, the
 * middle ones, or black ones on both sides. */
static Tensor *fit(Graph *g, Tensor *x, int positions, int unit, int size, int wanted) {
  int before = (wanted - size) / 2, after = wanted - size - before;
  if (wanted < size) return t_channel_slice(x, positions, -before * unit, wanted * unit);
  Arena *scratch = arena_new();
  int n = positions * unit * after; /* never less than before */
  double *black = arena_array(scratch, double, n + 1);
  for (int i = 0; i < n; i++) black[i] = -1;
  if (before) x = t_channel_concat(t_table(g, black, 1, positions * unit * before), x, positions);
  if (after) x = t_channel_concat(x, t_table(g, black, 1, n), positions);
  arena_free(scratch);
  return x;
}

Tensor *classifier_place(const Classifier *c, Graph *g, Tensor *x, Plane from) {
  x = fit(g, x, from.height, 1, from.width, c->plane.width);
  return fit(g, x, 1, c->plane.width, from.height, c->plane.height);
}
