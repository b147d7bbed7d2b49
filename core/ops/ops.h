/* ops.h -- the operations of the tape.  Shapes are [k, e, n] per batch row; B is left out.
 *
 * Two-sided element-wise ops broadcast an axis of size 1, and ONCE or SUM operands over rows. */
#ifndef CORE_OPS_H
#define CORE_OPS_H
#include "core/tape/graph.h"
#include "core/tape/op.h"

/* ---- element by element ---------------------------------------------------------------------- */

/* mish, relu, tanh, silu, gelu, exp, square, abs, softplus, log; sqrt, sin, cos, and ndtr, the
 * normal distribution function (relative error 1e-6 in either tail) */
Tensor *t_map(Map map, Tensor *x);
Tensor *t_add(Tensor *a, Tensor *b);
Tensor *t_sub(Tensor *a, Tensor *b);
Tensor *t_mul(Tensor *a, Tensor *b);
Tensor *t_div(Tensor *a, Tensor *b);
Tensor *t_scale(double c, Tensor *x);                    /* c x */
Tensor *t_shift(Tensor *x, double c);                    /* x + c */
Tensor *t_mix(double a, Tensor *x, double b, Tensor *y); /* a x + b y */
/* a x + b y with once-scalars a, b, constant for gradients: coefficients of a sampler's stage */
Tensor *t_blend(Tensor *a, Tensor *x, Tensor *b, Tensor *y);
Tensor *t_clip(Tensor *x, double low, double high); /* slope 1 on [low, high], else 0 */
Tensor *t_detach(Tensor *x);                        /* x, constant for gradients */

/* ---- affine maps ----------------------------------------------------------------------------- */

/* sum_i x_i W_i + b for up to four inputs; W's slot [e, rows, n] has their widths one after the
 * other as rows.  b's slot is [e, 1, n].  Later inputs are multiplied first, so what a chain of
 * calls shares (the observation) belongs at the end. */
typedef struct {
  Tensor *x[4];
} Inputs;
#define IN(...) ((Inputs){ { __VA_ARGS__ } })
Tensor *t_affine(Graph *g, const Params *params, int weight, int bias, Inputs in);

/* base + x W with packed weights [k inputs, e, n]; base (nullable) [k or 1, e, n].  With
 * `members` 1 for an ensemble the members' products are added up (an input's gradient). */
Tensor *t_product(Tensor *x, Tensor *packed, Tensor *base, int members);

/* ---- convolutions ---------------------------------------------------------------------------- */

/* A picture is a tensor [k, 1, height * width * channels], channels last, without gaps between
 * positions; a trajectory is one of height 1. */
typedef struct {
  int height, width, channels;
} Plane;
static inline int plane_size(Plane p) { return p.height * p.width * p.channels; }

enum { CONV_SAME = -1 };
typedef struct {
  Plane in;        /* channels: of all inputs together */
  int kh, kw;      /* the kernel */
  int stride;      /* along both axes */
  int pad;         /* zeros on either side, less than the kernel; CONV_SAME: half of an odd kernel;
                     none along an axis where the kernel is 1 */
  bool transposed; /* the adjoint of a convolution from the output plane to the input plane */
} ConvSpec;

/* the plane of the output: (size + 2 pad - kernel) / stride + 1 along an axis, rounded down;
 * transposed (size - 1) stride - 2 pad + kernel */
Plane conv_plane(const ConvSpec *spec, int channels);

/* y(p, o) = b(o) + sum over taps t and channels c of x(stride p + t - pad, c) w(t, c, o), zero
 * outside the plane (a cross-correlation, as in PyTorch).  Several inputs stand side by side along
 * the channels without being copied.  w's slot is [1, kh kw channels, o], kh outermost; b's (-1:
 * none) [1, 1, o].  Inputs have rows, one k, e = 1. */
Tensor *t_conv(Graph *g, const Params *params, int filter, int bias, Inputs in,
               const ConvSpec *spec);

/* ---- between axes ---------------------------------------------------------------------------- */

Tensor *t_fold(Tensor *x);     /* [k, e, 1] -> [k, 1, e]: members become columns */
Tensor *t_min_last(Tensor *x); /* [k, e, n] -> [k, e, 1], gradient to the first least */
Tensor *t_max_last(Tensor *x); /* likewise, to the first greatest */
Tensor *t_sum_last(Tensor *x); /* [k, e, n] -> [k, e, 1] */
Tensor *t_sum_k(Tensor *x);    /* [k, e, n] -> [1, e, n] */
Tensor *t_max_k(Tensor *x);    /* [k, e, n] -> [1, e, n], constant for gradients */
Tensor *t_slice(Tensor *x, int from, int n); /* [k, e, *] -> [k, e, n] */
Tensor *t_col(Tensor *x, int j);             /* [k, e, n] -> [k, e, 1] */
Tensor *t_row(Tensor *table, int j);         /* ONCE [k, 1, n] -> ONCE [1, 1, n] */
Tensor *t_gather(Tensor *table, Tensor *j);  /* ONCE [k, 1, n] by ROW [m, 1, 1] -> ROW [m, 1, n] */
Tensor *t_pick(Tensor *x, Tensor *value, const char *name, double temperature);
/* [k, 1, n] by [k, 1, 1] -> [1, 1, n]: one k drawn from softmax(value / temperature); 0: arg-max.
 * `name` is the random stream.  Constant for gradients. */

