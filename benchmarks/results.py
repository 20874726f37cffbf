"""`make results`: the committed recipes, trained and measured; docs/results.md from docs/results.jsonl.

    python -m benchmarks.results multi30k_ende scan_simple        train (or continue) and measure these, then the page
    python -m benchmarks.results multi30k_ende --set training.max_steps=3000
    python -m benchmarks.results cmudict --without-recipe --minutes 30    its files, as of a user without it
    python -m benchmarks.results                                   only the page

A run is one line of results.jsonl, appended when it is done. Interrupted, the same command goes on where it was; a run
that has its line is not measured again. The test set is scored once, by `transduce evaluate RUN`
with the recipe's own decoding. `make results RECIPES="multi30k_ende scan_simple"` is the same.
"""

import argparse
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from transduce.config import RunConfig, flat_values, load_recipe
from transduce.data.corpus import AlignedFiles, Files, PairsFile
from transduce.evaluation.metrics import higher_is_better
from transduce.machine import hardware
from transduce.rundir import load_asked

DOCS = Path(__file__).parents[1] / "docs"
RECORDS = DOCS / "results.jsonl"
PAGE = DOCS / "results.md"
WITHOUT = "without the recipe, minutes"  # the key of such a record's settings
TRANSDUCE = [sys.executable, "-m", "transduce"]

