# make | make test | make test-cross | make lint | make demo | make bench | make install      MODE=release|double|asan|ubsan|tsan
# MPI=1: ranks (docs/cluster.md), in a folder of their own
MODE ?= release
B := build/$(MODE)$(if $(MPI),-mpi)
CC ?= gcc
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(STRICT),-Werror)
FLOAT := -ffp-contract=off -fno-math-errno -fno-trapping-math
CFLAGS ?= -O3 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) $(FLOAT) -pthread -MMD -MP -I.
ALL_LDFLAGS := $(LDFLAGS) -pthread
ifeq ($(MODE),double)
ALL_CFLAGS += -DDIFFRL_DOUBLE
else ifneq ($(filter asan ubsan tsan,$(MODE)),)
SAN := $(patsubst asan,address,$(patsubst ubsan,undefined,$(patsubst tsan,thread,$(MODE))))
ALL_CFLAGS += -O1 -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=$(SAN)
endif

comma := ,
# dependencies: Debian's packages, or <NAME>_DIR=folder with include/ and lib/
OPENBLAS_CFLAGS := $(if $(OPENBLAS_DIR),-I$(OPENBLAS_DIR)/include,$(shell pkg-config --cflags openblas 2>/dev/null))
OPENBLAS_LIBS := $(if $(OPENBLAS_DIR),-L$(OPENBLAS_DIR)/lib -Wl$(comma)-rpath$(comma)$(OPENBLAS_DIR)/lib -lopenblas,$(shell pkg-config --libs openblas 2>/dev/null || echo -lopenblas))
CJSON_CFLAGS := $(if $(CJSON_DIR),-I$(CJSON_DIR)/include,$(shell pkg-config --cflags libcjson 2>/dev/null))
CJSON_LIBS := $(if $(CJSON_DIR),-L$(CJSON_DIR)/lib -lcjson,$(shell pkg-config --libs libcjson 2>/dev/null || echo -lcjson))
HDF5_CFLAGS := $(if $(HDF5_DIR),-I$(HDF5_DIR)/include,$(shell pkg-config --cflags hdf5 2>/dev/null))
HDF5_LIBS := $(if $(HDF5_DIR),-L$(HDF5_DIR)/lib -lhdf5,$(shell pkg-config --libs hdf5 2>/dev/null || echo -lhdf5))
PNG_CFLAGS := $(if $(PNG_DIR),-I$(PNG_DIR)/include,$(shell pkg-config --cflags libpng 2>/dev/null))
PNG_LIBS := $(if $(PNG_DIR),-L$(PNG_DIR)/lib -Wl$(comma)-rpath$(comma)$(PNG_DIR)/lib -lpng,$(shell pkg-config --libs libpng 2>/dev/null || echo -lpng))
MUJOCO_CFLAGS := $(if $(MUJOCO_DIR),-I$(MUJOCO_DIR)/include)
MUJOCO_SO := $(if $(MUJOCO_DIR),$(firstword $(wildcard $(MUJOCO_DIR)/lib/libmujoco.so* $(MUJOCO_DIR)/libmujoco.so*)))
MUJOCO_LIBS := $(if $(MUJOCO_SO),$(MUJOCO_SO) -Wl$(comma)-rpath$(comma)$(abspath $(dir $(MUJOCO_SO))),-lmujoco)
RANDOM123_CFLAGS := $(if $(RANDOM123_DIR),-I$(RANDOM123_DIR)/include)
MPI_CFLAGS = $(if $(MPI_DIR),-I$(MPI_DIR)/include,$(shell pkg-config --cflags ompi-c 2>/dev/null))
MPI_LIBS = $(if $(MPI_DIR),-L$(MPI_DIR)/lib -Wl$(comma)-rpath$(comma)$(MPI_DIR)/lib -lmpi,$(shell pkg-config --libs ompi-c 2>/dev/null || echo -lmpi))
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^.define DIFFRL_VERSION "\(.*\)"/\1/p' rl/version.h)
SONAME := libdiffrl.so.0

