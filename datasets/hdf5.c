/* hdf5.c -- the program diffrl-hdf5: the only code that touches HDF5, in a process of its own.
 *
 *   diffrl-hdf5 import IN.hdf5 HORIZON 3<>OUT   a D4RL-style file -> the flat cache (cache.h)
 *   diffrl-hdf5 export <ROWS 3<>OUT             the writer's rows (rows.h) -> a D4RL v2 file
 *
 * The output is open already: a file that needs no name cannot be left behind.
 * HDF5 1.10 has known flaws that a hostile file can reach.  So the library meets files here, with
 * limits on memory, time and what is written, and in a cage once its files are open (cage.h); the
 * caller treats a crash like any other refusal.  Only arrays
 * with expected names are opened; links, external and virtual storage, unusual types and filters
 * are refused.  Rows are read in slabs straight into the mapped output.
 * One message on stderr and exit status 3 for bad input, 1 if something else failed. */
#include "core/error.h"
#include "core/json.h"
#include "datasets/cache.h"
#include "datasets/cage.h"
#include "datasets/hdf5_process.h"
#include "datasets/rows.h"
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  SLAB_ROWS = 65536,
  CHUNK_BYTES = 1 << 18,     /* of the files we write */
  MAX_CHUNK_BYTES = 1 << 26, /* of the files we read */
  MAX_METADATA = 256,        /* entries */
  MAX_TEXT = 4096,           /* bytes of a metadata string */
  DEFLATE_RATIO = 1040,      /* zlib cannot do better */
  INFLATE_RATIO = 100,       /* arrays together to their file, beyond INFLATE_FREE */
};
static const uint64_t INFLATE_FREE = UINT64_C(1) << 28;

/* ---- limits and messages --------------------------------------------------------------------- */

static void limit(int resource, rlim_t value) {
  struct rlimit old;
  getrlimit(resource, &old);
  if (value > old.rlim_max) value = old.rlim_max;
  setrlimit(resource, &(struct rlimit){ value, old.rlim_max });
}

/* Memory and CPU seconds for reading and writing so many bytes; far above what is needed. */
static void limit_work(uint64_t bytes) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  limit(RLIMIT_AS, (rlim_t)4 * bytes + ((rlim_t)1 << 30));
#endif
  limit(RLIMIT_CPU, HDF5_CPU_SECONDS(bytes));
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 16);
}

typedef struct {
  char text[256];
} Reason;

static herr_t deepest(unsigned n, const H5E_error2_t *entry, void *reason) {
  if (n == 0 && entry->desc) snprintf(reason, sizeof(Reason), "%s", entry->desc);
  return 0;
}

/* What HDF5 says went wrong, innermost entry; ask before the next call of the library. */
static Reason reason(void) {
  Reason r = { "no reason given" };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, deepest, &r);
  return r;
}

static void start_library(void) {
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* read-only and network file systems */
  H5open();
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0); /* no filter plug-ins */
  H5Lunregister(H5L_TYPE_EXTERNAL);
}

/* ---- import: the arrays of a file ------------------------------------------------------------ */

typedef struct {
  const char *name;
  bool required, vector, flag; /* vector: [rows, n]; else [rows] or [rows, 1] */
} ArrayKind;

static const ArrayKind array_kinds[CACHE_ARRAYS] = {
  [CACHE_OBSERVATIONS] = { "observations", true, true, false },
  [CACHE_ACTIONS] = { "actions", true, true, false },
  [CACHE_REWARDS] = { "rewards", false, false, false },
  [CACHE_NEXT_OBSERVATIONS] = { "next_observations", false, true, false },
  [CACHE_TERMINALS] = { "terminals", false, false, true },
  [CACHE_TIMEOUTS] = { "timeouts", false, false, true },
};

typedef struct {
  hid_t id; /* 0: the file has none */
  int rank;
  int64_t rows, columns;
} Array;

/* Identifiers are not closed one by one: the process ends with its one file. */
typedef struct {
  hid_t file;
  Array array[CACHE_ARRAYS];
  CacheHeader header;
  int input; /* the file again, for its hash */
  char *map; /* the output, header.file_bytes; NULL before output_grow */
  uint64_t map_bytes;
} Import;

static bool bad(Error *error, const char *message) {
  return error_set(error, FAIL_INPUT, "%s", message);
}

