"""How different are the outputs of an n-best list, and how good is the best of them? Beam search and `--diverse S`.

    python -m benchmarks.diversity BUNDLE --source val.en --reference val.de --sentences 120

For each strength one JSON line: `overlap`, the bigrams that two outputs of a list share, of all that they have (mean
over all pairs); `first_words`, how many different ones a list of four begins with; BLEU of the first outputs, and of
those that are nearest to the reference (`oracle`). Tokens are those of the files.
"""

import argparse
import json
import subprocess
import sys
from itertools import combinations, islice, pairwise
from pathlib import Path
from statistics import mean

from transduce.evaluation.metrics import evaluate

N = 4


def lists(bundle: Path, sources: list[str], options: list[str]) -> list[list[str]]:
    """The outputs of every source, as `transduce translate` gives them."""
    command = [sys.executable, "-m", "transduce", "translate", str(bundle), "--n-best", str(N), "--json", *options]
    text = "".join(source + "\n" for source in sources)
    done = subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True)
    return [[output["text"] for output in json.loads(line)["outputs"]] for line in done.stdout.splitlines()]


def overlap(one: str, other: str) -> float:
    """Bigrams in both, of those in either."""
    a, b = ({*pairwise(words)} for words in (one.split(), other.split()))
    return len(a & b) / max(1, len(a | b))


def main() -> None:
    """Measure what the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("bundle", type=Path)
    options.add_argument("--source", type=Path, required=True)
    options.add_argument("--reference", type=Path, required=True)
    options.add_argument("--sentences", type=int, default=120)
    options.add_argument("--strengths", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    options.add_argument("--beam", type=int, default=N)
    a = options.parse_args()
    sides = [list(islice(path.open(encoding="utf-8"), a.sentences)) for path in (a.source, a.reference)]
    sources, references = ([line.rstrip("\n") for line in side] for side in sides)

    def bleu(outputs: list[str], against: list[str]) -> float:
        return evaluate(outputs, [[line] for line in against], ["bleu"], "none")["bleu"].score

    for strength in (0.0, *a.strengths):
        diverse = ["--diverse", str(strength)] if strength else []
        found = lists(a.bundle, sources, ["--beam", str(a.beam), *diverse])
        nearest = [
            max((overlap(output, line), output) for output in outputs)[1]
            for outputs, line in zip(found, references, strict=True)
        ]
        record = {
            "diverse": strength,
            "beam": a.beam,
            "overlap": round(mean(overlap(*pair) for outputs in found for pair in combinations(outputs, 2)), 3),
            "first_words": round(mean(len({output.split(" ")[0] for output in outputs}) for outputs in found), 2),
            "bleu": round(bleu([outputs[0] for outputs in found], references), 2),
            "oracle": round(bleu(nearest, references), 2),
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
