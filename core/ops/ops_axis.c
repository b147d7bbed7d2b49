/* ops_axis.c -- ops that move or combine numbers between the axes of a row, and over rows. */
#include "core/ops/ops.h"
#include <math.h>
#include <string.h>

static Tensor *one_input(const Op *op, Tensor *x, Shape shape, int i) {
  return record(x->g, op, shape, &(Recipe){ .in = { x }, .attr.i = { i } });
}

/* ---- fold: members become columns ------------------------------------------------------------ */

static void fold_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k;
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, from += x->e * x->ld, out += y->ld) {
    for (int e = 0; e < x->e; e++) out[e] = from[e * x->ld];
    clear_padding(out, y->n);
  }
}
static void unfold_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k;
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, from += x->ld)
    for (int e = 0; e < y->e; e++, out += y->ld) {
      out[0] = from[e];
      clear_padding(out, 1);
    }
}
static void unfold_grad(Tensor *y, Tensor *dy) { grad_add(y->in[0], t_fold(dy)); }
const Op op_unfold = { .name = "unfold", .run = unfold_run, .grad = unfold_grad, .twice = true };
static void fold_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x, one_input(&op_unfold, dy, (Shape){ x->k, x->e, 1 }, 0));
}
const Op op_fold = { .name = "fold", .run = fold_run, .grad = fold_grad, .twice = true };

Tensor *t_fold(Tensor *x) {
  CHECK(x->n == 1, "t_fold: %d columns", x->n);
  return one_input(&op_fold, x, (Shape){ x->k, 1, x->e }, 0);
}

/* ---- least and sum of the last axis ---------------------------------------------------------- */

static void min_last_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  real *mask = y->aux && y->aux->live ? lane_at(lane, y->aux) : NULL;
  for (int i = 0; i < rows; i++, from += x->ld, out += y->ld) {
    int least = 0;
    for (int j = 1; j < x->n; j++) least = from[j] < from[least] ? j : least;
    out[0] = from[least];
    clear_padding(out, 1);
    if (mask)
      for (int j = 0; j < padded(x->n); j++) mask[(ptrdiff_t)i * x->ld + j] = j == least;
  }
}
static void min_last_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x, t_mul(record_aux(y, (Shape){ x->k, x->e, x->n }), dy));
}
const Op op_min_last = {
  .name = "min_last", .run = min_last_run, .grad = min_last_grad, .twice = true
};

Tensor *t_min_last(Tensor *x) { return one_input(&op_min_last, x, (Shape){ x->k, x->e, 1 }, 0); }

Tensor *t_max_last(Tensor *x) { return t_scale(-1, t_min_last(t_scale(-1, x))); }

Tensor *t_sum_last(Tensor *x) {
  if (x->n == 1) return x;
  Tensor like = { .kind = x->kind, .k = x->k, .e = x->e, .n = 1 };
  return t_sum_to(x, &like);
}
Tensor *t_sum_k(Tensor *x) {
  Tensor like = { .kind = x->kind, .k = 1, .e = x->e, .n = x->n };
  return t_sum_to(x, &like);
}

/* ---- quantile of the last axis --------------------------------------------------------------- */

/* Bring the k-th least of n numbers to place k, none greater before it, none less after it
 * (Hoare's FIND). */
static void select_least(real *a, int n, int k) {
  for (int low = 0, high = n - 1; low < high;) {
    real pivot = a[k];
    int i = low, j = high;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (pivot < a[j]) j--;
      if (i > j) break;
      real swap = a[i];
      a[i++] = a[j], a[j--] = swap;
    }
    if (j < k) low = i;
    if (k < i) high = j;
  }
}

static void quantile_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y), row[QUANTILE_MAX];
  double place = y->attr.c[0] * (x->n - 1);
  int below = (int)place;
  for (int i = 0; i < rows; i++, from += x->ld, out += y->ld) {
    memcpy(row, from, (size_t)x->n * sizeof *row);
    select_least(row, x->n, below);
    real next = below + 1 < x->n ? row[below + 1] : row[below];
    for (int j = below + 2; j < x->n; j++) next = row[j] < next ? row[j] : next;
    out[0] = row[below] + (real)(place - below) * (next - row[below]);
    clear_padding(out, 1);
  }
}
const Op op_quantile = { .name = "quantile", .run = quantile_run };

Tensor *t_quantile(Tensor *x, double q) {
  CHECK(q >= 0 && q <= 1, "t_quantile: q = %g is not in [0, 1]", q);
  CHECK(x->n <= QUANTILE_MAX, "t_quantile: %d numbers a row, at most %d", x->n, QUANTILE_MAX);
  return record(x->g, &op_quantile, (Shape){ x->k, x->e, 1 },
                &(Recipe){ .in = { x }, .attr.c = { q } });
}

/* ---- largest of k ---------------------------------------------------------------------------- */

