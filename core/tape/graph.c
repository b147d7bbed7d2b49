/* graph.c -- recording: nodes, sharing of equal ones, and gradients as more nodes. */
#include "core/tape/graph.h"
#include "core/ops/ops.h"
#include "core/tape/tape.h"
#include <string.h>

Graph *graph_new(Arena *arena, const GraphSpec *spec) {
  Graph *g = arena_alloc(arena, sizeof *g);
  g->arena = arena, g->spec = *spec, g->fresh = true;
  g->gradient_of = -1;
  CHECK(spec->kernels && spec->max_rows > 0, "graph: kernels and max_rows are needed");
  if (!g->spec.group) g->spec.group = spec->max_rows;
  if (!g->spec.lane) g->spec.lane = g->spec.group;
  if (g->spec.lane > g->spec.group) g->spec.lane = g->spec.group;
  g->bucket = arena_array(arena, Tensor *, TAPE_BUCKETS);
  g->name = arena_array(arena, const char *, TAPE_MAX_NAMES);
  return g;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++) h = (h ^ bytes[i]) * 1099511628211u; /* FNV-1a */
  return h;
}

static unsigned hash_recipe(const Op *op, const Recipe *recipe) {
  uint64_t h = hash_bytes((uintptr_t)op, recipe->in, sizeof recipe->in);
  h = hash_bytes(h, &recipe->attr, sizeof recipe->attr);
  return (unsigned)(h >> 32) % TAPE_BUCKETS;
}

static bool same(const Tensor *t, const Op *op, const Recipe *recipe, Shape shape) {
  return t->op == op && !memcmp(t->in, recipe->in, sizeof t->in) &&
         !memcmp(&t->attr, &recipe->attr, sizeof t->attr) && t->rows == recipe->rows &&
         t->k == shape.k && t->e == shape.e && t->n == shape.n;
}

/* kind, phase and what the node depends on, from its inputs */
static void infer(Tensor *t, const Recipe *recipe) {
  bool rows = recipe->rows, sums = false;
  int phase = 0;
  for (int i = 0; i < OP_INPUTS && t->in[i]; i++) {
    const Tensor *x = t->in[i];
    if (x->kind == ROW) rows = true, phase = x->phase > phase ? x->phase : phase;
    if (x->kind == SUM) sums = true;
    t->reads |= x->reads;
    t->trains |= x->trains;
  }
  for (int i = 0; i < OP_INPUTS && t->in[i]; i++) {
    int after = t->in[i]->phase + (rows ? 1 : 0);
    if (t->in[i]->kind == SUM && after > phase) phase = after;
  }
  t->in_lane = rows;
  t->kind = rows && !t->op->adds ? ROW : rows || sums || t->op->adds ? SUM : ONCE;
  t->phase = t->kind == ONCE ? 0 : phase;
  if (t->op->random && t->kind == ONCE) t->reads |= 1u << READS_ALWAYS;
}

/* twice the room for nodes and what gradients note of them */
static void make_room(Graph *g) {
  size_t nodes = (size_t)g->nodes;
  g->room = g->room ? 2 * g->room : TAPE_FIRST_NODES;
  Tensor **node = arena_array(g->arena, Tensor *, g->room);
  Tensor **adjoint = arena_array(g->arena, Tensor *, g->room);
  bool *wanted = arena_array(g->arena, bool, g->room);
  if (nodes) {
    memcpy(node, g->node, nodes * sizeof *node);
    memcpy(adjoint, g->adjoint, nodes * sizeof *adjoint);
    memcpy(wanted, g->wanted, nodes * sizeof *wanted);
  }
  g->node = node, g->adjoint = adjoint, g->wanted = wanted;
}

static Tensor *new_node(Graph *g, const Op *op, Shape shape) {
  CHECK(!g->sealed, "graph: %s recorded after sealing", op->name);
  CHECK(g->nodes < TAPE_MAX_NODES, "graph: more than %d nodes", TAPE_MAX_NODES);
  if (g->nodes == g->room) make_room(g);
  Tensor *t = arena_alloc(g->arena, sizeof *t);
  *t = (Tensor){ .g = g, .op = op, .id = g->nodes, .k = shape.k, .e = shape.e, .n = shape.n };
  t->ld = row_stride(shape.n), t->gradient_of = g->gradient_of;
  return g->node[g->nodes++] = t;
}

