/* loss.c -- the denoising loss. */
#include "diffusion/loss.h"

/* embedded times and (a, s) of every row: integers of a discrete schedule, or t in [t_min, 1] */
static Tensor *draw_times(Graph *g, const Denoiser *d, const Params *params, const char *name,
                          Tensor **marginal) {
  const Schedule *s = d->schedule;
  if (s->def->discrete) {
    double *grid = arena_array(graph_arena(g), double, s->steps);
    for (int n = 0; n < s->steps; n++) grid[n] = n;
    Tensor *times = t_table(g, grid, s->steps, 1), *n = t_index(g, name, 1, s->steps);
    *marginal = t_gather(t_marginal(s, times), n);
    return t_gather(d->embed(d, g, params, times), n);
  }
  Tensor *t = t_shift(t_scale(1 - s->t_min, t_uniform(g, name, 1, 1)), s->t_min);
  *marginal = t_marginal(s, t);
  return d->embed(d, g, params, t);
}

Tensor *diffusion_loss(Graph *g, const Denoiser *d, const Params *params, const char *stream,
                       Tensor *x0, Tensor *cond) {
  Arena *arena = graph_arena(g);
  Tensor *marginal, *h = draw_times(g, d, params, arena_text(arena, "%s time", stream), &marginal);
  Tensor *eps = t_normal(g, arena_text(arena, "%s noise", stream), 1, d->dim);
  Tensor *x = t_add(t_mul(x0, t_col(marginal, 0)), t_mul(eps, t_col(marginal, 1)));
  Tensor *output = d->net(d, g, params, x, h, cond);
  Tensor *target = d->predicts == PREDICTS_X0 ? x0 : eps;
  return t_mean(t_map(MAP_square, t_sub(target, output)));
}
