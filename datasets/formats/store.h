/* store.h -- a file as named arrays of numbers, whatever its container: HDF5, npz, csv.
 *
 * What the arrays mean is a format's matter (format.h).  A store says which members there are and
 * reads rows of them as floats, checking all that a hostile file could claim.  The file is opened
 * before the process locks itself in (cage.h), and looked into afterwards.  Only the program
 * diffrl-hdf5 has stores. */
#ifndef DATASETS_FORMATS_STORE_H
#define DATASETS_FORMATS_STORE_H
#include "core/error.h"
#include "core/json.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct Store Store;
typedef struct StoreKind StoreKind;

enum { STORE_NAME = 192 };

/* An open array: [rows] or [rows, columns] numbers. */
typedef struct {
  Store *store; /* NULL: not open, or none there */
  char name[STORE_NAME];
  int rank;
  int64_t rows, columns;
  int64_t id;  /* the store's own */
  int width;   /* bytes of a number, at most, as it is stored */
  void *state; /* the store's own; where reading stands */
} Array;

struct Store {
  const StoreKind *kind;
  int fd;
  uint64_t bytes;
  int64_t id;       /* of an HDF5 file */
  bool doubt;       /* a question was neither answered by yes nor by no: store_sure */
  const char *text; /* of others: the file, mapped */
  void *own;
};

typedef enum { MEMBER_NONE, MEMBER_ARRAY, MEMBER_GROUP } MemberKind;

struct StoreKind {
  const char *name;
  /* by the first bytes (head is zero-terminated); path: for the library that opens by name */
  bool (*recognises)(const char *path, const unsigned char *head, size_t length);
  bool (*open)(Store *store, const char *path, Error *error); /* outside the cage */
  bool (*look)(Store *store, Error *error); /* inside: read the directory; nullable */
  /* what `name`, with slashes between groups, is in this file itself; links are none */
  MemberKind (*member)(Store *store, const char *name);
  /* member i of a group ("" is the file), in a fixed order; false behind the last */
  bool (*list)(Store *store, const char *group, int64_t i, char name[STORE_NAME]);
  /* flag: booleans are welcome.  A message without the array's name if it cannot be trusted. */
  bool (*array)(Store *store, const char *name, bool flag, Array *array, Error *error);
  bool (*read)(Array *array, int64_t first, int64_t rows, float *out, Error *error);
  /* nullable: text i of a one-dimensional array of texts; false behind the last */
  bool (*word)(Store *store, const char *name, int64_t i, char word[STORE_NAME]);
  void (*close)(Array *array);                   /* nullable */
  void (*metadata)(Store *store, JsonText *out); /* nullable: members of an object */
  void (*end)(Store *store);                     /* nullable: free `own` */
};
extern const StoreKind store_hdf5, store_npz, store_csv;

/* Open the file with the kind that recognises its content. */
bool store_open(Store *store, const char *path, Error *error);

MemberKind store_member(Store *store, const char *name);

/* Has every question about members and metadata been answered?  Where not, the file is damaged or
 * memory ran out, and what seemed absent may be there: nothing that was read may be kept. */
bool store_sure(const Store *store, Error *error);

/* The array `name`, which is there; messages begin with its name.  vector: rows may have more than
 * one number. */
bool store_array(Store *store, const char *name, bool vector, bool flag, Array *array,
                 Error *error);

/* Rows first .. first + rows - 1 as floats.  Reading forwards costs one pass. */
bool store_read(Array *array, int64_t first, int64_t rows, float *out, Error *error);
void store_close(Array *array);
void store_end(Store *store);

/* "; did you mean X?" if a member of the group is near, else "". */
const char *store_nearest(Store *store, const char *group, const char *name,
                          char text[2 * STORE_NAME]);

/* CACHE_MAX_COLUMNS and cache_max_rows hold, and one number a row unless `vector`. */
bool store_check_shape(const Array *array, bool vector, Error *error);

#endif
