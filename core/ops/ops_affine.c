/* ops_affine.c -- products with weights.
 *
 *   product      y = base + x W       W packed into panels by a once-node
 *   its recipe   dx = dy W',  dW += x' dy,  dbase = dy;  of y = x W': dx = dy W,  dW += dy' x
 *
 * Packing (and transposing) is a once-node: recomputed when the Params changed, never forgotten.
 * With OpenBLAS the "panels" are plain rows. */
#include "core/ops/ops.h"
#include <string.h>

enum { SLOT, FROM, LENGTH, TRANSPOSED }; /* attr.i: rows FROM .. FROM + LENGTH - 1 of the slot */

static const Slot *slot_of(const Tensor *t) {
  const Params *params = t->attr.p;
  return &params->layout->slot[t->attr.i[SLOT]];
}

/* ---- packing --------------------------------------------------------------------------------- */

static size_t panel_reals(const Tensor *pack) { /* one member */
  return (size_t)pack->k * (size_t)((pack->n + 31) / 32 * 32);
}

/* one strip of up to 32 columns from j0 on; out rows are `stride` apart */
static void pack_strip(const Kernels *kernels, const Tensor *pack, const real *w, int ld, int j0,
                       real *out, int stride) {
  int width = pack->n - j0 < 32 ? pack->n - j0 : 32, room = padded(pack->n) - j0;
  room = room < 32 ? room : 32;
  if (pack->attr.i[TRANSPOSED])
    kernels->transpose(w + (ptrdiff_t)j0 * ld, ld, width, pack->k, out, stride);
  for (int k = 0; k < pack->k; k++, out += stride) {
    if (!pack->attr.i[TRANSPOSED])
      memcpy(out, w + (ptrdiff_t)k * ld + j0, (size_t)width * sizeof *out);
    for (int j = width; j < room; j++) out[j] = 0;
  }
}

/* pack is [k inputs, n outputs] of the product that will use it */
static void pack_member(const Lane *lane, const Tensor *pack, const real *w, int ld, real *out) {
  const Kernels *kernels = graph_kernels(lane->g);
  int n = padded(pack->n), stride = kernels->packs ? 32 : n;
  for (int j0 = 0; j0 < n; j0 += 32)
    pack_strip(kernels, pack, w, ld, j0, kernels->packs ? out + (ptrdiff_t)j0 * pack->k : out + j0,
               stride);
}

static void pack_run(const Lane *lane, const Tensor *pack) {
  const Params *params = pack->attr.p;
  const Slot *slot = slot_of(pack);
  for (int e = 0; e < pack->e; e++) {
    const real *w = params_at(params, pack->attr.i[SLOT]) +
                    (ptrdiff_t)(e * slot->rows + pack->attr.i[FROM]) * slot->ld;
    pack_member(lane, pack, w, slot->ld, lane_at(lane, pack) + (size_t)e * panel_reals(pack));
  }
}
const Op op_pack = { .name = "pack", .run = pack_run };

static Tensor *pack(Graph *g, const Params *params, int slot, int from, int length,
                    int transposed) {
  const Slot *s = &params->layout->slot[slot];
  Shape shape = transposed ? (Shape){ s->n, s->e, length } : (Shape){ length, s->e, s->n };
  return record_params(g, &op_pack, shape, params, slot,
                       (int[OP_INTS - 1]){ from, length, transposed });
}

/* ---- products -------------------------------------------------------------------------------- */

/* the weights of the product that comes next: the next member, or another node */
static const real *next_panels(const Lane *lane, const Tensor *y, int e) {
  const Tensor *w = y->in[1];
  if (e + 1 < w->e) return lane_at(lane, w) + (size_t)(e + 1) * panel_reals(w);
  return y->following ? lane_at(lane, y->following->in[1]) : NULL;
}

/* rows of one member: y = base + x W, or += when `accumulate` */
static void multiply(const Lane *lane, const Tensor *y, int e_x, int e_w, bool accumulate) {
  const Tensor *x = y->in[0], *w = y->in[1], *base = y->in[2];
  const Kernels *kernels = graph_kernels(lane->g);
  int rows = lane_rows(lane, y), n = padded(y->n), e_y = y->e > 1 ? e_w : 0;
  Gemm p = { .m = rows * y->k, .n = n, .k = w->k };
  p.a = lane_at(lane, x) + (x->e > 1 ? e_x : 0) * x->ld, p.ai = x->e * x->ld, p.ak = 1;
  p.b = lane_at(lane, w) + (size_t)e_w * panel_reals(w);
  p.bk = kernels->packs ? 32 : n, p.bpanel = kernels->packs ? 32 * w->k : 32;
  p.prefetch = next_panels(lane, y, e_w);
  p.a_in_l2 = x->place == PLACE_LANE, p.c_in_l2 = y->place == PLACE_LANE;
  p.c = lane_at(lane, y) + e_y * y->ld, p.ldc = y->e * y->ld;
  ptrdiff_t next = 0; /* from the base of one batch row to that of the next */
  if (accumulate)
    p.init = p.c, p.init_row = p.ldc, next = y->k * p.ldc;
  else if (base) {
    p.init = lane_at(lane, base) + (base->e > 1 ? e_y : 0) * base->ld;
    next = base->kind == ROW ? row_size(base) : 0;
    p.init_row = y->k == 1 ? next : base->k == 1 ? 0 : base->e * base->ld;
  }
  if (rows == 1 || next == y->k * p.init_row) {
    kernels->gemm(&p);
    return;
  }
  p.m = y->k; /* the base of a batch row is not where the k rows before it end */
  for (int b = 0; b < rows; b++) {
    kernels->gemm(&p);
    p.a += y->k * p.ai, p.c += y->k * p.ldc, p.init += next;
  }
}

