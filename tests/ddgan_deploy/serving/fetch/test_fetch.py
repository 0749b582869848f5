"""What is fetched beside the environment: whole or not at all, verified, once, and without root."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole
from ddgan_deploy.serving import installed
from ddgan_deploy.serving.fetch import __main__ as fetch
from ddgan_deploy.serving.fetch import debian

STUB = f"pytriton/tritonserver/python_backend_stubs/{installed.PYTHON}/triton_python_backend_stub"
PROGRAM = "pytriton/tritonserver/bin/tritonserver"
ANALYZER = "perf_analyzer/bin/perf_analyzer"
RUNS, FAILS = "#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 1\n"
# Takes its words from files beside it: a package is what the archive of its name holds, and lists are there or not.
APT = """#!/bin/sh
echo "$@" >> "$FAKE_APT/asked"
case " $* " in *" -c "*) cp "$2" "$FAKE_APT/apt.conf"; touch "$FAKE_APT/lists";; esac
case " $* " in *" update "*) exit 0;; esac
[ -e "$FAKE_APT/lists" ] || { echo "W: noise" >&2; echo "E: Unable to locate package" >&2; exit 100; }
cp "$FAKE_APT"/*.deb .
"""
# An archive's first line is a folder, its second a file's name, the rest the file.
DPKG_DEB = """#!/bin/sh
folder=$3/$(sed -n 1p "$2") && file=$folder/$(sed -n 2p "$2")
mkdir -p "$folder" && sed 1,2d "$2" > "$file" && chmod +x "$file"
"""
LOADER = """usr/lib/x86_64-linux-gnu
ld-linux-x86-64.so.2
#!/bin/sh
exit {code}
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_wheel(folder: Path, wheel: fetch.Wheel, files: dict[str, str]) -> fetch.Wheel:
    """A wheel file of that name with these files, and its description with the right hash."""
    folder.mkdir(exist_ok=True)
    name = wheel.project.replace("-", "_")
    info = f"{name}-{wheel.version}.dist-info"
    path = folder / f"{name}-{wheel.version}-py3-none-{wheel.platform}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {wheel.project}\nVersion: {wheel.version}\n"
        )
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: py3-none-{wheel.platform}\n")
        archive.writestr(f"{info}/RECORD", "")
        for file, text in files.items():
            archive.writestr(file, text)
    return dataclasses.replace(wheel, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An environment's folder of its own, on x86-64 Linux with a recent glibc, wherever the test runs."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(fetch.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(fetch.platform, "libc_ver", lambda: ("glibc", "2.36"))
    return tmp_path / "environment"


@pytest.fixture
def flags(tmp_path):
    """What keeps pip away from the network."""
    return ("--no-index", "--find-links", str(tmp_path / "wheels"))


@pytest.fixture
def server_wheel(tmp_path, monkeypatch, prefix):
    wheel = make_wheel(
        tmp_path / "wheels", fetch.SERVER, {PROGRAM: "server", STUB: "stub", "nvidia_pytriton.libs/x": ""}
    )
    monkeypatch.setattr(fetch, "SERVER", wheel)
    monkeypatch.setattr(fetch, "find_libpython", lambda folder: Path("/anywhere"))
    return wheel


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """apt-get and dpkg-deb as on a machine that has the packages put into this folder."""
    folder = tmp_path / "apt"
    script(folder / "bin" / "apt-get", APT)
    script(folder / "bin" / "dpkg-deb", DPKG_DEB)
    monkeypatch.setenv("FAKE_APT", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_server_is_unpacked_with_its_programs_executable(server_wheel, prefix, flags):
    folder = fetch.fetch_server(flags)
    assert folder == installed.server_folder() == prefix / "share" / "ddgan-deploy" / "tritonserver"
    assert (folder / PROGRAM).read_text() == "server"
    assert os.access(folder / PROGRAM, os.X_OK) and os.access(folder / STUB, os.X_OK)
    assert names(folder.parent) == ["tritonserver"]


def test_what_is_there_asks_nobody(server_wheel, flags, monkeypatch):
    fetch.fetch_server(flags)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a program was run"))
    fetch.fetch_server(flags)


def test_another_version_is_replaced_whole(server_wheel, flags):
    folder = fetch.fetch_server(flags)
    (folder / "fetched.txt").write_text("nvidia-pytriton 0.6.0 for Python 3.11\n")
    (folder / "of_before").touch()
    fetch.fetch_server(flags)
    assert not (folder / "of_before").exists()
    assert names(folder.parent) == ["tritonserver"]


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_left(server_wheel, prefix, flags, monkeypatch):
    monkeypatch.setattr(fetch, "SERVER", dataclasses.replace(server_wheel, sha256="0" * 64))
    with pytest.raises(InputError, match=r"pip cannot take nvidia-pytriton 0\.7\.0: .+"):
        fetch.fetch_server(flags)
    assert not prefix.exists()


def test_a_failure_leaves_the_version_of_before(server_wheel, flags, monkeypatch, apt):
    folder = fetch.fetch_server(flags)
    (folder / "fetched.txt").write_text("nvidia-pytriton 0.6.0 for Python 3.11\n")
    monkeypatch.setattr(fetch, "find_libpython", lambda folder: None)
    with pytest.raises(InputError, match=rf"needs libpython{installed.PYTHON}\.so\.1\.0"):
        fetch.fetch_server(flags)
    assert (folder / "fetched.txt").read_text().startswith("nvidia-pytriton 0.6.0")
    assert (folder / PROGRAM).is_file()
    assert names(folder.parent) == ["tritonserver"]


def test_a_folder_that_cannot_take_its_place_leaves_the_one_of_before(tmp_path, monkeypatch):
    target, rename = tmp_path / "target", Path.rename
    target.mkdir()
    (target / "of_before").touch()
    asked = []

    def second_fails(path: Path, to: Path) -> Path:
        asked.append(to)
        if len(asked) == 2:
            raise OSError("no")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(InputError, match="cannot be written"), folder_written_whole(target):
        pass
    assert names(target) == ["of_before"]
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("points", ["elsewhere", "nowhere"])
def test_a_link_in_the_folders_place_is_replaced_and_not_followed(tmp_path, points):
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "here" / "target"
    elsewhere.mkdir()
    (elsewhere / "of_others").touch()
    target.parent.mkdir()
    target.symlink_to(tmp_path / points)
    with folder_written_whole(target) as folder:
        (folder / "ours").touch()
    assert not target.is_symlink() and names(target) == ["ours"]
    assert names(target.parent) == ["target"]
    assert names(elsewhere) == ["of_others"]


@pytest.mark.parametrize("lists", [True, False])
def test_a_missing_libpython_comes_from_the_machines_own_release(server_wheel, flags, monkeypatch, apt, lists):
    library = f"libpython{installed.PYTHON}.so.1.0"
    (apt / "library.deb").write_text(f"usr/lib/x86_64-linux-gnu\n{library}\n")
    if lists:
        (apt / "lists").touch()
    monkeypatch.setattr(installed, "_of_linker", lambda name: [])
    monkeypatch.setattr(installed.sysconfig, "get_config_vars", lambda *names: ["/nowhere"])
    monkeypatch.setattr(fetch, "find_libpython", installed.find_libpython)
    folder = fetch.fetch_server(flags)
    assert installed.find_libpython(folder) == folder / "libpython/usr/lib/x86_64-linux-gnu" / library
    asked = (apt / "asked").read_text().splitlines()
    assert asked[0] == f"-qq download libpython{installed.PYTHON}"
    assert [line.split()[-2:] for line in asked[1:]] == (
        [] if lists else [["-qq", "update"], ["download", f"libpython{installed.PYTHON}"]]
    )
    # With lists of its own, but the machine's sources.
    assert lists or "sourcelist" not in (apt / "apt.conf").read_text()


def test_libpython_is_found_where_the_package_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "_of_linker", lambda name: [])
    monkeypatch.setattr(installed.sysconfig, "get_config_vars", lambda *names: [None])
    assert installed.find_libpython(tmp_path) is None
    library = tmp_path / "nvidia_pytriton.libs" / f"libpython3-0a1b2c3d.{sys.version_info.minor}.so.1.0"
    script(library, "")
    assert installed.find_libpython(tmp_path) == library


@pytest.fixture
def analyzer_wheel(tmp_path, monkeypatch, prefix):
    """An analyzer that needs a newer system than this one."""
    wheel = make_wheel(tmp_path / "wheels", fetch.PERF_ANALYZER, {ANALYZER: FAILS})
    monkeypatch.setattr(fetch, "PERF_ANALYZER", wheel)
    return wheel


def test_an_analyzer_that_runs_as_it_is_gets_no_libraries(analyzer_wheel, tmp_path, flags, monkeypatch):
    wheel = make_wheel(tmp_path / "wheels", fetch.PERF_ANALYZER, {ANALYZER: RUNS})
    monkeypatch.setattr(fetch, "PERF_ANALYZER", wheel)
    monkeypatch.setattr(debian, "unpack_debian_13", lambda *a: pytest.fail("Debian was asked"))
    folder = fetch.fetch_perf_analyzer(flags)
    assert installed.unpacked_perf_analyzer(folder) == (str(folder / ANALYZER),)


def test_on_an_older_system_it_runs_through_the_loader_of_debian_13(analyzer_wheel, flags, apt, monkeypatch):
    (apt / "libc6.deb").write_text(LOADER.format(code=0))
    monkeypatch.setattr(debian, "debian_mirrors", lambda: ["http://mirror.example/debian"])
    folder = fetch.fetch_perf_analyzer(flags)
    libraries = folder / "debian13/usr/lib/x86_64-linux-gnu"
    expected = (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(folder / ANALYZER))
    assert installed.unpacked_perf_analyzer(folder) == expected
    asked = (apt / "asked").read_text().splitlines()
    assert asked[-1].endswith("-qq download libc6 libstdc++6 libgcc-s1 libssl3t64 zlib1g libzstd1")
    # Nothing but Debian 13, whatever the machine's sources and pins say.
    configuration = (apt / "apt.conf").read_text()
    assert "/sources.list" in configuration and 'sourceparts "/dev/null"' in configuration


@pytest.mark.parametrize(("mirrors", "code"), [([], 0), (["http://mirror.example/debian"], 1)])
def test_where_it_does_not_run_at_all_nothing_is_left(analyzer_wheel, flags, apt, monkeypatch, prefix, mirrors, code):
    (apt / "libc6.deb").write_text(LOADER.format(code=code))
    monkeypatch.setattr(debian, "debian_mirrors", lambda: mirrors)
    with pytest.raises(InputError, match="no mirror of Debian" if not mirrors else "does not run on this machine"):
        fetch.fetch_perf_analyzer(flags)
    assert not prefix.exists()


def test_mirrors_of_debian_in_both_formats_of_sources(tmp_path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://comment.example/debian x main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://one.example/debian/ bookworm main\n"
        "deb-src http://source.example/debian bookworm main\n"
        "deb http://one.example/debian-security bookworm-security main\n"
    )
    (folder / "more.list").write_text("deb https://packages.example/tool stable main\n")
    (folder / "debian.sources").write_text(
        "Types: deb\nURIs: http://two.example/debian http://three.example/debian\nSuites: bookworm\n\n"
        "Types: deb\nURIs: mirror+file:/etc/apt/mirrors/debian.list\nSuites: bookworm\n"
    )
    assert sorted(debian.debian_mirrors(tmp_path)) == [
        "http://one.example/debian/",
        "http://three.example/debian",
        "http://two.example/debian",
        "mirror+file:/etc/apt/mirrors/debian.list",
    ]


def test_no_debian(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no apt-get"):
        debian.unpack_own(["libpython3.11"], tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("machine", lambda: "aarch64", "x86-64 alone"),
        ("libc_ver", lambda: ("glibc", "2.31"), r"glibc 2\.35"),
        ("libc_ver", lambda: ("", ""), r"glibc 2\.35"),
    ],
)
def test_a_machine_that_has_no_server(server_wheel, flags, monkeypatch, prefix, name, value, reason):
    monkeypatch.setattr(fetch.platform, name, value)
    with pytest.raises(InputError, match=reason):
        fetch.fetch_server(flags)
    assert not prefix.exists()


def test_a_python_without_a_stub(server_wheel, flags, monkeypatch, prefix):
    monkeypatch.setattr(fetch, "_PYTHONS", ((3, 8), (3, 9)))
    with pytest.raises(InputError, match="no python backend for Python"):
        fetch.fetch_server(flags)
    assert not prefix.exists()


def test_what_cannot_be_had_is_a_notice_or_with_require_an_error(server_wheel, prefix, capsys):
    assert fetch.main(["--perf-analyzer", "--", "--no-index"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("notice: perf_analyzer was not fetched (pip cannot take perf-analyzer 2.60.0: ")
    assert said.err.endswith("put perf_analyzer on PATH, or try again with " + installed.FETCH + " --perf-analyzer\n")
    assert said.err.count("\n") == 1
    assert fetch.main(["--perf-analyzer", "--require", "--", "--no-index"]) == 2
    assert capsys.readouterr().err.startswith("error: perf_analyzer was not fetched")
    assert not prefix.exists()


def test_by_default_both_are_fetched(server_wheel, analyzer_wheel, flags, capsys):
    assert fetch.main(["--", *flags]) == 0
    said = capsys.readouterr()
    assert said.out == f"Triton Inference Server: {installed.server_folder()}\n"
    assert "notice: perf_analyzer" in said.err


def test_perf_analyzer_on_path_comes_first_then_the_environments(tmp_path, monkeypatch, prefix):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "environment/bin/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(InputError, match="no perf_analyzer on PATH: get one with python -m"):
        installed.find_perf_analyzer()
    unpacked = script(installed.perf_folder() / ANALYZER, RUNS)
    assert installed.find_perf_analyzer() == (str(unpacked),)
    own = script(prefix / "bin" / "perf_analyzer", RUNS)
    assert installed.find_perf_analyzer() == (str(own),)
    on_path = script(tmp_path / "path" / "perf_analyzer", RUNS)
    assert installed.find_perf_analyzer() == (str(on_path),)
