#!/usr/bin/env bash
# The first minutes on a machine with a GPU: does Retable find it, compute right on it, and use it well?
#
#   benchmarks/first_gpu.sh [FOLDER]      under 20 minutes; logs and results go to FOLDER, default: first_gpu
#
# It needs the environment with Retable and its extra `test`, and neither the network nor pre-trained weights. Each check
# prints PASS or FAIL and the criterion; `benchmarks/first_gpu.py` holds the criteria. The exit code is 1 after a FAIL.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-first_gpu}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" RETABLE_STORAGE="sqlite:///$out/retable.db" RETABLE_HOME="$out/retable"
export NO_ALBUMENTATIONS_UPDATE=1
unset CUDA_VISIBLE_DEVICES
: > "$out/results.txt"

limit=1200 # seconds for everything

within() { # SECONDS COMMAND...: at most so long, and no longer than what is left; 124: the time is over
    local seconds=$(($1 < limit - SECONDS ? $1 : limit - SECONDS))
    shift
    [[ $seconds -gt 0 ]] || return 124
    (cd "$root" && timeout "$seconds" "$@")
}

judge() { # CHECK ARGUMENT...: PASS and FAIL lines
    within 300 python -m benchmarks.first_gpu "$@" 2>> "$out/judge.log" | tee -a "$out/results.txt"
    local code=${PIPESTATUS[0]}
    if [[ $code -gt 1 ]]; then
        echo "FAIL  $1: the check ended with exit code $code (124: the time is over); see judge.log" |
            tee -a "$out/results.txt"
    fi
}

run() { # SECONDS LOG COMMAND...: the exit code is the last line of the log
    local seconds=$1 log=$out/$2 code=0
    shift 2
    within "$seconds" "$@" > "$log" 2>&1 || code=$?
    echo "exit code $code" >> "$log"
}

echo "1. The GPUs, and what torch says about them"
run 60 nvidia-smi.log nvidia-smi
judge devices

echo "2. The tests that need a GPU"
run 240 tests.log python -m pytest -m gpu -n 0 --junitxml "$out/tests.xml" tests
judge tests "$out/tests.xml"

echo "3. A whole search, and one of its trials again"
run 240 search.log search start --study quickstart --trials 6
judge search "$out/search.log"
run 120 replay.log search replay --study quickstart 0
judge replay "$out/replay.log"

echo "4. A GPU that is not there is refused, and the CPU is used where it is asked for"
run 60 refusal.log env CUDA_VISIBLE_DEVICES=99 search start --study quickstart --name refused --trials 1
judge refusal "$out/refusal.log"
run 120 cpu.log search start --study quickstart --name on_cpu --trials 1 --gpus none
judge cpu "$out/cpu.log"

echo "5. Two workers started by hand"
workers=()
for number in 1 2; do
    search worker --study quickstart --stay > "$out/worker-$number.log" 2>&1 &
    workers+=("$!")
done
for _ in $(seq 90); do
    [[ $(grep -l "computes on" "$out"/worker-[12].log | wc -l) -eq 2 ]] && break
    sleep 1
done
kill -TERM "${workers[@]}" 2> /dev/null
wait "${workers[@]}"
judge spread "$out/worker-1.log" "$out/worker-2.log"

echo "6. Numbers, waits, and cuDNN's search"
judge probe

echo "7. The speed of a trial against the bare network"
run 240 speed.log python -m benchmarks.training.throughput --device cuda --size 224 --batches 32 --epochs 3 --rounds 1 \
    --no-hand --backbones resnet50,tf_efficientnet_b0 --json "$out/speed.json"
judge speed "$out/speed.json"

echo "8. Memory, as planned"
run 180 memory.log python -m benchmarks.training.gpu_memory --device cuda --backbone resnet50 --backbone convnext_tiny \
    --batch-size 32 --folds 1,5 --json "$out/memory.json"
judge memory "$out/memory.json"

failed=$(grep -c '^FAIL' "$out/results.txt")
echo "$(grep -c '^PASS' "$out/results.txt") passed, $failed failed; logs in $out"
[[ $failed -eq 0 ]]