/* [k, 1, n] by [k, 1, 1] -> [1, 1, n]: the mean of the k weighed by softmax(value / temperature).
 * Constant for gradients. */
enum { AVERAGE_MAX = 4096 };
Tensor *t_average(Tensor *x, Tensor *value, double temperature);

/* [k, e, n] -> [k, e, 1]: the quantile 0 <= q <= 1 of the last axis, linear between order
 * statistics (numpy's default).  Constant for gradients. */
enum { QUANTILE_MAX = 16384 };
Tensor *t_quantile(Tensor *x, double q);

/* ---- side by side ---------------------------------------------------------------------------- */

/* Both broadcast over rows (and members; t_concat over k too). */
Tensor *t_stack(Tensor *a, Tensor *b);      /* [ka, e, n], [kb, e, n] -> [ka + kb, e, n] */
Tensor *t_part(Tensor *x, int from, int k); /* [*, e, n] -> [k, e, n], from value `from` on */
Tensor *t_concat(Tensor *a, Tensor *b);     /* [k, e, na], [k, e, nb] -> [k, e, na + nb] */

/* ---- norms ----------------------------------------------------------------------------------- */

Tensor *t_log_softmax_k(Tensor *x);    /* [k, e, n]: over the k values */
Tensor *t_log_softmax_last(Tensor *x); /* over the last axis */
Tensor *t_softmax_last(Tensor *x);

/* gain (x - mean) / sqrt(variance + eps) + bias over the last axis, with the biased variance.
 * Slots of params [e or 1, 1, n]; -1: none (params may then be NULL).  No second derivative. */
Tensor *t_layernorm(Graph *g, const Params *params, int gain, int bias, Tensor *x, double eps);

/* ---- pictures and trajectories --------------------------------------------------------------- */

enum { PLANE_MAX_CHANNELS = 2048 };

/* A row [k or 1, 1, channels] at every position, and its transpose: x summed over positions,
 * [k, 1, n] -> [k, 1, channels]. */
Tensor *t_channel_add(Tensor *x, Tensor *row);
Tensor *t_channel_mul(Tensor *x, Tensor *row);
Tensor *t_channel_sum(Tensor *x, int channels);

/* t_concat and t_slice at every position: [k, 1, positions * na] and [.. nb] -> [.. (na + nb)],
 * and n channels from number `from` on. */
Tensor *t_channel_concat(Tensor *a, Tensor *b, int positions);
Tensor *t_channel_slice(Tensor *x, int positions, int from, int n);

/* Double resolution, each number repeated; half of it, the mean over blocks of 2 x 2 (trajectories:
 * of 2); the mean over all positions, [k, 1, channels].  `plane` is that of x. */
Plane plane_double(Plane plane);
Plane plane_half(Plane plane);
bool downsample_fits(Plane plane, Error *error); /* false: odd, or 2 high (1: a trajectory) */
Tensor *t_upsample(Tensor *x, Plane plane);
Tensor *t_downsample(Tensor *x, Plane plane);
Tensor *t_channel_mean(Tensor *x, int channels);

/* t_layernorm over the channels of every position; slots [1, 1, channels] */
Tensor *t_channel_norm(Graph *g, const Params *params, int gain, int bias, Tensor *x, int channels,
                       double eps);

/* map(standard(x + before) (1 + scale) + shift) + after, where standard(x) = gain (x - mean) /
 * sqrt(variance + eps) + bias, with mean and biased variance over all positions and the channels of
 * a group (Wu & He 2018).  gain, bias: slots of params [1, 1, channels]; -1: none.  All four rows
 * [k or 1, 1, channels] may be NULL; `before` and `after` exclude each other.  No second
 * derivative. */
enum { MAP_NONE = MAP_COUNT };
typedef struct {
  Plane plane;
  int groups;
  double eps;
  int map; /* a Map or MAP_NONE */
  Tensor *before, *scale, *shift, *after;
} GroupNorm;
Tensor *t_group_norm(Graph *g, const Params *params, int gain, int bias, Tensor *x,
                     const GroupNorm *norm);
bool group_norm_fits(int channels, int groups, Error *error); /* false: the groups do not divide */

/* Attention of positions to positions: qkv [k, 1, positions * 3 * channels] holds the query, key
 * and value of each, the channels of a head together -> [k, 1, positions * channels].  Scores are
 * divided by the root of a head's channels.  keep (nullable) [k or 1, 1, positions]: 0 for keys
 * that nobody may see, else 1; where none is left the result is 0.  No second derivative. */
