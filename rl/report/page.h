/* page.h -- the HTML page of a report: what its sections share, and the sections.
 *
 * With one run a plot's colours are its quantities; with several they are the runs, and every
 * quantity has a plot of its own. */
#ifndef RL_PAGE_H
#define RL_PAGE_H
#include "rl/report/history.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct {
  const History *run; /* [count] */
  size_t count;
  const char *path; /* of the page itself */
  Arena *arena;
  FILE *out;
} Page;

/* ---- the sections ---------------------------------------------------------------------------- */

void page_put_results(const Page *page);  /* tables, each with the act record it belongs to */
void page_put_pictures(const Page *page); /* what figures.jsonl lists */
void page_put_learning(const Page *page); /* what was measured while it trained */
void page_put_figures(const Page *page);  /* metrics of training */
void page_put_record(const Page *page);   /* settings, data, versions */

/* ---- what they share ------------------------------------------------------------------------- */

extern const char page_style[];

void page_put(const Page *page, const char *html);      /* as it is */
void page_put_text(const Page *page, const char *text); /* escaped; NULL: a dash */

/* Three to six digits that matter, a true minus; a dash if not finite. */
void page_put_number(const Page *page, double value);
void page_put_count(const Page *page, double value);                /* 1,000,000 */
void page_put_spread(const Page *page, double mean, double spread); /* 3.14 ± 0.02 */

/* The value in config.json, NULL if absent or null; as text, and as JSON. */
const char *page_config_text(const Page *page, const History *run, const char *key);
const Json *page_config(const History *run, const char *key);
bool page_all_same(const Page *page, const char *key); /* do all runs say the same? */

/* "hopper" of a run's data path/hopper.hdf5; NULL: no data. */
const char *page_data_name(const Page *page, const History *run);

bool page_same_text(const char *a, const char *b); /* either may be NULL */

/* A line of the curve's colour and its name, as an item of <ul class="legend">. */
void page_put_legend_entry(const Page *page, int colour, const char *name);

#endif
