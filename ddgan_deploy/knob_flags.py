"""How knobs are called on a command line."""

from __future__ import annotations

from ddgan_deploy.names import quoted

FLAGS = {
    "label": ("K", "class; or a file: .npz with an array label, labels or arr_1, .npy, or .txt, a class a line"),
    "guidance": ("S", "scale of the classifier's guidance"),
    "truncation": ("PSI", "truncation of the latents, 1 for none"),
    "low_res": ("FILE.npz", "picture to enlarge: an array low_res, images or arr_0, uint8 [N, h, w, C]"),
}
"""Of the families that there are, as their models have them, what stands for a value and what it is; an artifact says
which it takes."""


def option_of(name: str) -> str:
    """The flag of one of `FLAGS`."""
    return f"--{name.replace('_', '-')}"


def argument(name: str, value: str) -> str:
    """What a shell's command line says to give any knob a value: "--label 3", "--label=-1", "--set gain=2"."""
    if name not in FLAGS:
        return f"--set {quoted(f'{name}={value}')}"
    # Else a negative number would be read as a flag.
    return f"{option_of(name)}{'=' if value.startswith('-') else ' '}{quoted(value)}"
