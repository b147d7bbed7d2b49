/* hdf5_store.c -- HDF5 files as a store.
 *
 * HDF5 1.10 has known flaws that a hostile file can reach.  So the library meets files in a process
 * of its own, in a cage.  Only arrays with expected names are opened; links, external and virtual
 * storage, unusual types and filters are refused.  Rows are read in slabs. */
#include "datasets/cache.h"
#include "datasets/formats/hdf5_library.h"
#include "datasets/formats/store.h"
#include <errno.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  MAX_CHUNK_BYTES = 1 << 26, /* of the files we read */
  MAX_METADATA = 256,        /* entries */
  MAX_TEXT = 4096,           /* bytes of a metadata string */
  DEFLATE_RATIO = 1040,      /* zlib cannot do better */
};

/* ---- messages -------------------------------------------------------------------------------- */

void hdf5_start(void) {
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* read-only and network file systems */
  H5open();
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0); /* no filter plug-ins */
  H5Lunregister(H5L_TYPE_EXTERNAL);
}

static herr_t deepest(unsigned n, const H5E_error2_t *entry, void *reason) {
  if (n == 0 && entry->desc) snprintf(reason, sizeof(Hdf5Reason), "%s", entry->desc);
  return 0;
}

Hdf5Reason hdf5_reason(void) {
  Hdf5Reason r = { "no reason given" };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, deepest, &r);
  return r;
}

static bool bad(Error *error, const char *message) {
  return error_set(error, FAIL_INPUT, "%s", message);
}

