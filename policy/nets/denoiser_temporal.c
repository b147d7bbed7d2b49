/* denoiser_temporal.c -- the temporal U-Net and its value network (Janner et al. 2022, arXiv
 * 2205.09991).
 *
 *   level    residual block, residual block, [+ linear attention(norm)]
 *   way down levels, halved in between by convolutions of 3 with stride 2
 *   middle   residual block, [attention,] residual block
 *   way up   [x, what its level gave on the way down] --> level, doubled by transposed convolutions
 *   end      convolution of 5, group norm, mish; dense
 *
 *   value   the way down, halved behind every level; twice a residual block to half the channels,
 *           halved; [all that is left, e] --> mlp --> one number
 *
 *   residual block:  h = mish(norm(conv5(x))) + dense(mish(e));  mish(norm(conv5(h))) + dense(x)
 *
 * e is the embedded time, beside the embedded condition if there is one (Decision Diffuser).  What
 * stands side by side is never copied together: convolutions take several inputs. */
#include "policy/nets/denoiser_temporal.h"
#include "policy/nets/layer.h"
#include "policy/nets/mlp.h"
#include <math.h>
#include <stdio.h>

enum { TAPS = 5, HEADS = 4, HEAD = 32, WIDEN = 4 };

typedef struct {
  Layer conv[2], time, skip; /* skip.w -1: as many channels come out as go in */
  int gain[2], bias[2], in, out;
} Residual;

typedef struct {
  int gain, bias;
  Layer qkv, out;
} Attention;

typedef struct {
  Residual block[2];
  Attention attention;
  Layer resize;
} TemporalLevel;

typedef struct {
  Denoiser base; /* first: a TemporalDenoiser is a Denoiser */
  TemporalSpec spec;
  TimeFeatures features;
  Mlp time, cond;
  TemporalLevel down[TEMPORAL_MAX_LEVELS], middle, up[TEMPORAL_MAX_LEVELS];
  Layer last, out;
  int gain, bias;
} TemporalDenoiser;

typedef struct {
  Energy base; /* first: a TemporalValue is an Energy */
  TemporalSpec spec;
  double unit; /* of the time that it is told */
  TimeFeatures features;
  Mlp time, head;
  TemporalLevel down[TEMPORAL_MAX_LEVELS], last[2]; /* of last[] one block alone */
} TemporalValue;

/* ---- shapes ---------------------------------------------------------------------------------- */

static int channels_at(const TemporalSpec *s, int level) {
  return s->vector.hidden * s->mults[level];
}
static Plane plane_at(const TemporalSpec *s, int level) {
  return (Plane){ 1, s->horizon >> level, channels_at(s, level) };
}

/* levels that there can be, the horizon halving so many times */
static bool levels_fit(const TemporalSpec *s, int halvings, Error *error) {
  if (s->levels < 1 || s->levels > TEMPORAL_MAX_LEVELS) {
    error_set(error, FAIL_USAGE, "a U-Net of %d levels; expected 1 to %d", s->levels,
              TEMPORAL_MAX_LEVELS);
    return false;
  }
  int least = 1 << halvings;
  if (s->horizon < 1 || s->horizon % least) {
    error_set(error, FAIL_USAGE,
              "a horizon of %d cannot be halved %d times; expected a multiple of %d", s->horizon,
              halvings, least);
    return false;
  }
  for (int l = 0; l < s->levels; l++)
    if (!group_norm_fits(channels_at(s, l), s->groups, error)) return false;
  return !s->attention || linear_attention_fits(HEADS * HEAD, HEADS, s->horizon, error);
}

bool temporal_fits(const TemporalSpec *s, Error *error) {
  return levels_fit(s, s->levels - 1, error);
}

bool temporal_value_fits(const TemporalSpec *s, Error *error) {
  if (!levels_fit(s, s->levels, error)) return false;
  int channels = channels_at(s, s->levels - 1);
  return group_norm_fits(channels / 2, s->groups, error) &&
         group_norm_fits(channels / 4, s->groups, error);
}

/* ---- recording ------------------------------------------------------------------------------- */

