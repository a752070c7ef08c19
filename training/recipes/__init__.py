"""Recipes: one file a method, run as ``python -m training.recipes.<method> SPEC.json``. No Django, no app.

``dpo`` and ``reward`` train, ``score`` asks a reward model. They call functions, not a base class: ``frame`` (directory,
events, endings), ``data`` (rows), ``loading`` (models), ``scoring`` (log-probabilities), ``progress`` (what is reported),
``checkpoints`` and ``final`` (what is written).

The environment is set here because it must be in place before torch, transformers or TRL are imported.
"""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
# Deterministic matrix products on CUDA need it before the first one.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
