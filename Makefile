# crux: build, install and test. `make help` lists the targets and the settings.
# Needs GNU make. A setting comes from the command line or from the environment.

LUA        ?= lua5.4
LUA_PC     ?= $(notdir $(LUA))
PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
LUA_API    ?= $(shell $(LUA) -e 'print(_VERSION:match"%d.%d")' 2>/dev/null)
LUADIR     ?= $(PREFIX)/share/lua/$(LUA_API)
LIBDIR     ?= $(PREFIX)/lib/lua/$(LUA_API)
# Definitions for the Lua language server: an addon, and never on a package.path.
LUALSDIR   ?= $(PREFIX)/share/crux/luals
BUSTED     ?= /usr/bin/busted
SPECS      ?= spec
LUAS       ?= lua5.1 lua5.2 lua5.3 lua5.4 luajit
OUT        ?= build
CURL       ?=

# --- files ---
# Everything that is built goes below OUT; nothing else in the tree is written to. Each variant (a Lua, or a sanitizer)
# has its own directory, DIR. Those for another libcurl are one level deeper.
BUILD    = $(OUT)$(addprefix /curl-,$(notdir $(CURL_PREFIX)))
VARIANT ?= $(notdir $(LUA))
DIR      = $(BUILD)/$(VARIANT)
SRC     := $(wildcard csrc/*.c csrc/*/*.c)
OBJ      = $(SRC:csrc/%.c=$(DIR)/obj/%.o)
# csrc/command is a module of its own, crux.os: the library never loads it.
OS_OBJ   = $(filter $(DIR)/obj/command/%,$(OBJ))
MODULES := $(wildcard lua/*.lua lua/*/*.lua lua/*/*/*.lua lua/*/*/*/*.lua)
LUALS   := $(wildcard library/*.lua library/*/*.lua)
CORE     = $(DIR)/crux/core.so
OS       = $(DIR)/crux/os.so
# Replacements for functions that can fail, for builds in which the specs make them fail (see spec/support/failing.c).
FAILING  = $(if $(HOSTED),$(DIR)/failing.so)

ifeq ($(shell uname -s),Darwin)
  LIBFLAG ?= -bundle -undefined dynamic_lookup
else
  # nodelete: lua_close unloads modules, but crux's thread may still be running this code.
  LIBFLAG ?= -shared
  PROJECT_LDFLAGS = -Wl,-z,nodelete -Wl,-z,now
endif

WARNINGS = -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wwrite-strings -Wpointer-arith \
           -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wimplicit-fallthrough $(if $(WERROR),-Werror)
LUA_CFLAGS   = $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell $(PKG_CONFIG) --cflags $(LUA_PC) 2>/dev/null))
CURL_PREFIX  = $(if $(CURL),$(abspath $(CURL)))
ifeq ($(CURL),)
  CURL_CFLAGS ?= $(shell $(PKG_CONFIG) --cflags libcurl 2>/dev/null)
  CURL_LIBS   ?= $(shell $(PKG_CONFIG) --libs libcurl 2>/dev/null)
  CURL_EXISTS  = :
else
  CURL_CFLAGS ?= -I$(CURL_PREFIX)/include
  CURL_LIBS   ?= -L$(CURL_PREFIX)/lib -lcurl -Wl,-rpath,$(CURL_PREFIX)/lib
  CURL_EXISTS  = test -e '$(CURL_PREFIX)/include/curl/curl.h'
endif
PROJECT_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(LUA_CFLAGS) $(CURL_CFLAGS)
COMPILE = $(CC) $(PROJECT_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE)
LINK    = $(CC) $(LIBFLAG) -pthread $(CFLAGS) $(SANITIZE) $(PROJECT_LDFLAGS) $(WRAP) $(LDFLAGS)

# Prints one line for each command; V=1 prints the command itself.
say = $(if $(V),set -x;,echo " $(1)";)

