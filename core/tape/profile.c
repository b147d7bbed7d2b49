/* profile.c -- a list of counters for each worker, so that nobody waits. */
#include "core/tape/profile.h"
#include "core/check.h"
#include "core/sort.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
  ProfileEntry entry[PROFILE_NAMES];
  int count;
} Counters;

struct Profile {
  int workers;
  Counters *of; /* [workers] */
};

Profile *profile_new(Arena *arena, int workers) {
  Profile *profile = arena_alloc(arena, sizeof *profile);
  *profile = (Profile){ workers, arena_array(arena, Counters, workers) };
  return profile;
}

void profile_clear(Profile *profile) {
  for (int w = 0; w < profile->workers; w++) profile->of[w].count = 0;
}

int64_t profile_clock(const Profile *profile) {
  struct timespec t;
  if (!profile) return 0;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static ProfileEntry *entry_of(Counters *c, const char *name) {
  for (int i = 0; i < c->count; i++)
    if (c->entry[i].name == name || !strcmp(c->entry[i].name, name)) return &c->entry[i];
  CHECK(c->count < PROFILE_NAMES, "profile: more than %d names", PROFILE_NAMES);
  c->entry[c->count] = (ProfileEntry){ .name = name };
  return &c->entry[c->count++];
}

void profile_add(Profile *profile, int worker, const char *name, int64_t began, double flops) {
  if (!profile) return;
  int64_t ns = profile_clock(profile) - began;
  ProfileEntry *e = entry_of(&profile->of[worker], name);
  e->calls++, e->ns += ns, e->flops += flops;
}

static int longest_first(const void *a, const void *b) {
  const ProfileEntry *x = a, *y = b;
  return x->ns != y->ns ? (x->ns < y->ns) - (x->ns > y->ns) : strcmp(x->name, y->name);
}

int profile_entries(const Profile *profile, ProfileEntry entry[PROFILE_NAMES]) {
  Counters all = { .count = 0 };
  for (int w = 0; w < profile->workers; w++)
    for (int i = 0; i < profile->of[w].count; i++) {
      const ProfileEntry *from = &profile->of[w].entry[i];
      ProfileEntry *to = entry_of(&all, from->name);
      to->calls += from->calls, to->ns += from->ns, to->flops += from->flops;
    }
  sort(all.entry, (size_t)all.count, sizeof *all.entry, longest_first);
  memcpy(entry, all.entry, (size_t)all.count * sizeof *entry);
  return all.count;
}