static bool damaged(Error *error) {
  return error_set(error, FAIL_INPUT, "truncated or damaged (%s); copy or download the file again",
                   hdf5_reason().text);
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool recognises(const char *path, const unsigned char *head, size_t length) {
  (void)head, (void)length; /* the signature may stand behind a block of the user's */
  return H5Fis_hdf5(path) > 0;
}

/* The mark that newer versions of the format put into the first bytes of a file being written:
 * signature, version, two sizes, then the flags. */
static bool open_elsewhere(int fd) {
  unsigned char head[12];
  bool marked = pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && head[8] >= 3;
  return marked && (head[11] & 0x05);
}

static bool open_file(Store *store, const char *path, Error *error) {
  store->id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (store->id < 0 && open_elsewhere(store->fd))
    return bad(error, "open for writing, or left open by a program that was killed; close it there "
                      "first, or, if nobody writes to it any more, clear the mark with "
                      "`h5clear -s FILE`");
  return store->id >= 0 || damaged(error);
}

/* ---- members --------------------------------------------------------------------------------- */

/* HDF5 says neither yes nor no: the file is damaged, or memory ran out. */
static bool doubt(Store *store) {
  store->doubt = true;
  return false;
}

static bool is_group(Store *store, const char *path) {
  hid_t object = H5Oopen(store->id, path, H5P_DEFAULT);
  if (object < 0) return doubt(store);
  bool group = H5Iget_type(object) == H5I_GROUP;
  H5Oclose(object);
  return group;
}

/* Every group on the way is the file's own: links lead elsewhere and are not followed. */
static bool own_path(Store *store, const char *name, bool *link) {
  char path[STORE_NAME];
  *link = false;
  for (size_t i = 1; i < sizeof path && name[i - 1]; i++) {
    H5L_info_t info;
    if (name[i] && name[i] != '/') continue;
    memcpy(path, name, i), path[i] = '\0';
    htri_t there = H5Lexists(store->id, path, H5P_DEFAULT);
    if (there < 0) return doubt(store);
    if (!there) return false;
    if (H5Lget_info(store->id, path, &info, H5P_DEFAULT) < 0) return doubt(store);
    if (info.type != H5L_TYPE_HARD) return !(*link = true);
    if (!name[i]) return true;
    if (!is_group(store, path)) return false;
  }
  return false;
}

static MemberKind member(Store *store, const char *name) {
  bool link;
  if (!own_path(store, name, &link)) return link ? MEMBER_ARRAY : MEMBER_NONE;
  hid_t object = H5Oopen(store->id, name, H5P_DEFAULT);
  H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
  if (object >= 0) H5Oclose(object);
  return type == H5I_GROUP ? MEMBER_GROUP : MEMBER_ARRAY; /* opening it says what is wrong */
}

static bool list(Store *store, const char *group, int64_t i, char name[STORE_NAME]) {
  H5G_info_t info = { .nlinks = 0 };
  bool link;
  if (!*group) group = "/";
  if (strcmp(group, "/") && !own_path(store, group, &link)) return false;
  if (H5Gget_info_by_name(store->id, group, &info, H5P_DEFAULT) < 0) return doubt(store);
  if (i >= (int64_t)info.nlinks) return false;
  ssize_t length = H5Lget_name_by_idx(store->id, group, H5_INDEX_NAME, H5_ITER_INC, (hsize_t)i,
                                      name, STORE_NAME, H5P_DEFAULT);
  if (length < 0) doubt(store);
  /* a name with a slash would lead through other members, one too long is nobody's */
  if (length <= 0 || length >= STORE_NAME || strchr(name, '/')) *name = '\0';
  return true;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool array_find(Store *store, Array *array, Error *error) {
  bool link;
  if (!own_path(store, array->name, &link))
    return link ? bad(error, "a link, which is not followed; store the array itself in this file")
                : bad(error, "no such array");
  hid_t object = H5Oopen(store->id, array->name, H5P_DEFAULT);
  if (object < 0) return damaged(error);
  bool is_array = H5Iget_type(object) == H5I_DATASET;
  H5Oclose(object);
  if (!is_array) return bad(error, "a group; expected an array of numbers");
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_chunk_cache(access, 12421, 2 * MAX_CHUNK_BYTES, 1.0);
  array->id = H5Dopen2(store->id, array->name, access);
  H5Pclose(access);
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

static bool array_check_type(bool flag, hid_t type, Error *error) {
  H5T_class_t class = H5Tget_class(type);
  size_t size = H5Tget_size(type);
  bool sized = size == 1 || size == 2 || size == 4 || size == 8;
  if (sized && ((class == H5T_FLOAT && size > 1) || class == H5T_INTEGER)) return true;
  if (sized && class == H5T_ENUM && flag) return true;
  return error_set(error, FAIL_INPUT, "holds %s of %zu bytes; expected %s", class_name(class), size,
                   flag ? "booleans or numbers 0 and 1" : "float32, float64 or integers");
}

static void array_shape(Array *array) {
  hid_t space = H5Dget_space(array->id);
  hsize_t size[2] = { 1, 1 };
  array->rank = H5Sget_simple_extent_ndims(space);
  if (array->rank == 1 || array->rank == 2) H5Sget_simple_extent_dims(space, size, NULL);
  /* what does not fit is refused as a shape */
  array->rows = size[0] < (hsize_t)INT64_MAX ? (int64_t)size[0] : -1;
  array->columns = size[1] < (hsize_t)INT32_MAX ? (int64_t)size[1] : -1;
  H5Sclose(space);
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

static bool array_open(Store *store, const char *name, bool flag, Array *array, Error *error) {
  (void)name;
  array->id = -1;
  if (!array_find(store, array, error)) return false;
  hid_t type = H5Dget_type(array->id);
  if (type < 0) return damaged(error);
  array->width = (int)H5Tget_size(type);
  bool typed = array_check_type(flag, type, error);
  H5Tclose(type);
  if (!typed || !array_check_storage(array->id, error)) return false;
  array_shape(array);
  return store_check_shape(array, true, error) &&
         array_check_claims(array, (uint64_t)array->width, store->bytes, error);
}

static void array_close(Array *array) {
  if (array->id >= 0) H5Dclose(array->id);
}

static bool array_read(Array *array, int64_t first, int64_t rows, float *out, Error *error) {
  hsize_t start[2] = { (hsize_t)first, 0 };
  hsize_t count[2] = { (hsize_t)rows, (hsize_t)array->columns };
  hid_t from = H5Dget_space(array->id), to = H5Screate_simple(array->rank, count, NULL);
  H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, count, NULL);
  bool done = H5Dread(array->id, H5T_NATIVE_FLOAT, to, from, H5P_DEFAULT, out) >= 0;
  Hdf5Reason why = done ? (Hdf5Reason){ "" } : hdf5_reason();
  H5Sclose(from);
  H5Sclose(to);
  if (done) return true;
  return error_set(error, FAIL_INPUT,
                   "rows %lld to %lld cannot be read (%s); damaged: copy or download the file "
                   "again",
                   (long long)first, (long long)(first + rows - 1), why.text);
}

/* ---- texts and metadata ---------------------------------------------------------------------- */

/* Of fixed length: what h5py writes for byte strings. */
static bool word_read(hid_t id, int64_t i, char word[STORE_NAME]) {
  Error why;
  hid_t type = H5Dget_type(id), space = H5Dget_space(id);
  hsize_t size[1] = { 0 }, start[1] = { (hsize_t)i }, count[1] = { 1 };
  bool done = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 &&
              H5Tget_size(type) < STORE_NAME && H5Sget_simple_extent_ndims(space) == 1 &&
              array_check_storage(id, &why);
  if (done) H5Sget_simple_extent_dims(space, size, NULL);
  if (done && (done = i < (int64_t)size[0])) {
    hid_t one = H5Screate_simple(1, count, NULL);
    memset(word, 0, STORE_NAME);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    done = H5Dread(id, type, one, space, H5P_DEFAULT, word) >= 0;
    H5Sclose(one);
  }
  H5Sclose(space), H5Tclose(type);
  return done;
}

static bool word(Store *store, const char *name, int64_t i, char text[STORE_NAME]) {
  bool link;
  hid_t id = own_path(store, name, &link) ? H5Dopen2(store->id, name, H5P_DEFAULT) : -1;
  bool done = id >= 0 && word_read(id, i, text);
  if (id >= 0) H5Dclose(id);
  return done;
}

/* One member of metadata/ if it is a fixed-length string or a number; anything else is skipped.
 * False where HDF5 does not say what it is. */
static bool metadata_put(JsonText *out, const char *key, hid_t id) {
  hid_t type = H5Dget_type(id), space = H5Dget_space(id), plan = H5Dget_create_plist(id);
  if (type < 0 || space < 0 || plan < 0) return false;
  H5T_class_t class = H5Tget_class(type);
  H5S_class_t shape = H5Sget_simple_extent_type(space);
  size_t size = H5Tget_size(type);
  if (class == H5T_NO_CLASS || shape == H5S_NO_CLASS || !size) return false;
  Error why;
  if (shape != H5S_SCALAR || !array_check_storage(id, &why)) return true;
  double number;
  char text[MAX_TEXT + 1] = { 0 };
  if (class == H5T_STRING && H5Tis_variable_str(type) == 0 && size <= MAX_TEXT) {
    if (H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) < 0) return false;
    json_put_text(out, key, text);
  } else if ((class == H5T_INTEGER || class == H5T_FLOAT) && size <= 8) {
    if (H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &number) < 0) return false;
    json_put_number(out, key, number);
  }
  return true;
}

/* The file's metadata/ group, keys in order. */
static void metadata(Store *store, JsonText *out) {
  char path[STORE_NAME] = "metadata/", *key = path + strlen(path);
  bool link;
  if (!own_path(store, "metadata", &link) || !is_group(store, "metadata")) return;
  for (int64_t i = 0; i < MAX_METADATA; i++) {
    char name[STORE_NAME];
    if (!list(store, "metadata", i, name)) return;
    if (!*name || strlen(name) >= sizeof path - strlen("metadata/")) continue;
    strcpy(key, name);
    if (!own_path(store, path, &link)) continue;
    hid_t object = H5Oopen(store->id, path, H5P_DEFAULT);
    if (object < 0 || (H5Iget_type(object) == H5I_DATASET && !metadata_put(out, key, object)))
      doubt(store);
    if (object >= 0) H5Oclose(object);
  }
}

const StoreKind store_hdf5 = { "HDF5",     recognises, open_file, NULL,        member,   list,
                               array_open, array_read, word,      array_close, metadata, NULL };
