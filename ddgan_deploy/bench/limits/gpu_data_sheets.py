"""What NVIDIA says of its GPUs, for where PyTorch cannot measure one.

Dense figures, without sparsity, in 10^12 operations and 10^9 bytes a second. float32 is TF32 on the tensor cores where
a GPU has it. From NVIDIA's data sheets: "H100 Tensor Core GPU" and "H200 Tensor Core GPU" (2024), "A100 80GB" (2022),
"L4" and "L40S" (2023), "A10" (2021), "T4" (2019), and the "Ada GPU architecture" white paper (2022) for the RTX 4090.
"""

from __future__ import annotations

from ddgan_deploy.bench.results import Rates

# Part of the name -> float32, float16, int8, bytes; the first that fits.
_SHEETS = {
    "H200": (494.5, 989.5, 1979, 4800),
    "H100 PCIe": (378, 756, 1513, 2000),
    "H100": (494.5, 989.5, 1979, 3350),
    "A100-PCIE-40GB": (156, 312, 624, 1555),
    "A100-SXM4-40GB": (156, 312, 624, 1555),
    "A100": (156, 312, 624, 1935),
    "L40S": (183, 362, 733, 864),
    "L4": (60.5, 121, 242.5, 300),
    "A10": (62.5, 125, 250, 600),
    "T4": (8.1, 65, 130, 320),
    "RTX 4090": (82.6, 165.2, 660.6, 1008),
}


def data_sheet(gpu: str) -> Rates | None:
    """The rates of a GPU by its name; None where it is not known."""
    words = gpu.replace("-", " ").split()
    for name, (float32, float16, int8, moved) in _SHEETS.items():
        # As whole words, or L40 would be an L4.
        part = name.replace("-", " ").split()
        if any(words[i : i + len(part)] == part for i in range(len(words))):
            flops = {"float32": float32, "float16": float16, "bfloat16": float16, "int8": int8}
            return Rates({dtype: 1e12 * rate for dtype, rate in flops.items()}, 1e9 * moved, f"data sheet of {name}")  # type: ignore[misc]
    return None
