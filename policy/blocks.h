/* blocks.h -- what a model or an agent owns: named Params, and the optimisers that train them.
 *
 * Saving, loading, beginning with the weights of another run and refusing what is too large are one
 * loop each.  A block that is declared but holds no numbers is absent: a file that was exported for
 * acting has no target networks, say. */
#ifndef POLICY_BLOCKS_H
#define POLICY_BLOCKS_H
#include "core/tape/optim.h"

enum { BLOCKS_MAX = 24, BLOCKS_MAX_OPTIMS = 16 };

typedef struct {
  Params *params[BLOCKS_MAX]; /* owned by their arenas */
  Optim *optim[BLOCKS_MAX_OPTIMS];
  int count, optims;
} Blocks;

Params *blocks_add(Blocks *blocks, Params *declared); /* returns it */
Optim *blocks_train(Blocks *blocks, Optim *optim);    /* likewise */
void blocks_join(Blocks *blocks, const Blocks *more);

size_t blocks_bytes(const Blocks *blocks); /* of the numbers that are declared */

/* Zeros for every block that has no numbers yet.  FAIL_USAGE if the machine has not the memory. */
bool blocks_allocate(Blocks *blocks, Error *error);

/* Blocks that are held, and moments. */
void blocks_save(const Blocks *blocks, Checkpoint *checkpoint);

/* All of it back, to continue training: what is held must be in the file, in its shape. */
bool blocks_load(Blocks *blocks, const Checkpoint *checkpoint, Error *error);

/* What the file holds of it: those blocks take memory and numbers, the others stay absent.  Shapes
 * are compared with the file before memory is taken, so a short file cannot ask for much. */
bool blocks_load_held(Blocks *blocks, const Checkpoint *checkpoint, Error *error);

/* What a new run has of another: names of blocks with commas between them, or "". */
typedef struct {
  Arena *arena;      /* of the texts */
  int count;         /* taken from the file */
  const char *taken; /* those, and the averages that begin at one of them */
  const char *anew;  /* what begins as without it */
} BlocksBegun;

/* Begin with the weights of another run: every block that the file holds too, added to `begun`.  An
 * average or target "NAME_ema" that it lacks begins at NAME.  FAIL_USAGE if a block has other
 * shapes there, FAIL_INPUT if its numbers cannot be. */
bool blocks_begin(const Blocks *to, const Checkpoint *from, BlocksBegun *begun, Error *error);

/* The blocks of a file that are not among these names: in the arena. */
const char *blocks_left(const BlocksBegun *begun, const Checkpoint *from);

#endif
