/* import.c -- the parts of files, copied into one cache.
 *
 * Twice through all parts: shapes first, so that the output has its length, then numbers, in slabs
 * straight into the mapped output.  Memory holds a slab, whatever the size of the file.  Numbers
 * that are not finite are copied and counted: whether they matter is known to who reads them. */
#include "core/json.h"
#include "datasets/cage.h"
#include "datasets/formats/format.h"
#include "datasets/formats/caged_program.h"
#include "datasets/hdf5_process.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  SLAB_ROWS = 65536,
  INFLATE_RATIO = 100, /* arrays together to their file, beyond INFLATE_FREE */
};
static const uint64_t INFLATE_FREE = UINT64_C(1) << 28;

typedef struct {
  int files;
  char **path;
  Store store[HDF5_MAX_FILES];
  Reader reader[HDF5_MAX_FILES];
  Choice choice;
  CacheHeader header;
  bool has[CACHE_ARRAYS];
  char *map; /* the output, header.file_bytes; NULL before output_grow */
  uint64_t map_bytes;
  int64_t row; /* of the output, while it is filled */
  Part part;   /* the one at hand */
} Import;

/* ---- parts ----------------------------------------------------------------------------------- */

static bool part_open(const Reader *r, int64_t i, Part *part, Error *error) {
  part->behind = BEHIND_NOTHING;
  part->first = 0, part->whole = part->borrowed = part->inverted = false;
  for (int c = 0; c < CACHE_ARRAYS; c++) part->column[c].count = 0;
  if (r->format->part) return r->format->part(r, i, part, error);
  *part = r->all;
  if (!r->part) return true;
  part->first = r->part[i], part->rows = r->part[i + 1] - r->part[i] - r->states;
  part->whole = true;
  if (r->states)
    part->behind = BEHIND_OBSERVATION;
  else if (part->column[CACHE_NEXT_OBSERVATIONS].count)
    part->behind = BEHIND_NEXT;
  return true;
}

static int64_t rows_in(const Part *part) {
  return part->rows ? part->rows + (part->behind != BEHIND_NOTHING) : 0;
}

/* All arrays of a part have its rows. */
static bool part_check_rows(const Part *part, Error *error) {
  const Array *obs = &part->column[CACHE_OBSERVATIONS].array[0];
  for (int c = 0; c < CACHE_ARRAYS; c++) {
    if (!part->column[c].count) continue;
    const Array *a = &part->column[c].array[0];
    int64_t needed = part->borrowed ? obs->rows : part->rows;
    if (c == CACHE_OBSERVATIONS && !part->borrowed && part->behind == BEHIND_OBSERVATION) needed++;
    if (a->rows == needed) continue;
    return error_set(error, FAIL_INPUT,
                     "%s: has %lld rows where %s has %lld; expected one row per step in every "
                     "array; the file was cut or joined wrongly",
                     a->name, (long long)a->rows, part->borrowed ? obs->name : "its episode",
                     (long long)needed);
  }
  const Joined *next = &part->column[CACHE_NEXT_OBSERVATIONS];
  if (!next->count || next->columns == part->column[CACHE_OBSERVATIONS].columns) return true;
  return error_set(error, FAIL_INPUT, "%s: has %lld entries a row; expected %lld as in %s",
                   next->array[0].name, (long long)next->columns,
                   (long long)part->column[CACHE_OBSERVATIONS].columns, obs->name);
}

