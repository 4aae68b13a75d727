# Set-up happens once per change of what it is made from: the stamp files remember. Stopped at any moment, it goes on at the
# next call: see setup/environment.py. pip takes further options from its own variables and files (PIP_INDEX_URL, …).

PYTHON ?= $(firstword $(foreach python,python3.12 python3.11 python3,$(shell \
	$(python) -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 \
	&& echo $(python))))
BUNDLE ?= dollhouse
STYLE ?= modern
OUT ?= out
HOST ?= 127.0.0.1
PORT ?= 8000
TRITON_PORT ?= 8001
WORKERS ?= 1
TRITONS ?= 1
APIS ?= 1
DEVICE ?= $(or $(REROOM_DEVICE),auto)
TORCH ?= torch==2.13.0
PROCESSES ?= 2

VENV := .venv/bin/python
SERVER := .venv/.server-installed
TESTS := .venv/.tests-installed
DOCS := .venv/.docs-installed
# .triton has one of two wheels, with a stamp for each. DEVICE=auto takes the environment that is there.
CUDA := $(or $(filter cuda,$(DEVICE)),$(and $(filter auto,$(DEVICE)),$(wildcard .triton/.cuda-installed)))
TRITON := .triton/$(if $(CUDA),.cuda-installed,.installed)
PERF := .perf/.installed
TYPESCRIPT := client-typescript/node_modules/.package-lock.json tests/typescript/node_modules/.package-lock.json
STUDIO := tests/studio/node_modules/.package-lock.json
# The release of a bundle whose file is there, as long as the release is not. Files in releases/ are in the repository, so
# their times mean nothing, and one that is there is never made again.
RELEASE := $(if $(wildcard export/bundles/$(BUNDLE).toml),$(if $(wildcard releases/$(BUNDLE)/live),,releases/$(BUNDLE)/live))
INSTALL = $(need_python) && echo 'installing $(1) …' && $(PYTHON) setup/environment.py

.PHONY: help driver setup demo up test check gate lint docs export dollhouse bench bench-gpu gpu-benches clean .venv .triton \
	.perf typescript studio
.DELETE_ON_ERROR:

help:  ## print this
	@echo 'make demo [PHOTO=room.jpg] [STYLE=modern] [OUT=out]   restyle a photo on a stack of its own, then stop it'
	@echo 'make up [HOST=127.0.0.1] [PORT=8000]                  keep the stack running until Ctrl-C, with so many of'
	@echo '        [WORKERS=1] [TRITONS=1] [APIS=1]              each part; the gRPC of the first Triton listens on'
	@echo '        [TRITON_PORT=8001]                            TRITON_PORT, of the next on the ports after it (0: free ones)'
	@echo '        [DEVICE=auto]                                 cuda: on an NVIDIA GPU, for which both first fetch 2.5 GB'
	@echo '                                                      with BUNDLE=sd15 both first fetch Stable Diffusion 1.5 (8.8 GB)'
	@echo '                                                      and export it, once: see docs/sd15.md'
	@echo 'make setup                                            only install what export and the stack need, torch too'
	@echo 'make test [PROCESSES=2]                               run all but the slow tests, files side by side in so many'
	@echo '                                                      processes, which take up to 3 GB of memory each'
	@echo 'make check                                            lint, types, import arrows, tests'
	@echo 'make gate                                             the slow tests; and compile every fp16 graph with TensorRT for'
	@echo '                                                      T4, A100, A10 and L4, without a GPU, into benchmarks/results'
	@echo 'make docs                                             build the pages as a site, in build/docs/site'
	@echo 'make export BUNDLE=tiny                               make releases/BUNDLE from its weights'
	@echo 'make bench                                            measure speed, into benchmarks/results: about 12 minutes on'
	@echo '                                                      two idle CPU cores'
	@echo 'make bench-gpu [BUNDLE=sd15]                          measure every quality and batch on an NVIDIA GPU, beside'
	@echo '                                                      diffusers; locks nothing: see docs/gpu.md'
	@echo 'make dollhouse [MINUTES=150]                          train the small models anew and publish them: 2.5 hours on'
	@echo '                                                      two CPU cores, about 15 minutes on a GPU; goes on when'
	@echo '                                                      run again'
	@echo 'make clean                                            remove what make made: environments, logs, caches, also'
	@echo '                                                      the checkpoints of the training'
	@echo
	@echo 'Whatever was installing when a call was stopped goes on at the next one.'
	@echo
	@echo 'demo and up serve the small trained models in releases/dollhouse; BUNDLE names another release, or a bundle of which'
	@echo 'one is made first. That, test, gate, export, bench and dollhouse install torch: from the package index as it is, or'
	@echo 'from TORCH_INDEX=URL, such as that of PyTorch for machines without a GPU. PYTHON chooses the interpreter; pip obeys'
	@echo 'PIP_INDEX_URL and its other variables.'

