/* sample_sheet.c -- `diffrl sample --sheet`: rows of pictures from the same noise that differ
 * in one thing, which their captions name. */
#include "cli/sample_images.h"
#include "core/log.h"
#include "core/names.h"
#include "rl/render/picture_sheet.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 64, COLUMNS = 10, MOST_COLUMNS = 20 };

/* ---- what rows can differ in ----------------------------------------------------------------- */

/* Each sets one thing in `row` and returns its caption; NULL and an error for any other text. */
static const char *set_label(ImageSampling *row, const char *text, Error *error) {
  if (!sample_read_label(row->model, text, &row->label, error)) return NULL;
  if (row->label == PICTURES_NO_LABEL) return row->how.guidance = 1, "none";
  const char *name = sample_label_name(row->model, row->label);
  return name ? name : arena_text(row->job->arena, "%d", row->label);
}

static const char *set_guidance(ImageSampling *row, const char *text, Error *error) {
  return sample_read_guidance(row->model, text, &row->how.guidance, error)
             ? arena_text(row->job->arena, "guidance %g", row->how.guidance)
             : NULL;
}

static bool check_sampler(ImageSampling *row, Error *error) {
  const Model *model = &row->model->base;
  sample_settle(model, &row->how.sampler);
  Arena *scratch = arena_new();
  bool fits = sampler_new(scratch, &row->how.sampler, model->denoiser, error) != NULL;
  arena_free(scratch);
  return fits;
}

static const char *set_sampler(ImageSampling *row, const char *text, Error *error) {
  row->how.sampler.method = text, row->how.sampler.eta = 0;
  return check_sampler(row, error) ? text : NULL;
}

static const char *set_steps(ImageSampling *row, const char *text, Error *error) {
  char *end;
  long steps = strtol(text, &end, 10);
  if (end == text || *end || steps < 1 || steps > 100000) {
    error_set(error, FAIL_USAGE, "sample: --rows %s: expected steps from 1 to 100000", text);
    return NULL;
  }
  row->how.sampler.steps = (int)steps;
  if (!check_sampler(row, error)) return NULL;
  return arena_text(row->job->arena, steps > 1 ? "%ld steps" : "%ld step", steps);
}

/* rows: the default; not those that this model's noise does not allow, if `some` */
static const struct Kind {
  const char *name, *option, *rows;
  const char *(*set)(ImageSampling *row, const char *text, Error *error);
  bool some;
} kinds[] = {
  { "labels", "label", NULL, set_label, false },
  { "guidance", "guidance", "0,1,2,4", set_guidance, false },
  { "samplers", "sampler", "ddpm,ddim,dpmpp_2m,unipc,euler,heun,sde_dpmpp_2m", set_sampler, true },
  { "steps", "steps", "2,5,10,20,50", set_steps, true },
};

static bool find_kind(const Sample *asked, const struct Kind **kind, Error *error) {
  int i =
      names_find(NAMES(kinds, sizeof kinds / sizeof *kinds, .what = "sheet"), asked->sheet, error);
  if (i < 0) return false;
  *kind = &kinds[i];
  return !command_given(&asked->parsed, kinds[i].option) ||
         error_set(error, FAIL_USAGE,
                   "sample: --%s and --sheet %s: each row has its own; name them by --rows A,B,..",
                   kinds[i].option, kinds[i].name);
}

/* ---- rows ------------------------------------------------------------------------------------ */

typedef struct {
  ImageSampling row[MOST_ROWS];
  const char *caption[MOST_ROWS];
  int rows, columns;
} Sheet;

static bool add_row(Sheet *sheet, const ImageSampling *base, const struct Kind *kind,
                    const char *text, Error *error) {
  if (sheet->rows == MOST_ROWS)
    return error_set(error, FAIL_USAGE, "sample: a sheet has at most %d rows", MOST_ROWS);
  sheet->row[sheet->rows] = *base;
  sheet->caption[sheet->rows] = kind->set(&sheet->row[sheet->rows], text, error);
  return sheet->caption[sheet->rows] && ++sheet->rows;
}

