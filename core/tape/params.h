/* params.h -- the numbers of a network: named slots in one flat block.
 *
 * A network is a shape; Params are its numbers.  Target, average and frozen copies are the same
 * network applied with other Params.  A slot is [e, rows, n]: e members of an ensemble (1: none),
 * rows inputs, n outputs; biases and scalars have rows 1.  In memory a row keeps row_stride(n)
 * reals, the padding zero, so the optimiser, averages and norms are one loop over the block.  Files
 * hold the dense numbers. */
#ifndef CORE_PARAMS_H
#define CORE_PARAMS_H
#include "core/arena.h"
#include "core/checkpoint.h"
#include "core/real.h"
#include "core/rng.h"

typedef struct {
  const char *name; /* "trunk/0/w" */
  int e, rows, n, ld;
  double bound;  /* initial values: uniform in [start - bound, start + bound] */
  size_t offset; /* into the block */
  double start;
} Slot;

typedef struct {
  int slots, room;
  size_t size; /* reals in the block */
  Slot *slot;  /* [room]; moves while slots are declared */
} Layout;

typedef struct Params {
  const char *block; /* "actor", "actor_ema": the prefix in files */
  Layout *layout;    /* shared by clones */
  real *values;      /* [layout->size], NULL until params_allocate: declared, but not held */
  uint64_t version;  /* grows with every change; call params_touch after writing values */
  Arena *arena;
} Params;

Params *params_new(Arena *arena, const char *block);

/* Declare a slot and return its index; not after params_allocate.  PyTorch's default bound for a
 * linear layer is 1 / sqrt(inputs), for weight and bias alike. */
int params_slot(Params *params, const char *name, int e, int rows, int n, double bound);

/* Initial values around `start` instead of 0 (the gains of norms: 1). */
void params_start(Params *params, int slot, double start);

bool params_held(const Params *params); /* has it numbers?  params may be NULL */
void params_drop(Params *params);       /* its numbers are given up: it is absent, and not saved */
void params_allocate(Params *params);   /* zeros */
void params_init(Params *params, uint64_t seed); /* uniform draws, a stream per block name */
Params *params_twin(const Params *params, const char *block);  /* same layout, no numbers yet */
Params *params_clone(const Params *params, const char *block); /* same layout, same numbers */
void params_copy(Params *to, const Params *from);
void params_lerp(Params *to, const Params *from, double t); /* to += t (from - to) */
void params_touch(Params *params);
real *params_at(const Params *params, int slot); /* [e, rows, ld] */

/* Add every slot as "<block>/<slot>" (dense copies in the checkpoint's arena), or read them back;
 * reading fails (FAIL_INPUT) on an absent tensor, another shape, or a number that is not finite; of
 * squares (Adam's second moments, which may overflow) on one that is negative or NaN. */
void params_save(const Params *params, Checkpoint *checkpoint);
bool params_load(Params *params, const Checkpoint *checkpoint, Error *error);
bool params_load_squares(Params *params, const Checkpoint *checkpoint, Error *error);

/* The same as float16, which loading reads too: FAIL_INPUT for a number it cannot hold (65520 and
 * more, or one that is not finite). */
bool params_save_half(const Params *params, Checkpoint *checkpoint, Error *error);

/* Does the file hold every slot in this layout's shape?  Nothing is read; FAIL_INPUT. */
bool params_match(const Params *params, const Checkpoint *checkpoint, Error *error);
/* Does it hold any slot of this block? */
bool params_saved(const Params *params, const Checkpoint *checkpoint);

#endif
