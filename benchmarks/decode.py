"""How fast is decoding? Beam search over sentences of the lengths of news, with our engine or CTranslate2.

    python -m benchmarks.decode --mode throughput --engine torch --precision int8 --batch 32
    python -m benchmarks.decode --mode latency --engine ctranslate2 --precision int8
    python -m benchmarks.decode --bundle runs/mine --source test.en --reference test.de

Prints one JSON line. Without --bundle the weights are random and the same for both engines, and every output takes
--out-len steps (with random weights none would end on its own). Throughput: all sentences at once, `--batch` of them
in memory in each of --workers workers; latency: one sentence in flight. The median of --repeats passes counts; times
are wall times, and `cpu_ms_per_sentence` is what to compare on a busy machine.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cases import SHAPES
from benchmarks.decoding import Outputs, measure, options, random_sentences, report
from benchmarks.ours import config as paper
from benchmarks.timing import peak_rss_mib
from transduce.bundle import bundle_folder, load_bundle
from transduce.data.corpus import read_lines
from transduce.data.shortlist import Shortlist, load_shortlist
from transduce.decoding.beam import BeamConfig
from transduce.decoding.continuous import continuous_beam_search
from transduce.decoding.engines import share
from transduce.device import tune_process
from transduce.interop.ctranslate2 import COMPUTE_TYPES, LISTS, convert, library
from transduce.nn import Transformer, TransformerConfig, build
from transduce.nn.inference import PackedTransformer
from transduce.text.form import normalise
from transduce.text.pieces import IDS

BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "float16": 2, "int16": 2}  # a weight's; others have 1


def random_model(name: str) -> tuple[Transformer, TransformerConfig, list[str]]:
    """A model whose end symbol is never among the best pieces, so that its outputs end at their limits."""
    torch.manual_seed(0)
    shape = SHAPES[name]
    size, config = shape.vocabulary, paper(shape)
    model = build(config, size, size, IDS.pad).eval()
    with torch.no_grad():
        model.target.table.weight[IDS.eos] = 0
    return model, config, ["<pad>", "<unk>", "<s>", "</s>", *(f"w{i}" for i in range(4, size))]


def random_shortlist(size: int) -> Shortlist:
    """Lists as long as those of news: 100 pieces, and 60 for each piece of the source."""
    random = np.random.default_rng(3)
    frequent = random.choice(np.arange(4, size, dtype=np.int32), 100, replace=False)
    return Shortlist(frequent, random.integers(4, size, (size, 60), dtype=np.int32))


def ours(
    model: Transformer,
    a: argparse.Namespace,
    steps: Callable[[int], int],
    shortlist: Shortlist | None,
    usual_extra: int | None,
) -> Callable[[Outputs], Outputs]:
    """Our search; `steps` gives the most pieces of an output, by the length of its source."""
    packed = PackedTransformer(model, a.precision)
    config = BeamConfig(beam=a.beam, alpha=a.alpha)
    torch.set_num_threads(a.threads)

    def decode(sources: Outputs) -> Outputs:
        found: Outputs = [[] for _ in sources]

        def some(rows: Sequence[int]) -> None:
            ended = [[*sources[i], IDS.eos] for i in rows]
            limits = [steps(len(sources[i])) for i in rows]
            usual = [] if usual_extra is None else [len(sources[i]) + usual_extra for i in rows]
            with torch.no_grad():
                outputs = continuous_beam_search(
                    packed, ended, limits, config=config, usual=usual, places=a.batch, shortlist=shortlist
                )
            for i, (best, *_) in zip(rows, outputs, strict=True):
                found[i] = list(best.ids)

        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        if a.workers > 1:
            share(order, lambda rows, stopped: some(rows), a.workers)
        else:
            some(order)
        return found

    return decode


def theirs(
    folder: Path, pieces: list[str], a: argparse.Namespace, longest: Callable[[int], int], least: int, n: float
) -> Callable[[Outputs], Outputs]:
    """CTranslate2's search, outputs of `least` steps or more.

    It divides by a power of the length, n^p. At `n`, the sources' mean length, the paper's penalty, (5 + n)^alpha,
    grows as that one does for p = alpha n / (5 + n).
    """
    compute = COMPUTE_TYPES.get(a.precision, a.precision)
    translator = library().Translator(
        str(folder), device="cpu", compute_type=compute, inter_threads=a.workers, intra_threads=a.threads
    )
    ids = {piece: i for i, piece in enumerate(pieces)}

    def decode(sources: Outputs) -> Outputs:
        results = translator.translate_batch(
            [[pieces[i] for i in source] for source in sources],
            beam_size=a.beam,
            max_batch_size=a.batch,
            length_penalty=a.alpha * n / (5 + n),
            max_input_length=0,
            max_decoding_length=longest(max(map(len, sources))) + 1,
            min_decoding_length=least,
            use_vmap=a.shortlist,
        )
        return [[ids[piece] for piece in result.hypotheses[0]] for result in results]

    return decode


def weight_bytes(model: Transformer, precision: str) -> int:
    """What a step reads of the decoder's weights: all but the source's keys and values, and the output matrix."""
    elements = model.output_weight.numel()
    for name, p in model.decoder.named_parameters():
        if not any(f"cross_attention.w_{kv}." in name for kv in "kv"):
            elements += p.numel()
    return elements * BYTES.get(precision, 1)


def memory_bandwidth(threads: int) -> float:
    """Bytes a second that reading a large array gets."""
    torch.set_num_threads(threads)
    array = torch.ones(2**26)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        array.sum()
        seconds.append(time.perf_counter() - start)
    return 4 * 2**26 / min(seconds)


def run(a: argparse.Namespace) -> dict[str, Any]:
    """Measure one case."""
    tune_process(a.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.conversion or Path(temporary) / "converted"
        if a.bundle is None:
            model, config, pieces = random_model(a.model)
            sources = random_sentences(a.sentences, len(pieces))
            least, steps, usual = a.out_len, lambda length: a.out_len - 1, None
            listed = random_shortlist(len(pieces)) if a.shortlist else None
            a.alpha = 0.6 if a.alpha is None else a.alpha
        else:
            bundle = load_bundle(bundle_folder(a.bundle), torch.device("cpu"))
            model, config, extra = bundle.model.eval(), bundle.config.model, bundle.config.extra_length
            side = bundle.tokenizers.target
            pieces = side.pieces(range(side.size))
            a.alpha = bundle.config.alpha if a.alpha is None else a.alpha
            lines = [normalise(line, bundle.config.normalise) for line in islice(read_lines(a.source), a.sentences)]
            sources = bundle.tokenizers.encode_sources(lines)
            least, steps, usual = 0, lambda length: length + extra, bundle.config.usual_extra
            listed = load_shortlist(bundle_folder(a.bundle), bundle.tokenizers) if a.shortlist else None
        if a.engine == "torch":
            decode = ours(model, a, steps, listed, usual)
        else:
            if not (folder / "model.bin").is_file() or (folder / LISTS).is_file() != a.shortlist:
                convert(folder, config, model, pieces, pieces, shortlist=listed)
            decode = theirs(folder, pieces, a, steps, least, statistics.mean(map(len, sources)) + 1)
        record = {
            "mode": a.mode,
            "engine": a.engine,
            "precision": a.precision,
            "beam": a.beam,
            "alpha": a.alpha,
            "batch": a.batch,
            "threads": a.threads,
            "workers": a.workers,
            "shortlist": a.shortlist,
        } | measure(decode, sources, a)
    record["peak_rss_mib"] = peak_rss_mib()
    if a.mode == "latency" and a.bundle is None:
        read = weight_bytes(model, a.precision) * a.out_len
        record["bandwidth_share"] = round(read / (record["p50_ms"] / 1000) / memory_bandwidth(a.threads), 3)
    if a.reference is not None:
        from transduce.evaluation.metrics import evaluate

        references = list(islice(read_lines(a.reference), a.sentences))
        texts = [bundle.tokenizers.target.decode(output) for output in record["outputs"]]
        bleu = evaluate(texts, [[r] for r in references], ["bleu"], bundle.config.tokenize)["bleu"]
        record["bleu"] = round(bleu.score, 2)
    return record


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--engine", choices=["torch", "ctranslate2"], default="torch")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16, int8, or a compute type of CTranslate2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shortlist", action="store_true", help="the bundle's, or a random one")
    parser.add_argument("--conversion", type=Path, help="where CTranslate2's model is, or is put")
    parser.add_argument("--outputs", type=Path, help="write the outputs there, as JSON")
    return parser


def main() -> None:
    """Measure what the command line asks for."""
    command = parser()
    a = command.parse_args()
    if a.bundle is not None and a.source is None:
        command.error("--bundle needs --source")
    if a.reference is not None and a.bundle is None:
        command.error("--reference needs --bundle")
    if a.mode == "latency":
        a.batch = 1
    report(run(a), a.outputs)


if __name__ == "__main__":
    main()