Tensor *record(Graph *g, const Op *op, Shape shape, const Recipe *recipe) {
  unsigned bucket = hash_recipe(op, recipe);
  if (!op->random)
    for (Tensor *t = g->bucket[bucket]; t; t = t->next)
      if (same(t, op, recipe, shape)) return t;
  Tensor *t = new_node(g, op, shape);
  memcpy(t->in, recipe->in, sizeof t->in);
  t->attr = recipe->attr, t->rows = recipe->rows;
  infer(t, recipe);
  CHECK(t->phase < TAPE_MAX_PHASES, "graph: more than %d phases", TAPE_MAX_PHASES);
  t->next = g->bucket[bucket];
  return g->bucket[bucket] = t;
}

static void second_output_grad(Tensor *aux, Tensor *daux) {
  Tensor *y = aux->twin;
  if (y->op->aux_grad) y->op->aux_grad(y, daux);
}
static const Op op_aux = { .name = "aux", .grad = second_output_grad };

Tensor *record_aux(Tensor *y, Shape shape) {
  if (y->aux) return y->aux;
  Tensor *t = new_node(y->g, &op_aux, shape);
  t->kind = y->kind, t->phase = y->phase, t->reads = y->reads, t->in_lane = y->in_lane;
  t->twin = y, t->trains = y->trains;
  return y->aux = t;
}

Rng graph_stream(Graph *g, const char *name) {
  for (int i = 0; i < g->names; i++)
    CHECK(strcmp(g->name[i], name), "graph: the name \"%s\" is taken", name);
  CHECK(g->names < TAPE_MAX_NAMES, "graph: more than %d names", TAPE_MAX_NAMES);
  g->name[g->names++] = name;
  return rng_stream(g->spec.seed, name);
}

void graph_reseed(Graph *g, uint64_t seed) {
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id]; /* a fork shares the nodes of others */
    if (t->g == g && t->attr.stream) t->attr.rng = rng_stream(seed, t->attr.stream);
  }
  g->spec.seed = seed;
}

bool graph_trains(const Graph *g, const Params *params) { return g->spec.trained == params; }
const Kernels *graph_kernels(const Graph *g) { return g->spec.kernels; }
Profile *graph_profile(const Graph *g) { return g->spec.profile; }
ConvMethod graph_conv(const Graph *g) { return g->spec.conv; }
Arena *graph_arena(const Graph *g) { return g->arena; }
bool graph_lost(const Graph *g) { return g->spec.ranks && g->spec.ranks->lost; }
Params *graph_trained(const Graph *g) { return g->spec.trained; }

/* the bit of these Params in Tensor.reads */
static uint32_t params_bit(Graph *g, const Params *params) {
  for (int i = 0; i < g->n_params; i++)
    if (g->params[i] == params) return 1u << i;
  CHECK(g->n_params < TAPE_MAX_PARAMS, "graph: too many Params");
  g->params[g->n_params] = params;
  return 1u << g->n_params++;
}

Tensor *record_params(Graph *g, const Op *op, Shape shape, const Params *params, int slot,
                      const int more[OP_INTS - 1]) {
  CHECK(params->values, "%s: not allocated yet", params->block);
  Recipe recipe = { .attr = { .p = params, .i = { slot } } };
  if (more) memcpy(recipe.attr.i + 1, more, (OP_INTS - 1) * sizeof *more);
  Tensor *t = record(g, op, shape, &recipe);
  t->reads |= params_bit(g, params);
  t->trains = graph_trains(g, params);
  return t;
}

const Params *tape_params(const Graph *g, const Tensor *t) {
  for (int i = 0; i < g->n_params && t->attr.p; i++)
    if (g->params[i] == t->attr.p) return g->params[i];
  return NULL;
}

/* ---- gradients ------------------------------------------------------------------------------- */

bool grad_wanted(const Tensor *x) { return x->g->wanted[x->id]; }

void grad_add(Tensor *x, Tensor *dx) {
  if (!grad_wanted(x)) return;
  CHECK(dx->k == x->k && dx->e == x->e && dx->n == x->n, "gradient of %s: shape [%d, %d, %d]",
        x->op->name, dx->k, dx->e, dx->n);
  Tensor *sofar = x->g->adjoint[x->id], *sum = sofar ? t_add(sofar, dx) : dx;
  x->g->adjoint[x->id] = sum; /* which t_add may have moved */
}

void grad_add_sum(Tensor *x, Tensor *dx) {
  if (grad_wanted(x)) grad_add(x, t_sum_to(dx, x));
}

int broadcast(const char *op, int a, int b) {
  CHECK(a == b || a == 1 || b == 1, "%s: axes of %d and %d", op, a, b);
  return a > b ? a : b;
}

