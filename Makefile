# crux. `make help` lists the targets. GNU make; every setting below may come from the command line or the environment.

LUA        ?= lua5.4
LUA_PC     ?= $(LUA)
PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
PREFIX     ?= /usr/local
LUA_API    ?= $(shell $(LUA) -e 'print(_VERSION:match"%d.%d")')
LUADIR     ?= $(PREFIX)/share/lua/$(LUA_API)
LIBDIR     ?= $(PREFIX)/lib/lua/$(LUA_API)
BUSTED     ?= /usr/bin/busted
SPECS      ?= spec
LUAS       ?= lua5.1 lua5.2 lua5.3 lua5.4 luajit
# A directory with another libcurl in its include/ and lib/, to build against and to run with.
CURL       ?=

# --- what is built: $(BUILD)/$(VARIANT)/crux/core.so, one directory for each Lua and each sanitizer, below one for each CURL ---
BUILD    = build$(addprefix /curl-,$(notdir $(CURL_PREFIX)))
VARIANT ?= $(LUA)
OUT      = $(BUILD)/$(VARIANT)
SRC     := $(wildcard csrc/*.c csrc/*/*.c)
OBJ      = $(SRC:csrc/%.c=$(OUT)/obj/%.o)
MODULES := $(wildcard lua/*.lua lua/*/*.lua lua/*/*/*.lua)
CORE     = $(OUT)/crux/core.so
# What core.so calls instead of what may fail, where a sweep is to make it fail.
FAILING  = $(if $(HOSTED),$(OUT)/failing.so)

ifeq ($(shell uname -s),Darwin)
  LIBFLAG ?= -bundle -undefined dynamic_lookup
else
  # nodelete: a thread of ours may still be running when a Lua state unloads its modules.
  LIBFLAG ?= -shared
  PROJECT_LDFLAGS = -Wl,-z,nodelete -Wl,-z,now
endif

WARNINGS = -Wall -Wextra -Wshadow -Wundef -Wvla -Wformat=2 -Wwrite-strings -Wpointer-arith \
           -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wimplicit-fallthrough $(if $(WERROR),-Werror)
LUA_CFLAGS   = $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell $(PKG_CONFIG) --cflags $(LUA_PC)))
CURL_PREFIX  = $(if $(CURL),$(abspath $(CURL)))
ifeq ($(CURL),)
  CURL_CFLAGS ?= $(shell $(PKG_CONFIG) --cflags libcurl)
  CURL_LIBS   ?= $(shell $(PKG_CONFIG) --libs libcurl)
  CURL_EXISTS  = $(PKG_CONFIG) --exists libcurl
else
  CURL_CFLAGS ?= -I$(CURL_PREFIX)/include
  CURL_LIBS   ?= -L$(CURL_PREFIX)/lib -lcurl -Wl,-rpath,$(CURL_PREFIX)/lib
  CURL_EXISTS  = test -e '$(CURL_PREFIX)/include/curl/curl.h'
endif
PROJECT_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -pthread $(WARNINGS) $(LUA_CFLAGS) $(CURL_CFLAGS)
COMPILE = $(CC) $(PROJECT_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZE)
LINK    = $(CC) $(LIBFLAG) -pthread $(CFLAGS) $(SANITIZE) $(PROJECT_LDFLAGS) $(WRAP) $(LDFLAGS)

# One line for each thing done; V=1 shows the whole command.
say = $(if $(V),set -x;,echo " $(1)";)

# --- what is run: from the tree, unmoved by settings that were made for something else ---
CLEAN_ENV = env $(foreach name,$(filter CRUX_% %_proxy %_PROXY LUA_INIT% LUA_PATH_% LUA_CPATH_%,$(.VARIABLES)),-u $(name)) \
            LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(or $(LUA_PATH),;)' \
            LUA_CPATH='$(CURDIR)/$(OUT)/?.so;$(or $(LUA_CPATH),;)'
# Specs start children that load crux with TEST_LUA: under a sanitizer it is the host, otherwise the interpreter itself.
# They compile C that sees libcurl, and build crux for another Lua, with the flags that were used here. CUTS=all or
# CUTS=boundaries says where cuts_spec cuts answers off.
RUN = $(CLEAN_ENV) TEST_LUA='$(1)' CURL_CFLAGS='$(CURL_CFLAGS)' CURL_LIBS='$(CURL_LIBS)' $(addprefix CRUX_CUTS=,$(CUTS)) $(2) $(1)
# One libcurl differs from the next, so the one that specs run with is told first.
TELL_CURL = $(RUN) -e 'print(" with " .. require "crux.core".curl_version())'