/* What the first part has, and how wide, holds for all. */
static bool part_check_same(Import *in, const Part *part, bool first, Error *error) {
  const Joined *obs = &part->column[CACHE_OBSERVATIONS], *act = &part->column[CACHE_ACTIONS];
  CacheHeader *h = &in->header;
  if (first) {
    h->obs_dim = (int32_t)obs->columns, h->act_dim = (int32_t)act->columns;
    for (int c = 0; c < CACHE_ARRAYS; c++) in->has[c] = part->column[c].count;
    if (h->obs_dim <= CACHE_MAX_COLUMNS && h->act_dim <= CACHE_MAX_COLUMNS) return true;
    return error_set(error, FAIL_INPUT, "%d and %d numbers a row; expected at most %d", h->obs_dim,
                     h->act_dim, CACHE_MAX_COLUMNS);
  }
  if (obs->columns != h->obs_dim || act->columns != h->act_dim)
    return error_set(error, FAIL_INPUT,
                     "%s, %s: %lld and %lld numbers a row where the data before them have %d and "
                     "%d",
                     obs->array[0].name, act->array[0].name, (long long)obs->columns,
                     (long long)act->columns, h->obs_dim, h->act_dim);
  for (int c = CACHE_REWARDS; c < CACHE_ARRAYS; c++)
    if (c != CACHE_NEXT_OBSERVATIONS && c != CACHE_TIMEOUTS &&
        in->has[c] != (part->column[c].count > 0))
      return error_set(error, FAIL_INPUT, "%s: some episodes have %s and others have none",
                       obs->array[0].name, format_roles[c]);
  in->has[CACHE_NEXT_OBSERVATIONS] &= part->column[CACHE_NEXT_OBSERVATIONS].count > 0;
  return true;
}

static bool part_measure(Import *in, const Part *part, bool *first, Error *error) {
  if (!part_check_rows(part, error) || !part_check_same(in, part, *first, error)) return false;
  *first = false;
  in->header.rows += rows_in(part);
  /* time-outs are known where parts are episodes */
  if (part->whole) in->has[CACHE_TIMEOUTS] = true, in->has[CACHE_NEXT_OBSERVATIONS] = false;
  if (in->header.rows <= cache_max_rows) return true;
  return error_set(error, FAIL_INPUT, "more than %lld rows", (long long)cache_max_rows);
}

typedef bool Visit(Import *in, const Reader *r, Part *part, void *context, Error *error);

static bool parts_visit(Import *in, Visit *visit, void *context, Error *error) {
  for (int f = 0; f < in->files; f++)
    for (int64_t i = 0; i < in->reader[f].parts; i++) {
      bool done = part_open(&in->reader[f], i, &in->part, error) &&
                  visit(in, &in->reader[f], &in->part, context, error);
      part_close(&in->part);
      if (!done) return in->files > 1 ? error_prefix(error, "%s", in->path[f]) : false;
    }
  return true;
}

static bool visit_shape(Import *in, const Reader *r, Part *part, void *context, Error *error) {
  (void)r;
  return part_measure(in, part, context, error);
}

static bool sizes_check(const Import *in, Error *error) {
  const CacheHeader *h = &in->header;
  uint64_t bytes = 0;
  if (h->rows < 2)
    return error_set(error, FAIL_INPUT,
                     "observations: has %lld rows; expected at least 2, for a step and its "
                     "successor",
                     (long long)h->rows);
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (in->has[c]) bytes += cache_column_bytes(h, c);
  if (bytes <= INFLATE_FREE || bytes / INFLATE_RATIO <= h->source_bytes) return true;
  return error_set(error, FAIL_INPUT,
                   "its arrays take %llu bytes, more than %d times the file's %llu; if that is "
                   "meant, unpack it with `h5repack -f NONE`",
                   (unsigned long long)bytes, INFLATE_RATIO, (unsigned long long)h->source_bytes);
}

/* ---- filling the cache ----------------------------------------------------------------------- */

/* Make the output as long as the layout says and map it; earlier content stays. */
static bool output_grow(Import *in, Error *error) {
  if (in->map) munmap(in->map, in->map_bytes);
  in->map_bytes = in->header.file_bytes;
  program_limit(in->header.source_bytes + in->map_bytes);
  int failed = posix_fallocate(HDF5_OUTPUT, 0, (off_t)in->map_bytes);
  if (failed)
    return error_set(error, FAIL_RUNNING, "cannot write the cache of %llu bytes: %s",
                     (unsigned long long)in->map_bytes, strerror(failed));
  in->map = mmap(NULL, in->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, HDF5_OUTPUT, 0);
  if (in->map != MAP_FAILED) return true;
  in->map = NULL;
  return error_set(error, FAIL_RUNNING, "cannot map the cache: %s", strerror(errno));
}

