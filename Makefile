# Bodega: everything is built, run and tested from here; `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
# A make under this one has the jobs that it is given.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

MODE ?= release
Q := $(if $(V),,@)
say = @printf '  %-8s %s\n' $(1) $(2)
BUILD ?= build
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
OUT := $(BUILD)/$(MODE)
GEN := $(BUILD)/gen
PARTS := build/third-party
VERSION := $(shell cat libcommon/VERSION)

SERVICES := $(notdir $(wildcard services/*))
LIB_DIRS ?= base config loop otel db stream rpc http json auth service

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wwrite-strings -Wundef \
	-Wpointer-arith -Wcast-qual -Wformat=2 -Werror=format-security -Wimplicit-fallthrough -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -Werror
# The processor's own check of where a jump may go; each kind of processor has its flag.
BRANCHES_x86_64 := -fcf-protection=full
BRANCHES_aarch64 := -mbranch-protection=standard
HARDENING := -fstack-protector-strong -fstack-clash-protection $(BRANCHES_$(shell uname -m)) -fno-strict-overflow \
	-fno-delete-null-pointer-checks -fno-strict-aliasing -ftrivial-auto-var-init=zero -D_GLIBCXX_ASSERTIONS
# gcc 12 knows it; clang 14 wants to be told that zero is meant.
ifneq ($(findstring clang,$(CC)),)
HARDENING := $(filter-out -ftrivial-auto-var-init=zero -fno-strict-overflow,$(HARDENING)) -fwrapv
# The second: initialisers that protobuf-c generates; gcc sees that they come from a system header.
WARNINGS += -Wno-gnu-zero-variadic-macro-arguments -Wno-cast-qual
endif
# The same program whatever folder it is built in: no path of it is kept, not even in the debug data, which the build id is made of.
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=3 $(HARDENING) -fPIE -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(abspath $(BUILD))=build
CFLAGS_debug := -O0 -g3 -fPIE
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -fPIE
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -fPIE
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fPIE
CFLAGS_coverage := -O0 -g --coverage -fprofile-update=atomic -fPIE
CFLAGS := -std=gnu11 $(CFLAGS_$(MODE)) $(WARNINGS)
CPPFLAGS := -D_GNU_SOURCE -DBODEGA_VERSION='"$(VERSION)"' -Ilibcommon/include -Itests -Imigrations -Ideploy/images -Ilibcommon/src -isystem $(GEN) -isystem $(PARTS)/include
CFLAGS_GEN := $(filter-out -W%,$(CFLAGS))

# libpq, libcurl and libmicrohttpd are our own static builds in every mode; the rest is Debian's,
# static in the release, shared elsewhere (the sanitizers tell their code from ours by that).
PACKAGED := grpc libprotobuf-c hiredis libcyaml yaml-0.1 jansson libsodium libssl libcrypto zlib
LIBS_PARTS := $(PARTS)/lib/libcurl.a $(PARTS)/lib/libpq.a $(PARTS)/lib/libpgcommon.a $(PARTS)/lib/libpgport.a $(PARTS)/lib/libmicrohttpd.a
# glibc warns about name look-ups in static programs; those that we use work without shared libraries (ARCHITECTURE.md).
# Those lines are left out of what the linker says, and nothing else is: --no-warnings would hide errors too.
link := libcommon/third-party/quiet-link
LINK_static := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodlopen -Wl,--gc-sections -Wl,-O1
LIBS_static = $(LIBS_PARTS) -Wl,--start-group $(shell pkg-config --static --libs $(PACKAGED)) -lboost_context -lstdc++ -lm -Wl,--end-group
LINK_shared := -pie -Wl,--as-needed
LIBS_shared = $(LIBS_PARTS) $(shell pkg-config --libs $(PACKAGED)) -l:libboost_context.a -lm -lpthread
LINKAGE := $(if $(filter release,$(MODE)),static,shared)
LDFLAGS := $(CFLAGS_$(MODE)) $(LINK_$(LINKAGE))
LIBS = $(LIBS_$(LINKAGE))

PROTOS := $(wildcard proto/*.proto)
PROTO_C := $(PROTOS:proto/%.proto=$(GEN)/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)
LIB_SRC := $(foreach d,$(LIB_DIRS),$(wildcard libcommon/src/$(d)/*.c libcommon/src/$(d)/*/*.c))
LIB_PROTO_C := $(filter $(GEN)/health.pb-c.c $(GEN)/otlp_%,$(PROTO_C))
LIB_OBJ := $(LIB_SRC:%.c=$(OUT)/obj/%.o) $(LIB_PROTO_C:$(GEN)/%.c=$(OUT)/obj/gen/%.o)
LIB := $(OUT)/lib/libcommon.a
GEN_OBJ := $(patsubst $(GEN)/%.c,$(OUT)/obj/gen/%.o,$(filter-out $(LIB_PROTO_C),$(PROTO_C))) $(OUT)/obj/gen/migrations.o $(OUT)/obj/gen/notices.o
COLLECTOR := $(OUT)/bin/otlp-collector
BINS := $(SERVICES:%=$(OUT)/bin/%) $(COLLECTOR)
FAILPOINT_BINS := $(SERVICES:%=$(OUT)/failpoints/bin/%)

