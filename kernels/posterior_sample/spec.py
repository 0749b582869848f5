"""PosteriorSample: one draw from q(x_{t-1} | x_t, x_0), equation 4 of Xiao et al. 2022.

    x_prev = coef_x0 * squash(x0_raw) + coef_xt * x_t + sigma * noise

in float32 whatever x0_raw is. ``squash`` is the generator's last activation,
fused here because x_0 is needed nowhere else.
"""

from __future__ import annotations

import torch

from ..op import OpSpec

SQUASHES = ("none", "tanh")


def squashed(x0_raw: torch.Tensor, squash: str) -> torch.Tensor:
    """x_0 in float32 from the generator's output before its last activation."""
    if squash not in SQUASHES:
        raise ValueError(f"PosteriorSample: squash {squash!r} is not one of {', '.join(SQUASHES)}")
    return torch.tanh(x0_raw.float()) if squash == "tanh" else x0_raw.float()


def reference(
    x0_raw: torch.Tensor,
    x_t: torch.Tensor,
    noise: torch.Tensor,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str = "none",
) -> torch.Tensor:
    """The posterior draw in PyTorch.

    Args:
        x0_raw: [N, C, H, W], any float type.
        x_t, noise: [N, C, H, W], float32.
        coef_x0, coef_xt, sigma: the posterior's coefficients at this step.
        squash: "none" or "tanh".

    Returns:
        x_prev, float32 [N, C, H, W].

    Raises:
        ValueError: shapes differ, or squash is unknown.
    """
    check(x0_raw, x_t, noise, squash)
    return coef_x0 * squashed(x0_raw, squash) + coef_xt * x_t.float() + sigma * noise.float()


def check(x0_raw: torch.Tensor, x_t: torch.Tensor, noise: torch.Tensor, squash: str) -> None:
    """Refuses what does not fit together.

    Raises:
        ValueError: shapes differ, or squash is unknown.
    """
    if x0_raw.dim() != 4 or not x0_raw.shape == x_t.shape == noise.shape:
        raise ValueError(
            "PosteriorSample: x0_raw, x_t and noise must have one shape [N, C, H, W], they have "
            f"{list(x0_raw.shape)}, {list(x_t.shape)} and {list(noise.shape)}"
        )
    if squash not in SQUASHES:
        raise ValueError(f"PosteriorSample: squash {squash!r} is not one of {', '.join(SQUASHES)}")


def _body(squash: str) -> str:
    return f"""
        x0_raw32 = Cast <to = 1> (x0_raw)
        x_0 = {"Tanh" if squash == "tanh" else "Identity"} (x0_raw32)
        c_0 = Constant <value_float: float = @coef_x0> ()
        c_t = Constant <value_float: float = @coef_xt> ()
        c_n = Constant <value_float: float = @sigma> ()
        from_x0 = Mul (x_0, c_0)
        from_xt = Mul (x_t, c_t)
        mean = Add (from_x0, from_xt)
        from_noise = Mul (noise, c_n)
        x_prev = Add (mean, from_noise)"""


SPEC = OpSpec(
    name="PosteriorSample",
    inputs=(("x0_raw", "T"), ("x_t", "float"), ("noise", "float")),
    outputs=(("x_prev", "float"),),
    attributes={"coef_x0": "FLOAT", "coef_xt": "FLOAT", "sigma": "FLOAT", "squash": "STRING"},
    flops=lambda attributes: 9 if attributes["squash"] == "tanh" else 5,
    like="x_t",
    variant="squash",
    variants={squash: _body(squash) for squash in SQUASHES},
)
SPECS = (SPEC,)
