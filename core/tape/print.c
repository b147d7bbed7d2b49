/* print.c -- a tape as text, for people who debug one.
 *
 *      7 normal       ROW  [3, 1, 5]   lane @48     phase 0
 *        number, op, kind, [k, e, n], where it lies, phase; then as they apply
 *   <- 4 5         its inputs             also 9       its second output, filled by the same run
 *   "noise"        its random stream, or the name of the input
 *   actor/trunk/w  the slot whose numbers it reads, or (of d ..) whose gradient it adds to
 *   in d 40        recorded by the gradient of node 40
 * `lane` is scratch that the lanes of a thread share, `kept` has a place for every row, `bound` is
 * the caller's, `once` is computed when Params change, `sum` lies in the block of a group.  Offsets
 * are in numbers. */
#include "core/tape/tape.h"
#include <string.h>

static const char *const kinds[] = { [ONCE] = "ONCE", [ROW] = "ROW", [SUM] = "SUM" };

const char *tape_op_text(const Tensor *t, char text[TAPE_OP_TEXT]) {
  const char *variant = t->op->variant ? t->op->variant(t) : NULL;
  snprintf(text, TAPE_OP_TEXT, "%s%s%s", t->op->name, variant ? " " : "", variant ? variant : "");
  return text;
}

static void place_text(const Graph *g, const Tensor *t, char text[32]) {
  static const char *const names[] = {
    [PLACE_NONE] = "-",      [PLACE_LANE] = "lane",  [PLACE_KEPT] = "kept",
    [PLACE_BOUND] = "bound", [PLACE_FIXED] = "once", [PLACE_SUM] = "sum"
  };
  if (g->sealed && !t->live)
    strcpy(text, "dropped");
  else if (t->place == PLACE_LANE || t->place == PLACE_SUM)
    snprintf(text, 32, "%s @%zu", names[t->place], t->offset);
  else
    strcpy(text, names[t->place]);
}

static void print_slot(const Graph *g, const Tensor *t, FILE *out) {
  const Params *params = t->op->into_slot ? g->spec.trained : tape_params(g, t);
  if (!params) return;
  fprintf(out, "  %s%s/%s", t->op->into_slot ? "d " : "", params->block,
          params->layout->slot[t->attr.i[0]].name);
}

static void print_node(const Graph *g, const Tensor *t, FILE *out) {
  char shape[48], place[32], op[TAPE_OP_TEXT];
  snprintf(shape, sizeof shape, "[%d, %d, %d]", t->k, t->e, t->n);
  place_text(g, t, place);
  fprintf(out, "%6d %-16s %-4s %-16s %-12s phase %d", t->id, tape_op_text(t, op), kinds[t->kind],
          shape, place, t->phase);
  if (t->in[0]) fprintf(out, "  <-");
  for (int i = 0; i < OP_INPUTS && t->in[i]; i++) fprintf(out, " %d", t->in[i]->id);
  if (t->twin) fprintf(out, "  of %d", t->twin->id);
  if (t->aux) fprintf(out, "  also %d", t->aux->id);
  if (t->attr.stream || t->name) fprintf(out, "  \"%s\"", t->name ? t->name : t->attr.stream);
  print_slot(g, t, out);
  if (t->gradient_of >= 0) fprintf(out, "  in d %d", t->gradient_of);
  fprintf(out, "\n");
}

/* what was taken for values that are computed once, and for tables */
static size_t once_bytes(const Graph *g) {
  size_t numbers = 0;
  for (int id = 0; id < g->nodes; id++) {
    const Tensor *t = g->node[id];
    if (t->live && t->kind == ONCE && (t->op->run || !tape_params(g, t)))
      numbers += (size_t)t->k * (size_t)t->e * tape_once_row(t);
  }
  return numbers * sizeof(real);
}

void graph_print(const Graph *g, FILE *out) {
  const GraphSpec *s = &g->spec;
  GraphSize size = graph_size(g);
  fprintf(out, "tape that trains %s: %d nodes", s->trained ? s->trained->block : "nothing",
          size.nodes);
  if (g->sealed)
    fprintf(out, ", %d live, %d phases", size.live, size.phases);
  else
    fprintf(out, ", not sealed");
  fprintf(out, "; at most %d rows, %d a group, %d a lane\n", s->max_rows, s->group, s->lane);
  if (g->sealed)
    fprintf(out,
            "bytes: %zu of lane scratch and %zu of work a thread, %zu kept for rows, %zu of sums "
            "for each of %d groups, %zu once\n",
            size.lane_bytes, g->work_size * sizeof(real), size.kept_bytes, size.sum_bytes,
            g->max_groups, once_bytes(g));
  for (int id = 0; id < g->nodes; id++) print_node(g, g->node[id], out);
}
