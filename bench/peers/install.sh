#!/usr/bin/env bash
# Installs what the benchmarks compare with, and builds the comparison programs into
# bench/peers/build: OpenBLAS, PyTorch and Faiss from Debian, tfjs from npm. Nothing of it is needed
# to use or test the package. A peer that cannot be installed is named and left out; its columns
# show "–".
set -uo pipefail
cd "$(dirname "$0")"
python=/usr/bin/python3 # Debian's: its packages are not seen by another Python on the PATH

has_openblas() {
  command -v cc >/dev/null && command -v c++ >/dev/null &&
    echo '#include <cblas.h>
int main(void) { return openblas_get_num_threads() < 1; }' |
    cc -x c - -o /dev/null -lopenblas 2>/dev/null
}
has_torch() { "$python" -c 'import numpy, torch' 2>/dev/null; }
has_faiss() { "$python" -c 'import numpy, faiss' 2>/dev/null; }

updated=false
# require TEST PACKAGE…: installs the packages unless the test passes already.
require() {
  local check=$1
  shift
  "$check" && return
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "left out; as root: apt-get install $*" >&2
    return 1
  fi
  "$updated" || apt-get update -qq
  updated=true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null &&
    "$check" && return
  echo "left out: $* cannot be installed" >&2
  return 1
}

if require has_openblas gcc g++ libc6-dev libopenblas-dev; then
  mkdir -p build
  warnings='-Wall -Wextra -Werror'
  cc -O2 $warnings sgemm.c -o build/sgemm -lopenblas &&
    c++ -O3 -march=native -std=c++17 $warnings top_k.cc -o build/top_k -lopenblas -pthread &&
    cc -O2 -march=native $warnings machine.c -o build/machine -lopenblas -pthread &&
    echo 'bench/peers/build: sgemm, top_k and machine are ready'
fi
require has_torch python3-torch python3-numpy && echo 'PyTorch is ready'
require has_faiss python3-faiss python3-numpy && echo 'Faiss is ready'
# No script of a package has to run: both backends are JavaScript and WebAssembly.
if (cd .. && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --silent); then
  echo 'tfjs is ready'
else
  echo 'left out: tfjs cannot be installed from npm' >&2
fi
