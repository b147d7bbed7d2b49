/* page_results.c -- the tables of measures: one run, several, groups that differ in the seed, and
 * what was measured at the end.
 *
 * No number stands without the act record it belongs to: once below a table if all rows share it,
 * else in a column. */
#include "rl/report/page.h"
#include "rl/report/results.h"
#include "rl/render/svg.h"
#include <math.h>
#include <string.h>

/* ---- how they acted -------------------------------------------------------------------------- */

/* What rows were made with, as key=value pairs with spaces between them. */
typedef struct {
  const char *shared; /* pairs that all rows have */
  bool differ;        /* in others, which a last column then shows */
  bool any;           /* row yet */
} Acts;

/* The next pair at or behind *rest, which moves behind it; its length, 0 at the end. */
static int next_pair(const char **rest, const char **pair) {
  *rest += strspn(*rest, " ");
  int length = (int)strcspn(*rest, " ");
  *pair = *rest, *rest += length;
  return length;
}

static bool has_pair(const char *with, const char *pair, int length) {
  const char *one;
  for (int n; (n = next_pair(&with, &one));)
    if (n == length && !strncmp(one, pair, (size_t)n)) return true;
  return false;
}

/* Those pairs of `with` that `others` has too, or that it has not. */
static const char *choose_pairs(const Page *page, const char *with, const char *others, bool has) {
  const char *chosen = "", *pair;
  for (int n; (n = next_pair(&with, &pair));)
    if (has_pair(others, pair, n) == has)
      chosen = arena_text(page->arena, "%s%s%.*s", chosen, *chosen ? " " : "", n, pair);
  return chosen;
}

/* One more row: what it does not share with those before it becomes a difference. */
static void add_act(const Page *page, Acts *acts, const char *with) {
  if (!acts->any) {
    *acts = (Acts){ .shared = with, .any = true };
  } else if (acts->differ || strcmp(acts->shared, with) != 0) {
    acts->shared = choose_pairs(page, acts->shared, with, true);
    acts->differ = true;
  }
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* In a last column, if rows differ: in what. */
static void open_table(const Page *page, const char *const *heads, const Acts *acts) {
  page_put(page, "<div class=\"scroll\"><table><thead><tr>");
  for (; *heads; heads++) {
    page_put(page, "<th>");
    svg_text(page->out, *heads);
    page_put(page, "</th>");
  }
  page_put(page, acts->differ ? "<th class=\"act\">with</th>" : "");
  page_put(page, "</tr></thead><tbody>\n");
}

/* Below the table: what all rows were made with. */
static void close_table(const Page *page, const Acts *acts) {
  page_put(page, "</tbody></table></div>\n");
  if (!acts->any || !*acts->shared) return;
  fprintf(page->out, "<p class=\"note\">%s <code>", acts->differ ? "All with" : "With");
  svg_text(page->out, acts->shared);
  page_put(page, "</code></p>\n");
}

static void put_text_cell(const Page *page, const char *text) {
  page_put(page, "<td>");
  page_put_text(page, text);
  page_put(page, "</td>");
}

static void put_count_cell(const Page *page, double value) {
  page_put(page, "<td>");
  page_put_count(page, value);
  page_put(page, "</td>");
}

static void put_spread_cell(const Page *page, double mean, double spread) {
  page_put(page, "<td>");
  page_put_spread(page, mean, spread);
  page_put(page, "</td>");
}

static void end_row(const Page *page, const Acts *acts, const char *with) {
  if (acts->differ) {
    const char *own = choose_pairs(page, with, acts->shared, false);
    page_put(page, "<td class=\"act\">");
    page_put_text(page, *own ? own : NULL);
    page_put(page, "</td>");
  }
  page_put(page, "</tr>\n");
}

/* Of every evaluation of every run. */
static Acts all_acts(const Page *page) {
  Acts acts = { 0 };
  for (size_t i = 0; i < page->count; i++)
    for (size_t k = 0; k < page->run[i].evaluations; k++)
      add_act(page, &acts, page->run[i].evaluation[k].with);
  return acts;
}

/* ---- what the numbers do not say ------------------------------------------------------------- */

/* Has a run on generated data normalised returns? */
static bool looks_published(const Page *page) {
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    if (json_bool(page_config(run, "generated"), false) &&
        results_has(run, history_measure(run, measure_returns[RETURNS_NORMALIZED].key)))
      return true;
  }
  return false;
}

