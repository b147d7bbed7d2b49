/* graph.h -- the tape: recorded once by plain C calls, replayed for ever without allocating.
 *
 * A node is one of three kinds, known when it is recorded.
 *   ONCE  no batch row in it: time embeddings, packed weights.  Recomputed only when Params it
 *         reads have changed.
 *   ROW   [B, k, e, n]: k values of n numbers per batch row, for e members of an ensemble.
 *   SUM   added over batch rows (a loss, mean |Q|, every weight gradient), or computed from such.
 * The number of rows B is an argument of a run, not part of the tape.
 *
 * A run does the once-nodes, then phases.  In a phase each lane of rows goes through all row-nodes
 * whose inputs are known, forward and backward; then the sums of the phase are added, and row-nodes
 * that read them are the next phase.  A group is a fixed number of consecutive rows; it owns one
 * block of sums and goes to one thread; blocks are added in a fixed tree, so the number of threads
 * changes no bit.  Lanes are the rows of a group that pass through the cache together.
 *
 * Gradients are ops like any other (graph_minimise, t_grad); what nobody reads is dropped at
 * graph_seal.  Recording the same op on the same inputs returns the node that exists. */
#ifndef CORE_GRAPH_H
#define CORE_GRAPH_H
#include "core/arena.h"
#include "core/kernels/kernels.h"
#include "core/parallel.h"
#include "core/tape/params.h"
#include "core/tape/profile.h"
#include "core/ranks.h"
#include "core/real.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Graph Graph;
typedef struct Tensor Tensor;

/* how t_conv computes: minimal filtering where it can, or products alone (the reference) */
typedef enum { CONV_FILTERED, CONV_DIRECT } ConvMethod;

typedef struct {
  Params *trained; /* the one Params this tape trains; NULL for inference */
  uint64_t seed;   /* of its random ops */
  Pool *pool;      /* NULL: the calling thread alone */
  Ranks *ranks;    /* that share out the rows of a run, together; NULL: this process alone */
  const Kernels *kernels;
  ConvMethod conv;
  int max_rows;     /* of a run */
  int group, lane;  /* rows; 0: max_rows.  They change bits, so they are settings. */
  Profile *profile; /* NULL: nobody asks where the time goes; else a worker of it per thread */
} GraphSpec;

/* Lives in the arena; all its memory is taken by graph_seal. */
Graph *graph_new(Arena *arena, const GraphSpec *spec);

/* ---- recording: inputs ----------------------------------------------------------------------- */

Tensor *t_input(Graph *g, const char *name, int k, int n); /* ROW [B, k, 1, n], see graph_bind */
Tensor *t_table(Graph *g, const double *values, int k, int n); /* ONCE [k, n]; values are copied */
Tensor *t_given(Graph *g, const char *name, int k, int n);     /* ONCE [k, n], see graph_give */
Tensor *t_number(Graph *g, double value);                      /* ONCE [1, 1] */
Tensor *t_param(Graph *g, const Params *params, int slot);     /* ONCE: a bias or scalar slot */

/* ---- recording: gradients and the end -------------------------------------------------------- */

/* d y / d x summed over y's entries, constant for later gradients; x must be a ROW node.  NULL if
 * y does not depend on x. */
Tensor *t_grad(Tensor *y, Tensor *x);

/* The same with its history: losses and gradients recorded later differentiate through it.  Ops
 * on the way from x to y must have second derivatives (a CHECK names one that has none); a third
 * derivative is refused. */
Tensor *t_grad_through(Tensor *y, Tensor *x);

/* The input of this name that was recorded; NULL: none. */
Tensor *graph_input(const Graph *g, const char *name);

/* Record the gradient of a scalar loss with respect to every slot of the trained Params. */
void graph_minimise(Tensor *loss /* SUM [1, 1, 1] */);

/* Replace the random node of this name by an input to bind (ROW) or give (ONCE): for tests against
 * a reference with its own noise. */
Tensor *graph_override(Graph *g, const char *name);

void graph_keep(Tensor *t); /* its values can be read after a run */
void graph_seal(Graph *g);  /* drop what nobody reads, lay out memory; nothing is recorded after */

/* ---- running --------------------------------------------------------------------------------- */

/* Rows come from data: [B, k, row_stride(n)], read during graph_run, padding zero. */
void graph_bind(Tensor *input, const real *data);
void graph_give(Tensor *given, const real *values /* [k, row_stride(n)] */);

/* step and row_ids (NULL: 0, 1, 2, ..) are the counters of random ops. */
void graph_run(Graph *g, int rows, uint64_t step, const uint32_t *row_ids);

/* Another seed for all random ops, as if the tape had been recorded with it. */
void graph_reseed(Graph *g, uint64_t seed);

/* A second runner of a sealed tape without sums: own inputs (to be bound), own rows, own seed, no
 * threads.  What was computed once is shared with g, which has run since its Params changed last;
 * neither changes while the fork is in use.  g is only read, so threads may fork it and run their
 * forks at the same time. */
Graph *graph_fork(Arena *arena, const Graph *g);
Tensor *graph_forked(const Graph *fork, const Tensor *t); /* the fork's own node for one of g's */

/* Sums and once-nodes are the same on every rank; the rows of a tape that ranks share are refused
 * (CHECK), since each rank has its own alone. */
double graph_scalar(const Tensor *t);      /* a kept SUM or ONCE [1, 1, 1] */
const real *graph_values(const Tensor *t); /* a kept node: [B, k, e, row_stride(n)] */
Params *graph_trained(const Graph *g);     /* NULL: it trains none */
bool graph_lost(const Graph *g);           /* is one of its ranks gone? */
const Kernels *graph_kernels(const Graph *g);
Profile *graph_profile(const Graph *g);     /* of its spec */
const real *graph_gradient(const Graph *g); /* flat, in the layout of the trained Params */

/* for reports: row-nodes and bytes of lane scratch a thread, bytes kept for every row */
typedef struct {
  int nodes, live, phases;
  size_t lane_bytes, kept_bytes, sum_bytes;
} GraphSize;
GraphSize graph_size(const Graph *g);

/* For people who debug a tape: counts and bytes, then a line a node (print.c says how to read it).
 * Before sealing there are no phases of memory yet; after it, what nobody reads is "dropped". */
void graph_print(const Graph *g, FILE *out);

#endif
