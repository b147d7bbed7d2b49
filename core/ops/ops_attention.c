/* ops_attention.c -- attention with several heads (Vaswani et al. 2017), a tile of queries at a
 * time: no other scores are ever in memory.
 *
 *   o_i = sum_j p_ij v_j,   p_ij = keep_j e^(s_ij - top_i) / sum,   s_ij = q_i . k_j / sqrt(d)
 *
 * Tiles are transposed: a row belongs to a key, a column to a query, so the softmax is element by
 * element over rows.  Backward computes the tile again from top_i and 1 / sum (as Dao et al. 2022):
 *
 *   dp_ij = do_i . v_j,   ds_ij = p_ij (dp_ij - sum_j p_ij dp_ij)
 *   dq_i = sum_j ds_ij k_j / sqrt(d),   dk_j = sum_i ds_ij q_i / sqrt(d)
 *   dv_j = sum_i p_ij do_i */
#include "core/ops/ops.h"
#include <math.h>
#include <string.h>

enum { QUERIES, KEYS, HEADS, ITSELF }; /* attr.i; ITSELF: in[0] is q, k, v of every position */
enum { TILE = 64, SCORES = 1 << 15 };  /* queries and numbers of a tile, at most */
enum { BLOCK = 64 };                   /* keys whose gradients are added at once */

/* Matrices of a sample; a row is a position.  Second output of attention: top and 1 / sum of every
 * head and query, then keep. */
typedef struct {
  const Kernels *kernels;
  int queries, keys, heads, d;
  const real *q, *k, *v; /* [queries, q_step], [keys, kv_step]; the channels of a head together */
  int q_step, kv_step;
} Attention;

static Attention attention_of(const Lane *lane, const Tensor *y, const Tensor *in_q,
                              const Tensor *in_kv, int b, int k) {
  const int *shape = y->attr.i;
  Attention a = { .queries = shape[QUERIES], .keys = shape[KEYS], .heads = shape[HEADS] };
  const real *q = operand_at(in_q, lane_at(lane, in_q), b, k, 0);
  int channels = in_q->n / a.queries;
  a.kernels = graph_kernels(lane->g);
  if (shape[ITSELF]) {
    channels /= 3;
    a.q = q, a.k = q + channels, a.v = q + 2 * channels, a.q_step = a.kv_step = 3 * channels;
  } else {
    const real *kv = operand_at(in_kv, lane_at(lane, in_kv), b, k, 0);
    a.q = q, a.k = kv, a.v = kv + channels, a.q_step = channels, a.kv_step = 2 * channels;
  }
  a.d = channels / a.heads;
  return a;
}

/* ---- matrices -------------------------------------------------------------------------------- */

/* queries of a tile: a multiple of 16 */
static int tile_queries(const Attention *a) {
  int most = SCORES / a->keys / 16 * 16;
  return most < TILE ? most : TILE;
}
/* those from `from` on, and the columns that they take */
static int tile_count(const Attention *a, int from) {
  int left = a->queries - from, most = tile_queries(a);
  return left < most ? left : most;
}

/* out[channel, column] = scale x[row, channel]; zero beyond `count` rows */
static void turn(const real *x, int step, int count, int d, int width, real scale, real *out) {
  for (int i = 0; i < count; i++)
    for (int c = 0; c < d; c++) out[c * width + i] = scale * x[(ptrdiff_t)i * step + c];
  for (int i = count; i < width; i++)
    for (int c = 0; c < d; c++) out[c * width + i] = 0;
}
/* and back: x[row, channel] = out[channel, column] times scale and, if there is one, by column */
static void turn_back(const real *out, int width, const real *by_column, real scale, int count,
                      int d, real *x, int step) {
  for (int i = 0; i < count; i++) {
    real factor = by_column ? scale * by_column[i] : scale;
    for (int c = 0; c < d; c++) x[(ptrdiff_t)i * step + c] = factor * out[c * width + i];
  }
}
/* rows with zeros up to a multiple of 16 channels */
static void pad_rows(const real *x, int step, int count, int d, real scale, real *out) {
  for (int i = 0; i < count; i++, x += step, out += padded(d)) {
    for (int c = 0; c < d; c++) out[c] = scale * x[c];
    clear_padding(out, d);
  }
}