# --- run ---
# Programs run from the tree: LUA_PATH and LUA_CPATH name it first, and settings of the user's shell that would change
# what crux does (CRUX_*, proxies, paths of an installed crux) are removed.
CLEAN_ENV = env $(foreach name,$(filter CRUX_% %_proxy %_PROXY LUA_INIT% LUA_PATH_% LUA_CPATH_%,$(.VARIABLES)),-u $(name)) \
            LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(or $(LUA_PATH),;)' \
            LUA_CPATH='$(abspath $(DIR))/?.so;$(or $(LUA_CPATH),;)'
# Specs start child processes with TEST_LUA, which under a sanitizer is a host program instead of the interpreter. Some
# compile C against libcurl with CURL_CFLAGS and CURL_LIBS. TRUNCATION=all or TRUNCATION=boundaries selects
# the lengths in spec/http/truncation_spec.lua.
RUN = $(CLEAN_ENV) TEST_LUA='$(1)' CURL_CFLAGS='$(CURL_CFLAGS)' CURL_LIBS='$(CURL_LIBS)' $(addprefix CRUX_TRUNCATION=,$(TRUNCATION)) $(2) $(1)
# Prints the libcurl in use, since results can depend on its version.
TELL_CURL = $(RUN) -e 'print(" with " .. require "crux.core".curl_version())'

# --- Debian packages for `make deps`; `a|b`: either will do ---
PKG_lua5.1 = lua5.1 liblua5.1-0-dev
PKG_lua5.2 = lua5.2 liblua5.2-dev
PKG_lua5.3 = lua5.3 liblua5.3-dev
PKG_lua5.4 = lua5.4 liblua5.4-dev
PKG_luajit = luajit2 libluajit2-5.1-dev
PACKAGES   = gcc libc6-dev pkg-config 'libcurl4-openssl-dev|libcurl4-gnutls-dev' lua-cjson lua-argparse mandoc lua-busted lua-cqueues \
             lua-luaossl lua-luv redis-server lua-socket lua-sec openssl iproute2 curl $(sort $(PKG_lua5.4) $(PKG_$(LUA)))
PKG_gnutls   = 'libcurl3-gnutls|libcurl3t64-gnutls'
PKG_valgrind = valgrind libc6-dbg
PKG_bench    = $(PKG_valgrind) strace ca-certificates
PKG_lint     = lua-check
PKG_fuzz     = clang 'libclang-rt-14-dev|libclang-rt-19-dev'
PKG_rock     = luarocks
PKG_doc      = lua-ldoc
PKG_resty    = nginx libnginx-mod-http-lua lua-resty-core $(PKG_luajit)
PKG_matrix   = $(PKG_resty) $(foreach lua,$(LUAS),$(PKG_$(lua)))

.PHONY: all deps test test-gnutls demo fleet-demo openresty-demo sandbox install uninstall generate clean help doc check lint asan tsan \
        oom hosted valgrind soak storm fleet-storm bench bench-counts bench-memory bench-openresty fuzz fuzz-mutants differential reloads \
        matrix FORCE
.DELETE_ON_ERROR:

all: $(CORE) $(OS) ## build the C modules for LUA

# --- what a build needs: if something is missing, make ends with one line that says what, and what to do ---
, := ,
finds   = $(shell { $(1); } >/dev/null 2>&1 && echo yes)
need    = $(if $(call finds,$(1)),,$(error expected $(2)$(,) found none: $(3)))
header  = printf '\043include <$(1)>\n' | $(COMPILE) -E -x c -
has_lua = $(if $(LUA_INCDIR),:,$(PKG_CONFIG) --exists $(LUA_PC))
HEADERS = $(CURL_EXISTS) && $(has_lua) && for header in stdio.h lua.h curl/curl.h; do $(call header,$$header) || exit 1; done

MAKE_DEPS = run 'make deps$(if $(filter-out lua5.4,$(LUA)), LUA=$(LUA))' (Debian)
LUA_HELP  = $(if $(PKG_$(notdir $(LUA))),$(MAKE_DEPS),set LUA to one of $(LUAS)) or set LUA_PC or LUA_INCDIR
CURL_HELP = $(MAKE_DEPS) or set CURL to the directory above its include/ and lib/
define NEEDS
$(call need,command -v $(firstword $(CC)),a C compiler '$(CC)',$(MAKE_DEPS) or set CC)
$(if $(and $(LUA_INCDIR),$(or $(CURL),$(CURL_LIBS))),,\
  $(call need,command -v $(PKG_CONFIG),pkg-config,$(MAKE_DEPS) or set LUA_INCDIR and CURL))
