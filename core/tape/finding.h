/* finding.h -- why a gradient is not finite: a run of the tape again, with a look at every value.
 *
 * Weights and inputs are looked at first, then the once-nodes, then phase by phase the row-nodes,
 * sums and what is computed from sums, the gradient last.  Within a phase the first node on the
 * tape that has such a value in any row is the one found, however rows were cut into lanes. */
#ifndef CORE_FINDING_H
#define CORE_FINDING_H
#include "core/tape/graph.h"

typedef enum {
  FINDING_NONE,   /* the run was finite */
  FINDING_WEIGHT, /* a slot that the tape reads */
  FINDING_INPUT,  /* bound rows, or what was given */
  FINDING_NODE,   /* a node, whose inputs are finite */
  FINDING_TOTAL,  /* the sum over all rows, whose parts are finite */
} FindingKind;

enum { FINDING_ROWS = 4, FINDING_INPUTS = 6 };

/* values that were looked at: their range without those that are not finite */
typedef struct {
  const Tensor *of;
  double low, high;   /* low > high: none is finite */
  int64_t count, odd; /* numbers; of which are not finite */
  double first;       /* of these */
} Range;

typedef struct {
  FindingKind kind;
  const Graph *g;
  const Params *params; /* of a weight */
  int slot;
  const Tensor *node; /* else */
  Range values;       /* of the lane where it was found first */
  Range in[FINDING_INPUTS];
  int inputs;
  int row[FINDING_ROWS]; /* the first rows that have one; of a sum: rows of the lane */
  int rows;              /* how many there are */
} Finding;

/* Run the sealed tape as graph_run does, in the calling thread, and look.  Inputs, weights and
 * moments stay as they are; kept values and the gradient are those of such a run.  False if all is
 * finite.  Ranks that share the tape must all call it; each looks at rows of its own. */
bool finding_search(Graph *g, int rows, uint64_t step, const uint32_t *row_ids, Finding *finding);

/* For people, without a line end: "on the tape that trains actor, node 12 (map sqrt, ..". */
void finding_text(const Finding *finding, char *text, size_t size);

#endif
