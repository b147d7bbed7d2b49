/* ops_element.c -- inputs, and ops that work element by element. */
#include "core/ops/ops.h"
#include <string.h>

/* ---- inputs: no work at run time ------------------------------------------------------------- */

static void take_name(Graph *g, const char *name) { (void)graph_stream(g, name); }

static void param_grad(Tensor *y, Tensor *dy);

const Op op_input = { .name = "input", .random = true };
const Op op_table = { .name = "table", .random = true };
const Op op_given = { .name = "given", .random = true };
const Op op_param = { .name = "param", .grad = param_grad };

static Tensor *fixed_table(Graph *g, const Op *op, int k, int n) {
  Tensor *t = record(g, op, (Shape){ k, 1, n }, &(Recipe){ .rows = false });
  t->place = PLACE_FIXED;
  t->data = arena_array(graph_arena(g), real, (size_t)k * (size_t)t->ld);
  return t;
}

Tensor *t_input(Graph *g, const char *name, int k, int n) {
  take_name(g, name);
  Tensor *t = record(g, &op_input, (Shape){ k, 1, n }, &(Recipe){ .rows = true });
  t->place = PLACE_BOUND, t->name = name;
  return t;
}

Tensor *t_table(Graph *g, const double *values, int k, int n) {
  Tensor *t = fixed_table(g, &op_table, k, n);
  t->reads = 0;
  for (int i = 0; i < k; i++)
    for (int j = 0; j < n; j++) t->data[i * t->ld + j] = (real)values[i * n + j];
  return t;
}

Tensor *t_given(Graph *g, const char *name, int k, int n) {
  take_name(g, name);
  Tensor *t = fixed_table(g, &op_given, k, n);
  t->name = name;
  return t;
}

Tensor *t_param(Graph *g, const Params *params, int slot) {
  const Slot *s = &params->layout->slot[slot];
  CHECK(s->rows == 1, "t_param: %s is a matrix", s->name);
  Tensor *t = record_params(g, &op_param, (Shape){ 1, s->e, s->n }, params, slot, NULL);
  t->place = PLACE_FIXED;
  t->data = params_at(params, slot);
  return t;
}

/* a number is shared when equal, so it is an op with its value as attribute */
static void number_run(const Lane *lane, const Tensor *y) {
  *lane_at(lane, y) = (real)y->attr.c[0];
}
const Op op_number = { .name = "number", .run = number_run };

Tensor *t_number(Graph *g, double value) {
  return record(g, &op_number, (Shape){ 1, 1, 1 }, &(Recipe){ .attr.c = { value } });
}

/* a gradient that arrives at a parameter goes to its slot */
static void slot_add_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  real *out = lane_at(lane, y), *from = lane_at(lane, x);
  for (int i = 0; i < x->k * x->e; i++)
    for (int j = 0; j < x->n; j++) out[i * x->ld + j] += from[i * x->ld + j];
}
const Op op_slot_add = { .name = "slot_add", .run = slot_add_run, .adds = true, .into_slot = true };

static void param_grad(Tensor *y, Tensor *dy) {
  CHECK(dy->kind != ROW, "gradient of a parameter has rows");
  record(y->g, &op_slot_add, (Shape){ y->k, y->e, y->n },
         &(Recipe){ .in = { dy }, .attr.i = { y->attr.i[0] } });
}

/* ---- two operands ---------------------------------------------------------------------------- */

typedef void RowOp(const Tensor *y, const real *a, const real *b, bool a1, bool b1, real *out);

/* call `op` for every row of y; a1, b1: the operand is one number */
static void each_pair(const Lane *lane, const Tensor *y, const Tensor *a, const Tensor *b,
                      RowOp *op) {
  const real *pa = lane_at(lane, a), *pb = lane_at(lane, b);
  real *out = lane_at(lane, y);
  bool a1 = a->n == 1 && y->n > 1, b1 = b->n == 1 && y->n > 1;
  for (int r = 0; r < lane_rows(lane, y); r++)
    for (int k = 0; k < y->k; k++)
      for (int e = 0; e < y->e; e++, out += y->ld)
        op(y, operand_at(a, pa, r, k, e), operand_at(b, pb, r, k, e), a1, b1, out);
}