static bool damaged(Error *error) {
  return error_set(error, FAIL_INPUT, "truncated or damaged (%s); copy or download the file again",
                   reason().text);
}

/* The mark that newer versions of the format put into the first bytes of a file being written:
 * signature, version, two sizes, then the flags. */
static bool open_elsewhere(int fd) {
  unsigned char head[12];
  bool marked = pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && head[8] >= 3;
  return marked && (head[11] & 0x05);
}

static bool file_open(Import *in, const char *path, Error *error) {
  struct stat info;
  in->input = open(path, O_RDONLY | O_CLOEXEC);
  if (in->input < 0 || fstat(in->input, &info) != 0) return bad(error, strerror(errno));
  cache_source(&in->header, &info);
  limit_work(in->header.source_bytes);
  if (H5Fis_hdf5(path) <= 0)
    return bad(error, "not an HDF5 file; expected a D4RL-style file with observations and actions");
  in->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (in->file < 0 && open_elsewhere(in->input))
    return bad(error, "open for writing, or left open by a program that was killed; close it there "
                      "first, or, if nobody writes to it any more, clear the mark with "
                      "`h5clear -s FILE`");
  if (in->file < 0) return damaged(error);
  if (cage_enter()) return true;
  return error_set(error, FAIL_RUNNING, "cannot lock itself in (seccomp: %s)", strerror(errno));
}

/* The named array if the file has it as its own: links lead elsewhere and are not followed. */
static bool array_find(hid_t file, const ArrayKind *kind, Array *array, Error *error) {
  htri_t there = H5Lexists(file, kind->name, H5P_DEFAULT);
  if (there == 0 && !kind->required) return true;
  if (there == 0 && H5Lexists(file, "episode_0", H5P_DEFAULT) > 0)
    return bad(error, "no such array; the file looks like a Minari file, with a group for each "
                      "episode; convert it to D4RL's flat arrays");
  if (there == 0) return bad(error, "no such array; expected D4RL's layout, one row per step");
  H5L_info_t link;
  if (there < 0 || H5Lget_info(file, kind->name, &link, H5P_DEFAULT) < 0) return damaged(error);
  if (link.type != H5L_TYPE_HARD)
    return bad(error, "a link, which is not followed; store the array itself in this file");
  hid_t object = H5Oopen(file, kind->name, H5P_DEFAULT);
  if (object < 0) return damaged(error);
  if (H5Iget_type(object) != H5I_DATASET)
    return bad(error, "a group; expected an array of numbers");
  H5Oclose(object);
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_chunk_cache(access, 12421, 2 * MAX_CHUNK_BYTES, 1.0);
  array->id = H5Dopen2(file, kind->name, access);
  return array->id >= 0 || damaged(error);
}

static bool filters_ok(hid_t plan) {
  int count = H5Pget_nfilters(plan);
  for (int i = 0; i < count; i++) {
    unsigned flags;
    size_t values = 0;
    H5Z_filter_t filter = H5Pget_filter2(plan, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32)
      return false;
  }
  return count >= 0;
}

/* Before anything asks for the shape: a virtual array would open its sources for that. */
static bool array_check_storage(hid_t id, Error *error) {
  hid_t plan = H5Dget_create_plist(id);
  if (plan < 0) return damaged(error);
  H5D_layout_t layout = H5Pget_layout(plan);
  if (layout != H5D_CHUNKED && layout != H5D_CONTIGUOUS && layout != H5D_COMPACT)
    return bad(error, "a virtual array made of other files, which are not followed; store the "
                      "array itself in this file");
  if (H5Pget_external_count(plan) != 0)
    return bad(error, "its numbers lie in an external file, which is not followed; store the array "
                      "itself in this file");
  if (!filters_ok(plan))
    return bad(error, "packed by an unsupported filter; expected none or gzip (deflate, shuffle, "
                      "fletcher32)");
  return true;
}

static const char *class_name(H5T_class_t class) {
  switch (class) {
  case H5T_FLOAT:
  case H5T_INTEGER: return "numbers";
  case H5T_STRING: return "strings";
  case H5T_COMPOUND: return "records (a compound type)";
  case H5T_VLEN: return "lists of varying length";
  case H5T_REFERENCE: return "references";
  case H5T_ARRAY: return "small arrays (an array type)";
  case H5T_ENUM: return "booleans or names (an enum type)";
  case H5T_OPAQUE: return "opaque bytes";
  default: return "values of an unusual type";
  }
}