/* out[key, column] = sum_c x[key, c] columns[c, column] */
static void by_key(const Attention *a, const real *x, const real *columns, int width, real *out) {
  a->kernels->gemm(&(Gemm){ .m = a->keys,
                            .n = width,
                            .k = a->d,
                            .a = x,
                            .ai = a->kv_step,
                            .ak = 1,
                            .b = columns,
                            .bk = width,
                            .bpanel = 32,
                            .c = out,
                            .ldc = width });
}
/* out[c, column] = sum_key x[key, c] tile[key, column] */
static void by_channel(const Attention *a, const real *x, const real *tile, int width, real *out) {
  a->kernels->gemm(&(Gemm){ .m = a->d,
                            .n = width,
                            .k = a->keys,
                            .a = x,
                            .ai = 1,
                            .ak = a->kv_step,
                            .b = tile,
                            .bk = width,
                            .bpanel = 32,
                            .c = out,
                            .ldc = width });
}
/* x[key, c] += sum_i tile[key, i] rows[i, c] */
static void add_by_key(const Attention *a, const real *tile, int width, const real *rows, int count,
                       real *x, int step) {
  real block[BLOCK * ATTENTION_MAX_HEAD];
  const int ld = padded(a->d);
  for (int from = 0; from < a->keys; from += BLOCK, x += (ptrdiff_t)BLOCK * step) {
    int keys = a->keys - from < BLOCK ? a->keys - from : BLOCK;
    pad_rows(x, step, keys, a->d, 1, block);
    a->kernels->gemm(&(Gemm){ .m = keys,
                              .n = ld,
                              .k = count,
                              .a = tile + (ptrdiff_t)from * width,
                              .ai = width,
                              .ak = 1,
                              .b = rows,
                              .bk = ld,
                              .bpanel = 32,
                              .init = block,
                              .init_row = ld,
                              .c = block,
                              .ldc = ld });
    for (int i = 0; i < keys; i++)
      memcpy(x + (ptrdiff_t)i * step, block + i * ld, (size_t)a->d * sizeof *x);
  }
}

/* ---- forward --------------------------------------------------------------------------------- */

/* kept (nullable): top and inverse [heads, queries] */
static void sample_run(const Attention *a, const real *keep, real *kept, real *out) {
  real tile[SCORES], turned[TILE * ATTENTION_MAX_HEAD], top[TILE], inverse[TILE];
  const real scale = (real)(1 / sqrt(a->d));
  const int step = a->heads * a->d;
  for (int h = 0; h < a->heads; h++)
    for (int from = 0; from < a->queries; from += tile_queries(a)) {
      int count = tile_count(a, from), width = padded(count);
      const real *q = a->q + (ptrdiff_t)from * a->q_step + h * a->d;
      turn(q, a->q_step, count, a->d, width, scale, turned);
      by_key(a, a->k + h * a->d, turned, width, tile);
      a->kernels->plane.softmax(tile, keep, a->keys, width, top, inverse);
      by_channel(a, a->v + h * a->d, tile, width, turned);
      turn_back(turned, width, inverse, 1, count, a->d, out + (ptrdiff_t)from * step + h * a->d,
                step);
      if (!kept) continue;
      memcpy(kept + h * a->queries + from, top, (size_t)count * sizeof *top);
      memcpy(kept + (a->heads + h) * a->queries + from, inverse, (size_t)count * sizeof *top);
    }
}