static Tensor *block(const Residual *r, int groups, Graph *g, const Params *p, Inputs x, Inputs e,
                     Plane plane) {
  Plane in = plane;
  in.channels = r->in, plane.channels = r->out;
  ConvSpec conv = { .in = in, .kh = 1, .kw = TAPS, .stride = 1, .pad = CONV_SAME };
  GroupNorm norm = { plane, groups, 1e-5, MAP_mish,
                     .after = t_affine(g, p, r->time.w, r->time.b, e) };
  Tensor *h = layer_conv(&r->conv[0], g, p, x, &conv);
  h = t_group_norm(g, p, r->gain[0], r->bias[0], h, &norm);
  conv.in = plane, norm.after = NULL;
  h = layer_conv(&r->conv[1], g, p, IN(h), &conv);
  h = t_group_norm(g, p, r->gain[1], r->bias[1], h, &norm);
  return t_add(h, r->skip.w < 0 ? x.x[0] : layer_dense(&r->skip, g, p, x, in));
}

static Tensor *attend(const Attention *a, Graph *g, const Params *p, Tensor *x, Plane plane) {
  Tensor *y = t_channel_norm(g, p, a->gain, a->bias, x, plane.channels, 1e-5);
  y = t_linear_attention(layer_dense(&a->qkv, g, p, IN(y), plane), plane.width, HEADS);
  plane.channels = HEADS * HEAD;
  return t_add(x, layer_dense(&a->out, g, p, IN(y), plane));
}

/* middle: attention stands between the two blocks, else after them */
static Tensor *record_level(const TemporalSpec *s, const TemporalLevel *l, Graph *g,
                            const Params *p, Inputs x, Inputs e, Plane plane, bool middle) {
  plane.channels = l->block[0].out;
  Tensor *y = block(&l->block[0], s->groups, g, p, x, e, plane);
  if (s->attention && middle) y = attend(&l->attention, g, p, y, plane);
  y = block(&l->block[1], s->groups, g, p, IN(y), e, plane);
  return s->attention && !middle ? attend(&l->attention, g, p, y, plane) : y;
}