$(call need,$(call header,stdio.h),the headers of the C library,$(MAKE_DEPS))
$(call need,$(has_lua) && $(call header,lua.h),the headers of $(LUA_PC)$(if $(LUA_INCDIR), in $(LUA_INCDIR)),$(LUA_HELP))
$(call need,$(CURL_EXISTS) && $(call header,curl/curl.h),the headers of libcurl$(if $(CURL), in $(CURL)),$(CURL_HELP))
endef
NEED_LUA = $(if $(LUA_API),,$(error expected the interpreter $(LUA)$(,) found none: set LUA_API to its version$(,) as in LUA_API=5.4))

# Holds the flags and the list of files. It is rewritten only if they differ, and everything is rebuilt then.
$(DIR)/flags: FORCE
	@$(if $(call finds,$(HEADERS)),,$(NEEDS)):
	@mkdir -p $(DIR)/obj $(DIR)/crux
	@echo '$(COMPILE) $(LINK) $(CURL_LIBS) $(SRC)' | cmp -s - $@ || \
	  echo '$(COMPILE) $(LINK) $(CURL_LIBS) $(SRC)' > $@

$(DIR)/obj/%.o: csrc/%.c $(DIR)/flags Makefile
	@mkdir -p $(@D)
	@$(call say,$@) $(COMPILE) -MMD -MP -c -o $@ $<

$(CORE): $(filter-out $(OS_OBJ),$(OBJ)) $(FAILING) $(DIR)/flags
	@$(call say,$@) $(LINK) -o $@ $(filter %.o %/failing.so,$^) $(CURL_LIBS)

$(OS): $(OS_OBJ) $(DIR)/flags
	@$(call say,$@) $(CC) $(LIBFLAG) $(CFLAGS) $(SANITIZE) $(PROJECT_LDFLAGS) $(LDFLAGS) -o $@ $(OS_OBJ)

-include $(OBJ:.o=.d)

deps: ## install the Debian packages that building and testing need, if they are missing
	@sh spec/support/deps.sh $(PACKAGES)
deps-%:
	@sh spec/support/deps.sh $(PACKAGES) $(PKG_$*)

test: deps ## build, then run the specs; SPECS=spec/async runs one folder, SPECS=spec/async/batch_spec.lua one file
	@$(MAKE) -s all
	@$(call TELL_CURL,$(LUA))
	@$(call say,$(SPECS) under $(LUA)) $(call RUN,$(LUA)) $(BUSTED) $(SPECS)

# Debian's two libcurls have the same headers.
test-gnutls: deps-gnutls ## run the specs with Debian's libcurl for GnuTLS
	@$(MAKE) test BUILD='$(OUT)/gnutls' CURL_LIBS=-l:libcurl-gnutls.so.4

demo: deps ## build, then cancel an order in a local sandbox, and show four calls that fail
	@$(MAKE) -s all
	@$(call RUN,$(LUA)) examples/demo.lua

openresty-demo: deps-resty ## build for LuaJIT, then run an nginx with examples/openresty against a local sandbox
	@$(MAKE) --no-print-directory all LUA=luajit
	@$(CLEAN_ENV) lua5.4 examples/openresty/demo.lua

fleet-demo: deps ## build, then have four workers of a fleet cancel orders in a local sandbox, and kill two of them
	@$(MAKE) -s all
	@$(CLEAN_ENV) TEST_LUA='$(LUA)' sh examples/fleet/demo.sh

# The server itself needs Lua 5.4; LUA is the one that the commands it prints are for.
sandbox: deps ## build, then run a local server that behaves like the service; ARGS="--help" lists its options
	@$(MAKE) -s all
	@$(CLEAN_ENV) TEST_LUA='$(LUA)' lua5.4 '$(CURDIR)/examples/sandbox.lua' $(ARGS)

