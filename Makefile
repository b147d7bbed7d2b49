## make            the program, its HDF5 helper and the library, in build/release
## make test       set up, build, run every test           make test-cross   other compilers, ARM
## make soak       a thousand kills and failing calls, every setting at both ends
## make lint       rooms, doors, names, lengths, format    make format       what lint expects
## make demo       data, training, evaluation: minutes     make bench        with one thread and all
## make fuzz       SECONDS=60 of hostile bytes for each reader of files, by clang's libFuzzer
## make valgrind   commands of small runs under valgrind: minutes
## make install    PREFIX=/usr/local DESTDIR=              make clean
##
## MODE=double|asan|ubsan|tsan    another build, in build/MODE      STRICT=1   warnings are errors
## MODE=arm64      the library for 64-bit ARM: make lib MODE=arm64
## MPI=1           ranks (docs/cluster.md), in build/release-mpi    make test-mpi   their tests
## NAME_DIR=DIR    a dependency from DIR/include and DIR/lib: OPENBLAS, CJSON, HDF5, PNG, MUJOCO, ..
all:

# ---- compiler ------------------------------------------------------------------------------------

MODE ?= release
comma := ,
B := build/$(MODE)$(if $(MPI),-mpi)
CC ?= gcc
OBJCOPY := objcopy
ifeq ($(MODE),arm64)
CC := aarch64-linux-gnu-gcc
OBJCOPY := aarch64-linux-gnu-objcopy
endif
CFLAGS ?= -O3 -g
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
FLOAT := -ffp-contract=off -fno-math-errno -fno-trapping-math
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(CFLAGS) $(FLOAT) -pthread -MMD -MP -I.
ALL_LDFLAGS := $(LDFLAGS) -pthread
# what an error in memory could be used for is caught; sanitizers have checks of their own
HARDEN := $(filter release double arm64,$(MODE))
ALL_CFLAGS += $(if $(HARDEN),-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
ALL_LDFLAGS += $(if $(HARDEN),-Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now)
SAN := $(if $(filter asan,$(MODE)),address)$(if $(filter ubsan,$(MODE)),undefined)
SAN := $(SAN)$(if $(filter tsan,$(MODE)),thread)
ifeq ($(MODE),double)
ALL_CFLAGS += -DDIFFRL_DOUBLE
else ifneq ($(SAN),)
ALL_CFLAGS += -O1 -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=$(SAN)
endif
# make fuzz: the readers of files, under clang, which does not say __SANITIZE_ADDRESS__ itself
ifeq ($(MODE),fuzz)
FUZZ_FLAGS := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
WARN += -Wno-unknown-pragmas -Wno-psabi
ALL_CFLAGS += -O1 -fno-omit-frame-pointer -D__SANITIZE_ADDRESS__ $(FUZZ_FLAGS) \
  -fsanitize=fuzzer-no-link
ALL_LDFLAGS += $(FUZZ_FLAGS) -fsanitize=fuzzer
endif
# what a run must write is filled with NaN before it (core/tape/execute.c)
ALL_CFLAGS += $(if $(filter asan fuzz,$(MODE)),-DDIFFRL_CHECKED)

# ---- dependencies: Debian's packages, or NAME_DIR ------------------------------------------------

# name, its pkg-config module, what to link
define dependency
$(1)_CFLAGS := $$(if $$($(1)_DIR),-I$$($(1)_DIR)/include,$$(shell pkg-config --cflags $(2) 2>&-))
$(1)_LIBS := $$(if $$($(1)_DIR),-L$$($(1)_DIR)/lib -Wl$$(comma)-rpath$$(comma)$$($(1)_DIR)/lib \
  $(3),$$(shell pkg-config --libs $(2) 2>&- || echo $(3)))
endef
$(eval $(call dependency,OPENBLAS,openblas,-lopenblas))
$(eval $(call dependency,CJSON,libcjson,-lcjson))
$(eval $(call dependency,HDF5,hdf5,-lhdf5))
$(eval $(call dependency,PNG,libpng,-lpng))
$(eval $(call dependency,JPEG,libjpeg,-ljpeg))
$(eval $(call dependency,GIF,libgif,-lgif))
$(eval $(if $(MPI),$(call dependency,MPI,ompi-c,-lmpi)))
RANDOM123_CFLAGS := $(if $(RANDOM123_DIR),-I$(RANDOM123_DIR)/include)
# MuJoCo's own archives have libmujoco.so.VERSION alone
MUJOCO_CFLAGS := $(if $(MUJOCO_DIR),-I$(MUJOCO_DIR)/include)
MUJOCO_SO := $(if $(MUJOCO_DIR),$(firstword \
  $(wildcard $(MUJOCO_DIR)/lib/libmujoco.so* $(MUJOCO_DIR)/libmujoco.so*)))
MUJOCO_LIBS := $(if $(MUJOCO_SO),$(MUJOCO_SO) \
  -Wl$(comma)-rpath$(comma)$(abspath $(dir $(MUJOCO_SO))),-lmujoco)
LIBS = $(OPENBLAS_LIBS) $(CJSON_LIBS) $(PNG_LIBS) $(JPEG_LIBS) $(GIF_LIBS) -lz \
  $(MUJOCO_LIBS) $(if $(MPI),$(MPI_LIBS)) -lm

# ---- files ---------------------------------------------------------------------------------------

FLOORS := core datasets envs diffusion policy rl
HELPER_SRC := $(wildcard datasets/formats/*.c)
ALL_SRC := $(wildcard $(FLOORS:=/*.c) $(FLOORS:=/*/*.c))
SRC := $(filter-out $(HELPER_SRC) $(if $(MPI),,core/ranks_mpi.c),$(ALL_SRC))
OBJ := $(SRC:%.c=$(B)/%.o)
CLI_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard cli/*.c))
HELPER_OBJ := $(HELPER_SRC:%.c=$(B)/%.o) $(addprefix $(B)/,datasets/cache.o \
  datasets/dataset_summary.o datasets/cage.o datasets/episodes.o datasets/murmur.o datasets/gzip.o \
  core/json.o core/arena.o core/limits.o core/names.o core/file.o core/error.o)
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))
VERSION := $(shell sed -n 's/^.define DIFFRL_VERSION "\(.*\)"/\1/p' rl/version.h)
SONAME := libdiffrl.so.0
PREFIX ?= /usr/local

# the library has neither OpenBLAS nor MPI: weak references, named where a program is to have them
DOORS := $(B)/core/kernels/kernels_blas.o $(if $(MPI),$(B)/core/ranks_mpi.o)
ARM := $(filter arm64,$(MODE))
LIB_OBJ := $(filter-out $(DOORS),$(filter $(B)/core/% $(B)/diffusion/% $(B)/policy/%,$(OBJ)))

# for ARM the library alone, and those of its tests that an emulator runs in less than a minute
TESTED := $(if $(ARM),$(LIB_OBJ),$(OBJ))
DOORS_TESTED := $(if $(ARM),,$(B)/core/kernels/kernels_blas.o)
ARM_TESTS := actor api_actor api_actor_guest api_guest api_memory api_plan arena bound chain \
  checkpoint config critic denoiser eigen energy field finding gaussian golden_diffusers gradient \
  graph guide json kernels langevin limits loss ode ops optim parallel params rng sampler schedule \
  score_matching solver_order temporal timesteps transformer tree unet

AVX512 := -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -mprefer-vector-width=512
X86 := $(filter x86_64-%,$(shell $(CC) -dumpmachine))
AMX := -mamx-tile -mamx-bf16 -mavx512bf16
AMX := $(shell $(CC) $(AMX) -x c -E /dev/null >/dev/null 2>&1 && echo '$(AMX)')
$(B)/core/kernels/kernels_amx.o: ALL_CFLAGS += $(if $(X86),$(AVX512) $(AMX))
$(B)/core/kernels/kernels_avx512.o: ALL_CFLAGS += $(if $(X86),$(AVX512))
$(B)/core/kernels/kernels_avx2.o: ALL_CFLAGS += $(if $(X86),-mavx2 -mfma)
$(B)/core/kernels/kernels_blas.o: ALL_CFLAGS += $(OPENBLAS_CFLAGS)
$(B)/core/json.o: ALL_CFLAGS += $(CJSON_CFLAGS)
$(B)/core/ranks_mpi.o: ALL_CFLAGS += $(MPI_CFLAGS)
$(B)/core/rng.o $(B)/tests/test_rng.o: ALL_CFLAGS += $(RANDOM123_CFLAGS)
$(B)/datasets/formats/hdf5_%.o: ALL_CFLAGS += $(HDF5_CFLAGS)
$(B)/datasets/png.o: ALL_CFLAGS += $(PNG_CFLAGS)
$(B)/datasets/jpeg.o: ALL_CFLAGS += $(JPEG_CFLAGS)
$(B)/datasets/gif.o: ALL_CFLAGS += $(GIF_CFLAGS)
$(B)/envs/mujoco.o: ALL_CFLAGS += $(MUJOCO_CFLAGS)
# diffrl_* is all that a program may see of the library, of the archive's one object too
$(LIB_OBJ): ALL_CFLAGS += -fPIC -fvisibility=hidden
# gcc 12 for ARM fails where it vectorises a largest number by fmax; the hot loops are the kernels'
$(filter-out $(B)/core/kernels/%,$(LIB_OBJ)): ALL_CFLAGS += $(if $(ARM),-fno-tree-vectorize)

# files that are embedded
$(B)/envs/models.o: $(wildcard envs/models/*.xml)
$(B)/rl/rollout/behaviour.o: $(wildcard rl/behaviour/*.safetensors)
$(B)/rl/shipped.o: $(wildcard rl/shipped/*.safetensors)
$(B)/policy/export/export.o: $(wildcard policy/export/text/*)

# ---- building ------------------------------------------------------------------------------------

all: $(B)/diffrl $(B)/diffrl-hdf5 lib
lib: $(B)/libdiffrl.a $(B)/libdiffrl.so

# what was compiled with other flags is compiled again
FLAGS := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS) $(OPENBLAS_CFLAGS) $(CJSON_CFLAGS) \
  $(HDF5_CFLAGS) $(HDF5_LIBS) $(PNG_CFLAGS) $(JPEG_CFLAGS) $(GIF_CFLAGS) \
  $(MUJOCO_CFLAGS) $(RANDOM123_CFLAGS)
$(B)/flags: always
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(WARN) $(if $(STRICT),-Werror) -c -o $@ $<

$(B)/diffrl: $(CLI_OBJ) $(OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
$(B)/diffrl-hdf5: $(HELPER_OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(HDF5_LIBS) $(CJSON_LIBS) -lz -lm
$(B)/libdiffrl.o: $(LIB_OBJ)
	$(CC) -r -nostdlib -o $@ $^
	$(OBJCOPY) --localize-hidden $@
$(B)/libdiffrl.a: $(B)/libdiffrl.o
	@rm -f $@
	ar rcs $@ $^
$(B)/libdiffrl.so: $(LIB_OBJ)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl$(comma)-z$(comma)defs) \
	  -o $@ $^ $(CJSON_LIBS) -lm
# for the tests; an archive alone would leave weak references out
$(B)/libdiffrl-all.a: $(TESTED)
	@rm -f $@
	ar rcs $@ $^
$(B)/tests/test_%: $(B)/tests/test_%.o $(DOORS_TESTED) $(B)/libdiffrl-all.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(if $(ARM),$(CJSON_LIBS) -lm,$(LIBS)) -lcmocka

# libraries that let calls of a program fail
$(B)/tests/test_kills: | $(B)/tests/faults.so
$(B)/tests/test_shortage: | $(B)/tests/shortage.so
# and plugins, right and wrong ones
$(B)/tests/test_reward: | $(addprefix $(B)/tests/,reward_plugins.so reward_of_old.so faults.so)
$(B)/tests/%.so: tests/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -I. $(WARN) -fPIC -shared -o $@ $< -ldl
# readers of files need no simulator, and HDF5's runs in the fuzzer itself
FUZZED := $(patsubst tests/fuzz_%.c,$(B)/tests/fuzz_%,$(wildcard tests/fuzz_*.c))
$(B)/libdiffrl-fuzz.a: $(filter-out $(B)/envs/% $(B)/rl/%,$(OBJ))
	@rm -f $@
	ar rcs $@ $^
$(B)/tests/fuzz_hdf5.o: ALL_CFLAGS += $(HDF5_CFLAGS)
$(B)/tests/fuzz_hdf5: $(filter-out %/caged_program.o %/hdf5_store.o %/hdf5_export.o,$(HELPER_SRC:%.c=$(B)/%.o))
$(B)/tests/fuzz_%: $(B)/tests/fuzz_%.o $(B)/core/kernels/kernels_blas.o $(B)/libdiffrl-fuzz.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(OPENBLAS_LIBS) $(CJSON_LIBS) $(HDF5_LIBS) $(PNG_LIBS) $(JPEG_LIBS) $(GIF_LIBS) -lz -lm

# ---- tests and other jobs ------------------------------------------------------------------------

help:
	@sed -n 's/^## \{0,1\}//p' Makefile
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
setup:
	@scripts/setup.sh
lint:
	@scripts/setup.sh lint
	@scripts/lint.sh
format:
	@scripts/setup.sh lint
	clang-format -i $(wildcard $(foreach d,$(FLOORS) $(FLOORS:=/*) cli tests,$(d)/*.[ch]))
# set-up may install pkg-config, which is asked when a makefile is read: so read it again
test: setup
	@$(MAKE) --no-print-directory $(JOBS) run-tests
run-tests: all $(TESTS)
	@for t in $(TESTS); do \
	  if out=$$(./$$t 2>&1); then \
	    echo "$${t##*/}: $$(echo "$$out" | sed -n 's/^.*PASSED.*] *\([0-9]* test\).*/\1s passed/p')"; \
	  else echo "$$out"; echo "$${t##*/}: failed"; exit 1; fi; done
	@MAKE="$(MAKE)" MODE=$(MODE) CC="$(CC)" SAN="$(SAN)" tests/installed.sh
	@MODE=$(MODE) CC="$(CC)" tests/exported.sh
	@MODE=$(MODE) CC="$(CC)" tests/bits.sh
# runs that are killed, or whose writes fail, at a thousand instants: minutes
soak: setup
	@$(MAKE) --no-print-directory $(JOBS) all $(B)/tests/test_kills \
	  $(B)/tests/test_ranges $(B)/tests/test_commands $(B)/tests/test_shortage
	@DIFFRL_KILLS=1000 DIFFRL_FAULTS=1000 $(B)/tests/test_kills
	@DIFFRL_SHORTAGES=100000 $(B)/tests/test_shortage
	@DIFFRL_SOAK=1 $(B)/tests/test_ranges
	@DIFFRL_SOAK=1 $(B)/tests/test_commands
# the exports of policies by every compiler that the README names, and the library for ARM
test-cross: setup
	@scripts/setup.sh cross
	@$(MAKE) --no-print-directory $(JOBS) $(B)/tests/test_export lib
	@MODE=$(MODE) CC="$(CC)" tests/exported.sh all
	@$(MAKE) --no-print-directory $(JOBS) MODE=arm64 run-test-arm
run-test-arm: lib $(ARM_TESTS:%=$(B)/tests/test_%)
	@tests/arm64.sh $(ARM_TESTS)
# ranks: a program of their own, which needs OpenMPI
test-mpi:
	@scripts/setup.sh mpi
	@$(MAKE) --no-print-directory $(JOBS) MPI=1 run-test-mpi
run-test-mpi: $(B)/diffrl $(B)/diffrl-hdf5 $(B)/tests/test_ranks
	@$(B)/tests/test_ranks
SECONDS ?= 60
fuzz: setup
	@scripts/setup.sh fuzz
	@$(MAKE) --no-print-directory $(JOBS) MODE=fuzz CC=clang fuzz-programs
	@B=build/fuzz tests/fuzz.sh $(SECONDS)
fuzz-programs: $(FUZZED)
valgrind: setup
	@$(MAKE) --no-print-directory $(JOBS) all
	@B=$(B) tests/valgrind.sh
demo: setup
	@$(MAKE) --no-print-directory $(JOBS) all
	@DIFFRL=$(B)/diffrl scripts/demo.sh
bench: all
	@$(B)/diffrl bench --threads 1
	@$(B)/diffrl bench
install: all install-lib
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/diffrl
	install -m 755 $(B)/diffrl $(DESTDIR)$(PREFIX)/bin/diffrl
	install -m 755 $(B)/diffrl-hdf5 $(DESTDIR)$(PREFIX)/libexec/diffrl/diffrl-hdf5
define DIFFRL_PC
prefix=$(PREFIX)
libdir=$${prefix}/lib
Name: diffrl
Description: Diffusion models: schedules, denoisers, samplers
Version: $(VERSION)
Cflags: -I$${prefix}/include
Libs: -L$${libdir} -ldiffrl
Libs.private: $(CJSON_LIBS) -pthread -lm
endef
export DIFFRL_PC
install-lib: lib
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 policy/diffrl.h $(DESTDIR)$(PREFIX)/include/diffrl.h
	install -m 644 $(B)/libdiffrl.a $(DESTDIR)$(PREFIX)/lib/libdiffrl.a
	install -m 755 $(B)/libdiffrl.so $(DESTDIR)$(PREFIX)/lib/libdiffrl.so.$(VERSION)
	ln -sf libdiffrl.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libdiffrl.so
	printenv DIFFRL_PC > $(DESTDIR)$(PREFIX)/lib/pkgconfig/diffrl.pc
clean:
	rm -rf build
.PHONY: all lib help always setup lint format test run-tests soak test-cross run-test-arm test-mpi \
  run-test-mpi fuzz fuzz-programs valgrind demo bench install install-lib clean
.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
