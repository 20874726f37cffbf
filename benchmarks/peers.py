"""Times a peer's training step in this process: one case, one JSON line. Run by the Python that has the peer.

    VENV/bin/python -m benchmarks.peers torch-nn --model tiny --precision bf16 --batches F
    VENV/bin/python -m benchmarks.peers --list        the peers that this Python has

Each runs its own model and its own loss on our batches, and the optimizer that it would use; dropout and label
smoothing as in our case. bf16 is autocast around its forward pass and loss, put there from outside: weights and the
optimizer's state stay float32. `benchmarks/README.md` says how to install them.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.batches import Pair, read
from benchmarks.cases import EPS_LS, P_DROP, RATE, SHAPES, Shape
from benchmarks.timing import gemm_peak, parser, passes, record, spread_logits

Rows = Sequence[Pair]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A toolkit's model for one shape. `loss`, a mean over target tokens, takes what `prepare` made of the rows."""

    model: nn.Module
    prepare: Callable[[Rows], Any]
    loss: Callable[[Any], Tensor]
    optimizer: Any
    note: str


def torch_nn(shape: Shape) -> Peer:
    """nn.Transformer with tied embeddings and sinusoids around it, as its users write them."""
    pad, bos, eos = 1, 0, 2
    net = _TorchNet(shape, pad)

    def prepare(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        return sources(rows, pad, eos), padded([[bos, *t] for _, t in rows], pad), targets(rows, pad, eos)

    def loss(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        source, target_in, target_out = batch
        logits = net(source, target_in)
        return F.cross_entropy(logits.flatten(0, 1), target_out.flatten(), ignore_index=pad, label_smoothing=EPS_LS)

    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9, fused=True)
    note = "dropout also on attention and inside the feed-forward net (it has one setting); torch's loss, fused Adam"
    return Peer(model=net, prepare=prepare, loss=loss, optimizer=optimizer, note=note)


def torch_nn_compiled(shape: Shape) -> Peer:
    """The same with model and loss through torch.compile, once for batches of all shapes; needs a C++ compiler."""
    peer = torch_nn(shape)
    compiled: Callable[[Any], Tensor] = torch.compile(peer.loss, dynamic=True)
    return dataclasses.replace(peer, loss=compiled, note=f"{peer.note}, torch.compile(dynamic=True)")


class _TorchNet(nn.Module):
    def __init__(self, shape: Shape, pad: int) -> None:
        super().__init__()
        d, n = shape.d_model, shape.n_layers
        self.pad = pad
        self.table = nn.Embedding(shape.vocabulary, d, padding_idx=pad)
        nn.init.normal_(self.table.weight, std=d**-0.5)
        self.body = nn.Transformer(d, shape.n_heads, n, n, shape.d_ff, P_DROP, batch_first=True)
        angles = torch.arange(256)[:, None] * torch.exp(torch.arange(0, d, 2) * (-math.log(10_000.0) / d))
        self.register_buffer("waves", torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1))
        self.drop = nn.Dropout(P_DROP)

    def embed(self, ids: Tensor) -> Tensor:
        waves: Tensor = self.get_buffer("waves")[: ids.shape[1]]
        embedded: Tensor = self.drop(self.table(ids) * self.table.embedding_dim**0.5 + waves)
        return embedded

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        hidden = torch.zeros(source.shape).masked_fill(source == self.pad, -math.inf)
        states = self.body(
            self.embed(source),
            self.embed(target_in),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target_in.shape[1]),
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
            tgt_is_causal=True,
        )
        return F.linear(states, self.table.weight)


def marian(shape: Shape, **settings: Any) -> nn.Module:
    """Hugging Face's Marian as it makes it, with random weights: pad (and begin of outputs) is 1, eos 2."""
    library = import_module("transformers")
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", shape.n_layers),
            ("attention_heads", shape.n_heads),
            ("ffn_dim", shape.d_ff),
        )
    }
    config = library.MarianConfig(
        vocab_size=shape.vocabulary,
        d_model=shape.d_model,
        **sizes,
        activation_function="relu",
        max_position_embeddings=256,
        scale_embedding=True,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **settings,
    )
    model: nn.Module = library.MarianMTModel(config)
    return model


