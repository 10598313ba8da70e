#!/usr/bin/env bash
# brax 0.14.2 declares jax>=0.4.6 without an upper bound, and pip installs it with jax 0.10.2. Its swimmer is then made, is
# reset, and fails in the first step: it calls jax.numpy.clip with the argument a_min, which JAX has removed. The other
# environments of the registry step. So an import, a reset or a list of names does not show that an environment runs; a
# trace of its step by jax.eval_shape does, in a second and without a compilation.
#
# Seen on 2026-11-30 (Linux, Python 3.11, no GPU):
#   swimmer: reset traces, step raises TypeError: clip() got an unexpected keyword argument 'a_min'
#   inverted_pendulum: reset traces, step traces
#   reacher: reset traces, step traces
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet brax==0.14.2 jax==0.10.2 jaxlib==0.10.2 mujoco==4.0.0 mujoco-mjx==3.17.0
cat >"$folder/step.py" <<'PY'
import sys
import warnings

import jax

warnings.filterwarnings("ignore")
from brax import envs


def told(name):
    env = envs.get_environment(name)
    state = jax.eval_shape(env.reset, jax.random.PRNGKey(0))
    try:
        jax.eval_shape(env.step, state, jax.ShapeDtypeStruct((env.action_size,), "float32"))
    except TypeError as error:
        return f"step raises TypeError: {str(error).splitlines()[0]}"
    return "step traces"


found = {name: told(name) for name in ("swimmer", "inverted_pendulum", "reacher")}
for name, what in found.items():
    print(f"{name}: reset traces, {what}")
fails = "a_min" in found.pop("swimmer")
sys.exit(not (fails and set(found.values()) == {"step traces"}))
PY
"$folder/venv/bin/python" "$folder/step.py" 2>/dev/null
