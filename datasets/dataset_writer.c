/* dataset_writer.c -- collecting steps, then one export into a finished file.
 *
 * The rows and then the HDF5 file lie in files beside the target that have no name, so nothing
 * stays behind whatever happens; the HDF5 file gets its name when it is whole. */
#include "core/check.h"
#include "core/file.h"
#include "datasets/dataset.h"
#include "datasets/hdf5_process.h"
#include "datasets/rows.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct DatasetWriter {
  char path[PATH_MAX];
  FILE *file; /* of rows */
  RowsHeader header;
  RowsLayout at;
  unsigned char *record; /* [at.stride] */
};

static bool target_free(const char *path, Error *error) {
  struct stat info;
  if (lstat(path, &info) != 0) return true;
  return error_set(error, FAIL_USAGE, "%s: already there; choose another name or remove it", path);
}

static bool writing_failed(const DatasetWriter *writer, Error *error) {
  return error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", writer->path, strerror(errno));
}

/* Rows need no name, now or later. */
static FILE *rows_create(const char *path, Error *error) {
  FileDraft draft = file_draft(path, error);
  if (draft.fd < 0) return NULL;
  if (draft.part) unlink(draft.part), free(draft.part);
  FILE *file = fdopen(draft.fd, "w+b");
  if (!file) error_set(error, FAIL_RUNNING, "%s: cannot be written: %s", path, strerror(errno));
  if (!file) close(draft.fd);
  return file;
}

DatasetWriter *dataset_writer_open(const char *path, int obs_dim, int act_dim, int nq, int nv,
                                   Error *error) {
  CHECK(obs_dim > 0 && act_dim > 0 && nq >= 0 && nv >= 0, "writer: %d %d %d %d", obs_dim, act_dim,
        nq, nv);
  if (!target_free(path, error)) return NULL;
  FILE *file = rows_create(path, error);
  if (!file) return NULL;
  DatasetWriter *writer = calloc(1, sizeof *writer);
  NEED_MEMORY(writer);
  snprintf(writer->path, sizeof writer->path, "%s", path);
  writer->file = file;
  writer->header = (RowsHeader){ ROWS_MAGIC,         ROWS_VERSION, .obs_dim = obs_dim,
                                 .act_dim = act_dim, .nq = nq,     .nv = nv };
  writer->at = rows_layout(&writer->header);
  writer->record = calloc(1, writer->at.stride);
  NEED_MEMORY(writer->record);
  if (fwrite(&writer->header, sizeof writer->header, 1, file) == 1) return writer;
  writing_failed(writer, error);
  dataset_writer_abandon(writer);
  return NULL;
}

static bool check_finite(const DatasetWriter *writer, const char *name, const float *x, int n,
                         Error *error) {
  for (int i = 0; i < n; i++)
    if (!isfinite(x[i]))
      return error_set(error, FAIL_RUNNING, "%s: step %lld, %s entry %d is not finite",
                       writer->path, (long long)writer->header.rows, name, i);
  return true;
}

bool dataset_writer_add(DatasetWriter *writer, const DatasetStep *step, Error *error) {
  RowsHeader *h = &writer->header;
  const RowsLayout *at = &writer->at;
  unsigned char *record = writer->record;
  if (!check_finite(writer, "observation", step->obs, h->obs_dim, error) ||
      !check_finite(writer, "next observation", step->next, h->obs_dim, error) ||
      !check_finite(writer, "action", step->act, h->act_dim, error) ||
      !check_finite(writer, "reward", &step->reward, 1, error))
    return false;
  if (h->nq) memcpy(record + at->qpos, step->qpos, (size_t)h->nq * sizeof(double));
  if (h->nv) memcpy(record + at->qvel, step->qvel, (size_t)h->nv * sizeof(double));
  memcpy(record + at->obs, step->obs, (size_t)h->obs_dim * sizeof(float));
  memcpy(record + at->act, step->act, (size_t)h->act_dim * sizeof(float));
  memcpy(record + at->next, step->next, (size_t)h->obs_dim * sizeof(float));
  memcpy(record + at->reward, &step->reward, sizeof(float));
  memcpy(record + at->log_prob, &step->log_prob, sizeof(float));
  record[at->terminal] = step->terminal;
  record[at->timeout] = step->timeout;
  if (fwrite(record, at->stride, 1, writer->file) != 1) return writing_failed(writer, error);
  h->has_log_prob |= !isnan(step->log_prob);
  h->rows++;
  return true;
}

/* Put the counts into the header and everything on its way to the disk. */
static bool rows_finish(DatasetWriter *writer, const char *metadata, Error *error) {
  FILE *file = writer->file;
  writer->header.metadata_bytes = strlen(metadata);
  bool done = fwrite(metadata, 1, strlen(metadata), file) == strlen(metadata) &&
              fseek(file, 0, SEEK_SET) == 0 &&
              fwrite(&writer->header, sizeof writer->header, 1, file) == 1 && fflush(file) == 0;
  return done || writing_failed(writer, error);
}

static bool finish(DatasetWriter *writer, const char *metadata, Error *error) {
  if (writer->header.rows == 0)
    return error_set(error, FAIL_RUNNING, "%s: no steps to write", writer->path);
  if (!rows_finish(writer, metadata ? metadata : "{}", error)) return false;
  FileDraft draft = file_draft(writer->path, error);
  if (draft.fd < 0) return false;
  const char *argument[] = { "export", NULL };
  double seconds = 600 + 1e-5 * (double)writer->header.rows * (double)writer->at.stride;
  Error ignored;
  bool done = hdf5_process_run(argument, fileno(writer->file), draft.fd, seconds, error) ||
              error_prefix(error, "%s", writer->path);
  done = file_draft_close(&draft, done ? writer->path : NULL, done ? error : &ignored) && done;
  if (!done) error->kind = FAIL_RUNNING;
  return done;
}

bool dataset_writer_close(DatasetWriter *writer, const char *metadata, Error *error) {
  bool done = finish(writer, metadata, error);
  dataset_writer_abandon(writer);
  return done;
}

void dataset_writer_abandon(DatasetWriter *writer) {
  if (!writer) return;
  fclose(writer->file);
  free(writer->record);
  free(writer);
}