static bool array_check_type(const ArrayKind *kind, hid_t type, Error *error) {
  H5T_class_t class = H5Tget_class(type);
  size_t size = H5Tget_size(type);
  bool sized = size == 1 || size == 2 || size == 4 || size == 8;
  if (sized && ((class == H5T_FLOAT && size > 1) || class == H5T_INTEGER)) return true;
  if (sized && class == H5T_ENUM && kind->flag) return true;
  return error_set(error, FAIL_INPUT, "holds %s of %zu bytes; expected %s", class_name(class), size,
                   kind->flag ? "booleans or numbers 0 and 1" : "float32, float64 or integers");
}

static bool array_check_shape(const ArrayKind *kind, Array *array, Error *error) {
  hid_t space = H5Dget_space(array->id);
  hsize_t size[2] = { 1, 1 };
  array->rank = H5Sget_simple_extent_ndims(space);
  if (array->rank < 1 || array->rank > 2)
    return error_set(error, FAIL_INPUT, "has %d axes; expected %s", array->rank,
                     kind->vector ? "[rows, entries]" : "[rows]");
  H5Sget_simple_extent_dims(space, size, NULL);
  if (size[0] > (hsize_t)cache_max_rows || size[1] > CACHE_MAX_COLUMNS || size[1] == 0)
    return error_set(error, FAIL_INPUT,
                     "is [%llu, %llu]; expected at most %lld rows of 1 to %d entries",
                     (unsigned long long)size[0], (unsigned long long)size[1],
                     (long long)cache_max_rows, CACHE_MAX_COLUMNS);
  array->rows = (int64_t)size[0], array->columns = (int64_t)size[1];
  if (!kind->vector && array->columns != 1)
    return error_set(error, FAIL_INPUT, "is [%lld, %lld]; expected one number a row",
                     (long long)array->rows, (long long)array->columns);
  return true;
}

/* Chunks as the library writes them: no longer than an array that cannot grow, and all there.  From
 * others it would read past their end, and make up zeros. */
static bool array_check_chunks(const Array *array, hid_t plan, uint64_t element, Error *error) {
  hid_t space = H5Dget_space(array->id);
  uint64_t bytes = element, expected = 1;
  hsize_t size[2] = { 1, 1 }, most[2] = { 1, 1 }, chunk[2] = { 1, 1 }, found = 0;
  if (H5Pget_chunk(plan, 2, chunk) != array->rank || !chunk[0] || !chunk[1] ||
      __builtin_mul_overflow(bytes, chunk[0], &bytes) ||
      __builtin_mul_overflow(bytes, chunk[1], &bytes) || bytes > MAX_CHUNK_BYTES)
    return bad(error, "stored in chunks of more than 64 MB; write the file with smaller ones");
  H5Sget_simple_extent_dims(space, size, most);
  for (int i = 0; i < array->rank; i++) {
    if (most[i] != H5S_UNLIMITED && chunk[i] > most[i])
      return error_set(error, FAIL_INPUT, "stored in chunks longer than itself; damaged");
    expected *= (size[i] + chunk[i] - 1) / chunk[i];
  }
  if (H5Dget_num_chunks(array->id, space, &found) < 0) return damaged(error);
  if (found == expected) return true;
  return error_set(error, FAIL_INPUT,
                   "stored in %llu chunks where its shape takes %llu; damaged, or not written to "
                   "its end",
                   (unsigned long long)found, (unsigned long long)expected);
}

/* Sizes that a hostile file might claim: huge chunks, more than is stored, or an array to fill the
 * disk with. */
static bool array_check_claims(const Array *array, uint64_t element, uint64_t file_bytes,
                               Error *error) {
  hid_t plan = H5Dget_create_plist(array->id);
  uint64_t bytes = (uint64_t)array->rows * (uint64_t)array->columns * element;
  if (bytes / DEFLATE_RATIO > file_bytes)
    return error_set(error, FAIL_INPUT,
                     "claims %llu bytes, more than a file of %llu bytes can hold; damaged",
                     (unsigned long long)bytes, (unsigned long long)file_bytes);
  if (H5Pget_layout(plan) == H5D_CHUNKED) return array_check_chunks(array, plan, element, error);
  uint64_t stored = H5Dget_storage_size(array->id);
  if (stored >= bytes) return true;
  return error_set(error, FAIL_INPUT, "claims %llu bytes where %llu are stored; damaged",
                   (unsigned long long)bytes, (unsigned long long)stored);
}