/* *plane becomes the half */
static Tensor *halve(const TemporalLevel *l, Graph *g, const Params *p, Tensor *x, Plane *plane) {
  ConvSpec half = { .in = *plane, .kh = 1, .kw = 3, .stride = 2, .pad = 1 };
  *plane = conv_plane(&half, plane->channels);
  return layer_conv(&l->resize, g, p, IN(x), &half);
}

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const TemporalDenoiser *m = (const TemporalDenoiser *)d;
  return mlp(&m->time, g, p, IN(time_features(&m->features, g, p, t)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const TemporalDenoiser *m = (const TemporalDenoiser *)d;
  const TemporalSpec *s = &m->spec;
  Inputs e = IN(t_map(MAP_mish, h));
  if (cond && s->vector.cond) e.x[1] = t_map(MAP_mish, mlp(&m->cond, g, p, IN(cond)));
  Tensor *kept[TEMPORAL_MAX_LEVELS];
  int deepest = s->levels - 1;
  for (int l = 0; l <= deepest; l++) {
    Plane plane = plane_at(s, l);
    x = kept[l] = record_level(s, &m->down[l], g, p, IN(x), e, plane, false);
    if (l < deepest) x = halve(&m->down[l], g, p, x, &plane);
  }
  x = record_level(s, &m->middle, g, p, IN(x), e, plane_at(s, deepest), true);
  for (int l = deepest; l > 0; l--) {
    x = record_level(s, &m->up[l], g, p, IN(x, kept[l]), e, plane_at(s, l), false);
    Plane plane = plane_at(s, l);
    plane.channels = channels_at(s, l - 1);
    ConvSpec twice = { .in = plane, .kh = 1, .kw = 4, .stride = 2, .pad = 1, .transposed = true };
    x = layer_conv(&m->up[l].resize, g, p, IN(x), &twice);
  }
  Plane plane = plane_at(s, 0);
  ConvSpec conv = { .in = plane, .kh = 1, .kw = TAPS, .stride = 1, .pad = CONV_SAME };
  GroupNorm norm = { .plane = plane, .groups = s->groups, .eps = 1e-5, .map = MAP_mish };
  x = t_group_norm(g, p, m->gain, m->bias, layer_conv(&m->last, g, p, IN(x), &conv), &norm);
  return layer_dense(&m->out, g, p, IN(x), plane);
}

static Tensor *value(const Energy *energy, Graph *g, const Params *p, Tensor *x, Tensor *time,
                     Tensor *cond) {
  const TemporalValue *v = (const TemporalValue *)energy;
  const TemporalSpec *s = &v->spec;
  (void)cond;
  Tensor *t = time_features(&v->features, g, p, t_scale(v->unit, time));
  Tensor *h = mlp(&v->time, g, p, IN(t));
  Inputs e = IN(t_map(MAP_mish, h));
  Plane plane = plane_at(s, 0);
  for (int l = 0; l < s->levels; l++) {
    plane.channels = channels_at(s, l);
    x = record_level(s, &v->down[l], g, p, IN(x), e, plane, false);
    x = halve(&v->down[l], g, p, x, &plane);
  }
  for (int i = 0; i < 2; i++) {
    plane.channels = v->last[i].block[0].out;
    x = block(&v->last[i].block[0], s->groups, g, p, IN(x), e, plane);
    x = halve(&v->last[i], g, p, x, &plane);
  }
  return mlp(&v->head, g, p, IN(x, h));
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* PyTorch's first numbers: uniform, 1 / sqrt(inputs) */
static Layer new_layer(Params *p, const char *prefix, const char *name, int inputs, int outputs) {
  char full[64];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  return layer_new(p, full, inputs, outputs, 1 / sqrt(inputs), 1 / sqrt(inputs));
}
static void new_norm(Params *p, const char *prefix, const char *name, int channels, int *gain,
                     int *bias) {
  char full[64];
  snprintf(full, sizeof full, "%s%s/gain", prefix, name);
  params_start(p, *gain = params_slot(p, full, 1, 1, channels, 0), 1);
  snprintf(full, sizeof full, "%s%s/bias", prefix, name);
  *bias = params_slot(p, full, 1, 1, channels, 0);
}

static Residual new_block(Params *p, const char *prefix, int in, int out, int embedded) {
  Residual r = { .in = in, .out = out, .skip = { -1, -1 } };
  for (int i = 0; i < 2; i++) {
    r.conv[i] = new_layer(p, prefix, i ? "conv1" : "conv0", TAPS * (i ? out : in), out);
    new_norm(p, prefix, i ? "norm1" : "norm0", out, &r.gain[i], &r.bias[i]);
  }
  r.time = new_layer(p, prefix, "time", embedded, out);
  if (in != out) r.skip = new_layer(p, prefix, "skip", in, out);
  return r;
}

/* its name is e.g. "down0"; taps 0: no change of resolution */
static TemporalLevel new_level(const TemporalSpec *s, Params *p, const char *name, int in, int out,
                               int taps) {
  TemporalLevel l = { .resize = { -1, -1 } };
  int embedded = s->vector.hidden * (s->vector.cond ? 2 : 1);
  char prefix[32];
  for (int i = 0; i < 2; i++) {
    snprintf(prefix, sizeof prefix, "%s/%d/", name, i);
    l.block[i] = new_block(p, prefix, i ? out : in, out, embedded);
  }
  snprintf(prefix, sizeof prefix, "%s/", name);
  if (s->attention) {
    new_norm(p, prefix, "norm", out, &l.attention.gain, &l.attention.bias);
    char full[64];
    snprintf(full, sizeof full, "%sqkv", prefix);
    l.attention.qkv = layer_new(p, full, out, 3 * HEADS * HEAD, 1 / sqrt(out), -1);
    l.attention.out = new_layer(p, prefix, "out", HEADS * HEAD, out);
  }
  if (taps) l.resize = new_layer(p, prefix, "resize", taps * out, out);
  return l;
}

static void new_levels(TemporalDenoiser *m, Params *p) {
  const TemporalSpec *s = &m->spec;
  int deepest = s->levels - 1, last = channels_at(s, deepest);
  char name[16];
  for (int l = 0; l <= deepest; l++) {
    snprintf(name, sizeof name, "down%d", l);
    int in = l ? channels_at(s, l - 1) : s->width;
    m->down[l] = new_level(s, p, name, in, channels_at(s, l), l < deepest ? 3 : 0);
  }
  m->middle = new_level(s, p, "middle", last, last, 0);
  for (int l = deepest; l > 0; l--) {
    snprintf(name, sizeof name, "up%d", l);
    m->up[l] = new_level(s, p, name, 2 * channels_at(s, l), channels_at(s, l - 1), 4);
  }
}

Denoiser *temporal_new(Arena *arena, Params *p, const TemporalSpec *spec) {
  TemporalDenoiser *m = arena_alloc(arena, sizeof *m);
  const VectorSpec *vector = &spec->vector;
  const int H = vector->hidden, first = H * spec->mults[0];
  Error error;
  CHECK(temporal_fits(spec, &error), "%s", error.text);
  CHECK(vector->dim == spec->horizon * spec->width && !vector->learns_variance,
        "temporal U-Net: dim %d of %d x %d", vector->dim, spec->horizon, spec->width);
  m->base = vector_denoiser(vector), m->spec = *spec;
  m->base.net = net, m->base.embed = embed;
  m->features = time_features_new(p, vector->embedding, H);
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, H, WIDEN * H, 1, H, MAP_mish, MLP_PLAIN });
  if (vector->cond)
    m->cond =
        mlp_new(p, &(MlpSpec){ "cond", 1, vector->cond, WIDEN * H, 1, H, MAP_mish, MLP_PLAIN });
  new_levels(m, p);
  m->last = new_layer(p, "", "last", TAPS * first, first);
  new_norm(p, "", "norm", first, &m->gain, &m->bias);
  m->out = new_layer(p, "", "out", first, spec->width);
  return &m->base;
}