all: $(BINS) ## build the four services and the local OTLP collector (MODE=release, debug, asan, tsan)

# --- what the compiler needs ---------------------------------------------------------------

READY := build/.packages build/third-party/.done

build/.packages: libcommon/third-party/packages.txt
	libcommon/third-party/install-packages $<
	@mkdir -p build && touch $@

build/third-party/.done: libcommon/third-party/build-parts | build/.packages
	libcommon/third-party/build-parts $(PARTS)
	@touch $@

# --- generated ------------------------------------------------------------------------------

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto | $(READY)
	@mkdir -p $(GEN)
	$(call say,PROTO,$<)
	$(Q)protoc --c_out=$(GEN) --proto_path=proto $<

$(GEN)/migrations.c: $(wildcard migrations/*.sql) $(addprefix libcommon/third-party/,embed-migrations c-string) | $(READY)
	@mkdir -p $(GEN)
	$(Q)libcommon/third-party/embed-migrations $(sort $(wildcard migrations/*.sql)) > $@.new && mv $@.new $@

$(GEN)/notices.c: LICENSE libcommon/VERSION $(addprefix deploy/images/,notices licences) libcommon/third-party/c-string | $(READY)
	@mkdir -p $(GEN)
	$(Q)set -o pipefail; { printf '#include "notices.h"\n\nconst char notices[] =\n' && \
		deploy/images/notices $(PARTS)/lib | libcommon/third-party/c-string && echo '         ;'; } > $@.new && mv $@.new $@

# --- compiling -------------------------------------------------------------------------------

$(OUT)/obj/gen/%.o: $(GEN)/%.c | $(READY)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_GEN) -MMD -MP -c -o $@ $<

$(OUT)/obj/%.o: %.c | $(READY) $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

# For tests only: the services, and what of the library knows them, with their failpoints (common/failpoint.h).
$(OUT)/failpoints/obj/%.o: %.c | $(READY) $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC,"$< (failpoints)")
	$(Q)$(CC) $(CPPFLAGS) -DFAILPOINTS $(CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

# The release's map, which tells what was linked, is read for the images' lists of contents.
MAPS := $(if $(filter release,$(MODE)),.map)

define service_rules
$(OUT)/bin/$(1) $(MAPS:%=$(OUT)/bin/$(1)%) &: $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard services/$(1)/*.c)) $(GEN_OBJ) $(LIB)
	@mkdir -p $$(@D)
	$$(call say,LINK,$(OUT)/bin/$(1))
	$$(Q)$$(link) $$(CC) $$(LDFLAGS) $(MAPS:%=-Wl,-Map=$(OUT)/bin/$(1)%) -o $(OUT)/bin/$(1).full $$(filter %.o %.a,$$^) $$(LIBS)
	$$(Q)$$(if $$(filter release,$$(MODE)),strip -o $(OUT)/bin/$(1) $(OUT)/bin/$(1).full,cp $(OUT)/bin/$(1).full $(OUT)/bin/$(1))

$(OUT)/failpoints/bin/$(1): $(patsubst %.c,$(OUT)/failpoints/obj/%.o,$(wildcard services/$(1)/*.c) libcommon/src/service/admin.c) $(GEN_OBJ) $(LIB)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(link) $$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o %.a,$$^) $$(LIBS)
endef
$(foreach s,$(SERVICES),$(eval $(call service_rules,$(s))))

$(COLLECTOR): $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/collector/*.c)) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(link) $(CC) $(LDFLAGS) $(if $(filter release,$(MODE)),-s) -o $@ $(filter %.o %.a,$^) $(LIBS) -lz

# --- tests -----------------------------------------------------------------------------------

TEST_SRC := $(foreach d,unit integration contract load chaos,$(wildcard tests/$(d)/test_*.c))
TEST_BINS := $(TEST_SRC:%.c=$(OUT)/%)
TEST_HELP := $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/support/*.c) tests/load/client.c)
TEST_SCRIPTS := $(wildcard tests/local/test_*) $(wildcard tests/fuzz/test_*) $(wildcard tests/chart/test_*)
# Images are of the release alone.
ifneq ($(MODE),release)
TEST_SCRIPTS := $(filter-out tests/local/test_images,$(TEST_SCRIPTS))
endif
TESTS := $(TEST_BINS) $(TEST_SCRIPTS)
CHOSEN := $(if $(ONLY),$(foreach t,$(TESTS),$(if $(findstring $(ONLY),$(t)),$(t))),$(TESTS))
# What they need is fetched, and for amd64 alone.
CHART_TESTS := $(wildcard tests/chart/test_*) tests/local/test_release
LIBS_TEST = $(LIBS_shared) -lcmocka

# A service's rules are tested with its own headers; their names are the service's, so each test links one service's.
rules_of = $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard services/$(1)/rules.c))

$(TEST_BINS): $(OUT)/%: $(OUT)/obj/%.o $(TEST_HELP) $(GEN_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_$(MODE)) -pie -o $@ $(filter %.o %.a,$^) $(LIBS_TEST)

$(OUT)/tests/unit/test_user_rules: $(call rules_of,user-service)
$(OUT)/tests/unit/test_order_rules: $(call rules_of,order-service)
$(OUT)/tests/unit/test_inventory_rules: $(call rules_of,inventory-service)
$(OUT)/tests/unit/test_gateway_rules: $(call rules_of,api-gateway)

$(OUT)/tests/chaos/test_chaos: $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/chaos/*.c))

# The examples are built by the tests, so that they stay true.
EXAMPLE_BINS := $(patsubst libcommon/examples/%/main.c,$(OUT)/examples/%,$(wildcard libcommon/examples/*/main.c))