def hf_marian(shape: Shape) -> Peer:
    """Hugging Face's Marian with the label smoother and the optimizer of its Seq2SeqTrainer."""
    smoother = import_module("transformers.trainer_pt_utils").LabelSmoother(epsilon=EPS_LS)
    pad, eos = 1, 2
    model: Any = marian(shape, dropout=P_DROP, attention_dropout=0.0, activation_dropout=0.0, use_cache=False)

    def prepare(rows: Rows) -> dict[str, Tensor]:
        ids = sources(rows, pad, eos)
        starts = padded([[pad, *t] for _, t in rows], pad)
        labels = targets(rows, -100, eos)
        return {"input_ids": ids, "attention_mask": (ids != pad).long(), "decoder_input_ids": starts, "labels": labels}

    def loss(batch: dict[str, Tensor]) -> Tensor:
        rest = {name: value for name, value in batch.items() if name != "labels"}
        smoothed: Tensor = smoother(model(**rest), batch["labels"])
        return smoothed

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True
    )
    note = f"attention = {model.config._attn_implementation}, LabelSmoother, fused AdamW"
    return Peer(model=model, prepare=prepare, loss=loss, optimizer=optimizer, note=note)


def fairseq(shape: Shape) -> Peer:
    """fairseq's Transformer, label_smoothed_cross_entropy and Adam."""
    logging.disable(logging.INFO)
    let_fairseq_import()
    criterions = import_module("fairseq.criterions.label_smoothed_cross_entropy")
    transformer = import_module("fairseq.models.transformer")
    words = import_module("fairseq.data").Dictionary()
    for i in range(shape.vocabulary - len(words)):
        words.add_symbol(f"w{i}")
    sizes: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_embed_dim": shape.d_model, f"{side}_ffn_embed_dim": shape.d_ff}
        sizes |= {f"{side}_layers": shape.n_layers, f"{side}_attention_heads": shape.n_heads}
    asked = argparse.Namespace(
        **sizes,
        share_all_embeddings=True,
        dropout=P_DROP,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation_fn="relu",
        max_source_positions=256,
        max_target_positions=256,
    )
    transformer.base_architecture(asked)
    task = SimpleNamespace(source_dictionary=words, target_dictionary=words)
    model = transformer.TransformerModel.build_model(asked, task)
    criterion = criterions.LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=EPS_LS)
    pad, eos = words.pad(), words.eos()

    def prepare(rows: Rows) -> dict[str, Any]:
        net_input = {
            "src_tokens": sources(rows, pad, eos),
            "src_lengths": source_lengths(rows),
            "prev_output_tokens": padded([[eos, *t] for _, t in rows], pad),
        }
        return {"net_input": net_input, "target": targets(rows, pad, eos), "ntokens": tokens(rows)}

    def loss(batch: dict[str, Any]) -> Tensor:
        total, n, _ = criterion(model, batch)
        mean: Tensor = total / n
        return mean

    adam = import_module("fairseq.optim.adam").Adam
    optimizer = adam(model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9)
    note = "its own loss and Adam; without its C++ extensions, which training does not use"
    return Peer(model=model, prepare=prepare, loss=loss, optimizer=optimizer, note=note)


def let_fairseq_import() -> None:
    """fairseq 0.12.2 and hydra-core 1.0.7 use records as defaults of fields, which Python 3.11 refuses where they have
    no hash: give them one."""
    kept: Any = vars(dataclasses)["_get_field"]

    def get_field(cls: type, name: str, *rest: Any, **more: Any) -> Any:
        default = getattr(cls, name, None)
        for value in (default, getattr(default, "default", None)):
            if dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__hash__ is None:
                setattr(type(value), "__hash__", object.__hash__)  # noqa: B010 (a type checker sees no class here)
        return kept(cls, name, *rest, **more)

    setattr(dataclasses, "_get_field", get_field)  # noqa: B010 (a private name, which type checkers do not know)


