"""What an experienced engineer would choose for data without a recipe: every setting, with its reason.

The rules, and the experiments behind them (docs/log.md and the recipes have the numbers):

- **Pieces of a side.** At most 200 different words, each seen four times or more: symbols, one piece each (phones;
  SCAN, 99.98% exact). One word a line: characters, for nothing longer recurs among a few thousand words; a few words a
  line too, where symbols are on the other side (Vietnamese to phones, 7 minutes: 7.3% WER in BPE, 3.1 in characters).
  Lemma and tags (`walk V;PST`): characters, and each tag one piece; inputs are half as long, and 86 instead of 54% were
  right after 300 updates of Murrinh-Patha. Else: BPE.
- **Vocabulary.** A piece has to be seen often to be learned: one for every 75 words of text, about the 10,000 that
  published models of Multi30k's 29,000 captions have (with 6,000, 0.5 BLEU less after 2,000 updates), at
  least 1,000, and at most 10,000 below a million pairs, 32,000 (the paper's) above; for Chinese and Japanese, up to
  that, twice as many as there are characters. The sides share one where they share an alphabet (section 5.1).
- **Model.** As large as the number of pairs feeds and the time allows: a tiny model (4 + 4 layers, d_model 128) reads
  some 3,000 pieces a second for each thread and every next size a fifth of that, and one that sees its data fewer
  than ten times has not begun to use its size. Models too large for little data are what low-resource users report
  most.
- **Dropout.** 0.3 below 20,000 pairs (published models of pronunciation and inflection: 0.1 to 0.3), 0.2 below
  100,000 (Multi30k), 0.1 above (the paper's); none from symbols to symbols with one certain target (SCAN).
- **Batch and rate.** A batch holds one length, so an update of tiny models is made of two. Of 1,024 tokens each, and a
  peak of 0.003 to 0.004 (Multi30k: 29 BLEU after 12 minutes, where the published settings had 3). Of 512 for what is
  spelled, below 20,000 pairs (Dakota: 91.5% instead of 89.9 with twice as much an update, in the same time). Symbols to
  symbols: eight of 512 at 0.001, because lengths are what is to be learned (SCAN: 97 to 100% instead of 62 to 78%).
- **Weight decay** for what is spelled, below 20,000 pairs: pronunciation, ten languages, 14.1 instead of 15.5% WER on
  dev with 0.5; inflection, five languages, no worse in the mean (82.5 and 82.4%). Text was not measured.
- **Muon** instead of Adam for tiny models and 20,000 pairs or more: a tenth of a step's time more (captions), and
  further after as many updates. CMUdict after 1,300 of 1,300: 37.4 instead of 39.7% WER on dev; captions after 2,000
  of 8,000 or 9,000: 35 instead of 33 BLEU, and as good at the end. Its rate for text is half as high again
  (captions, with 10,000 pieces, three seeds: 42.9 instead of 42.1 BLEU on dev). Less data, larger models and
  fine-tuning were not measured with it.
- **R-Drop** beside it for text, if the minutes allow 15 passes in which every batch is read twice: captions, 42.1
  BLEU on dev after 7,400 updates, 41.0 without it after 8,000; an update takes 2.15 times as long. What regularises
  shows late, so a shorter training goes without (where exactly it turns is not measured).
- **Pairs made from pairs.** For text, one for every fourth (`data.augment`). Multi30k en-fr, 15 minutes: single words
  handled 93 instead of 47%, capitals 39 instead of 0%, two sentences at once 76 instead of 40%, things to copy 16 to 21
  instead of 0 to 2%; 51.5 instead of 52.4 BLEU. Placeholders (`data.placeholders`) keep a number as it is, so not where
  most are written otherwise in the target.
- **Length penalty.** For text, larger ones are tried with the finished model on the dev set, for small models end too
  soon: Multi30k's dev set had 41.5 with 1.4 where the paper's 0.6 had 41.0 (its test set has shorter references, and
  need not gain). After few updates they are worse: 4.0 with 0.6, 1.9 with 1.4.
- **Stopping.** The minutes decide, or 15 validations without a better one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from transduce.data.survey import SYMBOLS, Side, Survey
from transduce.errors import ConfigError
from transduce.text.tokenizer import Kind

Preset = Literal["auto", "tiny", "small", "base", "big"]

# The paper's base and big (Table 3); small and tiny are the same shape for a small machine and for small data.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layers": 4, "d_model": 128, "d_ff": 256, "n_heads": 4, "norm": "pre"},
    "small": {"n_layers": 6, "d_model": 256, "d_ff": 1024, "n_heads": 4, "norm": "pre"},
    "base": {"n_layers": 6, "d_model": 512, "d_ff": 2048, "n_heads": 8},
    "big": {"n_layers": 6, "d_model": 1024, "d_ff": 4096, "n_heads": 16},
}
# Peak rate and warm-up, padded tokens a batch, batches an update: wider models want lower rates and longer warm-ups.
RATES: dict[str, tuple[float, int, int, int]] = {
    "tiny": (0.004, 1000, 1024, 2),
    "small": (0.0015, 2000, 4096, 1),
    "base": (0.0007, 4000, 4096, 1),
    "big": (0.0005, 4000, 4096, 1),
}
FEW_PAIRS = 20_000
PHRASE = 4  # words of a line that is not a sentence yet
WEIGHT_DECAY = 0.5
FEW_TAGS = 30  # different ones of a small set; more only if there are ten lines for each
RESERVED = 600  # pieces that no text needs to have: special ones, bytes, tags, with room to spare
OFTEN = 4  # times that a symbol is seen on average; in a hundred lines of prose a word is not
FINE_TUNING_RATE = 0.2  # of the preset's peak: what is learned should move, not be learned again
FINE_TUNING_WARMUP = 200  # steps; the moments of Adam start from nothing
ENOUGH_PAIRS = {"small": 100_000, "base": 1_000_000, "big": 10_000_000}
PIECES_A_SECOND = {"tiny": 3000, "small": 600, "base": 125, "big": 30}  # for each thread
MOST_THREADS = 8  # more count as so many: how small models use them is not measured
PASSES = 10
R_DROP = 3.0
R_DROP_PASSES = 15  # in each of which every batch is read twice
MUON_RATE = 0.006  # for text
AUGMENT = 0.25  # of the pairs
PLACEHOLDERS = 0.1
ALPHAS = [1.0, 1.4]
LENGTH = 256  # pieces: the default of data.max_length
CHECKPOINT_EVERY = 1000  # the default of training.checkpoint_every


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A setting, as `section.key`, that follows from the data, and why it was chosen so."""

    key: str
    value: Any
    why: str


