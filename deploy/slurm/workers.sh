#!/usr/bin/env bash
# Workers of Retable on Slurm: each task of the array takes trials from the team's database until its time is over.
#
# With Retable's environment active:
#
#   export RETABLE_DATA=/shared/images RETABLE_HOME=/shared/retable
#   sbatch deploy/slurm/workers.sh                       four workers, one GPU each
#   sbatch --array=1-16%8 deploy/slurm/workers.sh        sixteen, at most eight at a time
#   scancel --batch --signal=USR1 JOBID                  they finish their epoch, hand their trials back and leave
#
# The database URL is read from the file that RETABLE_STORAGE_FILE names, by default ~/.config/retable/storage:
#
#   install -m 600 /dev/null ~/.config/retable/storage   then write postgresql://team:PASSWORD@db.example/retable into it
#
# or from RETABLE_STORAGE where that is set. Never put it on the command line: every user of a node can read those.
#
#SBATCH --job-name=retable
#SBATCH --array=1-4
#SBATCH --ntasks=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
# A warning to this shell alone, 120 seconds before the time is over: --grace below, and time to hand the trial back.
#SBATCH --signal=B:USR1@120
# After a node failure or a preemption, Slurm restarts the task.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=retable-%A_%a.log
set -euo pipefail

if [[ -z "${RETABLE_STORAGE:-}" ]]; then
    file="${RETABLE_STORAGE_FILE:-$HOME/.config/retable/storage}"
    if [[ ! -r "$file" ]]; then
        echo "error: no database: set RETABLE_STORAGE, or write its URL to $file" >&2
        exit 2
    fi
    if [[ "$(stat -L -c %a "$file")" != [0-7]00 ]]; then
        echo "error: others may read $file, which holds a password: chmod 600 $file" >&2
        exit 2
    fi
    RETABLE_STORAGE="$(<"$file")"
fi
export RETABLE_STORAGE
: "${RETABLE_DATA:?is the folder of images}"
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

search worker --stay --grace 60 "$@" &
worker=$!

# The first signal asks the worker to leave, a second one ends it at once. The warning reaches this shell alone, which
# passes it on. At the end of the job, Slurm sends SIGTERM to the worker too, so this shell only waits.
interrupted=
trap 'interrupted=1; kill -TERM "$worker" 2>/dev/null || true' USR1
trap 'interrupted=1' TERM INT

# A trap interrupts `wait`; the next `wait` returns the worker's exit status.
while true; do
    interrupted=
    status=0
    wait "$worker" || status=$?
    [[ -n "$interrupted" ]] || break
done
exit "$status"