static void max_k_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++)
    for (int e = 0; e < y->e; e++, out += y->ld)
      for (int j = 0; j < padded(y->n); j++) {
        const real *p = from + b * row_size(x) + e * x->ld + j;
        real most = p[0];
        for (int k = 1; k < x->k; k++) most = fmax(p[k * x->e * x->ld], most);
        out[j] = most;
      }
}
const Op op_max_k = { .name = "max_k", .run = max_k_run };
Tensor *t_max_k(Tensor *x) { return one_input(&op_max_k, x, (Shape){ 1, x->e, x->n }, 0); }

/* ---- columns --------------------------------------------------------------------------------- */

/* attr.i: FROM which number on, of each of RUNS equal parts of a row */
enum { FROM, RUNS };
extern const Op op_slice;

static void slice_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k * y->e, runs = y->attr.i[RUNS], n = y->n / runs;
  const real *from = lane_at(lane, x) + y->attr.i[FROM];
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, from += x->ld, out += y->ld) {
    for (int run = 0; run < runs; run++)
      memcpy(out + run * n, from + run * (x->n / runs), (size_t)n * sizeof *out);
    clear_padding(out, y->n);
  }
}
static void into_slice_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, y) * y->k * y->e, runs = y->attr.i[RUNS], n = x->n / runs;
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, from += x->ld, out += y->ld) {
    memset(out, 0, (size_t)padded(y->n) * sizeof *out);
    for (int run = 0; run < runs; run++)
      memcpy(out + run * (y->n / runs) + y->attr.i[FROM], from + run * n, (size_t)n * sizeof *out);
  }
}
static Tensor *slice(const Op *op, Tensor *x, int n, const Attr *attr) {
  return record(x->g, op, (Shape){ x->k, x->e, n }, &(Recipe){ .in = { x }, .attr = *attr });
}
static void into_slice_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], slice(&op_slice, dy, y->in[0]->n, &y->attr));
}
const Op op_into_slice = {
  .name = "into_slice", .run = into_slice_run, .grad = into_slice_grad, .twice = true
};
static void slice_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], slice(&op_into_slice, dy, y->in[0]->n, &y->attr));
}
const Op op_slice = { .name = "slice", .run = slice_run, .grad = slice_grad, .twice = true };

Tensor *t_channel_slice(Tensor *x, int positions, int from, int n) {
  int channels = positions > 0 ? x->n / positions : 0;
  CHECK(channels * positions == x->n && from >= 0 && n > 0 && from + n <= channels,
        "t_slice: columns %d to %d of %d", from, from + n, channels);
  return slice(&op_slice, x, positions * n, &(Attr){ .i = { from, positions } });
}
Tensor *t_slice(Tensor *x, int from, int n) { return t_channel_slice(x, 1, from, n); }
Tensor *t_col(Tensor *x, int j) { return t_slice(x, j, 1); }

/* ---- rows of a table ------------------------------------------------------------------------- */

static void row_run(const Lane *lane, const Tensor *y) {
  memcpy(lane_at(lane, y), lane_at(lane, y->in[0]) + y->attr.i[0] * y->ld,
         (size_t)y->ld * sizeof(real));
}
static void into_row_run(const Lane *lane, const Tensor *y) {
  real *out = lane_at(lane, y);
  memset(out, 0, (size_t)y->k * (size_t)y->ld * sizeof *out);
  memcpy(out + y->attr.i[0] * y->ld, lane_at(lane, y->in[0]), (size_t)padded(y->n) * sizeof *out);
}
const Op op_into_row = { .name = "into_row", .run = into_row_run };
static void row_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x, one_input(&op_into_row, dy, (Shape){ x->k, 1, x->n }, y->attr.i[0]));
}
const Op op_row = { .name = "row", .run = row_run, .grad = row_grad };

Tensor *t_row(Tensor *table, int j) {
  CHECK(table->kind == ONCE && table->e == 1 && j >= 0 && j < table->k, "t_row: row %d of %d", j,
        table->k);
  return one_input(&op_row, table, (Shape){ 1, 1, table->n }, j);
}

static void gather_run(const Lane *lane, const Tensor *y) {
  const Tensor *table = y->in[0], *index = y->in[1];
  int rows = lane_rows(lane, y) * y->k;
  const real *from = lane_at(lane, table), *j = lane_at(lane, index);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, j += index->ld, out += y->ld)
    memcpy(out, from + (int)*j * table->ld, (size_t)padded(y->n) * sizeof *out);
}
static void scatter_run(const Lane *lane, const Tensor *y) { /* the transpose of gather */
  const Tensor *dy = y->in[0], *index = y->in[1];
  int rows = lane_rows(lane, dy) * dy->k;
  const real *from = lane_at(lane, dy), *j = lane_at(lane, index);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, j += index->ld, from += dy->ld)
    for (int c = 0; c < y->n; c++) out[(int)*j * y->ld + c] += from[c];
}
const Op op_scatter = { .name = "scatter", .run = scatter_run, .adds = true };
static void gather_grad(Tensor *y, Tensor *dy) {
  Tensor *table = y->in[0];
  grad_add(table, record(y->g, &op_scatter, (Shape){ table->k, 1, table->n },
                         &(Recipe){ .in = { dy, y->in[1] } }));
}
const Op op_gather = { .name = "gather", .run = gather_run, .grad = gather_grad };