# LDoc runs in a copy of the sources, to which docs/endpoints.lua adds the documentation of the endpoint functions.
doc: deps-doc ## write the reference of all public functions to OUT/doc, with LDoc
	@$(MAKE) -s all
	@rm -rf '$(OUT)/ldoc' '$(OUT)/doc' && mkdir -p '$(OUT)/ldoc'
	@cp -r config.ld lua '$(OUT)/ldoc' && chmod u+w '$(OUT)/ldoc/lua' && mkdir '$(OUT)/ldoc/lua/endpoints'
	@$(call RUN,$(LUA)) docs/endpoints.lua '$(OUT)/ldoc/lua/endpoints'
	@$(call say,$(OUT)/doc/index.html) cd '$(OUT)/ldoc' && ldoc -q --fatalwarnings -d ../doc .

# The installed command: it finds the modules wherever they were copied to.
define LAUNCHER
#!/bin/sh
# crux: runs the command with the Lua that it was installed for; CRUX_LUA names another of the same version.
exec "$${CRUX_LUA:-$(LUA)}" -e 'package.path = [[$(LUADIR)/?.lua;]] .. package.path' \
  -e 'package.cpath = [[$(LIBDIR)/?.so;]] .. package.cpath' '$(LUADIR)/crux/cli/main.lua' "$$@"
endef
$(DIR)/launcher: $(DIR)/flags FORCE
	@$(NEED_LUA):
	$(file >$@,$(LAUNCHER))

install: all $(DIR)/launcher ## build, then copy the modules, the command and its manual to PREFIX; see LUADIR, LIBDIR, BINDIR, MANDIR, LUALSDIR
	@$(NEED_LUA):
	@# The old file is removed first: a process that has it mapped would crash if it were overwritten in place.
	@copy() { echo " $$3"; rm -f "$$3" && install -d "$$(dirname "$$3")" && install -m "$$1" "$$2" "$$3" || exit 1; }; \
	for module in core os; do copy 755 "$(DIR)/crux/$$module.so" "$(DESTDIR)$(LIBDIR)/crux/$$module.so"; done; \
	for module in $(MODULES:lua/%=%); do copy 644 "lua/$$module" "$(DESTDIR)$(LUADIR)/$$module"; done; \
	copy 644 library/config.json '$(DESTDIR)$(LUALSDIR)/config.json'; \
	for file in $(LUALS); do copy 644 "$$file" "$(DESTDIR)$(LUALSDIR)/$$file"; done; \
	copy 644 bin/crux '$(DESTDIR)$(LUADIR)/crux/cli/main.lua'; \
	copy 644 docs/crux.1 '$(DESTDIR)$(MANDIR)/man1/crux.1'; \
	copy 755 '$(DIR)/launcher' '$(DESTDIR)$(BINDIR)/crux'

uninstall: ## remove what install copied
	@$(NEED_LUA):
	rm -f '$(DESTDIR)$(BINDIR)/crux' '$(DESTDIR)$(MANDIR)/man1/crux.1' '$(DESTDIR)$(LUADIR)/crux/cli/main.lua' \
	  '$(DESTDIR)$(LIBDIR)/crux/core.so' '$(DESTDIR)$(LIBDIR)/crux/os.so' $(MODULES:lua/%='$(DESTDIR)$(LUADIR)/%') \
	  '$(DESTDIR)$(LUALSDIR)/config.json' $(LUALS:%='$(DESTDIR)$(LUALSDIR)/%')
	-find '$(DESTDIR)$(LIBDIR)/crux' '$(DESTDIR)$(LUADIR)/crux' '$(DESTDIR)$(LUALSDIR)' -depth -type d -empty -delete
	@rmdir '$(DESTDIR)$(patsubst %/,%,$(dir $(LUALSDIR)))' 2>/dev/null || :

generate: ## write what follows from lua/crux/api.lua: csrc/api.c, docs/reference.md, library/, the tables of README.md
	@$(CLEAN_ENV) $(LUA) docs/generate.lua

# OUT may be a directory that holds other files: of that, only what has a list of flags, or a name from here, is removed.
clean: ## remove what was built
	rm -rf $(if $(filter build,$(OUT)),build,$(patsubst %/flags,%,$(wildcard $(OUT)/*/flags $(OUT)/*/*/flags)) \
	  $(addprefix $(OUT)/,doc ldoc fuzz))

