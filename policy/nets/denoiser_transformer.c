/* denoiser_transformer.c -- DiT with adaLN-zero (Peebles & Xie 2023, arXiv 2212.09748).
 *
 *   c = mlp(features of t) + dense(cond)
 *   x --patches--> tokens [hidden] + fixed positions --> blocks --> norm, modulate --> patches
 *   block:  x += gate1 attention(modulate1(norm(x)))
 *           x += gate2 mlp(modulate2(norm(x))),  width 4 hidden
 *   modulate(x) = x (1 + scale) + shift;  shifts, scales and gates of a block are dense(silu(c))
 *
 * Differences from the published network.  The condition is a vector, a label of it one-hot, and no
 * condition is the zero vector.  The last layer is a transposed convolution, whose bias is the same
 * at every place of a patch.  GELU has its exact form.  Trajectories have one-dimensional positions
 * and patches. */
#include "policy/nets/denoiser_transformer.h"
#include "policy/nets/layer.h"
#include "policy/nets/mlp.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FEATURES = 256, WIDEN = 4, ROWS_OF_BLOCK = 6, ROWS_AT_END = 2 };

typedef struct {
  Layer ada, qkv, proj, up, down;
} Block;

typedef struct {
  Denoiser base; /* first: a TransformerDenoiser is a Denoiser */
  TransformerSpec spec;
  TimeFeatures features;
  Mlp time;
  Layer cond, patches, ada, out;
  Block block[TRANSFORMER_MAX_BLOCKS];
  double *positions; /* [tokens * hidden] */
} TransformerDenoiser;

/* ---- shapes ---------------------------------------------------------------------------------- */

/* patches side by side; transposed, from tokens back to the plane */
static ConvSpec patches_of(const TransformerSpec *s, bool transposed) {
  ConvSpec conv = { .in = s->plane, .kw = s->patch, .stride = s->patch, .transposed = transposed };
  conv.kh = s->plane.height > 1 ? s->patch : 1;
  if (transposed)
    conv.in = (Plane){ s->plane.height / conv.kh, s->plane.width / conv.kw, s->vector.hidden };
  return conv;
}
static Plane tokens_of(const TransformerSpec *s) { return patches_of(s, true).in; }
static int token_count(const TransformerSpec *s) {
  return tokens_of(s).height * tokens_of(s).width;
}

bool transformer_fits(const TransformerSpec *s, Error *error) {
  const Plane p = s->plane;
  if (s->patch < 1 || p.width % s->patch || (p.height > 1 && p.height % s->patch))
    error_set(error, FAIL_USAGE, "patches of %d do not cover %d x %d positions", s->patch, p.height,
              p.width);
  else if (s->vector.hidden % 4)
    error_set(error, FAIL_USAGE, "a transformer of width %d; expected a multiple of 4",
              s->vector.hidden);
  else if (s->vector.blocks < 1 || s->vector.blocks > TRANSFORMER_MAX_BLOCKS)
    error_set(error, FAIL_USAGE, "a transformer of %d blocks; expected 1 to %d", s->vector.blocks,
              TRANSFORMER_MAX_BLOCKS);
  else
    return attention_fits(s->vector.hidden, s->heads, token_count(s), error);
  return false;
}

/* ---- recording ------------------------------------------------------------------------------- */

/* row `i` of those that `ada` has side by side */
static Tensor *ada_row(const TransformerDenoiser *m, Tensor *ada, int i) {
  int hidden = m->spec.vector.hidden;
  return t_slice(ada, i * hidden, hidden);
}
/* norm(x) (1 + scale) + shift with rows first (shift) and first + 1 (scale) */
static Tensor *modulate(const TransformerDenoiser *m, Tensor *x, Tensor *ada, int first) {
  Tensor *y = t_channel_norm(x->g, NULL, -1, -1, x, m->spec.vector.hidden, 1e-6);
  y = t_channel_mul(y, t_shift(ada_row(m, ada, first + 1), 1));
  return t_channel_add(y, ada_row(m, ada, first));
}

static Tensor *record_block(const TransformerDenoiser *m, const Block *block, Graph *g,
                            const Params *p, Tensor *x, Tensor *c) {
  Plane tokens = tokens_of(&m->spec), wide = tokens;
  wide.channels = WIDEN * tokens.channels;
  Tensor *ada = t_affine(g, p, block->ada.w, block->ada.b, IN(c));
  Tensor *qkv = layer_dense(&block->qkv, g, p, IN(modulate(m, x, ada, 0)), tokens);
  Tensor *seen = t_attention(qkv, token_count(&m->spec), m->spec.heads, NULL);
  Tensor *y = layer_dense(&block->proj, g, p, IN(seen), tokens);
  x = t_add(x, t_channel_mul(y, ada_row(m, ada, 2)));
  y = t_map(MAP_gelu, layer_dense(&block->up, g, p, IN(modulate(m, x, ada, 3)), tokens));
  y = layer_dense(&block->down, g, p, IN(y), wide);
  return t_add(x, t_channel_mul(y, ada_row(m, ada, 5)));
}

