# SPDX-License-Identifier: MIT OR Apache-2.0
# The front door.  `make demo` and `make test` work on a fresh Debian 12 with git and make; they
# install what is missing (as root or with sudo).

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build

.PHONY: all demo test matrix bench install clean readme format

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet product

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo "meson is missing: run tools/setup build" >&2; exit 1; }
	@meson setup $(BUILD) --prefix $(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

# The main job on the bundled server.
demo:
	@tools/setup demo
	@$(MAKE) --no-print-directory all
	@tools/demo

# Every test; ends with one line that counts them.
test:
	@tools/setup test
	@$(MAKE) --no-print-directory all
	@python3 tests/all.py

# The wide matrix of builds, real programs traced, and the long fuzzing run; writes docs/MATRIX.md.
matrix:
	@tools/setup matrix
	@$(MAKE) --no-print-directory all
	@python3 tests/matrix/matrix.py
	@ninja -C $(BUILD) --quiet tests/run/libcount.so tests/run/torture
	@python3 tests/run/variants.py
	@ASYNCMEM_LONG=1 python3 tests/run/test_real_programs.py
	@ASYNCMEM_LONG=1 python3 tests/run/test_harmless_run.py

# Speed and memory as ratios against named peers, in one run.
bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory all
	@python3 bench/bench.py

install: all
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet --no-rebuild

# Makes README's outputs anew from real runs; a test compares them.
readme:
	@$(MAKE) --no-print-directory all
	@python3 tests/docs/readme.py --write

format:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')

clean:
	@rm -rf $(BUILD) build-asan
