#!/usr/bin/env bash
# A build on a Ray cluster inside one Slurm job. Submit it in a checkout on a file system that all nodes share; options go
# to `spatialdata build`, and OUT is a folder on that file system or a URL:
#   sbatch --nodes=4 --gpus-per-node=8 examples/slurm.sh --config examples/cluster.yaml --out /shared/out \
#       --set engine.shared_fs=true
# Submit the same command again after a stop or a time limit: the build resumes.
#SBATCH --job-name=spatialdata
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail

export PATH="$PWD/.venv/bin:$PATH"
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="${nodes[0]}:$((20000 + SLURM_JOB_ID % 10000))"

# Whoever has the token may use the cluster: one for each job.
RAY_AUTH_TOKEN="$(python -c 'import secrets; print(secrets.token_hex(32))')"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

# A step gets one core unless it asks for more; --overlap leaves the first node to the build, too.
step=(srun --overlap --cpus-per-task="$SLURM_CPUS_ON_NODE")
ray=(ray start --disable-usage-stats --num-cpus="$SLURM_CPUS_ON_NODE" --block)
trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT

"${step[@]}" --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
    "${ray[@]}" --head --port="${address#*:}" --include-dashboard=false --temp-dir="/tmp/ray-$SLURM_JOB_ID" &
head=$!
others=$((${#nodes[@]} - 1))
if ((others > 0)); then
    "${step[@]}" --nodes="$others" --ntasks="$others" --exclude="${nodes[0]}" "${ray[@]}" --address="$address" &
fi

# The build sizes its pools of workers when it starts, so all nodes must have joined.
export RAY_ADDRESS="$address"
joined='import ray, sys; ray.init(log_to_driver=False); sys.exit(len(ray.nodes()) < int(sys.argv[1]))'
until python -c "$joined" "${#nodes[@]}" &> /dev/null; do
    kill -0 "$head" || { echo "Ray's head on ${nodes[0]} has ended" >&2; exit 1; }
    ((SECONDS < 600)) || { echo "not all of ${#nodes[@]} nodes have joined Ray in 10 minutes" >&2; exit 1; }
    sleep 2
done
python pipeline/build.py "$@"