static Tensor *embed(const Denoiser *d, Graph *g, const Params *p, Tensor *t) {
  const TransformerDenoiser *m = (const TransformerDenoiser *)d;
  return mlp(&m->time, g, p, IN(time_features(&m->features, g, p, t)));
}

static Tensor *net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                   Tensor *cond) {
  const TransformerDenoiser *m = (const TransformerDenoiser *)d;
  const TransformerSpec *s = &m->spec;
  ConvSpec cut = patches_of(s, false), paste = patches_of(s, true);
  if (cond) h = t_add(h, t_affine(g, p, m->cond.w, m->cond.b, IN(cond)));
  Tensor *c = t_map(MAP_silu, h);
  Tensor *y = layer_conv(&m->patches, g, p, IN(x), &cut);
  y = t_add(y, t_table(g, m->positions, 1, plane_size(tokens_of(s))));
  for (int i = 0; i < s->vector.blocks; i++) y = record_block(m, &m->block[i], g, p, y, c);
  y = modulate(m, y, t_affine(g, p, m->ada.w, m->ada.b, IN(c)), 0);
  y = layer_conv(&m->out, g, p, IN(y), &paste);
  if (!s->vector.learns_variance) return y;
  int in = s->plane.channels, positions = s->plane.height * s->plane.width;
  return t_concat(t_channel_slice(y, positions, 0, in), t_channel_slice(y, positions, in, in));
}

/* ---- parameters ------------------------------------------------------------------------------ */

static double xavier(int inputs, int outputs) { return sqrt(6.0 / (inputs + outputs)); }

static Block block_new(Params *p, int index, int H) {
  struct {
    const char *name;
    int inputs, outputs;
  } const shape[] = { { "ada", H, ROWS_OF_BLOCK * H },
                      { "qkv", H, 3 * H },
                      { "proj", H, H },
                      { "up", H, WIDEN * H },
                      { "down", WIDEN * H, H } };
  Layer layer[5];
  for (int i = 0; i < 5; i++) {
    char name[32];
    snprintf(name, sizeof name, "block%d/%s", index, shape[i].name);
    double bound = i ? xavier(shape[i].inputs, shape[i].outputs) : 0; /* ada starts at zero */
    layer[i] = layer_new(p, name, shape[i].inputs, shape[i].outputs, bound, 0);
  }
  return (Block){ layer[0], layer[1], layer[2], layer[3], layer[4] };
}

/* `dim` numbers that tell where u is: sines, then cosines, of u 10^(-4 j / (dim / 2)) */
static void position(double u, int dim, double *row) {
  for (int j = 0; j < dim / 2; j++) {
    double angle = u * pow(10, -4.0 * j / (dim / 2));
    row[j] = sin(angle), row[dim / 2 + j] = cos(angle);
  }
}
/* pictures: the column in the first half, the row in the second */
static double *positions_new(Arena *arena, Plane tokens) {
  double *rows = arena_array(arena, double, plane_size(tokens));
  int dim = tokens.height > 1 ? tokens.channels / 2 : tokens.channels;
  for (int i = 0; i < tokens.height * tokens.width; i++) {
    double *row = rows + i * tokens.channels;
    position(i % tokens.width, dim, row);
    if (tokens.height > 1) position(i / tokens.width, dim, row + dim);
  }
  return rows;
}

Denoiser *transformer_new(Arena *arena, Params *p, const TransformerSpec *spec) {
  TransformerDenoiser *m = arena_alloc(arena, sizeof *m);
  const VectorSpec *vector = &spec->vector;
  const int H = vector->hidden, in = spec->plane.channels;
  Error error;
  CHECK(transformer_fits(spec, &error), "%s", error.text);
  CHECK(vector->dim == plane_size(spec->plane), "transformer: dim %d", vector->dim);
  m->base = vector_denoiser(vector), m->spec = *spec;
  m->base.net = net, m->base.embed = embed;
  m->features = time_features_new(p, vector->embedding, FEATURES);
  m->time = mlp_new(p, &(MlpSpec){ "time", 1, FEATURES, H, 1, H, MAP_silu, MLP_PLAIN });
  if (vector->cond) m->cond = layer_new(p, "cond", vector->cond, H, xavier(vector->cond, H), 0);
  ConvSpec cut = patches_of(spec, false);
  int taps = cut.kh * cut.kw;
  m->patches = layer_new(p, "patches", taps * in, H, xavier(taps * in, H), 0);
  for (int i = 0; i < vector->blocks; i++) m->block[i] = block_new(p, i, H);
  m->ada = layer_new(p, "ada", H, ROWS_AT_END * H, 0, 0);
  m->out = layer_new(p, "out", taps * H, (vector->learns_variance ? 2 : 1) * in, 0, 0);
  m->positions = positions_new(arena, tokens_of(spec));
  return &m->base;
}
