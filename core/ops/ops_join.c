/* ops_join.c -- putting tensors beside each other, along k or along the last axis, and taking
 * them apart again. */
#include "core/ops/ops.h"
#include <string.h>

static void copy_row(real *out, const real *from, int n) {
  memcpy(out, from, (size_t)padded(n) * sizeof *out);
}

/* ---- along k --------------------------------------------------------------------------------- */

static void stack_run(const Lane *lane, const Tensor *y) {
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++)
    for (int side = 0; side < 2; side++) {
      const Tensor *x = y->in[side];
      const real *from = lane_at(lane, x);
      for (int k = 0; k < x->k; k++)
        for (int e = 0; e < y->e; e++, out += y->ld)
          copy_row(out, operand_at(x, from, b, k, e), y->n);
    }
}
static void stack_grad(Tensor *y, Tensor *dy) {
  int first = y->in[0]->k;
  if (grad_wanted(y->in[0])) grad_add_sum(y->in[0], t_part(dy, 0, first));
  if (grad_wanted(y->in[1])) grad_add_sum(y->in[1], t_part(dy, first, y->k - first));
}
const Op op_stack = { .name = "stack", .run = stack_run, .grad = stack_grad, .twice = true };

Tensor *t_stack(Tensor *a, Tensor *b) {
  CHECK(a->n == b->n, "t_stack: rows of %d and %d numbers", a->n, b->n);
  Shape shape = { a->k + b->k, broadcast("t_stack", a->e, b->e), a->n };
  return record(a->g, &op_stack, shape, &(Recipe){ .in = { a, b } });
}

/* attr.i[0]: where the part begins */
static void part_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const real *from = lane_at(lane, x) + y->attr.i[0] * x->e * x->ld;
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++, from += row_size(x), out += row_size(y))
    memcpy(out, from, (size_t)row_size(y) * sizeof *out);
}
static void into_part_run(const Lane *lane, const Tensor *y) {
  const Tensor *x = y->in[0];
  const real *from = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int b = 0; b < lane_rows(lane, y); b++, from += row_size(x), out += row_size(y)) {
    memset(out, 0, (size_t)row_size(y) * sizeof *out);
    memcpy(out + y->attr.i[0] * x->e * x->ld, from, (size_t)row_size(x) * sizeof *out);
  }
}
static void into_part_grad(Tensor *y, Tensor *dy) {
  grad_add(y->in[0], t_part(dy, y->attr.i[0], y->in[0]->k));
}
const Op op_into_part = {
  .name = "into_part", .run = into_part_run, .grad = into_part_grad, .twice = true
};
static void part_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x, record(x->g, &op_into_part, (Shape){ x->k, x->e, x->n },
                     &(Recipe){ .in = { dy }, .attr.i = { y->attr.i[0] } }));
}
const Op op_part = { .name = "part", .run = part_run, .grad = part_grad, .twice = true };

Tensor *t_part(Tensor *x, int from, int k) {
  CHECK(from >= 0 && k > 0 && from + k <= x->k, "t_part: %d to %d of %d", from, from + k, x->k);
  if (k == x->k) return x;
  return record(x->g, &op_part, (Shape){ k, x->e, x->n },
                &(Recipe){ .in = { x }, .attr.i = { from } });
}

/* ---- along the last axis --------------------------------------------------------------------- */

/* side by side in each of attr.i[0] equal parts of a row */
static void concat_run(const Lane *lane, const Tensor *y) {
  const Tensor *a = y->in[0], *b = y->in[1];
  const real *pa = lane_at(lane, a), *pb = lane_at(lane, b);
  int runs = y->attr.i[0], na = a->n / runs, nb = b->n / runs;
  real *out = lane_at(lane, y);
  for (int r = 0; r < lane_rows(lane, y); r++)
    for (int k = 0; k < y->k; k++)
      for (int e = 0; e < y->e; e++, out += y->ld) {
        const real *from_a = operand_at(a, pa, r, k, e), *from_b = operand_at(b, pb, r, k, e);
        real *to = out;
        for (int run = 0; run < runs; run++, to += na + nb) {
          memcpy(to, from_a + run * na, (size_t)na * sizeof *out);
          memcpy(to + na, from_b + run * nb, (size_t)nb * sizeof *out);
        }
        clear_padding(out, y->n);
      }
}
static void concat_grad(Tensor *y, Tensor *dy) {
  Tensor *a = y->in[0], *b = y->in[1];
  int runs = y->attr.i[0], na = a->n / runs, nb = b->n / runs;
  if (grad_wanted(a)) grad_add_sum(a, t_channel_slice(dy, runs, 0, na));
  if (grad_wanted(b)) grad_add_sum(b, t_channel_slice(dy, runs, na, nb));
}
const Op op_concat = { .name = "concat", .run = concat_run, .grad = concat_grad, .twice = true };

Tensor *t_channel_concat(Tensor *a, Tensor *b, int positions) {
  Shape shape = { broadcast("t_concat", a->k, b->k), broadcast("t_concat", a->e, b->e),
                  a->n + b->n };
  CHECK(positions > 0 && a->n % positions == 0 && b->n % positions == 0,
        "t_concat: %d and %d numbers at %d positions", a->n, b->n, positions);
  return record(a->g, &op_concat, shape, &(Recipe){ .in = { a, b }, .attr.i = { positions } });
}
Tensor *t_concat(Tensor *a, Tensor *b) { return t_channel_concat(a, b, 1); }
