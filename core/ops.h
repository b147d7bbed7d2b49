/* ops.h -- the operations of the tape.  Shapes are [k, e, n] per batch row; B is left out.
 *
 * Two-sided element-wise ops broadcast an axis of size 1, and ONCE or SUM operands over rows. */
#ifndef CORE_OPS_H
#define CORE_OPS_H
#include "core/graph.h"
#include "core/op.h"

/* ---- element by element ---------------------------------------------------------------------- */

Tensor *t_map(Map map,
              Tensor *x); /* mish, relu, tanh, silu, gelu, exp, square, abs, softplus, log */
Tensor *t_add(Tensor *a, Tensor *b);
Tensor *t_sub(Tensor *a, Tensor *b);
Tensor *t_mul(Tensor *a, Tensor *b);
Tensor *t_div(Tensor *a, Tensor *b);
Tensor *t_scale(double c, Tensor *x);                    /* c x */
Tensor *t_shift(Tensor *x, double c);                    /* x + c */
Tensor *t_mix(double a, Tensor *x, double b, Tensor *y); /* a x + b y */
/* a x + b y with once-scalars a, b, constant for gradients: coefficients of a sampler's stage */
Tensor *t_blend(Tensor *a, Tensor *x, Tensor *b, Tensor *y);
Tensor *t_clip(Tensor *x, double low, double high); /* slope 1 on [low, high], else 0 */
Tensor *t_detach(Tensor *x);                        /* x, constant for gradients */

/* ---- affine maps ----------------------------------------------------------------------------- */

/* sum_i x_i W_i + b for up to four inputs; W's slot [e, rows, n] has their widths one after the
 * other as rows.  b's slot is [e, 1, n].  Later inputs are multiplied first, so what a chain of
 * calls shares (the observation) belongs at the end. */
typedef struct {
  Tensor *x[4];
} Inputs;
#define IN(...) ((Inputs){ { __VA_ARGS__ } })
Tensor *t_affine(Graph *g, const Params *params, int weight, int bias, Inputs in);

/* base + x W with packed weights [k inputs, e, n]; base (nullable) [k or 1, e, n].  With
 * `members` 1 for an ensemble the members' products are added up (an input's gradient). */
Tensor *t_product(Tensor *x, Tensor *packed, Tensor *base, int members);

/* ---- between axes ---------------------------------------------------------------------------- */

Tensor *t_fold(Tensor *x);     /* [k, e, 1] -> [k, 1, e]: members become columns */
Tensor *t_min_last(Tensor *x); /* [k, e, n] -> [k, e, 1], gradient to the first least */
Tensor *t_sum_last(Tensor *x); /* [k, e, n] -> [k, e, 1] */
Tensor *t_max_k(Tensor *x);    /* [k, e, n] -> [1, e, n], constant for gradients */
Tensor *t_slice(Tensor *x, int from, int n); /* [k, e, *] -> [k, e, n] */
Tensor *t_col(Tensor *x, int j);             /* [k, e, n] -> [k, e, 1] */
Tensor *t_row(Tensor *table, int j);         /* ONCE [k, 1, n] -> ONCE [1, 1, n] */
Tensor *t_gather(Tensor *table, Tensor *j);  /* ONCE [k, 1, n] by ROW [m, 1, 1] -> ROW [m, 1, n] */
Tensor *t_pick(Tensor *x, Tensor *score, const char *name, double temperature);
/* [k, 1, n] by [k, 1, 1] -> [1, 1, n]: one k drawn from softmax(score / temperature); 0: arg-max.
 * `name` is the random stream.  Constant for gradients. */

/* ---- over rows ------------------------------------------------------------------------------- */

Tensor *t_mean(Tensor *x); /* ROW [k, e, n] -> SUM scalar: mean of all entries */
Tensor *t_spread(Tensor *scalar, const Tensor *like, double c); /* c * scalar in like's shape */
Tensor *t_sum_to(Tensor *x, const Tensor *like); /* add up the axes that `like` does not have */

/* ---- random numbers: (seed, name; step, row, draw) ------------------------------------------- */

Tensor *t_normal(Graph *g, const char *name, int k, int n);    /* ROW [k, 1, n], N(0, 1) */
Tensor *t_uniform(Graph *g, const char *name, int k, int n);   /* ROW, U[0, 1) */
Tensor *t_index(Graph *g, const char *name, int k, int count); /* ROW [k, 1, 1], 0 .. count - 1 */
Tensor *t_coin(Graph *g, const char *name);                    /* ONCE scalar, 0 or 1 each run */

/* ---- time ------------------------------------------------------------------------------------ */

/* [k, e, 1] -> [k, e, dim]: dim/2 sines then dim/2 cosines of t exp(-j ln(10^4) / (dim/2 - 1)). */
Tensor *t_timeembed(Tensor *t, int dim);

/* every op, for the tests that walk them */
const Op *const *op_list(size_t *count);
extern const Op op_input, op_given;

#endif