static void attention_run(const Lane *lane, const Tensor *y) {
  const Tensor *kept = y->aux && y->aux->live ? y->aux : NULL, *mask = y->in[2];
  real *out = lane_at(lane, y), *out_kept = kept ? lane_at(lane, kept) : NULL;
  real keep[ATTENTION_MAX_KEYS];
  for (int b = 0; b < lane_rows(lane, y); b++)
    for (int k = 0; k < y->k; k++, out += y->ld) {
      Attention a = attention_of(lane, y, y->in[0], y->in[1], b, k);
      for (int j = 0; j < a.keys; j++) keep[j] = 1;
      size_t size = (size_t)a.keys * sizeof *keep;
      if (mask) memcpy(keep, operand_at(mask, lane_at(lane, mask), b, k, 0), size);
      sample_run(&a, keep, out_kept, out);
      clear_padding(out, y->n);
      if (!kept) continue;
      memcpy(out_kept + 2 * a.heads * a.queries, keep, size);
      clear_padding(out_kept, kept->n);
      out_kept += kept->ld;
    }
}

/* ---- backward -------------------------------------------------------------------------------- */

typedef struct {
  real *q, *k, *v; /* as in Attention; k and v may be NULL */
} Slopes;

/* one head, queries from `from` on */
static void tile_back(const Attention *a, const real *kept, int h, int from, const real *dy,
                      const Slopes *to) {
  real p[SCORES], ds[SCORES];
  real turned[TILE * ATTENTION_MAX_HEAD], rows[TILE * ATTENTION_MAX_HEAD];
  real top[TILE] = { 0 }, inverse[TILE] = { 0 };
  const real scale = (real)(1 / sqrt(a->d)), *keep = kept + 2 * a->heads * a->queries;
  const int count = tile_count(a, from), width = padded(count), step = a->heads * a->d;
  const real *q = a->q + (ptrdiff_t)from * a->q_step + h * a->d;
  dy += (ptrdiff_t)from * step + h * a->d;
  memcpy(top, kept + h * a->queries + from, (size_t)count * sizeof *top);
  memcpy(inverse, kept + (a->heads + h) * a->queries + from, (size_t)count * sizeof *top);
  turn(q, a->q_step, count, a->d, width, scale, turned);
  by_key(a, a->k + h * a->d, turned, width, p);
  a->kernels->plane.softmax_again(p, keep, a->keys, width, top, inverse);
  turn(dy, step, count, a->d, width, 1, turned);
  by_key(a, a->v + h * a->d, turned, width, ds);
  a->kernels->plane.softmax_back(p, ds, a->keys, width);
  by_channel(a, a->k + h * a->d, ds, width, turned);
  turn_back(turned, width, NULL, scale, count, a->d, to->q + (ptrdiff_t)from * a->q_step + h * a->d,
            a->q_step);
  if (!to->k) return;
  pad_rows(q, a->q_step, count, a->d, scale, rows);
  add_by_key(a, ds, width, rows, count, to->k + h * a->d, a->kv_step);
  pad_rows(dy, step, count, a->d, 1, rows);
  add_by_key(a, p, width, rows, count, to->v + h * a->d, a->kv_step);
}

/* in: dy, q or qkv, kv or qkv, kept; the second output is dkv unless there is one output for all */
static void attention_back_run(const Lane *lane, const Tensor *dx) {
  const Tensor *dy = dx->in[0], *kept = dx->in[3];
  const Tensor *dkv = dx->aux && dx->aux->live ? dx->aux : NULL;
  real *out = lane_at(lane, dx), *out_kv = dkv ? lane_at(lane, dkv) : NULL;
  for (int b = 0; b < lane_rows(lane, dx); b++)
    for (int k = 0; k < dx->k; k++, out += dx->ld) {
      Attention a = attention_of(lane, dx, dx->in[1], dx->in[2], b, k);
      Slopes to = { out, out_kv, out_kv ? out_kv + (a.v - a.k) : NULL };
      if (dx->attr.i[ITSELF]) to.k = out + (a.k - a.q), to.v = out + (a.v - a.q);
      memset(out, 0, (size_t)padded(dx->n) * sizeof *out);
      if (dkv) memset(out_kv, 0, (size_t)padded(dkv->n) * sizeof *out);
      for (int h = 0; h < a.heads; h++)
        for (int from = 0; from < a.queries; from += tile_queries(&a))
          tile_back(&a, operand_at(kept, lane_at(lane, kept), b, k, 0), h, from,
                    operand_at(dy, lane_at(lane, dy), b, k, 0), &to);
      if (dkv) out_kv += dkv->ld;
    }
}
const Op op_attention_back = { .name = "attention_back", .run = attention_back_run };