FLOORS := core datasets envs diffusion policy rl
HELPER_SRC := datasets/hdf5.c
SRC := $(filter-out $(HELPER_SRC) $(if $(MPI),,core/ranks_mpi.c),$(wildcard $(FLOORS:=/*.c)))
CLI_SRC := $(wildcard cli/*.c)
OBJ := $(SRC:%.c=$(B)/%.o)
LIBS = $(OPENBLAS_LIBS) $(CJSON_LIBS) $(PNG_LIBS) -lz $(MUJOCO_LIBS) $(if $(MPI),$(MPI_LIBS)) -lm
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))

all: $(B)/diffrl $(B)/diffrl-hdf5 lib
# the library of policy/diffrl.h, without OpenBLAS
lib: $(B)/libdiffrl.a $(B)/libdiffrl.so

$(B)/core/kernels_avx512.o: ALL_CFLAGS += -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -mprefer-vector-width=512
$(B)/core/kernels_avx2.o: ALL_CFLAGS += -mavx2 -mfma
$(B)/core/kernels_blas.o: ALL_CFLAGS += $(OPENBLAS_CFLAGS)
$(B)/core/json.o: ALL_CFLAGS += $(CJSON_CFLAGS)
$(B)/core/ranks_mpi.o: ALL_CFLAGS += $(MPI_CFLAGS)
$(B)/core/rng.o: ALL_CFLAGS += $(RANDOM123_CFLAGS)
$(B)/datasets/hdf5.o: ALL_CFLAGS += $(HDF5_CFLAGS)
$(B)/datasets/png.o: ALL_CFLAGS += $(PNG_CFLAGS)
$(B)/envs/models.o: $(wildcard envs/models/*.xml)
$(B)/rl/behaviour.o: $(wildcard rl/behaviour/*.safetensors)
$(B)/policy/export.o: $(wildcard policy/export/*)
$(B)/envs/mujoco.o: ALL_CFLAGS += $(MUJOCO_CFLAGS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/diffrl: $(CLI_SRC:%.c=$(B)/%.o) $(OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
HELPER_OBJ := $(addprefix $(B)/,datasets/hdf5.o datasets/cache.o datasets/dataset_summary.o datasets/episodes.o datasets/murmur.o core/json.o core/error.o)
$(B)/diffrl-hdf5: $(HELPER_OBJ)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(HDF5_LIBS) $(CJSON_LIBS) -lm
# weak references: named where a program is to have them
DOORS := $(B)/core/kernels_blas.o $(if $(MPI),$(B)/core/ranks_mpi.o)
LIB_OBJ := $(filter-out $(DOORS),$(filter $(B)/core/% $(B)/diffusion/% $(B)/policy/%,$(OBJ)))
# diffrl_* is all that a program may see of it, of the archive's one object too
$(LIB_OBJ): ALL_CFLAGS += -fPIC -fvisibility=hidden
$(B)/libdiffrl.o: $(LIB_OBJ)
	$(CC) -r -nostdlib -o $@ $^
	objcopy --localize-hidden $@
$(B)/libdiffrl.a: $(B)/libdiffrl.o
	@rm -f $@
	ar rcs $@ $^
$(B)/libdiffrl.so: $(LIB_OBJ)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl$(comma)-z$(comma)defs) -o $@ $^ $(CJSON_LIBS) -lm
# an archive alone would leave weak references out
$(B)/libdiffrl-all.a: $(OBJ)
	@rm -f $@
	ar rcs $@ $^
$(B)/tests/test_%: $(B)/tests/test_%.o $(B)/core/kernels_blas.o $(B)/libdiffrl-all.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(B)/tests/test_rng.o: ALL_CFLAGS += $(RANDOM123_CFLAGS)

JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
setup:
	@scripts/setup.sh
lint:
	@scripts/setup.sh lint
	@scripts/lint.sh
format:
	@scripts/setup.sh lint
	clang-format -i $(wildcard $(foreach d,$(FLOORS) cli tests,$(d)/*.[ch]))
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
# the exports of policies by every compiler that the README names
test-cross: setup
	@scripts/setup.sh cross
	@$(MAKE) --no-print-directory $(JOBS) $(B)/tests/test_export
	@MODE=$(MODE) CC="$(CC)" tests/exported.sh all
# ranks: a program of their own, which needs OpenMPI
test-mpi:
	@scripts/setup.sh mpi
	@$(MAKE) --no-print-directory $(JOBS) MPI=1 run-test-mpi
run-test-mpi: $(B)/diffrl $(B)/diffrl-hdf5 $(B)/tests/test_ranks
	@$(B)/tests/test_ranks
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
Name: diffrl
Description: Diffusion models: schedules, denoisers, samplers
Version: $(VERSION)
Cflags: -I$${prefix}/include
Libs: -L$${prefix}/lib -ldiffrl
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
.PHONY: all lib setup lint format test run-tests test-cross test-mpi run-test-mpi demo bench install install-lib clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
