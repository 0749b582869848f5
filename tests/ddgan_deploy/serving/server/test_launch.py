"""Starting the server: what is refused before, and why it did not start."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.server import command_line as calling
from ddgan_deploy.serving.server import launch
from ddgan_deploy.serving.server.command_line import command_line
from ddgan_deploy.serving.server.launch import started
from ddgan_deploy.serving.server.options import ServerOptions, check_repository, local_address
from ddgan_deploy.serving.server.tritonserver import TritonServer

PORTS = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]


@pytest.fixture
def repository(tmp_path):
    """A repository that is never loaded."""
    (tmp_path / "models" / "ddgan").mkdir(parents=True)
    (tmp_path / "models" / "ddgan" / "config.pbtxt").write_text("name: 'ddgan'")
    return tmp_path / "models"


def _refused(options: ServerOptions) -> str:
    with pytest.raises(InputError) as error, started(options, print):
        pytest.fail("it was started")
    assert "\n" not in str(error.value)
    return str(error.value)


class TestRepository:
    def test_an_artifact_stands_for_its_repository(self, digits):
        assert check_repository(digits) == check_repository(digits / "model_repository")

    @pytest.mark.parametrize("made", [True, False])
    def test_what_is_none(self, tmp_path, made):
        folder = tmp_path / "folder"
        if made:
            (folder / "model").mkdir(parents=True)
        says = f"{folder} is no model repository" if made else f"{folder} does not exist"
        assert says in _refused(ServerOptions(folder))


class TestPorts:
    def test_a_taken_port(self, repository):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            says = _refused(ServerOptions(repository, http_port=0, grpc_port=port, metrics_port=0))
        assert says.startswith(f"port {port} of 127.0.0.1 cannot be used (Address already in use)")
        assert "--grpc-port" in says

    def test_one_port_for_two(self, repository):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
        says = _refused(ServerOptions(repository, http_port=port, grpc_port=port, metrics_port=0))
        assert f"port {port}" in says and "--grpc-port" in says

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_no_port(self, repository, port):
        assert _refused(ServerOptions(repository, http_port=port)).startswith(f"--http-port {port} is no port")


class TestHost:
    @pytest.mark.parametrize(
        "host",
        # Bound to one of the last two, the server would start, and nobody could reach it.
        ["no.such.host.invalid", "x" * 300, "192.0.2.1", "2001:db8::1", "224.0.0.1", "255.255.255.255"],
    )
    def test_no_address_of_this_machine(self, repository, host):
        says = _refused(ServerOptions(repository, host=host, http_port=0, grpc_port=0, metrics_port=0))
        assert says == f"--host {host} is no address of this machine: give one such as 127.0.0.1"

    @pytest.mark.parametrize("host", ["fe80::1", "fe80::1%lo"])
    def test_an_address_that_is_good_on_one_interface(self, host):
        # Of one with an interface the server's HTTP would understand nothing, and listen on all addresses.
        with pytest.raises(InputError, match=f"^--host {host} is good on one interface alone"):
            local_address(host)

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("::", "::"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
        ],
    )
    def test_what_a_host_stands_for(self, host, address):
        assert local_address(host) == address

    def test_a_name_stands_for_the_address_that_is_of_this_machine(self, monkeypatch):
        answers = [(socket.AF_INET6, 1, 6, "", ("2001:db8::1", 0, 0, 0)), (socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        assert local_address("a.name") == "::1"

    @pytest.mark.parametrize(
        ("host", "http", "grpc"), [("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("::1", "ipv6:::1", "[::1]")]
    )
    def test_how_the_server_is_told(self, repository, host, http, grpc):
        line = command_line(TritonServer(Path("tritonserver")), ServerOptions(repository, host), "")
        assert {f"--http-address={http}", f"--grpc-address={grpc}", f"--metrics-address={http}"} < set(line)


@pytest.mark.parametrize(
    "option", ["--http-port=9000", "--allow-http=false", "--http-address=::1", "--model-repository", "--metrics-port=1"]
)
def test_what_must_be_said_to_us(repository, option):
    says = _refused(ServerOptions(repository, http_port=0, grpc_port=0, metrics_port=0, extra=(option,)))
    assert says == f"{option} is not passed on: ddgan-serve itself says that, or needs it as it is"


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", "127.0.0.1:80"), ("0.0.0.0", "127.0.0.1:80"), ("::", "[::1]:80"), ("::1", "[::1]:80")],
)
def test_how_this_machine_reaches_it(host, local):
    assert ServerOptions(Path("models"), host=host, http_port=80).http == local


@pytest.mark.parametrize(
    ("extra", "grpc", "metrics"),
    [
        (("--metrics-address=0.0.0.0",), "[::1]:1", "127.0.0.1:2"),
        (("--grpc-address", "10.0.0.1", "--metrics-address=ipv6:2001:db8::1"), "10.0.0.1:1", "[2001:db8::1]:2"),
        (("--grpc-address=[::]",), "[::1]:1", "[::1]:2"),
    ],
)
def test_what_listens_elsewhere_is_reached_there(extra, grpc, metrics):
    options = ServerOptions(Path("models"), "::1", grpc_port=1, metrics_port=2, extra=extra)
    assert (options.grpc, options.metrics) == (grpc, metrics)


def test_the_server_is_told_all(monkeypatch, repository):
    monkeypatch.setattr(calling, "has_gpu", lambda: False)
    options = ServerOptions(repository, "127.0.0.1", 1, 2, 3, cache_mib=2, extra=("--log-verbose=1",))
    line = command_line(TritonServer(Path("tritonserver"), ("--backend-directory=b",)), options, "ours")
    assert line[:3] == ["tritonserver", "--backend-directory=b", f"--model-repository={repository}"]
    assert {
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        "--http-port=1",
        "--grpc-port=2",
        "--metrics-port=3",
        "--cache-config=local,size=2097152",
        "--allow-gpu-metrics=false",
        "--backend-config=python,shm-region-prefix-name=ours_",
        "--id=ours",
    } < set(line)
    assert line[-1] == "--log-verbose=1"


def test_what_is_said_takes_the_place_of_ours(repository):
    extra = ("--model-control-mode=poll", "--http-restricted-api=logging:a=b")
    line = command_line(TritonServer(Path("tritonserver")), ServerOptions(repository, extra=extra), "")
    assert [option for option in line if option.startswith(("--model-control-mode", "--http-restricted"))] == [*extra]
    (closed,) = [option for option in line if option.startswith("--grpc-restricted-protocol")]
    assert re.fullmatch(r".*=model-repository,shared-memory,trace,logging:ddgan-admin=[0-9a-f]{32}", closed)


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("onnxruntime,intra-op-threads=2", 1),
        ("python,shm-default-byte-size=1", 1),
        ("python,shm-region-prefix-name=a", 0),
    ],
)
def test_what_is_said_of_backends_stands_beside_ours(repository, said, ours):
    extra = (f"--backend-config={said}",)
    line = command_line(TritonServer(Path("tritonserver")), ServerOptions(repository, extra=extra), "ours")
    assert line.count("--backend-config=python,shm-region-prefix-name=ours_") == ours
    assert line.count(extra[0]) == 1


@pytest.mark.parametrize("knows", [True, False])
def test_a_limit_of_requests_where_the_server_has_one(repository, tmp_path, knows):
    program = tmp_path / "tritonserver"
    program.write_text(f"#!/bin/sh\necho '  --{'http-max-input-size' if knows else 'http-port'} <integer>'; exit 1")
    program.chmod(0o755)
    line = command_line(TritonServer(program), ServerOptions(repository), "")
    assert ("--http-max-input-size=65536" in line) is knows
    said = ServerOptions(repository, extra=("--http-max-input-size=9",))
    assert [option for option in command_line(TritonServer(program), said, "") if "input-size" in option] == [
        "--http-max-input-size=9"
    ]


@pytest.mark.parametrize(
    ("extra", "metrics", "grpc"),
    [
        ((), True, True),
        (("--allow-metrics=false",), False, True),
        (("--allow-grpc=0", "--allow-metrics=true"), True, False),
        (("--allow-grpc=false", "--allow-grpc=true"), True, True),
        (("--log-verbose", "1", "--allow-metrics", "False"), False, True),
        (("--allow-metrics",), True, True),
    ],
)
def test_what_is_served(extra, metrics, grpc):
    options = ServerOptions(Path("models"), extra=extra)
    assert (options.allows("metrics"), options.allows("grpc")) == (metrics, grpc)


def test_no_cache_and_a_gpu(monkeypatch, repository):
    monkeypatch.setattr(calling, "has_gpu", lambda: True)
    line = command_line(TritonServer(Path("tritonserver")), ServerOptions(repository, cache_mib=0), "")
    assert not any(option.startswith(("--cache-config", "--allow-gpu")) for option in line)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("\x7fELF of another machine", "Exec format error"),
        ("#!/no/such/shell\n", "No such file or directory"),
        (
            '#!/bin/sh\necho "$0: error while loading shared libraries: libx.so: no such file"\nexit 127\n',
            "error while loading shared libraries: libx.so: no such file",
        ),
    ],
)
def test_a_server_that_does_not_run_here(repository, tmp_path, monkeypatch, program, reason):
    path = tmp_path / "tritonserver"
    path.write_text(program)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ServerOptions(repository, http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(InputError) as error, started(options, print) as running:
        running.wait_ready()
    fix = "mend it, or take it off PATH and get a server with python -m ddgan_deploy.serving.fetch"
    assert str(error.value) == f"{path} does not run here ({reason}): {fix}"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGKILL, "the server was ended by signal 9 before it was ready: memory may have run out, which the "),
        (signal.SIGSEGV, "the server was ended by signal 11 before it was ready"),
    ],
)
def test_a_server_that_a_signal_ends(repository, tmp_path, monkeypatch, number, says):
    path = tmp_path / "tritonserver"
    path.write_text(f"#!/bin/sh\nkill -{int(number)} $$\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    options = ServerOptions(repository, http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(InputError, match=f"^{says}"), started(options, print) as running:
        running.wait_ready()


class TestRealServer:
    def test_it_is_ready_and_listens_here_alone(self, server):
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/ddgan/ready"):
            assert urllib.request.urlopen(f"http://{server.http}{path}").status == 200
        listening = Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]
        ports = {int(address.rsplit(":")[-1]) for address in (server.http, server.grpc, server.metrics)}
        bound = {
            fields[1].split(":")[0]
            for fields in map(str.split, listening)
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) in ports
        }
        assert bound == {"0100007F"}

    def test_models_cannot_be_unloaded(self, server):
        request = urllib.request.Request(f"http://{server.http}/v2/repository/models/ddgan/unload", method="POST")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request)
        assert urllib.request.urlopen(f"http://{server.http}/v2/models/ddgan/ready").status == 200

    def test_our_metrics_are_beside_the_servers(self, server):
        page = urllib.request.urlopen(f"http://{server.metrics}/metrics").read().decode()
        # Warm-up draws too.
        assert re.search(r'^ddgan_images_total\{engine="onnxruntime[^"]*",model="ddgan"\} [1-9]', page, re.MULTILINE)
        assert re.search(r'^nv_inference_queue_duration_us\{model="ddgan"', page, re.MULTILINE)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (
                lambda engine: (engine / "config.pbtxt").write_text("nonsense {"),
                'model {name}: its config.pbtxt at 1:10: Message type "inference.ModelConfig" has no field named',
            ),
            (lambda engine: (engine / "1" / "model.py").unlink(), "{engine}/1/model.py"),
            (lambda engine: shutil.rmtree(engine / "1" / "artifact"), "{engine}/1/artifact does not exist"),
        ],
    )
    def test_a_broken_repository(self, tritonserver, digits, tmp_path, change, says):
        folder = shutil.copytree(digits / "model_repository", tmp_path / "models")
        change(folder / MODEL)
        options = ServerOptions(folder, http_port=0, grpc_port=0, metrics_port=0)
        with pytest.raises(InputError) as error, started(options, print) as running:
            running.wait_ready()
        message = str(error.value)
        assert message.startswith(f"{folder} cannot be served: ") and "\n" not in message
        assert says.format(engine=folder / MODEL, name=MODEL) in message
        assert "ddgan-export --rebuild" in message
        assert running.process.poll() is not None

    @pytest.mark.parametrize("way", ["http", "grpc", "metrics"])
    def test_a_port_that_is_taken_while_it_starts(self, tritonserver, digits, monkeypatch, way):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            free = launch.checked
            monkeypatch.setattr(launch, "checked", lambda options: replace(free(options), **{f"{way}_port": port}))
            options = ServerOptions(digits, http_port=0, grpc_port=0, metrics_port=0)
            with pytest.raises(InputError) as error, started(options, print) as running:
                running.wait_ready()
        assert str(error.value) == (
            f"port {port} of 127.0.0.1 cannot be used (something else took it while the server started): "
            f"give another --{way}-port, or end what uses it"
        )

    @pytest.mark.parametrize(
        ("mount", "says"),
        [
            (
                "mount -t tmpfs -o size=64k tmpfs /dev/shm",
                "/dev/shm does not have what the server's python backend needs (No space left on device): ",
            ),
            (
                "mount -t tmpfs -o ro tmpfs /dev/shm",
                "/dev/shm does not have what the server's python backend needs (Read-only file system): ",
            ),
            (
                "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp",
                "the server's python backend cannot write into /tmp: ",
            ),
        ],
    )
    def test_no_room_for_the_python_backend(self, tritonserver, digits, mount, says):
        # A view of the files for one process alone, if this user may have one.
        apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
        if subprocess.run([*apart, mount], capture_output=True).returncode:
            pytest.skip("nothing can be mounted here; what the server says then is in test_server_log.py")
        serve = shlex.join([sys.executable, "-m", "ddgan_deploy.cli.serve", "--repository", str(digits), *PORTS])
        done = subprocess.run([*apart, f"{mount} && exec {serve}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and done.stderr.startswith(f"error: {says}"), done.stderr
        assert done.stderr.count("\n") == 1

    def test_any_path_will_do_and_no_proxy_is_asked(self, serve, digits, tmp_path, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        folder = shutil.copytree(digits / "model_repository", tmp_path / "with a blank and an ü")
        with serve(folder) as served:
            assert any("draws on onnxruntime" in line for line in served.log)

    @pytest.mark.parametrize("says", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"])
    def test_what_else_holds_the_port_is_not_ours(self, repository, says):
        def speak(listening: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        connection.recv(1000)
                        connection.sendall(says)

        with (
            socket.create_server(("127.0.0.1", 0)) as listening,
            subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, text=True) as process,
        ):
            speaker = threading.Thread(target=speak, args=(listening,))
            speaker.start()
            options = replace(ServerOptions(repository), http_port=listening.getsockname()[1])
            assert not launch.RunningServer(options, repository, process, "ours", print)._answers()
            process.kill()
            listening.shutdown(socket.SHUT_RDWR)
            speaker.join()

    def test_metrics_that_are_elsewhere_keep_nobody_waiting(self, serve, monkeypatch):
        monkeypatch.setattr(launch, "_METRICS_POLLS", 2)
        # An abbreviation, which the server understands and we do not.
        with serve(extra=("--metrics-addr=127.0.0.2",)) as served:
            assert served.running.ready

    def test_another_server_on_the_port_is_not_ours(self, server, repository):
        options = replace(ServerOptions(repository), http_port=int(server.http.rsplit(":")[-1]))
        with subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, text=True) as process:
            other = launch.RunningServer(options, repository, process, "ours", print)
            assert not other._answers()
            process.kill()

    def test_nothing_stays_in_shared_memory(self, serve, monkeypatch):
        monkeypatch.setattr(launch.secrets, "token_hex", lambda size: "5ec4e7")
        with serve() as served:
            regions = list(Path("/dev/shm").glob("ddgan_5ec4e7_*"))
            assert len(regions) >= 2
            os.killpg(served.pid, signal.SIGKILL)
        assert not any(region.exists() for region in regions)