PUBLISHED = {
    "multi30k_ende": "41.02 BLEU (Wu et al. 2021, Transformer-Tiny, beam 5)",
    "scan_simple": "99.8 accuracy (Lake and Baroni 2018, recurrent)",
    "cmudict": "30.2 WER (g2p-seq2seq, Transformer; its split is nearly this one)",
    "multi30k_ende_lstm": "none that is this one; the row to compare with is that of `multi30k_ende`",
    "multi30k_ende_conv": "none that is this one; the row to compare with is that of `multi30k_ende`",
    "multi30k_enfr": "61.8 BLEU (from memory, for the Transformer of `multi30k_ende`'s row; not checked)",
    "multi30k_ende_raw": "none on raw text, cased, sacreBLEU 13a, that we know of",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A recipe of many languages: its metric, what is published in it by language, and where."""

    metric: str
    published: dict[str, float]
    where: str


G2P = {"ady": 28.44, "arm": 14.22, "bul": 34.00, "fre": 6.89, "gre": 18.89}
G2P |= {"hun": 5.33, "ice": 10.22, "jpn": 7.33, "lit": 20.67, "vie": 7.56}
INFLECTION = {"bod": 84.4, "dak": 95.6, "evn": 57.1, "mwf": 89.6, "ood": 80.9}
TASKS = {
    "sigmorphon2020_g2p": Task("wer", G2P, "Gorman et al. 2020, Transformer, the best of 36 settings each"),
    "sigmorphon2020_inflection": Task("accuracy", INFLECTION, "Vylomova et al. 2020, trm-single"),
}


def without_recipe(config: RunConfig, minutes: float) -> list[str]:
    """The arguments of `train` for the files of a recipe, what they are and how outputs are measured, and nothing else
    of it. Exits where the training pairs are in several places."""
    data = config.data
    arguments = ["--minutes", f"{minutes:g}"]
    for prefix, part in (("--", data.train), ("--dev-", data.dev)):
        places = {} if part is None else _places(data.files(part))
        arguments += [word for option, path in places.items() for word in (prefix + option, path)]
    if data.columns != (1, 2):
        sides = [side if isinstance(side, tuple) else (side,) for side in data.columns]
        arguments += ["--columns", ",".join("+".join(map(str, side)) for side in sides)]
    told = {"data.pattern": data.pattern, "data.pretokenised": data.pretokenised}
    told |= {"evaluation.tokenize": config.evaluation.tokenize, "evaluation.by_line": config.evaluation.by_line}
    settings = [f"{key}={json.dumps(value)}" for key, value in told.items() if value]
    if data.test is not None:
        places = _places(data.files(data.test))
        settings.append(f"data.test={{{', '.join(f'{k} = {json.dumps(v)}' for k, v in places.items())}}}")
    return arguments + [word for setting in settings for word in ("--set", setting)]


def _places(files: Files) -> dict[str, str]:
    match files:
        case AlignedFiles(source=source, target=target):
            return {"source": str(source), "target": str(target)}
        case PairsFile(pairs=pairs):
            return {"pairs": str(pairs)}
        case _:
            sys.exit("A set in several files is not measured without its recipe.")


def made(recipe: str, run: Path, settings: list[str], minutes: float = 0) -> dict[str, Any]:
    """With what the finished `run` of `recipe` was made, and what came of it on dev; or, with `minutes`, of its files
    without it."""
    sets = "".join(f" --set {setting}" for setting in settings)
    where = f"runs/{run.name}"
    out = f" --out {where}" if settings or minutes else ""
    asked = load_asked(run)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    sessions = [e for e in events if e["event"] == "session"]
    model = next(e for e in reversed(events) if e["event"] == "model")
    changed = {k: v for k, v in flat_values(asked).items() if v != flat_values(load_recipe(recipe)).get(k)}
    what, named = f"{recipe}{sets}", {k: v for k, v in changed.items() if k != "data.root"}
    if minutes:
        given, defaults = load_recipe(recipe, ['data.root="data"', *settings]), flat_values(load_recipe(recipe))
        what = shlex.join(without_recipe(given, minutes))
        named = {k: v for k, v in flat_values(given).items() if v != defaults.get(k) and k != "data.root"}
        named[WITHOUT] = minutes
    return {
        "recipe": recipe,
        "command": f"transduce train {what}{out}; transduce evaluate {where} --metric {_metrics(recipe)}",
        "settings": named,
        "seed": asked.training.seed,
        "steps": model["step"],
        "choice": model["choice"],
        "dev": model["score"],
        "wall_minutes": round(sum(s["wall_seconds"] for s in sessions) / 60, 1),
        "cpu_minutes": round(sum(s["cpu_seconds"] for s in sessions) / 60, 1),
    }


def measured(recipe: str, run: Path) -> dict[str, Any]:
    """The scores of `run`, of `recipe` or without it, on its test set, and where and when they were measured."""
    command = [*TRANSDUCE, "evaluate", str(run), "--metric", _metrics(recipe), "--json"]
    scores = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    date = datetime.now(UTC).date().isoformat()
    by_line = load_recipe(recipe).evaluation.by_line
    return {"date": date, "commit": commit(), "hardware": hardware(), "scores": scores, "by_line": by_line}


def _metrics(recipe: str) -> str:
    return "bleu,chrf,ter" if load_recipe(recipe).evaluation.metric == "bleu" else "wer,per,accuracy"


def commit() -> str:
    """The commit that is checked out, short."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=DOCS).stdout.strip()


def page(records: list[dict[str, Any]]) -> str:
    """docs/results.md."""
    lines = [
        "# Results",
        "",
        "Generated from `results.jsonl` by `python -m benchmarks.results`; every row is one run of a committed recipe",
        "(or of its files without it), test set scored once with its own decoding. Wall time depends on what else ran;",
        "processor time (all threads) is given beside it.",
    ]
    lines += _means(records) + page_without(records)
    for title in dict.fromkeys(map(_title, records)):
        rows = [r for r in records if _title(r) == title]
        recipe = rows[0]["recipe"]
        if recipe in TASKS:
            task, lang = TASKS[recipe], _language(rows[0])
            published = f"{task.published[lang]:g} {task.metric} on `{lang}` ({task.where})"
        else:
            published = PUBLISHED.get(recipe, "nothing that we know of")
        lines += ["", f"## {title}", "", f"Published: {published}.", ""]
        names = list(rows[0]["scores"])
        lines += [f"| {' | '.join(names)} | dev | seed | steps | wall, processor minutes | commit | date |"]
        lines += ["|" + "---|" * (len(names) + 6)]
        for r in rows:
            scores = " | ".join(f"{r['scores'][n]['score']:.2f}" if n in r["scores"] else "" for n in names)
            time = f"{r['wall_minutes']}, {r['cpu_minutes']}"
            lines += [
                f"| {scores} | {r['dev']:.2f} | {r['seed']} | {r['steps']} | {time} | {r['commit']} | {r['date']} |"
            ]
        by_input = [r["commit"] for r in rows if not r.get("by_line")]
        if by_input and load_recipe(recipe).evaluation.by_line:
            why = "any of several forms of an input was right there, and each input counted once"
            lines += ["", f"Rows of {', '.join(by_input)} are not by line: {why}."]
        last = rows[-1]
        lines += [
            "",
            f"`{last['command']}`, on {last['hardware']}; the model is the {last['choice']}, chosen on dev.",
            "",
        ]
        lines += [f"- {n}: `{s['signature']}`" for n, s in last["scores"].items()]
        if last.get("note"):
            lines += ["", last["note"]]
    return "\n".join(lines) + "\n"


def _settings(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record["settings"].items() if key not in (WITHOUT, "training.seed")}


def _title(record: dict[str, Any]) -> str:
    changed = ", ".join(f"{key} = {value}" for key, value in record["settings"].items() if key != "training.seed")
    return f"{record['recipe']}, {changed}" if changed else str(record["recipe"])


def _language(record: dict[str, Any]) -> str:
    return str(record["settings"].get("data.lang") or load_recipe(record["recipe"]).data.lang)


def _means(records: list[dict[str, Any]]) -> list[str]:
    """The means over the languages of a task, of the last row of each that has the recipe's settings."""
    notes: list[str] = []
    lines = ["", "## Means over languages", "", "| recipe | languages | mean | published |", "|---|---|---|---|"]
    for recipe, task in TASKS.items():
        rows = {_language(r): r for r in records if r["recipe"] == recipe and r["settings"].keys() <= {"data.lang"}}
        found = {language: r["scores"][task.metric]["score"] for language, r in rows.items()}
        if found:
            ours, published = mean(found.values()), mean(task.published[lang] for lang in found)
            languages = f"{len(found)} of {len(task.published)}"
            lines += [f"| `{recipe}`, {task.metric} | {languages} | {ours:.2f} | {published:.2f} |"]
            other = [language for language, r in rows.items() if not r.get("by_line")]
            if other and load_recipe(recipe).evaluation.by_line:
                notes += ["", f"`{recipe}`: {', '.join(other)} were measured before the recipe scored by line, as the"]
                notes += [
                    "published figures do. Any of several forms of an input was right, and each input counted once:"
                ]
                notes += ["by line they have less ([quality.md](quality.md)), so these means are not to be compared."]
    return lines + notes


def page_without(records: list[dict[str, Any]]) -> list[str]:
    """What a training without a recipe comes to, beside the recipe: the mean of its seeds; and the means over the
    languages of a task that were trained so."""
    rows: list[str] = []
    of_task: dict[tuple[str, float], dict[str, tuple[float, float]]] = {}
    lines = ["", "## Without a recipe", "", "The same files, given to `train` with so many minutes and no recipe.", ""]
    lines += ["| files of | minutes | metric | with it | without | behind, of it |", "|---|---|---|---|---|---|"]
    for r in records:
        if (minutes := r["settings"].get(WITHOUT)) is None:
            continue
        own, metric = _settings(r), load_recipe(r["recipe"]).evaluation.metric
        alike = [one for one in records if one["recipe"] == r["recipe"] and WITHOUT not in one["settings"]]
        alike = [one for one in alike if _settings(one) == own]
        if not alike:
            continue
        of_seeds = {one["seed"]: one["scores"][metric]["score"] for one in alike if one["steps"] == alike[-1]["steps"]}
        found, known = r["scores"][metric]["score"], mean(of_seeds.values())
        name = ", ".join([f"`{r['recipe']}`", *(f"{key} = {value}" for key, value in own.items())])
        rows += [_behind(name, minutes, metric, known, found)]
        if r["recipe"] in TASKS and own.keys() <= {"data.lang"}:
            of_task.setdefault((r["recipe"], minutes), {})[_language(r)] = known, found
    for (recipe, minutes), both in of_task.items():
        known, found = (mean(side) for side in zip(*both.values(), strict=True))
        name = f"`{recipe}`, mean of {len(both)} languages"
        rows += [_behind(name, minutes, TASKS[recipe].metric, known, found)] if len(both) > 1 else []
    return [*lines, *rows] if rows else []


def _behind(name: str, minutes: float, metric: str, known: float, found: float) -> str:
    behind = (known - found) / known * (1 if higher_is_better(metric) else -1)
    return f"| {name} | {minutes:g} | {metric} | {known:.2f} | {found:.2f} | {behind:.1%} |"


def main() -> None:
    """Train and measure what the command line names; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--without-recipe", action="store_true", help="its files alone, for --minutes")
    parser.add_argument("--minutes", type=float, default=0)
    a = parser.parse_args()
    if a.without_recipe != (a.minutes > 0) or a.minutes < 0:
        parser.error("--without-recipe and --minutes (above 0) go together")
    if a.without_recipe and any(not setting.startswith("data.") for setting in a.set):
        parser.error("--without-recipe takes nothing of the recipe but its files: --set data.lang=...")
    for recipe in a.recipes:
        run = a.runs / "-".join([recipe, *a.set, *([f"without-{a.minutes:g}"] if a.minutes else [])])
        what = [recipe, *(word for setting in a.set for word in ("--set", setting))]
        if a.minutes:
            what = without_recipe(load_recipe(recipe, a.set), a.minutes)
        train = subprocess.run([*TRANSDUCE, "train", *what, "--out", str(run)], check=False)
        if train.returncode:
            sys.exit(train.returncode)
        facts = made(recipe, run, a.set, a.minutes)
        if not any(facts.items() <= known.items() for known in _records()):
            with RECORDS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts | measured(recipe, run), ensure_ascii=False) + "\n")
    PAGE.write_text(page(_records()), encoding="utf-8")


def _records() -> list[dict[str, Any]]:
    lines = RECORDS.read_text(encoding="utf-8").splitlines() if RECORDS.is_file() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
