/* ops_call.c -- a function of the caller's as an op: a denoiser that is not on the tape. */
#include "core/ops/ops.h"

static void call_run(const Lane *lane, const Tensor *y) {
  const Call *call = y->attr.p;
  const Tensor *x = y->in[0], *time = y->in[1];
  real *out = lane_at(lane, y);
  CallSamples samples = { .count = lane_rows(lane, y) * y->k,
                          .k = y->k,
                          .n = x->n,
                          .x_stride = x->ld,
                          .x = lane_at(lane, x),
                          .time_stride = time->ld,
                          .time = lane_at(lane, time),
                          .out_n = y->n,
                          .out_stride = y->ld,
                          .out = out };
  call->run(call->user, &samples);
  for (int i = 0; i < samples.count; i++) clear_padding(out + (ptrdiff_t)i * y->ld, y->n);
}
const Op op_call = { .name = "call", .run = call_run };

Tensor *t_call(const Call *call, Tensor *x, Tensor *time, int n) {
  CHECK(call->run, "t_call: no function");
  CHECK(x->kind == ROW && x->e == 1 && n > 0, "t_call: x must have rows and no members");
  CHECK(time->kind != SUM && time->e == 1 && time->n == 1 && (time->k == 1 || time->k == x->k),
        "t_call: a time [%d, %d, %d] for %d samples a row", time->k, time->e, time->n, x->k);
  if (time->kind != ROW || time->k != x->k) { /* one for each sample */
    Tensor each = { .kind = ROW, .k = x->k, .e = 1, .n = 1 };
    time = t_add(t_spread(t_number(x->g, 0), &each, 1), time);
  }
  return record(x->g, &op_call, (Shape){ x->k, 1, n },
                &(Recipe){ .in = { x, time }, .attr.p = call });
}
