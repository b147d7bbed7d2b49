/* ops_linear_attention.c -- attention whose cost is linear in the positions (Shen et al. 2021), as
 * Diffuser's temporal U-Net has it:
 *
 *   o_i = C' q_i,   C = scale sum_j p_j v_j',   p_jc = e^k_jc / sum_j e^k_jc,   scale = 1 / sqrt(d)
 *
 * so the softmax runs over positions, for every channel c of the keys alone.  Backward computes p
 * and C again:
 *
 *   dC = sum_i q_i do_i',   dq_i = C do_i,   dv_j = scale dC' p_j,   dp_j = scale dC v_j */
#include "core/ops/ops.h"
#include <math.h>
#include <string.h>

enum { POSITIONS, HEADS }; /* attr.i */
/* channels of a head, and numbers of a head at all positions, at most */
enum { WIDTH = 64, HEAD_REALS = 1 << 15 };

/* One head of one sample.  Matrices are [positions, ld] or [d, ld], padding zero. */
typedef struct {
  const Kernels *kernels;
  int positions, d, ld, step; /* step: from one position of qkv to the next */
  real p[HEAD_REALS], v[HEAD_REALS], c[WIDTH * WIDTH];
} Head;

static void pad_rows(const Head *head, const real *x, int step, real *out) {
  for (int i = 0; i < head->positions; i++, x += step, out += head->ld) {
    memcpy(out, x, (size_t)head->d * sizeof *out);
    clear_padding(out, head->d);
  }
}
static void copy_back(const Head *head, const real *x, real *out, int step) {
  for (int i = 0; i < head->positions; i++, x += head->ld, out += step)
    memcpy(out, x, (size_t)head->d * sizeof *out);
}

/* out[c, e] = sum_i x[i, c] y[i, e]; rows of x are `step` apart */
static void across(const Head *head, const real *x, int step, const real *y, real *out) {
  head->kernels->gemm(&(Gemm){ .m = head->d,
                               .n = head->ld,
                               .k = head->positions,
                               .a = x,
                               .ai = 1,
                               .ak = step,
                               .b = y,
                               .bk = head->ld,
                               .bpanel = 32,
                               .c = out,
                               .ldc = head->ld });
}
/* out[i, e] = sum_c x[i, c] m[c, e] */
static void along(const Head *head, const real *x, int step, const real *m, real *out) {
  head->kernels->gemm(&(Gemm){ .m = head->positions,
                               .n = head->ld,
                               .k = head->d,
                               .a = x,
                               .ai = step,
                               .ak = 1,
                               .b = m,
                               .bk = head->ld,
                               .bpanel = 32,
                               .c = out,
                               .ldc = head->ld });
}
static void transpose(const Head *head, const real *m, real *out) {
  for (int c = 0; c < head->d; c++) {
    for (int e = 0; e < head->d; e++) out[c * head->ld + e] = m[e * head->ld + c];
    clear_padding(out + c * head->ld, head->d);
  }
}

/* p, v and C from the keys and values of a head */
static void head_open(Head *head, const real *k, const real *v) {
  real keep[ATTENTION_MAX_KEYS], top[WIDTH], inverse[WIDTH];
  real scale = (real)(1 / sqrt(head->d));
  for (int i = 0; i < head->positions; i++) keep[i] = 1;
  pad_rows(head, k, head->step, head->p), pad_rows(head, v, head->step, head->v);
  head->kernels->plane.softmax(head->p, keep, head->positions, head->ld, top, inverse);
  for (int i = 0; i < head->positions; i++)
    head->kernels->mul(head->p + i * head->ld, inverse, head->p + i * head->ld, head->ld);
  across(head, head->p, head->ld, head->v, head->c);
  for (int i = 0; i < head->d * head->ld; i++) head->c[i] *= scale;
}

static void head_shape(Head *head, const Lane *lane, const Tensor *y, int channels) {
  head->kernels = graph_kernels(lane->g), head->positions = y->attr.i[POSITIONS];
  head->d = channels / y->attr.i[HEADS], head->ld = padded(head->d), head->step = 3 * channels;
}

