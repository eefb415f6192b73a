#!/bin/sh
# Builds everything with --features cuda on a machine without a GPU and without a CUDA toolkit, and runs the tests that need
# neither. NVIDIA's compiler and headers come from PyPI, into target/cuda-toolkit; libraries that only the driver and a full
# toolkit have are replaced by stubs that answer "no device" to every call. The build goes to target/cuda. Nothing is fetched a
# second time. The result is for checking only: on a machine with a GPU, build with that machine's own toolkit.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
TOOLKIT=$PWD/target/cuda-toolkit
# One release of the toolkit: its parts must fit each other, and cudarc must know it.
WHEELS="nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
# Names and versions of the libraries that programs load, and the module of cudarc that declares their functions.
STUBS="cuda:1:driver nvrtc:13:nvrtc cublas:13:cublas cublasLt:13:cublaslt curand:10:curand"

step() { echo "check-cuda: $*" >&2; }
fail() {
    step "$*"
    exit 1
}

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) ;;
*) fail "NVIDIA's wheels are used as on Linux on x86-64 only; elsewhere install the CUDA toolkit and build with --features cuda" ;;
esac

# The toolkit. A file that is written last names what the toolkit holds.
if [ "$(cat "$TOOLKIT/contents" 2>/dev/null)" != "$WHEELS" ]; then
    tools/packages.sh cc:build-essential python3:python3
    python3 -c "import ensurepip, venv" 2>/dev/null || tools/packages.sh venv-for-python:python3-venv
    step "fetching nvcc and headers from PyPI into $TOOLKIT (300 MB)"
    rm -rf "$TOOLKIT"
    python3 -m venv "$TOOLKIT" || fail "Python can't make an environment: install python3-venv"
    # shellcheck disable=SC2086  # a list
    "$TOOLKIT/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps $WHEELS \
        || fail "pip could not fetch $WHEELS: the first run needs PyPI"
    echo "$WHEELS" >"$TOOLKIT/contents"
fi
CUDA_HOME=
for home in "$TOOLKIT"/lib/python3*/site-packages/nvidia/cu13; do
    CUDA_HOME=$home
done
[ -x "$CUDA_HOME/bin/nvcc" ] || fail "the wheels hold no nvcc where it was expected: $CUDA_HOME/bin/nvcc"

# Stubs. CUDA_ERROR_NO_DEVICE is 100; since no device opens, only the driver is ever called.
platform=x86_64-unknown-linux-gnu
$CARGO fetch --locked --quiet --target $platform || step "offline: going on with the crates that are here"
cudarc=$($CARGO metadata --locked --offline --format-version 1 --features cuda --filter-platform $platform | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "cudarc"))') \
    || fail "cargo does not name cudarc among the crates of --features cuda"
for stub in $STUBS; do
    name=${stub%%:*} version=${stub#*:}
    part=${version#*:} version=${version%%:*}
    library=$CUDA_HOME/lib/lib$name.so.$version
    if ! [ -e "$library" ]; then
        grep -hoE '\bfn (cu|nvrtc)[A-Za-z0-9_]*' "$cudarc/src/$part/sys/mod.rs" | sort -u \
            | sed 's/^fn \(.*\)/int \1(void) { return 100; }/' >"$TOOLKIT/$name.c"
        [ -s "$TOOLKIT/$name.c" ] || fail "$cudarc declares no functions of lib$name"
        cc -shared -fPIC -w -fno-builtin -Wl,-soname,"lib$name.so.$version" -o "$library.partial" "$TOOLKIT/$name.c"
        mv "$library.partial" "$library"
    fi
    ln -sf "lib$name.so.$version" "$CUDA_HOME/lib/lib$name.so"
done
ln -sf libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"

export CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
export CUDAFORGE_THREADS="${CUDAFORGE_THREADS:-$(nproc)}"
export CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-86}" CARGO_TARGET_DIR="${CUDA_TARGET_DIR:-target/cuda}"
tools/packages.sh libclang:libclang-dev
step "building with --features cuda into $CARGO_TARGET_DIR; candle's kernels alone take ten minutes the first time"
nice -n 15 "$CARGO" build --release --locked --features cuda
nice -n 15 "$CARGO" test --release --locked --features cuda --no-run --lib --test cuda

# With the stubs beside it the program starts, and finds no device.
export LD_LIBRARY_PATH="$CUDA_HOME/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
step "tests that need no GPU; those of tests/cuda.rs say that they are skipped"
nice -n 5 "$CARGO" test --release --locked --features cuda --lib -- nets:: cascade:: pipeline::
nice -n 5 "$CARGO" test --release --locked --features cuda --test cuda -- --nocapture
step "the CUDA build compiles and links, and without a GPU it does what it should"
