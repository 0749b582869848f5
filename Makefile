# make setup   a virtual environment with the package
# make demo    sets up, then exports the bundled checkpoint, verifies it and draws samples
# make test    sets up, then runs every check
# make test-quick    sets up, then lint, types and the tests that neither export, compile nor start a server
# make test-gpu      the tests and figures that need an NVIDIA GPU, in an environment of their own
# make gpu-bundle    what a GPU machine without a network lacks, in pieces (docs/gpu-machine.md)
# make test-native   the native library's tests alone, with address and undefined-behaviour sanitizers

PYTHON ?= python3
VENV   ?= .venv
EXTRA  ?= dev
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Where the wheels of PyTorch's CPU build are not in the default index, for example:
#   make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# What the native library is built from.
NATIVE := CMakeLists.txt $(wildcard kernels/*.cc kernels/*/*.h kernels/*/*.cc kernels/*/*.map)
# What fetches Triton Inference Server, perf_analyzer, what checks deploy/, and a browser with what the page runs on.
FETCH  := $(addprefix ddgan_deploy/serving/,fetch/__main__.py fetch/debian.py fetch/wheels.py installed.py) \
    $(addprefix tools/,fetch_checkers.py npm_packages.py fetch_onnxruntime_web.py fetch_browser.py)
# An editable install knows packages by their places.
ROOMS  := $(shell find ddgan_deploy export kernels -name __init__.py)
SANITIZED := build/sanitize
# Of gpu-bundle; more packages as EXTRA_WHEELS="name==version ...".
PYTHON_VERSION := 3.12
PIECES_MB      := 48
OUT            := dist/gpu-bundle
EXTRA_WHEELS   :=
# The tests start hundreds of Pythons: each would compile our sources anew where the environment forbids to keep that.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test test-quick lint types unit quick test-native test-gpu gpu gpu-bundle clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/make_venv.sh tools/fetch_onnxruntime_headers.sh \
    $(NATIVE) $(FETCH) $(ROOMS)
	sh tools/make_venv.sh "$(PYTHON)" "$(VENV)"
	$(PIP) install --quiet $(PIP_FLAGS) -c constraints.txt scikit-build-core cmake ninja setuptools wheel
	sh tools/fetch_onnxruntime_headers.sh $(BIN)/python
	$(PIP) install --quiet $(PIP_FLAGS) -c constraints.txt --no-build-isolation -e '.[$(EXTRA)]'
	@$(BIN)/python -c "from ddgan_deploy.kernels.native_library import ort_library as library; \
	    print('native library:', library() or 'not built, ONNX Runtime runs the ops by their function bodies')"
	$(BIN)/python -m ddgan_deploy.serving.fetch -- $(PIP_FLAGS)
	$(BIN)/python tools/fetch_checkers.py $(PIP_FLAGS)
	$(BIN)/python tools/fetch_onnxruntime_web.py
	$(BIN)/python tools/fetch_browser.py $(PIP_FLAGS)
	@touch $@

demo: setup
	$(BIN)/ddgan-export --demo --out demo/digits --overwrite
	$(BIN)/ddgan-verify demo/digits --demo
	$(BIN)/ddgan-sample demo/digits --seeds 0-63 --out demo/digits.png --overwrite
	@echo "see demo/digits.png and demo/digits/report.html"

test: lint types unit test-native

test-quick: lint types quick

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# Each worker with one of PyTorch's threads: with more they wait for each other. Two workers more than the cores of the
# smallest machine, for the time that tests wait for a server.
unit: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder --durations=40

# What is left out tests/quick.py says.
quick: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder --quick

# ASan sees an overrun only in memory that it handed out, so Python itself has to run under it; and
# it looks for the C++ runtime's functions before Python has loaded any C++.
test-native: setup
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" \
	    -DDDGAN_SANITIZE=address,undefined --log-level=NOTICE >/dev/null
	$(BIN)/cmake --build $(SANITIZED)
	@if [ -f $(SANITIZED)/libddgan_onnxruntime.so ]; then \
	    LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" \
	    ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 DDGAN_ORT_LIBRARY=$(SANITIZED)/libddgan_onnxruntime.so \
	    $(BIN)/python -m pytest -q -p no:cacheprovider -n 2 tests/kernels -k native; \
	else echo "test-native: nothing to test, the native library cannot be built here (see make setup)"; fi

# Another environment: ONNX Runtime's builds for CPU and GPU are one Python package.
test-gpu:
	$(MAKE) VENV=.venv-gpu EXTRA=dev-gpu gpu

gpu: setup
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python benchmarks/gpu_kernels.py

gpu-bundle: setup
	$(BIN)/python tools/gpu_bundle.py --python-version "$(PYTHON_VERSION)" --pieces-mb "$(PIECES_MB)" --out "$(OUT)" \
	    --pip-flags="$(PIP_FLAGS)" --extra $(EXTRA_WHEELS)

clean:
	rm -rf $(VENV) .venv-gpu build dist demo
