"""From files of text to what training reads: vocabulary, tokenised shards, dev set, and a record of the inputs."""

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from transduce.data.corpus import Files, paths, read_pairs
from transduce.data.shards import ShardReport, TokenisedCorpus, tokenizer_hashes, write_shards
from transduce.errors import DataError
from transduce.files import atomic_folder, write_json
from transduce.text.tokenizer import TokenizerConfig, TokenizerPair, train_tokenizers

Pair = tuple[str, str]
Say = Callable[[str], None]

HELD_OUT = 1000  # sources at most; and at most one in twenty
TOKENIZER_PAIRS = 2_000_000  # the vocabulary is learned from the first so many


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` left in a folder. `dev` are the dev pairs as text; `manifest` says what all was made from."""

    tokenizers: TokenizerPair
    corpus: TokenisedCorpus
    dev: list[Pair]
    manifest: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The inputs of `prepare`. Without `dev`, sources that `seed` picks are held out of `train`.

    `tags` may stand in front of sources; a `TokenizerPair` that is given knows them.
    """

    train: Files
    dev: Files | None
    pretokenised: bool
    max_length: int
    seed: int
    tags: tuple[str, ...] = ()


def prepare(
    folder: Path,
    sources: Sources,
    tokenizer: TokenizerConfig | TokenizerPair,
    say: Say,
    progress: Callable[[int], None],
) -> None:
    """Make `folder`, whole or not at all. A `TokenizerPair` is used as it is (fine-tuning); a config is trained.

    Raises:
        DataError: the inputs cannot be read, or nothing of them is left.
        SaveError: the disk is full or not writable.
    """
    is_dev = _nothing if sources.dev is not None else _held_out(sources.train, sources.seed)
    dev = [p for p in read_pairs(sources.dev or sources.train) if sources.dev is not None or is_dev(p[0])]
    dev = [(s, t) for s, t in dev if s.strip() and t.strip()]
    if not dev:
        raise DataError(
            f"{paths(sources.dev or sources.train)[0]}: no dev pair with text on both sides. Give more data."
        )

    def train() -> Iterator[Pair]:
        return (p for p in read_pairs(sources.train) if not is_dev(p[0]))

    with atomic_folder(folder) as new:
        if isinstance(tokenizer, TokenizerConfig):
            say("learning the vocabulary")
            first = (p for _, p in zip(range(TOKENIZER_PAIRS), train(), strict=False))
            tokenizer = train_tokenizers(first, tokenizer, sources.pretokenised, sources.tags)
        tokenizer.save(new)
        say("tokenising")
        report = write_shards(train(), tokenizer, new / "train", max_length=sources.max_length, progress=progress)
        lines = "".join(json.dumps([s, t], ensure_ascii=False) + "\n" for s, t in dev)
        (new / "dev.jsonl").write_text(lines, encoding="utf-8")
        write_json(new / "manifest.json", _manifest(sources, report, len(dev)))


def load_prepared(folder: Path) -> Prepared:
    """What `prepare` made. Raises `DataError` or `BundleError` when it is incomplete."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        text = (folder / "dev.jsonl").read_text(encoding="utf-8")
        dev = [(str(s), str(t)) for s, t in map(json.loads, text.removesuffix("\n").split("\n"))]
        tokenizers = TokenizerPair.load(folder, manifest.get("tags", ()))
        corpus = TokenisedCorpus.open(folder / "train")
        if len(dev) != manifest["dev"]["pairs"]:
            raise ValueError(f"{len(dev)} dev pairs, the manifest says {manifest['dev']['pairs']}")
        if tokenizer_hashes(tokenizers) != corpus.tokenizer_hashes:
            raise ValueError("the tokenised pairs were made with another vocabulary")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: not complete ({error}). Start over with --fresh.") from error
    return Prepared(tokenizers, corpus, dev, manifest)


def check_inputs(manifest: dict[str, Any]) -> None:
    """Raise `DataError` if an input file changed since `manifest` was written. One that is gone is no matter."""
    for entry in manifest["inputs"]:
        path = Path(entry["path"])
        if path.is_file() and (path.stat().st_size != entry["bytes"] or _sha256(path) != entry["sha256"]):
            raise DataError(
                f"{path}: changed since this run was started, so it cannot be continued exactly. "
                f"Put the old file back, or start over with --fresh."
            )


def _manifest(sources: Sources, report: ShardReport, n_dev: int) -> dict[str, Any]:
    read = paths(sources.train) + (paths(sources.dev) if sources.dev is not None else [])
    inputs = [{"path": str(p), "bytes": p.stat().st_size, "sha256": _sha256(p)} for p in read]
    held_out = sources.dev is None
    return {
        "inputs": inputs,
        "tags": list(sources.tags),
        "train": asdict(report),
        "dev": {"pairs": n_dev, "held_out_of_train": held_out},
    }


def _held_out(train: Files, seed: int) -> Callable[[str], bool]:
    """Which sources are dev: those with the smallest keyed hashes, so that equal sources stay together."""
    hashes = {_hash(source, seed) for source, target in read_pairs(train) if source.strip() and target.strip()}
    if len(hashes) < 2:
        raise DataError(
            f"{paths(train)[0]}: fewer than two different sources; nothing can be held out for development."
        )
    limit = heapq.nsmallest(min(HELD_OUT, max(1, len(hashes) // 20)), hashes)[-1]
    return lambda source: _hash(source, seed) <= limit


def _nothing(source: str) -> bool:
    return False


def _hash(source: str, seed: int) -> int:
    key = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8, key=key).digest(), "big")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