setup: $(TESTS) $(TRITON)

demo: driver $(SERVER) $(TRITON) $(RELEASE)
	@setup/system.sh libseccomp2
	$(VENV) -m stack demo --bundle '$(BUNDLE)' --style '$(STYLE)' --out '$(OUT)' --device '$(DEVICE)' \
		$(if $(PHOTO),--photo '$(PHOTO)')

up: driver $(SERVER) $(TRITON) $(RELEASE)
	@setup/system.sh libseccomp2
	$(VENV) -m stack up --bundle '$(BUNDLE)' --host '$(HOST)' --port '$(PORT)' \
		--triton-port '$(TRITON_PORT)' --workers '$(WORKERS)' --tritons '$(TRITONS)' --apis '$(APIS)' \
		--device '$(DEVICE)'

test: $(TESTS) $(TRITON) $(PERF) typescript studio
	@setup/system.sh redis-server libseccomp2 promtool amtool chromium
	$(VENV) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

check: lint test

lint: $(TESTS)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) client/unasync.py --check
	$(VENV) -m mypy
	PYTHONPATH=model_repository/restyle/1 .venv/bin/lint-imports

gate: $(TESTS)
	$(VENV) -m pytest -m slow
	$(VENV) -m benchmarks.tensorrt_gate

# What the tests need builds the site too; where that is not installed, the site's own few packages are enough.
docs: $(firstword $(wildcard $(TESTS)) $(DOCS))
	$(VENV) docs/site.py

export: $(TESTS)
	$(VENV) -m export '$(BUNDLE)' --repository model_repository

# Nothing of it is removed when it is stopped: the next call goes on.
.PRECIOUS: releases/%/live
releases/%/live: | $(TESTS)
	@echo "there is no releases/$* yet: it is made from export/bundles/$*.toml"
	$(VENV) -m export '$*'

dollhouse: $(TESTS)
	$(VENV) -m dollhouse $(if $(MINUTES),--minutes '$(MINUTES)')

bench: $(TESTS) $(TRITON) $(PERF)
	$(VENV) -m benchmarks.end_to_end
	$(VENV) -m benchmarks.batching
	$(VENV) -m benchmarks.reuse
	$(VENV) -m benchmarks.perf
	$(VENV) -m benchmarks.overhead

# Alone, DEVICE and BUNDLE mean others here, and DEVICE chooses prerequisites when the file is read: hence another make.
bench-gpu:
	@$(MAKE) --no-print-directory gpu-benches DEVICE='$(if $(filter auto,$(DEVICE)),cuda,$(DEVICE))' \
		BUNDLE='$(if $(filter file,$(origin BUNDLE)),sd15,$(BUNDLE))'

gpu-benches: driver $(TESTS) $(TRITON)
	@setup/system.sh libseccomp2
	$(if $(filter cuda,$(DEVICE)),$(VENV) -m benchmarks.device_check)
	$(VENV) -m benchmarks.gpu --device '$(DEVICE)' --bundle '$(BUNDLE)'

