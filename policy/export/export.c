/* export.c -- the three files of a policy in C.
 *
 * All text is put together with the prefix walk_ and renamed when it is written. */
#include "policy/export/export.h"
#include "core/file.h"
#include "policy/export/export_ops.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- the text that is printed ---------------------------------------------------------------- */

#define EMBED(symbol, file)                                                                        \
  __asm__(".section .rodata\n" #symbol ": .incbin \"policy/export/text/" file "\"\n.byte 0\n"      \
          ".previous\n");                                                                          \
  extern const char symbol[] __attribute__((visibility("hidden")));
EMBED(export_interface, "walk.h")
EMBED(export_functions, "walk.c")
EMBED(export_act, "walk_act.c")
EMBED(export_check, "walk_check.c")

static const char license[] =
    " * SPDX-License-Identifier: 0BSD\n"
    " *\n"
    " * Permission to use, copy, modify, and/or distribute this software for any purpose with or\n"
    " * without fee is hereby granted.\n"
    " *\n"
    " * THE SOFTWARE IS PROVIDED \"AS IS\" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO\n"
    " * THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS.  IN NO "
    "EVENT\n"
    " * SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR\n"
    " * ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION "
    "OF\n"
    " * CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE "
    "USE\n"
    " * OR PERFORMANCE OF THIS SOFTWARE. */\n";

/* ---- sections -------------------------------------------------------------------------------- */

/* From one ruler to the next; the ruler says the title.  NULL after the last. */
static const char *next_section(const char *from) {
  const char *ruler = strstr(from, "\n/* ---- ");
  return ruler ? ruler + 1 : NULL;
}

typedef struct {
  char title[64];
} Title;

static Title section_title(const char *section) {
  Title t = { "" };
  sscanf(section, "/* ---- %63s", t.title);
  return t;
}

bool export_has(const char *title) {
  for (const char *s = next_section(export_functions); s; s = next_section(s))
    if (!strcmp(section_title(s).title, title)) return true;
  return false;
}

/* is the function (or macro) of this section called in [from, to)? */
static bool is_called(const char *section, const char *from, const char *to) {
  Title t = section_title(section);
  char call[80];
  int length = snprintf(call, sizeof call, "%s_%s(",
                        isupper((unsigned char)*t.title) ? "WALK" : "walk", t.title);
  return memmem(from, (size_t)(to - from), call, (size_t)length);
}

enum { MOST_SECTIONS = 64 };

/* The first section, those whose functions `program` calls and those that these call: as a section
 * calls earlier ones alone, a pass from the last to the first finds them. */
