"""Texts of our own in the place of the published ones, whose licence keeps them out of here."""

from __future__ import annotations

import hashlib
import re

import pytest

from ddgan_deploy.families.stylegan2 import sources
from ddgan_deploy.families.stylegan2.sources import A_MIX, NAMES, Compared, compared

LINE = "#" + "-" * 60


def definition(name: str, factor: int) -> str:
    if name[0].islower():
        return f"def {name}(x, eps=1e-8):  # a 'word' and\n    # why\n    return x * {factor} + eps # trailing\n"
    body = f'    def forward(self, x):\n        """What."""\n\n        return x * {factor}\n'
    return f"class {name}(torch.nn.Module):\n{body}"


def module(factor: int = 2, **other: str) -> str:
    """A text like the published ones: a head, decorators, lines between, more than the generator uses."""
    head = '# Copyright\n\n"""Networks from\n"a paper"."""\n\nimport numpy as np\nfrom torch_utils import misc\n\n'
    parts = [f"{LINE}\n\n"]
    for name in (*NAMES, "Discriminator"):
        decorator = "@misc.profiled_function" if name[0].islower() else "@persistence.persistent_class"
        parts.append(f"{decorator}\n{other.get(name, definition(name, factor))}\n{LINE}\n\n")
    return head + "".join(parts)


def stated(text: str) -> dict[str, str]:
    """The rule as it was written down, by regular expressions."""
    text = text.replace("\r", "").removeprefix("\ufeff")
    text = re.sub(r"[ \t]*#[^'\"\n]*$", "", text, flags=re.MULTILINE)
    found = {}
    for piece in re.split(r"^(?=class |def )", text, flags=re.MULTILINE)[1:]:
        kept = re.split(r"\n(?=[^\W\d]|@)", piece)[0]
        name = re.match(r"(?:class|def) (\w+)", kept)
        assert name
        found[name[1]] = hashlib.sha256(re.sub(r"\s", "", kept).encode()).hexdigest()[:16]
    return found


FIRST, SECOND = module(2), module(3, MappingNetwork=definition("MappingNetwork", 2))
PUBLISHED = {title: {name: stated(text)[name] for name in NAMES} for title, text in (("a", FIRST), ("b", SECOND))}


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PUBLISHED", PUBLISHED)


def differing(*texts: str) -> set[str]:
    found = compared(texts)
    assert not found.missing
    assert (found.published == "") == bool(found.differing)
    return set(found.differing)


def test_the_published_ones_are_told():
    assert compared([FIRST]) == Compared("a", (), missing=False)
    assert compared([SECOND]) == Compared("b", (), missing=False)
    assert compared([FIRST, FIRST]).published == "a"


def test_the_hashes_are_of_ten_definitions_each(monkeypatch):
    monkeypatch.undo()
    assert len(sources.PUBLISHED) == 3
    for known in sources.PUBLISHED.values():
        assert tuple(known) == NAMES
        assert len(set(known.values())) == len(NAMES) == 10
        assert all(re.fullmatch("[0-9a-f]{16}", value) for value in known.values())
    assert "modulated_conv2d" in NAMES


@pytest.mark.parametrize(
    "text",
    [
        FIRST.replace("\n", "\r\n"),
        FIRST.replace("\n", "\r"),
        "\ufeff" + FIRST,
        FIRST.replace("# why", "# another reason"),
        FIRST.replace("    # why\n", ""),
        FIRST.replace(LINE, ""),
        FIRST.replace("x * 2", "x  *  2"),
        FIRST.replace("import numpy as np", "import numpy as np\nimport scipy"),
        FIRST + "def more():\n    pass\n",
        FIRST.replace("class Discriminator", "class Other"),
        module(2, Discriminator="class Discriminator(Other):\n    pass\n"),
        FIRST.replace("@misc.profiled_function\n", "").replace("@persistence.persistent_class\n", ""),
    ],
    ids=range(12),
)
def test_what_changes_nothing(text):
    assert compared([text]).published == "a"


