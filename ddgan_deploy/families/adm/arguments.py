"""A --config file: the arguments of the published scripts, as they are called there.

Source: ``script_util.py`` and the scripts of openai/guided-diffusion. Besides, what is a constant in them and
other models change: num_classes, sigma_small, and of a classifier channel_mult and num_head_channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
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


class Form(NamedTuple):
    """What an argument must be, and its converter, which returns None for anything else."""

    wanted: str
    convert: Callable[[object], Any]


def read_arguments(
    path: Path, forms: Mapping[str, Form] | None = None, passed_over: Collection[str] = _WITHOUT_A_SAY
) -> dict[str, Any]:
    """The arguments that have a say in what is drawn, in our types.

    Args:
        path: of a JSON file.
        forms: of these arguments, by name; None: of ADM's.
        passed_over: names of those that have none.

    Raises:
        InputError: the file cannot be read, a name is unknown, or a value has a wrong type.
    """
    forms = _FORMS if forms is None else forms
    found: dict[str, Any] = {}
    for name, value in read_json_config(path).items():
        if name in passed_over:
            continue
        if name not in forms:
            raise InputError(f"{path}: the argument {short(name)} is unknown{_hint(name, {*passed_over, *forms})}")
        form = forms[name]
        converted = form.convert(value)
        if converted is None:
            raise InputError(f"{path}: {name} is {shown(value)}, it must be {form.wanted}: correct it")
        found[name] = converted
    return found


def _hint(name: str, known: Iterable[str]) -> str:
    near = meant(name, known)
    return f"; did you mean {near}? Correct it" if near else ": leave it out"


def _integer(least: int) -> Callable[[object], int | None]:
    return lambda value: integer(value, least, 2**31)


def positive_integer() -> Form:
    """One of 1 or more."""
    return Form("a positive integer", _integer(1))


def true_or_false() -> Form:
    """A truth value, or 0 or 1 for one."""
    return Form("true or false", flag)


def one_of(choices: tuple[str, ...]) -> Form:
    """One of some texts."""
    return Form(f"one of {', '.join(choices)}", lambda value: value if value in choices else None)


def numbers() -> Form:
    """Positive numbers in a list, or in a text with commas."""
    return Form("numbers, such as 1,2,3,4", _numbers)


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


UNET_FORMS: dict[str, Form] = {
    **{
        name: positive_integer()
        for name in ["image_size", "num_channels", "num_res_blocks", "num_heads", "num_classes"]
    },
    **{
        name: Form("an integer, -1 for none", lambda value: _integer(-1)(value) or None)
        for name in ("num_head_channels", "num_heads_upsample")
    },
    **{
        name: true_or_false()
        for name in ["class_cond", "use_scale_shift_norm", "resblock_updown", "learn_sigma", "clip_denoised"]
    },
    **{name: numbers() for name in ["channel_mult", "attention_resolutions"]},
}
"""Of what every UNet of this architecture is made with, and of how it is sampled from."""
_FORMS: dict[str, Form] = {
    **UNET_FORMS,
    **{
        name: positive_integer()
        for name in [
            "large_size",
            "small_size",
            "diffusion_steps",
            "classifier_width",
            "classifier_depth",
            "classifier_num_head_channels",
        ]
    },
    **{
        name: true_or_false()
        for name in [
            "use_new_attention_order",
            "predict_xstart",
            "rescale_timesteps",
            "sigma_small",
            "use_ddim",
            "classifier_use_scale_shift_norm",
            "classifier_resblock_updown",
        ]
    },
    **{name: numbers() for name in ["classifier_channel_mult", "classifier_attention_resolutions"]},
    "classifier_scale": Form("a finite number", number),
    "timestep_respacing": Form("a text, such as 250 or ddim25", _respacing),
    "noise_schedule": one_of(get_args(NoiseSchedule)),
    "classifier_pool": one_of(get_args(Pool)),
}