PKG_lua5.1 = lua5.1 liblua5.1-0-dev
PKG_lua5.2 = lua5.2 liblua5.2-dev
PKG_lua5.3 = lua5.3 liblua5.3-dev
PKG_lua5.4 = lua5.4 liblua5.4-dev
PKG_luajit = luajit2 libluajit2-5.1-dev
PACKAGES   = gcc libc6-dev pkg-config 'libcurl4-openssl-dev|libcurl4-gnutls-dev' lua-cjson lua-busted lua-cqueues lua-luaossl lua-luv iproute2 curl \
             $(sort $(PKG_lua5.4) $(PKG_$(LUA)))
PKG_gnutls   = 'libcurl3-gnutls|libcurl3t64-gnutls'
PKG_valgrind = valgrind libc6-dbg
PKG_bench    = $(PKG_valgrind) strace ca-certificates
PKG_lint     = lua-check
PKG_fuzz     = clang 'libclang-rt-14-dev|libclang-rt-19-dev'
PKG_rock     = luarocks
PKG_resty    = nginx libnginx-mod-http-lua lua-resty-core $(PKG_luajit)
PKG_matrix   = $(PKG_resty) $(foreach lua,$(LUAS),$(PKG_$(lua)))

.PHONY: all deps test test-gnutls demo openresty-demo sandbox install uninstall clean help check lint asan tsan oom hosted \
        valgrind soak bench bench-counts bench-memory bench-openresty fuzz fuzz-mutants differential reloads matrix FORCE
.DELETE_ON_ERROR:

all: $(CORE) ## build the C module for LUA (lua5.4; lua5.1, lua5.2, lua5.3 and luajit do as well)

# Rewritten only when a command line or the list of files differs, so that a change of flags rebuilds.
$(OUT)/flags: FORCE
	@$(if $(LUA_INCDIR),:,$(PKG_CONFIG) --exists $(LUA_PC)) && $(CURL_EXISTS) || \
	  { echo 'expected headers of $(LUA_PC) and libcurl$(if $(CURL), in $(CURL)), found none: make deps'; exit 1; }
	@mkdir -p $(OUT)/obj $(OUT)/crux
	@echo '$(COMPILE) $(LINK) $(CURL_LIBS) $(SRC)' | cmp -s - $@ || \
	  echo '$(COMPILE) $(LINK) $(CURL_LIBS) $(SRC)' > $@

$(OUT)/obj/%.o: csrc/%.c $(OUT)/flags Makefile
	@mkdir -p $(@D)
	@$(call say,$@) $(COMPILE) -MMD -MP -c -o $@ $<

$(CORE): $(OBJ) $(FAILING) $(OUT)/flags
	@$(call say,$@) $(LINK) -o $@ $(OBJ) $(FAILING) $(CURL_LIBS)

-include $(OBJ:.o=.d)

deps: ## install what building and testing need and is missing (Debian)
	@sh spec/support/deps.sh $(PACKAGES)
deps-%:
	@sh spec/support/deps.sh $(PACKAGES) $(PKG_$*)

test: deps ## build, then run the specs; SPECS=spec/async runs a folder, SPECS=spec/async/batch_spec.lua a file
	@$(MAKE) -s all
	@$(call TELL_CURL,$(LUA))
	@$(call say,$(SPECS) under $(LUA)) $(call RUN,$(LUA)) $(BUSTED) $(SPECS)

# The same headers serve for both of Debian's.
test-gnutls: deps-gnutls ## the specs with Debian's other libcurl, whose TLS is GnuTLS's
	@$(MAKE) test BUILD=build/gnutls CURL_LIBS=-l:libcurl-gnutls.so.4

demo: deps ## build, then cancel an order at a sandbox of its own, and see it fail four ways
	@$(MAKE) -s all
	@$(call RUN,$(LUA)) examples/demo.lua

openresty-demo: deps-resty ## an nginx with an endpoint of one's own, against a sandbox of its own
	@$(MAKE) --no-print-directory all LUA=luajit
	@$(CLEAN_ENV) lua5.4 examples/openresty/demo.lua

sandbox: deps ## run the local stand-in for the service until Ctrl-C
	@$(call RUN,$(LUA)) examples/sandbox.lua