/* walk back from y; recipes record nodes with higher ids, which are not visited */
static void walk_back(Tensor *y, Tensor *dy, bool through) {
  Graph *g = y->g;
  g->adjoint[y->id] = dy, g->gradient_of = y->id;
  for (int id = y->id; id >= 0; id--) {
    Tensor *t = g->node[id];
    if (!g->adjoint[id] || !g->wanted[id] || !t->op->grad) continue;
    CHECK(!through || !t->twin, "t_grad_through: %s has no third derivative", t->twin->op->name);
    CHECK(!through || t->op->twice, "t_grad_through: %s has no second derivative", t->op->name);
    t->op->grad(t, g->adjoint[id]);
  }
  g->gradient_of = -1;
}

static void start_gradient(Graph *g) {
  memset(g->wanted, 0, (size_t)g->nodes * sizeof *g->wanted);
  memset(g->adjoint, 0, (size_t)g->nodes * sizeof *g->adjoint);
}

/* does a change of what is wanted reach t?  A second output changes as its twin does. */
static bool is_reached(const Tensor *t) {
  if (!t->op->grad) return false;
  if (t->twin) return t->twin->op->aux_grad && is_reached(t->twin);
  for (int i = 0; i < OP_INPUTS && t->in[i]; i++)
    if (grad_wanted(t->in[i])) return true;
  return false;
}

static Tensor *gradient(Tensor *y, Tensor *x, bool through) {
  Graph *g = y->g;
  CHECK(x->kind == ROW, "t_grad: with respect to row nodes only");
  start_gradient(g);
  g->wanted[x->id] = true;
  for (int id = x->id + 1; id <= y->id; id++) g->wanted[id] = is_reached(g->node[id]);
  if (!g->wanted[y->id]) return NULL;
  Tensor *one = t_number(g, 1);
  walk_back(y, y->kind == ROW ? t_spread(one, y, 1) : one, through);
  return g->adjoint[x->id];
}

Tensor *t_grad(Tensor *y, Tensor *x) {
  Tensor *dx = gradient(y, x, false);
  return dx ? t_detach(dx) : NULL;
}

Tensor *t_grad_through(Tensor *y, Tensor *x) { return gradient(y, x, true); }

void graph_minimise(Tensor *loss) {
  Graph *g = loss->g;
  CHECK(g->spec.trained && !g->minimises, "graph_minimise: once, on a tape that trains");
  CHECK(loss->kind == SUM && loss->k == 1 && loss->e == 1 && loss->n == 1,
        "graph_minimise: the loss must be a scalar sum");
  start_gradient(g);
  for (int id = 0; id <= loss->id; id++) g->wanted[id] = g->node[id]->trains;
  g->minimises = true;
  walk_back(loss, t_number(g, 1), false);
  graph_keep(loss);
}

Tensor *graph_override(Graph *g, const char *name) {
  Rng rng = rng_stream(g->spec.seed, name);
  for (int id = 0; id < g->nodes; id++) {
    Tensor *t = g->node[id];
    if (!t->op->random || !t->op->run || memcmp(&t->attr.rng, &rng, sizeof rng)) continue;
    bool rows = t->kind == ROW;
    t->op = rows ? &op_input : &op_given;
    t->place = rows ? PLACE_BOUND : PLACE_FIXED;
    t->name = arena_text(g->arena, "%s", name);
    if (!rows) t->data = arena_array(g->arena, real, (size_t)t->k * (size_t)t->ld);
    return t;
  }
  CHECK(false, "graph_override: no random node \"%s\"", name);
  return NULL;
}

void graph_keep(Tensor *t) { t->kept = true; }

void graph_seal(Graph *g) {
  CHECK(!g->sealed, "graph: sealed twice");
  g->sealed = true;
  tape_plan(g);
}

Tensor *const *graph_program(const Graph *g, int *count) {
  CHECK(g->sealed, "graph_program: not sealed");
  *count = g->n_lane[0];
  return g->phases == 1 && !g->sum_size ? g->lane_nodes[0] : NULL;
}

GraphSize graph_size(const Graph *g) {
  GraphSize size = { .nodes = g->nodes, .phases = g->phases };
  for (int i = 0; i < g->nodes; i++) size.live += g->node[i]->live;
  size.lane_bytes = g->lane_size * sizeof(real), size.kept_bytes = g->kept_size * sizeof(real);
  size.sum_bytes = g->sum_size * sizeof(real);
  return size;
}

Tensor *graph_input(const Graph *g, const char *name) {
  for (int i = 0; i < g->nodes; i++) {
    Tensor *t = g->node[i];
    if (t->op == &op_input && !strcmp(t->name, name)) return t;
  }
  return NULL;
}