static void linear_attention_run(const Lane *lane, const Tensor *y) {
  Head head;
  real rows[HEAD_REALS];
  const Tensor *x = y->in[0];
  int channels = y->n / y->attr.i[POSITIONS];
  head_shape(&head, lane, y, channels);
  const real *qkv = lane_at(lane, x);
  real *out = lane_at(lane, y);
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++, qkv += x->ld, out += y->ld) {
    for (int c = 0; c < channels; c += head.d) {
      head_open(&head, qkv + channels + c, qkv + 2 * channels + c);
      along(&head, qkv + c, head.step, head.c, rows);
      copy_back(&head, rows, out + c, channels);
    }
    clear_padding(out, y->n);
  }
}

/* gradients of one head's q, k, v, which lie as in qkv */
static void head_back(Head *head, const real *qkv, const real *dy, int channels, real *out) {
  real rows[HEAD_REALS], dc[WIDTH * WIDTH], turned[WIDTH * WIDTH];
  const real scale = (real)(1 / sqrt(head->d));
  head_open(head, qkv + channels, qkv + 2 * channels);
  transpose(head, head->c, turned);
  along(head, dy, channels, turned, rows);
  copy_back(head, rows, out, head->step);
  pad_rows(head, dy, channels, rows);
  across(head, qkv, head->step, rows, dc);
  for (int i = 0; i < head->d * head->ld; i++) dc[i] *= scale;
  along(head, head->p, head->ld, dc, rows);
  copy_back(head, rows, out + 2 * channels, head->step);
  transpose(head, dc, turned);
  along(head, head->v, head->ld, turned, rows);
  head->kernels->plane.softmax_back(head->p, rows, head->positions, head->ld);
  copy_back(head, rows, out + channels, head->step);
}

static void linear_attention_back_run(const Lane *lane, const Tensor *dx) {
  Head head;
  const Tensor *dy = dx->in[0], *x = dx->in[1];
  int channels = dy->n / dx->attr.i[POSITIONS];
  head_shape(&head, lane, dx, channels);
  const real *qkv = lane_at(lane, x), *from = lane_at(lane, dy);
  real *out = lane_at(lane, dx);
  for (int i = 0; i < lane_rows(lane, dx) * dx->k; i++) {
    for (int c = 0; c < channels; c += head.d)
      head_back(&head, qkv + c, from + c, channels, out + c);
    clear_padding(out, dx->n);
    qkv += x->ld, from += dy->ld, out += dx->ld;
  }
}
const Op op_linear_attention_back = { .name = "linear_attention_back",
                                      .run = linear_attention_back_run };

static void linear_attention_grad(Tensor *y, Tensor *dy) {
  Tensor *x = y->in[0];
  grad_add(x, record(x->g, &op_linear_attention_back, (Shape){ x->k, 1, x->n },
                     &(Recipe){ .in = { dy, x }, .attr = y->attr }));
}
const Op op_linear_attention = { .name = "linear_attention",
                                 .run = linear_attention_run,
                                 .grad = linear_attention_grad };

bool linear_attention_fits(int channels, int heads, int positions, Error *error) {
  if (!attention_fits(channels, heads, positions, error)) return false;
  int d = channels / heads;
  if (d <= WIDTH && padded(d) * positions <= HEAD_REALS) return true;
  error_set(error, FAIL_USAGE,
            "linear attention of %d channels a head at %d positions; expected at most %d channels "
            "and %d numbers",
            d, positions, WIDTH, HEAD_REALS);
  return false;
}

Tensor *t_linear_attention(Tensor *qkv, int positions, int heads) {
  CHECK(qkv->e == 1 && positions > 0 && qkv->n % (3 * positions) == 0,
        "t_linear_attention: %d numbers for %d positions", qkv->n, positions);
  Error error;
  CHECK(linear_attention_fits(qkv->n / (3 * positions), heads, positions, &error), "%s",
        error.text);
  return record(qkv->g, &op_linear_attention, (Shape){ qkv->k, 1, qkv->n / 3 },
                &(Recipe){ .in = { qkv }, .attr.i = { positions, heads } });
}
