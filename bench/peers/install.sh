#!/usr/bin/env bash
# Installs what the benchmarks compare with (OpenBLAS, from Debian) and builds the comparison
# programs into bench/peers/build. Nothing of it is needed to use or test the package.
set -euo pipefail
cd "$(dirname "$0")"

has_openblas() {
  echo '#include <cblas.h>
int main(void) { return openblas_get_num_threads() < 1; }' |
    cc -x c - -o /dev/null -lopenblas 2>/dev/null
}

if ! command -v cc >/dev/null || ! has_openblas; then
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo 'OpenBLAS or a C compiler is missing. As root: apt-get install gcc libc6-dev libopenblas-dev' >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    gcc libc6-dev libopenblas-dev
fi

mkdir -p build
cc -O2 -Wall -Wextra -Werror sgemm.c -o build/sgemm -lopenblas
echo 'bench/peers/build/sgemm is ready'
