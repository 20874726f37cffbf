"""The speedrun's data, model, batches and schedule given to a peer: fairseq's own commands, from files to test score.

    python -m benchmarks.speedrun_peer peers/fs
    python -m benchmarks.speedrun_peer peers/fs --set training.max_steps=4 --set training.checkpoint_every=2 --no-record

Everything counts as in `benchmarks.speedrun`: the vocabulary (SentencePiece, the same one), fairseq-preprocess,
fairseq-train with its dev loss at every checkpoint, the average of the last checkpoints, and fairseq-generate of dev
and test, with its own length penalty (a division by the length: for captions, what our alpha of 1.4 is). It trains to
the last step, where the rate is 0, and scores dev once: it has no stop at a goal. The outputs are scored by our
`evaluate`, as tokens stand. fairseq has no Muon: it gets Adam, with the rate and the updates that suit it
(`WITH_ADAM`). `peers/fs` is fairseq's virtual environment (benchmarks/README.md).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cases import ROOT
from benchmarks.speedrun import RECIPE, keep
from transduce.config import RunConfig, load_recipe
from transduce.data.corpus import read_pairs
from transduce.evaluation.metrics import evaluate, group_references
from transduce.text.tokenizer import train_tokenizers

WITH_ADAM = (
    "training.optimizer=adam",
    "training.max_steps=4000",
    "training.checkpoint_every=200",
    "training.average=5",
    "training.learning_rate=0.004",
    "training.r_drop=0",
)

AVERAGE = """
import sys, torch
paths, out = sys.argv[2:], sys.argv[1]
states = [torch.load(p, map_location="cpu", weights_only=False) for p in paths]
states[0]["model"] = {k: sum(s["model"][k] for s in states) / len(states) for k in states[0]["model"]}
torch.save(states[0], out)
"""  # fairseq's script for this is not in its package
LOADING = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # fairseq keeps more than weights in a checkpoint
LIMIT = {"--max-len-a": 1, "--max-len-b": 50}  # pieces of an output: input length + 50 (section 6.1)
NEVER = 10_000  # epochs
PARTS = ("train", "valid", "test")


class Peer:
    """fairseq's commands in its own virtual environment, timed by what they do."""

    def __init__(self, venv: Path, folder: Path, threads: int) -> None:
        self._python = str(venv.absolute() / "bin" / "python")
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **LOADING}
        self.folder = folder
        self.seconds: dict[str, float] = {}

    def run(self, what: str, code: str, *options: object) -> str:
        """Run Python there; what it printed. Ends this program with what went wrong if that fails."""
        command = [self._python, "-c", code, *map(str, options)]
        with self.timed(what):
            done = subprocess.run(
                command, cwd=ROOT, env=self._environment, check=False, stdout=subprocess.PIPE, text=True
            )
        if done.returncode:
            sys.exit(f"speedrun_peer: {what} failed ({done.returncode}).")
        return done.stdout

    def fairseq(self, what: str, command: str, *options: object) -> str:
        """Run fairseq-`command`."""
        code = (
            f"from benchmarks.peers import let_fairseq_import as fit; fit(); from fairseq_cli.{command} import cli_main"
        )
        return self.run(what, f"{code}; cli_main()", *options)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of a block to `what`."""
        start = time.perf_counter()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start


def write_pieces(config: RunConfig, folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Learn the recipe's vocabulary, and write the pieces of each part as words; returns its sources and targets."""
    data = config.data
    assert data.dev is not None
    assert data.test is not None
    sets = dict(zip(PARTS, (data.train, data.dev, data.test), strict=True))
    pairs = {part: list(read_pairs(data.files(one))) for part, one in sets.items()}
    tokenizers = train_tokenizers(pairs["train"], config.tokenizer, data.pretokenised)
    texts = {}
    for part, rows in pairs.items():
        texts[part] = ([s for s, _ in rows], [t for _, t in rows])
        for side, lines in zip(("source", "target"), texts[part], strict=True):
            tokenizer = tokenizers.source if side == "source" else tokenizers.target
            pieces = (" ".join(tokenizer.pieces(ids)) for ids in tokenizer.encode_batch(lines))
            (folder / f"{part}.{side}").write_text("".join(f"{line}\n" for line in pieces), encoding="utf-8")
    return texts


