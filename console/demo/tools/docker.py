"""`docker` of a demo node: containers are records with a living main process, what runs "in" one runs on the node
itself.

Enough for a console: `ps`, `inspect`, `exec`, `run -d`, `create`, `start`, `stop`, `rm`, `images`, `pull`,
`version`. As with the real one, what `exec` starts
is no child of the client: killing the client leaves it running. State:
`$DSV4_DEMO_DIR/docker/{containers,images}`. Fault: a file
`$DSV4_DEMO_DIR/fail/docker` with `down` (daemon not running).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from console.demo import processes
from console.demo.tools.demo_node import DemoNode, start_time, this_node
from console.demo.tools.docker_args import Words, mount, size_bytes, take_apart, template

Record = dict[str, object]
_DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
_LAYERS = 4


MARK = "DSV4_DEMO_CONTAINER"
"""In the environment of everything that runs in a container: its id."""


def stopped(code: int) -> dict[str, object]:
    """The State of a container that does not run."""
    return {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": code}


class DockerError(Exception):
    """The output of the client, and its exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Daemon:
    """The records of one node."""

    def __init__(self, node: DemoNode) -> None:
        self._node = node
        self._root = node.directory / "docker"
        (self._root / "containers").mkdir(parents=True, exist_ok=True)
        if (node.directory / "fail" / "docker").exists():
            raise DockerError(_DOWN)

    def path(self, name: str) -> Path:
        """The file of a container's record."""
        return self._root / "containers" / f"{name}.json"

    def containers(self) -> list[Record]:
        """Every record, the oldest first; a container whose main process has ended is `exited`."""
        found: list[Record] = [json.loads(path.read_text()) for path in self._root.glob("containers/*.json")]
        for record in found:
            state = self.state(record)
            if state.get("Running") and start_time(int(str(state["Pid"]))) != state.get("Ticks"):
                record["State"] = stopped(137)
        return sorted(found, key=lambda record: str(record["Created"]))

    def launch(self, record: Record) -> None:
        """Give a container its main process."""
        environment = {**os.environ, MARK: str(record["Id"])}
        quiet = subprocess.DEVNULL
        words = ["sleep", "infinity"]
        main = subprocess.Popen(words, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        ticks = start_time(main.pid)
        main.returncode = 0  # it outlives this client
        record["State"] = {"Status": "running", "Running": True, "Pid": main.pid, "ExitCode": 0, "Ticks": ticks}
        self.save(record)

    def halt(self, record: Record) -> None:
        """Kill every process in a container, as the end of its first process does."""
        inside = partial(processes.marked, MARK, str(record["Id"]))
        processes.kill_all(inside)
        record["State"] = stopped(137)
        self.save(record)

    def get(self, name: str) -> Record:
        """A record by name or id prefix."""
        for record in self.containers():
            if record["Name"] == f"/{name}" or str(record["Id"]).startswith(name):
                return record
        raise DockerError(f"Error response from daemon: No such container: {name}\n")

    def save(self, record: Record) -> None:
        """Write a record."""
        path = self.path(str(record["Name"]).removeprefix("/"))
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(record))
        draft.rename(path)

    def state(self, record: Record) -> dict[str, object]:
        """Its State object."""
        state = record["State"]
        return state if isinstance(state, dict) else {}

    def create(self, words: Words, running: bool) -> str:
        """A new container from `run` or `create`; its id."""
        if not words.rest:
            raise DockerError('"docker run" requires at least 1 argument.\n', 125)
        image, *command = words.rest
        if not self.has_image(image):
            self.pull(image)
        identity = hashlib.sha256(os.urandom(16)).hexdigest()
        name = words.one("--name") or f"demo_{identity[:8]}"
        if self.path(name).exists():
            raise DockerError(
                f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use by container'
                f' "{self.get(name)["Id"]}". You have to remove (or rename) that container to be able to reuse that name.\n',
                125,
            )
        record = self._record(name, identity, image, command, words)
        if running:
            self.launch(record)
        else:
            self.save(record)
        return identity

    def _record(self, name: str, identity: str, image: str, command: list[str], words: Words) -> Record:
        mounts = [
            {"Type": "bind", "Source": source, "Destination": target, "Mode": mode, "RW": mode != "ro"}
            for source, target, mode in (mount(volume) for volume in words.flags.get("--volume", []))
        ]
        devices = [{"PathOnHost": device.partition(":")[0]} for device in words.flags.get("--device", [])]
        return {
            "Id": identity,
            "Name": f"/{name}",
            "Created": time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime()),
            "Config": {
                "Image": image,
                "Env": words.flags.get("--env", []),
                "Cmd": command,
                "WorkingDir": words.one("--workdir"),
            },
            "HostConfig": {
                "NetworkMode": words.one("--net") or words.one("--network") or "bridge",
                "Privileged": words.one("--privileged") == "true",
                "ShmSize": size_bytes(words.one("--shm-size") or "64m"),
                "Binds": words.flags.get("--volume", []),
                "Devices": devices,
                "PidMode": words.one("--pid"),
            },
            "Mounts": mounts,
            "Image": "sha256:" + hashlib.sha256(image.encode()).hexdigest(),
            "State": {**stopped(0), "Status": "created"},
        }

    def has_image(self, image: str) -> bool:
        """Whether the image was pulled."""
        return image in self.images()

    def images(self) -> list[str]:
        """Pulled images."""
        try:
            return (self._root / "images").read_text().split()
        except OSError:
            return []

    def pull(self, image: str) -> None:
        """Fetch an image, with the client's progress lines."""
        name, _, tag = image.rpartition(":")
        sys.stdout.write(f"{tag or 'latest'}: Pulling from {name.partition('/')[2] or name}\n")
        layers = [hashlib.sha256(f"{image}{index}".encode()).hexdigest() for index in range(_LAYERS)]
        for layer in layers:
            for step in ("Pulling fs layer", "Downloading", "Download complete", "Pull complete"):
                sys.stdout.write(f"{layer[:12]}: {step}\n")
                sys.stdout.flush()
                time.sleep(self._node.seconds(8))
        digest = hashlib.sha256(image.encode()).hexdigest()
        sys.stdout.write(f"Digest: sha256:{digest}\nStatus: Downloaded newer image for {image}\n{image}\n")
        if not self.has_image(image):
            with (self._root / "images").open("a") as file:
                file.write(f"{image}\n")


