/* ops_random.c -- ops whose numbers are a function of (seed, name; step, row, draw). */
#include "core/ops/ops.h"
#include <math.h>

static Tensor *random_op(Graph *g, const Op *op, const char *name, int k, int n, int limit) {
  return record(g, op, (Shape){ k, 1, n },
                &(Recipe){ .attr = { .stream = name, .rng = graph_stream(g, name), .i = { limit } },
                           .rows = true });
}

/* the row counter of value k of batch row b */
static uint32_t counter(const Lane *lane, const Tensor *y, int b, int k) {
  return lane_row_id(lane, b) * (uint32_t)y->k + (uint32_t)k;
}

enum { ROWS = 64, NUMBERS = 4096 }; /* that are drawn together */

/* a row that is longer than that is drawn in the lane's work */
static size_t normal_work(const Tensor *y) { return y->n > NUMBERS ? (size_t)y->n : 0; }

static void normal_run(const Lane *lane, const Tensor *y) {
  const int rows = lane_rows(lane, y) * y->k, fit = y->n > NUMBERS ? 1 : NUMBERS / y->n;
  const int most = fit < ROWS ? fit : ROWS;
  real *out = lane_at(lane, y);
  float few[NUMBERS], *drawn = y->n > NUMBERS ? (float *)lane->work : few;
  for (int from = 0; from < rows; from += most) {
    uint32_t id[ROWS];
    float *at = drawn;
    const int count = rows - from < most ? rows - from : most;
    for (int i = 0; i < count; i++) id[i] = counter(lane, y, (from + i) / y->k, (from + i) % y->k);
    graph_kernels(lane->g)->normals(y->attr.rng, lane_step(lane), id, count, y->n, drawn);
    for (int i = 0; i < count; i++, at += y->n, out += y->ld) {
      for (int j = 0; j < y->n; j++) out[j] = (real)at[j];
      clear_padding(out, y->n);
    }
  }
}
const Op op_normal = { .name = "normal", .run = normal_run, .work = normal_work, .random = true };

Tensor *t_normal(Graph *g, const char *name, int k, int n) {
  return random_op(g, &op_normal, name, k, n, 0);
}

static void uniform_run(const Lane *lane, const Tensor *y) {
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++)
    for (int k = 0; k < y->k; k++, out += y->ld)
      for (int j = 0; j < padded(y->n); j++) {
        double u = j >= y->n ? 0
                             : rng_uniform(y->attr.rng, lane_step(lane), counter(lane, y, b, k),
                                           (uint32_t)j);
        out[j] = (real)fmin(u, 1 - 0x1p-24); /* the largest float below 1 */
      }
}
const Op op_uniform = { .name = "uniform", .run = uniform_run, .random = true };
Tensor *t_uniform(Graph *g, const char *name, int k, int n) {
  return random_op(g, &op_uniform, name, k, n, 0);
}

static void index_run(const Lane *lane, const Tensor *y) {
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++)
    for (int k = 0; k < y->k; k++, out += y->ld) {
      for (int j = 1; j < padded(1); j++) out[j] = 0;
      out[0] = (real)rng_below(y->attr.rng, lane_step(lane), counter(lane, y, b, k), 0,
                               (uint64_t)y->attr.i[0]);
    }
}
const Op op_index = { .name = "index", .run = index_run, .random = true };
Tensor *t_index(Graph *g, const char *name, int k, int count) {
  CHECK(count > 0 && count <= 1 << 24, "t_index: below %d", count);
  return random_op(g, &op_index, name, k, 1, count);
}

static void coin_run(const Lane *lane, const Tensor *y) {
  uint32_t bits[4];
  rng_bits(y->attr.rng, lane_step(lane), 0, 0, bits);
  *lane_at(lane, y) = (real)(bits[0] >> 31);
}
const Op op_coin = { .name = "coin", .run = coin_run, .random = true };
Tensor *t_coin(Graph *g, const char *name) {
  return record(g, &op_coin, (Shape){ 1, 1, 1 },
                &(Recipe){ .attr = { .stream = name, .rng = graph_stream(g, name) } });
}

/* ---- choosing among candidates --------------------------------------------------------------- */

/* index drawn from softmax(value / temperature), by inverting the cumulative weights at u */
static int choose(const real *value, int k, int ld, double temperature, double u) {
  int best = 0;
  for (int i = 1; i < k; i++) best = value[i * ld] > value[best * ld] ? i : best;
  if (temperature <= 0) return best;
  double total = 0, most = (double)value[best * ld], part = 0;
  for (int i = 0; i < k; i++) total += exp(((double)value[i * ld] - most) / temperature);
  for (int i = 0; i < k; i++)
    if ((part += exp(((double)value[i * ld] - most) / temperature)) > u * total) return i;
  return best;
}

static void pick_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0], *value = y->in[1];
  const real *from = lane_at(lane, x), *s = lane_at(lane, value);
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++, out += y->ld) {
    double u = rng_uniform(y->attr.rng, lane_step(lane), lane_row_id(lane, b), 0);
    int i = choose(s + b * row_size(value), value->k, value->ld, y->attr.c[0], u);
    for (int j = 0; j < padded(y->n); j++) out[j] = from[b * row_size(x) + i * x->ld + j];
  }
}
const Op op_pick = { .name = "pick", .run = pick_run, .random = true };

Tensor *t_pick(Tensor *x, Tensor *value, const char *name, double temperature) {
  CHECK(value->k == x->k && value->e == 1 && value->n == 1 && x->e == 1, "t_pick: shapes");
  return record(
      x->g, &op_pick, (Shape){ 1, 1, x->n },
      &(Recipe){
          .in = { x, value },
          .attr = { .stream = name, .rng = graph_stream(x->g, name), .c = { temperature } } });
}

/* The weights are e^((value - greatest) / temperature) by our own exponential, in working
 * precision, so that a policy printed as C has the same bits. */
static void average_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0], *value = y->in[1];
  const real *from = lane_at(lane, x), *s = lane_at(lane, value);
  real *out = lane_at(lane, y), weight[AVERAGE_MAX], scale = (real)(1 / y->attr.c[0]);
  for (int b = 0; b < lane_rows(lane, y);
       b++, out += y->ld, from += row_size(x), s += row_size(value)) {
    real most = s[0], total = 0;
    for (int i = 1; i < x->k; i++) most = s[i * value->ld] > most ? s[i * value->ld] : most;
    for (int i = 0; i < x->k; i++) weight[i] = (s[i * value->ld] - most) * scale;
    graph_kernels(lane->g)->map[MAP_exp](weight, weight, NULL, x->k);
    for (int i = 0; i < x->k; i++) total += weight[i];
    for (int j = 0; j < padded(y->n); j++) {
      real sum = 0;
      for (int i = 0; i < x->k; i++) sum += weight[i] * from[i * x->ld + j];
      out[j] = sum / total;
    }
  }
}
const Op op_average = { .name = "average", .run = average_run };

Tensor *t_average(Tensor *x, Tensor *value, double temperature) {
  CHECK(value->k == x->k && value->e == 1 && value->n == 1 && x->e == 1, "t_average: shapes");
  CHECK(x->k <= AVERAGE_MAX && temperature > 0, "t_average: %d values, temperature %g", x->k,
        temperature);
  return record(x->g, &op_average, (Shape){ 1, 1, x->n },
                &(Recipe){ .in = { x, value }, .attr.c = { temperature } });
}