static bool array_open(const Import *in, const ArrayKind *kind, Array *array, Error *error) {
  if (!array_find(in->file, kind, array, error)) return false;
  if (!array->id) return true;
  hid_t type = H5Dget_type(array->id);
  if (type < 0) return damaged(error);
  return array_check_type(kind, type, error) && array_check_storage(array->id, error) &&
         array_check_shape(kind, array, error) &&
         array_check_claims(array, H5Tget_size(type), in->header.source_bytes, error);
}

static bool arrays_open(Import *in, Error *error) {
  Array *a = in->array;
  uint64_t bytes = 0;
  for (int c = 0; c < CACHE_ARRAYS; c++) {
    if (!array_open(in, &array_kinds[c], &a[c], error))
      return error_prefix(error, "%s", array_kinds[c].name);
    if (a[c].id && a[c].rows != a[0].rows)
      return error_set(error, FAIL_INPUT,
                       "%s: has %lld rows where observations has %lld; expected one row per step "
                       "in every array; the file was cut or joined wrongly",
                       array_kinds[c].name, (long long)a[c].rows, (long long)a[0].rows);
  }
  const Array *next = &a[CACHE_NEXT_OBSERVATIONS];
  if (next->id && next->columns != a[0].columns)
    return error_set(error, FAIL_INPUT,
                     "next_observations: has %lld entries a row; expected %lld as in observations",
                     (long long)next->columns, (long long)a[0].columns);
  if (a[0].rows < 2)
    return error_set(error, FAIL_INPUT,
                     "observations: has %lld rows; expected at least 2, for a step and its "
                     "successor",
                     (long long)a[0].rows);
  in->header.rows = a[0].rows;
  in->header.obs_dim = (int32_t)a[CACHE_OBSERVATIONS].columns;
  in->header.act_dim = (int32_t)a[CACHE_ACTIONS].columns;
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (a[c].id) bytes += cache_column_bytes(&in->header, c);
  if (bytes <= INFLATE_FREE || bytes / INFLATE_RATIO <= in->header.source_bytes) return true;
  return error_set(error, FAIL_INPUT,
                   "its arrays take %llu bytes, more than %d times the file's %llu; if that is "
                   "meant, unpack it with `h5repack -f NONE`",
                   (unsigned long long)bytes, INFLATE_RATIO,
                   (unsigned long long)in->header.source_bytes);
}

/* Ends of episodes under other names are not guessed: `done` means this here and that there. */
static bool ends_check(const Import *in, Error *error) {
  static const char *const other[][2] = {
    { "terminations", "terminals" },
    { "terminated", "terminals" },
    { "is_terminal", "terminals" },
    { "truncations", "timeouts" },
    { "truncated", "timeouts" },
    { "timeout", "timeouts" },
    { "dones", "terminals (no value after that row) or timeouts" },
    { "done", "terminals (no value after that row) or timeouts" },
    { "is_last", "timeouts" },
    { "episode_ends", "timeouts" },
    { "ends", "timeouts" },
  };
  bool have[] = { in->array[CACHE_TERMINALS].id, in->array[CACHE_TIMEOUTS].id };
  for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
    bool missing = strstr(other[i][1], "terminals") ? !have[0] : !have[1];
    if (strstr(other[i][1], " or ")) missing = !have[0] && !have[1];
    if (missing && H5Lexists(in->file, other[i][0], H5P_DEFAULT) > 0)
      return error_set(error, FAIL_INPUT,
                       "has the array %s and no %s; where episodes end is read from terminals and "
                       "timeouts alone: give it that name",
                       other[i][0], other[i][1]);
  }
  return true;
}

/* ---- import: filling the cache --------------------------------------------------------------- */

