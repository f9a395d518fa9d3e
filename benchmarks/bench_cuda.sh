#!/bin/sh
# How many rows at a time are fastest on this machine's CUDA card; writes bench.json and bench.html
# into docs/benchmarks/NAME.
#
#   benchmarks/bench_cuda.sh NAME [options of `rjepa-cli bench`]
#   benchmarks/bench_cuda.sh qwen3-8b-h100
#   benchmarks/bench_cuda.sh qwen3-8b-4090 --model Qwen/Qwen3-8B-AWQ --problems gsm8k.jsonl \
#       --limit 64 --sizes 1,8,16,32,64
#
# Without options Qwen3-8B's architecture is measured with RANDOM WEIGHTS, packed to AWQ 4-bit, on
# the demo's 24 problems; the report says so.
set -eu
name=${1:?give the results a name, such as qwen3-8b-h100}
shift
if [ $# -eq 0 ]; then
    set -- --shape qwen3-8b --awq --problems demo --limit 24 --sizes 1,8,16,24
fi
root=$(cd "$(dirname "$0")/.." && pwd)
exec rjepa-cli bench --device cuda --out "$root/docs/benchmarks/$name" "$@"
