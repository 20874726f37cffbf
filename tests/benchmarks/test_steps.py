"""What is timed computes what it should: our step and a peer's, each in this process on a few pairs."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import ours, peers
from benchmarks.batches import drawn, write
from benchmarks.cases import SPREAD, Shape
from benchmarks.timing import gemm_peak, passes, spread_logits

pytestmark = pytest.mark.unit

SMALL = Shape(n_layers=1, d_model=16, d_ff=24, n_heads=2, vocabulary=40)
KEYS = {
    *("model", "precision", "tokens_per_second", "seconds_per_step", "peak_rss_mib", "gemm_peak_gflops", "mfu"),
    *("state", "tool", "version", "threads", "padding", "pass_seconds", "cpu_seconds_per_step"),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("state", ["later", "early"])
@pytest.mark.parametrize("module", [ours, peers])
def test_one_case_is_one_line(
    module: object,
    state: str,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the loss is that of guessing, or far above it where logits are spread."""
    write(tmp_path / "b", drawn(SMALL.vocabulary, 64, 2))
    name = ["torch-nn"] if module is peers else []
    options = ["--model", "tiny", "--precision", precision, "--state", state, "--batches", str(tmp_path / "b")]
    monkeypatch.setattr("sys.argv", ["x", *name, *options, "--repeats", "2"])
    monkeypatch.setattr(f"{module.__name__}.SHAPES", {"tiny": SMALL})  # type: ignore[attr-defined]
    monkeypatch.setattr(f"{module.__name__}.gemm_peak", lambda dtype: 50.0)  # type: ignore[attr-defined]
    module.main()  # type: ignore[attr-defined]
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record.keys() >= KEYS
    assert (record["model"], record["precision"], record["state"]) == ("tiny", precision, state)
    assert len(record["pass_seconds"]) == 2
    assert 0 < record["mfu"] < 1
    first = record["losses"][0]
    assert first > 10 if state == "early" else 3 < first < 6  # ln 40 is 3.7


def test_torch_s_loss_does_not_see_padding() -> None:
    """The loss of a batch is that of its pairs one by one, weighted by their predictions."""
    torch.manual_seed(0)
    peer = peers.torch_nn(SMALL)
    peer.model.eval()
    rows = [([11, 12, 13, 14], [21, 22]), ([15], [23, 24, 25, 26, 27])]
    together = peer.loss(peer.prepare(rows))  # with gradients: PyTorch has another, experimental path without
    apart = [peer.loss(peer.prepare([row])) * peers.tokens([row]) for row in rows]
    torch.testing.assert_close(together, torch.stack(apart).sum() / peers.tokens(rows))


def test_logits_spread_as_wide_as_it_says() -> None:
    table = torch.empty(4000, 64)
    spread_logits(table)
    states = torch.nn.functional.layer_norm(torch.randn(50, 64), (64,))
    assert float((states @ table.T).std()) == pytest.approx(SPREAD, rel=0.05)


def test_passes_are_timed_in_turn_after_the_warm_up() -> None:
    seen: list[str] = []

    def step(batch: str) -> float:
        seen.append(batch)
        return float(len(seen))

    timed = passes(step, ["a", "b"], warm_up=1, repeats=2)
    assert seen == ["a", "b"] * 3
    assert (len(timed["pass_seconds"]), timed["losses"]) == (2, [1.0, 6.0])
    assert timed["warm_up_seconds"] >= 0


def test_the_peak_is_the_best_of_several() -> None:
    assert gemm_peak(torch.float32, sizes=(8, 64), repeats=2) > 0


def test_peers_of_this_python_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["peers", "--list"])
    peers.main()
    assert "torch-nn" in json.loads(capsys.readouterr().out)
