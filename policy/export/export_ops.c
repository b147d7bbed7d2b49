/* export_ops.c -- the call that stands for each node of a tape. */
#include "policy/export/export_ops.h"
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers --------------------------------------------------------------------------------- */

/* the fewest digits that read back as the same float, with a point */
static char *number_text(float x, char text[32]) {
  for (int digits = 6; digits <= 9; digits++) {
    snprintf(text, 32, "%.*g", digits, (double)x);
    if (strtof(text, NULL) == x) break;
  }
  if (!strpbrk(text, ".e")) strcat(text, ".0");
  return text;
}

void export_refuse(Export *e, Failure kind, const char *format, ...) {
  char text[256];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (!e->refused) error_set(e->error, kind, "%s", text);
  e->refused = true;
}

void export_table(Export *e, const char *name, const real *values, int rows, int n, int ld) {
  fprintf(e->tables, "static const float walk_%s[%d] WALK_ALIGNED = {", name, rows * n);
  int width = 100;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < n; j++) {
      char text[32];
      float x = (float)values[(ptrdiff_t)i * ld + j];
      if (!isfinite(x))
        export_refuse(e, FAIL_DIVERGED,
                      "%s has numbers that are not finite: there is nothing to export", name);
      if (width > 85) width = fprintf(e->tables, "\n ");
      width += fprintf(e->tables, " %s,", x == 0 ? "0" : number_text(x, text));
    }
  fputs("\n};\n", e->tables);
}

/* ---- where values are ------------------------------------------------------------------------ */

/* an expression of C: "m + 320", "walk_actor_trunk_0_w" */
typedef struct {
  char text[160];
} Term;

static bool is(const Tensor *t, const char *op) { return !strcmp(t->op->name, op); }

/* has it no table yet?  It has one from now on */
static bool is_new(Export *e, const Tensor *t) {
  bool first = !e->printed[t->id];
  e->printed[t->id] = true;
  return first;
}

/* "actor", "trunk/1/w" -> "actor_trunk_1_w" */
static Term slot_name(const Tensor *t) {
  const Params *params = t->attr.p;
  Term name;
  snprintf(name.text, sizeof name.text, "%.40s_%.80s", params->block,
           params->layout->slot[t->attr.i[0]].name);
  for (char *c = name.text; *c; c++)
    if (!isalnum((unsigned char)*c)) *c = '_';
  return name;
}

static Term table_at(const char *name, int offset) {
  Term term;
  int length = snprintf(term.text, sizeof term.text, "walk_%.140s", name);
  if (offset) snprintf(term.text + length, sizeof term.text - (size_t)length, " + %d", offset);
  return term;
}

/* a once-node that is no weight: a bias, or what depends on the weights alone */
static Term constant_at(Export *e, const Tensor *t, int offset) {
  Term name;
  if (is(t, "param"))
    name = slot_name(t);
  else
    snprintf(name.text, sizeof name.text, "constant_%d", t->id);
  if (is_new(e, t)) export_table(e, name.text, t->data, t->k * t->e, padded(t->n), t->ld);
  return table_at(name.text, offset);
}

/* The number at `offset` of t. */
static Term at(Export *e, const Tensor *t, int offset) {
  if (t->kind == ONCE) return constant_at(e, t, offset);
  Term term;
  size_t place = t->place == PLACE_LANE ? t->offset : e->place[t->id];
  snprintf(term.text, sizeof term.text, "m + %zu", place + (size_t)offset);
  return term;
}

/* An operand of y that is read number by number with y; a constant is repeated until it can be. */
static Term like(Export *e, const Tensor *x, const Tensor *y) {
  if (x->k == y->k && x->e == y->e && x->n == y->n) return at(e, x, 0);
  if (x->kind != ONCE)
    export_refuse(e, FAIL_USAGE, "there is no C for \"%s\" of a repeated row yet", y->op->name);
  char name[64];
  int rows = y->k * y->e;
  real *full = arena_array(graph_arena(e->g), real, rows * y->ld), *to = full;
  for (int k = 0; x->kind == ONCE && k < y->k; k++)
    for (int member = 0; member < y->e; member++, to += y->ld)
      for (int j = 0; j < y->n; j++) to[j] = operand_at(x, x->data, 0, k, member)[x->n > 1 ? j : 0];
  snprintf(name, sizeof name, "constant_%d_of_%d", x->id, y->id);
  export_table(e, name, full, rows, y->ld, y->ld);
  return table_at(name, 0);
}