static void *column(const Import *in, int c) {
  uint64_t offset = in->header.column[c].offset;
  return offset ? in->map + offset : NULL;
}

static void count_wild(CacheHeader *h, int c, const float *x, int64_t row, int64_t rows,
                       int64_t n) {
  CacheWild *wild = &h->wild[c];
  for (int64_t i = 0; i < rows * n; i++)
    if (!isfinite(x[i]) && !wild->count++) {
      wild->row = row + i / n, wild->entry = (int32_t)(i % n), wild->is_nan = isnan(x[i]);
    }
}

static bool flags_copy(const float *x, int64_t first, int64_t rows, bool inverted, uint8_t *out,
                       Error *error) {
  for (int64_t i = 0; i < rows; i++) {
    if (x[i] != 0 && x[i] != 1)
      return error_set(error, FAIL_INPUT, "row %lld is %g; expected 0 or 1", (long long)(first + i),
                       (double)x[i]);
    out[i] = (x[i] != 0) != inverted;
  }
  return true;
}

static bool column_copy(Import *in, Part *part, int c, Error *error) {
  Joined *joined = &part->column[c];
  bool flag = c == CACHE_TERMINALS || c == CACHE_TIMEOUTS;
  int64_t n = joined->columns;
  float *buffer = flag ? malloc(SLAB_ROWS * sizeof *buffer) : NULL;
  bool ok = buffer || !flag || error_set(error, FAIL_RUNNING, "out of memory");
  for (int64_t done = 0; ok && done < part->rows; done += SLAB_ROWS) {
    int64_t rows = part->rows - done < SLAB_ROWS ? part->rows - done : SLAB_ROWS;
    float *to = flag ? buffer : (float *)column(in, c) + (in->row + done) * n;
    ok = joined_read(joined, part->first + done, rows, to, error);
    if (ok && flag)
      ok = flags_copy(to, part->first + done, rows, part->inverted && c == CACHE_TERMINALS,
                      (uint8_t *)column(in, c) + in->row + done, error) ||
           error_prefix(error, "%s", joined->array[0].name);
    else if (ok)
      count_wild(&in->header, c, to, in->row + done, rows, n);
  }
  free(buffer);
  return ok;
}

/* The state behind the last step: one more row, whose action repeats the last one and whose reward
 * is 0. */
static bool state_put(Import *in, Part *part, Error *error) {
  const CacheHeader *h = &in->header;
  bool next = part->behind == BEHIND_NEXT;
  int64_t at = in->row + part->rows, from = part->first + part->rows - next;
  float *obs = (float *)column(in, CACHE_OBSERVATIONS) + at * h->obs_dim;
  float *act = (float *)column(in, CACHE_ACTIONS) + at * h->act_dim;
  if (!joined_read(&part->column[next ? CACHE_NEXT_OBSERVATIONS : CACHE_OBSERVATIONS], from, 1, obs,
                   error))
    return false;
  count_wild(&in->header, CACHE_OBSERVATIONS, obs, at, 1, h->obs_dim);
  memcpy(act, act - h->act_dim, (size_t)h->act_dim * sizeof *act);
  ((uint8_t *)column(in, CACHE_TIMEOUTS))[at] = EPISODE_STATE;
  return true;
}

static bool visit_numbers(Import *in, const Reader *r, Part *part, void *context, Error *error) {
  (void)r, (void)context;
  if (!part->rows) return true;
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (column(in, c) && part->column[c].count && (c != CACHE_TIMEOUTS || !part->whole) &&
        !column_copy(in, part, c, error))
      return false;
  uint8_t *timeouts = column(in, CACHE_TIMEOUTS), *terminals = column(in, CACHE_TERMINALS);
  int64_t last = in->row + part->rows - 1;
  if (part->behind != BEHIND_NOTHING) {
    if (!state_put(in, part, error)) return false;
  } else if (part->whole) {
    timeouts[last] = !(terminals && terminals[last]);
  } else if (in->files > 1) {
    timeouts[last] = !(terminals && terminals[last]); /* the next row is another file's */
  }
  in->row += rows_in(part);
  return true;
}

