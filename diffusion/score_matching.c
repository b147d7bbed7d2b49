/* score_matching.c -- losses that contain a derivative of the network by its input. */
#include "diffusion/score_matching.h"

/* t_grad adds over the entries of y, but row i of S reads row i of x alone */
Tensor *score_curvature(Tensor *score, Tensor *x, Tensor *v) {
  Tensor *along = t_grad_through(t_sum_last(t_mul(score, v)), x);
  return along ? t_sum_last(t_mul(along, v)) : NULL;
}

static Tensor *half_square(Tensor *x) { return t_scale(0.5, t_sum_last(t_map(MAP_square, x))); }
static Tensor *plus(Tensor *x, Tensor *y) { return y ? t_add(x, y) : x; }

Tensor *explicit_score_matching(Tensor *score, Tensor *x) {
  Tensor *each = half_square(score);
  for (int j = 0; j < x->n; j++) {
    Tensor *slope = t_grad_through(t_col(score, j), x);
    if (slope) each = t_add(each, t_col(slope, j));
  }
  return t_mean(each);
}

Tensor *sliced_score_matching(Tensor *score, Tensor *x, Tensor *v, bool reduced) {
  Tensor *length = half_square(reduced ? score : t_sum_last(t_mul(score, v)));
  return t_mean(plus(length, score_curvature(score, x, v)));
}

Tensor *denoising_score_matching(Tensor *score, Tensor *x, Tensor *x0, double a, double s) {
  Tensor *target = t_mix(a / (s * s), x0, -1 / (s * s), x);
  return t_mean(half_square(t_sub(score, target)));
}
