"""A SLURM cluster of two nodes with one core each, on this machine, for as long as a test runs."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.command import wait_for

DAEMONS = ("munged", "slurmctld", "slurmd")
"""Of the packages munge, slurmctld and slurmd."""
NODES = ("node1", "node2")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN\n"


def missing() -> list[str]:
    """The daemons that are not installed."""
    return [name for name in DAEMONS if not shutil.which(name, path=_path())]


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which ``sbatch`` finds the cluster."""
    host, environment = socket.gethostname(), dict(os.environ, SLURM_CONF=str(folder / "conf"))
    environment["PATH"] = _path()
    ports = _free_ports(3)
    text = CONF.format(host=host, user=getpass.getuser(), folder=folder, controller=ports[0])
    for name, port in zip(NODES, ports[1:], strict=True):
        text += NODE.format(name=name, host=host, port=port)
    text += f"PartitionName=test Nodes={','.join(NODES)} Default=YES State=UP\n"
    (folder / "conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--pid-file={folder}/munge.pid",
         f"--socket={folder}/munge.socket", f"--log-file={folder}/munge.log",
         f"--seed-file={folder}/munge.seed"],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", name] for name in NODES),
    ]  # fmt: skip
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            daemons.append(
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            if len(daemons) == 1:
                wait_for((folder / "munge.socket").exists, 60)
        wait_for(lambda: _idle(environment) == len(NODES), 60)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


def _idle(environment: dict[str, str]) -> int:
    command = ["sinfo", "--noheader", "--Node", "--states=idle"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return len(said.stdout.splitlines())


def _path() -> str:
    """Daemons are in a folder that only an administrator looks into."""
    return f"{os.environ['PATH']}:/usr/sbin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
