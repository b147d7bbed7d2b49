/* page_scores.c -- the tables of scores: one run, several, and groups that differ in the seed. */
#include "rl/page.h"
#include "rl/scores.h"
#include <math.h>
#include <string.h>

/* ---- tables of scores ------------------------------------------------------------------------ */

static void put_header(const Page *page, const char *const *heads) {
  page_put(page, "<div class=\"scroll\"><table><thead><tr>");
  for (; *heads; heads++)
    fprintf(page->out, "<th%s>%s</th>", strstr(*heads, "acting") ? " class=\"act\"" : "", *heads);
  page_put(page, "</tr></thead><tbody>\n");
}

static void put_text_cell(const Page *page, const char *text) {
  page_put(page, "<td>");
  svg_text(page->out, text ? text : "–");
  page_put(page, "</td>");
}

static void put_act_cell(const Page *page, const char *act) {
  page_put(page, "<td class=\"act\">");
  svg_text(page->out, *act ? act : "–");
  page_put(page, "</td>");
}

static void put_spread_cell(const Page *page, double mean, double spread) {
  page_put(page, "<td>");
  page_spread(page, mean, spread);
  page_put(page, "</td>");
}

static void put_count_cell(const Page *page, double value) {
  page_put(page, "<td>");
  page_count(page, value);
  page_put(page, "</td>");
}

static void put_evaluation(const Page *page, const char *name, const HistoryEvaluation *e,
                           const Scores *s) {
  page_put(page, "<tr>");
  put_text_cell(page, name);
  put_count_cell(page, e->step);
  if (s->held_out) {
    put_spread_cell(page, e->held_out_loss, NAN);
  } else {
    put_spread_cell(page, e->return_mean, e->return_std);
    if (s->normalized) put_spread_cell(page, e->normalized_mean, e->normalized_std);
    page_put(page, "<td>");
    page_count(page, e->episodes);
    if (e->simulator_failures > 0) fprintf(page->out, " (%.0f failed)", e->simulator_failures);
    page_put(page, "</td>");
    put_spread_cell(page, e->length_mean, NAN);
    put_act_cell(page, e->act);
  }
  page_put(page, "</tr>\n");
}

static void put_caveats(const Page *page, bool normalized) {
  if (normalized)
    page_put(page, " Normalised: 0 is a random policy, 100 the expert of the environment's reference.");
  if (normalized && any_generated(page))
    page_put(page, " The data set is generated: these scores do not compare with published D4RL scores.");
}

static void put_headline(const Page *page) {
  static const char *const held_out[] = { "evaluation", "step", "held-out loss", NULL };
  static const char *const plain[] = { "evaluation", "step",   "return", "episodes",
                                       "length",     "acting", NULL };
  static const char *const full[] = { "evaluation", "step",   "return", "normalised",
                                      "episodes",   "length", "acting", NULL };
  const History *run = &page->run[0];
  Scores s = scores_of(run);
  if (!s.count) {
    page_put(page, "<p class=\"note\">This run has not been evaluated yet.</p>\n");
    return;
  }
  put_header(page, s.held_out ? held_out : s.normalized ? full : plain);
  put_evaluation(page, "last", &s.last, &s);
  put_evaluation(page, "best", &s.best, &s);
  put_evaluation(page, arena_text(page->arena, "mean of the last %zu", s.averaged), &s.mean, &s);
  for (size_t i = 0; i < run->evaluations; i++) {
    const HistoryEvaluation *e = &run->evaluation[i];
    if (!e->training) put_evaluation(page, arena_text(page->arena, "weights of %s", e->which), e, &s);
  }
  page_put(page, "</tbody></table></div>\n<p class=\"note\">");
  page_put(page, s.held_out ? "Loss on the episodes held out of training; less is better."
                    : "± is the standard deviation over episodes, in the last row over all the "
                      "episodes of its evaluations.");
  page_put(page, " The best is chosen among the evaluations of this run, so it flatters.");
  put_caveats(page, s.normalized);
  page_put(page, "</p>\n");
}

/* ---- several runs ---------------------------------------------------------------------------- */

static void page_swatch(const Page *page, int colour) {
  bool dashed;
  const char *name = svg_colour(colour, &dashed);
  fprintf(page->out,
          "<svg viewBox=\"0 0 24 6\" aria-hidden=\"true\"><path class=\"%s line%s\" "
          "d=\"M1 3L23 3\"/></svg>",
          name, dashed ? " dashed" : "");
}

static void page_legend_entry(const Page *page, int colour, const char *name) {
  page_put(page, "<li>");
  page_swatch(page, colour);
  svg_text(page->out, name);
  page_put(page, "</li>");
}

static void page_run_legend(const Page *page) {
  if (page->count < 2) return;
  page_put(page, "<ul class=\"legend\">");
  for (size_t i = 0; i < page->count; i++) page_legend_entry(page, (int)i, page->run[i].folder);
  page_put(page, "</ul>\n");
}