/* What a reader might otherwise take the numbers for. */
static void put_caveats(const Page *page) {
  page_put(page, " The best is chosen by these same evaluations, so it is optimistic.");
  if (looks_published(page))
    page_put(page, " The data are generated: no comparison with published D4RL scores.");
}

/* ---- columns --------------------------------------------------------------------------------- */

/* A measure and, if it has one, the floor or reference beside it and the ratio. */
typedef struct {
  const HistoryMeasure *shown, *spread, *beside; /* the last two nullable */
} Column;

typedef struct {
  Column column[HISTORY_MAX_MEASURES];
  int count;
} Columns;

/* what a table is about: the evaluations of a run, or what was measured at its end */
typedef struct {
  const History *run;
  bool end;
} Rows;

/* Is there a number to show, of counts one that is not 0? */
static bool is_shown(const Rows *rows, const HistoryMeasure *m) {
  const History *run = rows->run;
  size_t count = rows->end ? run->end != NULL : run->evaluations;
  /* without a title, or with several numbers, it is no column of a table */
  for (size_t i = 0; i < count && m->is.title && m->numbers == 1; i++) {
    double value = history_value(rows->end ? run->end : &run->evaluation[i], m);
    if (m->is.total ? value > 0 : isfinite(value)) return true;
  }
  return false;
}

/* Is it shown in another measure's column already? */
static bool is_beside(const Rows *rows, const HistoryMeasure *m) {
  const History *run = rows->run;
  for (int i = 0; i < run->measures; i++)
    if (page_same_text(run->measure[i].is.beside, m->is.key) && is_shown(rows, &run->measure[i]))
      return true;
  return false;
}

/* First what runs are compared by, then the others, both in the order of the table. */
static Columns columns_of(const Rows *rows) {
  const History *run = rows->run;
  Columns c = { .count = 0 };
  /* main measures in the first round, the others in the second */
  for (int other = 0; other < 2; other++)
    for (int i = 0; i < run->measures; i++) {
      const HistoryMeasure *m = &run->measure[i];
      if (m->is.main == other || !is_shown(rows, m) || is_beside(rows, m)) continue;
      const HistoryMeasure *beside = history_measure(run, m->is.beside);
      /* a floor that was never measured leaves the measure alone */
      if (beside && !is_shown(rows, beside)) beside = NULL;
      c.column[c.count++] = (Column){ m, history_measure(run, m->is.spread), beside };
    }
  return c;
}

/* the name of the rows, "step" and the titles; NULL at the end */
static const char **heads_of(const Page *page, const char *name, const Columns *c) {
  const char **heads = arena_array(page->arena, const char *, 3 * c->count + 3), **next = heads;
  *next++ = name, *next++ = "step";
  for (int i = 0; i < c->count; i++) {
    *next++ = c->column[i].shown->is.title;
    /* as many headings as put_cells writes cells */
    if (c->column[i].beside) *next++ = c->column[i].beside->is.title, *next++ = "ratio";
  }
  return heads;
}

/* The numbers of one evaluation, column by column. */
static void put_cells(const Page *page, const Columns *c, const HistoryEvaluation *e) {
  for (int i = 0; i < c->count; i++) {
    const Column *column = &c->column[i];
    double value = history_value(e, column->shown);
    /* counts have no deviation; a floor and a ratio none that is known */
    if (column->shown->is.total)
      put_count_cell(page, value);
    else
      put_spread_cell(page, value, history_value(e, column->spread));
    if (!column->beside) continue;
    double beside = history_value(e, column->beside);
    put_spread_cell(page, beside, NAN);
    put_spread_cell(page, value / beside, NAN);
  }
}

