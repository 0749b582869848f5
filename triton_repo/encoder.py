"""The python backend's side of ddgan_encoder; what it does stands in ddgan_deploy.serving.python_backend."""

import triton_python_backend_utils

try:
    from ddgan_deploy.serving.python_backend import PngModel
except ImportError as error:
    raise triton_python_backend_utils.TritonModelException(
        f"the server's Python cannot import ddgan_deploy ({error}): install ddgan-deploy for that Python"
    ) from None


class TritonPythonModel(PngModel):
    """image UINT8 [n, H, W, C], seed INT64 [n, 1], drawn_seed and so on -> png BYTES [n, 1]."""

    server = triton_python_backend_utils
