#!/usr/bin/env bash
# What every node runs, once, whatever starts it: slurm.sbatch, ray_job.py, jobset.yaml.
#
#   NODES=2 GPUS_PER_NODE=8 NODE_RANK=0 MASTER_ADDR=node0 MASTER_PORT=29500 RUN_ID=1 examples/cluster/node.sh sbr grpo RECIPE
#
# torchrun starts one process a GPU.  When one of them ends, all are started again, MAX_RESTARTS times at most, and go on
# from the newest checkpoint.  On SIGTERM it waits STOP_SECONDS for the step under way and its checkpoint.
# LOCAL_ADDR, if set, is how other nodes reach this one, where its host name cannot be resolved.
set -euo pipefail

: "${NODES:?number of nodes}" "${GPUS_PER_NODE:?processes of each}" "${MASTER_ADDR:?host or address of node 0}"
: "${MASTER_PORT:?a free port there}" "${RUN_ID:?the same on all nodes}"
NODE_RANK=${NODE_RANK:-${SLURM_NODEID:?0 to NODES - 1}}
if [ "$NODE_RANK" = 0 ]; then is_host=true; else is_host=false; fi

# Otherwise torchrun keeps one store of addresses for all attempts, and processes that are started again may wait for
# those that have ended.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

exec torchrun \
    --nnodes "$NODES" --nproc-per-node "$GPUS_PER_NODE" ${LOCAL_ADDR:+--local-addr "$LOCAL_ADDR"} \
    --rdzv-backend c10d --rdzv-id "$RUN_ID" --rdzv-endpoint "$MASTER_ADDR:$MASTER_PORT" --rdzv-conf "is_host=$is_host" \
    --max-restarts "${MAX_RESTARTS:-3}" --shutdown-timeout "${STOP_SECONDS:-600}" \
    -m -- "$@"