def training_options(config: RunConfig) -> list[object]:
    """fairseq-train's names for what the recipe says."""
    m, t, b = config.model, config.training, config.batching
    assert (m.norm, t.schedule, t.optimizer, t.r_drop, m.share_embeddings) == ("pre", "linear", "adam", 0, "all")
    options: dict[str, object] = {"--arch": "transformer", "--optimizer": "adam", "--adam-betas": "(0.9, 0.98)"}
    for side in ("encoder", "decoder"):
        options |= {f"--{side}-layers": m.n_layers, f"--{side}-embed-dim": m.d_model}
        options |= {f"--{side}-ffn-embed-dim": m.d_ff, f"--{side}-attention-heads": m.n_heads}
    options |= {"--dropout": m.p_drop, "--criterion": "label_smoothed_cross_entropy", "--adam-eps": 1e-9}
    options |= {"--label-smoothing": t.label_smoothing, "--lr-scheduler": "polynomial_decay", "--lr": t.learning_rate}
    options |= {"--warmup-updates": t.warmup, "--total-num-update": t.max_steps, "--max-update": t.max_steps}
    options |= {"--max-tokens": b.max_tokens, "--update-freq": b.accumulate, "--seed": t.seed}
    options |= {"--save-interval-updates": t.checkpoint_every, "--validate-interval-updates": t.checkpoint_every}
    options |= {"--validate-interval": NEVER}  # at the end of an epoch, which we do not do either
    options |= {"--keep-interval-updates": t.average, "--log-interval": 100, "--log-format": "simple"}
    flags = ["--cpu", "--share-all-embeddings", "--encoder-normalize-before", "--decoder-normalize-before"]
    flags += ["--no-epoch-checkpoints", "--no-last-checkpoints"]
    return [*flags, *(word for pair in options.items() for word in pair)]


def generated(printed: str) -> list[str]:
    """The outputs among what fairseq-generate printed, in the order of the input, with pieces joined to words."""
    found = re.findall(r"^H-(\d+)\t\S+\t(.*)$", printed, re.MULTILINE)
    return [text for _, text in sorted((int(number), text) for number, text in found)]


def race(config: RunConfig, peer: Peer) -> dict[str, Any]:
    """From files to test score; what the record says of it."""
    folder, t, d = peer.folder, config.training, config.decoding
    with peer.timed("data"):
        texts = write_pieces(config, folder)
    prefixes = [word for part in PARTS for word in (f"--{part}pref", folder / part)]
    sides = ["--source-lang", "source", "--target-lang", "target"]
    peer.fairseq("data", "preprocess", *sides, *prefixes, "--joined-dictionary", "--destdir", folder / "bin")
    saved = folder / "checkpoints"
    peer.fairseq("training", "train", folder / "bin", *sides, *training_options(config), "--save-dir", saved)
    last = sorted(saved.glob("checkpoint_*_*.pt"), key=lambda path: int(path.stem.split("_")[-1]))[-t.average :]
    peer.run("average", AVERAGE, folder / "average.pt", *last)
    scores = {}
    for part in ("valid", "test"):
        options = ["--path", folder / "average.pt", "--gen-subset", part, "--beam", d.beam]
        options += ["--cpu", "--remove-bpe", "sentencepiece", "--max-tokens", 4096, "--scoring", "sacrebleu"]
        options += [word for pair in LIMIT.items() for word in pair]
        outputs = generated(peer.fairseq(f"{part} score", "generate", folder / "bin", *sides, *options))
        sources, references = group_references(*texts[part])
        assert len(outputs) == len(sources), f"{len(outputs)} outputs for {len(sources)} lines of {part}"
        metric = config.evaluation.metric
        scores[part] = evaluate(outputs, references, [metric], config.evaluation.tokenize)[metric]
    facts = {"step": t.max_steps, "seed": t.seed, "dev": scores["valid"].score, "test": scores["test"].score}
    return facts | {"signature": scores["test"].signature}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it once, and keep the record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("venv", type=Path, help="fairseq's virtual environment")
    options.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--note", default="", help="for the record")
    options.add_argument("--no-record", action="store_true", help="print the record only")
    a = options.parse_args(arguments)
    config = load_recipe(RECIPE, [*WITH_ADAM, *a.set])
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(a.venv, Path(folder), a.threads)
        done = race(config, peer)
    seconds = {what: round(seconds, 1) for what, seconds in peer.seconds.items()}
    facts = {"tool": "fairseq 0.12.2", **done, "seconds": seconds}
    keep("benchmarks.speedrun_peer", a, time.perf_counter() - start, facts)


if __name__ == "__main__":
    main()