$(EXAMPLE_BINS): $(OUT)/examples/%: $(OUT)/obj/libcommon/examples/%/main.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(link) $(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

check-built: $(TEST_BINS) $(BINS) $(FAILPOINT_BINS) $(EXAMPLE_BINS) fuzzers $(if $(filter $(CHART_TESTS),$(CHOSEN)),build/chart-tools/.done)

test: check-built ## every test that needs no cluster; ONLY=name runs those whose name has it
	@BIN_DIR=$(OUT)/bin FUZZERS=$(FUZZ_DIR) tests/run $(OUT)/test-logs $(CHOSEN)

load-tests: $(OUT)/tests/load/test_load $(BINS) ## the tests in tests/load with the counts that a release is measured by
	@LOAD=long TEST_TIMEOUT=7200 BIN_DIR=$(OUT)/bin tests/run $(OUT)/test-logs $<

asan: ## the same tests under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer
	@$(MAKE) --no-print-directory MODE=asan test

tsan: ## the same tests under ThreadSanitizer
	@$(MAKE) --no-print-directory MODE=tsan test

coverage: ## line coverage of libcommon and the services by the same tests
	@$(MAKE) --no-print-directory MODE=coverage test
	@tests/coverage $(BUILD)/coverage

BENCH_OVERLOAD := $(BUILD)/release/tests/load/bench_overload

ifeq ($(MODE),release)
$(BENCH_OVERLOAD): $(OUT)/obj/tests/load/bench_overload.o $(TEST_HELP) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_$(MODE)) -pie -o $@ $(filter %.o %.a,$^) $(LIBS_TEST)
endif

bench-overload: ## ten times more load than the shop can do (SECONDS_EACH=5 ROUNDS=3 PATTERN=orders, reads or mixed FACTOR=10)
	@$(MAKE) --no-print-directory MODE=release all $(BENCH_OVERLOAD)
	@$(BENCH_OVERLOAD)

chaos: $(OUT)/tests/chaos/test_chaos $(BINS) ## orders while processes are killed and connections cut, then the count (MINUTES=10 SEED= RATE=250)
	@CHAOS_MINUTES=$(or $(MINUTES),10) $<

