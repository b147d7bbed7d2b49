/* rows.h -- the writer's temporary file: a header, one record a step, then the metadata text.
 *
 * Written by dataset_writer_add, turned into columns by `diffrl-hdf5 export`. */
#ifndef DATASETS_ROWS_H
#define DATASETS_ROWS_H
#include <stddef.h>
#include <stdint.h>

enum { ROWS_VERSION = 1 };
#define ROWS_MAGIC "difrows" /* 8 bytes with its end */

typedef struct {
  char magic[8];
  uint32_t version;
  int32_t obs_dim, act_dim, nq, nv;
  int32_t has_log_prob; /* some row knows it */
  int64_t rows;
  uint64_t metadata_bytes; /* JSON text behind the last record, not terminated */
} RowsHeader;

/* Offsets within a record, in bytes; doubles first so that all are aligned. */
typedef struct {
  size_t qpos, qvel;     /* double [nq], [nv] */
  size_t obs, act, next; /* float [obs_dim], [act_dim], [obs_dim] */
  size_t reward, log_prob;
  size_t terminal, timeout; /* one byte each */
  size_t stride;
} RowsLayout;

static inline RowsLayout rows_layout(const RowsHeader *header) {
  RowsLayout at = { 0 };
  at.qvel = at.qpos + (size_t)header->nq * sizeof(double);
  at.obs = at.qvel + (size_t)header->nv * sizeof(double);
  at.act = at.obs + (size_t)header->obs_dim * sizeof(float);
  at.next = at.act + (size_t)header->act_dim * sizeof(float);
  at.reward = at.next + (size_t)header->obs_dim * sizeof(float);
  at.log_prob = at.reward + sizeof(float);
  at.terminal = at.log_prob + sizeof(float);
  at.timeout = at.terminal + 1;
  at.stride = (at.timeout + 1 + 7) / 8 * 8;
  return at;
}

#endif
