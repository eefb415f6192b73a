# make demo and make test need Rust (https://rustup.rs) and install the rest themselves; see README.md.

# Where rustup puts cargo: a shell that was open before rustup ran does not know it.
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
PROGRAM := target/release/facecascade

# Where the demo's results go, what it runs on, and further options: make demo OPTIONS="--cascade mine.toml"
OUT := out
CLIP := assets/two-faces-tilting.mp4
PICTURES := assets/astronaut.jpg assets/grace_hopper.jpg
STAGES_OF := assets/grace_hopper.jpg
OPTIONS :=

# The parts that the demo runs. Cameras, GPUs and training take two thirds of a build, so they are left out.
DEMO := --no-default-features --features cli,window

# What building needs (libclang for the camera's bindings), and what windows are opened with.
COMPILER := cc:build-essential
BUILD := $(COMPILER) libclang:libclang-dev
WINDOW := libX11.so.6:libx11-6 libX11-xcb.so.1:libx11-xcb1 libXcursor.so.1:libxcursor1

# A browser that nobody sees, to test the monitor's page with.
BROWSER := chromium:chromium chromedriver:chromium-driver

# A GPU in software, to test the shaders on: Vulkan's loader and lavapipe.
VULKAN := libvulkan.so.1:libvulkan1 lavapipe:mesa-vulkan-drivers

# A folder with other detectors to measure in the same minute (its peers.py runs them), and a Python that has their
# requirements: make bench PEERS=DIR PEERS_PYTHON=DIR/bin/python (make hands both to what it runs)
PEERS ?=
PEERS_PYTHON ?= python3
CHECK_PEERS = [ -f "$(PEERS)/peers.py" ] || { echo "PEERS=DIR must name a folder with peers.py, evaluate.py and requirements.txt." >&2; exit 1; }; \
	$(PEERS_PYTHON) -c "import cv2, numpy, onnxruntime" 2>/dev/null || { echo "$(PEERS_PYTHON) lacks $(PEERS)/requirements.txt: \
	python3 -m venv DIR && DIR/bin/pip install -r $(PEERS)/requirements.txt, then PEERS_PYTHON=DIR/bin/python." >&2; exit 1; }

# For make compare: the data (docs/training.md), and settings of our cascades: COMPARE_CASCADES="models/base.toml mine.toml".
# tools/compare.py names the other COMPARE_ variables.
DATA ?= ../shared/data
COMPARE_CASCADES ?= models/fast.toml models/base.toml models/sure.toml
export COMPARE_CASCADES

# For make experiments: where its training runs go, and more options: EXPERIMENT_OPTIONS="--quick" or "--steps 0.1".
EXPERIMENTS := $(wildcard experiments/*.toml)
EXPERIMENT_RUNS := runs/experiments
EXPERIMENT_OPTIONS :=

.PHONY: help demo test check check-cuda fmt live bench compare experiments soak rust lints
.NOTPARALLEL:

help:
	@echo "make demo    build what it runs, and find faces in a clip and in pictures: results in $(OUT)/"
	@echo "make test    formatting, lints, documentation, the library alone, all tests"
	@echo "make check   the same without the tests"
	@echo "make check-cuda  build with --features cuda, without a GPU or a CUDA toolkit (Linux on x86-64; long)"
	@echo "make fmt     format the sources"
	@echo "make bench   how fast the nets and the whole cascade are, on one thread"
	@echo "make compare DATA=DIR PEERS=DIR PEERS_PYTHON=PYTHON   accuracy against time, ours and other detectors': $(OUT)/compare/"
	@echo "make experiments DATA=DIR   repeat the article's experiments, which takes hours: docs/experiments.md"
	@echo "make soak    ten minutes live: memory, threads and open files must not grow"
	@echo "make live    build all, and show the camera in a window, with boxes (OPTIONS=\"--source synthetic\": without a camera)"

demo: rust
	@tools/packages.sh $(COMPILER) ffmpeg:ffmpeg
	$(CARGO) build --release --locked $(DEMO)
	@mkdir -p $(OUT)
	$(PROGRAM) video $(CLIP) -o $(OUT)/faces.mp4 --json $(OUT)/faces.jsonl $(OPTIONS) > $(OUT)/video.txt
	@cat $(OUT)/video.txt
	$(PROGRAM) video $(CLIP) -o $(OUT)/redacted.mp4 --redact blur $(OPTIONS) > /dev/null
	$(PROGRAM) detect $(PICTURES) --out $(OUT) $(OPTIONS)
	$(PROGRAM) inspect $(STAGES_OF) -o $(OUT)/stages.png $(OPTIONS)
	$(PROGRAM) live --source synthetic --headless --seconds 5 --record $(OUT)/live.mp4 $(OPTIONS) > $(OUT)/live.txt
	@cat $(OUT)/live.txt
	$(PROGRAM) bench --headless --seconds 5 --plot $(OUT)/latency.png $(OPTIONS) > $(OUT)/latency.txt
	@cat $(OUT)/latency.txt
	@echo
	@echo "Look at:"
	@say() { printf '  %-22s %s\n' "$$1" "$$2"; }; \
	say $(OUT)/faces.mp4 "the clip with boxes round its faces"; \
	say $(OUT)/redacted.mp4 "the same clip, faces covered"; \
	say $(OUT)/faces.jsonl "its faces as records, a line a frame"; \
	say $(OUT)/video.txt "how long each of its frames took"; \
	for picture in $(PICTURES); do say $(OUT)/$${picture##*/} "a picture with boxes"; done; \
	say $(OUT)/stages.png "what each stage of the cascade let through"; \
	say $(OUT)/live.mp4 "the synthetic camera, live; make live shows it in a window"; \
	say $(OUT)/live.txt "how old its frames were, second by second"; \
	say $(OUT)/latency.txt "from capture to being shown, stage by stage (the table above)"; \
	say $(OUT)/latency.png "the same as a picture"