bench: ## requests/s, latency, CPU and memory of the release (SECONDS_EACH=10 CONNECTIONS=32 WORKLOADS= FLOORS=)
	@$(MAKE) --no-print-directory MODE=release all
	@BIN_DIR=$(BUILD)/release/bin tests/bench/run $(BUILD)

# --- the Helm chart --------------------------------------------------------------------------

build/chart-tools/.done: tests/chart/tools tests/chart/packages.txt tests/chart/requirements.txt
	tests/chart/tools $(@D)
	@touch $@

chart-readme: ## the table of values in the chart's README, from its values.yaml
	deploy/helm/readme

chart-keep: build/chart-tools/.done ## take over what the chart renders now as what it should
	@KEEP=1 BIN_DIR=$(OUT)/bin tests/chart/test_chart

k8s-manifests: build/chart-tools/.done ## the manifests for kustomize in deploy/k8s, from the chart
	deploy/k8s/generate

.PHONY: chart-readme chart-keep k8s-manifests

# --- fuzzing ---------------------------------------------------------------------------------

# Whatever the mode of the tests, the fuzzers are clang's, with libFuzzer and the sanitizers, in a mode of their own.
FUZZ_DIR := $(BUILD)/fuzz/fuzz
FUZZ_BINS := $(patsubst tests/fuzz/fuzz_%.c,$(FUZZ_DIR)/%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz-built: $(FUZZ_BINS)

$(FUZZ_BINS): $(FUZZ_DIR)/%: $(OUT)/obj/tests/fuzz/fuzz_%.o $(GEN_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)clang -fsanitize=fuzzer,address,undefined -pie -o $@ $(filter %.o,$^) $(LIB) $(LIBS_shared)

$(FUZZ_DIR)/http: $(OUT)/obj/tests/fuzz/http_strict.o
$(FUZZ_DIR)/http $(FUZZ_DIR)/redis: $(OUT)/obj/tests/fuzz/no_yield.o
$(FUZZ_DIR)/json: $(OUT)/obj/services/api-gateway/api.o $(call rules_of,api-gateway)
$(FUZZ_DIR)/rpc: $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/fuzz/rpc_*.c)) \
	$(call rules_of,user-service) $(call rules_of,order-service) $(call rules_of,inventory-service)
$(FUZZ_DIR)/events: $(OUT)/obj/services/inventory-service/consumer.o

fuzzers: | $(READY) $(PROTO_H) $(GEN)/migrations.c $(GEN)/notices.c
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang fuzz-built

fuzz: fuzzers ## the fuzzers, one after the other (TIME=60 seconds each, ONLY=settings)
	@ONLY=$(ONLY) tests/fuzz/run $(FUZZ_DIR) $(or $(TIME),60)

fuzz-keep: fuzzers ## add what they found to the kept corpora
	@ONLY=$(ONLY) tests/fuzz/run $(FUZZ_DIR) keep

.PHONY: fuzz fuzz-built fuzz-keep fuzzers

# --- installing libcommon --------------------------------------------------------------------

# For C programs outside of this tree: the OpenTelemetry SDK alone, and everything. libcommon/docs/getting-started.md.
PREFIX ?= /usr/local
OTEL_DIRS := base config loop otel
OTEL_PACKAGES := grpc libcyaml yaml-0.1 libssl libcrypto zlib
LIB_OTEL := $(OUT)/lib/libcommon-otel.a

$(LIB_OTEL): $(foreach d,$(OTEL_DIRS),$(filter $(OUT)/obj/libcommon/src/$(d)/%,$(LIB_OBJ)))
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

install-libcommon: $(LIB) $(LIB_OTEL) ## libcommon for C programs elsewhere: libraries, headers, pkg-config, CMake (PREFIX=/usr/local DESTDIR=)
	@DESTDIR='$(DESTDIR)' VERSION='$(VERSION)' REQUIRES='$(PACKAGED)' REQUIRES_OTEL='$(OTEL_PACKAGES)' \
		libcommon/packaging/install $(OUT)/lib $(PARTS) '$(PREFIX)'

.PHONY: install-libcommon

BENCH_OTEL := $(BUILD)/release/bench-otel
BENCH_OTEL_OBJ := $(patsubst %.c,$(BUILD)/release/obj/%.o,$(wildcard tests/bench/otel_*.c))

