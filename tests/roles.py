"""A private PostgreSQL set up as deploy/postgres says: a database, its roles, and after a migration the grants."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.engines import Cluster, missing

POSTGRES = Path(__file__).parents[1] / "deploy/postgres"


@dataclass(frozen=True)
class HubDatabase:
    """The database `tidewaiter` of a private cluster, which trusts whoever reaches it: a URL needs no password."""

    cluster: Cluster
    name: str = "tidewaiter"

    def url(self, role: str) -> str:
        """For a hub: `role` is owner, hub, registrar, backup or monitor."""
        return f"postgresql://tidewaiter_{role}@127.0.0.1:{self.cluster.port}/{self.name}"

    def psql(self, *arguments: str, user: str = "postgres", text: str | None = None) -> str:
        """What `psql` says, by any role; AssertionError if it fails."""
        done = subprocess.run(
            [program(self.cluster, "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", *arguments],
            env={"PATH": os.defpath, **self.environment(user)},
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self, user: str = "postgres") -> dict[str, str]:
        """The PG* variables of libpq."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.cluster.port), "PGUSER": user, "PGDATABASE": self.name}

    def make(self) -> None:
        """The database and its roles. Blocking."""
        self.psql("--dbname=postgres", f"--command=CREATE DATABASE {self.name}")
        self.psql(f"--file={POSTGRES / 'roles.sql'}")

    def grant(self) -> None:
        """What follows every migration. Blocking."""
        self.psql(f"--file={POSTGRES / 'grants.sql'}", user="tidewaiter_owner")


def program(cluster: Cluster, name: str) -> str:
    """A PostgreSQL client program, of the same version if it is there."""
    beside = cluster.binaries / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        missing("PostgreSQL", f"no {name} is installed")
    return found