/* Make the output as long as the layout says and map it; earlier content stays. */
static bool output_grow(Import *in, Error *error) {
  if (in->map) munmap(in->map, in->map_bytes);
  in->map_bytes = in->header.file_bytes;
  limit_work(in->header.source_bytes + in->map_bytes);
  int failed = posix_fallocate(HDF5_OUTPUT, 0, (off_t)in->map_bytes);
  if (failed)
    return error_set(error, FAIL_RUNNING, "cannot write the cache of %llu bytes: %s",
                     (unsigned long long)in->map_bytes, strerror(failed));
  in->map = mmap(NULL, in->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, HDF5_OUTPUT, 0);
  if (in->map != MAP_FAILED) return true;
  return error_set(error, FAIL_RUNNING, "cannot map the cache: %s", strerror(errno));
}

/* Rows first .. first + rows - 1 as floats. */
static bool array_read(const Array *array, int64_t first, int64_t rows, float *out, Error *error) {
  hsize_t start[2] = { (hsize_t)first, 0 };
  hsize_t count[2] = { (hsize_t)rows, (hsize_t)array->columns };
  hid_t from = H5Dget_space(array->id), to = H5Screate_simple(array->rank, count, NULL);
  H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, count, NULL);
  bool done = H5Dread(array->id, H5T_NATIVE_FLOAT, to, from, H5P_DEFAULT, out) >= 0;
  Reason why = done ? (Reason){ "" } : reason();
  H5Sclose(from);
  H5Sclose(to);
  if (done) return true;
  return error_set(error, FAIL_INPUT,
                   "rows %lld to %lld cannot be read (%s); damaged: copy or download the file "
                   "again",
                   (long long)first, (long long)(first + rows - 1), why.text);
}

static bool check_finite(const float *x, int64_t first, int64_t rows, int64_t n, Error *error) {
  for (int64_t i = 0; i < rows * n; i++)
    if (!isfinite(x[i]))
      return error_set(error, FAIL_INPUT,
                       "row %lld, entry %lld is %s; expected finite float32 numbers; remove that "
                       "episode from the file",
                       (long long)(first + i / n), (long long)(i % n),
                       isnan(x[i]) ? "not a number" : "infinite");
  return true;
}

static bool flags_copy(const float *x, int64_t first, int64_t rows, uint8_t *out, Error *error) {
  for (int64_t i = 0; i < rows; i++) {
    if (x[i] != 0 && x[i] != 1)
      return error_set(error, FAIL_INPUT, "row %lld is %g; expected 0 or 1", (long long)(first + i),
                       (double)x[i]);
    out[i] = x[i] != 0;
  }
  return true;
}

static bool array_copy(const Array *array, bool flag, char *out, Error *error) {
  float *buffer = flag ? malloc(SLAB_ROWS * sizeof *buffer) : NULL;
  bool ok = buffer || !flag || error_set(error, FAIL_RUNNING, "out of memory");
  for (int64_t first = 0; ok && first < array->rows; first += SLAB_ROWS) {
    int64_t rows = array->rows - first < SLAB_ROWS ? array->rows - first : SLAB_ROWS;
    float *to = flag ? buffer : (float *)out + first * array->columns;
    ok = array_read(array, first, rows, to, error) &&
         (flag ? flags_copy(to, first, rows, (uint8_t *)out + first, error)
               : check_finite(to, first, rows, array->columns, error));
  }
  free(buffer);
  return ok;
}

static bool arrays_copy(Import *in, Error *error) {
  CacheHeader *h = &in->header;
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (in->array[c].id) cache_place(h, c, cache_column_bytes(h, c));
  if (!output_grow(in, error)) return false;
  for (int c = 0; c < CACHE_ARRAYS; c++)
    if (in->array[c].id &&
        !array_copy(&in->array[c], array_kinds[c].flag, in->map + h->column[c].offset, error))
      return error_prefix(error, "%s", array_kinds[c].name);
  return true;
}

/* One member of metadata/ if it is a fixed-length string or a number; anything else is skipped. */
static void metadata_put(JsonText *out, const char *key, hid_t id) {
  hid_t type = H5Dget_type(id);
  H5T_class_t class = H5Tget_class(type);
  size_t size = H5Tget_size(type);
  Error why;
  if (!array_check_storage(id, &why)) return;
  if (H5Sget_simple_extent_type(H5Dget_space(id)) != H5S_SCALAR) return;
  double number;
  char text[MAX_TEXT + 1] = { 0 };
  if (class == H5T_STRING && H5Tis_variable_str(type) == 0 && size <= MAX_TEXT) {
    if (H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) >= 0) json_put_text(out, key, text);
  } else if ((class == H5T_INTEGER || class == H5T_FLOAT) && size <= 8) {
    if (H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &number) >= 0)
      json_put_number(out, key, number);
  }
}

