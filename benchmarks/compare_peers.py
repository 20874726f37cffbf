"""Our training step beside other toolkits', on the same batches: ours and each peer in turn, several rounds.

    python -m benchmarks.compare_peers --venvs peers
    python -m benchmarks.compare_peers --venvs peers --model base --hide-amx --json

`--venvs` names virtual environments, or folders of them; which peers each has is found out. benchmarks/README.md says
how to make them. Every case runs in a process of its own. In each round ours runs before every peer, so that the
ratio to a peer is one of neighbours in time; ratios are medians over the rounds, with the smallest and the largest.
`--by cpu` compares processor time, for machines that do other work as well (threads that wait count there, for
whoever has them).
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import ROOT, Case, Record, merged
from benchmarks.train_step import Runner, check, parser

COLUMNS = ("tokens/s", "seconds a step", "CPU s a step", "MiB", "MFU", "spread")
FIELDS = ("tokens_per_second", "seconds_per_step", "cpu_seconds_per_step", "peak_rss_mib", "mfu", "spread")


class Measured(NamedTuple):
    """One tool on one case: its merged record, and what each round gave, with our own round just before it."""

    case: Case
    tool: str
    record: Record
    pairs: list[tuple[Record, Record]]


class Ratio(NamedTuple):
    """How many times better ours is: the median over the rounds, the smallest, the largest; above 1 is better."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def installed(folders: Sequence[Path]) -> dict[str, str]:
    """The Python of each peer, by name: of the first environment that has it."""
    found: dict[str, str] = {}
    for folder in folders:
        inside = [folder] if (folder / "bin" / "python").is_file() else sorted(folder.iterdir())
        for python in (venv.absolute() / "bin" / "python" for venv in inside):
            if not python.is_file():
                continue
            command = [str(python), "-m", "benchmarks.peers", "--list"]
            listed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
            if listed.returncode:
                print(f"{python}: left out ({listed.stderr.splitlines()[-1]})", file=sys.stderr)
                continue
            found |= {name: str(python) for name in json.loads(listed.stdout) if name not in found}
    return found


def compare(runner: Runner, peers: dict[str, str], asked: Sequence[Case], rounds: int) -> list[Measured]:
    """Time everything: for each case, `rounds` times ours, a peer, ours, the next peer."""
    found = []
    for case in asked:
        pairs: dict[str, list[tuple[Record, Record]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, python in peers.items():
                pairs[name].append((runner.ours(case), runner.peer(name, python, case)))
                print(".", end="", file=sys.stderr, flush=True)
        ours = merged([mine for both in pairs.values() for mine, _ in both])
        found.append(Measured(case, "transduce", ours, []))
        found += [Measured(case, name, merged([r for _, r in both]), both) for name, both in pairs.items()]
    print(file=sys.stderr)
    return found


def speed(record: Record, by: str) -> float:
    """Target tokens a second: of wall time, or of processor time."""
    if by == "wall":
        return float(record["tokens_per_second"])
    return float(record["target_tokens"] / record["steps"] / record["cpu_seconds_per_step"])


def ratio(pairs: Sequence[tuple[Record, Record]], by: str) -> Ratio | None:
    """Ours over the peer's, of each round; None where a process failed."""
    if not pairs or any("error" in record for both in pairs for record in both):
        return None
    ratios = [speed(mine, by) / speed(theirs, by) for mine, theirs in pairs]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def summary(measured: Sequence[Measured], by: str) -> list[dict[str, Any]]:
    """For each model and state, ours over the best peer: in each precision, and our best over their best. The speed of
    ours over theirs, above 1 when ours is faster; the memory of the same case of ours over the leanest peer's."""
    found = []
    good = [m for m in measured if "error" not in m.record]
    for model, state in dict.fromkeys((m.case.model, m.case.state) for m in good):
        here = [m for m in good if (m.case.model, m.case.state) == (model, state)]
        precisions = dict.fromkeys(m.case.precision for m in here)
        for name, chosen in [*((p, [m for m in here if m.case.precision == p]) for p in precisions), ("best", here)]:
            ours = [m for m in chosen if m.tool == "transduce"]
            peers = [m for m in chosen if m.tool != "transduce"]
            if not ours or not peers or (name == "best" and len(precisions) == 1):
                continue
            mine, theirs = (max(side, key=lambda m: speed(m.record, by)) for side in (ours, peers))
            leanest = min(peers, key=lambda m: int(m.record["peak_rss_mib"]))
            found.append(
                {
                    "model": model,
                    "state": state,
                    "precision": name,
                    "ours": mine.case.precision,
                    "best_peer": f"{theirs.tool} {theirs.case.precision}",
                    "speed_ratio": round(speed(mine.record, by) / speed(theirs.record, by), 3),
                    "leanest_peer": f"{leanest.tool} {leanest.case.precision}",
                    "memory_ratio": round(mine.record["peak_rss_mib"] / leanest.record["peak_rss_mib"], 3),
                }
            )
    return found


def table(measured: Sequence[Measured], by: str) -> str:
    """Markdown: one row a tool and case, then the ratios to the best of the peers."""
    rows = [["model", "precision", "tool", *COLUMNS, f"ours / this ({by})"]]
    for m in measured:
        model = m.case.model if m.case.state == "later" else f"{m.case.model}, {m.case.state}"
        if "error" in m.record:
            rows.append([model, m.case.precision, m.tool, f"failed: {m.record['error']}", *[""] * len(COLUMNS)])
            continue
        cells = [f"{m.record[field]:,}" for field in FIELDS]
        rows.append([model, m.case.precision, f"{m.tool} {m.record['version']}", *cells, str(ratio(m.pairs, by) or "")])
    lines = [*_markdown(rows), ""]
    best = summary(measured, by)
    if best:
        lines += _markdown([list(best[0]), *([str(value) for value in one.values()] for one in best)])
    return "\n".join(lines)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def main() -> None:
    """Measure, and print the table, or with `--json` one object a tool and case and one a ratio."""
    options = parser(__doc__)
    options.add_argument("--venvs", type=Path, nargs="+", required=True, metavar="DIR")
    options.add_argument("--peers", type=lambda text: text.split(","), metavar="A,B", help="only these")
    options.add_argument("--by", choices=["wall", "cpu"], default="wall")
    options.add_argument("--json", action="store_true")
    a = options.parse_args()
    asked = check(options, a)
    peers = installed(a.venvs)
    if unknown := set(a.peers or ()) - set(peers):
        options.error(f"--peers {','.join(sorted(unknown))}: not found; these have {', '.join(peers) or 'none'}")
    peers = {name: python for name, python in peers.items() if a.peers is None or name in a.peers}
    if not peers:
        options.error("--venvs: no environment with a peer in it. benchmarks/README.md says how to make them.")
    with tempfile.TemporaryDirectory() as folder:
        measured = compare(Runner(a, Path(folder)), peers, asked, a.rounds)
    if not a.json:
        print(table(measured, a.by))
        return
    for m in measured:
        case = {"tool": m.tool, "model": m.case.model, "precision": m.case.precision, "state": m.case.state}
        times = ratio(m.pairs, a.by)
        print(json.dumps(case | m.record | ({} if times is None else {"ours_over_this": times._asdict()})))
    for one in summary(measured, a.by):
        print(json.dumps(one))


if __name__ == "__main__":
    main()
