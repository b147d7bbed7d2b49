/* measuring.c -- from the tables of a definition to lines, and from its figures to their list. */
#include "rl/train/measuring.h"
#include "core/log.h"

static int episodes_of(const Agent *agent) { return algo_episodes(agent->setup); }

/* the next set from `*set` on that applies; NULL: none */
static const MeasureSet *next_set(const Agent *agent, int *set) {
  for (const MeasureSet *s; (s = agent->def->measured[*set]); ++*set)
    if (!s->applies || s->applies(agent)) return s;
  return NULL;
}

/* one set into the line; of several sets the last main number is the run's */
static bool take_set(Agent *agent, const MeasureSet *s, JsonText *line, Measured *measured,
                     Error *error) {
  int episodes = episodes_of(agent);
  Arena *arena = arena_new();
  double *value = arena_array(arena, double, measures_numbers(s->measures, s->count, episodes));
  bool done = s->measure(agent, value, error);
  /* a set that says more than its numbers writes its own members of the line */
  if (done && s->write)
    s->write(agent, value, line);
  else if (done)
    measures_put(s->measures, s->count, episodes, value, line);
  /* the progress line shows the main number, and the best weights are chosen by it */
  double main;
  const Measure *found = done ? measures_main(s->measures, s->count, episodes, value, &main) : NULL;
  if (found) measured->main = found, measured->value = main;
  measured->any |= done && s->count; /* a set without measures leaves no line */
  arena_free(arena);
  return done;
}

bool measuring_take(Agent *agent, MeasureWhen when, JsonText *line, Measured *measured,
                    Error *error) {
  *measured = (Measured){ .any = false };
  algo_average(agent);
  const MeasureSet *s;
  for (int i = 0; (s = next_set(agent, &i)); i++)
    if (s->when == when && !take_set(agent, s, line, measured, error)) return false;
  return true;
}

void measuring_describe(const Agent *agent, JsonText *out) {
  const MeasureSet *s;
  for (int i = 0; (s = next_set(agent, &i)); i++)
    measures_describe(s->measures, s->count, episodes_of(agent), out);
}

/* said once, for the next evaluation may fail likewise */
static void note(Figures *figures, const char *what, const Error *error) {
  if (!figures->failed) log_progress(true, "%s: %s; training goes on", what, error->text);
  figures->failed = true;
}

void measuring_show(Agent *agent, MeasureWhen when, Figures *figures) {
  Error error;
  if (!agent->def->show) return;
  progress_live("making figures");
  /* a figure that cannot be made is noted; training goes on without it */
  if (!agent->def->show(agent, when, figures, &error)) note(figures, "no figure", &error);
  progress_live("");
  if (!figures_save(figures, &error)) note(figures, "figures are not listed", &error);
}
