"""Which models a Triton of this machine serves: ``python -m export.plans.serving RELEASE PLANS`` at its start.

It prints the options for tritonserver, one a line, and says why on stderr: the plans if every member of their keys is
what this machine and this release want, else the release's ONNX graphs. It loads no engine and takes about a second.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from export.graphs.triton_config import PLAN_CONFIG
from export.plans.engines import PlanError
from export.plans.folder import CURRENT, ONNX_LINK, configs, plan_is_whole, read_plans
from export.plans.key import Machine, difference, plan_key
from export.releases.folder import live_document
from export.releases.specs import graph_file, release_sizes, release_specs


class StalePlansError(PlanError):
    """The plans are not for this machine, this release or this version of reroom."""


def options(
    release: Path, plans: Path, find_machine: Callable[[], Machine], command: str
) -> tuple[list[str], str]:
    """The options for tritonserver, and a sentence for its log. ``command`` is what makes plans anew."""
    graphs = [f"--model-repository={release}/models"]
    try:
        repository, sentence = served_plans(release, plans, find_machine)
    except StalePlansError as error:
        return graphs, f"the ONNX graphs are served, since {error}: run {command}"
    except PlanError as error:
        return graphs, f"the ONNX graphs are served, since {error}"
    return [f"--model-repository={repository}", f"--model-config-name={PLAN_CONFIG}"], sentence


def served_plans(release: Path, plans: Path, find_machine: Callable[[], Machine]) -> tuple[Path, str]:
    """The model repository of plans that fit, and a sentence that says which graphs have none.

    Raises NoGpuError; StalePlansError, which names the first graph and the members of its key that differ.
    """
    # First, so that a machine without GPU is not told to make plans.
    machine = find_machine()
    document = json.loads(live_document(release).read_bytes())
    folder = plans / document["bundle"]
    found = read_plans(folder)
    if found is None:
        raise StalePlansError(f"there are no plans of {document['bundle']} in {plans}")
    specs, sizes = release_specs(document), release_sizes(document)
    if found.graphs.keys() != document["models"].keys():
        odd = ", ".join(sorted(found.graphs.keys() ^ document["models"].keys()))
        raise StalePlansError(
            f"the plans are of {found.release}, and {document['release']} has other graphs ({odd})"
        )
    models = folder / CURRENT / "models"
    for name, verdict in found.graphs.items():
        differs = difference(verdict.key, plan_key(specs[name], document["models"][name], machine))
        if differs:
            raise StalePlansError(f"the plan of {name} was built for another {differs}")
        graph = graph_file(release.resolve(), document, name)
        model = models / specs[name].name
        version = model / graph.parent.name
        if (version / ONNX_LINK).resolve() != graph.parent or not plan_is_whole(version, verdict):
            raise StalePlansError(f"the files of {version} are not those that were written there")
        for path, text in configs(specs[name], sizes, verdict).items():
            if not (model / path).is_file() or (model / path).read_text() != text:
                raise StalePlansError(f"{model / path} was written by another version of reroom")
    return models, _sentence(document["release"], [v.graph for v in found.graphs.values() if not v.planned])


def _sentence(release: str, without: list[str]) -> str:
    if not without:
        return f"{release} is served from TensorRT plans"
    return f"{release} is served from TensorRT plans, but for {', '.join(without)}: plan.json says why"


def main(arguments: list[str] | None = None) -> int:
    """Print the options; returns 0."""
    from export.plans.nvidia import find_machine

    parser = argparse.ArgumentParser(
        prog="python -m export.plans.serving", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("release", type=Path)
    parser.add_argument("plans", type=Path)
    parser.add_argument("--command", help="what makes plans here, for the log")
    given = parser.parse_args(arguments)
    command = given.command or f"python -m export plan {given.release} --plans {given.plans}"
    chosen, sentence = options(given.release, given.plans, find_machine, command)
    print(sentence, file=sys.stderr)
    print(*chosen, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
