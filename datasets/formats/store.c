/* store.c -- which kind a file is, and what all kinds check. */
#include "datasets/formats/store.h"
#include "core/names.h"
#include "datasets/cache.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const StoreKind *const kinds[] = { &store_hdf5, &store_npz, &store_csv };

bool store_open(Store *store, const char *path, Error *error) {
  unsigned char head[512] = { 0 };
  struct stat info;
  *store = (Store){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
  if (store->fd < 0 || fstat(store->fd, &info) != 0)
    return error_set(error, FAIL_INPUT, "%s", strerror(errno));
  store->bytes = (uint64_t)info.st_size;
  ssize_t length = pread(store->fd, head, sizeof head - 1, 0);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i]->recognises(path, head, length > 0 ? (size_t)length : 0)) {
      store->kind = kinds[i];
      return kinds[i]->open(store, path, error);
    }
  if (length >= 4 && !memcmp(head, "PAR1", 4))
    return error_set(error, FAIL_INPUT,
                     "a parquet file; convert its data set with scripts/lerobot_to_hdf5.py");
  return error_set(error, FAIL_INPUT,
                   "not an HDF5 file, nor npz, nor csv with a header; expected one with "
                   "observations and actions");
}

MemberKind store_member(Store *store, const char *name) { return store->kind->member(store, name); }

bool store_sure(const Store *store, Error *error) {
  return !store->doubt ||
         error_set(error, FAIL_INPUT, "cannot be looked through: it is damaged, or memory ran out");
}

bool store_check_shape(const Array *a, bool vector, Error *error) {
  if (a->rank < 1 || a->rank > 2)
    return error_set(error, FAIL_INPUT, "has %d axes; expected %s", a->rank,
                     vector ? "[rows, entries]" : "[rows]");
  if (a->rows < 0 || a->rows > cache_max_rows || a->columns > CACHE_MAX_COLUMNS || a->columns < 1)
    return error_set(error, FAIL_INPUT,
                     "is [%llu, %llu]; expected at most %lld rows of 1 to %d entries",
                     (unsigned long long)a->rows, (unsigned long long)a->columns,
                     (long long)cache_max_rows, CACHE_MAX_COLUMNS);
  if (vector || a->columns == 1) return true;
  return error_set(error, FAIL_INPUT, "is [%lld, %lld]; expected one number a row",
                   (long long)a->rows, (long long)a->columns);
}

bool store_array(Store *store, const char *name, bool vector, bool flag, Array *array,
                 Error *error) {
  *array = (Array){ 0 };
  if (snprintf(array->name, sizeof array->name, "%s", name) >= (int)sizeof array->name)
    return error_set(error, FAIL_INPUT, "%s: too long a name", name);
  array->store = store;
  if (store->kind->array(store, name, flag, array, error) &&
      store_check_shape(array, vector, error))
    return true;
  store_close(array);
  return error_prefix(error, "%s", name);
}

bool store_read(Array *array, int64_t first, int64_t rows, float *out, Error *error) {
  return array->store->kind->read(array, first, rows, out, error) ||
         error_prefix(error, "%s", array->name);
}

void store_end(Store *store) {
  if (store->text) munmap((void *)store->text, store->bytes);
  if (store->fd > 0) close(store->fd);
  if (store->kind && store->kind->end) store->kind->end(store);
}

void store_close(Array *array) {
  if (array->store && array->store->kind->close) array->store->kind->close(array);
  array->store = NULL;
}

const char *store_nearest(Store *store, const char *group, const char *name,
                          char text[2 * STORE_NAME]) {
  enum { MOST = 512 };
  char list[MOST][STORE_NAME];
  const char *pointer[MOST];
  size_t count = 0;
  while (count < MOST && store->kind->list(store, group, (int64_t)count, list[count])) {
    pointer[count] = list[count];
    count++;
  }
  const char *near = names_nearest(NAMES(pointer, count, .what = "array"), name);
  *text = '\0';
  if (near) snprintf(text, 2 * STORE_NAME, "; did you mean %s?", near);
  return text;
}