/* What the measures shown are, and of which little is good. */
static void put_captions(const Page *page, const Columns *c) {
  bool spread = false;
  for (int i = 0; i < c->count; i++) {
    const Measure *m = &c->column[i].shown->is;
    spread |= c->column[i].spread != NULL;
    page_put(page, i && (m->caption || m->less_is_better) ? " " : "");
    if (m->caption) svg_text(page->out, m->caption);
    if (!m->less_is_better) continue;
    if (!m->caption) svg_text(page->out, m->title);
    page_put(page, m->caption ? " Less is better." : ": less is better.");
  }
  if (spread)
    page_put(page, " ± is the standard deviation over episodes; for a mean, over the episodes of "
                   "all its evaluations.");
}

/* ---- one run --------------------------------------------------------------------------------- */

/* One row: what it is, its step, its numbers and, if rows differ, how it acted. */
static void put_evaluation(const Page *page, const char *name, const HistoryEvaluation *e,
                           const Columns *columns, const Acts *acts, const char *with) {
  page_put(page, "<tr>");
  put_text_cell(page, name);
  put_count_cell(page, e->step);
  put_cells(page, columns, e);
  end_row(page, acts, with);
}

/* Last, best and mean of the training, then evaluations of other weights. */
static void put_run(const Page *page, const History *run) {
  Results s = results_of(page->arena, run);
  Acts acts = all_acts(page);
  if (!s.count) {
    page_put(page, "<p class=\"note\">Not evaluated yet.</p>\n");
    return;
  }
  Columns columns = columns_of(&(Rows){ .run = run });
  open_table(page, heads_of(page, "evaluation", &columns), &acts);
  put_evaluation(page, "last", &s.last, &columns, &acts, s.last.with);
  put_evaluation(page, "best", &s.best, &columns, &acts, s.best.with);
  /* a mean depends less on chance than the last, and was not chosen like the best */
  put_evaluation(page, arena_text(page->arena, "mean of the last %zu", s.averaged), &s.mean,
                 &columns, &acts, s.acts_differ ? "several, see eval.jsonl" : s.mean.with);
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training)
      put_evaluation(page, arena_text(page->arena, "weights of %s", e->which), e, &columns, &acts,
                     e->with);
  }
  close_table(page, &acts);
  page_put(page, "<p class=\"note\">");
  put_captions(page, &columns);
  put_caveats(page);
  page_put(page, "</p>\n");
}

/* ---- several runs ---------------------------------------------------------------------------- */

static const char *title_of(const Results *s) { return s->main ? s->main->is.title : NULL; }

/* the measure that all runs are compared by; NULL: they differ */
static const HistoryMeasure *shared_main(const Page *page) {
  Results first = results_of(page->arena, &page->run[0]);
  for (size_t i = 1; i < page->count; i++) {
    Results s = results_of(page->arena, &page->run[i]);
    if (!first.main || !s.main || strcmp(s.main->is.key, first.main->is.key)) return NULL;
  }
  return first.main;
}

/* What the runs are compared by, said once for the whole table. */
static void put_runs_note(const Page *page, const HistoryMeasure *main) {
  page_put(page, "<p class=\"note\">");
  if (main) {
    Columns column = { { { main, history_measure(&page->run[0], main->is.spread), NULL } }, 1 };
    page_put(page, "Compared by: ");
    page_put_text(page, main->is.title);
    page_put(page, ". ");
    put_captions(page, &column);
  }
  put_caveats(page);
  page_put(page, "</p>\n");
}