/* of a slot, which rows, and whether they are columns of the matrix (attr.i of "pack") */
enum { SLOT, FROM, LENGTH, TRANSPOSED };

/* The rows of a slot that a product uses: a matrix [members, inputs, outputs], or its transpose,
 * which a gradient multiplies by. */
static Term weight_at(Export *e, const Tensor *w, int offset) {
  const Params *params = w->attr.p;
  const Slot *slot = &params->layout->slot[w->attr.i[SLOT]];
  int from = w->attr.i[FROM], rows = w->attr.i[LENGTH], n = padded(w->n);
  bool turned = w->attr.i[TRANSPOSED];
  Term name = slot_name(w);
  if (rows < slot->rows) sprintf(name.text + strlen(name.text), "_from_%d", from);
  if (turned) strcat(name.text, "_turned");
  if (!is_new(e, w)) return table_at(name.text, offset);
  real *dense = arena_array(graph_arena(e->g), real, w->e * w->k * n), *to = dense;
  for (int member = 0; member < w->e; member++) {
    const real *of =
        params_at(params, w->attr.i[SLOT]) + ((ptrdiff_t)member * slot->rows + from) * slot->ld;
    for (int i = 0; i < w->k; i++, to += n)
      for (int j = 0; j < w->n; j++) to[j] = turned ? of[j * slot->ld + i] : of[i * slot->ld + j];
  }
  fprintf(e->tables, "\n/* %s/%s, inputs %d to %d%s: [%d, %d, %d] */\n", params->block, slot->name,
          from, from + rows - 1, turned ? ", transposed" : "", w->e, w->k, n);
  export_table(e, name.text, dense, w->e * w->k, n, n);
  return table_at(name.text, offset);
}

static int stream_of(Export *e, const Tensor *t) {
  int i = 0;
  const char *name = t->attr.stream;
  while (i < e->streams && strcmp(e->stream[i], name)) i++;
  if (i == e->streams) e->stream[e->streams++] = name;
  return i;
}

/* numbers that a loop over all of y goes through */
static int count_of(const Tensor *y) {
  int rows = y->k * y->e;
  return rows == 1 ? padded(y->n) : rows * y->ld;
}

/* ---- emitters -------------------------------------------------------------------------------- */

static void put_normal(Export *e, const Tensor *y) {
  int stream = stream_of(e, y);
  fprintf(e->steps, "  walk_normal(state, %d, %s, %d, %d, %d); /* %s */\n", stream,
          at(e, y, 0).text, y->ld, y->k, y->n, e->stream[stream]);
}

/* what a product begins with that has no base */
static Term zeros_at(Export *e, int n) {
  char name[32];
  int i = 0;
  snprintf(name, sizeof name, "zeros_%d", n);
  while (i < e->widths && e->zeros[i] != n) i++;
  if (i < e->widths) return table_at(name, 0);
  if (e->widths == EXPORT_MAX_WIDTHS)
    export_refuse(e, FAIL_USAGE, "products of too many widths");
  else
    e->zeros[e->widths++] = n;
  export_table(e, name, arena_array(graph_arena(e->g), real, n), 1, n, n);
  return table_at(name, 0);
}

/* one call for each member of an ensemble, whose rows lie between those of the others */
static void put_product(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0], *w = y->in[1], *base = y->in[2];
  if (y->e != w->e) {
    export_refuse(e, FAIL_USAGE, "there is no C for a sum over an ensemble's products yet");
    return;
  }
  int n = padded(w->n);
  int base_row = !base ? 0 : base->kind == ONCE ? padded(base->n) : base->ld;
  for (int i = 0; i < w->e; i++) {
    Term to = at(e, y, i * y->ld), from = at(e, x, x->e > 1 ? i * x->ld : 0);
    Term weight = weight_at(e, w, i * w->k * n),
         start = base ? at(e, base, base->e > 1 ? i * base_row : 0) : zeros_at(e, n);
    if (y->k == 1)
      fprintf(e->steps, "  walk_row_product(%s, %s, %s, %s, %d, %d);\n", to.text, from.text,
              weight.text, start.text, w->k, n);
    else
      fprintf(e->steps, "  walk_product(%s, %d, %s, %d, %s, %s, %d, %d, %d, %d);\n", to.text,
              y->e * y->ld, from.text, x->e * x->ld, weight.text, start.text,
              base && base->k > 1 ? base->e * base_row : 0, y->k, w->k, n);
  }
}