static void product_run(const Lane *lane, const Tensor *y) {
  const Tensor *w = y->in[1];
  for (int e = 0; e < w->e; e++) multiply(lane, y, e, e, y->e == 1 && e > 0);
}

static Tensor *weight_grad(Tensor *x, Tensor *dy, const Tensor *w);

/* An input shared by the members of an ensemble collects all of their gradients. */
static void product_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0], *w = y->in[1], *base = y->in[2];
  const int *of = w->attr.i;
  if (grad_wanted(x)) {
    Tensor *back = pack(y->g, w->attr.p, of[SLOT], of[FROM], of[LENGTH], !of[TRANSPOSED]);
    grad_add(x, t_product(dy, back, NULL, x->e));
  }
  if (grad_wanted(w)) of[TRANSPOSED] ? weight_grad(dy, x, w) : weight_grad(x, dy, w);
  if (base && grad_wanted(base)) grad_add(base, t_sum_to(dy, base));
}
static double product_flops(const Lane *lane, const Tensor *y) {
  const Tensor *w = y->in[1];
  return 2.0 * lane_rows(lane, y) * y->k * w->e * w->k * w->n;
}
const Op op_product = {
  .name = "product", .run = product_run, .grad = product_grad, .twice = true, .flops = product_flops
};

Tensor *t_product(Tensor *x, Tensor *w, Tensor *base, int members) {
  CHECK(x->n == w->k, "product: %d inputs for a weight of %d", x->n, w->k);
  CHECK(x->e == 1 || x->e == w->e, "product: %d members by %d", x->e, w->e);
  CHECK(!base || base->k == x->k || base->k == 1, "product: base of another k");
  CHECK(!base || base->kind != ROW || x->kind == ROW, "product: only the base has rows");
  return record(x->g, &op_product, (Shape){ x->k, members, w->n },
                &(Recipe){ .in = { x, w, base } });
}

/* ---- weight gradients: dW += x' dy over the rows of a lane ----------------------------------- */

static void weight_grad_run(const Lane *lane, const Tensor *t) {
  const Tensor *x = t->in[0], *dy = t->in[1];
  const Slot *slot = &graph_trained(lane->g)->layout->slot[t->attr.i[SLOT]];
  for (int e = 0; e < slot->e; e++) {
    real *out = lane_at(lane, t) + (ptrdiff_t)(e * slot->rows + t->attr.i[FROM]) * slot->ld;
    Gemm p = { .m = x->n, .n = padded(slot->n), .k = lane_rows(lane, dy) * dy->k };
    p.a = lane_at(lane, x) + (x->e > 1 ? e : 0) * x->ld, p.ai = 1, p.ak = x->e * x->ld;
    p.a_in_l2 = x->place == PLACE_LANE;
    p.b = lane_at(lane, dy) + (dy->e > 1 ? e : 0) * dy->ld, p.bk = dy->e * dy->ld, p.bpanel = 32;
    p.c = out, p.ldc = slot->ld, p.init_row = slot->ld;
    p.init = t->first && lane->begins ? NULL : out;
    graph_kernels(lane->g)->gemm(&p);
  }
}
static double weight_grad_flops(const Lane *lane, const Tensor *t) {
  const Tensor *x = t->in[0], *dy = t->in[1];
  return 2.0 * lane_rows(lane, dy) * dy->k * t->e * x->n * dy->n;
}
const Op op_weight_grad = { .name = "weight_grad",
                            .run = weight_grad_run,
                            .adds = true,
                            .into_slot = true,
                            .by_rows = true,
                            .flops = weight_grad_flops };

static Tensor *weight_grad(Tensor *x, Tensor *dy, const Tensor *w) {
  CHECK((x->kind == ROW) == (dy->kind == ROW), "weight gradient: rows on one side only");
  return record(x->g, &op_weight_grad, (Shape){ x->n, w->e, dy->n },
                &(Recipe){ .in = { x, dy }, .attr.i = { w->attr.i[SLOT], w->attr.i[FROM] } });
}

/* ---- several inputs, one weight -------------------------------------------------------------- */

/* inputs by ascending k (so that k = 1 parts are computed once), later ones first */
static int plan_inputs(const Inputs *in, int order[4], int from[4]) {
  int count = 0, row = 0;
  for (; count < 4 && in->x[count]; count++) from[count] = row, row += in->x[count]->n;
  for (int i = 0; i < count; i++) order[i] = count - 1 - i;
  for (int i = 1; i < count; i++)
    for (int j = i; j > 0 && in->x[order[j]]->k < in->x[order[j - 1]]->k; j--) {
      int swap = order[j];
      order[j] = order[j - 1], order[j - 1] = swap;
    }
  return count;
}

Tensor *t_affine(Graph *g, const Params *params, int weight, int bias, Inputs in) {
  int order[4], from[4], count = plan_inputs(&in, order, from);
  const Slot *slot = &params->layout->slot[weight];
  int last = count - 1;
  CHECK(from[last] + in.x[last]->n == slot->rows, "%s/%s: %d inputs for %d rows", params->block,
        slot->name, from[last] + in.x[last]->n, slot->rows);
  Tensor *y = t_param(g, params, bias);
  for (int i = 0; i < count; i++) {
    Tensor *x = in.x[order[i]];
    Tensor *w = pack(g, params, weight, from[order[i]], x->n, 0);
    bool apart = y->kind == ROW && x->kind != ROW; /* a once-part added to rows */
    y = apart ? t_add(y, t_product(x, w, NULL, slot->e)) : t_product(x, w, y, slot->e);
  }
  return y;
}