/* the parts of a list with commas */
static bool add_rows(Sheet *sheet, const ImageSampling *base, const struct Kind *kind,
                     const char *list, bool some, Error *error) {
  char *text = arena_text(base->job->arena, "%s", list), *rest;
  for (char *part = strtok_r(text, ",", &rest); part; part = strtok_r(NULL, ",", &rest))
    if (!add_row(sheet, base, kind, part, error) && !some) return false;
  return sheet->rows > 0 ||
         error_set(error, FAIL_USAGE, "sample: --rows %s: expected a list with commas", list);
}

static bool add_labels(Sheet *sheet, const ImageSampling *base, const struct Kind *kind,
                       Error *error) {
  int labels = pictures_labels(base->model);
  if (!labels)
    return error_set(error, FAIL_USAGE,
                     "sample: --sheet labels, but this model is not conditioned on labels");
  for (int i = 0; i < labels && i < MOST_ROWS; i++)
    if (!add_row(sheet, base, kind, arena_text(base->job->arena, "%d", i), error)) return false;
  return true;
}

static bool fill(Sheet *sheet, const ImageSampling *base, const struct Kind *kind, Error *error) {
  const Sample *asked = base->job->asked;
  int labels = base->label == PICTURES_ALL_LABELS ? pictures_labels(base->model) : 0;
  bool turns = labels > 0 && labels <= MOST_COLUMNS && kind->set != set_label;
  sheet->columns = asked->count ? (int)asked->count : turns ? labels : COLUMNS;
  if (asked->rows) return add_rows(sheet, base, kind, asked->rows, false, error);
  return kind->rows ? add_rows(sheet, base, kind, kind->rows, kind->some, error)
                    : add_labels(sheet, base, kind, error);
}

/* ---- the sheet ------------------------------------------------------------------------------- */

/* where labels take turns along a row, their names stand above */
static const char **column_captions(const Sheet *sheet, const ImageSampling *base) {
  int labels = pictures_labels(base->model);
  if (sheet->row->label != PICTURES_ALL_LABELS || !labels) return NULL;
  const char **caption = arena_array(base->job->arena, const char *, sheet->columns);
  for (int i = 0; i < sheet->columns; i++) caption[i] = sample_label_name(base->model, i % labels);
  return caption;
}

static bool draw(const Sheet *sheet, const ImageSampling *base, Error *error) {
  const Sample *asked = base->job->asked;
  size_t numbers = (size_t)sheet->columns * (size_t)pictures_numbers(base->model);
  double *all = arena_array(base->job->arena, double, (size_t)sheet->rows *numbers);
  for (int r = 0; r < sheet->rows; r++) {
    double *pictures = sample_pictures(&sheet->row[r], sheet->columns, error);
    if (!pictures) return false;
    memcpy(all + (size_t)r * numbers, pictures, numbers * sizeof *all);
  }
  PictureSheet paper = { sheet->rows, sheet->columns, sheet->caption,
                         column_captions(sheet, base) };
  if (!picture_sheet_write(base->model, all, &paper, asked->out, error)) return false;
  log_progress(true, "%d rows of %d pictures of %s: %s", sheet->rows, sheet->columns,
               base->model->base.data, asked->out);
  return true;
}

bool sample_sheet(const ImageSampling *base, Error *error) {
  const Sample *asked = base->job->asked;
  const struct Kind *kind;
  if (!find_kind(asked, &kind, error)) return false;
  if (!sample_ends(asked->out, ".png"))
    return error_set(error, FAIL_USAGE, "sample: --out %s: a sheet goes to FILE.png", asked->out);
  Sheet *sheet = arena_alloc(base->job->arena, sizeof *sheet);
  if (!fill(sheet, base, kind, error)) return false;
  size_t bytes = (size_t)pictures_numbers(base->model) * 3 * sizeof(double);
  return sample_has_room(sheet->rows * sheet->columns, bytes, error) && draw(sheet, base, error);
}