/* with its slope, where a gradient asks for it */
static void put_map(Export *e, const Tensor *y) {
  const char *name = map_name((Map)y->attr.i[0]);
  if (y->aux && y->aux->live) {
    char slope[64];
    snprintf(slope, sizeof slope, "%s_slope", name);
    if (!export_has(slope))
      export_refuse(e, FAIL_USAGE, "there is no C for the slope of the function \"%s\" yet", name);
    fprintf(e->steps, "  walk_%s(%s, %s, %s, %d);\n", slope, at(e, y, 0).text,
            at(e, y->aux, 0).text, at(e, y->in[0], 0).text, count_of(y));
    return;
  }
  if (!export_has(name))
    export_refuse(e, FAIL_USAGE, "there is no C for the function \"%s\" yet", name);
  fprintf(e->steps, "  walk_%s(%s, %s, %d);\n", name, at(e, y, 0).text, at(e, y->in[0], 0).text,
          count_of(y));
}

static void put_pair(Export *e, const Tensor *y) {
  fprintf(e->steps, "  walk_%s(%s, %s, %s, %d);\n", y->op->name, at(e, y, 0).text,
          like(e, y->in[0], y).text, like(e, y->in[1], y).text, count_of(y));
}

/* "0.5f" */
typedef struct {
  char text[32];
} Literal;
static Literal literal(Export *e, double x) {
  Literal l;
  if (!isfinite(x)) export_refuse(e, FAIL_USAGE, "there is no C for a bound at infinity yet");
  strcat(number_text((float)x, l.text), "f");
  return l;
}

static void put_weighted(Export *e, const Tensor *y, double a, const Tensor *x, double b,
                         const Tensor *z) {
  fprintf(e->steps, "  walk_blend(%s, %s, %s, %s, %s, %d);\n", at(e, y, 0).text, literal(e, a).text,
          like(e, x, y).text, literal(e, b).text, like(e, z, y).text, count_of(y));
}
static void put_mix(Export *e, const Tensor *y) {
  put_weighted(e, y, y->attr.c[0], y->in[0], y->attr.c[1], y->in[1]);
}
static void put_blend(Export *e, const Tensor *y) {
  put_weighted(e, y, (double)*y->in[1]->data, y->in[0], (double)*y->in[3]->data, y->in[2]);
}

static void put_scale(Export *e, const Tensor *y) {
  fprintf(e->steps, "  walk_scale(%s, %s, %s, %d);\n", at(e, y, 0).text,
          literal(e, y->attr.c[0]).text, at(e, y->in[0], 0).text, count_of(y));
}

static void put_clip(Export *e, const Tensor *y) {
  fprintf(e->steps, "  walk_clip(%s, %s, %s, %s, %d);\n", at(e, y, 0).text, at(e, y->in[0], 0).text,
          literal(e, y->attr.c[0]).text, literal(e, y->attr.c[1]).text, count_of(y));
}

/* the same numbers; no gradient is taken any more */
static void put_detach(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  fprintf(e->steps, "  walk_copy(%s, %d, %s, %d, %d, %d);\n", at(e, y, 0).text, y->ld,
          at(e, x, 0).text, x->ld, y->k * y->e, y->n);
}

/* what a gradient begins with: one number everywhere */
static void put_spread(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  if (x->kind != ONCE || y->attr.i[0]) {
    export_refuse(e, FAIL_USAGE, "there is no C for a mean over rows");
    return;
  }
  char name[64];
  int rows = y->k * y->e;
  real *full = arena_array(graph_arena(e->g), real, rows * y->ld);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < y->n; j++) full[i * y->ld + j] = (real)y->attr.c[0] * *x->data;
  snprintf(name, sizeof name, "constant_%d", y->id);
  export_table(e, name, full, rows, y->ld, y->ld);
  fprintf(e->steps, "  walk_copy(%s, %d, %s, %d, %d, %d);\n", at(e, y, 0).text, y->ld,
          table_at(name, 0).text, y->ld, rows, y->ld);
}

