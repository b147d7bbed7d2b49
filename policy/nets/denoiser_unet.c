/* denoiser_unet.c -- the U-Net for pictures (Ho et al. 2020, arXiv 2006.11239).
 *
 *   begin    convolution of 3
 *   way down levels of blocks, halved in between by convolutions of 3 with stride 2
 *   middle   block, block; attention behind the first alone
 *   way up   levels of blocks(x beside what the way down had here), doubled in between by repeating
 *            pixels and a convolution of 3
 *   end      convolution of 3 (silu(norm(x)))
 *
 *   block    h = conv3(silu(norm(x))) + dense(silu(e));  conv3(silu(norm(h))) + dense(x),
 *            [then attention: x + dense(attention(dense(norm(x)))), to positions, to tokens]
 *
 * e is the embedded time plus the embedded label.  Every result on the way down is seen again. */
#include "policy/nets/denoiser_unet.h"
#include "policy/nets/layer.h"
#include "policy/nets/mlp.h"
#include <math.h>
#include <stdio.h>

enum { WIDEN = 4, MAX_KEPT = UNET_MAX_LEVELS * (UNET_MAX_BLOCKS + 1) };

typedef struct {
  int gain, bias;
} Norm;

typedef struct {
  Norm norm, cross_norm;
  Layer qkv, out, q, kv, cross_out; /* q, kv, cross_out: to tokens */
} Attention;

typedef struct {
  Norm norm[2];
  Layer conv[2], time, skip; /* skip.w -1: as many channels come out as go in */
  Attention attention;
  int in, out;
  bool attends;
} Block;

typedef struct {
  Block block[UNET_MAX_BLOCKS + 1];
  Layer resize;
} UnetLevel;

typedef struct {
  Denoiser base; /* first: a UnetDenoiser is a Denoiser */
  UnetSpec spec;
  TimeFeatures features;
  Mlp time;
  Layer cond, begin, end;
  UnetLevel down[UNET_MAX_LEVELS], middle, up[UNET_MAX_LEVELS];
  Norm norm;
} UnetDenoiser;

/* ---- shapes ---------------------------------------------------------------------------------- */

static int channels_at(const UnetSpec *s, int level) { return s->vector.hidden * s->mults[level]; }
static Plane plane_at(const UnetSpec *s, int level) {
  return (Plane){ s->plane.height >> level, s->plane.width >> level, channels_at(s, level) };
}
static bool attends(const UnetSpec *s, int level) { return level >= s->levels - s->attention; }

/* a number out of its range */
static bool check_range(const char *what, int value, int low, int high, Error *error) {
  return (low <= value && value <= high) ||
         error_set(error, FAIL_USAGE, "a U-Net with %d %s; expected %d to %d", value, what, low,
                   high);
}

static bool check_plane(const UnetSpec *s, Error *error) {
  int least = 1 << (s->levels - 1);
  bool halves = s->plane.height > 0 && s->plane.width > 0 && s->plane.height % least == 0 &&
                s->plane.width % least == 0;
  return halves || error_set(error, FAIL_USAGE,
                             "a picture of %d x %d cannot be halved %d times; expected multiples "
                             "of %d",
                             s->plane.height, s->plane.width, s->levels - 1, least);
}

/* Groups that divide every level's channels divide what stands side by side on the way up, which is
 * never more than twice the most. */
static bool check_level(const UnetSpec *s, int level, Error *error) {
  Plane p = plane_at(s, level);
  return group_norm_fits(p.channels, s->groups, error) &&
         group_norm_fits(2 * p.channels, s->groups, error) &&
         (!attends(s, level) || attention_fits(p.channels, s->heads, p.height * p.width, error));
}

bool unet_fits(const UnetSpec *s, Error *error) {
  if (!check_range("levels", s->levels, 1, UNET_MAX_LEVELS, error) ||
      !check_range("blocks a level", s->blocks, 1, UNET_MAX_BLOCKS, error) ||
      !check_range("levels of attention", s->attention, 0, s->levels, error) ||
      !check_plane(s, error))
    return false;
  for (int l = 0; l < s->levels; l++)
    if (!check_level(s, l, error)) return false;
  if (!s->tokens) return true;
  if (s->tokens < 0 || !s->vector.cond || s->vector.cond % s->tokens || !s->attention)
    return error_set(error, FAIL_USAGE,
                     "a condition of %d numbers as %d tokens, %d levels of attention; expected "
                     "tokens of equal width, and a level that attends to them",
                     s->vector.cond, s->tokens, s->attention);
  return attention_fits(channels_at(s, s->levels - 1), s->heads, s->tokens, error);
}

/* ---- recording ------------------------------------------------------------------------------- */

/* what every part of one application of the network sees */
typedef struct {
  const UnetDenoiser *m;
  Graph *g;
  const Params *p;
  Tensor *e, *tokens; /* silu(e); tokens: NULL if there are none */
} Pass;