def opennmt_py(shape: Shape) -> Peer:
    """OpenNMT-py's Transformer, LossCompute (with the statistics that it always keeps) and Optimizer."""
    words = _opennmt_vocabulary(shape)
    parse = import_module("onmt.utils.parse").ArgumentParser
    options = parse(conflict_handler="resolve")
    import_module("onmt.opts").train_opts(options)
    flags = "share_vocab share_embeddings share_decoder_embeddings position_encoding param_init_glorot"
    values = {
        "src_vocab": "none",
        "save_model": "none",
        "encoder_type": "transformer",
        "decoder_type": "transformer",
        "layers": shape.n_layers,
        "hidden_size": shape.d_model,
        "word_vec_size": shape.d_model,
        "heads": shape.n_heads,
        "transformer_ff": shape.d_ff,
        "dropout": P_DROP,
        "attention_dropout": 0.0,
        "label_smoothing": EPS_LS,
        "optim": "adam",
        "adam_beta2": 0.98,
        "learning_rate": RATE,
        "max_grad_norm": 0,
        "param_init": 0,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("data: {}\n")
        file.flush()
        line = ["-config", file.name, *(f"-{flag}" for flag in (*flags.split(), "add_qkvbias", "add_ffnbias"))]
        for name, value in values.items():
            line += [f"-{name}", str(value)]
        asked, _ = options.parse_known_args(line)
    parse.update_model_opts(asked)
    vocabularies = {"src": words, "tgt": words, "data_task": "seq2seq"}
    model = import_module("onmt.model_builder").build_base_model(asked, vocabularies)
    initialise(model)
    criterion = import_module("onmt.utils.loss").LossCompute.from_opts(asked, model, words, train=True)
    pad, bos, eos = words["<blank>"], words["<s>"], words["</s>"]

    def prepare(rows: Rows) -> dict[str, Any]:
        both = padded([[bos, *t, eos] for _, t in rows], pad)
        lengths = source_lengths(rows).int()
        return {"src": sources(rows, pad, eos)[..., None], "tgt": both[..., None], "srclen": lengths, "n": tokens(rows)}

    def loss(batch: dict[str, Any]) -> Tensor:
        states, attention = model(batch["src"], batch["tgt"], batch["srclen"], bptt=False, with_align=False)
        mean: Tensor = criterion(batch, states, attention)[0] / batch["n"]
        return mean

    optimizer = import_module("onmt.utils.optimizers").Optimizer.from_opt(model, asked)
    return Peer(model=model, prepare=prepare, loss=loss, optimizer=optimizer, note="its own loss and optimizer")


def eole(shape: Shape) -> Peer:
    """eole's Transformer, LossCompute and the Adam that it builds."""
    words = _opennmt_vocabulary(shape)
    names = {"bos_token": "<s>", "pad_token": "<blank>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocabularies = {"src": words, "tgt": words, "specials": names, "decoder_start_token": "<s>"}
    d = shape.d_model
    embeddings = {"word_vec_size": d, "src_word_vec_size": d, "tgt_word_vec_size": d}
    asked = import_module("eole.config.models").TransformerModelConfig(
        layers=shape.n_layers,
        hidden_size=d,
        heads=shape.n_heads,
        transformer_ff=shape.d_ff,
        embeddings={**embeddings, "position_encoding_type": "SinusoidalInterleaved"},
        share_embeddings=True,
        share_decoder_embeddings=True,
        add_qkvbias=True,
        add_final_linear_bias=True,
        add_ffnbias=True,
    )
    training = import_module("eole.config.training").TrainingConfig(
        dropout=[P_DROP],
        attention_dropout=[0.0],
        label_smoothing=EPS_LS,
        optim="adam",
        learning_rate=RATE,
        world_size=1,
        gpu_ranks=[],
        param_init_method="xavier_uniform",
        self_attn_backend="pytorch",
    )
    model = import_module("eole.models.model").get_model_class(asked).build(asked, vocabularies, training)
    initialise(model)
    both = SimpleNamespace(model=asked, training=training)
    criterion = import_module("eole.utils.loss").LossCompute.from_config(both, model, vocabularies, train=True)
    pad, bos, eos = words["<blank>"], words["<s>"], words["</s>"]

    def prepare(rows: Rows) -> dict[str, Any]:
        n = len(rows)
        target = padded([[bos, *t, eos] for _, t in rows], pad)
        more = {"n": tokens(rows), "cid": ["x"] * n, "cid_line_number": list(range(n))}
        return {"src": sources(rows, pad, eos), "tgt": target, "srclen": source_lengths(rows), **more}

    def loss(batch: dict[str, Any]) -> Tensor:
        out = model(batch["src"], batch["tgt"], batch["srclen"])
        mean: Tensor = criterion(batch, out.dec_out, out.attns)[0] / batch["n"]
        return mean

    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.98), eps=1e-9)
    return Peer(model=model, prepare=prepare, loss=loss, optimizer=optimizer, note="its own loss; Adam as it builds it")


