"""A --config file: the arguments of the published scripts, as they are called there.

Source: ``script_util.py`` and the scripts of openai/guided-diffusion. Besides, what is a constant in them and
other models change: num_classes, sigma_small, and of a classifier channel_mult and num_head_channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import NoiseSchedule, Pool
from ddgan_deploy.names import short, shown
from ddgan_deploy.weight_files.json_config import read_json_config
from ddgan_deploy.weight_files.json_values import flag, integer, meant, number

_WITHOUT_A_SAY = frozenset(
    [
        "dropout",
        "use_checkpoint",
        "use_fp16",
        "use_kl",
        "rescale_learned_sigmas",
        "classifier_use_fp16",
        "num_samples",
        "batch_size",
        "model_path",
        "classifier_path",
        "base_samples",
        "data_dir",
        "val_data_dir",
        "schedule_sampler",
        "lr",
        "weight_decay",
        "lr_anneal_steps",
        "anneal_lr",
        "microbatch",
        "ema_rate",
        "log_interval",
        "save_interval",
        "eval_interval",
        "resume_checkpoint",
        "fp16_scale_growth",
        "noised",
        "iterations",
    ]
)
"""Of training, of where files are, and of what changes nothing in what is computed in float32."""


class _Form(NamedTuple):
    """What an argument must be, and its converter, which returns None for anything else."""

    wanted: str
    convert: Callable[[object], Any]


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments that have a say in what is drawn, in our types.

    Raises:
        InputError: the file cannot be read, a name is unknown, or a value has a wrong type.
    """
    found: dict[str, Any] = {}
    for name, value in read_json_config(path).items():
        if name in _WITHOUT_A_SAY:
            continue
        if name not in _FORMS:
            raise InputError(f"{path}: the argument {short(name)} is unknown{_hint(name)}")
        form = _FORMS[name]
        converted = form.convert(value)
        if converted is None:
            raise InputError(f"{path}: {name} is {shown(value)}, it must be {form.wanted}: correct it")
        found[name] = converted
    return found


def _hint(name: str) -> str:
    near = meant(name, _WITHOUT_A_SAY | set(_FORMS))
    return f"; did you mean {near}? Correct it" if near else ": leave it out"


def _integer(least: int) -> Callable[[object], int | None]:
    return lambda value: integer(value, least, 2**31)


def _one_of(choices: tuple[str, ...]) -> _Form:
    return _Form(f"one of {', '.join(choices)}", lambda value: value if value in choices else None)


def _respacing(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) else None


def _numbers(value: object) -> tuple[float, ...] | None:
    """Of a list, or of a text with commas; of "" none."""
    if isinstance(value, str):
        items = [item for item in value.split(",") if item.strip()]
        if not all(re.fullmatch(r" *[0-9]{1,9}(\.[0-9]{1,9})? *", item) for item in items):
            return None
        value = [float(item) for item in items]
    if not isinstance(value, list):
        return None
    numbers = [number(item) for item in value]
    return None if any(item is None or not 0 < item < 2**31 for item in numbers) else tuple(map(float, numbers))  # type: ignore[arg-type]


_FORMS: dict[str, _Form] = {
    **{
        name: _Form("a positive integer", _integer(1))
        for name in [
            "image_size",
            "large_size",
            "small_size",
            "num_channels",
            "num_res_blocks",
            "num_heads",
            "num_classes",
            "diffusion_steps",
            "classifier_width",
            "classifier_depth",
            "classifier_num_head_channels",
        ]
    },
    **{
        name: _Form("an integer, -1 for none", lambda value: _integer(-1)(value) or None)
        for name in ("num_head_channels", "num_heads_upsample")
    },
    **{
        name: _Form("true or false", flag)
        for name in [
            "class_cond",
            "use_scale_shift_norm",
            "resblock_updown",
            "use_new_attention_order",
            "learn_sigma",
            "predict_xstart",
            "rescale_timesteps",
            "sigma_small",
            "clip_denoised",
            "use_ddim",
            "classifier_use_scale_shift_norm",
            "classifier_resblock_updown",
        ]
    },
    **{
        name: _Form("numbers, such as 1,2,3,4", _numbers)
        for name in [
            "channel_mult",
            "attention_resolutions",
            "classifier_channel_mult",
            "classifier_attention_resolutions",
        ]
    },
    "classifier_scale": _Form("a finite number", number),
    "timestep_respacing": _Form("a text, such as 250 or ddim25", _respacing),
    "noise_schedule": _one_of(get_args(NoiseSchedule)),
    "classifier_pool": _one_of(get_args(Pool)),
}