/* Between two files of rows an episode ends, whatever their flags say. */
static bool files_part(Import *in, Error *error) {
  bool rows = false;
  for (int f = 0; f < in->files; f++) rows |= !in->reader[f].part;
  if (in->files == 1 || !rows) return true;
  if (in->header.horizon > 0 && !in->has[CACHE_TIMEOUTS])
    return error_set(error, FAIL_INPUT,
                     "several files that do not say where episodes time out; "
                     "give each an array timeouts");
  return in->has[CACHE_TIMEOUTS] = true;
}

static bool arrays_copy(Import *in, Error *error) {
  CacheHeader *h = &in->header;
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (in->has[c]) cache_place(h, c, cache_column_bytes(h, c));
  return output_grow(in, error) && parts_visit(in, visit_numbers, NULL, error);
}

/* ---- the index ------------------------------------------------------------------------------- */

static EpisodeFlags flags_of(const Import *in, const float *tolerance) {
  return (EpisodeFlags){ in->header.rows,
                         column(in, CACHE_TERMINALS),
                         column(in, CACHE_TIMEOUTS),
                         in->header.horizon,
                         in->header.obs_dim,
                         column(in, CACHE_OBSERVATIONS),
                         column(in, CACHE_NEXT_OBSERVATIONS),
                         tolerance };
}

static void metadata_write(Import *in, JsonText *out) {
  Store *first = in->reader[0].store;
  json_open(out, NULL, '{');
  if (first->kind->metadata) first->kind->metadata(first, out);
  json_close(out, '}');
}

/* If most rows are not followed by what they say, the order of rows means something else. */
static bool order_check(const EpisodeCounts *n, Error *error) {
  if (2 * n->cut > n->compared)
    return error_set(error, FAIL_INPUT,
                     "next_observations of %lld among %lld rows are not the observations of the "
                     "next row (first: row %lld); the rows are those of parallel environments, or "
                     "shuffled; store whole episodes one after the other, or, if the order of rows "
                     "is right, leave next_observations out",
                     (long long)n->cut, (long long)n->compared, (long long)n->first_cut);
  if (n->transitions > 0) return true;
  return error_set(error, FAIL_INPUT,
                   "no transitions: every row is a time-out or the last one, so none has a "
                   "successor; check the timeouts array and the horizon");
}

static bool index_write(Import *in, const char *source, Error *error) {
  CacheHeader *h = &in->header;
  float tolerance[CACHE_MAX_COLUMNS];
  episodes_tolerance(column(in, CACHE_OBSERVATIONS), h->rows, h->obs_dim, tolerance);
  EpisodeFlags flags = flags_of(in, tolerance);
  EpisodeCounts count = episodes_find(&flags, NULL, NULL);
  if (!order_check(&count, error)) return false;
  h->transitions = count.transitions, h->episodes = count.episodes;
  JsonText metadata = { 0 };
  metadata_write(in, &metadata);
  cache_place(h, CACHE_TRANSITION, cache_column_bytes(h, CACHE_TRANSITION));
  cache_place(h, CACHE_EPISODE_START, cache_column_bytes(h, CACHE_EPISODE_START));
  cache_place(h, CACHE_METADATA, metadata.length + 1);
  cache_place(h, CACHE_SOURCE, strlen(source) + 1);
  bool grown = output_grow(in, error);
  if (grown) {
    flags = flags_of(in, tolerance);
    episodes_find(&flags, column(in, CACHE_TRANSITION), column(in, CACHE_EPISODE_START));
    memcpy(column(in, CACHE_METADATA), metadata.text, metadata.length + 1);
    memcpy(column(in, CACHE_SOURCE), source, strlen(source) + 1);
    memcpy(in->map, h, sizeof *h); /* where its columns are */
    h->summary = cache_summary((const CacheHeader *)(void *)in->map, &count);
  }
  json_text_free(&metadata);
  return grown;
}

