"""What the tests of Triton-language kernels share: types, layouts, sizes."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
SPLIT = (35, 31)
"""Images whose groups of four channels are too large for one program, in either layout."""
