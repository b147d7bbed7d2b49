/* op.h -- what an op is, for those who write one.
 *
 * An op is a const struct: how to run it on a lane of rows, and how its gradient is recorded.
 * `record` infers kind and phase from the inputs; the op's constructor (ops.h) checks shapes. */
#ifndef CORE_OP_H
#define CORE_OP_H
#include "core/check.h"
#include "core/tape/graph.h"
#include "core/rng.h"
#include <stddef.h>

typedef enum { ONCE, ROW, SUM } Kind;

/* the rows a run function works on */
typedef struct {
  const Graph *g;
  int phase;
  int row0, rows; /* rows is 1 for ONCE nodes and for SUM nodes computed after a phase */
  real *scratch;  /* of this worker */
  real *work;     /* likewise, for the node that runs: see Op.work */
  real *sums;     /* the group's block of sums; NULL outside lanes */
  bool begins;    /* the group's first lane */
} Lane;

typedef struct Op {
  const char *name;
  void (*run)(const Lane *lane, const Tensor *y);
  void (*grad)(Tensor *y, Tensor *dy); /* NULL: constant for all that comes after */
  bool random;                         /* never shared; runs every time */
  bool adds;                           /* SUM: run adds a lane's share to the group's block */
  bool sets;      /* with adds: the group's first lane sets its sum, which nobody clears */
  bool into_slot; /* adds to the gradient of slot attr.i[0], wherever it runs */
  bool by_rows;   /* into_slot: adds to rows attr.i[1] .. + k - 1, all columns */
  bool in_place;  /* y may take the memory of in[0] */
  bool twice;     /* the nodes of its recipe have recipes: t_grad_through may pass it */
  /* adds to the inputs' gradients what comes through y's second output; NULL: that is constant */
  void (*aux_grad)(Tensor *y, Tensor *daux);
  double (*flops)(const Lane *lane, const Tensor *y); /* of a run, for profiles; NULL: no product */
  const char *(*variant)(const Tensor *y); /* which of several functions, for people; NULL: one */
  size_t (*work)(const Tensor *y); /* reals of Lane.work that run wants in lanes; NULL: none */
} Op;

enum { OP_INPUTS = 6, OP_INTS = 16, READS_ALWAYS = 31 };

typedef struct {
  double c[2];
  int i[OP_INTS];
  const void *p;
  Rng rng;            /* of a random op, */
  const char *stream; /* and the name it was made of with the seed; NULL elsewhere */
} Attr;

typedef enum { PLACE_NONE, PLACE_LANE, PLACE_KEPT, PLACE_BOUND, PLACE_FIXED, PLACE_SUM } Place;

struct Tensor {
  Graph *g;
  const Op *op;
  int id;
  Kind kind;
  int phase;
  int k, e, n, ld; /* [B if ROW, k, e, n], ld reals from one n-row to the next */
  Tensor *in[OP_INPUTS];
  Attr attr;
  uint32_t reads; /* ONCE: bit per Params it depends on; bit 31: every run */
  bool trains;    /* depends on the trained Params */
  bool live, kept, dirty;
  Tensor *aux;  /* second output, filled by this node's run (slopes) */
  Tensor *twin; /* an aux: the node that fills it */
  bool rows;    /* recorded as a ROW whatever its inputs are */
  bool in_lane; /* runs in lanes; else once, or after its phase */
  Place place;
  size_t offset;           /* in the lane scratch or the block of sums */
  real *data;              /* KEPT, BOUND, FIXED; SUM after the phase */
  int last;                /* id of the last reader in its phase */
  const char *name;        /* of an input or a given; NULL elsewhere */
  int gradient_of;         /* id of the node whose gradient recorded it; -1: none */
  const Tensor *following; /* the next node of this op that its phase's lanes run */
  bool first;              /* the first to write to its sum or slot, which has not been cleared */
  Tensor *next;            /* hash chain */
};

/* ---- recording ------------------------------------------------------------------------------- */

typedef struct {
  int k, e, n;
} Shape;

/* Record op(in...) with this shape, or return the equal node that exists.  The kind follows: an op
 * that adds over rows, or reads sums but no rows, gives a SUM; reading rows gives a ROW. */
typedef struct {
  Tensor *in[OP_INPUTS];
  Attr attr;
  bool rows; /* a ROW though no input is one (noise, spreads) */
} Recipe;
Tensor *record(Graph *g, const Op *op, Shape shape, const Recipe *recipe);

/* A once-node that reads a slot of some Params; `more` (nullable) fills attr.i[1..]. */
Tensor *record_params(Graph *g, const Op *op, Shape shape, const Params *params, int slot,
                      const int more[OP_INTS - 1]);

/* The second output of y, created once; y->op fills it when somebody reads it. */
Tensor *record_aux(Tensor *y, Shape shape);

/* Within a gradient recipe: does anyone want dx?  Then add a contribution. */
bool grad_wanted(const Tensor *x);
void grad_add(Tensor *x, Tensor *dx);
void grad_add_sum(Tensor *x, Tensor *dx); /* dx summed over the axes along which x was repeated */

/* The longer of two axes, one of which may be 1. */
int broadcast(const char *op, int a, int b);

Arena *graph_arena(const Graph *g);
Rng graph_stream(Graph *g, const char *name); /* CHECKs that the name is new on this tape */
ConvMethod graph_conv(const Graph *g);
bool graph_trains(const Graph *g, const Params *params);
uint32_t lane_row_id(const Lane *lane, int row);
uint64_t lane_step(const Lane *lane);
int lane_total_rows(const Lane *lane); /* of the run */

/* ---- reading a sealed tape, for those who print it ------------------------------------------- */

/* The row-nodes in the order they run; NULL if the tape has sums, or more than one phase. */
Tensor *const *graph_program(const Graph *g, int *count);

/* ---- running --------------------------------------------------------------------------------- */

/* First number of the lane's part of t. */
real *lane_at(const Lane *lane, const Tensor *t);

/* How many batch rows of t this lane has: lane->rows for ROW, else 1. */
static inline int lane_rows(const Lane *lane, const Tensor *t) {
  return t->kind == ROW ? lane->rows : 1;
}
static inline ptrdiff_t row_size(const Tensor *t) { return (ptrdiff_t)t->k * t->e * t->ld; }
static inline int padded(int n) { return (n + 15) / 16 * 16; }
static inline void clear_padding(real *row, int n) {
  for (int j = n; j < padded(n); j++) row[j] = 0;
}

/* Where x, whose numbers begin at base, keeps what belongs to row (b, k, e) of a result. */
static inline const real *operand_at(const Tensor *x, const real *base, int b, int k, int e) {
  if (x->kind == ROW) base += b * row_size(x);
  if (x->k > 1) base += k * x->e * x->ld;
  return x->e > 1 ? base + e * x->ld : base;
}

#endif