install: all ## copy to PREFIX (/usr/local), or to LUADIR and LIBDIR; DESTDIR goes in front
	@# A process may have the old files mapped: a new one is made, never the old one overwritten.
	@copy() { echo " $$3"; rm -f "$$3" && install -d "$$(dirname "$$3")" && install -m "$$1" "$$2" "$$3" || exit 1; }; \
	copy 755 '$(CORE)' '$(DESTDIR)$(LIBDIR)/crux/core.so'; \
	for module in $(MODULES:lua/%=%); do copy 644 "lua/$$module" "$(DESTDIR)$(LUADIR)/$$module"; done

uninstall: ## remove what install copied
	rm -f '$(DESTDIR)$(LIBDIR)/crux/core.so' $(MODULES:lua/%='$(DESTDIR)$(LUADIR)/%')
	-find '$(DESTDIR)$(LIBDIR)/crux' '$(DESTDIR)$(LUADIR)/crux' -depth -type d -empty -delete

clean: ## remove everything built
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1:\t/p' Makefile | expand -t 16

# --- guards; SPECS narrows these too ---
check: deps ## hold the tree to its own rules: storeys, symbols, the rockspec's list, ...
	@$(MAKE) -s all
	@$(call say,the tree's own rules) $(call RUN,$(LUA)) $(BUSTED) spec/tree/build_spec.lua

lint: deps-lint ## luacheck, and the C code without a warning from gcc (and clang, where it is)
	luacheck -q $(wildcard lua spec examples rockspec/*.rockspec)
	@$(MAKE) -s all VARIANT=lint-gcc CC=gcc WERROR=1
	@if command -v clang >/dev/null; then $(MAKE) -s all VARIANT=lint-clang CC=clang WERROR=1; fi

# Under a tool, those are left out that fork, want the stock interpreter, last too long or do not rest on crux.
TOOL_SPECS = $(BUSTED) --exclude-tags=tree,fork,stock,slow $(SPECS)

# A sanitizer needs a program of its own: build/<name>/host is lua5.4 with a starving allocator, see spec/support/host.c.
asan: deps ## the specs under AddressSanitizer and UBSan, leaks included
	@$(MAKE) -s hosted VARIANT=asan HOSTED='$(TOOL_SPECS)'
oom: deps ## every allocation fails once, in Lua and in C, under AddressSanitizer
	@$(MAKE) -s hosted VARIANT=asan HOSTED=spec/sweep/oom.lua
tsan: deps ## the specs under ThreadSanitizer
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
, := ,
$(OUT)/failing.so: spec/support/failing.c spec/support/failing.h $(OUT)/flags Makefile
	@$(call say,$@) $(COMPILE) -fvisibility=default -shared -Wl,-soname,$(@F) -o $@ $< $(CURL_LIBS)
$(OUT)/host: spec/support/host.c $(OUT)/failing.so $(OUT)/flags Makefile
	@$(call say,$@) $(COMPILE) -fvisibility=default -rdynamic -o $@ $< \
	  $(OUT)/failing.so -Wl,-rpath,'$$ORIGIN' \
	  -Wl,--whole-archive -l:lib$(LUA_PC).a -Wl,--no-whole-archive $(CURL_LIBS) -lm -ldl
hosted: $(CORE) $(OUT)/host
	@$(call TELL_CURL,$(CURDIR)/$(OUT)/host,$(HOST_ENV))
	@$(call say,$(HOSTED) under $(OUT)/host) $(call RUN,$(CURDIR)/$(OUT)/host,$(HOST_ENV)) $(HOSTED)

valgrind: CUTS ?= boundaries
valgrind: deps-valgrind ## the specs under valgrind, definite leaks included
	@$(MAKE) -s all
	@$(call TELL_CURL,$(LUA))
	@$(call say,$(SPECS) under valgrind) $(call RUN,$(LUA),valgrind -q --leak-check=full --show-leak-kinds=definite \
	  --errors-for-leak-kinds=definite --error-exitcode=99 --trace-children=no --suppressions=spec/support/valgrind.supp) $(TOOL_SPECS)

soak: deps ## 200,000 calls in one process, and what they leave in memory; 100,000 submissions while the server fails
	@$(MAKE) --no-print-directory all
	@$(call RUN,$(LUA)) spec/sweep/soak.lua
	@$(call RUN,$(LUA)) spec/sweep/soak_submit.lua

bench: bench-counts bench-memory ## the counts, memory, and how long what never blocks takes
	@$(call RUN,$(LUA)) spec/bench/latency.lua
bench-counts: deps-bench ## instructions and system calls per call, beside libcurl, with limits
	@$(MAKE) -s all $(OUT)/bare $(OUT)/loop
	@$(call RUN,$(LUA)) spec/bench/poll.lua
	@$(call RUN,$(LUA)) spec/bench/counts.lua $(OUT)/bare $(OUT)/loop
bench-memory: deps-bench ## memory per call in flight, beside libcurl
	@$(MAKE) -s all $(OUT)/loop
	@$(call RUN,$(LUA)) spec/bench/memory.lua $(OUT)/loop
bench-openresty: deps-resty ## calls from inside nginx, beside proxy_pass and cosockets
	@$(MAKE) --no-print-directory all LUA=luajit
	@$(CLEAN_ENV) lua5.4 spec/bench/openresty.lua
$(OUT)/bare $(OUT)/loop: $(OUT)/%: spec/bench/%.c spec/bench/request.h $(OUT)/flags
	@$(call say,$@) $(COMPILE) -o $@ $< $(CURL_LIBS)

# --- fuzzing: each spec/fuzz/*.c is a target; the Lua file of the same name, if there is one, writes its seeds ---
FUZZ_SECONDS ?= 30
FUZZERS      := $(patsubst spec/fuzz/%.c,%,$(wildcard spec/fuzz/*.c))
FUZZ_COMPILE  = clang -std=gnu11 -O1 -g -pthread -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_ENV      = ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=4
# What a target is linked with; that of the parser includes it.
FUZZ_SRC_exchange = $(wildcard csrc/http/*.c csrc/os/*.c) -Wl,--wrap=epoll_wait

$(BUILD)/fuzz/%: spec/fuzz/%.c $(wildcard spec/fuzz/*.h spec/support/*.h csrc/http/* csrc/os/*) Makefile
	@mkdir -p $(@D)
	@$(call say,$@) $(FUZZ_COMPILE) $(WARNINGS) -Icsrc $(CURL_CFLAGS) -o $@ $< $(FUZZ_SRC_$*) $(CURL_LIBS)
$(BUILD)/fuzz/%.seeds: FORCE
	@rm -rf $@ && mkdir -p $@
	@if [ -e spec/fuzz/$*.lua ]; then $(CLEAN_ENV) lua5.4 spec/fuzz/$*.lua $@; fi

fuzz: $(addprefix fuzz-,$(FUZZERS)) ## fuzz what reads a server's bytes, each target for FUZZ_SECONDS (30)
# The seeds whole, and then what may be made of them within 1024 bytes, which are much faster.
fuzz-%: deps-fuzz
	@$(MAKE) -s $(BUILD)/fuzz/$* $(BUILD)/fuzz/$*.seeds
	@mkdir -p $(BUILD)/fuzz/$*.corpus
	@$(call say,fuzz $* for $(FUZZ_SECONDS) s) export $(FUZZ_ENV); { \
	  $(BUILD)/fuzz/$* -runs=0 $(BUILD)/fuzz/$*.seeds && $(BUILD)/fuzz/$* -max_total_time=$(FUZZ_SECONDS) -max_len=1024 \
	    -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/$*.corpus $(BUILD)/fuzz/$*.seeds; } 2>$(BUILD)/fuzz/$*.log || \
	  { tail -n 60 $(BUILD)/fuzz/$*.log; exit 1; }
	@tail -n 1 $(BUILD)/fuzz/$*.log

fuzz-mutants: deps-fuzz ## break each rule of the response parser on purpose, and have the fuzzer find it
	@$(MAKE) -s $(BUILD)/fuzz/response.seeds
	@lua5.4 spec/fuzz/mutants.lua '$(FUZZ_COMPILE) -O0 -g0' $(BUILD)/fuzz/response.seeds

differential: deps ## compare the response parser with libcurl's own HTTP, rule by rule
	@$(CLEAN_ENV) lua5.4 spec/fuzz/differential.lua

reloads: deps-resty ## nginx is told to reload every second for half a minute, under load: no call is lost
	@$(MAKE) -s all
	@$(call say,reloads) RELOADS=30 $(call RUN,$(LUA)) $(BUSTED) --filter='in reloads' spec/resty

# What does not depend on the Lua under test (#tree) is run under one of them.
matrix: deps-matrix ## the specs under each of LUAS, and inside nginx
	@for lua in $(LUAS); do \
	  case $$lua in lua5.4) once=;; *) once=--exclude-tags=tree;; esac; \
	  $(MAKE) -s test LUA=$$lua BUSTED="$(BUSTED) $$once" || exit 1; \
	done