def _opennmt_vocabulary(shape: Shape) -> Any:
    specials = ["<unk>", "<blank>", "<s>", "</s>"]
    words = [f"w{i}" for i in range(shape.vocabulary - len(specials))]
    build = import_module("pyonmttok").build_vocab_from_tokens
    return build(words, maximum_size=shape.vocabulary, special_tokens=specials)


def initialise(model: nn.Module) -> None:
    """Glorot's, for toolkits that build their layers without initialising them."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


def padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Rows of different lengths as one tensor."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])


def sources(rows: Rows, pad: int, eos: int) -> Tensor:
    """The source side, ended and padded."""
    return padded([[*s, eos] for s, _ in rows], pad)


def targets(rows: Rows, pad: int, eos: int) -> Tensor:
    """What is to be predicted, ended and padded."""
    return padded([[*t, eos] for _, t in rows], pad)


def source_lengths(rows: Rows) -> Tensor:
    """With the end of sentence."""
    return torch.tensor([len(s) + 1 for s, _ in rows])


def tokens(rows: Rows) -> int:
    """Predictions that count."""
    return sum(len(t) + 1 for _, t in rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolkit:
    """How to make a `Peer`; the package that has to be there, as it is imported and as it is distributed."""

    build: Callable[[Shape], Peer]
    module: str
    distribution: str


PEERS = {
    "torch-nn": Toolkit(build=torch_nn, module="torch", distribution="torch"),
    "torch-nn-compiled": Toolkit(build=torch_nn_compiled, module="torch", distribution="torch"),
    "hf-marian": Toolkit(build=hf_marian, module="transformers", distribution="transformers"),
    "fairseq": Toolkit(build=fairseq, module="fairseq", distribution="fairseq"),
    "opennmt-py": Toolkit(build=opennmt_py, module="onmt", distribution="OpenNMT-py"),
    "eole": Toolkit(build=eole, module="eole", distribution="eole"),
}


def main() -> None:
    """Measure what the command line asks for, or list the peers."""
    if sys.argv[1:] == ["--list"]:
        print(json.dumps([name for name, kit in PEERS.items() if find_spec(kit.module)]))
        return
    options = parser(__doc__)
    options.add_argument("peer", choices=sorted(PEERS))
    a = options.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    shape, rows, kit = SHAPES[a.model], read(a.batches), PEERS[a.peer]
    peak = gemm_peak(torch.bfloat16 if a.precision == "bf16" else torch.float32)
    peer = kit.build(shape)
    peer.model.train()
    if a.state == "early":
        for parameter in peer.model.parameters():
            if parameter.shape == (shape.vocabulary, shape.d_model):
                spread_logits(parameter)

    def step(batch: Any) -> float:
        autocast = a.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
            loss = peer.loss(batch)
        torch.autograd.backward(loss)
        peer.optimizer.step()
        peer.optimizer.zero_grad()
        return float(loss.detach())

    timed = passes(step, [peer.prepare(batch) for batch in rows], a.warm_up, a.repeats)
    facts = {"tool": a.peer, "version": version(kit.distribution), "note": peer.note}
    facts |= {"model": a.model, "precision": a.precision, "state": a.state}
    print(json.dumps(record(facts, shape, rows, timed, peak)), flush=True)


if __name__ == "__main__":
    main()
