/* support.h -- actions that the behaviour would take in states of the data: what is optimised over
 * stays near the data because nothing else is looked at.
 *
 * `count` actions a state are samples of a policy whose weights do not change any more, drawn when
 * a batch first shows the state and then kept: for each transition of the file, and for its own
 * state apart from the next.  The noise depends on seed and transition alone, so a run that goes on
 * later draws the same ones again. */
#ifndef RL_SUPPORT_H
#define RL_SUPPORT_H
#include "rl/algos/td.h"

typedef struct Support Support;

/* For a batch's column that says which transition a row is of (td_batch_with): ends the list. */
const Column *support_rows(const AlgoSetup *setup);

/* Of the states in the batch's column "obs" or "next", by the policy as its record says, without
 * guidance and choice.  FAIL_USAGE if they would take more memory than there is, and for a record
 * that the policy cannot act by. */
Support *support_new(const AlgoSetup *setup, const Policy *behaviour, const Batch *batch,
                     const char *column, int count, Error *error);

/* The batch's states are to have theirs: [rows, count, row_stride(width)] in network units. */
void support_find(Support *support);

/* Those as an input of a tape: [count, 1, width]. */
Tensor *support_input(Graph *g, const Support *support);

#endif
