/* hdf5_export.c -- the writer's rows (rows.h) to a D4RL v2 file. */
#include "core/error.h"
#include "core/json.h"
#include "datasets/cage.h"
#include "datasets/formats/hdf5_library.h"
#include "datasets/formats/caged_program.h"
#include "datasets/hdf5_process.h"
#include "datasets/rows.h"
#include <errno.h>
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLAB_ROWS = 65536, CHUNK_BYTES = 1 << 18 };

typedef struct {
  hid_t file;
  const RowsHeader *header;
  const char *records; /* [rows], stride apart */
  size_t stride;
  hid_t boolean; /* as h5py writes it: an enum over int8 */
} Export;

static bool disk_failed(Error *error, const char *name) {
  return error_set(error, FAIL_RUNNING, "%s: cannot be written (%s)", name, hdf5_reason().text);
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
    program_limit((uint64_t)info.st_size);
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
    return error_set(error, FAIL_RUNNING, "the file cannot be put together (%s)",
                     hdf5_reason().text);
  }
  bool done = write_all(image, (size_t)size) ||
              error_set(error, FAIL_RUNNING, "cannot be written: %s", strerror(errno));
  free(image);
  return done;
}

bool hdf5_export(Error *error) {
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
