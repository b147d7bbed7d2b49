/* fork.c -- a second runner of a sealed tape: its row-nodes copied, its once-nodes shared. */
#include "core/tape/tape.h"
#include <string.h>

/* in the order of their ids, so inputs come first */
static Tensor *fork_node(Graph *fork, const Tensor *t) {
  Tensor *copy = arena_alloc(fork->arena, sizeof *copy);
  *copy = *t;
  copy->g = fork, copy->next = NULL;
  for (int i = 0; i < OP_INPUTS && t->in[i]; i++) copy->in[i] = fork->node[t->in[i]->id];
  if (t->twin) copy->twin = fork->node[t->twin->id], copy->twin->aux = copy;
  if (t->place == PLACE_BOUND) copy->data = NULL;
  if (t->place == PLACE_KEPT)
    copy->data = arena_array(fork->arena, real, fork->spec.max_rows * row_size(t));
  return copy;
}

Graph *graph_fork(Arena *arena, const Graph *g) {
  CHECK(g->sealed && !g->fresh, "graph_fork: the tape has not run yet");
  CHECK(!tape_changed(g), "graph_fork: %s changed since the tape ran", tape_changed(g)->block);
  CHECK(g->phases == 1 && !g->sum_size, "graph_fork: a tape with sums");
  Graph *fork = arena_alloc(arena, sizeof *fork);
  *fork = *g;
  fork->arena = arena, fork->spec.pool = NULL, fork->forked = true;
  fork->n_once = 0, fork->bucket = NULL, fork->name = NULL, fork->names = 0;
  fork->node = arena_array(arena, Tensor *, g->nodes);
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    CHECK(!t->live || t->kind != ONCE || !(t->reads >> READS_ALWAYS), "graph_fork: %s changes",
          t->op->name);
    fork->node[id] = t->live && t->kind != ONCE ? fork_node(fork, t) : t;
  }
  fork->lane_nodes[0] = arena_array(arena, Tensor *, g->n_lane[0]);
  for (int i = 0; i < g->n_lane[0]; i++)
    fork->lane_nodes[0][i] = fork->node[g->lane_nodes[0][i]->id];
  fork->scratch = arena_array(arena, real *, 1);
  fork->scratch[0] = arena_array(arena, real, g->work_size + g->lane_size + 16);
  return fork;
}

Tensor *graph_forked(const Graph *fork, const Tensor *t) { return fork->node[t->id]; }