/* A row for each run, by its main measure; a column names it if the runs have different ones. */
static void put_runs(const Page *page) {
  static const char *const alike[] = { "run",  "seed",           "step",     "last",
                                       "best", "mean of last 5", "episodes", NULL };
  static const char *const apart[] = { "run",  "measure",        "seed",     "step", "last",
                                       "best", "mean of last 5", "episodes", NULL };
  Acts acts = all_acts(page);
  const HistoryMeasure *main = shared_main(page);
  open_table(page, main ? alike : apart, &acts);
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    Results s = results_of(page->arena, run);
    /* a run that was not evaluated yet has a row of dashes */
    const HistoryEvaluation *const shown[] = { &s.last, &s.best, &s.mean };
    page_put(page, "<tr>");
    put_text_cell(page, run->folder);
    if (!main) put_text_cell(page, title_of(&s));
    put_text_cell(page, page_config_text(page, run, "seed"));
    put_count_cell(page, s.count ? s.last.step : NAN);
    for (int k = 0; k < 3; k++)
      put_spread_cell(page, results_value(&s, shown[k]), results_std(run, &s, shown[k]));
    /* how many episodes stand behind the last number */
    const HistoryMeasure *over = s.count ? history_measure(run, s.main->is.over) : NULL;
    put_count_cell(page, over ? history_value(&s.last, over) : NAN);
    end_row(page, &acts, s.count ? s.last.with : "");
  }
  close_table(page, &acts);
  put_runs_note(page, main);
}

/* ---- over seeds ------------------------------------------------------------------------------ */

/* Trained alike, evaluated alike, from different seeds? */
static bool differ_in_seed(const Page *page, const History *a, const History *b) {
  static const char *const keys[] = { "algo", "env", "data", "data_hash", "steps", "settings" };
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (!page_same_text(page_config_text(page, a, keys[i]), page_config_text(page, b, keys[i])))
      return false;
  }
  /* the same settings are not enough: both must have come equally far and acted alike */
  Results sa = results_of(page->arena, a), sb = results_of(page->arena, b);
  return sa.count && sb.count && !strcmp(sa.main->is.key, sb.main->is.key) &&
         sa.last.step == sb.last.step && !strcmp(sa.last.with, sb.last.with) &&
         !page_same_text(page_config_text(page, a, "seed"), page_config_text(page, b, "seed"));
}

typedef struct {
  double count, mean, squares; /* squares: summed about the mean */
} Moments;

/* Mean and squares in one pass, without the rounding that sums of squares have. */
static void add_moment(Moments *m, double value) {
  double offset = value - m->mean;
  m->mean += offset / ++m->count;
  m->squares += offset * (value - m->mean); /* Welford 1962 */
}

/* The settings in which the runs of the page differ, as this one has them: "eta=1". */
static const char *own_settings(const Page *page, const History *run) {
  const char *text = "";
  for (const Json *m = json_first(page_config(run, "settings")); m; m = json_next(m)) {
    const char *value = history_text(page->arena, m);
    bool same = true;
    for (size_t i = 0; i < page->count && same; i++) {
      const Json *other = json_get(page_config(&page->run[i], "settings"), json_key(m));
      same = other && !strcmp(history_text(page->arena, other), value);
    }
    if (!same)
      text = arena_text(page->arena, "%s%s%s=%s", text, *text ? " " : "", json_key(m), value);
  }
  return text;
}

/* Algorithm, task and data, and what tells it from other groups. */
static const char *group_name(const Page *page, const History *run) {
  const char *algo = page_config_text(page, run, "algo"), *data = page_data_name(page, run);
  const char *env = page_config_text(page, run, "env"), *own = own_settings(page, run);
  return arena_text(page->arena, "%s%s%s%s%s%s%s", algo ? algo : "–", env ? " on " : "",
                    env ? env : "", data ? ", " : "", data ? data : "", *own ? ", " : "", own);
}

