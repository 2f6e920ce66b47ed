"""``mmkit serve`` under load: many clients against one, and latency at half load.

``python -m benchmarks.serving`` prints tables and writes ``benchmarks/results/serving.json``. A server process of a small model
(a random Llama, and a classifier of pictures) is asked over HTTP by clients in this process, on the same machine. Three requests of
four are sampled texts with a seed each, one is a picture; every answer is compared with the one that ``model.predict`` gives alone,
and the program stops at the first that differs. Half load: requests that arrive at random (Poisson) at half the rate that the many
clients reached.
"""

import argparse
import asyncio
import base64
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import numpy as np

from benchmarks.common import LLAMA, report, table

WORDS, NEW, PROMPTS = 2048, 24, 96
SMALL: dict[str, Any] = {
    "mmkit": 1,
    "modalities": {
        "text": {"adapter": {"use": "words", "vocab_size": WORDS}},
        "image": {"encoder": {"use": "cnn", "image_size": 32, "channels": [16, 32]}},
    },
    "backbone": {
        "use": "causal-lm",
        "config": {**LLAMA, "vocab_size": WORDS, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4}
        | {"num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.1},
    },
    "tasks": {
        "say": {"input": "{text}", "output": "{answer}", "columns": {"answer": "text"}, "head": "generate"},
        "see": {
            "input": "{image}",
            "output": "{seen}",
            "reads": "image.encoder",
            "head": {"use": "classify", "labels": ["a", "b", "c"]},
        },
    },
}


@dataclass(frozen=True)
class Question:
    """A request, and the answer computed alone."""

    path: str
    body: dict[str, Any]
    answer: Any

    def check(self, got: Any) -> None:
        """Stop where another answer came."""
        if isinstance(self.answer, str):
            same = got == self.answer
        else:
            pairs = zip(got["probabilities"].values(), self.answer["probabilities"].values(), strict=True)
            same = got["label"] == self.answer["label"] and all(abs(a - b) < 1e-4 for a, b in pairs)
        if not same:
            raise SystemExit(f"{self.path} answered {got!r}, alone it is {self.answer!r}")


@dataclass
class Seen:
    """Seconds of every request."""

    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.wall


def small(folder: Path) -> int:
    """Save the model that is asked; its parameters."""
    import torch

    import mmkit

    torch.manual_seed(0)
    model = mmkit.build(SMALL, fit={"text": [f"w{index}" for index in range(WORDS - 3)]})
    model.save(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def questions(folder: Path) -> list[Question]:
    """Requests with their answers; each is asked many times."""
    import mmkit

    model, draw = mmkit.load(folder), random.Random(0)
    found = []
    for number in range(PROMPTS):
        if number % 4 == 3:
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            content = picture(pixels)
            uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            answer = model.predict("see", {"image": content})
            found.append(Question("tasks/see", {"input": {"image": uri}}, answer))
        else:
            text = " ".join(f"w{draw.randrange(3, WORDS - 3)}" for _ in range(draw.randint(8, 48)))
            options = {"temperature": 1.0, "seed": number, "max_new_tokens": NEW}
            answer = model.predict("say", {"text": text}, **options)
            found.append(Question("tasks/say", {"input": {"text": text}, "options": options}, answer))
    return found


def picture(pixels: np.ndarray) -> bytes:
    """A PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str, float]:
    """A server, its address, and seconds until it says that it is ready."""
    command = [sys.executable, "-m", "mmkit", "serve", str(folder), "--port", "0", *options]
    started = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip().rpartition(" ")[2] + "/"
    if not httpx.get(url.replace("/v1/", "/healthz")).is_success:
        raise SystemExit("the server says that it is not ready")
    return server, url, time.perf_counter() - started


@contextmanager
def served(folder: Path, *options: str) -> Iterator[str]:
    """The address of a server."""
    server, url, _ = start(folder, *options)
    try:
        yield url
    finally:
        server.terminate()
        server.wait()


async def ask(client: httpx.AsyncClient, question: Question, seen: Seen) -> None:
    """One request."""
    started = time.perf_counter()
    answer = await client.post(question.path, json=question.body)
    if answer.status_code != 200:
        raise SystemExit(f"{question.path} answered {answer.status_code}: {answer.text}")
    question.check(answer.json()["output"])
    seen.seconds.append(time.perf_counter() - started)


async def closed(url: str, asked: Sequence[Question], clients: int, seconds: float) -> Seen:
    """Clients that each ask again as soon as they have an answer."""
    seen, draw = Seen(), random.Random(clients)
    until = time.perf_counter() + seconds

    async def one() -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            while time.perf_counter() < until:
                await ask(client, draw.choice(asked), seen)

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    seen.wall = time.perf_counter() - started
    return seen


async def arriving(url: str, asked: Sequence[Question], rate: float, seconds: float) -> Seen:
    """Requests that come at random, whether others are answered or not."""
    seen, draw, waiting = Seen(), random.Random(1), []
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        started = time.perf_counter()
        at = started
        while at < started + seconds:
            at += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            waiting.append(asyncio.ensure_future(ask(client, draw.choice(asked), seen)))
        await asyncio.gather(*waiting)
        seen.wall = time.perf_counter() - started
    return seen


def percentiles(seen: Seen) -> tuple[float, float]:
    """Medians and 99th percentile, in milliseconds."""
    return 1000 * median(seen.seconds), 1000 * quantiles(seen.seconds, n=100)[98]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="three seconds each")
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "small"
        millions = small(folder) / 1e6
        asked = questions(folder)
        with served(folder) as url:
            asyncio.run(closed(url, asked, 4, 1.0))  # what is made on first use is made
            alone = asyncio.run(closed(url, asked, 1, seconds / 3))
            many = asyncio.run(closed(url, asked, options.clients, seconds))
            half = asyncio.run(arriving(url, asked, many.rate / 2, seconds))
    rows = []
    for label, seen in (("1 client", alone), (f"{options.clients} clients", many), ("half that load", half)):
        p50, p99 = percentiles(seen)
        cells = (
            f"{seen.rate:.1f}",
            f"{seen.rate / alone.rate:.1f} ×",
            f"{p50:.0f}",
            f"{p99:.0f}",
            f"{p99 / p50:.1f} ×",
        )
        rows.append((label, str(len(seen.seconds)), *cells))
    head = ("", "requests", "requests/s", "of 1 client", "p50, ms", "p99, ms", "p99 of p50")
    cores = len(os.sched_getaffinity(0))
    where = "one core" if cores == 1 else f"{cores} cores"
    title = (
        f"{millions:.1f} M parameters, {NEW} new tokens, {seconds:g} s, server and clients on {where}. Every request was answered, "
        "with the answer computed alone: the program stops at the first that is not."
    )
    figures = {"cores": cores, "rates": [alone.rate, many.rate, half.rate]}
    report("serving", f"{title}\n\n{table(head, rows)}", figures)


if __name__ == "__main__":
    main()
