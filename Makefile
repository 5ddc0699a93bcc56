# `make` alone says what there is to make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-test demo-bridge test contract check bench build clean-leftovers

export CC_CI_HOME ?= /var/lib/cc-ci
export PATH := $(CC_CI_HOME)/tools/bin:$(PATH)

CC_CI := target/debug/cc-ci
EXAMPLE := custom-html
GITEA ?= 1.26.0 1.27.3

help: ## this list
	@echo "cc-ci: tests Co-op Cloud recipes for real, on Docker Swarm"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 18

setup: ## make this machine ready: engine, swarm mode, registry, tools, example images and recipes
	@scripts/setup all

build: ## build cc-ci (debug)
	cargo build --locked --package cc-ci

demo: demo-test demo-bridge ## the whole story: demo-test, then demo-bridge

demo-test: setup build ## test the example recipe through all five stages and show table and evidence
	$(CC_CI) test $(CC_CI_HOME)/recipes/$(EXAMPLE) --tests tests-repo

demo-bridge: setup build ## a forge, cc-ci serve, a pull request, and what becomes of three comments (KEEP=1 leaves it running)
	scripts/demo-bridge

test: setup ## every test, those on real Docker Swarm included
	cargo test --locked --workspace

contract: ## the forge contract and the whole !testme story on real Giteas, built from source (minutes, the first time; GITEA="1.27.3" for one)
	for version in $(GITEA); do \
	  scripts/real-gitea run --version "$$version" -- cargo test --locked --package cc-ci --test forge_contract --test bridge_scenarios real_forge -- --nocapture; \
	done

check: ## formatting, lints and the tests that need no Docker
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --lib --bins
	@if command -v shellcheck >/dev/null; then shellcheck -x -P scripts scripts/{setup,images,recipes,private-engine,clean-leftovers,demo-bridge,real-gitea} bench/{floor,run,load} .ci/run; \
	else echo "shellcheck is not installed: the scripts were not checked"; fi

bench: setup ## release builds measured: cc-ci against the floor, two lanes against one; the server under load (ROUNDS=3, LOAD=--quick)
	PROFILE=release bench/run --rounds $(or $(ROUNDS),3)
	bench/load $(LOAD)

clean-leftovers: ## remove what interrupted runs of tests and of the bench left in the engine
	@scripts/clean-leftovers