static void put_functions(FILE *out, const char *program) {
  const char *section[MOST_SECTIONS + 1];
  bool wanted[MOST_SECTIONS] = { true };
  int count = 0;
  for (const char *s = next_section(export_functions); s; s = next_section(s)) {
    CHECK(count < MOST_SECTIONS, "export: more than %d sections", MOST_SECTIONS);
    section[count++] = s;
  }
  section[count] = export_functions + strlen(export_functions);
  for (int i = count - 1; i > 0; i--) {
    wanted[i] = is_called(section[i], program, program + strlen(program));
    for (int j = i + 1; j < count && !wanted[i]; j++)
      wanted[i] = wanted[j] && is_called(section[i], section[j], section[j + 1]);
  }
  for (int i = 0; i < count; i++)
    if (wanted[i]) fwrite(section[i], 1, (size_t)(section[i + 1] - section[i]), out);
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef struct {
  char *text; /* heap */
  size_t length;
  FILE *out;
} Text;

static bool text_open(Text *t) { return (t->out = open_memstream(&t->text, &t->length)); }

/* is the word at c, and not a part of another? */
static bool is_word(const char *text, const char *c, const char *word) {
  size_t length = strlen(word);
  bool begins = c == text || (!isalnum((unsigned char)c[-1]) && c[-1] != '_');
  return begins && !strncmp(c, word, length) && (c[length] == '_' || c[length] == '.');
}

/* walk_ and WALK_ become the policy's own prefix */
static void put_renamed(FILE *out, const char *text, const char *name) {
  for (const char *c = text; *c; c++) {
    bool small = is_word(text, c, "walk"), large = !small && is_word(text, c, "WALK");
    if (!small && !large) {
      fputc(*c, out);
      continue;
    }
    for (const char *n = name; *n; n++) fputc(large ? toupper((unsigned char)*n) : *n, out);
    c += strlen("walk") - 1;
  }
}

static bool write_file(Arena *arena, const ExportSpec *spec, const char *ending, const char *text,
                       Error *error) {
  const char *path = arena_text(arena, "%s/%s%s", spec->folder, spec->name, ending);
  Text renamed = { 0 };
  NEED_MEMORY(text_open(&renamed));
  put_renamed(renamed.out, text, spec->name);
  NEED_MEMORY(!fclose(renamed.out));
  bool done = file_write(path, renamed.text, renamed.length, error);
  free(renamed.text);
  return done;
}

/* ---- header ---------------------------------------------------------------------------------- */

/* Lines of a comment, cut between words, without what could end it. */
static void put_comment(FILE *out, const char *text) {
  int width = fprintf(out, " *");
  for (const char *word = text + strspn(text, " "), *end; *word; word = end + strspn(end, " ")) {
    end = word + strcspn(word, " ");
    if (width + (end - word) > 98) width = fprintf(out, "\n *") - 1;
    width += fprintf(out, " ");
    for (const char *c = word; c < end; c++, width++)
      fputc(isgraph((unsigned char)*c) && !strchr("*\\?", *c) ? *c : '.', out);
  }
  fputc('\n', out);
}

static void put_ruler(FILE *out, const char *title) {
  int width = fprintf(out, "/* ---- %s ", title);
  while (width++ < 97) fputc('-', out);
  fputs(" */\n", out);
}

/* The first lines of every file. */
static void put_top(FILE *out, const Policy *p, const ExportSpec *spec, const char *what) {
  fprintf(out, "/* %s: a %s policy, %d numbers in, %d out.\n *\n", what, p->def->kind,
          (int)p->spec.obs_dim, (int)p->spec.act_dim);
  put_comment(out, spec->origin);
  put_comment(out, spec->acts);
  fprintf(out, " *\n%s\n", license);
}

/* where observation and action lie in memory, and how much there is */
typedef struct {
  size_t obs, act, size;
} Memory;

static void put_header(FILE *out, const Policy *p, const ExportSpec *spec, int streams, Memory m) {
  put_top(out, p, spec, "walk.h");
  fprintf(
      out,
      "#ifndef WALK_H\n#define WALK_H\n#include <stdint.h>\n\n"
      "/*   static walk_state state;\n"
      " *   walk_reset(&state, 42);\n"
      " *   if (walk_act(&state, observation, action) != WALK_OK) stop();\n"
      " *\n"
      " * No heap, no globals, no threads, no library: states are independent of each other. */\n\n"
      "#define WALK_OBS %d\n#define WALK_ACT %d\n"
      "#define WALK_OBS_STEPS %d /* observations that it sees, the last ones */\n"
      "#define WALK_HORIZON %d /* actions that it answers with at once, */\n"
      "#define WALK_ACT_STEPS %d /* and those of them done before it is asked again */\n"
      "#define WALK_STREAMS %d\n#define WALK_MEMORY %zu\n\n",
      (int)p->spec.obs_dim, (int)p->spec.act_dim, (int)p->spec.obs_steps, p->horizon,
      (int)p->act.act_steps, streams, m.size);
  fprintf(out, "%s\n#endif\n", next_section(export_interface));
}

/* ---- source ---------------------------------------------------------------------------------- */

static void put_doubles(FILE *out, const char *name, const double *values, int n) {
  fprintf(out, "static const double walk_%s[%d] = {", name, n);
  for (int j = 0; j < n; j++) fprintf(out, "%s%.17g,", j % 4 ? " " : "\n  ", values[j]);
  fputs("\n};\n", out);
}

static void put_floats(FILE *out, const char *name, const float *values, float without, int n) {
  fprintf(out, "static const float walk_%s[%d] = {", name, n);
  for (int j = 0; j < n; j++)
    fprintf(out, "%s%.9g,", j % 6 ? " " : "\n  ", (double)(values ? values[j] : without));
  fputs("\n};\n", out);
}

/* normaliser, bounds and names: what walk_act.c reads */
static void put_tables(FILE *out, const Policy *p, const Export *e, Memory at) {
  const Normalizer *normal = p->units.obs;
  int n = (int)p->spec.obs_dim, m = (int)p->spec.act_dim;
  double middle[POLICY_MAX_ACT], half[POLICY_MAX_ACT];
  for (int j = 0; j < m; j++) {
    middle[j] = 0.5 * ((double)p->low[j] + (double)p->high[j]);
    half[j] = 0.5 * ((double)p->high[j] - (double)p->low[j]);
  }
  fprintf(out, "\n#define WALK_OBS_AT %zu\n#define WALK_ACT_AT %zu\n\n", at.obs, at.act);
  put_floats(out, "mean", normal ? normal->mean : NULL, 0, n);
  put_floats(out, "std", normal ? normal->std : NULL, 1, n);
  put_doubles(out, "middle", middle, m);
  put_doubles(out, "half", half, m);
  size_t longest = 0;
  for (int i = 0; i < e->streams; i++)
    if (strlen(e->stream[i]) > longest) longest = strlen(e->stream[i]);
  fprintf(out, "static const char walk_names[WALK_STREAMS][%zu] = {", longest + 1);
  for (int i = 0; i < e->streams; i++) fprintf(out, "\n  \"%s\",", e->stream[i]);
  fputs("\n};\n\n", out);
}

/* functions, tables, tape, and what stands around it */
static bool put_source(FILE *out, const Policy *p, const ExportSpec *spec, Export *e, Memory at) {
  Text tables = { 0 }, tape = { 0 };
  bool done = text_open(&tables) && text_open(&tape);
  NEED_MEMORY(done);
  e->tables = tables.out, e->steps = tape.out;
  fputs("/* One call for each node of the tape; m is the state's memory. */\n"
        "static void walk_tape(const walk_state *state, float *m) {\n",
        tape.out);
  done = export_tape(e);
  if (!e->streams) e->stream[e->streams++] = "none", fputs("  (void)state;\n", tape.out);
  fprintf(tape.out, "}\n\n%s", next_section(export_act));
  fclose(tables.out), fclose(tape.out);
  put_top(out, p, spec, "walk.c");
  fputs("#include \"walk.h\"\n#include <string.h>\n\n", out);
  put_functions(out, tape.text);
  put_ruler(out, "numbers");
  fputs("\n/* Weights are matrices [members, inputs, outputs], the outputs padded to a multiple of "
        "16.\n"
        " * A constant is what the tape computes from weights alone: the time of a step, say. */\n",
        out);
  fputs(tables.text, out);
  put_tables(out, p, e, at);
  put_ruler(out, "tape");
  fputc('\n', out);
  fputs(tape.text, out);
  free(tables.text), free(tape.text);
  return done;
}

/* ---- check ----------------------------------------------------------------------------------- */

static void put_rows(FILE *out, const char *type, const char *name, const float *values, int rows,
                     int n) {
  fprintf(out, "static const %s walk_%s[%d][%d] = {\n", type, name, rows, n);
  for (int i = 0; i < rows; i++) {
    fputs("  {", out);
    for (int j = 0; j < n; j++) fprintf(out, "%s %.9g", j ? "," : "", (double)values[i * n + j]);
    fputs(" },\n", out);
  }
  fputs("};\n", out);
}

/* Calls of an Actor with seed 1, with observations as the normaliser expects them. */
static bool put_check(FILE *out, Arena *arena, const Policy *p, const ExportSpec *spec,
                      Error *error) {
  int n = (int)p->spec.obs_dim, m = (int)p->spec.act_dim;
  float *obs = arena_array(arena, float, EXPORT_CALLS *n),
        *act = arena_array(arena, float, EXPORT_CALLS *m);
  const Kernels *kernels = kernels_find("plain", error);
  Actor *actor = kernels ? actor_new(arena, p, 1, 1, NULL, kernels, error) : NULL;
  if (!actor) return false;
  const Normalizer *normal = p->units.obs;
  for (int i = 0; i < EXPORT_CALLS; i++) {
    float *row = obs + i * n;
    rng_normals(rng_stream(1, "export observation"), (uint64_t)i, 0, row, n);
    for (int j = 0; normal && j < n; j++) row[j] = normal->mean[j] + normal->std[j] * row[j];
    actor_act(actor, (int[]){ 0 }, 1, row, act + i * m, NULL);
  }
  put_top(out, p, spec, "walk_check.c");
  fprintf(out, "#include \"walk.h\"\n\n#define WALK_CALLS %d\n\n", EXPORT_CALLS);
  put_rows(out, "float", "observation", obs, EXPORT_CALLS, n);
  put_rows(out, "float", "expected", act, EXPORT_CALLS, m);
  double range[POLICY_MAX_ACT];
  for (int j = 0; j < m; j++) range[j] = (double)p->high[j] - (double)p->low[j];
  put_doubles(out, "range", range, m);
  fprintf(out, "\n%s", strstr(export_check, "#include"));
  return true;
}

/* ---- export ---------------------------------------------------------------------------------- */

static bool check_name(const char *name, Error *error) {
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
  if (length && !name[length] && length <= EXPORT_MAX_NAME && !isdigit((unsigned char)*name) &&
      *name != '_')
    return true;
  return error_set(error, FAIL_USAGE,
                   "--name %s: every symbol of the C begins so; expected a lower-case letter, then "
                   "letters, digits and _, %d at most",
                   name, EXPORT_MAX_NAME);
}

/* the policy's tape, for one row, run once */
static Graph *record_tape(Arena *arena, const Policy *p, Tensor **obs, Tensor **act, Error *error) {
  Graph *g = graph_new(arena, &(GraphSpec){ .seed = 1, .kernels = &kernels_plain, .max_rows = 1 });
  int n = p->seen;
  *obs = t_input(g, "obs", 1, n);
  *act = policy_record(p, g, *obs, NULL, error);
  if (!*act) return NULL;
  graph_keep(*act);
  graph_seal(g);
  graph_bind(*obs, arena_array(arena, real, row_stride(n)));
  graph_run(g, 1, 0, NULL);
  return g;
}

static bool export_in(Arena *arena, const Policy *p, const ExportSpec *spec, Text *file,
                      Error *error) {
  Tensor *obs, *act;
  const Graph *g = record_tape(arena, p, &obs, &act, error);
  if (!g) return false;
  GraphSize size = graph_size(g);
  Memory at = { .obs = size.lane_bytes / sizeof(real) };
  at.act = at.obs + (size_t)obs->ld, at.size = at.act + (size_t)act->ld + 16;
  Export *e = arena_alloc(arena, sizeof *e);
  *e = (Export){ .g = g, .error = error };
  e->place = arena_array(arena, size_t, size.nodes),
  e->printed = arena_array(arena, bool, size.nodes);
  e->place[obs->id] = at.obs, e->place[act->id] = at.act;
  if (!put_source(file[1].out, p, spec, e, at)) return false;
  put_header(file[0].out, p, spec, e->streams, at);
  return put_check(file[2].out, arena, p, spec, error);
}

bool export_c(const Policy *policy, const ExportSpec *spec, Error *error) {
  static const char *const ending[3] = { ".h", ".c", "_check.c" };
  if (!check_name(spec->name, error)) return false;
  if (!policy->def->exported)
    return error_set(error, FAIL_USAGE,
                     "a policy of %s cannot be printed as C; link libdiffrl, or use --format "
                     "safetensors",
                     policy->def->kind);
  Text file[3] = { { 0 } };
  Arena *arena = arena_new();
  for (int i = 0; i < 3; i++) NEED_MEMORY(text_open(&file[i]));
  bool done = export_in(arena, policy, spec, file, error);
  for (int i = 0; i < 3; i++) fclose(file[i].out);
  for (int i = 0; i < 3 && done; i++)
    done = write_file(arena, spec, ending[i], file[i].text, error);
  for (int i = 0; i < 3; i++) free(file[i].text);
  arena_free(arena);
  return done;
}