/* One group: mean and deviation of each result over its runs. */
static void put_seed_row(const Page *page, const History *const *run, size_t runs,
                         const Acts *acts) {
  Moments last = { 0 }, best = { 0 }, mean = { 0 };
  for (size_t i = 0; i < runs; i++) {
    Results s = results_of(page->arena, run[i]);
    add_moment(&last, results_value(&s, &s.last));
    add_moment(&best, results_value(&s, &s.best));
    add_moment(&mean, results_value(&s, &s.mean));
  }
  const Moments *const shown[] = { &last, &best, &mean };
  Results first = results_of(page->arena, run[0]);
  page_put(page, "<tr>");
  put_text_cell(page, group_name(page, run[0]));
  put_count_cell(page, (double)runs);
  put_count_cell(page, first.last.step);
  for (int k = 0; k < 3; k++)
    put_spread_cell(page, shown[k]->mean, sqrt(shown[k]->squares / (shown[k]->count - 1)));
  end_row(page, acts, first.last.with);
}

/* A run joins the first group whose every member differs from it in the seed alone. */
static void put_seeds(const Page *page) {
  static const char *const heads[] = { "trained alike", "seeds",          "step", "last",
                                       "best",          "mean of last 5", NULL };
  const History **member = arena_array(page->arena, const History *, page->count);
  bool *taken = arena_array(page->arena, bool, page->count);
  Acts acts = all_acts(page);
  size_t groups = 0;
  for (size_t first = 0; first < page->count; first++) {
    /* a run belongs to one group only */
    if (taken[first]) continue;
    size_t members = 1;
    member[0] = &page->run[first];
    for (size_t i = first + 1; i < page->count; i++) {
      bool fits = !taken[i];
      for (size_t k = 0; k < members && fits; k++)
        fits = differ_in_seed(page, member[k], &page->run[i]);
      if (fits) member[members++] = &page->run[i], taken[i] = true;
    }
    /* one seed alone has no deviation */
    if (members < 2) continue;
    if (!groups++) page_put(page, "<h2>Over seeds</h2>\n"), open_table(page, heads, &acts);
    put_seed_row(page, member, members, &acts);
  }
  if (!groups) return;
  close_table(page, &acts);
  page_put(page, "<p class=\"note\">Runs that differ in nothing but the seed. ± is seed_std, the "
                 "standard deviation over training seeds.</p>\n");
}

/* ---- at the end ------------------------------------------------------------------------------ */

static Acts end_acts(const Page *page) {
  Acts acts = { 0 };
  for (size_t i = 0; i < page->count; i++)
    if (page->run[i].end) add_act(page, &acts, page->run[i].end->with);
  return acts;
}

/* Do both have the same measures, each with or without a number beside it? */
static bool same_columns(const Columns *a, const Columns *b) {
  bool same = a->count == b->count;
  for (int i = 0; i < a->count && same; i++)
    same = !strcmp(a->column[i].shown->is.key, b->column[i].shown->is.key) &&
           !a->column[i].beside == !b->column[i].beside;
  return same;
}

/* Runs have a row if they measured the same as the first that measured anything. */
static void put_end(const Page *page) {
  size_t first = 0;
  /* the first run that measured anything decides on the columns */
  while (first < page->count && !page->run[first].end) first++;
  if (first == page->count) return;
  Acts acts = end_acts(page);
  Columns columns = columns_of(&(Rows){ .run = &page->run[first], .end = true });
  page_put(page, "<h2>Measured at the end</h2>\n");
  open_table(page, heads_of(page, page->count > 1 ? "run" : "weights", &columns), &acts);
  for (size_t i = first; i < page->count; i++) {
    const History *run = &page->run[i];
    Columns own = columns_of(&(Rows){ .run = run, .end = true });
    if (run->end && same_columns(&own, &columns))
      put_evaluation(page, page->count > 1 ? run->folder : run->end->which, run->end, &own, &acts,
                     run->end->with);
  }
  close_table(page, &acts);
  page_put(page, "<p class=\"note\">");
  put_captions(page, &columns);
  page_put(page, "</p>\n");
}

void page_put_results(const Page *page) {
  if (page->count == 1) {
    put_run(page, &page->run[0]);
  } else {
    put_runs(page);
    put_seeds(page);
  }
  put_end(page);
}