# Tests run kill, which every shell has; pgrep stands here for the package that has both.
test: check
	@tools/packages.sh ffmpeg:ffmpeg pgrep:procps Xvfb:xvfb import:imagemagick exiftool:libimage-exiftool-perl xdotool:xdotool $(WINDOW) $(VULKAN) $(BROWSER)
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; $(CARGO) nextest run --release --locked --no-fail-fast; \
	else set -x; $(CARGO) test --release --locked --no-fail-fast --lib --bins --tests; fi
	$(CARGO) test --release --locked --doc

# Clippy and rustdoc share one build of the dependencies, tests and program another.
check: lints
	@tools/packages.sh $(BUILD)
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps
	$(CARGO) check --release --locked --no-default-features
	$(CARGO) check --release --locked $(DEMO)

check-cuda: rust
	@CARGO="$(CARGO)" tools/check_cuda.sh

fmt: lints
	$(CARGO) fmt

bench: rust
	@[ -z "$(PEERS)" ] || { $(CHECK_PEERS); }
	@tools/packages.sh $(BUILD)
	$(CARGO) bench --locked --bench nets
	$(CARGO) bench --locked --bench frame
	$(CARGO) bench --locked --bench pyramid
	@if [ -n "$(PEERS)" ]; then $(PEERS_PYTHON) tools/bench_peers.py $(PEERS); \
	else echo "Not compared with other detectors: PEERS=DIR names a folder with peers.py."; fi

# The bench runs no measurement: it writes its scenes first.
compare: rust
	@$(CHECK_PEERS)
	@tools/packages.sh $(BUILD)
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --bench frame -- no-measurement
	$(PEERS_PYTHON) tools/compare.py $(DATA) $(PEERS)

# An experiment that was interrupted goes on; what is done is not repeated.
experiments: rust
	@tools/packages.sh $(BUILD)
	$(CARGO) build --release --locked
	$(PROGRAM) experiment $(EXPERIMENTS) --data $(DATA) --runs $(EXPERIMENT_RUNS) --drawn $(OUT)/experiments $(EXPERIMENT_OPTIONS)
ifeq (,$(findstring --quick,$(EXPERIMENT_OPTIONS)))
	$(PROGRAM) inspect $(STAGES_OF) --cascade "$$(ls -t $(EXPERIMENT_RUNS)/article-*/cascade.toml | head -1)" -o $(OUT)/experiments/cascade.png
	tools/figures.py experiments $(OUT)/experiments
endif

soak: rust
	@tools/packages.sh $(BUILD)
	$(CARGO) test --release --locked --test bench -- --ignored --nocapture

live: rust
	@tools/packages.sh $(BUILD) ffmpeg:ffmpeg $(WINDOW)
	$(CARGO) build --release --locked
	$(PROGRAM) live $(OPTIONS)

rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }

lints: rust
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 \
	|| rustup component add rustfmt clippy \
	|| echo "rustfmt or clippy is missing: make test needs both." >&2
