"""
Make the Chalice project of ``make package`` ready for a stage: ``python -m infra.aws.deployment STAGE``.

Its configuration is functions/.chalice/config.json with every ``${NAME}`` taken from the environment, its policies are
those of policies.py. Both are written beside the package, outside git; the configuration for its owner's eyes only, as
the database's address has a password in it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.aws.package import PROJECT
from infra.aws.policies import Place, function_names, policy
from infra.installing.environment import ROOT
from lakehouse.settings import QUEUE_PREFIX, names

CONFIG = ROOT / "functions" / ".chalice" / "config.json"
# What Chalice remembers of a deployment outlives the package; outside git
DEPLOYED = CONFIG.parent / "deployed"
_NAME = re.compile(r"\$\{([^}]*)\}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class NotDeployable(Exception):
    """Something must be named or made first; the message says what."""


def main() -> int:
    stages = read_config()["stages"]
    if len(sys.argv) != 2 or sys.argv[1] not in stages:
        print(f"usage: python -m infra.aws.deployment {'|'.join(stages)}", file=sys.stderr)
        return 2
    try:
        prepare(PROJECT, sys.argv[1], os.environ)
    except NotDeployable as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Ready: chalice --project-dir {PROJECT.relative_to(ROOT)} deploy --stage {sys.argv[1]}")
    return 0


def read_config() -> dict[str, Any]:
    """Return the committed configuration, names and all."""
    return dict(json.loads(CONFIG.read_text(encoding="utf-8")))


def prepare(project: Path, stage: str, environ: Mapping[str, str], remembered: Path = DEPLOYED) -> None:
    """
    Write the configuration of *stage* and its policies into *project*, which `package.stage` filled.

    Args:
        remembered: Folder where Chalice keeps what it deployed, for each deployment's name apart.

    Raises:
        NotDeployable: if the project is missing, or a name is not set or cannot be one.
    """
    if not (project / "app.py").is_file():
        raise NotDeployable(f"{project} holds no package: run make package first")
    config = one_stage(read_config(), stage)
    filled = fill(config, environ)
    place = place_of(stage, environ)
    folder = project / ".chalice"
    folder.mkdir(exist_ok=True)
    in_network = "subnet_ids" in filled["stages"][stage]
    for function in function_names():
        _write(folder / f"policy-{function}.json", policy(function, place, in_network=in_network))
    _write(folder / "config.json", filled)
    _link(folder / "deployed", remembered / place.names.queue_prefix)
    (project / "requirements.txt").touch()


def one_stage(config: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return *config* with *stage* alone: the names of the others need not be set."""
    return {**config, "stages": {stage: config["stages"][stage]}}


def fill(node: Any, environ: Mapping[str, str]) -> Any:
    """
    Return *node* of a JSON document with every ``${NAME}`` replaced by what *environ* says.

    As an item of a list a name may stand for several, which the environment separates by commas.
    """
    if isinstance(node, dict):
        return {key: fill(value, environ) for key, value in node.items()}
    if isinstance(node, list):
        return [
            part
            for item in node
            for part in (fill(item, environ).split(",") if isinstance(item, str) else [fill(item, environ)])
        ]
    return _NAME.sub(lambda found: _named(found[1], environ), node) if isinstance(node, str) else node


def place_of(stage: str, environ: Mapping[str, str]) -> Place:
    """Return where *stage* is; raise NotDeployable if objects would land where no handler hears of them."""
    url, prefix = _named("LAKEHOUSE_BRONZE_URL", environ), _named("LAKEHOUSE_QUEUE_PREFIX", environ)
    if not _BUCKET.fullmatch(url):
        raise NotDeployable(f"LAKEHOUSE_BRONZE_URL is {url}: handlers hear of a whole bucket, so write s3://BUCKET")
    if not re.fullmatch(QUEUE_PREFIX, prefix):
        raise NotDeployable(
            f"LAKEHOUSE_QUEUE_PREFIX is {prefix}: write up to 31 of a-z, 0-9 and hyphens that begin with a letter"
        )
    return Place(_named("AWS_ACCOUNT_ID", environ), _named("AWS_REGION", environ), stage, names(environ))


def _named(name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        raise NotDeployable(f"{name} is not set: docs/aws.md says what it is")
    return environ[name]


def _write(file: Path, document: object) -> None:
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)


def _link(link: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder, target_is_directory=True)


if __name__ == "__main__":
    sys.exit(main())
