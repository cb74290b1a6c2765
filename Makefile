# make demo    set up and analyse a real video, events printed as a subscriber gets them
# make test    set up and run every check
# make bench   the ratios that docs/results.md reports
# make pictures   what motion clips are made of, for: actionstream data make-motions

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0

.PHONY: demo test bench setup footage pictures lint clean

demo: $(VENV)/.ready footage
	$(BIN)/actionstream demo

# Two files of tests at a time, since many only wait; a thread each, since waiting threads of OpenMP spin.
test: $(VENV)/.ready-dev footage deploy/.rtsp-ready lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready-dev footage
	$(BIN)/python -m benchmarks

setup: $(VENV)/.ready-dev footage deploy/.rtsp-ready

footage: $(VENV)/.ready
	@$(BIN)/python deploy/footage.py .footage

pictures: $(VENV)/.ready-dev
	@$(BIN)/python deploy/pictures.py .footage/motions

# torch first and by its exact version: any other way of asking may take a CUDA build of gigabytes.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh deploy/system-packages.sh python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# The tests serve video over RTSP with GStreamer's server, which only Debian's packages carry.
deploy/.rtsp-ready: deploy/system-packages.sh
	sh deploy/system-packages.sh python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
	@touch $@

clean:
	rm -rf $(VENV) .footage deploy/.rtsp-ready