static void put_run_row(const Page *page, const History *run) {
  Scores s = scores_of(run);
  page_put(page, "<tr>");
  put_text_cell(page, run->folder);
  put_text_cell(page, page_config_text(page, run, "seed"));
  put_count_cell(page, s.count ? s.last.step : NAN);
  if (!s.count) s.last = s.best = s.mean = (HistoryEvaluation){ .return_mean = NAN, .act = "" };
  const HistoryEvaluation *shown[] = { &s.last, &s.best, &s.mean };
  for (int i = 0; i < 3; i++) {
    const HistoryEvaluation *e = shown[i];
    if (s.normalized)
      put_spread_cell(page, e->normalized_mean, e->normalized_std);
    else
      put_spread_cell(page, score(e, s.held_out && s.count), e->return_std);
  }
  put_count_cell(page, s.count ? s.last.episodes : NAN);
  put_act_cell(page, s.last.act);
  page_put(page, "</tr>\n");
}

static bool any_normalized(const Page *page) {
  bool any = false;
  for (size_t i = 0; i < page->count; i++) any |= scores_of(&page->run[i]).normalized;
  return any;
}

static void put_runs(const Page *page) {
  static const char *const heads[] = { "run",      "seed",   "step",
                                       "last",     "best",   "mean of last 5",
                                       "episodes", "acting", NULL };
  put_header(page, heads);
  for (size_t i = 0; i < page->count; i++) put_run_row(page, &page->run[i]);
  page_put(page, "</tbody></table></div>\n<p class=\"note\">Normalised score where the environment has a "
         "reference, else the return (or the held-out loss). ± is the standard deviation over "
         "episodes. The best is chosen among the evaluations of each run, so it flatters.");
  put_caveats(page, any_normalized(page));
  page_put(page, "</p>\n");
}

/* Two runs that differ in nothing but the seed. */
static bool differ_in_seed(const Page *page, const History *a, const History *b) {
  static const char *const keys[] = { "algo", "env", "data", "data_hash", "steps", "settings" };
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    if (!same_text(page_config_text(page, a, keys[i]), page_config_text(page, b, keys[i]))) return false;
  }
  Scores sa = scores_of(a), sb = scores_of(b);
  return sa.count && sb.count && sa.held_out == sb.held_out && sa.normalized == sb.normalized &&
         sa.last.step == sb.last.step && same_text(sa.last.act, sb.last.act) &&
         !same_text(page_config_text(page, a, "seed"), page_config_text(page, b, "seed"));
}

typedef struct {
  double count, sum, squares;
} Moments;

static void add_moment(Moments *m, double value) {
  double offset = m->count ? value - m->sum / m->count : 0;
  m->squares += offset * offset * m->count / (m->count + 1); /* Welford */
  m->count++, m->sum += value;
}

static double seed_std(const Moments *m) { return sqrt(m->squares / (m->count - 1)); }

/* Row of the group that `first` leads: one run of every seed. */
static void put_seed_row(const Page *page, size_t first, const size_t *member, size_t members) {
  const History *lead = &page->run[first];
  Moments moments[3] = { { 0 } };
  Scores s = { 0 };
  for (size_t i = 0; i < members; i++) {
    s = scores_of(&page->run[member[i]]);
    const HistoryEvaluation *shown[] = { &s.last, &s.best, &s.mean };
    for (int k = 0; k < 3; k++)
      add_moment(&moments[k],
                 s.normalized ? shown[k]->normalized_mean : score(shown[k], s.held_out));
  }
  const char *env = page_config_text(page, lead, "env"), *algo = page_config_text(page, lead, "algo");
  page_put(page, "<tr>");
  put_text_cell(
      r, arena_text(page->arena, "%s%s%s", algo ? algo : "run", env ? " on " : "", env ? env : ""));
  put_count_cell(page, (double)members);
  put_count_cell(page, s.last.step);
  for (int k = 0; k < 3; k++)
    put_spread_cell(page, moments[k].sum / moments[k].count, seed_std(&moments[k]));
  put_act_cell(page, s.last.act);
  page_put(page, "</tr>\n");
}

static void put_seeds(const Page *page) {
  static const char *const heads[] = { "same settings", "seeds",          "step",   "last",
                                       "best",          "mean of last 5", "acting", NULL };
  size_t *member = arena_array(page->arena, size_t, page->count), groups = 0;
  bool *taken = arena_array(page->arena, bool, page->count);
  for (size_t first = 0; first < page->count; first++) {
    size_t members = 1;
    member[0] = first;
    for (size_t i = first + 1; i < page->count && !taken[first]; i++) {
      bool fits = !taken[i];
      for (size_t k = 0; k < members && fits; k++)
        fits = differ_in_seed(page, &page->run[member[k]], &page->run[i]);
      if (fits) member[members++] = i, taken[i] = true;
    }
    if (members < 2) continue;
    if (!groups++) {
      page_put(page, "<h2>Over seeds</h2>\n");
      put_header(page, heads);
    }
    put_seed_row(page, first, member, members);
  }
  if (groups)
    page_put(page, "</tbody></table></div>\n<p class=\"note\">Runs that differ in nothing but the seed. "
           "± is seed_std, the standard deviation over training seeds.</p>\n");
}

