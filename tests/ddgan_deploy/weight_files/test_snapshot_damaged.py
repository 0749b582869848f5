"""Snapshots that are damaged, or ask for more than they hold: one line, soon, and without the memory they claim."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.objects import Saved, modules, state_dict
from ddgan_deploy.weight_files.reading import read
from tests.ddgan_deploy.weight_files.pickles import (
    built,
    call,
    dict_of,
    dotted,
    file,
    huge,
    module,
    named,
    plain,
    refusal,
    snapshot,
    stored,
    stream,
    tensor,
    tuple_of,
)

NUMBERS = stream(torch.arange(6.0))
KEY = re.findall(rb"X.\0\0\0\d+", NUMBERS)[0]
HEADER = NUMBERS[: -6 * 4]
# After a name of one byte in the memo.
BIG_ENDIAN = re.sub(rb"(?s)(little_endian.{1,2})\x88", lambda found: found[1] + b"\x89", NUMBERS)
MODULE_LIKE = named("training.x.Y")


def array(content: bytes, shape: tuple[object, ...]) -> bytes:
    dtype = call("numpy.dtype", plain("f8"))
    return call("numpy._core.numeric._frombuffer", content, dtype, plain(shape), plain("C"))


def often(once: bytes, each: bytes, count: int) -> bytes:
    """A file with a value, which has number 1 in the memo, and what is made of it."""
    # What is in a value has numbers, too: it is numbered last.
    return snapshot(once + b"q\x010(" + each.replace(b"q\x01", b"q\x02") * count + b"l")


POPS_NOTHING = (
    *(b"0", b"1", b"2", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"l", b"t", b"d", b"\x85", b"\x86", b"\x87", b"R"),
    *(b"\x81", b"\x92", b"b", b"Q", b"q\0", b"r\0\0\0\0", b"\x93", b"\x94", b".", b"h\0", b"j\0\0\0\0"),
)
DAMAGED = {
    **{f"nothing before {opcode!r}": b"\x80\x04" + opcode for opcode in POPS_NOTHING},
    **{f"a number before {opcode!r}": b"\x80\x04K\1" + opcode + b"." for opcode in POPS_NOTHING[2:11]},
    "no end": b"\x80\x04}",
    "an opcode that there is not": b"\x80\x04\xff.",
    "protocol 0": b"\x80\0}.",
    "protocol 6": b"\x80\x06}.",
    "another protocol within": b"\x80\x04\x80\x01}.",
    "a text of 2^62 bytes": file(huge(b"\x8d", 1 << 62), 4),
    "bytes of 2^62 bytes": file(huge(b"\x8e", 1 << 62), 4),
    "a bytearray of 2^62 bytes": file(huge(b"\x96", 1 << 62), 5),
    "bytes of 4 GB": file(b"B\xff\xff\xff\xff"),
    "a number of 2 GB": file(b"\x8b\xff\xff\xff\x7f"),
    "a number of 8 MB": file(b"\x8b" + struct.pack("<i", 1 << 23) + b"\x7f" * (1 << 23)),
    "a number in digits": file(b"L" + b"9" * 5000 + b"L\n"),
    "a text with a wrong escape": file(b"S'\\x'\n"),
    "an extension": file(b"\x82\x01"),
    "a text as what lies outside": file(b"Px\n"),
    "a storage outside": file(plain(("storage", 1)) + b"Q"),
    "a buffer outside": file(b"\x97", 5),
    "pairs without a value": file(b"}(K\1u"),
    "arguments that are none": file(named("torch.device") + b"K\1R"),
    "a class made of a number": file(MODULE_LIKE + b"K\1\x81"),
    "keywords that are none": file(MODULE_LIKE + b")K\1\x92", 4),
    "filled twice": snapshot(built("training.x.Y", a=b"N") + dict_of(b=b"N") + b"b"),
    # Tensors.
    "a storage without bytes": snapshot(call("torch.storage._load_from_bytes", plain("text"))),
    "a storage of nothing": snapshot(stored(b"")),
    "a storage cut short": snapshot(stored(NUMBERS[:-1])),
    "a storage without its numbers": snapshot(stored(HEADER)),
    "a storage without its header": snapshot(stored(NUMBERS[40:])),
    "a storage in another form": snapshot(stored(b"PK\3\4" + NUMBERS)),
    "a storage of other magic": snapshot(stored(NUMBERS.replace(b"\xfc\x9c", b"\xfc\x9d", 1))),
    "a storage in big-endian order": snapshot(stored(BIG_ENDIAN)),
    "a storage that claims gigabytes": snapshot(
        stored(NUMBERS.replace(b"K\x06", b"J\0\0\0\x40").replace(struct.pack("<q", 6), struct.pack("<q", 1 << 30)))
    ),
    "a storage of less than nothing": snapshot(
        stored(NUMBERS.replace(b"K\x06", b"J\xff\xff\xff\xff").replace(struct.pack("<q", 6), struct.pack("<q", -1)))
    ),
    "a storage within a storage": snapshot(stored(stored(NUMBERS) + b".")),
    "a tensor of a number": snapshot(tensor(b"K\1", (1,), (1,))),
    "a tensor beyond its storage": snapshot(tensor(stored(NUMBERS), (7,), (1,))),
    "a tensor that begins beyond its storage": snapshot(tensor(stored(NUMBERS), (6,), (1,), 1)),
    "a tensor of strides beyond its storage": snapshot(tensor(stored(NUMBERS), (2, 3), (4, 1))),
    "a tensor of negative strides": snapshot(tensor(stored(NUMBERS), (2,), (-1,), 5)),
    "a tensor of negative sizes": snapshot(tensor(stored(NUMBERS), (-2,), (1,))),
    "a tensor of sizes beyond 64 bits": snapshot(tensor(stored(NUMBERS), (1 << 62, 1 << 62), (0, 0))),
    "a tensor of sizes beyond 2048 bits": snapshot(tensor(stored(NUMBERS), (1 << 2000,), (0,))),
    "a tensor of other strides than sizes": snapshot(tensor(stored(NUMBERS), (2, 3), (1,))),
    "a tensor of a million axes": snapshot(tensor(stored(NUMBERS), (1,) * 200_000, (1,) * 200_000)),
    "a storage of keys that take for ever to compare": snapshot(stored(NUMBERS.replace(KEY, b"N" + b"2\x86" * 60))),
    "pairs that are none": snapshot(call("collections.OrderedDict", plain([1, 2]))),
    "pairs that are none of a new object": snapshot(named("collections.OrderedDict") + plain(([1],)) + b"\x81"),
    "a persistent object without a state": snapshot(
        call("torch_utils.persistence._reconstruct_persistent_obj", dict_of(type=plain("class")))
    ),
    # What is no snapshot.
    "a list": file(b"]"),
    "a number": file(b"K\1"),
    "one object": file(module()),
    "keys that are no texts": file(b"}K\1K\1s"),
    "TensorFlow": file(tuple_of(*[built("dnnlib.tflib.network.Network", version=plain(4))] * 3), 4),
}  # fmt: skip
OFTEN = {
    "a text that is encoded": often(plain("x" * 200_000), call("_codecs.encode", b"h\1", plain("latin1")), 20),
    "a list that is a set": often(b"](" + b"N" * 100_000 + b"e", call("builtins.set", b"h\1"), 100),
    "a list that is a dict": often(plain([["a", 1]] * 50_000), call("collections.OrderedDict", b"h\1"), 100),
    "an array": often(plain(bytes(4096 * 8)), array(b"h\1", (4096,)), 100),
    "a storage": often(plain(stream(torch.zeros(100_000))), call("torch.storage._load_from_bytes", b"h\1"), 20),
    "attributes": often(
        plain({f"a{place}": 1 for place in range(50_000)}),
        named("training.x.Y") + b")\x81" + tuple_of(b"h\1", plain({"b": 1})) + b"b",
        100,
    ),
}
"""What is there once and would be copied each time."""
LONG = {
    "a million times the same opcode": file(b"}0" * 600_000),
    "a million dicts": file(b"(" + b"}" * 1_100_000 + b"l"),
    "a million marks": file(b"(" * 1_100_000),
    "a million objects": file(MODULE_LIKE + b"q\0" + b"h\0)\x810" * 300_000),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_in_one_line(tmp_path, name):
    message = refusal(tmp_path, DAMAGED[name])
    said = {
        "protocol 6": "has pickle protocol 6: save it anew by protocol 2 to 5",
        "a storage in big-endian order": "big-endian",
        "TensorFlow": "convert it by legacy.py of stylegan2-ada-pytorch",
        "one object": "holds one object, of torch.nn.modules.module.Module,",
        "filled twice": "is filled twice",
        "a tensor beyond its storage": "reaches beyond its numbers",
    }
    assert said.get(name, ": ") in message


@pytest.mark.parametrize("name", OFTEN)
def test_what_is_copied_again_and_again(tmp_path, name):
    assert "its objects claim more bytes than it has" in refusal(tmp_path, OFTEN[name])


def test_none_of_these_takes_memory_or_time(tmp_path):
    paths = []
    for place, content in enumerate((DAMAGED | OFTEN | LONG).values()):
        paths.append(tmp_path / f"{place}.pkl")
        paths[-1].write_bytes(content)
    code = (
        "import resource, sys, time, torch\n"
        "from pathlib import Path\n"
        "from ddgan_deploy.weight_files.reading import read\n"
        "longest = 0\n"
        "for path in [sys.argv[1], *sys.argv[1:]]:\n"
        "    begin = time.process_time()\n"
        "    try: read(Path(path))\n"
        "    except ValueError as error: refused = str(error)\n"
        "    longest = max(longest, time.process_time() - begin)\n"
        "    if path == sys.argv[1]: first, longest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) // 1024, longest, refused)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True).stdout
    megabytes, seconds, refused = said.split(maxsplit=2)
    assert "has more than 1000000 opcodes" in refused
    assert int(megabytes) < 400
    assert float(seconds) < 20


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_a_snapshot_cut_short(tmp_path, place):
    content = snapshot(module(dict_of(weight=tensor(stored(NUMBERS), (2, 3), (3, 1)))))
    refusal(tmp_path, content[: place * len(content) // 100 or 1])


def read_from(folder: Path, content: bytes) -> dict[str, object]:
    path = folder / "network-snapshot.pkl"
    path.write_bytes(content)
    return read(path)


def test_deeply_nested_parts_are_held(tmp_path):
    for nested in (b"N" + b"\x85" * 100_000, b"]" * 50_000 + b"a" * 49_999):
        found = read_from(tmp_path, file(dict_of(G_ema=module(), D=nested)))
        assert isinstance(found["G_ema"], Saved)


def test_tuples_that_double(tmp_path):
    doubled = b"N" + b"2\x86" * 200
    found = read_from(tmp_path, file(dict_of(G_ema=module(), D=doubled)))
    assert isinstance(found["D"], tuple)
    as_key = read_from(tmp_path, file(dict_of(G_ema=b"}" + doubled + b"Ns")))
    assert list(map(type, as_key["G_ema"])) == [Saved]


def test_keys_that_would_all_have_one_hash(tmp_path):
    modulus = (1 << 61) - 1
    keys = b"".join(plain(place * modulus) + b"N" for place in range(1, 100_000))
    found = read_from(tmp_path, file(dict_of(G_ema=b"}(" + keys + b"u")))
    assert len(found["G_ema"]) == 99_999


def test_what_lies_in_itself(tmp_path):
    inside_itself = named("torch.nn.modules.module.Module") + b")\x81q\x07" + dict_of(
        _parameters=b"}", _buffers=b"}", _modules=dict_of(a=b"h\x07", b=b"h\x07")
    ) + b"b"  # fmt: skip
    found = read_from(tmp_path, snapshot(inside_itself))["G_ema"]
    assert isinstance(found, Saved)
    assert len(repr(found)) < 100
    with pytest.raises(InputError, match=r"more than \d+ (deep|modules)"):
        list(modules(found))
    with pytest.raises(InputError, match=r"more than \d+ (deep|modules)"):
        state_dict(found)


def test_modules_that_double(tmp_path):
    inside = module()
    for place in range(60):
        memo = struct.pack("<B", place + 10)
        inside = inside + b"q" + memo + b"0" + module(modules=dict_of(a=b"h" + memo, b=b"h" + memo))
    found = read_from(tmp_path, snapshot(inside))["G_ema"]
    with pytest.raises(InputError, match="more than 10000 modules"):
        state_dict(found)


def test_names_of_modules_that_grow(tmp_path):
    inside = module(modules=dict_of(**{"x" * 100_000: module()}))
    found = read_from(tmp_path, snapshot(inside))["G_ema"]
    with pytest.raises(InputError, match="has 100000 characters"):
        state_dict(found)


def test_a_module_that_is_none(tmp_path):
    for content in (module(modules=dict_of(a=plain(1))), module(modules=plain([1])), built("torch.nn.Module", a=b"N")):
        found = read_from(tmp_path, snapshot(content))["G_ema"]
        with pytest.raises(InputError, match="is an? int, not a module|is no PyTorch module"):
            state_dict(found)


def test_a_state_that_a_million_objects_share(tmp_path):
    state = dict_of(**{f"a{place}": b"N" for place in range(10_000)}) + b"q\x09"
    made = state + b"0" + named("training.x.Y") + b"q\x080" + b"h\x08)\x81h\x09b0" * 100_000
    found = read_from(tmp_path, file(dict_of(G_ema=made + b"N")))
    assert found["G_ema"] is None


def test_views_that_repeat_numbers_take_none(tmp_path):
    found = read_from(tmp_path, snapshot(tensor(stored(NUMBERS), (1 << 30, 6), (0, 1))))["G_ema"]
    assert isinstance(found, torch.Tensor)
    assert found.untyped_storage().nbytes() == 24


def test_what_no_name_is_made_of(tmp_path):
    refusal(tmp_path, file(plain("x" * 3_000_000) + b"q\1" + b"h\1h\1\x930" * 1000))
    refusal(tmp_path, snapshot(dotted("torch", "x" * 1000)))
