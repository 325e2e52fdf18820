# A thin front: CMake builds (CMakePresets.json), CTest tests, tools/ does the rest.
# PRESET chooses the build: release, debug, asan, tsan, fuzz. JOBS how many run at once.
JOBS ?= 2
PREFIX ?= /usr/local
PRESET ?=
build_preset = $(or $(PRESET),release)
export CTEST_OUTPUT_ON_FAILURE = 1

.DEFAULT_GOAL := build
.PHONY: help setup build product demo demo-train test test-quick nightly test-aarch64 bench lint format fuzz docs install clean

help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

setup: ## install what is missing (Debian; root or sudo)
	@tools/setup.sh

build: ## compile the library, the program and their tests into build/release
	@tools/setup.sh build
	@tools/build.sh $(build_preset) $(JOBS)

product:
	@tools/setup.sh build
	@tools/build.sh $(build_preset) $(JOBS) product

demo: product ## see a network run, from nothing
	@tools/demo.sh build/$(build_preset)/spry

demo-train: product ## train that network from nothing, in minutes, on pictures of this repository
	@tools/demo-train.sh build/$(build_preset)/spry

test: ## every test: release, then address and thread sanitizers (PRESET=... for one only)
	@tools/setup.sh build test
	@tools/test.sh $(JOBS) $(or $(PRESET),release asan tsan)

test-quick: ## the release tests only
	@tools/setup.sh build
	@tools/test.sh $(JOBS) release

nightly: ## random cases of the integer kernels, a million per family (CASES=N)
	@tools/setup.sh build
	@SPRY_TEST_CASES=$(or $(CASES),1000000) tools/test.sh $(JOBS) $(build_preset) -- -L '^cases$$'

test-aarch64: ## build for 64-bit Arm and test the kernels under emulation
	@tools/setup.sh build aarch64
	@tools/test.sh $(JOBS) aarch64

bench: ## measure all that is promised about speed (QUICK=1, ROWS="f32 gemm", MARKDOWN=FILE)
	@tools/bench.sh $(JOBS) $(if $(QUICK),--quick) $(if $(MARKDOWN),--markdown $(MARKDOWN)) $(ROWS)

lint: ## format, lengths, complexity, banned calls, layers, headers, spelling
	@tools/setup.sh build lint
	@tools/lint/run

format: ## rewrite the sources in the house style
	@tools/setup.sh lint
	@tools/lint/format.sh --fix

fuzz: ## run each fuzz target for SECONDS (default 60)
	@tools/setup.sh build test
	@tools/fuzz.sh $(or $(SECONDS),60) $(JOBS)

docs: ## the reference as HTML in build/docs
	@tools/setup.sh docs
	@tools/docs.sh

install: product ## install below PREFIX (default /usr/local)
	@cmake --install build/$(build_preset) --prefix $(PREFIX)

clean: ## remove everything that was built
	rm -rf build