#define PAIR_ROW(name, expression)                                                                 \
  static void name##_row(const Tensor *y, const real *a, const real *b, bool a1, bool b1,          \
                         real *out) {                                                              \
    real c0 = (real)y->attr.c[0], c1 = (real)y->attr.c[1];                                         \
    (void)c0, (void)c1;                                                                            \
    for (int j = 0; j < y->n; j++) {                                                               \
      real u = a[a1 ? 0 : j], v = b[b1 ? 0 : j];                                                   \
      out[j] = expression;                                                                         \
    }                                                                                              \
    for (int j = y->n; j < padded(y->n); j++) out[j] = 0;                                          \
  }
#define PAIR_OP(name, expression)                                                                  \
  PAIR_ROW(name, expression)                                                                       \
  static void name##_run(const Lane *lane, const Tensor *y) {                                      \
    each_pair(lane, y, y->in[0], y->in[1], name##_row);                                            \
  }

PAIR_OP(sub, u - v)
PAIR_OP(div, u / v)
PAIR_OP(mix, c0 *u + c1 * v)
PAIR_ROW(add, u + v)
PAIR_ROW(mul, u *v)

/* the two that take time: rows of equal shape go through the kernels */
static void fast_pair(const Lane *lane, const Tensor *y,
                      void (*kernel)(const real *, const real *, real *, int), RowOp *slow) {
  const Tensor *a = y->in[0], *b = y->in[1];
  bool equal = a->kind == b->kind && a->k == b->k && a->e == b->e && a->n == b->n;
  if (!equal || a->kind != y->kind) {
    each_pair(lane, y, a, b, slow);
    return;
  }
  const real *pa = lane_at(lane, a), *pb = lane_at(lane, b);
  real *out = lane_at(lane, y);
  int rows = lane_rows(lane, y) * y->k * y->e;
  for (int i = 0; i < rows; i++) {
    ptrdiff_t at = (ptrdiff_t)i * y->ld;
    kernel(pa + at, pb + at, out + at, padded(y->n));
  }
}
static void add_run(const Lane *lane, const Tensor *y) {
  fast_pair(lane, y, graph_kernels(lane->g)->add, add_row);
}
static void mul_run(const Lane *lane, const Tensor *y) {
  fast_pair(lane, y, graph_kernels(lane->g)->mul, mul_row);
}

static void add_grad(Tensor *y, Tensor *dy) {
  grad_add_sum(y->in[0], dy), grad_add_sum(y->in[1], dy);
}
static void sub_grad(Tensor *y, Tensor *dy) {
  grad_add_sum(y->in[0], dy);
  if (grad_wanted(y->in[1])) grad_add_sum(y->in[1], t_scale(-1, dy));
}
static void mul_grad(Tensor *y, Tensor *dy) {
  if (grad_wanted(y->in[0])) grad_add_sum(y->in[0], t_mul(dy, y->in[1]));
  if (grad_wanted(y->in[1])) grad_add_sum(y->in[1], t_mul(dy, y->in[0]));
}
static void div_grad(Tensor *y, Tensor *dy) { /* d(a/b) = da/b - (a/b) db/b */
  if (grad_wanted(y->in[0])) grad_add_sum(y->in[0], t_div(dy, y->in[1]));
  if (grad_wanted(y->in[1])) grad_add_sum(y->in[1], t_scale(-1, t_div(t_mul(dy, y), y->in[1])));
}
static void mix_grad(Tensor *y, Tensor *dy) {
  if (grad_wanted(y->in[0])) grad_add_sum(y->in[0], t_scale(y->attr.c[0], dy));
  if (grad_wanted(y->in[1])) grad_add_sum(y->in[1], t_scale(y->attr.c[1], dy));
}

const Op op_add = {
  .name = "add", .run = add_run, .grad = add_grad, .in_place = true, .twice = true
};
const Op op_sub = {
  .name = "sub", .run = sub_run, .grad = sub_grad, .in_place = true, .twice = true
};
const Op op_mul = {
  .name = "mul", .run = mul_run, .grad = mul_grad, .in_place = true, .twice = true
};
const Op op_div = {
  .name = "div", .run = div_run, .grad = div_grad, .in_place = true, .twice = true
};
const Op op_mix = {
  .name = "mix", .run = mix_run, .grad = mix_grad, .in_place = true, .twice = true
};

