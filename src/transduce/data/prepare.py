"""From files of text to what training reads: vocabulary, tokenised shards, dev set, and a record of the inputs."""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, final

from transduce.data.augment import MADE, Rules, augmented, inflection_rules, lexicon, placeholder_rules, text_rules
from transduce.data.cleaning import RULES, Cleaner, CleaningConfig
from transduce.data.corpus import Files, Numbered, Pair, paths, read_pairs
from transduce.data.preflight import Preflight, reasons, to_values
from transduce.data.resegment import Resegmented
from transduce.data.shards import Corpus, ShardReport, TokenisedCorpus, write_shards
from transduce.data.survey import Survey, examine
from transduce.errors import DataError
from transduce.files import atomic_folder, sha256, write_json
from transduce.text.form import split_tag
from transduce.text.tokenizer import TokenizerConfig, TokenizerPair, train_tokenizers

Say = Callable[[str], None]

HELD_OUT = 1000  # sources at most; and at most one in twenty
TOKENIZER_CHARACTERS = 16_000_000  # the vocabulary is learned from at least so many,
CHARACTERS_PER_PIECE = 1_000  # and from at least so many for each of its pieces


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` left in a folder. `dev` are the dev pairs as text; `manifest` says what all was made from.

    `epochs` is the corpus as training reads it: as it is, unless `with_drawn_pieces` says otherwise."""

    tokenizers: TokenizerPair
    corpus: TokenisedCorpus
    epochs: Corpus
    dev: list[Pair]
    manifest: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The inputs of `prepare`. Without `dev`, sources that `seed` picks are held out of `train`.

    What of `test` is in the training data is counted, where its files are there; the rule `in_dev` needs them to be.
    `tags` may stand in front of sources; a `TokenizerPair` that is given knows them. For a share `augment` of the pairs
    that are trained on one more is made, but not if `augment_below` is above 0 and there are so many distinct pairs;
    for a share `placeholders` one with these. Those that are `inflected` are lemmas with tags, and forms.
    """

    train: Files
    dev: Files | None
    test: Files | None = None
    pretokenised: bool
    max_length: int
    seed: int
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    tags: tuple[str, ...] = ()
    augment: float = 0.0
    augment_below: int = 0
    placeholders: float = 0.0
    inflected: bool = False


def prepare(
    folder: Path,
    sources: Sources,
    tokenizer: TokenizerConfig | TokenizerPair,
    say: Say,
    progress: Callable[[int], None],
) -> Preflight:
    """Make `folder`, whole or not at all. A `TokenizerPair` is used as it is (fine-tuning); a config is trained.

    The files are read several times, so that memory does not grow with them. What is left out of training is listed in
    `dropped.tsv`; the report, which is returned too, is in `preflight.json`.

    Raises:
        DataError: the inputs cannot be read, change while they are read, or nothing of them is left.
        SaveError: the disk is full or not writable.
    """
    with atomic_folder(folder) as new, _unchanged(_inputs(sources)) as inputs:
        dev, test = _read_set(sources.dev), _read_set(_test_set(sources))
        held_out = _HeldOut(sources.seed)
        pairs = read_pairs(sources.train)
        plain = _without_tag if sources.tags else str
        watched = held_out.watch(pairs) if dev is None else pairs
        survey, later = examine(watched, dev=dev, test=test, scratch=new, text=plain)
        is_dev = _nothing if dev is not None else held_out.choose(survey.distinct_sources, sources.train)
        cleaner = Cleaner(sources.cleaning, survey.usual, later, {*(dev or ()), *(test or ())}, plain)

        def numbered() -> Iterator[Numbered]:
            return enumerate(read_pairs(sources.train), start=1)

        _check_some_left((cleaner.reason(n, p) for n, p in numbered() if not is_dev(p[0])), sources.train)
        if dev is None:
            full = [(n, p) for n, p in numbered() if is_dev(p[0]) and not cleaner.reason(n, p)]
        else:
            full = [(n, (s, t)) for n, (s, t) in enumerate(dev, start=1) if s.strip() and t.strip()]
        if not full:
            why = "no dev pair with text on both sides" if dev else "a rule leaves out all that was held out for dev"
            raise DataError(f"{paths(sources.dev or sources.train)[0]}: {why}. Give more data, or another dev set.")
        kept = ((n, p) for n, p in numbered() if not is_dev(p[0]) and not cleaner.reason(n, p))
        if enough := _enough(sources, survey):
            say(f"no pairs are made from the {survey.pairs:,}: data.augment_below is {sources.augment_below:,}")
        with_more = _with_more(replace(sources, augment=0.0) if enough else sources, survey, (pair for _, pair in kept))

        is_given = isinstance(tokenizer, TokenizerPair)
        if isinstance(tokenizer, TokenizerConfig):
            say("learning the vocabulary")
            # a line without a partner is text to learn pieces from
            usable = ((n, p) for n, p in numbered() if not is_dev(p[0]) and cleaner.reason(n, p) in ("", "empty"))
            text = (pair for _, pair in with_more(usable))
            limit = max(TOKENIZER_CHARACTERS, CHARACTERS_PER_PIECE * tokenizer.size)
            share = min(1.0, limit / (survey.source.characters + survey.target.characters))
            tokenizer = train_tokenizers(_spread(text, share), tokenizer, sources.pretokenised, sources.tags)
        for number, (source, _) in full:
            tokenizer.check_tag(source, f"pair {number} of {paths(sources.dev or sources.train)[0]}")
        tokenizer.save(new)
        say("tokenising")
        with _Dropped(new / "dropped.tsv") as dropped:
            report = write_shards(
                with_more(_kept(numbered(), is_dev, cleaner, dropped)),
                tokenizer,
                new / "train",
                max_length=sources.max_length,
                progress=progress,
                left_out=dropped.add,
            )
            _check_known(report, tokenizer, is_given, say)
            if dev is None:
                full = _short_enough(full, tokenizer, sources.max_length, dropped)
        lines = "".join(json.dumps([s, t], ensure_ascii=False) + "\n" for _, (s, t) in full)
        (new / "dev.jsonl").write_text(lines, encoding="utf-8")
        held_out_pairs = len(full) if dev is None else 0
        given = survey.pairs - dropped.counts.total() - held_out_pairs
        preflight = Preflight(
            survey=survey,
            cleaning=sources.cleaning,
            left_out={rule: dropped.counts[rule] for rule in RULES},
            kept=given,
            made=report.kept - given,
            held_out=held_out_pairs,
            dev_pairs=len(full),
            dev_empty=0 if dev is None else len(dev) - len(full),
        )
        write_json(new / "preflight.json", to_values(preflight))
        write_json(new / "manifest.json", _manifest(inputs, sources.tags, report, preflight, held_out=dev is None))
    return preflight


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
        if tokenizers.hashes() != corpus.tokenizer_hashes:
            raise ValueError("the tokenised pairs were made with another vocabulary")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: not complete ({error}). Start over with --fresh.") from error
    return Prepared(tokenizers, corpus, corpus, dev, manifest)


def with_drawn_pieces(prepared: Prepared, tokenizer: TokenizerConfig, *, max_length: int, seed: int) -> Prepared:
    """The same, where training reads pieces that are drawn anew in every epoch if `tokenizer` says so.

    Raises:
        ConfigError: the vocabulary is of a kind that has nothing to draw.
    """
    dropout, sampling = tokenizer.dropout, tokenizer.sampling
    if dropout == sampling == 0:
        return prepared
    epochs = Resegmented(
        prepared.corpus, prepared.tokenizers, dropout=dropout, sampling=sampling, max_length=max_length, seed=seed
    )
    return replace(prepared, epochs=epochs)


def check_inputs(manifest: dict[str, Any]) -> None:
    """Raise `DataError` if an input file changed since `manifest` was written. One that is gone is no matter."""
    for entry in manifest["inputs"]:
        path = Path(entry["path"])
        if path.is_file() and (path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]):
            raise DataError(
                f"{path}: changed since this run was started. To continue it exactly, put the old file back; or start "
                "over with --fresh."
            )


def _manifest(
    inputs: list[dict[str, Any]], tags: tuple[str, ...], report: ShardReport, preflight: Preflight, held_out: bool
) -> dict[str, Any]:
    tokens = {"source_tokens": report.source_tokens, "target_tokens": report.target_tokens}
    train = {"kept": preflight.kept, "made": preflight.made, **preflight.left_out, **tokens}
    dev = {"pairs": preflight.dev_pairs, "held_out_of_train": held_out}
    return {"inputs": inputs, "tags": list(tags), "train": train, "dev": dev}


def _inputs(sources: Sources) -> list[Path]:
    """The files that decide what is trained on."""
    judged = [sources.dev, sources.test if sources.cleaning.in_dev else None]
    return [path for files in (sources.train, *judged) if files is not None for path in paths(files)]


def _test_set(sources: Sources) -> Files | None:
    """The test set where it can be read; without the rule `in_dev`, training goes without."""
    test = sources.test
    is_there = test is not None and all(path.exists() for path in paths(test))
    return test if is_there or sources.cleaning.in_dev else None


def _read_set(files: Files | None) -> list[Pair] | None:
    return None if files is None else list(read_pairs(files))


@contextmanager
def _unchanged(files: Iterable[Path]) -> Iterator[list[dict[str, Any]]]:
    """What identifies the files in `files`, and an error, instead of any other, if they do not stay as they are."""
    before = {path: _identity(path) for path in files}

    def check(cause: Exception | None) -> None:
        for path, identity in before.items():
            if path.exists() and _identity(path) != identity:
                raise DataError(
                    f"{path}: changed while it was read. When whatever writes it is done, run the same command again."
                ) from cause

    try:
        yield list(before.values())
    except Exception as error:
        check(error)
        raise
    check(None)


def _identity(path: Path) -> dict[str, Any]:
    try:
        if path.is_file():
            return {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)}
    except OSError:
        pass
    return {"path": str(path)}  # reading it will say why


def _enough(sources: Sources, survey: Survey) -> bool:
    """Whether there are too many pairs for more to be made of them."""
    distinct = survey.pairs - survey.empty - survey.duplicates
    return sources.augment > 0 and 0 < sources.augment_below <= distinct


def _with_more(
    sources: Sources, survey: Survey, pairs: Iterable[Pair]
) -> Callable[[Iterable[Numbered]], Iterable[Numbered]]:
    """What puts the pairs that are made from pairs among them; `pairs` are what is known of the language."""
    rules: list[tuple[float, Rules]] = []
    if sources.augment and sources.inflected:
        rules.append((sources.augment, inflection_rules(pairs)))
    elif sources.augment or sources.placeholders:
        words = lexicon(pairs)
        dotless = survey.source.dotless_i, survey.target.dotless_i
        rules += [(sources.augment, text_rules(words, dotless)), (sources.placeholders, placeholder_rules(words))]

    def with_more(given: Iterable[Numbered]) -> Iterable[Numbered]:
        for i, (share, made) in enumerate(rules):
            given = augmented(given, share, sources.seed + i, made) if share else given
        return given

    return with_more


def _check_some_left(found: Iterator[str], train: Files) -> None:
    """Raise `DataError` if every reason in `found` is one to leave a pair out."""
    counts: Counter[str] = Counter()
    for reason in found:
        if not reason:
            return
        counts[reason] += 1
    raise DataError(f"{paths(train)[0]}: no pair is left to train on: {reasons(counts)}. Check the files.")


def _spread(pairs: Iterable[Pair], share: float) -> Iterator[Pair]:
    """A share of `pairs`, evenly from all of them: those where the running total passes a whole number."""
    return (pair for i, pair in enumerate(pairs) if int((i + 1) * share) > int(i * share))


def _kept(
    pairs: Iterable[Numbered], is_dev: Callable[[str], bool], cleaner: Cleaner, dropped: "_Dropped"
) -> Iterator[Numbered]:
    """What is trained on. What is not, and is no dev pair either, goes to `dropped`."""
    for number, pair in pairs:
        if reason := cleaner.reason(number, pair):
            dropped.add(reason, (number, pair))
        elif not is_dev(pair[0]):
            yield number, pair


@final
class _Dropped:
    """The list of dropped pairs, a line each: number of the line, rule, source, target; divided by tabs."""

    def __init__(self, path: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> Self:
        self._file.write("line\trule\tsource\ttarget\n")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, rule: str, numbered: Numbered) -> None:
        number, pair = numbered
        if number == MADE:
            return
        self.counts[rule] += 1
        self._file.write("\t".join([str(number), rule, *(text.translate(_ESCAPES) for text in pair)]) + "\n")


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _check_known(report: ShardReport, tokenizer: TokenizerPair, is_given: bool, say: Say) -> None:
    """Say what share of the pieces is unknown, of the side with more. Raise `DataError` where it is half, and the
    vocabulary `is_given`: that is nothing to learn from."""
    shares = report.unknown_source / report.source_tokens, report.unknown_target / report.target_tokens
    share, side = max(zip(shares, ("source", "target"), strict=True))
    if share >= 0.5 and is_given:
        raise DataError(
            f"{share:.0%} of the {side} text has no piece in the vocabulary of the model to start from. Train without "
            "that model."
        )
    if share >= 0.001:
        say(f"{share:.1%} of the {side} pieces are unknown to the vocabulary: all of them are one to the model")


def _short_enough(
    held_out: list[Numbered], tokenizer: TokenizerPair, max_length: int, dropped: _Dropped
) -> list[Numbered]:
    """Those with no side over `max_length` pieces, as for training; all of them where none is left."""
    rows = tokenizer.encode_pairs([pair for _, pair in held_out])
    fits = [max(len(source), len(target)) <= max_length for source, target in rows]
    if not any(fits):
        return held_out
    for numbered in (one for one, fit in zip(held_out, fits, strict=True) if not fit):
        dropped.add("too_long", numbered)
    return [one for one, fit in zip(held_out, fits, strict=True) if fit]


@final
class _HeldOut:
    """Which sources are dev: those with the smallest keyed hashes, so that equal sources stay together."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._smallest: list[int] = []  # a heap of the negated hashes, so that the largest is the first to go
        self._in_heap: set[int] = set()

    def watch(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """`pairs` as they are. On the way the smallest hashes of their sources are kept."""
        for pair in pairs:
            if pair[0].strip() and pair[1].strip():
                self._add(_hash(pair[0], self._seed))
            yield pair

    def _add(self, number: int) -> None:
        if number in self._in_heap or (len(self._smallest) == HELD_OUT and number > -self._smallest[0]):
            return
        self._in_heap.add(number)
        heapq.heappush(self._smallest, -number)
        if len(self._smallest) > HELD_OUT:
            self._in_heap.remove(-heapq.heappop(self._smallest))

    def choose(self, distinct_sources: int, train: Files) -> Callable[[str], bool]:
        """Whether a source is dev. Raises `DataError` when there are too few."""
        if distinct_sources < 2:
            raise DataError(
                f"{paths(train)[0]}: fewer than two different sources; nothing can be held out for development."
            )
        n = min(HELD_OUT, max(1, distinct_sources // 20))
        limit = -heapq.nlargest(n, self._smallest)[-1]
        return lambda source: _hash(source, self._seed) <= limit


def _nothing(source: str) -> bool:
    return False


def _without_tag(source: str) -> str:
    return split_tag(source)[1]


def _hash(source: str, seed: int) -> int:
    key = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8, key=key).digest(), "big")