enum { ATTENTION_MAX_KEYS = 2048, ATTENTION_MAX_HEAD = 256 };
Tensor *t_attention(Tensor *qkv, int positions, int heads, Tensor *keep);
/* The same of q [k, 1, positions * channels] to tokens: kv [k or 1, 1, tokens * 2 * channels]. */
Tensor *t_cross_attention(Tensor *q, int positions, Tensor *kv, int tokens, int heads,
                          Tensor *keep);
bool attention_fits(int channels, int heads, int keys, Error *error); /* false: no such heads */

/* Attention at a cost linear in the positions: the softmax is over positions, for each channel of
 * the keys alone (Shen et al. 2021; Diffuser's temporal U-Net).  qkv as for t_attention. */
Tensor *t_linear_attention(Tensor *qkv, int positions, int heads);
bool linear_attention_fits(int channels, int heads, int positions, Error *error);

/* ---- over rows ------------------------------------------------------------------------------- */

Tensor *t_mean(Tensor *x); /* ROW [k, e, n] -> SUM scalar: mean of all entries */
Tensor *t_spread(Tensor *scalar, const Tensor *like, double c); /* c * scalar in like's shape */
Tensor *t_sum_to(Tensor *x, const Tensor *like); /* add up the axes that `like` does not have */

/* ---- random numbers: (seed, name; step, row, draw) ------------------------------------------- */

Tensor *t_normal(Graph *g, const char *name, int k, int n);    /* ROW [k, 1, n], N(0, 1) */
Tensor *t_uniform(Graph *g, const char *name, int k, int n);   /* ROW, U[0, 1) */
Tensor *t_index(Graph *g, const char *name, int k, int count); /* ROW [k, 1, 1], 0 .. count - 1 */
Tensor *t_coin(Graph *g, const char *name);                    /* ONCE scalar, 0 or 1 each run */

/* ---- time ------------------------------------------------------------------------------------ */

/* The five embeddings in use, half = dim / 2, j = 0 .. half - 1:
 *   ddpm      [sin, cos](t 10^(-4 j / (half - 1)))   Diffuser, Diffusion-QL; diffusers' default
 *   openai    [cos, sin](t 10^(-4 j / half))         improved-diffusion, DiT; odd dim: a 0 at the
 *                                                    end; EDM's own default is the same
 *   edm       [cos, sin](t 10^(-4 j / (half - 1)))   EDM with endpoint (DDPM++ swaps the halves,
 *                                                    which is ddpm)
 *   gaussian  [sin, cos](2 pi t w_j)                 NCSN++: w fixed, N(0, 16^2)
 *   fourier   [cos, sin](2 pi t w_j)                 IDQL: w trained, N(0, 0.2^2) at first;
 *                                                    DIAMOND: w fixed, N(0, 1)
 * The first three are computed in double and constant for gradients.  The others are float maps
 * (|2 pi t w| <= 1e5) with gradients for w and t. */
typedef enum { TIME_DDPM, TIME_OPENAI, TIME_EDM, TIME_GAUSSIAN, TIME_FOURIER, TIME_COUNT } TimeKind;
enum { TIME_MAX_DIM = 1024 };

const char *time_name(TimeKind kind);
bool time_find(const char *name, TimeKind *kind, Error *error);
bool time_fits(TimeKind kind, int dim, Error *error); /* false: no such embedding has this size */

/* [k, e, 1] -> [k, e, dim].  w: ONCE [1, 1, half], a trained or untouched slot or a table; NULL for
 * the first three, and for gaussian it may be: then a table that is the same in every program. */
Tensor *t_time(TimeKind kind, Tensor *t, int dim, Tensor *w);
Tensor *t_timeembed(Tensor *t, int dim); /* t_time(TIME_DDPM, t, dim, NULL) */

/* ---- a function of the caller's -------------------------------------------------------------- */

/* count samples, k to a batch row: n numbers of sample i at x + i x_stride, its time at
 * time[i time_stride]; out_n numbers are to be written to out + i out_stride. */
typedef struct {
  int count, k, n, out_n;
  ptrdiff_t x_stride, time_stride, out_stride; /* in reals */
  const real *x, *time;
  real *out;
} CallSamples;

/* A sample's result must depend on the sample alone.  Several threads may call at once, each with
 * samples of its own, in any order and any number of times. */
typedef struct {
  void (*run)(void *user, const CallSamples *samples);
  void *user;
} Call;

/* x ROW [k, 1, n], time ROW or ONCE [k or 1, 1, 1] -> ROW [k, 1, n].  *call must live as long as
 * the tape.  Constant for gradients. */
Tensor *t_call(const Call *call, Tensor *x, Tensor *time, int n);

/* every op, for the tests that walk them */
const Op *const *op_list(size_t *count);
extern const Op op_input, op_given;

#endif
