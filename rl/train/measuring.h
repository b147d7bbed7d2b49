/* measuring.h -- what is measured and shown of an agent, as its definition says.
 *
 * What fails here at the end of a sitting is noted and ends nothing: the training is saved. */
#ifndef RL_MEASURING_H
#define RL_MEASURING_H
#include "rl/algo.h"

/* What came of it: the main number of those that were taken, of several sets that of the last. */
typedef struct {
  bool any;            /* something applies, and was taken */
  const Measure *main; /* NULL: none of them is a number */
  double value;
} Measured;

/* Take all measures of this time that apply and write them as members of `line`. */
bool measuring_take(Agent *agent, MeasureWhen when, JsonText *line, Measured *measured,
                    Error *error);

/* The tables that apply, as config.json has them: the elements of an array. */
void measuring_describe(const Agent *agent, JsonText *out);

/* Make the figures of this time and list them in the run's folder. */
void measuring_show(Agent *agent, MeasureWhen when, Figures *figures);

#endif
