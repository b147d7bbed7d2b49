/* page_scores.c -- the tables of scores: one run, several, and groups that differ in the seed.
 *
 * No score stands without the act record it belongs to: once below a table if all rows share it,
 * else in a column. */
#include "rl/report/page.h"
#include "rl/report/scores.h"
#include "rl/draw/svg.h"
#include <math.h>
#include <string.h>

/* ---- cells ----------------------------------------------------------------------------------- */

/* `act`: the record that all rows share; NULL: they differ and a last column shows them. */
static void open_table(const Page *page, const char *const *heads, const char *act) {
  page_put(page, "<div class=\"scroll\"><table><thead><tr>");
  for (; *heads; heads++) fprintf(page->out, "<th>%s</th>", *heads);
  page_put(page, act ? "" : "<th class=\"act\">with</th>");
  page_put(page, "</tr></thead><tbody>\n");
}

static void close_table(const Page *page, const char *act) {
  page_put(page, "</tbody></table></div>\n");
  if (!act || !*act) return;
  page_put(page, "<p class=\"note\">Acting with <code>");
  svg_text(page->out, act);
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

static void end_row(const Page *page, const char *shared_act, const char *act) {
  if (!shared_act) {
    page_put(page, "<td class=\"act\">");
    page_put_text(page, *act ? act : NULL);
    page_put(page, "</td>");
  }
  page_put(page, "</tr>\n");
}

/* The act record of every evaluation of every run, NULL if they differ. */
static const char *shared_act(const Page *page) {
  const char *act = NULL;
  for (size_t i = 0; i < page->count; i++) {
    for (size_t k = 0; k < page->run[i].evaluations; k++) {
      const char *this = page->run[i].evaluation[k].act;
      if (act && strcmp(act, this)) return NULL;
      act = this;
    }
  }
  return act ? act : "";
}

/* ---- what the numbers do not say ------------------------------------------------------------- */

static bool is_generated(const History *run) {
  return json_bool(page_config(run, "generated"), false);
}

static void put_caveats(const Page *page) {
  bool normalized = false, generated = false;
  for (size_t i = 0; i < page->count; i++) {
    normalized |= scores_of(&page->run[i]).normalized;
    generated |= is_generated(&page->run[i]);
  }
  page_put(page, " The best is chosen by these same evaluations, so it is optimistic.");
  if (normalized)
    page_put(page, " Normalised: 0 is the random and 100 the expert policy of the reference.");
  if (normalized && generated)
    page_put(page, " The data are generated: no comparison with published D4RL scores.");
}

/* ---- one run --------------------------------------------------------------------------------- */

static void put_evaluation(const Page *page, const char *name, const HistoryEvaluation *e,
                           const Scores *s, const char *act) {
  page_put(page, "<tr>");
  put_text_cell(page, name);
  put_count_cell(page, e->step);
  if (s->planned) {
    put_spread_cell(page, e->plan_error, NAN);
    put_spread_cell(page, e->plan_still, NAN);
    put_spread_cell(page, e->data_error, NAN);
  } else if (s->distance) {
    put_spread_cell(page, e->distance, NAN);
    put_spread_cell(page, e->floor, NAN);
    put_spread_cell(page, e->distance / e->floor, NAN);
  } else if (s->held_out) {
    put_spread_cell(page, e->held_out_loss, NAN);
  } else {
    put_spread_cell(page, e->return_mean, e->return_std);
    if (s->normalized) put_spread_cell(page, e->normalized_mean, e->normalized_std);
    page_put(page, "<td>");
    page_put_count(page, e->episodes);
    if (e->simulator_failures > 0) fprintf(page->out, " (%.0f failed)", e->simulator_failures);
    page_put(page, "</td>");
    put_spread_cell(page, e->length_mean, NAN);
  }
  end_row(page, act, e == &s->mean && s->acts_differ ? "several, see eval.jsonl" : e->act);
}

static void put_run(const Page *page, const History *run) {
  static const char *const distance[] = {
    "evaluation", "step", "distance to data", "between two samples of data", "ratio", NULL
  };
  static const char *const plans[] = { "evaluation",        "step",        "error of plans",
                                       "of standing still", "of the data", NULL };
  static const char *const loss[] = { "evaluation", "step", "held-out loss", NULL };
  static const char *const plain[] = { "evaluation", "step", "return", "episodes", "length", NULL };
  static const char *const full[] = { "evaluation", "step",   "return", "normalised",
                                      "episodes",   "length", NULL };
  Scores s = scores_of(run);
  const char *act = shared_act(page);
  if (!s.count) {
    page_put(page, "<p class=\"note\">Not evaluated yet.</p>\n");
    return;
  }
  open_table(page,
             s.planned      ? plans
             : s.distance   ? distance
             : s.held_out   ? loss
             : s.normalized ? full
                            : plain,
             act);
  put_evaluation(page, "last", &s.last, &s, act);
  put_evaluation(page, "best", &s.best, &s, act);
  put_evaluation(page, arena_text(page->arena, "mean of the last %zu", s.averaged), &s.mean, &s,
                 act);
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training)
      put_evaluation(page, arena_text(page->arena, "weights of %s", e->which), e, &s, act);
  }
  close_table(page, act);
  page_put(page, "<p class=\"note\">");
  page_put(page, s.planned ? "The simulator is put into each state of a plan and does its action: "
                             "root mean square distance to the plan's next state, each entry "
                             "divided by the deviation of its change in one step of the data; "
                             "less is better. Standing still: of the plan's states to their next "
                             "ones. Drifts over more steps are in eval.jsonl."
                 : s.distance ? "Sliced Wasserstein distance between samples and data that no "
                                "training saw; less is better, and 1 is the best a ratio can be."
                 : s.held_out ? "Loss on data held out of training; less is better."
                              : "± is the standard deviation over episodes; for the mean, over the "
                                "episodes of all its evaluations.");
  put_caveats(page);
  page_put(page, "</p>\n");
}

