"""A whole exported artifact: the native ops against the function bodies, in the same file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from ddgan_deploy.engines.onnxruntime.session import new_session
from tests.kernels.native import Native

_SERVE = """
import sys
import numpy, onnxruntime

library, model = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(library)
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
for batch in (2, 3):
    (image,) = session.run(None, {"seed": numpy.arange(batch)[:, None]})
    assert len(image) == batch
(output,) = session.get_outputs()
print(output.shape[0])
"""


@pytest.fixture(scope="module")
def native(library):
    return Native(library)


# float16 rounds whatever the two compute differently, and the steps add it up.
@pytest.mark.parametrize(("name", "tolerance", "levels"), [("biggan_fp32", 1e-5, 1), ("biggan_fp16", 1e-2, 3)])
def test_native_equals_portable(request, native, biggan, name, tolerance, levels):
    folder = request.getfixturevalue(name).path
    inputs = biggan.inputs
    (portable_x_0,) = new_session(folder / SAMPLER).run(None, inputs)
    (x_0,) = native.session(folder / SAMPLER).run(None, inputs)
    np.testing.assert_allclose(x_0, portable_x_0, atol=tolerance)

    seed = {"seed": np.arange(3)[:, None]}
    (portable_image,) = new_session(folder / SERVED).run(None, seed)
    (image,) = native.session(folder / SERVED).run(None, seed)
    assert np.abs(image.astype(int) - portable_image).max() <= levels


def test_a_seed_gives_the_same_image_alone_and_in_a_batch(native, biggan_fp32):
    session = native.session(biggan_fp32.path / SERVED)
    (images,) = session.run(None, {"seed": np.arange(3)[:, None]})
    (alone,) = session.run(None, {"seed": np.array([[1]])})
    assert np.abs(alone[0].astype(int) - images[1]).max() <= 1


def test_onnx_runtime_has_nothing_to_say_of_the_shapes(library, biggan_fp32):
    # Its log is the process's.
    model = biggan_fp32.path / SERVED
    result = subprocess.run([sys.executable, "-c", _SERVE, library, model], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "shape" not in result.stderr
    assert result.stdout == "batch\n"