static void attention_grad(Tensor *y, Tensor *dy) {
  Tensor *q = y->in[0], *kv = y->in[1];
  const int *shape = y->attr.i;
  Tensor *kept = record_aux(y, (Shape){ y->k, 1, 2 * shape[HEADS] * shape[QUERIES] + shape[KEYS] });
  Tensor *dq = record(y->g, &op_attention_back, (Shape){ y->k, 1, q->n },
                      &(Recipe){ .in = { dy, q, kv, kept }, .attr = y->attr });
  grad_add_sum(q, dq);
  if (kv != q && grad_wanted(kv)) grad_add_sum(kv, record_aux(dq, (Shape){ y->k, 1, kv->n }));
}
const Op op_attention = { .name = "attention", .run = attention_run, .grad = attention_grad };

/* ---- recording ------------------------------------------------------------------------------- */

bool attention_fits(int channels, int heads, int keys, Error *error) {
  if (heads < 1 || channels < 1 || channels % heads)
    error_set(error, FAIL_USAGE, "%d channels cannot be shared by %d heads of attention", channels,
              heads);
  else if (channels / heads > ATTENTION_MAX_HEAD)
    error_set(error, FAIL_USAGE, "a head of attention has %d channels; expected at most %d",
              channels / heads, ATTENTION_MAX_HEAD);
  else if (keys < 1 || keys > ATTENTION_MAX_KEYS)
    error_set(error, FAIL_USAGE, "attention to %d positions; expected 1 to %d", keys,
              ATTENTION_MAX_KEYS);
  else
    return true;
  return false;
}

static Tensor *attention(Tensor *q, Tensor *kv, Tensor *keep, int channels, int queries, int keys,
                         int heads, bool itself) {
  Error error;
  CHECK(attention_fits(channels, heads, keys, &error), "%s", error.text);
  CHECK(q->e == 1 && kv->e == 1 && (kv->k == 1 || kv->k == q->k), "t_attention: k or members");
  CHECK(!keep || (keep->e == 1 && keep->n == keys && (keep->k == 1 || keep->k == q->k)),
        "t_attention: a mask of %d for %d keys", keep ? keep->n : 0, keys);
  return record(q->g, &op_attention, (Shape){ q->k, 1, queries * channels },
                &(Recipe){ .in = { q, kv, keep }, .attr.i = { queries, keys, heads, itself } });
}

Tensor *t_attention(Tensor *qkv, int positions, int heads, Tensor *keep) {
  CHECK(positions > 0 && qkv->n % (3 * positions) == 0, "t_attention: %d numbers for %d positions",
        qkv->n, positions);
  return attention(qkv, qkv, keep, qkv->n / (3 * positions), positions, positions, heads, true);
}

Tensor *t_cross_attention(Tensor *q, int positions, Tensor *kv, int tokens, int heads,
                          Tensor *keep) {
  CHECK(positions > 0 && q->n % positions == 0, "t_cross_attention: %d numbers for %d positions",
        q->n, positions);
  int channels = q->n / positions;
  CHECK(kv->n == 2 * tokens * channels, "t_cross_attention: %d numbers for %d tokens of %d", kv->n,
        tokens, channels);
  return attention(q, kv, keep, channels, positions, tokens, heads, false);
}