/* ---- several runs ---------------------------------------------------------------------------- */

static void put_runs(const Page *page) {
  static const char *const heads[] = { "run",  "seed",           "step",     "last",
                                       "best", "mean of last 5", "episodes", NULL };
  const char *act = shared_act(page);
  open_table(page, heads, act);
  for (size_t i = 0; i < page->count; i++) {
    const History *run = &page->run[i];
    Scores s = scores_of(run);
    const HistoryEvaluation *const shown[] = { &s.last, &s.best, &s.mean };
    page_put(page, "<tr>");
    put_text_cell(page, run->folder);
    put_text_cell(page, page_config_text(page, run, "seed"));
    put_count_cell(page, s.last.step);
    for (int k = 0; k < 3; k++)
      put_spread_cell(page, scores_value(&s, shown[k]), scores_std(&s, shown[k]));
    put_count_cell(page, s.last.episodes);
    end_row(page, act, s.last.act);
  }
  close_table(page, act);
  page_put(page, "<p class=\"note\">Normalised scores where the environment has a reference, else "
                 "returns, or losses on held-out data (less is better). ± is the standard "
                 "deviation over episodes.");
  put_caveats(page);
  page_put(page, "</p>\n");
}

/* ---- over seeds ------------------------------------------------------------------------------ */

/* Trained alike, evaluated alike, from different seeds? */
static bool differ_in_seed(const Page *page, const History *a, const History *b) {
  static const char *const keys[] = { "algo", "env", "data", "data_hash", "steps", "settings" };
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (!page_same_text(page_config_text(page, a, keys[i]), page_config_text(page, b, keys[i])))
      return false;
  }
  Scores sa = scores_of(a), sb = scores_of(b);
  return sa.count && sb.count && sa.held_out == sb.held_out && sa.normalized == sb.normalized &&
         sa.distance == sb.distance && sa.planned == sb.planned && sa.last.step == sb.last.step &&
         !strcmp(sa.last.act, sb.last.act) &&
         !page_same_text(page_config_text(page, a, "seed"), page_config_text(page, b, "seed"));
}

typedef struct {
  double count, mean, squares; /* squares: summed about the mean */
} Moments;

static void add_moment(Moments *m, double value) {
  double offset = value - m->mean;
  m->mean += offset / ++m->count;
  m->squares += offset * (value - m->mean); /* Welford 1962 */
}

static void put_seed_row(const Page *page, const History *const *run, size_t runs,
                         const char *act) {
  Moments last = { 0 }, best = { 0 }, mean = { 0 };
  for (size_t i = 0; i < runs; i++) {
    Scores s = scores_of(run[i]);
    add_moment(&last, scores_value(&s, &s.last));
    add_moment(&best, scores_value(&s, &s.best));
    add_moment(&mean, scores_value(&s, &s.mean));
  }
  const Moments *const shown[] = { &last, &best, &mean };
  const char *env = page_config_text(page, run[0], "env");
  const char *algo = page_config_text(page, run[0], "algo");
  Scores first = scores_of(run[0]);
  page_put(page, "<tr>");
  put_text_cell(page, env ? arena_text(page->arena, "%s on %s", algo ? algo : "–", env) : algo);
  put_count_cell(page, (double)runs);
  put_count_cell(page, first.last.step);
  for (int k = 0; k < 3; k++)
    put_spread_cell(page, shown[k]->mean, sqrt(shown[k]->squares / (shown[k]->count - 1)));
  end_row(page, act, first.last.act);
}