def _ps(daemon: Daemon, words: Words) -> int:
    rows = []
    for record in daemon.containers():
        state = daemon.state(record)
        if not state.get("Running") and not words.has("--all"):
            continue
        config = record["Config"]
        image = config.get("Image", "") if isinstance(config, dict) else ""
        status = "Up 3 hours" if state.get("Running") else f"Exited ({state.get('ExitCode')}) 2 minutes ago"
        name = str(record["Name"]).removeprefix("/")
        rows.append(
            {
                "ID": str(record["Id"])[:12],
                "Image": image,
                "Names": name,
                "State": state.get("Status"),
                "Status": status,
            }
        )
    if words.has("--quiet"):
        sys.stdout.write("".join(f"{row['ID']}\n" for row in rows))
    elif words.has("--format"):
        whole = words.one("--format") in ("json", "{{json .}}")
        sys.stdout.write(
            "".join((json.dumps(row) if whole else template(words.one("--format"), dict(row))) + "\n" for row in rows)
        )
    else:
        sys.stdout.write(f"{'CONTAINER ID':<15}{'IMAGE':<50}{'STATUS':<28}NAMES\n")
        sys.stdout.write(
            "".join(f"{row['ID']:<15}{row['Image']:<50}{row['Status']:<28}{row['Names']}\n" for row in rows)
        )
    return 0


def _image(daemon: Daemon, name: str) -> Record:
    if not daemon.has_image(name):
        raise DockerError(f"Error response from daemon: No such image: {name}\n")
    return {"Id": "sha256:" + hashlib.sha256(name.encode()).hexdigest(), "RepoTags": [name]}


def _inspect(daemon: Daemon, words: Words) -> int:
    records = [_image(daemon, name) if words.one("--type") == "image" else daemon.get(name) for name in words.rest]
    if words.has("--format"):
        sys.stdout.write("".join(template(words.one("--format"), record) + "\n" for record in records))
    else:
        sys.stdout.write(json.dumps(records, indent=4) + "\n")
    return 0


