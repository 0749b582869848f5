"""Why a server did not start, and what a user need not read; the lines are what server 2.51 said on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddgan_deploy.serving.server.log import cause, is_noise, last_word
from ddgan_deploy.serving.server.options import ServerOptions

OPTIONS = ServerOptions(Path("/models"), "::1", 8000, 8001, 8002)
CUDA = "CUDA driver version is insufficient for CUDA runtime version"
WITHOUT_GPU = [
    'W1128 14:43:33.068 9 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, pinned memory pool '
    f'will not be available: {CUDA}"',
    'I1128 14:43:33.069 9 cuda_memory_manager.cc:117] "CUDA memory pool disabled"',
    'E1128 14:43:33.069 9 server.cc:241] "CudaDriverHelper has not been initialized."',
    f'E1128 14:43:33.648 9 ensemble_scheduler.cc:1468] "unable to create stream for ddgan_png: {CUDA}"',
]
TABLE = [
    "I1128 14:43:33.648 9 server.cc:604] ",
    "+------------------+",
    "| Repository Agent |",
    "+------------------+",
    "",
]
GOOD = [
    'I1128 14:43:33.071 9 model_lifecycle.cc:472] "loading: ddgan:1"',
    "I1128 14:43:33.648 9 model_lifecycle.cc:839] \"successfully loaded 'ddgan'\"",
    'I1128 14:43:33.650 9 grpc_server.cc:2558] "Started GRPCInferenceService at [::1]:8001"',
]
NOT_LOADED = "error: creating server: Internal - failed to load all models"
USAGE = ["Usage: tritonserver [options]", "  --help", "\tPrint usage", "  --trace-count <integer>", "\tDefault is 0."]
REBUILD = "make it anew with ddgan-export --rebuild ARTIFACT --engine none, or mend what that says"


def failed(model: str, reason: str) -> str:
    return f"E1128 14:43:17.107 9 model_lifecycle.cc:642] \"failed to load '{model}' version 1: {reason}\""


def no_shared_memory(model: str, error: str) -> str:
    return failed(
        model,
        "Internal: Unable to initialize shared memory key 'ddgan_4cef_c4e6' to requested size (1048576 bytes). If you "
        "are running Triton inside docker, use '--shm-size' flag to control the shared memory region size. Each Python "
        f"backend model instance requires at least 1 MB of shared memory. Error: {error}",
    )


def dependent(model: str, reason: str) -> str:
    """What an ensemble says of a member that was not loaded."""
    return (
        "E1128 14:43:17.107 9 model_repository_manager.cc:703] \"Invalid argument: ensemble 'ddgan_png' depends on "
        f"'{model}' which has no loaded version. Model '{model}' loading failed with error: {reason};\""
    )


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param(
            [
                failed("ddgan", r"Internal: TritonModelException: it is broken\n\nAt:\n  backend.py(7): initialize\n"),
                dependent("ddgan", "version 1 is at UNAVAILABLE state: Internal: TritonModelException: it is broken"),
                NOT_LOADED,
            ],
            f"/models cannot be served: model ddgan: it is broken; {REBUILD}",
            id="broken-artifact",
        ),
        pytest.param(
            [
                'E1128 14:42:30.6 9 python_be.cc:1] "Failed to preinitialize Python stub: Python model file not found '
                "in '/models/ddgan/1/model.py'\""
            ],
            f"/models cannot be served: Python model file not found in '/models/ddgan/1/model.py'; {REBUILD}",
            id="no-model.py",
        ),
        pytest.param(
            [
                "[libprotobuf ERROR /tmp/protobuf/text_format.cc:337] Error parsing text-format "
                'inference.ModelConfig: 1:10: Message type "inference.ModelConfig" has no field named "nonsense".',
                "E1128 14:42:30.6 9 model_repository_manager.cc:1460] \"Poll failed for model directory 'ddgan': "
                'failed to read text proto from /models/ddgan/config.pbtxt"',
                'E1128 14:42:30.6 9 model_repository_manager.cc:703] "Invalid argument: ensemble ddgan_png contains '
                'models that are not available or ambiguous: ddgan"',
                NOT_LOADED,
            ],
            '/models cannot be served: model ddgan: its config.pbtxt at 1:10: Message type "inference.ModelConfig" has '
            f'no field named "nonsense"; {REBUILD}',
            id="config.pbtxt",
        ),
        pytest.param(
            [
                "E1128 14:42:48.4 9 model_repository_manager.cc:724] \"failed to load model 'ddgan': at least one "
                "version must be available under the version policy of model 'ddgan'\"",
                dependent("ddgan", "at least one version must be available"),
                NOT_LOADED,
            ],
            "/models cannot be served: failed to load model 'ddgan': at least one version must be available under the "
            f"version policy of model 'ddgan'; {REBUILD}",
            id="no-version",
        ),
        pytest.param(
            [
                "E1128 14:43:23.4 9 model_repository_manager.cc:1415] \"failed to poll model 'nosuch': model not found "
                'in any model repository."',
                NOT_LOADED,
            ],
            "/models cannot be served: failed to poll model 'nosuch': model not found in any model repository; "
            f"{REBUILD}",
            id="no-such-model",
        ),
        pytest.param(
            [failed("ddgan", "Internal: ModuleNotFoundError: No module named 'ddgan_deploy'"), NOT_LOADED],
            "the server's Python lacks the module ddgan_deploy: pip install ddgan-deploy and its parts for serving "
            "into the python3 that is first on PATH",
            id="no-module",
        ),
        pytest.param(
            [
                failed("ddgan_encoder", "Internal: Stub process 'ddgan_encoder_0_0' is not healthy."),
                dependent("ddgan", "Internal: Stub process 'ddgan_0_0' is not healthy."),
                NOT_LOADED,
            ],
            "the python process of model ddgan_encoder ended while it loaded: that is so where memory runs out, or a "
            "library crashes; the system's log tells which",
            id="python-killed",
        ),
        pytest.param(
            [
                failed("ddgan_encoder", "Internal: Stub process 'ddgan_encoder_0_0' is not healthy."),
                failed("ddgan", "Internal: MemoryError: no memory left"),
            ],
            f"/models cannot be served: model ddgan: MemoryError: no memory left; {REBUILD}",
            id="a-reason-comes-before-none",
        ),
        *(
            pytest.param(
                [no_shared_memory(model, reason), NOT_LOADED],
                f"/dev/shm does not have what the server's python backend needs ({reason}): let it write there, some "
                "MB for each instance of a model, in a container with --shm-size=256m",
                id=name,
            )
            for name, model, reason in (
                ("shm-full", "ddgan", "No space left on device"),
                ("shm-read-only", "ddgan_encoder", "Read-only file system"),
            )
        ),
        pytest.param(
            [
                "terminate called after throwing an instance of 'triton::backend::python::PythonBackendException'",
                "  what():  Failed to create temporary directory for Python environments.",
            ],
            "the server's python backend cannot write into /tmp: make that possible, in a container with --tmpfs /tmp",
            id="tmp-read-only",
        ),
        pytest.param(
            ["terminate called after throwing an instance of 'std::bad_alloc'", "  what():  std::bad_alloc"],
            "/models cannot be served: std::bad_alloc; mend what that says",
            id="exception",
        ),
        *(
            pytest.param(
                [
                    *GOOD,
                    f'E1128 14:43:33.69 9 main.cc:257] "failed to start {way} service: Unavailable - Socket '
                    "'ipv6:::1:8000' already in use \"",
                ],
                f"port {port} of ::1 cannot be used (something else took it while the server started): give another "
                f"--{name}-port, or end what uses it",
                id=f"{name}-port",
            )
            for way, name, port in (("HTTP", "http", 8000), ("GRPC", "grpc", 8001), ("Metrics", "metrics", 8002))
        ),
        *(
            pytest.param(
                [f"{program}tritonserver: {reason}", *USAGE, "", ""],
                f"tritonserver refuses an option: {reason}; mend what stands after --",
                id=name,
            )
            for name, program, reason in (
                ("option", "/opt/bin/", "unrecognized option '--x'"),
                ("option-without-value", "", "option '--log-verbose' requires an argument"),
            )
        ),
        pytest.param(
            [*USAGE, 'Bad option: "--log-verbose".', "Invalid option value. Got abc", ""],
            "tritonserver refuses --log-verbose: Invalid option value. Got abc; mend what stands after --",
            id="option-with-wrong-value",
        ),
        pytest.param(
            [*USAGE, "two options contradict each other", ""],
            "tritonserver refuses an option: two options contradict each other; mend what stands after --",
            id="option-last-word",
        ),
        pytest.param(
            ["error: creating server: Internal - Failed to initialize LocalCache: stoull"],
            "tritonserver refuses an option whose value is no number; mend what stands after --",
            id="option-no-number",
        ),
        pytest.param(
            ["error: creating server: Invalid argument - unable to find 'libtritoncache_redis.so' for cache."],
            "/models cannot be served: creating server: Invalid argument - unable to find 'libtritoncache_redis.so' "
            "for cache; mend what that says",
            id="cache",
        ),
    ],
)
def test_the_cause_is_what_ended_it(lines, says):
    log = [f"{line}\n" for line in (*WITHOUT_GPU[:3], *TABLE, *lines)]
    assert cause(log, OPTIONS) == says


def test_a_start_without_a_gpu_is_no_cause():
    assert cause([f"{line}\n" for line in (*WITHOUT_GPU, *TABLE, *GOOD)], OPTIONS) == ""


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([*WITHOUT_GPU, 'E1122 08:00:00.0 9 main.cc:5] "something else."', *WITHOUT_GPU], "something else"),
        (['E1 1 a.cc:1] "first"', 'E1 2 a.cc:1] "second"', "I1 3 a.cc:1] last"], "second"),
        (["nothing known", ""], "nothing known"),
        (WITHOUT_GPU, "it said nothing"),
        ([], "it said nothing"),
    ],
)
def test_the_last_word_of_a_server_whose_end_is_not_known(lines, says):
    assert last_word([f"{line}\n" for line in lines]) == says


def test_what_is_left_out_of_a_good_start():
    assert all(is_noise(f"{line}\n", gpu=False) for line in (*WITHOUT_GPU, *TABLE))
    # Where there is a GPU these tell why it is not used.
    assert not any(is_noise(f"{line}\n", gpu=True) for line in WITHOUT_GPU)


@pytest.mark.parametrize(
    "line", [*GOOD, 'W1 1 9 a.cc:1] "a warning"', 'E1 1 9 a.cc:1] "CUDA error: out of memory"', "words of a library"]
)
def test_all_else_is_shown(line):
    assert not is_noise(f"{line}\n", gpu=False)
