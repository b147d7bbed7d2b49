/* measure.h -- a number that says how good a run is, and what a reader needs to understand it.
 *
 * A definition lists its measures as a table.  The loop writes them to eval.jsonl, or at the end of
 * a sitting to measures.json, under their keys and in that order; config.json holds the table, so
 * that a run's folder explains itself and the report knows no algorithm. */
#ifndef RL_MEASURE_H
#define RL_MEASURE_H
#include "core/json.h"

typedef struct {
  const char *key;     /* in the file */
  const char *title;   /* of a column or a plot; NULL: is written, not shown */
  const char *unit;    /* nullable; of several numbers: what they lie along, from 0 to 1 */
  const char *caption; /* whole sentences for below the table; nullable */
  const char *beside;  /* key of the floor or reference that is shown beside it; nullable */
  const char *spread;  /* key of its standard deviation; nullable */
  const char *over;    /* key of how many (episodes) the deviation is over; nullable */
  bool less_is_better;
  bool main;    /* runs are compared by it; of several, by the last that is a number */
  bool no_best; /* main, but no reason to keep weights as best.safetensors */
  bool total;   /* a count, which adds up over evaluations */
  int count;    /* numbers under this key, 0: 1; or MEASURE_EPISODES */
} Measure;

enum { MEASURE_EPISODES = -1 }; /* count: one for each episode of an evaluation */

/* When something is measured or shown: at a step of training, or at the end of a sitting. */
typedef enum { MEASURE_STEP, MEASURE_END } MeasureWhen;

/* How many numbers a measure has, and all of a table; episodes: of an evaluation. */
int measure_numbers(const Measure *measure, int episodes);
int measures_numbers(const Measure *measures, int count, int episodes);

/* The numbers under their keys; `value` has them in the table's order.  Returns what is behind. */
const double *measures_put(const Measure *measures, int count, int episodes, const double *value,
                           JsonText *out);

/* The rows themselves as objects of an array, and one of them back: its texts are those of `row`.
 * False if it has no key. */
void measures_describe(const Measure *measures, int count, int episodes, JsonText *out);
bool measure_read(Measure *measure, const Json *row);

/* Which number of the table is the main one: the last row that is flagged so and is a number; NULL
 * if none is.  *main: it. */
const Measure *measures_main(const Measure *measures, int count, int episodes, const double *value,
                             double *main);

/* The same number as one of which more is better; NAN if nothing is to be chosen by it. */
double measure_gain(const Measure *measure, double value);

/* Of every policy that acts in an environment: what rl/rollout/evaluate.h finds.  Two parts of it
 * are told apart because a line of eval.jsonl has texts between them. */
enum { RETURNS_SCORES = 5, RETURNS_EPISODES = 2, RETURNS_EACH = 2, RETURNS = 9 };
enum { RETURNS_NORMALIZED = 3 }; /* the row of the normalised return */
extern const Measure measure_returns[RETURNS];

#endif
