#!/bin/sh
# From nothing to a trained, compared and exported fusion agent, on the simulated demo data set.
#
#   sh FUSION_QUICK_START.sh [OUT]
#
# OUT (default quick_start) is a new folder for comparison, scores and export; everything else goes
# to the workspace (CANFUSION_WORKSPACE, default workspace/). SETTINGS may hold changes of settings
# that all steps share, such as "data.detector.gat.epochs=4 data.detector.vgae.epochs=4".
set -eu

cd "$(dirname "$0")"
python=${PYTHON:-.venv/bin/python}
out=${1:-quick_start}
settings=${SETTINGS:-}
workspace=${CANFUSION_WORKSPACE:-workspace}

if [ -e "$out" ]; then
    echo "error: $out exists already; expected a new folder" >&2
    exit 2
fi
set_options=""
for setting in $settings; do
    set_options="$set_options --set $setting"
done

echo "== 1. Train: data set, detectors and prediction cache are made where they are missing"
# shellcheck disable=SC2086  # The settings are several words.
$python train_fusion_lightning.py --dataset demo --max-epochs 20 $settings

echo "== 2. Go on from the last checkpoint, and keep a profile of where the time goes"
$python train_fusion_lightning.py --dataset demo --max-epochs 25 training.profile=true \
    --resume-from "$workspace/saved_models/fusion_checkpoints/demo/last.ckpt" $settings

echo "== 3. A preset, as a sweep over two discounts: the policy must not depend on them"
$python train_with_hydra_zen.py --list-presets
$python train_with_hydra_zen.py --preset fusion_demo --epochs 5 --multirun --jobs 1 \
    agent.gamma=0,0.5 $settings

echo "== 4. Scores of any two detectors, here our own from the prediction cache"
$python -m core train-fusion --scores "$workspace/cache/fusion/demo_commissioned.arrow" \
    --out "$out/scores" agent.update_mode=sampled agent.replay=prioritised training.max_epochs=5

echo "== 5. Every method beside every other"
$python -m core compare demo --out "$out/comparison" $set_options

echo "== 6. All that judges traffic, as one folder"
$python -m core export demo --out "$out/stack" --agent-format pt2