static Tensor *norm(const Pass *a, Norm n, Tensor *x, Plane plane, int map, Tensor *before) {
  GroupNorm how = { plane, a->m->spec.groups, 1e-5, map, .before = before };
  return t_group_norm(a->g, a->p, n.gain, n.bias, x, &how);
}
static Tensor *dense(const Pass *a, const Layer *layer, Tensor *x, Plane plane) {
  return layer_dense(layer, a->g, a->p, IN(x), plane);
}
static Tensor *conv(const Pass *a, const Layer *layer, Tensor *x, Plane plane, int stride) {
  ConvSpec how = { .in = plane, .kh = 3, .kw = 3, .stride = stride, .pad = 1 };
  return layer_conv(layer, a->g, a->p, IN(x), &how);
}

static Tensor *attend(const Pass *a, const Attention *t, Tensor *x, Plane plane) {
  const UnetSpec *s = &a->m->spec;
  int positions = plane.height * plane.width;
  Tensor *y = dense(a, &t->qkv, norm(a, t->norm, x, plane, MAP_NONE, NULL), plane);
  y = t_attention(y, positions, s->heads, NULL);
  x = t_add(x, dense(a, &t->out, y, plane));
  if (!a->tokens) return x;
  Plane tokens = { 1, s->tokens, s->vector.cond / s->tokens };
  Tensor *q = dense(a, &t->q, norm(a, t->cross_norm, x, plane, MAP_NONE, NULL), plane);
  Tensor *kv = dense(a, &t->kv, a->tokens, tokens);
  y = t_cross_attention(q, positions, kv, s->tokens, s->heads, NULL);
  return t_add(x, dense(a, &t->cross_out, y, plane));
}

/* plane: of the level */
static Tensor *record_block(const Pass *a, const Block *b, Tensor *x, Plane plane) {
  Plane in = plane, out = plane;
  in.channels = b->in, out.channels = b->out;
  Tensor *time = t_affine(a->g, a->p, b->time.w, b->time.b, IN(a->e));
  Tensor *h = conv(a, &b->conv[0], norm(a, b->norm[0], x, in, MAP_silu, NULL), in, 1);
  h = conv(a, &b->conv[1], norm(a, b->norm[1], h, out, MAP_silu, time), out, 1);
  h = t_add(h, b->skip.w < 0 ? x : dense(a, &b->skip, x, in));
  return b->attends ? attend(a, &b->attention, h, out) : h;
}

static Tensor *record_middle(const Pass *a, Tensor *x, Plane plane) {
  for (int i = 0; i < 2; i++) x = record_block(a, &a->m->middle.block[i], x, plane);
  return x;
}