/* A run joins the first group whose every member differs from it in the seed alone. */
static void put_seeds(const Page *page) {
  static const char *const heads[] = { "trained alike", "seeds",          "step", "last",
                                       "best",          "mean of last 5", NULL };
  const History **member = arena_array(page->arena, const History *, page->count);
  bool *taken = arena_array(page->arena, bool, page->count);
  const char *act = shared_act(page);
  size_t groups = 0;
  for (size_t first = 0; first < page->count; first++) {
    if (taken[first]) continue;
    size_t members = 1;
    member[0] = &page->run[first];
    for (size_t i = first + 1; i < page->count; i++) {
      bool fits = !taken[i];
      for (size_t k = 0; k < members && fits; k++)
        fits = differ_in_seed(page, member[k], &page->run[i]);
      if (fits) member[members++] = &page->run[i], taken[i] = true;
    }
    if (members < 2) continue;
    if (!groups++) page_put(page, "<h2>Over seeds</h2>\n"), open_table(page, heads, act);
    put_seed_row(page, member, members, act);
  }
  if (!groups) return;
  close_table(page, act);
  page_put(page, "<p class=\"note\">Runs that differ in nothing but the seed. ± is seed_std, the "
                 "standard deviation over training seeds.</p>\n");
}

/* ---- models of pictures ---------------------------------------------------------------------- */

static const char *sampling_of(const Page *page, const History *run) {
  const Json *sampling = json_get(run->scores, "sampling");
  return sampling ? history_text(page->arena, sampling) : "";
}

static void put_images_row(const Page *page, const History *run, const char *act) {
  static const char *const measures[][2] = { { "frechet", "frechet_real" },
                                             { "nearest", "nearest_real" } };
  const char *which = json_text(json_get(run->scores, "which"));
  page_put(page, "<tr>");
  put_text_cell(page, page->count > 1 ? run->folder : which);
  put_count_cell(page, json_number(json_get(run->scores, "step"), NAN));
  put_count_cell(page, json_number(json_get(run->scores, "pictures"), NAN));
  for (int i = 0; i < 2; i++) {
    double ours = json_number(json_get(run->scores, measures[i][0]), NAN);
    double data = json_number(json_get(run->scores, measures[i][1]), NAN);
    put_spread_cell(page, ours, NAN);
    put_spread_cell(page, data, NAN);
    put_spread_cell(page, ours / data, NAN);
  }
  end_row(page, act, sampling_of(page, run));
}

static void put_images(const Page *page) {
  const char *const heads[] = { page->count > 1 ? "run" : "weights",
                                "step",
                                "samples",
                                "Fréchet distance",
                                "of real pictures",
                                "ratio",
                                "to the nearest",
                                "of real pictures",
                                "ratio",
                                NULL };
  const char *act = NULL;
  bool same = true;
  for (size_t i = 0; i < page->count; i++) {
    if (!page->run[i].scores) continue;
    const char *this = sampling_of(page, &page->run[i]);
    same = same && (!act || !strcmp(act, this));
    act = this;
  }
  if (!act) return;
  page_put(page, "<h2>Samples beside real pictures</h2>\n");
  open_table(page, heads, same ? act : NULL);
  for (size_t i = 0; i < page->count; i++)
    if (page->run[i].scores) put_images_row(page, &page->run[i], same ? act : NULL);
  close_table(page, NULL);
  page_put(page, "<p class=\"note\">");
  if (same) page_put(page, "Drawn with <code>"), page_put_text(page, act);
  page_put(page, same ? "</code>. " : "");
  page_put(page,
           "Fréchet distance between Gaussians fitted to the 64 leading principal components of "
           "the pixels: of samples to as many test pictures, and of as many other test pictures to "
           "these; 1 is the best a ratio can be. To the nearest: median Euclidean distance to the "
           "nearest training picture, of samples and of test pictures; a ratio far below 1 would "
           "mean copies.</p>\n");
}

void page_put_scores(const Page *page) {
  if (page->count == 1) {
    put_run(page, &page->run[0]);
  } else {
    put_runs(page);
    put_seeds(page);
  }
  put_images(page);
}