/* The file's metadata/ group as a JSON object, keys in order; "{}" if there is none. */
static void metadata_read(hid_t file, JsonText *out) {
  json_open(out, NULL, '{');
  H5G_info_t group = { .nlinks = 0 };
  H5L_info_t link;
  if (H5Lexists(file, "metadata", H5P_DEFAULT) > 0 &&
      H5Lget_info(file, "metadata", &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD)
    H5Gget_info_by_name(file, "metadata", &group, H5P_DEFAULT);
  for (hsize_t i = 0; i < group.nlinks && i < MAX_METADATA; i++) {
    char path[256] = "metadata/", *key = path + strlen(path);
    size_t room = sizeof path - strlen(path);
    ssize_t length =
        H5Lget_name_by_idx(file, "metadata", H5_INDEX_NAME, H5_ITER_INC, i, key, room, H5P_DEFAULT);
    /* no path: a name with a slash would lead through other members */
    if (length <= 0 || (size_t)length >= room || strchr(key, '/')) continue;
    if (H5Lget_info(file, path, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD) continue;
    hid_t object = H5Oopen(file, path, H5P_DEFAULT);
    if (H5Iget_type(object) == H5I_DATASET) metadata_put(out, key, object);
    if (object >= 0) H5Oclose(object);
  }
  json_close(out, '}');
}

static void *column(const Import *in, int c) {
  uint64_t offset = in->header.column[c].offset;
  return offset ? in->map + offset : NULL;
}

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

/* If most rows are not followed by what they say, the order of rows means something else. */
static bool order_check(const EpisodeCounts *n, Error *error) {
  if (2 * n->cut > n->compared)
    return error_set(error, FAIL_INPUT,
                     "next_observations of %lld among %lld rows are not the observations of the "
                     "next row (first: row %lld); the rows are those of parallel environments, or "
                     "shuffled; store whole episodes one after the other, or, if the order of rows "
                     "is right, leave next_observations out",
                     (long long)n->cut, (long long)n->compared, (long long)n->first_cut);
  if (n->transitions == 0)
    return bad(error, "no transitions: every row is a time-out or the last one, so none has a "
                      "successor; check the timeouts array and the horizon");
  return true;
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
  metadata_read(in->file, &metadata);
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

static bool source_hash(int fd, char text[MURMUR_TEXT], Error *error) {
  static char buffer[1 << 16];
  Murmur murmur = { 0 };
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) murmur_add(&murmur, buffer, (size_t)n);
  if (n < 0) return error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(errno));
  murmur_text(murmur_sum(&murmur), text);
  return true;
}

static bool import(Import *in, const char *source, int64_t horizon, Error *error) {
  cache_init(&in->header);
  in->header.horizon = horizon;
  if (ftruncate(HDF5_OUTPUT, 0) != 0)
    return error_set(error, FAIL_RUNNING, "the cache cannot be written: %s", strerror(errno));
  if (!file_open(in, source, error) || !arrays_open(in, error) || !ends_check(in, error) ||
      !arrays_copy(in, error) || !index_write(in, source, error) ||
      !source_hash(in->input, in->header.source_hash, error))
    return false;
  cache_seal(&in->header, in->map);
  if (munmap(in->map, in->map_bytes) == 0 && fsync(HDF5_OUTPUT) == 0) return true;
  return error_set(error, FAIL_RUNNING, "the cache cannot be written: %s", strerror(errno));
}

/* ---- export: rows to columns ----------------------------------------------------------------- */

typedef struct {
  hid_t file;
  const RowsHeader *header;
  const char *records; /* [rows], stride apart */
  size_t stride;
  hid_t boolean; /* as h5py writes it: an enum over int8 */
} Export;

static bool disk_failed(Error *error, const char *name) {
  return error_set(error, FAIL_RUNNING, "%s: cannot be written (%s)", name, reason().text);
}

static hid_t boolean_type(void) {
  hid_t type = H5Tenum_create(H5T_STD_I8LE);
  H5Tenum_insert(type, "FALSE", &(int8_t){ 0 });
  H5Tenum_insert(type, "TRUE", &(int8_t){ 1 });
  return type;
}

static hid_t array_create(const Export *out, const char *name, hid_t type, int rank,
                          const hsize_t size[2]) {
  hid_t plan = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
  hsize_t row = size[1] * H5Tget_size(type), chunk[2] = { CHUNK_BYTES / row + 1, size[1] };
  if (chunk[0] > size[0]) chunk[0] = size[0];
  H5Pset_chunk(plan, rank, chunk);
  H5Pset_shuffle(plan);
  H5Pset_deflate(plan, 4);
  H5Pset_obj_track_times(plan, false); /* equal data, equal file */
  H5Pset_create_intermediate_group(links, 1);
  hid_t space = H5Screate_simple(rank, size, NULL);
  return H5Dcreate2(out->file, name, type, space, links, plan, H5P_DEFAULT);
}

/* One field of all records as an array; columns 0: the rows have a single value. */
static bool export_array(const Export *out, const char *name, size_t offset, int columns,
                         hid_t type, Error *error) {
  int rank = columns ? 2 : 1;
  hsize_t size[2] = { (hsize_t)out->header->rows, columns ? (hsize_t)columns : 1 };
  size_t row = size[1] * H5Tget_size(type);
  hid_t id = array_create(out, name, type, rank, size);
  char *buffer = malloc(SLAB_ROWS * row);
  bool ok = id >= 0 && buffer;
  for (hsize_t first = 0; ok && first < size[0]; first += SLAB_ROWS) {
    hsize_t start[2] = { first, 0 };
    hsize_t count[2] = { size[0] - first < SLAB_ROWS ? size[0] - first : SLAB_ROWS, size[1] };
    const char *record = out->records + first * out->stride + offset;
    for (hsize_t i = 0; i < count[0]; i++) memcpy(buffer + i * row, record + i * out->stride, row);
    hid_t to = H5Dget_space(id), from = H5Screate_simple(rank, count, NULL);
    H5Sselect_hyperslab(to, H5S_SELECT_SET, start, NULL, count, NULL);
    ok = H5Dwrite(id, type, from, to, H5P_DEFAULT, buffer) >= 0;
    H5Sclose(from);
  }
  ok = ok || disk_failed(error, name);
  free(buffer);
  if (id >= 0 && H5Dclose(id) < 0 && ok) ok = disk_failed(error, name);
  return ok;
}

static bool export_arrays(const Export *out, Error *error) {
  const RowsHeader *h = out->header;
  RowsLayout at = rows_layout(h);
  hid_t f32 = H5T_IEEE_F32LE, f64 = H5T_IEEE_F64LE;
  return export_array(out, "observations", at.obs, h->obs_dim, f32, error) &&
         export_array(out, "actions", at.act, h->act_dim, f32, error) &&
         export_array(out, "rewards", at.reward, 0, f32, error) &&
         export_array(out, "terminals", at.terminal, 0, out->boolean, error) &&
         export_array(out, "timeouts", at.timeout, 0, out->boolean, error) &&
         export_array(out, "next_observations", at.next, h->obs_dim, f32, error) &&
         (!h->nq || export_array(out, "infos/qpos", at.qpos, h->nq, f64, error)) &&
         (!h->nv || export_array(out, "infos/qvel", at.qvel, h->nv, f64, error)) &&
         (!h->has_log_prob ||
          export_array(out, "infos/action_log_probs", at.log_prob, 0, f32, error));
}

static bool scalar_write(hid_t group, const char *key, hid_t type, const void *value) {
  hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_obj_track_times(plan, false);
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t id = H5Dcreate2(group, key, type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
  return id >= 0 && H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0 &&
         H5Dclose(id) >= 0;
}

static bool export_member(hid_t group, const Json *member, Error *error) {
  const char *key = json_key(member), *text = json_text(member);
  double number = json_number(member, NAN);
  bool written = false;
  if (!*key || strchr(key, '/') || !strcmp(key, "."))
    return error_set(error, FAIL_INPUT, "metadata: the key \"%s\" cannot name an entry", key);
  if (text) {
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, *text ? strlen(text) : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    written = scalar_write(group, key, type, text);
  } else if (json_is_number(member) && number == rint(number) && fabs(number) < 0x1p53) {
    written = scalar_write(group, key, H5T_NATIVE_INT64, &(int64_t){ (int64_t)number });
  } else if (json_is_number(member)) {
    written = scalar_write(group, key, H5T_NATIVE_DOUBLE, &number);
  } else {
    return error_set(error, FAIL_INPUT, "metadata/%s: expected a string or a number", key);
  }
  return written || disk_failed(error, key);
}

static bool export_metadata(const Export *out, const char *text, Error *error) {
  Json *root = json_parse(text, out->header->metadata_bytes, error);
  if (!root) return error_prefix(error, "metadata");
  hid_t group = H5Gcreate2(out->file, "metadata", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  bool ok = group >= 0 || disk_failed(error, "metadata");
  for (const Json *m = json_first(root); ok && m; m = json_next(m))
    ok = export_member(group, m, error);
  json_free(root);
  return (!ok || H5Gclose(group) >= 0) && ok;
}

static const RowsHeader *rows_map(Error *error) {
  struct stat info = { 0 };
  if (fstat(STDIN_FILENO, &info) == 0 && (size_t)info.st_size >= sizeof(RowsHeader)) {
    limit_work((uint64_t)info.st_size);
    const RowsHeader *h = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, STDIN_FILENO, 0);
    if (h != MAP_FAILED && !memcmp(h->magic, ROWS_MAGIC, sizeof h->magic) &&
        h->version == ROWS_VERSION && h->rows > 0 &&
        sizeof *h + (uint64_t)h->rows * rows_layout(h).stride + h->metadata_bytes ==
            (uint64_t)info.st_size)
      return h;
  }
  error_set(error, FAIL_RUNNING, "standard input is not a whole file of rows");
  return NULL;
}

/* The library opens files by names alone, and ours has none: the file is made in memory. */
static hid_t memory_file(void) {
  enum { STEP = 1 << 24 };
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_core(access, STEP, false);
  return H5Fcreate("steps", H5F_ACC_TRUNC, H5P_DEFAULT, access);
}

static bool write_all(const char *p, size_t left) {
  while (left) {
    ssize_t wrote = write(HDF5_OUTPUT, p, left < 1 << 30 ? left : 1 << 30);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    p += wrote, left -= (size_t)wrote;
  }
  return true;
}

static bool file_write_out(hid_t file, Error *error) {
  ssize_t size = H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0 ? H5Fget_file_image(file, NULL, 0) : -1;
  char *image = size > 0 ? malloc((size_t)size) : NULL;
  if (!image || H5Fget_file_image(file, image, (size_t)size) != size) {
    free(image);
    return error_set(error, FAIL_RUNNING, "the file cannot be put together (%s)", reason().text);
  }
  bool done = write_all(image, (size_t)size) ||
              error_set(error, FAIL_RUNNING, "cannot be written: %s", strerror(errno));
  free(image);
  return done;
}

static bool export(Error *error) {
  if (!cage_enter())
    return error_set(error, FAIL_RUNNING, "cannot lock itself in (seccomp: %s)", strerror(errno));
  Export out = { .header = rows_map(error), .boolean = boolean_type() };
  if (!out.header) return false;
  out.records = (const char *)(out.header + 1);
  out.stride = rows_layout(out.header).stride;
  out.file = memory_file();
  if (out.file < 0) return disk_failed(error, "the file");
  const char *metadata = out.records + (size_t)out.header->rows * out.stride;
  return export_arrays(&out, error) && export_metadata(&out, metadata, error) &&
         file_write_out(out.file, error);
}

int main(int count, char **argument) {
  Error error = { 0 };
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  start_library();
  bool done;
  if (count == 4 && !strcmp(argument[1], "import"))
    done = import(&(Import){ 0 }, argument[2], strtoll(argument[3], NULL, 10), &error);
  else if (count == 2 && !strcmp(argument[1], "export"))
    done = export(&error);
  else
    done = error_set(&error, FAIL_USAGE,
                     "usage: diffrl-hdf5 import IN.hdf5 HORIZON 3<>OUT | export <ROWS 3<>OUT");
  if (!done) fprintf(stderr, "%s\n", error.text);
  fflush(stderr);
  _exit(error.kind); /* what HDF5 would do at exit to a damaged file is not wanted */
}