static void put_slice(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  fprintf(e->steps, "  walk_copy(%s, %d, %s, %d, %d, %d);\n", at(e, y, 0).text, y->ld,
          at(e, x, y->attr.i[0]).text, x->ld, y->k * y->e, y->n);
}

/* a copy for each member: its numbers become a column */
static void put_fold(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  for (int i = 0; i < x->e; i++)
    fprintf(e->steps, "  walk_copy(%s, %d, %s, %d, %d, 1);\n", at(e, y, i).text, y->ld,
            at(e, x, i * x->ld).text, x->e * x->ld, x->k);
}

/* layer norm, without gain and bias */
static void put_standardize(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  if (y->attr.i[0] != 1 || (y->aux && y->aux->live))
    export_refuse(e, FAIL_USAGE, "there is no C for a norm of several runs, or for its gradient");
  fprintf(e->steps, "  walk_standardize(%s, %d, %s, %d, %d, %d, %.17g);\n", at(e, y, 0).text, y->ld,
          at(e, x, 0).text, x->ld, y->k * y->e, y->n, y->attr.c[0]);
}

static void put_min_last(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0];
  fprintf(e->steps, "  walk_least(%s, %d, %s, %d, %d, %d);\n", at(e, y, 0).text, y->ld,
          at(e, x, 0).text, x->ld, y->k * y->e, x->n);
}

/* the candidate of the greatest value, or one drawn by it */
static void put_pick(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0], *value = y->in[1];
  Term values = at(e, value, 0);
  fprintf(e->steps, "  walk_copy(%s, %d, %s + %d * ", at(e, y, 0).text, y->ld, at(e, x, 0).text,
          x->ld);
  if (y->attr.c[0] <= 0)
    fprintf(e->steps, "walk_greatest(%s, %d, %d)", values.text, value->ld, value->k);
  else
    fprintf(e->steps, "walk_pick(state, %d, %s, %d, %d, %.17g)", stream_of(e, y), values.text,
            value->ld, value->k, y->attr.c[0]);
  fprintf(e->steps, ", %d, 1, %d);\n", x->ld, y->n);
}

/* the mean of the candidates by the softmax of their values */
static void put_average(Export *e, const Tensor *y) {
  const Tensor *x = y->in[0], *value = y->in[1];
  fprintf(e->steps, "  walk_average(%s, %s, %d, %s, %d, %d, %d, %s);\n", at(e, y, 0).text,
          at(e, x, 0).text, x->ld, at(e, value, 0).text, value->ld, x->k, y->n,
          literal(e, 1 / y->attr.c[0]).text);
}

/* ---- the tape -------------------------------------------------------------------------------- */

static const struct {
  const char *op;
  void (*put)(Export *e, const Tensor *y);
} emitters[] = {
  { "normal", put_normal },
  { "product", put_product },
  { "map", put_map },
  { "add", put_pair },
  { "sub", put_pair },
  { "mul", put_pair },
  { "mix", put_mix },
  { "blend", put_blend },
  { "scale", put_scale },
  { "clip", put_clip },
  { "slice", put_slice },
  { "fold", put_fold },
  { "standardize", put_standardize },
  { "spread", put_spread },
  { "detach", put_detach },
  { "pick", put_pick },
  { "average", put_average },
  { "min_last", put_min_last },
};

static void put_node(Export *e, const Tensor *y) {
  for (size_t i = 0; i < sizeof emitters / sizeof *emitters; i++)
    if (is(y, emitters[i].op)) {
      emitters[i].put(e, y);
      return;
    }
  export_refuse(e, FAIL_USAGE, "there is no C for the op \"%s\" yet", y->op->name);
}

bool export_tape(Export *e) {
  int count;
  Tensor *const *node = graph_program(e->g, &count);
  if (!node) export_refuse(e, FAIL_USAGE, "there is no C for a tape of several phases yet");
  for (int i = 0; node && i < count; i++) put_node(e, node[i]);
  return !e->refused;
}
