"""Settings for people without a recipe: sizes by name, and a choice by the amount of data."""

from pathlib import Path
from typing import Any, Literal, get_args

from transduce.data.corpus import Files, read_pairs
from transduce.errors import ConfigError
from transduce.text.form import split_tag

Preset = Literal["auto", "tiny", "small", "base", "big"]

# The paper's base and big (Table 3); small and tiny are the same shape for a small machine and for small data.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"n_layers": 4, "d_model": 128, "d_ff": 256, "n_heads": 4, "p_drop": 0.2},
    "small": {"n_layers": 6, "d_model": 256, "d_ff": 1024, "n_heads": 4, "p_drop": 0.1},
    "base": {"n_layers": 6, "d_model": 512, "d_ff": 2048, "n_heads": 8, "p_drop": 0.1},
    "big": {"n_layers": 6, "d_model": 1024, "d_ff": 4096, "n_heads": 16, "p_drop": 0.3},
}
# Peak rate and warm-up of the inverse square root, and padded tokens a batch: wider models want less and longer.
RATES: dict[str, tuple[float, int, int]] = {
    "tiny": (0.004, 1000, 2048),
    "small": (0.0015, 2000, 4096),
    "base": (0.0007, 4000, 4096),
    "big": (0.0005, 4000, 4096),
}
FINE_TUNING_RATE = 0.2  # of the preset's peak: what is learned should move, not be learned again
FINE_TUNING_WARMUP = 200  # steps; the moments of Adam start from nothing
SYMBOLS = 200  # a side with at most so many different words is made of symbols (phones, actions), not of text


def preset(name: str, train: Files, minutes: float) -> dict[str, Any]:
    """Recipe sections for the data in `train`: units per side, vocabulary, model, schedule, metric.

    Raises:
        ConfigError: no preset of that name.
        DataError: the files cannot be read.
    """
    if name not in get_args(Preset):
        raise ConfigError(f"--preset {name}: choose one of {', '.join(get_args(Preset))}.")
    n_pairs, kinds, words = _survey(train)
    size = name if name != "auto" else ("tiny" if n_pairs < 200_000 else "small" if n_pairs < 2_000_000 else "base")
    peak, warmup, max_tokens = RATES[size]
    is_text = kinds[1] == "bpe"
    joint = kinds == ("bpe", "bpe")
    vocabulary = max(1000, min(8000 if n_pairs < 1_000_000 else 32000, words // 20)) if is_text else 8000
    return {
        "tokenizer": {"source": kinds[0], "target": kinds[1], "joint": joint, "size": vocabulary},
        "model": SIZES[size] | ({"norm": "pre"} if size in ("tiny", "small") else {}),
        "batching": {"max_tokens": max_tokens},
        "training": {
            "max_steps": 100_000,
            "minutes": minutes,
            "schedule": "inverse_sqrt",
            "learning_rate": peak,
            "warmup": warmup,
            "patience": 15,
            "average": 5,
        },
        "evaluation": {"metric": "bleu" if is_text else "wer"},
    }


def fine_tuning(name: str, d_model: int) -> dict[str, Any]:
    """Schedule for going on from a model of width `d_model`: a fifth of the peak rate of the preset `name` (for `auto`,
    the first that is as wide), after a short warm-up."""
    fitting = [size for size in SIZES if SIZES[size]["d_model"] >= d_model]
    peak, _, _ = RATES[name if name != "auto" else fitting[0] if fitting else "big"]
    return {"learning_rate": round(FINE_TUNING_RATE * peak, 6), "warmup": FINE_TUNING_WARMUP}


def _survey(train: Files, most: int = 200_000) -> tuple[int, tuple[str, str], int]:
    """Number of pairs, the kind of tokenizer for each side, and words on both sides (of the first `most` pairs)."""
    n, counts, lines_with_space = 0, [0, 0], [0, 0]
    seen: tuple[set[str], set[str]] = (set(), set())
    for source, target in read_pairs(train):
        pair = split_tag(source)[1], target
        n += 1
        if n > most:
            continue
        for side in (0, 1):
            words = pair[side].split()
            counts[side] += len(words)
            lines_with_space[side] += len(words) > 1
            if len(seen[side]) <= SYMBOLS:
                seen[side].update(words)

    def kind(side: int) -> str:
        if len(seen[side]) <= SYMBOLS and lines_with_space[side] > n // 2:
            return "words"
        return "characters" if counts[side] < 1.5 * min(n, most) else "bpe"

    return n, (kind(0), kind(1)), sum(counts)


def languages(source: str, target: str) -> tuple[str, str]:
    """Language codes from file suffixes: `a.en`, `a.de.gz` give ("en", "de")."""

    def code(name: str) -> str:
        suffixes = [s for s in Path(name).suffixes if s not in (".gz", ".xz")]
        return suffixes[-1][1:] if suffixes else ""

    return code(source), code(target)
