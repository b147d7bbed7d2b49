/* figures.h -- what a run shows of itself: files in its folder, listed in figures.jsonl.
 *
 * A line is {"file", "title", "caption"} and, for one of a row over training, "step".  The file is
 * a PNG, or a JSON object that describes itself and may have a "title" and a "caption" too:
 *
 *   a table   {"columns": [text, ..], "rows": [[number or text, ..], ..]}
 *   plots     {"plots": [{"title", "x", "y", "log_scale", "most", "reference", "reference_label",
 *                         "curves": [{"name", "x": [..], "y": [..]}, ..]}, ..]}
 *
 * A plot leaves out what is above `most`, and has a dashed line at `reference`.  The report shows
 * figures in this order, those with a step last. */
#ifndef RL_FIGURES_H
#define RL_FIGURES_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  const char *file, *title, *caption; /* caption: nullable */
  int64_t step;                       /* negative: none */
} Figure;

typedef struct {
  Arena *arena;
  const char *folder;
  int64_t step; /* what the run is at */
  Figure *figure;
  int count, capacity;
  bool failed; /* it was said that one could not be made */
} Figures;

/* The figures that the folder lists already but for those later than `step`, which a resumed run
 * makes again.  Whatever is not a figure is left out.  Arena and folder outlive the list. */
void figures_open(Figures *figures, Arena *arena, const char *folder, int64_t step);

/* Where a file of this name goes; in the arena. */
const char *figures_path(const Figures *figures, const char *file);

/* Add a file that is there, or take the place of what was said about it.  The texts outlive the
 * list.  figures_keep: one of a row over training, made at figures->step. */
void figures_add(Figures *figures, const char *file, const char *title, const char *caption);
void figures_keep(Figures *figures, const char *file, const char *title, const char *caption);

/* Write figures.jsonl whole; nothing if there are none. */
bool figures_save(const Figures *figures, Error *error);

#endif
