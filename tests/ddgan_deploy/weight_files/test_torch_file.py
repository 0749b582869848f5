"""Archives that claim more than they hold, or whose bytes have changed, are refused before PyTorch reads them."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from tests.ddgan_deploy.families.ddgan.tiny import EMA, RAW, holds, refusal, training_state
from tests.ddgan_deploy.weight_files.golden_files import saved


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **how: int) -> None:
    """Every record anew, with its right checksum."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as old, zipfile.ZipFile(path, "w", **how) as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record.filename, old.read(record)))


@pytest.mark.parametrize("place", range(0, 8, 3))
def test_a_changed_byte_in_a_weight_is_noticed(tmp_path, place):
    path = saved(tmp_path, RAW)
    content = bytearray(path.read_bytes())
    weight = RAW["all_modules.0.weight"].numpy().tobytes()
    content[content.index(weight) + place * len(weight) // 8] ^= 1
    path.write_bytes(content)
    assert "does not match its checksum" in refusal(path)


def test_archives_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path, RAW)
    finally:
        torch.serialization.set_crc32_options(True)
    assert holds(load_checkpoint(path), RAW)


def test_compressed_records_are_refused(tmp_path):
    path = saved(tmp_path, {**RAW, "x": torch.zeros(1000)})
    rewritten(path, lambda _, content: content, compression=zipfile.ZIP_DEFLATED)
    assert "compressed records" in refusal(path)


def test_records_that_claim_the_same_bytes(tmp_path):
    path = saved(tmp_path, RAW)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
        names = [record.filename for record in archive.infolist() if "/data/" in record.filename]
    # In the directory at the end all records of weights become the largest one.
    with zipfile.ZipFile(path, "a") as archive:
        for name in names:
            record = archive.getinfo(name)
            record.header_offset, record.file_size, record.compress_size, record.CRC = (
                largest.header_offset,
                largest.file_size,
                largest.file_size,
                largest.CRC,
            )
        archive.comment = b"x"
    assert path.read_bytes() != content
    assert "claim more bytes than it has" in refusal(path)


def views() -> dict[str, torch.Tensor]:
    """200 times as large in every dimension, and all of one number."""
    one = torch.full((1,), 0.1)
    return {name: one.expand(*(size * 200 for size in weight.shape)) for name, weight in RAW.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_views_that_claim_gigabytes(tmp_path, zipped):
    path = saved(tmp_path, views(), _use_new_zipfile_serialization=zipped)
    assert "of which the file holds 1 numbers" in refusal(path)


def test_weights_that_are_views_of_each_other(tmp_path):
    numbers = torch.zeros(10_000)
    views = {name: numbers[: weight.numel()].view(weight.shape) for name, weight in RAW.items()}
    assert "share their numbers" in refusal(saved(tmp_path, views))


def test_views_of_one_buffer_that_holds_them_all(tmp_path):
    buffer = torch.cat([weight.flatten() for weight in RAW.values()])
    parts = buffer.split([weight.numel() for weight in RAW.values()])
    views = {name: part.view(RAW[name].shape) for name, part in zip(RAW, parts, strict=True)}
    assert holds(load_checkpoint(saved(tmp_path, views)), RAW)


def test_weights_in_another_layout_of_memory(tmp_path):
    weights = {
        name: weight.contiguous(memory_format=torch.channels_last)
        if weight.dim() == 4
        else weight.t().contiguous().t()
        if weight.dim() == 2
        else weight
        for name, weight in RAW.items()
    }
    assert holds(load_checkpoint(saved(tmp_path, weights)), RAW)


class Claim:
    """A tensor of a size that nothing stands behind."""

    def __init__(self, kind: type, *sizes: int) -> None:
        self.kind, self.sizes = kind, sizes

    def __reduce__(self) -> tuple[type, tuple[int, ...]]:
        return self.kind, self.sizes


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [torch.Tensor, torch.FloatTensor, bytearray])
def test_sizes_that_nothing_stands_behind(tmp_path, kind, zipped):
    refusal(saved(tmp_path, {**RAW, "x": Claim(kind, 1 << 28)}, _use_new_zipfile_serialization=zipped))


def test_weights_of_the_right_shapes_that_nothing_stands_behind(tmp_path):
    path = saved(tmp_path, {name: Claim(torch.FloatTensor, *weight.shape) for name, weight in RAW.items()})
    assert "its weights claim more bytes than it has" in refusal(path)


def test_none_of_these_takes_memory_that_the_file_does_not_hold(tmp_path):
    compressed = saved(tmp_path, {**RAW, "x": torch.zeros(75_000_000)}, "compressed.pth")
    rewritten(compressed, lambda _, content: content, compression=zipfile.ZIP_DEFLATED)
    paths = [compressed]
    for form in (True, False):
        for name, content in {
            "views": views(),
            "claim": {**RAW, "x": Claim(torch.FloatTensor, 1 << 28)},
            "claimed weight": {**RAW, "z_transform.1.bias": Claim(torch.FloatTensor, 1 << 28)},
        }.items():
            paths.append(saved(tmp_path, content, f"{name}-{form}.pth", _use_new_zipfile_serialization=form))
    code = (
        "import resource, sys, torch\n"
        "from ddgan_deploy.checkpoint import load_checkpoint\n"
        "for path in [sys.argv[1], *sys.argv[1:]]:\n"
        "    try: load_checkpoint(path)\n"
        "    except ValueError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    first, *peaks = subprocess.run(
        [sys.executable, "-c", code, saved(tmp_path, {}), *paths], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(peaks) == len(paths) + 1
    assert int(peaks[-1]) - int(first) < 60


@pytest.mark.parametrize("zipped", [True, False])
def test_tuples_nested_deeply_as_a_key_do_not_end_the_process(tmp_path, zipped):
    path = saved(tmp_path, {("key",): 1}, _use_new_zipfile_serialization=zipped)
    deeper = pickle.TUPLE1 * 200
    if zipped:
        rewritten(path, lambda _, content: content.replace(pickle.TUPLE1, deeper, 1))
    else:
        path.write_bytes(path.read_bytes().replace(pickle.TUPLE1, deeper, 1))
    assert "tuples nested more than 100 deep" in refusal(path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_newer_protocols_are_read_or_named(tmp_path, protocol, zipped):
    path = saved(tmp_path, training_state(), pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    assert protocol == 3 or f"has pickle protocol {protocol}" in refusal(path)
    assert protocol > 3 or holds(load_checkpoint(path), EMA)


def test_a_safetensors_file_by_another_name_and_the_reverse(tmp_path):
    path = tmp_path / "netG.pth"
    save_file(RAW, path)
    assert holds(load_checkpoint(path), RAW)
    assert holds(load_checkpoint(saved(tmp_path, RAW, "netG.safetensors")), RAW)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("name", ["line\nend", "b\udcffytes", "ünï", "[bold]x"], ids=ascii)
def test_names_of_files_that_are_no_text(tmp_path, name, suffix):
    path = tmp_path / "x"
    save_file(RAW, path) if suffix == "safetensors" else torch.save(RAW, path)
    path = path.rename(tmp_path / f"{name}.{suffix}")
    assert holds(load_checkpoint(path), RAW)


def test_a_training_state_in_the_older_form(tmp_path):
    path = saved(tmp_path, training_state(), _use_new_zipfile_serialization=False)
    assert load_checkpoint(path).training_args["num_timesteps"] == 2