/* kept: of the way down, the newest last */
static Tensor *way_up(const Pass *a, Tensor *x, Tensor **kept) {
  const UnetSpec *s = &a->m->spec;
  for (int l = s->levels - 1; l >= 0; l--) {
    Plane plane = plane_at(s, l);
    for (int i = 0; i <= s->blocks; i++) {
      x = t_channel_concat(x, *kept--, plane.height * plane.width);
      x = record_block(a, &a->m->up[l].block[i], x, plane);
    }
    if (!l) return x;
    x = conv(a, &a->m->up[l].resize, t_upsample(x, plane), plane_double(plane), 1);
  }
  return x;
}

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const UnetDenoiser *m = (const UnetDenoiser *)d;
  return mlp(&m->time, g, p, IN(time_features(&m->features, g, p, t)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const UnetDenoiser *m = (const UnetDenoiser *)d;
  const UnetSpec *s = &m->spec;
  bool label = cond && !s->tokens;
  if (label) h = t_add(h, t_affine(g, p, m->cond.w, m->cond.b, IN(cond)));
  Pass a = { m, g, p, t_map(MAP_silu, h), label ? NULL : cond };
  Tensor *kept[MAX_KEPT], **last = kept;
  *last = x = conv(&a, &m->begin, x, s->plane, 1);
  for (int l = 0; l < s->levels; l++) {
    Plane plane = plane_at(s, l);
    for (int i = 0; i < s->blocks; i++)
      *++last = x = record_block(&a, &m->down[l].block[i], x, plane);
    if (l + 1 < s->levels) *++last = x = conv(&a, &m->down[l].resize, x, plane, 2);
  }
  x = way_up(&a, record_middle(&a, x, plane_at(s, s->levels - 1)), last);
  Plane plane = plane_at(s, 0);
  return conv(&a, &m->end, norm(&a, m->norm, x, plane, MAP_silu, NULL), plane, 1);
}

/* ---- parameters ------------------------------------------------------------------------------ */

/* PyTorch's first numbers: uniform, 1 / sqrt(inputs); what ends a residual begins with zeros */
static Layer new_layer(Params *p, const char *prefix, const char *name, int inputs, int outputs,
                       bool zero) {
  char full[80];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  double bound = zero ? 0 : 1 / sqrt(inputs);
  return layer_new(p, full, inputs, outputs, bound, bound);
}
static Norm new_norm(Params *p, const char *prefix, const char *name, int channels) {
  char full[80];
  Norm n;
  snprintf(full, sizeof full, "%s%s/gain", prefix, name);
  params_start(p, n.gain = params_slot(p, full, 1, 1, channels, 0), 1);
  snprintf(full, sizeof full, "%s%s/bias", prefix, name);
  n.bias = params_slot(p, full, 1, 1, channels, 0);
  return n;
}

static Attention new_attention(const UnetSpec *s, Params *p, const char *prefix, int channels) {
  Attention a = { .norm = new_norm(p, prefix, "norm", channels),
                  .qkv = new_layer(p, prefix, "qkv", channels, 3 * channels, false),
                  .out = new_layer(p, prefix, "out", channels, channels, true) };
  if (!s->tokens) return a;
  a.cross_norm = new_norm(p, prefix, "cross_norm", channels);
  a.q = new_layer(p, prefix, "q", channels, channels, false);
  a.kv = new_layer(p, prefix, "kv", s->vector.cond / s->tokens, 2 * channels, false);
  a.cross_out = new_layer(p, prefix, "cross_out", channels, channels, true);
  return a;
}

/* its name is e.g. "down0/1" */
static Block new_block(const UnetSpec *s, Params *p, const char *name, int index, int in, int out,
                       bool attention) {
  enum { TAPS = 3 * 3 };
  char prefix[48];
  Block b = { .in = in, .out = out, .skip = { -1, -1 }, .attends = attention };
  snprintf(prefix, sizeof prefix, "%s/%d/", name, index);
  b.norm[0] = new_norm(p, prefix, "norm0", in);
  b.conv[0] = new_layer(p, prefix, "conv0", TAPS * in, out, false);
  b.time = new_layer(p, prefix, "time", WIDEN * s->vector.hidden, out, false);
  b.norm[1] = new_norm(p, prefix, "norm1", out);
  b.conv[1] = new_layer(p, prefix, "conv1", TAPS * out, out, true);
  if (in != out) b.skip = new_layer(p, prefix, "skip", in, out, false);
  snprintf(prefix, sizeof prefix, "%s/%d/attention/", name, index);
  if (attention) b.attention = new_attention(s, p, prefix, out);
  return b;
}

static Layer new_resize(Params *p, const char *name, int channels) {
  char prefix[48];
  snprintf(prefix, sizeof prefix, "%s/", name);
  return new_layer(p, prefix, "resize", 3 * 3 * channels, channels, false);
}

/* kept: channels of what each step on the way down leaves; returns how many */
static int new_way_down(UnetDenoiser *m, Params *p, int *kept) {
  const UnetSpec *s = &m->spec;
  int count = 0, x = kept[count++] = channels_at(s, 0);
  for (int l = 0; l < s->levels; l++) {
    char name[16];
    snprintf(name, sizeof name, "down%d", l);
    for (int i = 0; i < s->blocks; i++, x = kept[count++] = channels_at(s, l))
      m->down[l].block[i] = new_block(s, p, name, i, x, channels_at(s, l), attends(s, l));
    if (l + 1 == s->levels) break;
    m->down[l].resize = new_resize(p, name, x);
    kept[count++] = x;
  }
  return count;
}

static void new_way_up(UnetDenoiser *m, Params *p, const int *kept, int count) {
  const UnetSpec *s = &m->spec;
  int x = channels_at(s, s->levels - 1);
  for (int l = s->levels - 1; l >= 0; l--) {
    char name[16];
    snprintf(name, sizeof name, "up%d", l);
    for (int i = 0; i <= s->blocks; i++, x = channels_at(s, l))
      m->up[l].block[i] =
          new_block(s, p, name, i, x + kept[--count], channels_at(s, l), attends(s, l));
    if (l) m->up[l].resize = new_resize(p, name, x);
  }
}

Denoiser *unet_new(Arena *arena, Params *p, const UnetSpec *spec) {
  UnetDenoiser *m = arena_alloc(arena, sizeof *m);
  const VectorSpec *vector = &spec->vector;
  const int H = vector->hidden, first = channels_at(spec, 0), in = spec->plane.channels;
  Error error;
  CHECK(unet_fits(spec, &error), "%s", error.text);
  CHECK(vector->dim == plane_size(spec->plane) && !vector->learns_variance, "U-Net: dim %d",
        vector->dim);
  m->base = vector_denoiser(vector), m->spec = *spec;
  m->base.net = net, m->base.embed = embed;
  m->features = time_features_new(p, vector->embedding, H);
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, H, WIDEN * H, 1, WIDEN * H, MAP_silu, MLP_PLAIN });
  if (vector->cond && !spec->tokens)
    m->cond = new_layer(p, "", "cond", vector->cond, WIDEN * H, false);
  m->begin = new_layer(p, "", "begin", 3 * 3 * in, first, false);
  int kept[MAX_KEPT], count = new_way_down(m, p, kept);
  int deepest = channels_at(spec, spec->levels - 1);
  for (int i = 0; i < 2; i++)
    m->middle.block[i] = new_block(spec, p, "middle", i, deepest, deepest, !i && spec->attention);
  new_way_up(m, p, kept, count);
  m->norm = new_norm(p, "", "norm", first);
  m->end = new_layer(p, "", "end", 3 * 3 * first, in, true);
  return &m->base;
}