static Tensor *pair(const Op *op, Tensor *a, Tensor *b, double c0, double c1) {
  Shape shape = { broadcast(op->name, a->k, b->k), broadcast(op->name, a->e, b->e),
                  broadcast(op->name, a->n, b->n) };
  return record(a->g, op, shape, &(Recipe){ .in = { a, b }, .attr.c = { c0, c1 } });
}
Tensor *t_add(Tensor *a, Tensor *b) { return pair(&op_add, a, b, 0, 0); }
Tensor *t_sub(Tensor *a, Tensor *b) { return pair(&op_sub, a, b, 0, 0); }
Tensor *t_mul(Tensor *a, Tensor *b) { return pair(&op_mul, a, b, 0, 0); }
Tensor *t_div(Tensor *a, Tensor *b) { return pair(&op_div, a, b, 0, 0); }
Tensor *t_mix(double a, Tensor *x, double b, Tensor *y) { return pair(&op_mix, x, y, a, b); }
Tensor *t_shift(Tensor *x, double c) { return t_mix(1, x, 1, t_number(x->g, c)); }

/* ---- one operand and numbers ----------------------------------------------------------------- */

static void scale_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  const real *x = lane_at(lane, y->in[0]);
  real *out = lane_at(lane, y), c = (real)y->attr.c[0];
  for (int i = 0; i < rows; i++, x += y->ld, out += y->ld)
    for (int j = 0; j < padded(y->n); j++) out[j] = c * x[j];
}
static void scale_grad(Tensor *y, Tensor *dy) { grad_add(y->in[0], t_scale(y->attr.c[0], dy)); }
const Op op_scale = {
  .name = "scale", .run = scale_run, .grad = scale_grad, .in_place = true, .twice = true
};

Tensor *t_scale(double c, Tensor *x) {
  return record(x->g, &op_scale, (Shape){ x->k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr.c = { c } });
}

static void detach_run(const Lane *lane, const Tensor *y) {
  size_t rows = (size_t)(lane_rows(lane, y) * y->k * y->e);
  memcpy(lane_at(lane, y), lane_at(lane, y->in[0]), rows * (size_t)y->ld * sizeof(real));
}
const Op op_detach = { .name = "detach", .run = detach_run, .in_place = true };

Tensor *t_detach(Tensor *x) {
  return record(x->g, &op_detach, (Shape){ x->k, x->e, x->n }, &(Recipe){ .in = { x } });
}

/* a x + b y; a and b are once-scalars read at run time */
static void blend_run(const Lane *lane, const Tensor *y) {
  int rows = lane_rows(lane, y) * y->k * y->e;
  real a = *lane_at(lane, y->in[1]), b = *lane_at(lane, y->in[3]);
  const real *u = lane_at(lane, y->in[0]), *v = lane_at(lane, y->in[2]);
  real *out = lane_at(lane, y);
  for (int i = 0; i < rows; i++, u += y->ld, v += y->ld, out += y->ld)
    for (int j = 0; j < padded(y->n); j++) out[j] = a * u[j] + b * v[j];
}
static void blend_grad(Tensor *y, Tensor *dy) {
  if (grad_wanted(y->in[0])) grad_add(y->in[0], t_mul(dy, y->in[1]));
  if (grad_wanted(y->in[2])) grad_add(y->in[2], t_mul(dy, y->in[3]));
}
const Op op_blend = {
  .name = "blend", .run = blend_run, .grad = blend_grad, .in_place = true, .twice = true
};

Tensor *t_blend(Tensor *a, Tensor *x, Tensor *b, Tensor *y) {
  CHECK(x->kind == y->kind && x->k == y->k && x->e == y->e && x->n == y->n, "t_blend: shapes");
  CHECK(a->n == 1 && b->n == 1 && a->kind == ONCE && b->kind == ONCE, "t_blend: coefficients");
  return record(x->g, &op_blend, (Shape){ x->k, x->e, x->n }, &(Recipe){ .in = { x, a, y, b } });
}
