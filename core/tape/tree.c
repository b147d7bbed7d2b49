/* tree.c -- block 0 += all others, as a tree whose shape depends on the number of groups alone.
 *
 * An addition whose groups belong to one rank is made there.  What is left of a rank's groups are
 * then the totals of a few complete subtrees.  Of the other additions each rank makes those of its
 * part of the numbers: it receives that part of all subtrees, adds, and sends the totals back. */
#include "core/tape/tape.h"

enum { CHUNK = 16384, ALONE = 4096 }; /* reals a piece of work; fewer than ALONE: no parts */

typedef struct {
  Graph *g;
  size_t from, to;
  bool across; /* the additions across ranks; else those within this rank */
} Tree;

static int least(int a, int b) { return a < b ? a : b; }
static real *block(const Graph *g, int group) { return g->blocks + (size_t)group * g->sum_size; }

/* is it this pass that adds the groups [first, end)? */
static bool adds(const Tree *tree, int first, int end) {
  const Ranks *ranks = tree->g->spec.ranks;
  int owner = ranks_owner(ranks, tree->g->groups, first);
  bool across = owner != ranks_owner(ranks, tree->g->groups, end - 1);
  return across == tree->across && (across || owner == ranks_index(ranks));
}

static void add_chunk(void *context, int piece, int worker) {
  const Tree *tree = context;
  const Graph *g = tree->g;
  int64_t began = profile_clock(g->spec.profile);
  size_t from = tree->from + (size_t)piece * CHUNK, to = from + CHUNK;
  if (to > tree->to) to = tree->to;
  for (int stride = 1; stride < g->groups; stride *= 2)
    for (int a = 0; a + stride < g->groups; a += 2 * stride) {
      if (!adds(tree, a, least(a + 2 * stride, g->groups))) continue;
      real *into = block(g, a) + from;
      g->spec.kernels->add(into, block(g, a + stride) + from, into, (int)(to - from));
    }
  profile_add(g->spec.profile, worker, "sums of groups", began, 0);
}

static void add(const Tree *tree) {
  int pieces = (int)((tree->to - tree->from + CHUNK - 1) / CHUNK);
  pool_run(tree->g->spec.pool, add_chunk, (void *)(uintptr_t)tree, pieces);
}

/* ---- across ranks ---------------------------------------------------------------------------- */

/* The part of [from, to) that this rank adds: all of it if it is short, or an equal share. */
static Tree part_of(const Graph *g, int rank, size_t from, size_t to) {
  size_t share = (to - from) / (size_t)g->spec.ranks->count / 16 * 16;
  Tree part = { .g = (Graph *)(uintptr_t)g, .from = from, .to = to, .across = true };
  if (to - from < ALONE) return part;
  part.from = from + (size_t)rank * share;
  if (rank + 1 < g->spec.ranks->count) part.to = part.from + share;
  return part;
}

/* the end of the greatest complete subtree that begins at group a and ends by `end` */
static int subtree_end(const Graph *g, int a, int end) {
  int size = 1;
  while (a % (2 * size) == 0 && size < g->groups && least(a + 2 * size, g->groups) <= end)
    size *= 2;
  return least(a + size, g->groups);
}

/* what a rank's groups came to, one part of the numbers: sent, or received */
static void move_subtrees(const Graph *g, int owner, int peer, const Tree *part) {
  Ranks *ranks = g->spec.ranks;
  int a = ranks_first(ranks, g->groups, owner), end = ranks_first(ranks, g->groups, owner + 1);
  for (; a < end; a = subtree_end(g, a, end)) {
    real *at = block(g, a) + part->from;
    size_t count = part->to - part->from;
    if (owner == peer)
      ranks_receive(ranks, peer, at, count);
    else
      ranks_send(ranks, peer, at, count);
  }
}

static void add_across(Graph *g, size_t from, size_t to) {
  Ranks *ranks = g->spec.ranks;
  Tree mine = part_of(g, ranks->index, from, to);
  for (int r = 0; r < ranks->count; r++) {
    if (r == ranks->index) continue;
    Tree part = part_of(g, r, from, to);
    move_subtrees(g, r, r, &mine);
    move_subtrees(g, ranks->index, r, &part);
  }
  ranks_await(ranks);
  add(&mine);
  if (mine.from == from && mine.to == to) return;
  for (int r = 0; r < ranks->count; r++) {
    if (r == ranks->index) continue;
    Tree part = part_of(g, r, from, to);
    ranks_receive(ranks, r, block(g, 0) + part.from, part.to - part.from);
    ranks_send(ranks, r, block(g, 0) + mine.from, mine.to - mine.from);
  }
  ranks_await(ranks);
}

void tape_add_up(Graph *g, size_t from, size_t to) {
  if (from >= to || (g->groups < 2 && !g->spec.ranks)) return;
  add(&(Tree){ .g = g, .from = from, .to = to });
  if (g->spec.ranks) add_across(g, from, to);
}
