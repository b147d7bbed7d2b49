/* tape.h -- the inside of a Graph, shared by graph.c (recording), layout.c (sealing), execute.c
 * (running) and tree.c (adding up). */
#ifndef CORE_TAPE_H
#define CORE_TAPE_H
#include "core/tape/op.h"

enum {
  TAPE_BUCKETS = 1024,
  TAPE_FIRST_NODES = 512,
  TAPE_MAX_NODES = 1 << 16, /* about 55 a step of a trained chain: 1000 steps fit */
  TAPE_MAX_PHASES = 8,
  TAPE_MAX_PARAMS = 31,
  TAPE_MAX_PARTS = 8,    /* of one slot: inputs that meet in an affine map */
  TAPE_MAX_NAMES = 4096, /* a stage of a chain has one */
};

struct Graph {
  Arena *arena;
  GraphSpec spec;
  bool sealed;

  int nodes, room;
  Tensor **node;     /* [room] in creation order */
  Tensor **bucket;   /* [TAPE_BUCKETS] */
  const char **name; /* [TAPE_MAX_NAMES] of random ops and inputs */
  int names;
  const Params *params[TAPE_MAX_PARAMS];
  uint64_t seen[TAPE_MAX_PARAMS]; /* version the once-nodes were computed from */
  int n_params;

  bool *wanted;     /* [room] during a gradient: by node id */
  Tensor **adjoint; /* likewise */
  bool minimises;
  int gradient_of; /* id of the node whose gradient is being recorded; -1: none */

  int phases;
  Tensor **once, **after, **lane_nodes[TAPE_MAX_PHASES]; /* what runs when, in creation order */
  int n_once, n_after, n_lane[TAPE_MAX_PHASES];
  bool once_always;                                     /* a once-node runs every time */
  size_t lane_size, sum_size, gradient_size, kept_size; /* in reals */
  bool *cleared;                        /* by slot: lanes add to its gradient from the start */
  size_t sum_from[TAPE_MAX_PHASES + 1]; /* sums of phase p: [sum_from[p], sum_from[p + 1]) */
  size_t clear_to[TAPE_MAX_PHASES];     /* of these, what is cleared before the lanes: up to here */
  real **scratch;                       /* per worker: work_size reals, then a lane's values */
  size_t work_size;
  real *blocks; /* [groups, sum_size]; block 0 holds the totals after the tree */
  int max_groups;

  int rows;                /* of the current run */
  int groups, first_group; /* first_group: of those this rank owns */
  uint64_t step;
  const uint32_t *row_ids;
  int phase;
  uint32_t changed; /* bits of Tensor.reads that are stale in this run */
  bool fresh;       /* every once-node is to be computed: the first run */
  bool forked;      /* once-nodes are another's */
};

void tape_plan(Graph *g);              /* layout.c: liveness, phases, memory */
size_t tape_once_row(const Tensor *t); /* layout.c: numbers a once-node has for each of its k e */

/* execute.c: the first Params that changed since once-nodes were computed from them; NULL: none */
const Params *tape_changed(const Graph *g);

/* graph.c: the Params that a once-node reads (slot t->attr.i[0]); NULL: none */
const Params *tape_params(const Graph *g, const Tensor *t);

/* print.c: the op, and which of its functions: "map log" */
enum { TAPE_OP_TEXT = 48 };
const char *tape_op_text(const Tensor *t, char text[TAPE_OP_TEXT]);

/* tree.c: block 0's sums [from, to) become the totals over all groups, on every rank. */
void tape_add_up(Graph *g, size_t from, size_t to);

#endif
