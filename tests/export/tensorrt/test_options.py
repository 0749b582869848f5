"""How an engine may be built: what the command line says, its limits, and what each runtime lacks."""

from __future__ import annotations

import argparse
import re

import pytest

from ddgan_deploy.engines.tensorrt.plan import BatchProfile
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.options import ExportOptions
from ddgan_deploy.export.tensorrt.arguments import add_engine_options, engine_options
from ddgan_deploy.export.tensorrt.options import (
    DEFAULT_TARGETS,
    MOST_BATCH,
    TARGETS,
    EngineOptions,
    builds,
    parse_batch,
    parse_target,
)


def options(*argv: str) -> EngineOptions:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return engine_options(parser.parse_args(argv))


def refusal(made: EngineOptions, runtime: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        made.check() if runtime is None else made.check_for(runtime, "fp16")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_said_gives_the_defaults():
    assert options() == EngineOptions()
    assert str(EngineOptions().profile) == "1:8:32"
    assert EngineOptions().targets == ()
    assert set(DEFAULT_TARGETS) < set(TARGETS)
    EngineOptions().check()
    for runtime in ("tensorrt", "tensorrt-rtx"):
        EngineOptions().check_for(runtime, "fp32")


def test_everything_said_is_taken():
    argv = [
        "--batch",
        "1:2:4",
        "--target",
        "86",
        "sm_89,12.0",
        "8.6",
        "--kernels",
        "portable",
        "--workspace",
        "512",
        "--opt-level",
        "2",
    ]
    assert options(*argv, "--version-compatible", "--hardware-compatible", "--refittable") == EngineOptions(
        profile=BatchProfile(1, 2, 4),
        targets=("8.6", "8.9", "12.0"),
        kernels="portable",
        workspace=512,
        opt_level=2,
        version_compatible=True,
        hardware_compatibility="ampere_plus",
        refittable=True,
    )
    assert options("--hardware-compatible", "same_compute_capability").hardware_compatibility == (
        "same_compute_capability"
    )


@pytest.mark.parametrize(
    ("text", "profile"),
    [("1:8:32", (1, 8, 32)), ("2:3:5", (2, 3, 5)), ("4", (4, 4, 4)), ("1:1:65535", (1, 1, 65535))],
)
def test_batch(text, profile):
    parsed = parse_batch(text)
    assert (parsed.least, parsed.best, parsed.most) == profile
    EngineOptions(parsed).check()


@pytest.mark.parametrize(
    "text", ["", "x", "1:8", "1:8:32:64", "1,8,32", "-1:8:32", "1:8:", " 1:8:32", "1.5", "1:8:1234567", "9" * 5000]
)
def test_batch_that_is_none(text):
    with pytest.raises(InputError, match=r"--batch .*is not MIN:OPT:MAX: give such as 1:8:32"):
        parse_batch(text)


@pytest.mark.parametrize("text", ["0:8:32", "0", "8:1:32", "1:32:8", f"1:8:{MOST_BATCH + 1}", "999999"])
def test_batch_out_of_range(text):
    message = refusal(EngineOptions(parse_batch(text)))
    assert re.fullmatch(r"--batch [\d:]+ is not 1 <= MIN <= OPT <= MAX <= 65535: give such as 1:8:32", message)


@pytest.mark.parametrize(
    ("text", "target"),
    [("8.9", "8.9"), ("89", "8.9"), ("sm89", "8.9"), ("SM_89", "8.9"), ("120", "12.0"), ("12.0", "12.0")],
)
def test_target(text, target):
    assert parse_target(text) == target
    EngineOptions(targets=(target,)).check()


@pytest.mark.parametrize("text", ["", "9.0", "90", "ampere", "8.6.1", "8", "sm", "-86"])
def test_target_that_is_none(text):
    message = refusal(EngineOptions(targets=(parse_target(text),)))
    assert message.startswith("--target ") and message.endswith(f"give some of {', '.join(TARGETS)}")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (EngineOptions(workspace=0), "--workspace 0 must be 1..16777216 MiB"),
        (EngineOptions(workspace=-5), "--workspace -5 must be 1..16777216 MiB"),
        (EngineOptions(opt_level=6), "--opt-level 6 must be 0..5"),
        (EngineOptions(opt_level=-1), "--opt-level -1 must be 0..5"),
    ],
)
def test_values_out_of_range(made, says):
    assert refusal(made) == says


@pytest.mark.parametrize("level", range(6))
def test_values_at_their_limits(level):
    EngineOptions(opt_level=level, workspace=1).check()


@pytest.mark.parametrize(
    ("made", "runtime", "names", "instead"),
    [
        (EngineOptions(targets=("8.9",)), "tensorrt", "--target is for TensorRT-RTX", "leave --target out"),
        (EngineOptions(kernels="fused"), "tensorrt-rtx", "--kernels fused", "leave it out"),
        (EngineOptions(hardware_compatibility="ampere_plus"), "tensorrt-rtx", "--hardware-compatible", "--target"),
        (EngineOptions(version_compatible=True), "tensorrt-rtx", "--version-compatible", "an engine of its own"),
        (EngineOptions(refittable=True), "tensorrt-rtx", "--refittable", "built anew"),
    ],
)
def test_what_a_runtime_lacks(made, runtime, names, instead):
    made.check()
    message = refusal(made, runtime)
    assert message.startswith(names) and instead in message and "TensorRT" in message
    made.check_for("tensorrt" if runtime == "tensorrt-rtx" else "tensorrt-rtx", "fp16")


def test_kinds_of_kernels_to_build():
    assert builds("auto", "tensorrt") == ("fused", "portable")
    assert builds("fused", "tensorrt") == ("fused",)
    assert builds("portable", "tensorrt") == ("portable",)
    assert builds("auto", "tensorrt-rtx") == builds("portable", "tensorrt-rtx") == ("portable",)


def test_turing_is_for_fp16_alone():
    made = EngineOptions(targets=("8.9", "7.5"))
    made.check_for("tensorrt-rtx", "fp16")
    with pytest.raises(InputError, match=r"--target 7\.5 is for fp16 alone: .* give --fp16"):
        made.check_for("tensorrt-rtx", "fp32")


def test_refittable_engines_are_of_one_version_and_verified(tmp_path):
    made = EngineOptions(refittable=True, version_compatible=True)
    with pytest.raises(InputError, match="--refittable does not go with --version-compatible"):
        made.check_for("tensorrt", "fp16")
    checkpoint = tmp_path / "netG.pth"
    checkpoint.touch()
    export = ExportOptions(checkpoint, 4, verify=False, engine_options=EngineOptions(refittable=True))
    with pytest.raises(InputError, match="leave --no-verify out"):
        export.check()
