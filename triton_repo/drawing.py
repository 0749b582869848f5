"""The python backend's side of ddgan; what it does stands in ddgan_deploy.serving.python_backend."""

import triton_python_backend_utils

try:
    from ddgan_deploy.serving.python_backend import EngineModel
except ImportError as error:
    raise triton_python_backend_utils.TritonModelException(
        f"the server's Python cannot import ddgan_deploy ({error}): install ddgan-deploy for that Python"
    ) from None


class TritonPythonModel(EngineModel):
    """seed INT64 [n, 1] and knobs -> image UINT8 [n, H, W, C], drawn_seed INT64 [n, 1] and so on."""

    server = triton_python_backend_utils
