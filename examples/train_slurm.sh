#!/usr/bin/env bash
# A training run on one or several nodes in one Slurm job, with one task per GPU. Submit it in a checkout on a file
# system that all nodes share; options go to `spatialdata train`, and the folder of the run is on that file system:
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=8 examples/train_slurm.sh spatialdiff \
#       --config examples/train/spatialdiff.yaml --shards /shared/set/shards/spatialdiff --out /shared/runs/one
# Five minutes before the time limit the run saves a checkpoint and ends, and the job is queued again: it resumes.
#SBATCH --job-name=train
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

export PATH="$PWD/.venv/bin:$PATH"
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR="${nodes[0]}" MASTER_PORT="$((20000 + SLURM_JOB_ID % 10000))"
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun does not read what sbatch got

# srun passes signals on to every task; torchrun would wait 30 seconds and then kill them.
# shellcheck disable=SC2016  # the variables are those of each task
srun --kill-on-bad-exit=1 bash -c \
    'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS exec python -m spatialdata_builder.training.cli "$@"' \
    train "$@" &
step=$!

warned="" signaled=""
trap 'warned=1 signaled=1; kill -USR1 "$step" 2> /dev/null || true' USR1
trap 'signaled=1; kill -TERM "$step" 2> /dev/null || true' TERM
while true; do
    code=0
    wait "$step" || code=$?
    [[ $signaled ]] || break
    signaled="" # a signal ends `wait`, but not the run
done
# The run ends with 0 after USR1, finished or not. A finished one ends again at once.
if [[ $warned && $code == 0 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
