/* fuzz_hdf5.c -- any bytes as a file of data in any container: imported whole, or refused with a
 * reason.
 *
 * The program diffrl-hdf5 in this process, without its cage and its limits.  A flaw of HDF5 itself,
 * for which the cage is there, ends this program too; tests/fuzz.sh tells it from ours. */
#include "core/check.h"
#include "core/json.h"
#include "datasets/cache.h"
#include "datasets/formats/caged_program.h"
#include "datasets/hdf5_process.h"
#include <hdf5.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The program ends with its one file and leaves identifiers open; here they are kept and closed. */
enum { MOST_KEPT = 1 << 14 };
static hid_t kept[MOST_KEPT];
static int kept_count;

static hid_t keep(hid_t id) {
  if (id >= 0 && kept_count < MOST_KEPT) kept[kept_count++] = id;
  return id;
}

void program_limit(uint64_t bytes) { (void)bytes; }

#define H5Dget_create_plist(id)       keep(H5Dget_create_plist(id))
#define H5Dget_space(id)              keep(H5Dget_space(id))
#define H5Dget_type(id)               keep(H5Dget_type(id))
#define H5Dopen2(file, name, access)  keep(H5Dopen2(file, name, access))
#define H5Fopen(path, flags, access)  keep(H5Fopen(path, flags, access))
#define H5Oopen(file, name, access)   keep(H5Oopen(file, name, access))
#define H5Pcreate(kind)               keep(H5Pcreate(kind))
#define H5Screate_simple(rank, n, of) keep(H5Screate_simple(rank, n, of))
#include "datasets/formats/hdf5_store.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What it made is a cache that data sets are made of, with every index inside. */
static void check_cache(const CacheHeader *h, uint64_t bytes) {
  CHECK(cache_header_ok(h, bytes) && cache_data_ok(h), "an import that is no cache");
  const int64_t *transition = cache_column(h, CACHE_TRANSITION);
  const int64_t *start = cache_column(h, CACHE_EPISODE_START);
  for (int64_t i = 0; i < h->transitions; i++)
    CHECK(transition[i] >= 0 && transition[i] + 1 < h->rows, "transition %lld", (long long)i);
  for (int64_t e = 0; e < h->episodes; e++)
    CHECK(start[e] >= 0 && start[e] < start[e + 1] && start[e + 1] <= h->rows, "episode %lld",
          (long long)e);
  Error error;
  Json *metadata =
      json_parse(cache_column(h, CACHE_METADATA), h->column[CACHE_METADATA].bytes - 1, &error);
  CHECK(metadata, "metadata: %s", error.text);
  json_free(metadata);
}

/* HDF5 follows a link to its end, so a file in memory without a name will not do. */
static char path[256];
static int source = -1;

static void leave(void) { unlink(path); }

static void enter(void) {
  const char *folder = getenv("TMPDIR");
  int cache = memfd_create("cache", 0);
  CHECK(cache >= 0 && dup2(cache, HDF5_OUTPUT) == HDF5_OUTPUT, "no output");
  snprintf(path, sizeof path, "%s/fuzz-hdf5-XXXXXX", folder ? folder : "/tmp");
  source = mkstemp(path);
  CHECK(source >= 0, "no file in %s", path);
  atexit(leave);
  hdf5_start();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (source < 0) enter();
  CHECK(!ftruncate(source, 0) && pwrite(source, data, size, 0) == (ssize_t)size, "not written");
  Error error = { 0 };
  char *file = path;
  struct stat info = { 0 };
  if (import(1000, "", path, &file, 1, &error)) {
    CHECK(kept_count < MOST_KEPT, "too many identifiers to close");
    CHECK(!fstat(HDF5_OUTPUT, &info), "no size");
    uint64_t bytes = (uint64_t)info.st_size;
    const CacheHeader *made = mmap(NULL, bytes, PROT_READ, MAP_SHARED, HDF5_OUTPUT, 0);
    CHECK(made != MAP_FAILED, "not mapped");
    check_cache(made, bytes);
    munmap((void *)made, bytes);
  } else {
    CHECK(error.kind != FAIL_NONE && *error.text, "refused without a reason");
  }
  while (kept_count > 0)
    if (H5Iis_valid(kept[--kept_count]) > 0) H5Idec_ref(kept[kept_count]);
  return 0;
}