@pytest.mark.parametrize("name", NAMES)
def test_an_edited_definition_is_named(name):
    assert differing(module(2, **{name: definition(name, 7)})) == {name}
    assert differing(FIRST, module(2, **{name: definition(name, 7)})) == {name}


def test_definitions_of_several_sources_compute_the_same():
    mixed = module(2, SynthesisLayer=definition("SynthesisLayer", 3))
    assert compared([mixed]) == Compared(A_MIX, (), missing=False)
    assert compared([FIRST, SECOND]) == Compared(A_MIX, (), missing=False)


def test_nothing_to_compare():
    for texts in ([], [""], ["# the source is left out"], ["class Discriminator:\n    pass\n"]):
        assert compared(texts) == Compared("", (), missing=True)
    assert compared(["# the source is left out", FIRST]).published == "a"


def test_what_comes_from_another_module_is_not_compared():
    text = module(2, modulated_conv2d="")
    assert differing(text) == {"modulated_conv2d"}
    assert differing(text, FIRST) == {"modulated_conv2d"}
    assert differing(definition("Generator", 2)) == set(NAMES) - {"Generator"}


@pytest.mark.parametrize(
    "more",
    [
        "modulated_conv2d = other\n",
        "a, modulated_conv2d = other\n",
        "modulated_conv2d: object = other\n",
        "modulated_conv2d.__code__ = other\n",
        "from training.ops import modulated_conv2d\n",
        "from training.ops import other as modulated_conv2d\n",
        "if fast:\n    modulated_conv2d = other\n",
        "if fast:\n    def modulated_conv2d(x):\n        return x\n",
        "try:\n    from ops import modulated_conv2d\nexcept ImportError:\n    pass\n",
        "globals()['modulated_conv2d'] = other\n",
        "x = 1; modulated_conv2d = other\n",
        "x = 1\rmodulated_conv2d = other\n",
        "(modulated_conv2d) = other\n",
        "def\tmodulated_conv2d(x):\n    return x\n",
        "async def modulated_conv2d(x):\n    return x\n",
        "def modulated_conv2d(x):\n    return x\n",
        "def  modulated_conv2d(x):\n    return x\n",
        "def patch():\n    global modulated_conv2d\n    modulated_conv2d = other\n",
        "def patch():\n    global a, modulated_conv2d\n    modulated_conv2d = other\n",
    ],
)
def test_what_is_bound_anew(more):
    # Where a definition is the last before it, what no letter begins is a part of that.
    assert differing(FIRST + "pass\n" + more) == {"modulated_conv2d"}
    assert "modulated_conv2d" in differing(more + FIRST)


@pytest.mark.parametrize("last", [2, 7])
def test_a_definition_of_which_one_is_not_published_differs(last):
    twice = definition("ToRGBLayer", 9 - last) + "\n" + definition("ToRGBLayer", last)
    assert differing(module(2, ToRGBLayer=twice)) == {"ToRGBLayer"}


def test_another_decorator():
    assert differing(FIRST.replace("class ToRGBLayer", "@other(1)\n\nclass ToRGBLayer")) == {"ToRGBLayer"}
    assert differing(FIRST.replace("@misc.profiled_function", "@other", 1)) == {NAMES[0]}
    assert differing(FIRST.replace("class ToRGBLayer", "@other(\n    1)\nclass ToRGBLayer")) == {"ToRGBLayer"}
    assert compared([FIRST.replace("class Discriminator", "@other\nclass Discriminator")]).published == "a"


def test_texts_that_are_none():
    for text in ("\ud800", FIRST + "\ud800", "\0" * 1000, "#" * 10**6, " " * 10**6, "'#" * 10**6, "@\n" * 10**5):
        compared([text])
    assert differing(module(2, ToRGBLayer="class ToRGBLayer:\n    '\ud800'\n")) == {"ToRGBLayer"}