help: ## print this list
	@echo 'make [TARGET] [SETTING=value ...]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 20
	@echo
	@sed -n 's/^#  \([A-Z_, ]*\): /  \1\t/p' Makefile | expand -t 20
#  LUA: which Lua to build for: lua5.1, lua5.2, lua5.3, lua5.4 (default) or luajit
#  LUA_PC, LUA_INCDIR: its pkg-config name, if it is not LUA; or the directory of its headers
#  LUA_API: its version, such as 5.1; asked from LUA by default
#  OUT: the directory that everything is built in (default: build)
#  PREFIX: where install copies to (default: /usr/local)
#  BINDIR, MANDIR: the same, separately for the command and its manual
#  LUADIR, LIBDIR, LUALSDIR: the same, separately for Lua files, the C module and definitions for LuaLS
#  DESTDIR: a directory that is put in front of all of these, for packages
#  CURL: a directory with another libcurl in include/ and lib/, to build and run with
#  CC, CFLAGS: the C compiler and its options (default: -O2 -g)
#  SPECS: the spec files or folders to run (default: spec)
#  ARGS: arguments for sandbox
#  TRUNCATION: which lengths spec/http/truncation_spec.lua cuts responses off at: all, or boundaries
#  LUAS: the Luas that matrix runs under; EXCLUDE: tags of specs that it leaves out, such as slow
#  WERROR: 1 turns the warnings of the C compiler into errors
#  V: 1 prints whole commands

# --- checks; SPECS selects specs for these too ---
check: deps ## check the rules of the tree: layers, exported symbols, the rockspec's list of files, ...
	@$(MAKE) -s all
	@$(call say,the rules of the tree) $(call RUN,$(LUA)) $(BUSTED) spec/tree