def check_preset(name: str) -> None:
    """Raise `ConfigError` unless `name` is a `Preset`."""
    if name not in get_args(Preset):
        raise ConfigError(f"--preset {name}: choose one of {', '.join(get_args(Preset))}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The model that a training starts from: which kinds its pieces are of, for those that the data alone asks for; its
    width; and whether it knows placeholders."""

    kinds: Callable[[Kind, Kind], tuple[Kind, Kind]]
    d_model: int
    placeholders: bool


def choose(
    name: str,
    data: Survey,
    minutes: float,
    threads: int = 2,
    asked: Mapping[str, Any] = MappingProxyType({}),
    origin: Origin | None = None,
) -> list[Choice]:
    """The settings for `data` that are not a recipe's defaults anyway, to train for `minutes` (0: no limit) with so
    many `threads`. `asked` are settings that somebody chose, by `section.key`: others follow from them.

    Raises:
        ConfigError: no preset of that name.
    """
    check_preset(name)
    pairs = data.pairs - data.empty - data.duplicates
    source, target = _pieces(data.source, reads=True), _pieces(data.target, reads=False)
    if source.value == "bpe" and target.value == "words":
        source = _spelled(data.source) or source
    if origin is not None:
        own = ["bpe" if kind == "unigram" else kind for kind in origin.kinds(source.value, target.value)]
        source, target = (
            replace(c, value=kind, why="the model's") for c, kind in zip((source, target), own, strict=True)
        )
    kinds = _asked(source, asked), _asked(target, asked)
    certain = source.value == target.value == "words" and not data.ambiguous_sources
    thread_minutes = minutes * min(threads, MOST_THREADS)
    steps = asked["training.max_steps"] if counts_steps(asked) else 0

    def passes(size: str) -> float:
        return _passes(data, size, thread_minutes, steps)

    size, why = _size(pairs, passes) if name == "auto" else (name, "as asked")
    muon = asked.get("training.optimizer", "muon") == "muon" and _wants_muon(size, pairs, certain)
    twice = muon and target.value == "bpe" and asked.get("model.p_drop", 1) > 0  # dropout is what makes them differ
    choices = [
        source,
        target,
        *_vocabulary(data, pairs, *kinds),
        *_model(size, why, target.value),
        _dropout(size, pairs, certain),
        *_optimisation(size, pairs, target.value, certain, muon),
        *(_r_drop(passes(size)) if twice and minutes else []),
        _schedule(minutes, steps),
        *_lengths(data, *kinds),
        *(_augment(data, source.value, target.value, origin) if _is_raw_text(asked) else []),
        *_stopping(minutes),
        _metric(data.target, source.value, target.value),
        *_alphas(target.value),
        *(_fine_tuning(name, origin.d_model) if origin is not None else []),
    ]
    return choices + _within(steps, sections(choices)["training"]["warmup"])


def _fine_tuning(name: str, d_model: int) -> list[Choice]:
    """What going on from a model of width `d_model` changes: a fifth of the peak rate of the preset `name` (for `auto`,
    of the first that is as wide), after a short warm-up."""
    fitting = [size for size in SIZES if SIZES[size]["d_model"] >= d_model]
    peak, *_ = RATES[name if name != "auto" else fitting[0] if fitting else "big"]
    why = "fine-tuning: what is learned should move, not be learned again"
    return [
        Choice(key="training.learning_rate", value=round(FINE_TUNING_RATE * peak, 6), why=why),
        Choice(key="training.warmup", value=FINE_TUNING_WARMUP, why=why),
        Choice(key="training.optimizer", value="adam", why="fine-tuning with others was not measured"),
        Choice(key="training.r_drop", value=0.0, why="fine-tuning with it was not measured"),
        Choice(key="training.weight_decay", value=0.0, why="fine-tuning with it was not measured"),
    ]


def sections(choices: Sequence[Choice]) -> dict[str, Any]:
    """The choices as the sections of a recipe; of two for one setting the later one."""
    found: dict[str, Any] = {}
    for choice in choices:
        section, _, key = choice.key.partition(".")
        found.setdefault(section, {})[key] = choice.value
    return found


def _pieces(side: Side, reads: bool) -> Choice:
    if reads and side.tagged > 0.95 * side.lines and side.distinct_tags <= max(FEW_TAGS, side.lines / 10):
        kind, why = "tagged", "words with tags (`walk V;PST`): letters, and each tag one piece"
    elif side.distinct_words <= min(SYMBOLS, side.words / OFTEN) and side.spaced > side.lines / 2:
        kind, why = "words", f"{side.distinct_words} different words in all: symbols, not text"
    elif side.spaced <= side.lines / 2 and not side.is_prose:
        kind, why = "characters", "mostly one word a line: spelled out"
    else:
        kind, why = "bpe", f"text: {side.distinct_words:,}{' or more' if side.more_words else ''} different words"
    return Choice(key="tokenizer.source" if reads else "tokenizer.target", value=kind, why=why)


def _asked(choice: Choice, asked: Mapping[str, Any]) -> str:
    """The kind of pieces, or that which somebody asked for instead, as the rules know it: subwords are subwords."""
    kind = str(asked.get(choice.key, choice.value))
    return "bpe" if kind == "unigram" else kind


def _spelled(side: Side) -> Choice | None:
    """How phrases of a few words are read that become symbols, as words do that are pronounced."""
    if side.words >= PHRASE * side.lines:
        return None
    why = f"{side.words / side.lines:.1f} words a line, and symbols on the other side: spelled out"
    return Choice(key="tokenizer.source", value="characters", why=why)


def _vocabulary(data: Survey, pairs: int, source: str, target: str) -> list[Choice]:
    both = (data.source, source), (data.target, target)
    sides = [side for side, kind in both if kind == "bpe"]
    letters = max((side.distinct_characters for side, kind in both if kind in ("characters", "tagged")), default=0)
    alike = sum(min(share, data.target.scripts.get(name, 0.0)) for name, share in data.source.scripts.items())
    joint = len(sides) == 2 and alike >= 0.5
    if not sides:
        size, of = max(8000, letters + RESERVED), "an upper limit: there are as many as symbols, characters and tags"
    else:
        words = sum(map(_words, sides)) if joint else max(map(_words, sides))
        written = max(2 * side.distinct_characters if side.is_ideographic else 0 for side in sides)
        most = 10_000 if pairs < 1_000_000 else 32_000
        least = min(most, max(1000, written))
        size = min(most, max(least, words // 7500 * 100))
        of = f"one piece for every 75 of {words:,} words, at least {least:,}, at most {most:,}"
        if letters + RESERVED > size:
            size, of = letters + RESERVED, f"room for the {letters:,} characters of the side that is spelled"
    reason = (
        f"the sides have {alike:.0%} of their letters' alphabets in common"
        if len(sides) == 2
        else ("the sides are made of different kinds of pieces, or of symbols of their own")
    )
    return [
        Choice(key="tokenizer.joint", value=joint, why=reason),
        Choice(key="tokenizer.size", value=size, why=of),
    ]


def _words(side: Side) -> int:
    """Words; where no spaces are written, one for every eight characters, or two of Chinese and Japanese."""
    return max(side.words, side.characters // (2 if side.is_ideographic else 8))


def _size(pairs: int, passes: Callable[[str], float]) -> tuple[str, str]:
    """The largest that the data feeds and that sees it ten times in the time, or in the steps."""
    for name in ("big", "base", "small"):
        if pairs >= ENOUGH_PAIRS[name] and passes(name) >= PASSES:
            return name, f"{pairs:,} pairs feed a {name} model"
    if pairs < ENOUGH_PAIRS["small"]:
        return "tiny", f"{pairs:,} pairs feed a tiny model; the next size wants {ENOUGH_PAIRS['small']:,}"
    return "tiny", f"a larger model would not see {pairs:,} pairs ten times in what it is given"


def _passes(data: Survey, size: str, thread_minutes: float, steps: int) -> float:
    """How often a model of this size reads the data in the time, or in so many steps; without limit where neither is
    given."""
    _, _, tokens, batches = RATES[size]
    pieces = steps * tokens * batches if steps else thread_minutes * 60 * PIECES_A_SECOND[size] or math.inf
    return pieces / (1.3 * _words(data.target) + 1)


def _model(size: str, why: str, target: str) -> list[Choice]:
    shape = SIZES[size]
    if size == "tiny" and target != "bpe":
        shape = shape | {"d_ff": 512}
        why = f"{why}; the vocabulary is small, so d_ff can be large"
    return [Choice(key=f"model.{key}", value=value, why=why) for key, value in shape.items()]


def _dropout(size: str, pairs: int, certain: bool) -> Choice:
    if certain:
        value, why = 0.0, "symbols to symbols, one target a source: nothing is noise"
    elif size == "big":
        value, why = 0.3, "the paper's for its big model"
    elif pairs < FEW_PAIRS:
        value, why = 0.3, f"fewer than {FEW_PAIRS:,} pairs"
    elif pairs < 100_000:
        value, why = 0.2, "fewer than 100,000 pairs"
    else:
        value, why = 0.1, "the paper's, for 100,000 pairs or more"
    return Choice(key="model.p_drop", value=value, why=why)


def _optimisation(size: str, pairs: int, target: str, certain: bool, muon: bool) -> list[Choice]:
    peak, warmup, tokens, batches = RATES[size]
    spelled = size == "tiny" and target != "bpe"
    if certain:
        why = "symbols to symbols: an update mixes eight batches, and so eight lengths"
        values: dict[str, Any] = {"batching.max_tokens": 512, "batching.accumulate": 8}
        values |= {"training.label_smoothing": 0.0, "training.learning_rate": 0.001, "training.warmup": 300}
    else:
        why = f"what {size} models do well with"
        few = spelled and pairs < FEW_PAIRS
        rate = 0.003 if spelled else MUON_RATE if muon else peak
        values = {"batching.max_tokens": 512 if few else tokens, "batching.accumulate": batches}
        values |= {"training.warmup": warmup, "training.learning_rate": rate}
        values |= {"training.weight_decay": WEIGHT_DECAY} if few else {}
    choices = [Choice(key=key, value=value, why=why) for key, value in values.items()]
    if muon:
        why = f"{FEW_PAIRS:,} pairs or more in few passes: further after as many updates than Adam"
        choices.append(Choice(key="training.optimizer", value="muon", why=why))
    return choices


def _wants_muon(size: str, pairs: int, certain: bool) -> bool:
    return size == "tiny" and pairs >= FEW_PAIRS and not certain


def _r_drop(passes: float) -> list[Choice]:
    if passes < 2 * R_DROP_PASSES:
        return []
    why = f"time for {R_DROP_PASSES} passes or more through what was given, with every batch read twice"
    return [Choice(key="training.r_drop", value=R_DROP, why=why)]


def _schedule(minutes: float, steps: int) -> Choice:
    """`steps` are those that were asked for, and 0 where the clock decides or nothing does."""
    if minutes:
        value, why = "linear", "the minutes say at which step the rate can be down to 0"
    elif steps:
        value, why = "linear", "down to 0 at the last of these steps"
    else:
        value, why = "inverse_sqrt", "for as long as it takes: with --minutes the rate would come down to 0"
    return Choice(key="training.schedule", value=value, why=why)


def _within(steps: int, warmup: int) -> list[Choice]:
    """What steps that were asked for change: a `warmup` that is most of them, and validations that are too few."""
    found = []
    if 0 < steps < 5 * warmup:
        found.append(Choice(key="training.warmup", value=max(1, steps // 5), why="a fifth of the steps"))
    if 0 < steps < 20 * CHECKPOINT_EVERY:
        found.append(
            Choice(key="training.checkpoint_every", value=max(1, steps // 20), why="twenty times in these steps")
        )
    return found


def _lengths(data: Survey, source: str, target: str) -> list[Choice]:
    """Room for long lines where one in a hundred is longer than the default."""

    def pieces(side: Side, kind: str) -> int:
        lengths = side.word_lengths if kind == "words" else side.character_lengths
        return lengths.p99 // 3 if kind == "bpe" and not side.is_ideographic else lengths.p99

    read, written = pieces(data.source, source), pieces(data.target, target)
    found = []
    if max(read, written) > LENGTH:
        why = f"one line in a hundred has more than some {max(read, written)} pieces"
        found.append(Choice(key="data.max_length", value=min(2048, max(read, written) * 5 // 4), why=why))
    if written > read + 50:
        why = "targets are much longer than sources"
        found.append(Choice(key="decoding.extra_length", value=min(2048, written * 5 // 4), why=why))
    return found


def counts_steps(asked: Mapping[str, Any]) -> bool:
    """Whether somebody wants so many steps, and the clock to have no say."""
    steps = asked.get("training.max_steps")
    return isinstance(steps, int) and steps > 0 and not asked.get("training.minutes")


def _is_raw_text(asked: Mapping[str, Any]) -> bool:
    """Whether nothing that was asked for says that the data is something else."""
    kinds = {asked.get(f"tokenizer.{side}", "bpe") for side in ("source", "target")}
    return kinds <= {"bpe", "unigram"} and not asked.get("data.pretokenised")


def _augment(data: Survey, source: str, target: str, origin: Origin | None) -> list[Choice]:
    if (
        not source == target == "bpe"
        or min(side.spaced / max(1, side.lines) for side in (data.source, data.target)) < 0.5
    ):
        return []
    why = "so that single words, capitals, two sentences, addresses are translated too; costs half a BLEU; 0 is off"
    made = [Choice(key="data.augment", value=AUGMENT, why=why)] if origin is None else []
    if origin is not None and not origin.placeholders:
        return made
    if 2 * data.numbers_alike < data.numbers:
        why = f"{data.numbers - data.numbers_alike:,} of {data.numbers:,} numbers are written otherwise in the target"
        return [*made, Choice(key="data.placeholders", value=0.0, why=why)]
    why = "so that numbers, addresses, {names} are kept, whatever the model knows of them; 0 is off"
    return [*made, Choice(key="data.placeholders", value=PLACEHOLDERS, why=why)]


def _stopping(minutes: float) -> list[Choice]:
    return [
        Choice(key="training.max_steps", value=10**9 if minutes else 100_000, why="minutes or patience end it before"),
        Choice(key="training.minutes", value=minutes, why="as asked" if minutes else "no limit"),
        Choice(key="training.patience", value=15, why="so many validations without a better one end it"),
        Choice(key="training.average", value=10, why="what every recipe does well with"),
    ]


def _metric(side: Side, source: str, target: str) -> Choice:
    if target != "bpe":
        metric, why = "accuracy" if source == "tagged" else "wer", "outputs are right or wrong"
    elif side.spaced < side.lines / 2:
        metric, why = "chrf", "the target is written without spaces"
    else:
        metric, why = "bleu", "the target is text"
    return Choice(key="evaluation.metric", value=metric, why=why)


def _alphas(target: str) -> list[Choice]:
    if target != "bpe":
        return []
    why = "tried in the end beside decoding.alpha: outputs of small models tend to be too short"
    return [Choice(key="evaluation.alphas", value=ALPHAS, why=why)]


def languages(source: str, target: str) -> tuple[str, str]:
    """Language codes from file suffixes: `a.en`, `a.de.gz` give ("en", "de")."""

    def code(name: str) -> str:
        suffixes = [s for s in Path(name).suffixes if s.lower() not in (".gz", ".xz")]
        return suffixes[-1][1:] if suffixes else ""

    return code(source), code(target)