Tensor *t_gather(Tensor *table, Tensor *j) {
  CHECK(table->kind == ONCE && table->e == 1 && j->kind == ROW && j->n == 1, "t_gather: kinds");
  return record(table->g, &op_gather, (Shape){ j->k, 1, table->n },
                &(Recipe){ .in = { table, j } });
}

/* ---- over rows ------------------------------------------------------------------------------- */

/* 16 interleaved partial sums, added pairwise */
static real sum_row(const real *x, int n) {
  real part[16] = { 0 };
  for (int j = 0; j < n; j++) part[j % 16] += x[j];
  for (int width = 8; width; width /= 2)
    for (int j = 0; j < width; j++) part[j] += part[j + width];
  return part[0];
}

static void mean_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  int rows = lane_rows(lane, x) * x->k * x->e;
  const real *from = lane_at(lane, x);
  double sum = 0, count = (double)lane_total_rows(lane) * x->k * x->e * x->n;
  for (int i = 0; i < rows; i++, from += x->ld) sum += (double)sum_row(from, x->n);
  *lane_at(lane, y) += (real)(sum / count);
}
/* c * scalar everywhere; c counts per row, so the mean over rows divides here */
static void spread_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  real value = (real)y->attr.c[0] * *lane_at(lane, y->in[0]);
  if (y->attr.i[0]) value /= (real)lane_total_rows(lane);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, out += y->ld)
    for (int j = 0; j < padded(y->n); j++) out[j] = j < y->n ? value : 0;
}
static void spread_grad(Tensor *y, Tensor *dy);
const Op op_spread = { .name = "spread", .run = spread_run, .grad = spread_grad, .twice = true };

static Tensor *spread(Tensor *scalar, const Tensor *like, double c, int over_rows) {
  CHECK(scalar->kind != ROW && scalar->n == 1, "t_spread: not a scalar");
  return record(scalar->g, &op_spread, (Shape){ like->k, like->e, like->n },
                &(Recipe){ .in = { scalar },
                           .attr = { .c = { c }, .i = { over_rows } },
                           .rows = like->kind == ROW });
}
Tensor *t_spread(Tensor *scalar, const Tensor *like, double c) {
  return spread(scalar, like, c, 0);
}
static void spread_grad(Tensor *y, Tensor *dy) {
  Tensor *scalar = y->in[0];
  if (grad_wanted(scalar))
    grad_add(scalar, spread(t_sum_to(dy, scalar), scalar, y->attr.c[0], y->attr.i[0]));
}

static void mean_grad(Tensor *y, Tensor *dy) {
  const Tensor *x = y->in[0];
  grad_add(y->in[0], spread(dy, x, 1.0 / ((double)x->k * x->e * x->n), 1));
}
const Op op_mean = {
  .name = "mean", .run = mean_run, .grad = mean_grad, .adds = true, .twice = true
};

Tensor *t_mean(Tensor *x) {
  CHECK(x->kind == ROW, "t_mean: over rows");
  return one_input(&op_mean, x, (Shape){ 1, 1, 1 }, 0);
}

/* add up whatever axes the result does not have */
static void sum_to_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  if (!y->op->adds)
    memset(out, 0, (size_t)(lane_rows(lane, y) * y->k * y->e) * (size_t)y->ld * sizeof *out);
  for (int b = 0; b < lane_rows(lane, x); b++)
    for (int k = 0; k < x->k; k++)
      for (int e = 0; e < x->e; e++, from += x->ld) {
        real *to = out + (y->kind == ROW ? b * row_size(y) : 0);
        to += ((y->k > 1 ? k : 0) * y->e + (y->e > 1 ? e : 0)) * y->ld;
        if (y->n == 1)
          to[0] += sum_row(from, x->n);
        else
          graph_kernels(lane->g)->add(to, from, to, y->n);
      }
}
static void sum_to_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  Tensor *zero = t_spread(t_number(y->g, 0), x, 1);
  grad_add(x, t_add(zero, dy));
}
const Op op_sum_to = { .name = "sum_to", .run = sum_to_run, .grad = sum_to_grad, .twice = true };
const Op op_sum_rows = {
  .name = "sum_rows", .run = sum_to_run, .grad = sum_to_grad, .adds = true, .twice = true
};

Tensor *t_sum_to(Tensor *x, const Tensor *like) {
  if ((x->kind == ROW) == (like->kind == ROW) && x->k == like->k && x->e == like->e &&
      x->n == like->n)
    return x;
  CHECK(x->kind == ROW || like->kind != ROW, "t_sum_to: a sum has no rows");
  const Op *op = x->kind == ROW && like->kind != ROW ? &op_sum_rows : &op_sum_to;
  return one_input(op, x, (Shape){ like->k, like->e, like->n }, 0);
}