ifeq ($(MODE),release)
$(BENCH_OTEL): $(BENCH_OTEL_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(link) $(CC) $(LDFLAGS) $(foreach f,malloc calloc realloc reallocarray,-Wl,--wrap=$(f)) -o $@ $(filter %.o %.a,$^) $(LIBS)
endif

bench-otel: ## what a call of the telemetry costs: ns and allocations a span, a counter, an encoded span ...
	@$(MAKE) --no-print-directory MODE=release $(BENCH_OTEL)
	@$(BENCH_OTEL)

# --- images ----------------------------------------------------------------------------------

# Of the release. The name is IMAGE_PREFIX/service:VERSION; commit and time are those of the last commit; IMAGE_SOURCE is the
# repository's URL, for the labels.
IMAGE_PREFIX ?= bodega
IMAGE_SOURCE ?=
REVISION ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
IMAGE_DIR := $(BUILD)/images
of_image = VERSION='$(VERSION)' IMAGE='$(IMAGE_PREFIX)/$*' REVISION='$(REVISION)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' \
	IMAGE_SOURCE='$(IMAGE_SOURCE)'

images: ## the four FROM-scratch images, as OCI and docker tars, and what is in each (build/images/; IMAGE_PREFIX=bodega IMAGE_SOURCE=)
	@$(MAKE) --no-print-directory MODE=release $(SERVICES:%=$(IMAGE_DIR)/%.spdx.json)

image-roots: ## only the images' files, for the Dockerfile
	@$(MAKE) --no-print-directory MODE=release $(SERVICES:%=$(IMAGE_DIR)/root/%)

# Made each time: the commit is in them.
$(IMAGE_DIR)/root/%: $(BUILD)/release/bin/% always
	$(Q)deploy/images/root $< $@

$(IMAGE_DIR)/%.tar: $(IMAGE_DIR)/root/%
	$(Q)$(of_image) deploy/images/pack $* $< $@

$(IMAGE_DIR)/%.spdx.json: $(IMAGE_DIR)/%.tar $(BUILD)/release/bin/%.map
	$(Q)$(of_image) deploy/images/sbom $(BUILD)/release/bin/$* $(IMAGE_DIR)/root/$* $< > $@

# What the tests on a cluster bring along, in images of their own: the receiver of telemetry and the client.
E2E_IMAGES := otlp-collector load

$(BUILD)/release/bin/load: $(patsubst %.c,$(BUILD)/release/obj/%.o,tests/e2e/load.c tests/load/client.c) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(link) $(CC) $(LDFLAGS) -s -o $@ $(filter %.o %.a,$^) $(LIBS)

e2e-images: images
	@$(MAKE) --no-print-directory MODE=release $(E2E_IMAGES:%=$(IMAGE_DIR)/%.tar)

# NAMESPACE= RELEASE= VALUES='file ...' LOAD='command that takes an image tar' ONLY='step ...' RATE= KEEP=1; KUBECONFIG as usual.
e2e: e2e-images build/chart-tools/.done ## the tests on a real Kubernetes: install, upgrade, drain and kill under load, uninstall (LOAD= VALUES= ONLY=)
	@IMAGE_PREFIX='$(IMAGE_PREFIX)' IMAGE_DIR='$(IMAGE_DIR)' tests/e2e/run $(ONLY)

always:

.PHONY: images image-roots e2e e2e-images always

# --- the operator ----------------------------------------------------------------------------

# It is of Go, and wants a newer one than Debian 12's; all else is made without. GO=/path/to/go names another.
OPERATOR := deploy/k8s/operator

operator-crd: build/chart-tools/.done ## the schema of the resource Bodega, from that of the chart's values
	$(OPERATOR)/crd

operator-test: ## the operator's Go code: format, vet, tests
	$(Q)root=$$($(OPERATOR)/with-go env GOROOT) && files=$$("$$root/bin/gofmt" -l $(OPERATOR)) && \
		{ [ -z "$$files" ] || { echo "gofmt would change $$files" >&2; exit 1; }; }
	$(Q)$(OPERATOR)/with-go vet ./...
	$(Q)$(OPERATOR)/with-go test ./...

operator-image: | build/.packages ## the operator's image, and what is in it, like the services' (build/images/operator.tar)
	@$(MAKE) --no-print-directory MODE=release $(IMAGE_DIR)/operator.spdx.json

operator-root: ## only its files, for the Dockerfile
	@$(MAKE) --no-print-directory MODE=release $(IMAGE_DIR)/root/operator

$(BUILD)/release/bin/operator: always
	@mkdir -p $(@D)
	$(call say,GO,$@)
	$(Q)$(OPERATOR)/with-go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $(abspath $@) .

$(IMAGE_DIR)/root/operator: $(BUILD)/release/bin/operator always
	$(Q)deploy/images/root $< $@
	$(Q)$(OPERATOR)/files $@

$(IMAGE_DIR)/operator.spdx.json: $(IMAGE_DIR)/%.spdx.json: $(IMAGE_DIR)/%.tar
	$(Q)$(of_image) $(OPERATOR)/sbom $(BUILD)/release/bin/$* $(IMAGE_DIR)/root/$* $< > $@

.PHONY: operator-crd operator-test operator-image operator-root

# --- checks ----------------------------------------------------------------------------------

OURS := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
SCRIPTS := $(shell git ls-files deploy/images deploy/k8s deploy/local deploy/release libcommon/packaging libcommon/third-party tests .ci 2>/dev/null | xargs grep -lE '^\#!.*(bash|sh)$$' 2>/dev/null)

fmt: | build/.packages ## format every source file
	clang-format -i $(OURS)

# What cppcheck cannot follow: outputs that are set unless an error is returned, initialisers of nested unions, and
# a waiting fiber's own memory in somebody else's hands. Compilers and sanitizers watch these.
CPPCHECK_BLIND := $(addprefix --suppress=,uninitStructMember uninitvar legacyUninitvar autoVariables)

lint: check-layers check-headers | build/.packages ## formatting, shell scripts, layers, headers, static analysis
	@clang-format --dry-run --Werror $(OURS)
	@shellcheck -x $(SCRIPTS)
	@cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=nullPointerOutOfMemory $(CPPCHECK_BLIND) -D_GNU_SOURCE -DBODEGA_VERSION='""' \
		-j$(shell nproc) -Ilibcommon/include -Ilibcommon/src libcommon/src libcommon/examples services
	@echo "lint: nothing to complain about"

check-layers: ## includes look one way: base, config and loop, otel, db stream rpc http json auth, service, services
	@tests/check-layers

check-headers: | $(READY) $(PROTO_H) ## each public header compiles alone
	@for header in $$(cd libcommon/include && echo common/*.h common/*/*.h); do \
		echo "#include \"$$header\"" | $(CC) $(CPPFLAGS) $(filter-out -O%,$(CFLAGS)) -Wno-unused-macros -x c -fsyntax-only - \
			|| exit 1; done

help: ## what can be made
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS=$$'\t' read -r target text; do \
		printf '  %-18s %s\n' "$$target" "$$text"; done

clean: ## remove what was built here, but not the third-party parts
	rm -rf $(addprefix $(BUILD)/,release debug asan tsan coverage gen)

# --- running ---------------------------------------------------------------------------------

# Ports and folders are variables: make run GATEWAY_PORT=8081 RUN_DIR=/tmp/other; deploy/local/shop has them all.
SHOP := BIN_DIR="$${BIN_DIR:-$(OUT)/bin}" deploy/local/shop

run: all ## the whole shop here, with its own PostgreSQL and Redis under run/; Ctrl-C stops all
	@$(SHOP) run

up: all ## the same in the background
	@$(SHOP) up

down: ## stop it
	@$(SHOP) down

status: ## who runs, where, and is it ready
	@$(SHOP) status

logs: ## follow the logs (SERVICE=name for one, FOLLOW=0 for their ends)
	@$(SHOP) logs $(SERVICE)

kill term start: ## SIGKILL, SIGTERM or start SERVICE=name, a service, postgres or redis
	@$(SHOP) $@ $(SERVICE)

env: ## the addresses as shell lines, to be evaluated
	@$(SHOP) env

clean-data: ## stop it and wipe its data
	@$(SHOP) clean-data

.PHONY: run up down status logs kill term start env clean-data

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

.PHONY: all check-built test load-tests asan tsan coverage chaos bench bench-overload bench-otel fmt lint check-layers check-headers help clean
.SECONDARY:
.DELETE_ON_ERROR:
