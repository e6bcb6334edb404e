# The short way in; CMake does the work. `make help` lists the targets.
PREFIX  ?= /usr/local
FUZZ_S  ?= 60
JOBS    ?= $(shell nproc)
release := build/release
ccache  := $(if $(shell command -v ccache),-DCMAKE_C_COMPILER_LAUNCHER=ccache)
configure = cmake -S . -G Ninja $(ccache) -DCMAKE_INSTALL_PREFIX=$(PREFIX)

.PHONY: all
all:            ## build the library and the tool in build/release
	@mkdir -p build
	@$(configure) -B $(release) -DLODE_TESTS=OFF > $(release).log 2>&1 || { cat $(release).log; echo 'make deps installs what is missing'; exit 1; }
	@ninja -C $(release) -j$(JOBS)

.PHONY: deps
deps:           ## install the Debian packages that are missing
	@scripts/deps.sh

.PHONY: venv
venv: deps      ## Python of our own, with the lode package in it, in build/venv
	@scripts/venv.sh

.PHONY: demo
demo: deps      ## train, publish, find, load, update and roll back a real model
	@$(MAKE) --no-print-directory all venv
	@PATH="$(CURDIR)/$(release):$(CURDIR)/build/venv/bin:$$PATH" examples/demo.sh

.PHONY: test
test: deps      ## all tests, under the sanitizers too; ends with the counts
	@python3 tests/run.py

.PHONY: test-long
test-long: deps ## the same with the long kill, fault and race runs
	@LODE_TEST_LONG=1 python3 tests/run.py

.PHONY: test-teeth
test-teeth: deps ## switch each planted bug on and see that a test catches it
	@python3 tests/teeth/run.py

.PHONY: test-fresh
test-fresh:     ## make demo and make test in fresh Debian 12 and Ubuntu 24.04 chroots (root)
	@scripts/test-fresh.sh

.PHONY: check-style
check-style:    ## room order, lengths, banned calls, exports, formatting, clang-tidy
	@python3 tests/run.py --only style

.PHONY: format
format:         ## lay the C code out as .clang-format says
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

.PHONY: install
install: all    ## install below $(DESTDIR)$(PREFIX)
	@DESTDIR="$(DESTDIR)" cmake --install $(release) | tail -n 20

.PHONY: bench
bench: all      ## measure beside the peers and print the tables
	@scripts/bench.sh

.PHONY: fuzz
fuzz:           ## run each fuzz target for FUZZ_S seconds
	@scripts/deps.sh fuzz
	@scripts/fuzz.sh $(FUZZ_S)

.PHONY: clean
clean:          ## remove build/
	@rm -rf build

.PHONY: help
help:           ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