clean:
	rm -rf .venv .triton .perf .run build tests/typescript/node_modules tests/studio/node_modules \
		client-typescript/node_modules client-typescript/dist client-typescript/build .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache

.venv: $(SERVER)
.triton: $(TRITON)
# With what the benchmarks themselves need.
.perf: $(PERF) $(TESTS)

# Makes an environment again whose Python has gone, with an upgrade of the system's for example.
FORCE:
gone = $(if $(realpath $(1)),,FORCE)

$(SERVER): pyproject.toml client/pyproject.toml requirements/constraints.txt $(call gone,$(VENV))
	@$(call INSTALL,the server into .venv) .venv --stamp .server-installed --needs $(filter-out FORCE,$^) \
		--pip "-c requirements/constraints.txt -e './client[triton]' -e '.[embedded]'"

# torch comes alone: an index of PyTorch's has its dependencies in other versions, so they come with the rest.
$(TESTS): $(SERVER)
	@$(call INSTALL,torch and what the tests need into .venv) .venv --stamp .server-installed --stamp .tests-installed --needs $^ \
		--pip "--no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)" \
		--pip "-c requirements/constraints.txt -e './client[triton]' -e '.[test]'"

$(DOCS): $(SERVER)
	@$(call INSTALL,what builds the site into .venv) .venv --stamp .server-installed --stamp .docs-installed --needs $^ \
		--pip "-c requirements/constraints.txt -e './client[triton]' -e '.[embedded,docs]'"

# Before gigabytes are fetched for a GPU that is not there.
driver:
	@test '$(DEVICE)' != cuda || $(or $(PYTHON),python3) -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null || { \
		echo 'DEVICE=cuda needs an NVIDIA GPU and its driver, and there is no libcuda.so.1 here: set DEVICE=cpu'; exit 1; }

.triton/.installed: ORT := requirements/onnxruntime.txt
.triton/.installed: NEVER := onnxruntime-gpu
.triton/.installed: requirements/onnxruntime.txt
.triton/.cuda-installed: ORT := requirements/onnxruntime_gpu.txt
.triton/.cuda-installed: NEVER := onnxruntime
.triton/.cuda-installed: requirements/onnxruntime_gpu.txt

$(TRITON): requirements/serving.txt requirements/tritonserver.txt $(call gone,.triton/bin/python)
	@test "$$(uname -sm)" = 'Linux x86_64' || { \
		echo "the embedded Triton runs on Linux x86-64 only, not on $$(uname -sm): use the containers under docker/"; exit 1; }
	@$(call INSTALL,Triton into .triton) .triton --stamp $(notdir $@) --needs $(filter-out FORCE,$^) --never $(NEVER) \
		--pip '-r requirements/serving.txt -r $(ORT)' --pip '--no-deps -r requirements/tritonserver.txt'

$(PERF): requirements/perf_analyzer.txt | $(SERVER)
	@$(call INSTALL,perf_analyzer into .perf) .perf --stamp .installed --needs $^ --target-of $(VENV) \
		--pip '--no-deps -r requirements/perf_analyzer.txt'

typescript:
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo 'there is no node with npm on PATH: the tests of the TypeScript client are skipped'; exit 0; }; \
	$(MAKE) --silent $(TYPESCRIPT) || echo 'what the TypeScript client is made with could not be installed: its tests are skipped'

%/node_modules/.package-lock.json: %/package-lock.json
	@echo 'installing what $* needs of npm …'
	@npm ci --prefix $* --no-audit --no-fund --silent
	@touch $@

studio:
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo 'there is no node with npm on PATH: the tests of the page in a browser are skipped'; exit 0; }; \
	$(MAKE) --silent $(STUDIO) || echo 'playwright-core could not be installed: the tests of the page in a browser are skipped'

define need_python
test -n '$(PYTHON)' || { echo 'reroom needs Python 3.11 or 3.12 with venv, and there is none on PATH: install one \
(Debian: apt install python3-venv) or name it with PYTHON=/path/to/python3.12'; exit 1; }
endef