def _exec(daemon: Daemon, words: Words) -> int:
    if len(words.rest) < 2:
        raise DockerError('"docker exec" requires at least 2 arguments.\n')
    name, *command = words.rest
    record = daemon.get(name)
    if not daemon.state(record).get("Running"):
        raise DockerError(f"Error response from daemon: container {record['Id']} is not running\n")
    config = record["Config"] if isinstance(record["Config"], dict) else {}
    pairs = [*config.get("Env", []), *words.flags.get("--env", [])]
    environment = {**os.environ, MARK: str(record["Id"]), **dict(pair.partition("=")[::2] for pair in pairs)}
    directory = words.one("--workdir") or str(config.get("WorkingDir") or "") or None
    detached = words.has("--detach")
    quiet = subprocess.DEVNULL if detached else None
    given = None if words.has("--interactive") and not detached else subprocess.DEVNULL
    try:
        inside = subprocess.Popen(
            command, env=environment, cwd=directory, stdin=given, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError:
        said = f'exec: "{command[0]}": executable file not found in $PATH: unknown'
        raise DockerError(
            f"OCI runtime exec failed: exec failed: unable to start container process: {said}\n", 127
        ) from None
    if detached:
        return 0
    code = inside.wait()
    return 128 - code if code < 0 else code


def _stop(daemon: Daemon, words: Words) -> int:
    for name in words.rest:
        record = daemon.get(name)
        daemon.halt(record)
        sys.stdout.write(f"{name}\n")
    return 0


def _start(daemon: Daemon, words: Words) -> int:
    for name in words.rest:
        record = daemon.get(name)
        if not daemon.state(record).get("Running"):
            daemon.launch(record)
        sys.stdout.write(f"{name}\n")
    return 0


def _remove(daemon: Daemon, words: Words) -> int:
    for name in words.rest:
        record = daemon.get(name)
        if daemon.state(record).get("Running") and not words.has("--all") and not words.has("--force"):
            said = "cannot remove container: container is running: stop the container before removing or force remove"
            raise DockerError(f"Error response from daemon: {said}\n")
        daemon.halt(record)
        daemon.path(str(record["Name"]).removeprefix("/")).unlink()
        sys.stdout.write(f"{name}\n")
    return 0


def _images(daemon: Daemon, words: Words) -> int:
    rows = [dict(zip(("Repository", "Tag"), image.rpartition(":")[::2], strict=True)) for image in daemon.images()]
    if words.has("--format"):
        sys.stdout.write("".join(template(words.one("--format"), dict(row)) + "\n" for row in rows))
        return 0
    sys.stdout.write(f"{'REPOSITORY':<40}{'TAG':<24}IMAGE ID\n")
    sys.stdout.write("".join(f"{row['Repository']:<40}{row['Tag']:<24}\n" for row in rows))
    return 0


def _run(daemon: Daemon, words: Words) -> int:
    sys.stdout.write(daemon.create(words, running=True) + "\n")
    return 0


def _create(daemon: Daemon, words: Words) -> int:
    sys.stdout.write(daemon.create(words, running=False) + "\n")
    return 0


def _pull(daemon: Daemon, words: Words) -> int:
    for image in words.rest:
        daemon.pull(image)
    return 0


def _version(daemon: Daemon, words: Words) -> int:
    sys.stdout.write("27.3.1\n" if words.has("--format") else "Client:\n Version: 27.3.1\nServer:\n Version: 27.3.1\n")
    return 0


_COMMANDS: dict[str, Callable[[Daemon, Words], int]] = {
    "ps": _ps,
    "inspect": _inspect,
    "exec": _exec,
    "run": _run,
    "create": _create,
    "start": _start,
    "stop": _stop,
    "rm": _remove,
    "images": _images,
    "pull": _pull,
    "version": _version,
    "info": _version,
}


def main() -> int:
    """Run as the program."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name not in _COMMANDS:
        sys.stderr.write(f"docker: '{name}' is not a docker command.\nSee 'docker --help'\n")
        return 1
    taken = take_apart(words, inside=name in ("exec", "run", "create"), force=name == "rm")
    try:
        return _COMMANDS[name](Daemon(this_node()), taken)
    except DockerError as error:
        sys.stderr.write(str(error))
        return error.code


if __name__ == "__main__":
    sys.exit(main())
