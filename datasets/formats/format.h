/* format.h -- what the arrays of a file mean: one Format a layout.
 *
 * A format divides a file into parts, most often one an episode, and says for each part which
 * arrays its columns are made of.  import.c copies them into the cache.  A part of n steps is n
 * rows; where the file knows the state behind the last step, that is one more row (EPISODE_STATE),
 * so that the successor of every step is the next row.
 *
 * The user's choice (dataset.h) goes before a format's own names: map[c] lists the arrays of a
 * column, joined by +, and --obs those of the observations. */
#ifndef DATASETS_FORMATS_FORMAT_H
#define DATASETS_FORMATS_FORMAT_H
#include "datasets/cache.h"
#include "datasets/formats/store.h"

enum {
  MAP_EPISODE = CACHE_ARRAYS, /* a column whose number changes from episode to episode */
  MAP_EPISODE_ENDS,           /* the row behind each episode */
  MAP_TRAJ_LENGTHS,           /* the rows of each episode */
  MAP_ROLES,
  MAX_JOINED = 64, /* arrays of a column */
  MAX_CHOICE = 1024
};

/* "observations", .. "traj_lengths": what the user may map. */
extern const char *const format_roles[MAP_ROLES];

typedef struct {
  char map[MAP_ROLES][MAX_CHOICE]; /* "": what the format says */
  char mask[STORE_NAME];           /* of a file with named lists of episodes; "": all */
} Choice;

/* text: "obs=a,b&map=actions=cmd,timeouts=done&mask=train", "" for none.  FAIL_USAGE. */
bool choice_parse(Choice *choice, const char *text, Error *error);

/* Arrays side by side. */
typedef struct {
  int count;
  int64_t columns;
  Array array[MAX_JOINED];
} Joined;

typedef enum { BEHIND_NOTHING, BEHIND_OBSERVATION, BEHIND_NEXT } Behind;

typedef struct {
  int64_t first, rows; /* of the arrays; steps */
  bool whole;          /* an episode: it ends with its last row */
  bool borrowed;       /* the arrays belong to the reader and stay open */
  bool inverted;       /* terminals are 0 where masks are 1 */
  Behind behind;       /* nothing; observations' row first + rows; the last of next_observations */
  Joined column[CACHE_ARRAYS]; /* count 0: none */
} Part;

typedef struct Format Format;

typedef struct {
  Store *store;
  const Format *format;
  const Choice *choice;
  int64_t parts;
  int64_t *part; /* the format's own number of each part, or where each begins [parts + 1] */
  Part all;      /* of a file of rows: its arrays */
  bool states;   /* of a file of rows: the last row of each part is a state, not a step */
} Reader;

struct Format {
  const char *name, *about;
  bool (*recognises)(Store *store, const Choice *choice);
  bool (*open)(Reader *reader, Error *error); /* count the parts */
  /* nullable: part i of reader->parts; NULL: rows of `all` */
  bool (*part)(const Reader *reader, int64_t i, Part *part, Error *error);
};

extern const Format format_minari, format_robomimic, format_maniskill, format_ogbench, format_dppo,
    format_rows;

/* The first that recognises the store; never NULL. */
const Format *format_find(Store *store, const Choice *choice);

/* ---- for formats ----------------------------------------------------------------------------- */

/* Open the arrays of column c below `group` ("": the file): those that the user chose, else `own`
 * (NULL: none).  None there is no error unless `required` or the user named it. */
bool column_open(const Reader *reader, const char *group, int c, const char *own, bool required,
                 Part *part, Error *error);
void part_close(Part *part);

/* Rows first .. of the arrays as [rows, columns]. */
bool joined_read(Joined *joined, int64_t first, int64_t rows, float *out, Error *error);

/* The groups "PREFIX<number>" of `group`, in the order of their numbers. */
bool parts_numbered(Reader *reader, const char *group, const char *prefix, Error *error);

/* Parts from lengths, ends, or a column of episode numbers; false with an error. */
bool parts_from(Reader *reader, int role, const char *name, Error *error);

/* Parts of rows that share their number; rows == those of the observations. */
bool parts_from_column(Reader *reader, const float *number, int64_t rows, Error *error);

/* A column of the whole file, malloc. */
float *array_all(const Reader *reader, const char *name, int64_t *rows, Error *error);

#endif
