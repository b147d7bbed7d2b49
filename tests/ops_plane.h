/* ops_plane.h -- examples for test_ops.c: ops on pictures and trajectories. */
#ifndef TESTS_OPS_PLANE_H
#define TESTS_OPS_PLANE_H
#include "tests/ops_bench.h"

/* ROW [k, 1, n] of any n: two directions of random numbers, a parameter for each */
static Tensor *spread_leaf(Bench *b, int k, int n) {
  Tensor *x = t_mul(noise(b, k, n), slot(b, LEAF_1, 0));
  x = t_add(x, t_mul(noise(b, k, n), slot(b, LEAF_1, 1)));
  return b->lever ? t_mul(x, b->lever) : x;
}

/* as many channels as the bench has columns */
static Plane plane_of(const Bench *b) { return (Plane){ 2, 3, b->size.n }; }
static Tensor *plane_leaf(Bench *b) { return spread_leaf(b, b->size.k, plane_size(plane_of(b))); }
static Tensor *row_leaf(Bench *b, int side, int k) { return leaf(b, side, k, 1, b->size.n); }

static Tensor *build_channel_pairs(Bench *b) {
  Tensor *y = t_channel_mul(plane_leaf(b), row_leaf(b, 0, b->size.k));
  y = t_mul(y, t_channel_mul(plane_leaf(b), slot(b, LEAF_N, 1)));
  y = t_channel_add(y, row_leaf(b, 1, 1));
  return t_channel_add(y, slot(b, LEAF_N, 0));
}
static Tensor *build_channel_sum(Bench *b) {
  Tensor *sum = t_channel_sum(plane_leaf(b), b->size.n);
  return t_channel_add(t_map(MAP_square, plane_leaf(b)), t_map(MAP_tanh, sum));
}

/* channels of two tensors side by side, some of them taken out again */
static Tensor *build_channel_concat(Bench *b) {
  int n = b->size.n, k = b->size.k;
  Tensor *y = t_channel_concat(spread_leaf(b, k, 6 * n), spread_leaf(b, 1, 12), 6);
  return t_mul(t_channel_slice(y, 6, 1, n), t_channel_slice(y, 6, 2, n));
}

static Tensor *build_resized(Bench *b) {
  int n = b->size.n, k = b->size.k;
  Plane picture = { 6, 4, n }, path = { 1, 6, n };
  Tensor *x = spread_leaf(b, k, plane_size(picture)), *t = spread_leaf(b, k, plane_size(path));
  x = t_mul(x, t_upsample(t_map(MAP_tanh, t_downsample(x, picture)), plane_half(picture)));
  t = t_mul(t, t_upsample(t_map(MAP_tanh, t_downsample(t, path)), plane_half(path)));
  return t_channel_mul(t_concat(x, t), t_add(t_channel_mean(x, n), t_channel_mean(t, n)));
}

static Tensor *build_channel_norm(Bench *b) {
  Tensor *x = spread_leaf(b, b->size.k, 6 * b->size.n);
  return t_channel_norm(b->g, b->params, LEAF_N, LEAF_N + 1, x, b->size.n, 0.1);
}

/* 3 n channels in groups of n or 3: every place where something may enter */
static Tensor *build_group_norm(Bench *b) {
  int n = b->size.n, k = b->size.k, channels = 3 * n;
  Tensor *row = spread_leaf(b, 1, channels), *rows = spread_leaf(b, k, channels);
  GroupNorm norm = { { 5, 1, channels }, 3, 0.3, MAP_silu, .before = row };
  Tensor *y = t_group_norm(b->g, NULL, -1, -1, spread_leaf(b, k, 5 * channels), &norm);
  norm = (GroupNorm){ { 1, 5, channels }, n, 0.3, MAP_NONE, .before = rows, .scale = row,
                      .shift = rows };
  y = t_group_norm(b->g, NULL, -1, -1, y, &norm);
  norm = (GroupNorm){ { 5, 3, n }, 1, 0.3, MAP_mish, .after = leaf(b, 1, k, 1, n) };
  y = t_group_norm(b->g, b->params, LEAF_N, LEAF_N + 1, y, &norm);
  norm = (GroupNorm){ .plane = { 15, 1, n }, .groups = n, .eps = 0.3, .map = MAP_tanh };
  return t_mul(y, t_group_norm(b->g, b->params, -1, LEAF_N, spread_leaf(b, k, 15 * n), &norm));
}

/* ---- attention ------------------------------------------------------------------------------- */

/* two heads of n channels; of 70 queries, more than a tile has, or few.  Then to tokens, some of
 * them away, of which there is one set for all k. */
static Tensor *build_attention(Bench *b) {
  int n = b->size.n, k = b->size.k, queries = n == 16 ? 70 : 5, tokens = 18;
  double keep[18];
  for (int j = 0; j < tokens; j++) keep[j] = j % 3 != 1;
  Tensor *qkv = spread_leaf(b, k, queries * 6 * n), *kv = spread_leaf(b, 1, tokens * 4 * n);
  Tensor *y = t_attention(qkv, queries, 2, NULL);
  return t_cross_attention(y, queries, kv, tokens, 2, t_table(b->g, keep, 1, tokens));
}

static Tensor *build_linear_attention(Bench *b) {
  return t_linear_attention(spread_leaf(b, b->size.k, 7 * 6 * b->size.n), 7, 2);
}

#endif
