"""A --config file: the arguments of the published scripts, as they are called there.

Source: ``cm/script_util.py`` and the scripts of openai/consistency_models. Besides num_classes, a constant in them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

from ddgan_deploy.families.adm.arguments import UNET_FORMS, Form, one_of, positive_integer
from ddgan_deploy.families.adm.arguments import read_arguments as read_with
from ddgan_deploy.families.consistency.config import TrainingMode
from ddgan_deploy.weight_files.json_values import integer, number

OTHER_MODES = ("edm", "progdist")
"""Values of training_mode that make no consistency model."""
_WITHOUT_A_SAY = frozenset(
    [
        "use_new_attention_order",
        "weight_schedule",
        "dropout",
        "use_checkpoint",
        "use_fp16",
        "generator",
        "seed",
        "num_samples",
        "batch_size",
        "model_path",
        "s_churn",
        "s_tmin",
        "s_tmax",
        "s_noise",
        "teacher_model_path",
        "teacher_dropout",
        "target_ema_mode",
        "scale_mode",
        "total_training_steps",
        "start_ema",
        "start_scales",
        "end_scales",
        "distill_steps_per_iter",
        "loss_norm",
        "data_dir",
        "schedule_sampler",
        "lr",
        "weight_decay",
        "lr_anneal_steps",
        "global_batch_size",
        "microbatch",
        "ema_rate",
        "log_interval",
        "save_interval",
        "resume_checkpoint",
        "fp16_scale_growth",
    ]
)
"""Of training, of other samplers, of where files are, and of what changes nothing in what is computed in float32; the
published attention has one layout, whatever use_new_attention_order says."""


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments that have a say in what is drawn, in our types.

    Raises:
        InputError: the file cannot be read, a name is unknown, or a value has a wrong type.
    """
    return read_with(path, _FORMS, _WITHOUT_A_SAY)


def _sigma(value: object) -> float | None:
    found = number(value)
    return found if found is not None and found > 0 else None


def _indices(value: object) -> tuple[int, ...] | None:
    """Of a list, or of a text with commas; of "" none."""
    if isinstance(value, str):
        items = value.split(",") if value.strip() else []
        if not all(re.fullmatch(" *[0-9]{1,9} *", item) for item in items):
            return None
        value = [int(item) for item in items]
    if not isinstance(value, list) or any(integer(item, 0, 10**9) is None for item in value):
        return None
    return tuple(value)


_FORMS: dict[str, Form] = {
    **UNET_FORMS,
    "training_mode": one_of((*get_args(TrainingMode), *OTHER_MODES)),
    "sampler": one_of(("onestep", "multistep")),
    "ts": Form("indices, such as 0,22,39", _indices),
    "steps": positive_integer(),
    **{name: Form("a positive number", _sigma) for name in ("sigma_min", "sigma_max")},
}