/* Of the bytes of all files, and of the choice. */
static bool source_hash(Import *in, const char *choice, Error *error) {
  char buffer[1 << 14];
  Murmur murmur = { 0 };
  ssize_t n = 0;
  for (int f = 0; f < in->files; f++) {
    if (lseek(in->store[f].fd, 0, SEEK_SET) < 0) n = -1;
    while (n >= 0 && (n = read(in->store[f].fd, buffer, sizeof buffer)) > 0)
      murmur_add(&murmur, buffer, (size_t)n);
    if (n < 0) return error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(errno));
  }
  if (*choice) murmur_add(&murmur, choice, strlen(choice));
  murmur_text(murmur_sum(&murmur), in->header.source_hash);
  return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool files_open(Import *in, char **path, Error *error) {
  uint64_t bytes = 0;
  in->path = path;
  for (int f = 0; f < in->files; f++) {
    struct stat info;
    program_limit(bytes + (UINT64_C(1) << 20));
    if (stat(path[f], &info) == 0) {
      cache_source_add(&in->header, &info);
      program_limit(bytes += (uint64_t)info.st_size);
    }
    if (!store_open(&in->store[f], path[f], error))
      return in->files > 1 ? error_prefix(error, "%s", path[f]) : false;
  }
  if (cage_enter()) return true;
  return error_set(error, FAIL_RUNNING, "cannot lock itself in (seccomp: %s)", strerror(errno));
}

static bool files_read(Import *in, Error *error) {
  for (int f = 0; f < in->files; f++) {
    Store *store = &in->store[f];
    Reader *r = &in->reader[f];
    bool looked = !store->kind->look || store->kind->look(store, error);
    if (looked) {
      const Format *format = format_find(store, &in->choice);
      *r = (Reader){ .store = store, .format = format, .choice = &in->choice };
      snprintf(in->header.format, sizeof in->header.format, "%s", format->name);
    }
    if (!looked || !r->format->open(r, error))
      return in->files > 1 ? error_prefix(error, "%s", in->path[f]) : false;
  }
  bool first = true;
  return parts_visit(in, visit_shape, &first, error) && sizes_check(in, error);
}

static bool import_in(Import *in, const char *choice, const char *name, char **path, Error *error) {
  if (!choice_parse(&in->choice, choice, error)) return false;
  if (ftruncate(HDF5_OUTPUT, 0) != 0)
    return error_set(error, FAIL_RUNNING, "the cache cannot be written: %s", strerror(errno));
  if (!files_open(in, path, error) || !files_read(in, error)) return false;
  if (!files_part(in, error) || !arrays_copy(in, error) || !index_write(in, name, error) ||
      !source_hash(in, choice, error))
    return false;
  for (int f = 0; f < in->files; f++)
    if (!store_sure(&in->store[f], error)) return false;
  cache_seal(&in->header, in->map);
  if (munmap(in->map, in->map_bytes) == 0 && fsync(HDF5_OUTPUT) == 0) return true;
  return error_set(error, FAIL_RUNNING, "the cache cannot be written: %s", strerror(errno));
}

bool import(int64_t horizon, const char *choice, const char *name, char **path, int count,
            Error *error) {
  if (count > HDF5_MAX_FILES)
    return error_set(error, FAIL_USAGE, "%d files; expected at most %d", count, HDF5_MAX_FILES);
  Import *in = calloc(1, sizeof *in);
  if (!in) return error_set(error, FAIL_RUNNING, "out of memory");
  cache_init(&in->header);
  in->header.horizon = horizon;
  in->files = count;
  bool done = import_in(in, choice, name, path, error);
  if (!done && in->map) munmap(in->map, in->map_bytes);
  for (int f = 0; f < in->files; f++) {
    Reader *r = &in->reader[f];
    r->all.borrowed = false; /* the reader itself gives its arrays back */
    part_close(&r->all);
    free(r->part);
    store_end(&in->store[f]);
  }
  free(in);
  return done;
}