lint: deps-lint ## run luacheck, and compile the C code with gcc (and clang, if installed), warnings being errors
	luacheck -q $(wildcard bin/crux lua spec examples docs rockspec/*.rockspec)
	@$(MAKE) -s all VARIANT=lint-gcc CC=gcc WERROR=1
	@if command -v clang >/dev/null; then $(MAKE) -s all VARIANT=lint-clang CC=clang WERROR=1; fi

# Specs that do not run under these tools: they fork, need the unmodified interpreter, take too long, or test no code
# of crux (#tree).
TOOL_SPECS = $(BUSTED) --exclude-tags=tree,fork,stock,slow $(SPECS)

# A sanitizer has to be linked into the program: DIR/host is lua5.4 with an allocator that can fail, see
# spec/support/host.c.
asan: deps ## run the specs under AddressSanitizer, LeakSanitizer and UBSan
	@$(MAKE) -s hosted VARIANT=asan HOSTED='$(TOOL_SPECS)'
oom: deps ## make each allocation fail once, in Lua and in C, under AddressSanitizer
	@$(MAKE) -s hosted VARIANT=asan HOSTED=spec/sweep/oom.lua
tsan: deps ## run the specs under ThreadSanitizer
	@$(MAKE) -s hosted VARIANT=tsan HOSTED='$(TOOL_SPECS)'

ifdef HOSTED
  SANITIZE_asan = -fsanitize=address,undefined -fno-sanitize-recover=undefined
  SANITIZE_tsan = -fsanitize=thread
  SANITIZE = $(SANITIZE_$(VARIANT)) -O1 -fno-omit-frame-pointer
  WRAP     = $(addprefix -Wl$(,)--wrap=,$(shell sed -nE 's/^FAILS[A-Z_]*.([a-z0-9_]*),.*/\1/p' \
               spec/support/failing.c))
  HOST_ENV = ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
             LSAN_OPTIONS=suppressions=spec/support/lsan.supp:print_suppressions=0 \
             TSAN_OPTIONS=second_deadlock_stack=1:die_after_fork=0
endif
$(DIR)/failing.so: spec/support/failing.c spec/support/failing.h $(DIR)/flags Makefile
	@$(call say,$@) $(COMPILE) -fvisibility=default -shared -Wl,-soname,$(@F) -o $@ $< $(CURL_LIBS)
$(DIR)/host: spec/support/host.c $(DIR)/failing.so $(DIR)/flags Makefile
	@$(call say,$@) $(COMPILE) -fvisibility=default -rdynamic -o $@ $< \
	  $(DIR)/failing.so -Wl,-rpath,'$$ORIGIN' \
	  -Wl,--whole-archive -l:lib$(LUA_PC).a -Wl,--no-whole-archive $(CURL_LIBS) -lm -ldl
hosted: $(CORE) $(OS) $(DIR)/host
	@$(call TELL_CURL,$(CURDIR)/$(DIR)/host,$(HOST_ENV))
	@$(call say,$(HOSTED) under $(DIR)/host) $(call RUN,$(CURDIR)/$(DIR)/host,$(HOST_ENV)) $(HOSTED)

valgrind: TRUNCATION ?= boundaries
valgrind: deps-valgrind ## run the specs under valgrind; definite leaks are errors
	@$(MAKE) -s all
	@$(call TELL_CURL,$(LUA))
	@$(call say,$(SPECS) under valgrind) $(call RUN,$(LUA),valgrind -q --leak-check=full --show-leak-kinds=definite \
	  --errors-for-leak-kinds=definite --error-exitcode=99 --trace-children=no --suppressions=spec/support/valgrind.supp) $(TOOL_SPECS)

soak: deps ## make 200,000 calls and 100,000 failing submissions in one process, and check that memory does not grow
	@$(MAKE) --no-print-directory all
	@$(call RUN,$(LUA)) spec/sweep/soak.lua
	@$(call RUN,$(LUA)) spec/sweep/soak_submit.lua

# CI runs a short one: make storm KILLS=100 ORDERS=5000.
KILLS  ?= 1000
ORDERS ?= 100000
storm: deps ## kill the command KILLS times (1000) in a run of ORDERS (100000), and check that no order is sent twice or lost
	@$(MAKE) --no-print-directory all
	@$(call RUN,$(LUA)) spec/sweep/storm.lua --kills $(KILLS) --orders $(ORDERS)

# CI runs a short one: make fleet-storm KILLS=100 REDIS_KILLS=5 ORDERS=5000. FLEET_HOST=nginx reloads nginx
# every second too.
REDIS_KILLS ?= 50
WORKERS     ?= 4
FLEET_HOST  ?= processes
fleet-storm: $(if $(filter nginx,$(FLEET_HOST)),deps-resty,deps) ## kill WORKERS (4) of a fleet KILLS times (1000), and Redis REDIS_KILLS times (50), over ORDERS (100000); FLEET_HOST=nginx: inside nginx
	@$(MAKE) --no-print-directory all
	@$(call RUN,$(LUA)) spec/sweep/fleet_storm.lua --host $(FLEET_HOST) --kills $(KILLS) --redis-kills $(REDIS_KILLS) --orders $(ORDERS) --workers $(WORKERS)

bench: bench-counts bench-memory ## bench-counts, bench-memory, the latency of calls that must not block, the cost of a journal and of a fleet
	@$(call RUN,$(LUA)) spec/bench/latency.lua
	@$(call RUN,$(LUA)) spec/bench/journal.lua
	@$(call RUN,$(LUA)) spec/bench/fleet.lua
bench-counts: deps-bench ## count instructions and system calls of a call, compared with libcurl; fails above the limits
	@$(MAKE) -s all $(DIR)/bare $(DIR)/loop
	@$(call RUN,$(LUA)) spec/bench/poll.lua
	@$(call RUN,$(LUA)) spec/bench/counts.lua $(DIR)/bare $(DIR)/loop
bench-memory: deps-bench ## measure the memory of a waiting call, compared with libcurl; fails above the limit
	@$(MAKE) -s all $(DIR)/loop $(DIR)/heap.so
	@$(call RUN,$(LUA)) spec/bench/memory.lua $(DIR)/loop
bench-openresty: deps-resty ## measure calls from inside nginx, compared with proxy_pass and cosockets
	@$(MAKE) --no-print-directory all LUA=luajit
	@$(CLEAN_ENV) lua5.4 spec/bench/openresty.lua
$(DIR)/bare $(DIR)/loop: $(DIR)/%: spec/bench/%.c spec/bench/request.h $(DIR)/flags
	@$(call say,$@) $(COMPILE) -o $@ $< $(CURL_LIBS)

$(DIR)/heap.so: spec/bench/heap.c $(DIR)/flags
	@$(call say,$@) $(COMPILE) -fvisibility=default $(LIBFLAG) -o $@ $<

# --- fuzzing: each spec/fuzz/*.c is a target; a Lua file of the same name writes its seeds ---
FUZZ_SECONDS ?= 30
FUZZERS      := $(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/*.c))
FUZZ_COMPILE  = clang -std=gnu11 -O1 -g -pthread -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_ENV      = ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=4
# Sources that a target is linked with. The target of the parser includes the parser's source instead.
FUZZ_SRC_exchange = $(wildcard csrc/http/*.c csrc/os/*.c) -Wl,--wrap=epoll_wait

$(BUILD)/fuzz/%: spec/fuzz/%.c $(wildcard spec/fuzz/*.h spec/support/*.h csrc/http/* csrc/os/*) Makefile
	@mkdir -p $(@D)
	@$(call say,$@) $(FUZZ_COMPILE) $(WARNINGS) -Icsrc $(CURL_CFLAGS) -o $@ $< $(FUZZ_SRC_$*) $(CURL_LIBS)
$(BUILD)/fuzz/%.seeds: FORCE
	@rm -rf $@ && mkdir -p $@
	@if [ -e spec/fuzz/$*.lua ]; then $(CLEAN_ENV) lua5.4 spec/fuzz/$*.lua $@; fi

fuzz: $(addprefix fuzz-,$(FUZZERS)) ## fuzz the code that reads a server's bytes, each target for FUZZ_SECONDS (30)
# First the seeds as they are, then mutations of up to 1024 bytes: short inputs run much faster.
fuzz-%: deps-fuzz
	@$(MAKE) -s $(BUILD)/fuzz/$* $(BUILD)/fuzz/$*.seeds
	@mkdir -p $(BUILD)/fuzz/$*.corpus
	@$(call say,fuzz $* for $(FUZZ_SECONDS) s) export $(FUZZ_ENV); { \
	  $(BUILD)/fuzz/$* -runs=0 $(BUILD)/fuzz/$*.seeds && $(BUILD)/fuzz/$* -max_total_time=$(FUZZ_SECONDS) -max_len=1024 \
	    -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/$*.corpus $(BUILD)/fuzz/$*.seeds; } 2>$(BUILD)/fuzz/$*.log || \
	  { tail -n 60 $(BUILD)/fuzz/$*.log; exit 1; }
	@tail -n 1 $(BUILD)/fuzz/$*.log

fuzz-mutants: deps-fuzz ## break each rule of the response parser in a copy, and check that the fuzzer finds it
	@$(MAKE) -s $(BUILD)/fuzz/response.seeds
	@lua5.4 spec/fuzz/mutants.lua '$(FUZZ_COMPILE) -O0 -g0' $(BUILD)/fuzz/response.seeds

differential: deps ## compare the response parser with libcurl's, rule by rule
	@$(CLEAN_ENV) lua5.4 spec/fuzz/differential.lua

reloads: deps-resty ## reload nginx every second for half a minute under load, and check that no call is lost
	@$(MAKE) -s all
	@$(call say,reloads) RELOADS=30 $(call RUN,$(LUA)) $(BUSTED) --filter='in reloads' spec/resty

# Specs tagged #tree do not depend on the Lua: they run under lua5.4 only.
matrix: deps-matrix ## run the specs under each of LUAS, and inside nginx
	@for lua in $(LUAS); do \
	  case $$lua in lua5.4) once=$(addprefix --exclude-tags=,$(EXCLUDE));; \
	    *) once=--exclude-tags=tree$(addprefix $(,),$(EXCLUDE));; esac; \
	  $(MAKE) -s test LUA=$$lua BUSTED="$(BUSTED) $$once" || exit 1; \
	done