/* positions that the last convolution leaves */
static int rest_of(const TemporalSpec *s) {
  int width = s->horizon >> s->levels;
  for (int i = 0; i < 2; i++) width = (width + 1) / 2;
  return width;
}

Energy *temporal_value_new(Arena *arena, Params *p, const TemporalSpec *spec) {
  TemporalValue *v = arena_alloc(arena, sizeof *v);
  const VectorSpec *vector = &spec->vector;
  const int H = vector->hidden;
  Error error;
  CHECK(temporal_value_fits(spec, &error), "%s", error.text);
  CHECK(vector->dim == spec->horizon * spec->width && !vector->cond,
        "temporal value: dim %d of %d x %d, condition %d", vector->dim, spec->horizon, spec->width,
        vector->cond);
  CHECK(vector->time != TIME_LOG_SIGMA, "temporal value: an energy is given the time alone");
  const Denoiser told = { .schedule = vector->schedule, .time = vector->time };
  v->base.value = value, v->spec = *spec, v->unit = denoiser_time(&told, &(Level){ .time = 1 });
  v->features = time_features_new(p, vector->embedding, H);
  v->time = mlp_new(p, &(MlpSpec){ "time", 1, H, WIDEN * H, 1, H, MAP_mish, MLP_PLAIN });
  int channels = spec->width;
  for (int l = 0; l < spec->levels; l++) {
    char name[16];
    snprintf(name, sizeof name, "down%d", l);
    v->down[l] = new_level(spec, p, name, channels, channels_at(spec, l), 3);
    channels = channels_at(spec, l);
  }
  for (int i = 0, in = channels; i < 2; i++, in /= 2) {
    const char *name = i ? "last1/" : "last0/";
    v->last[i].block[0] = new_block(p, name, in, in / 2, H);
    v->last[i].resize = new_layer(p, name, "resize", 3 * (in / 2), in / 2);
    channels = in / 2;
  }
  int inputs = rest_of(spec) * channels;
  v->head = mlp_new(p, &(MlpSpec){ "value", 1, inputs + H, inputs / 2, 1, 1, MAP_mish, MLP_PLAIN });
  return &v->base;
}
