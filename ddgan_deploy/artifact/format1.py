"""Manifests of format 1 as those of format 2: artifacts and deployed repositories of before open and serve.

Format 1 knew one family: every artifact of it is a Denoising Diffusion GAN's.
"""

from __future__ import annotations

from typing import Any

_PLACED = ("format_version", "generator", "schedule")


def upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says, in format 2.

    Raises:
        KeyError, TypeError: it does not have what format 1 has.
    """
    generator, schedule, steps = old["generator"], old["schedule"], old["steps"]
    image = [generator["num_channels"], generator["image_size"], generator["image_size"]]
    kind = "geometric" if schedule["use_geometric"] else "variance preserving"
    return {
        **{name: value for name, value in old.items() if name not in _PLACED},
        "format_version": 2,
        "family": {"name": "ddgan", "model": generator, "sampling": schedule},
        "sampler": {"image": image, "steps": steps, "draws": _draws(image, generator["nz"], steps), "knobs": []},
        "probes": [probe for k in range(steps) for probe in _probes(k, steps)],
        "facts": {
            "Schedule": f"{kind}, β {schedule['beta_min']:g} to {schedule['beta_max']:g}",
            "Latent width": f"{generator['nz']}",
        },
        **{name: _parity(old[name]) for name in ("parity", "cpu_parity") if old.get(name)},
    }


def _draws(image: list[int], nz: int, steps: int) -> list[dict[str, Any]]:
    draws: list[dict[str, Any]] = [
        {"name": "x_T", "shape": image, "streams": 0},
        {"name": "z", "shape": [nz], "streams": {"first": 1, "step": 2, "count": steps}},
    ]
    noise = {"name": "noise", "shape": image, "streams": {"first": 2, "step": 2, "count": steps - 1}}
    return [*draws, noise] if steps > 1 else draws


def _probes(k: int, steps: int) -> list[dict[str, Any]]:
    x0, x_prev = _titles(k, steps - 1 - k)
    if k == steps - 1:
        return [{**x0, "node": "x_0", "shown": True}, {**x_prev, "node": "x_0", "series": "x_prev"}]
    return [
        # The squashed x0 is a node's output only where a probing engine makes it one.
        {**x0, "node": f"step{k}/x0", "psnr": {"int8": 30.0}, "shown": True},
        {**x_prev, "node": f"step{k}/PosteriorSample", "state": True},
    ]


def _titles(k: int, t: int) -> tuple[dict[str, Any], dict[str, Any]]:
    place = {"place": f"step {k} (t={t})", "step": k}
    return {**place, "value": "x0"}, {**place, "value": "x_prev" if t else "x_0"}


def _parity(old: dict[str, Any]) -> dict[str, Any]:
    probes = []
    for row in old["steps"]:
        for title, name in zip(_titles(row["step"], row["t"]), ("x0", "x_prev"), strict=True):
            numbers = {key: row[f"{name}_{key}"] for key in ("max_abs", "psnr")}
            scale = row.get(f"{name}_scale", 1.0)
            probes.append({**title, "column": name, **numbers, "scale": scale})
    return {**{name: value for name, value in old.items() if name != "steps"}, "probes": probes}
