"""The demo's report: one HTML file with pictures, spectrograms, sound, references and the model's own outputs."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>mmkit quickstart</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#212529}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.35rem .7rem;border-bottom:1px solid #dee2e6;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}.cards{display:flex;flex-wrap:wrap;gap:12px}
.card{border:1px solid #dee2e6;border-radius:8px;padding:10px;width:232px}.card img{max-width:100%}
.right{border-left:5px solid #40c057}.wrong{border-left:5px solid #fa5252}.ref{color:#868e96}audio{width:210px}
svg{max-width:100%;height:auto}pre{background:#f8f9fa;padding:1rem;overflow:auto}
</style>
<h1>One model that captions, listens, translates and classifies</h1>
<p>{{ parameters }} parameters, trained from scratch in {{ seconds.training }} s on {{ cores }} CPU cores, seed {{ seed }}.
{{ rows.test }} of {{ rows.train + rows.test }} emoji were held out of every task alike; all figures and answers below are
on those. The pictures are drawn from the OpenMoji font (CC BY-SA 4.0), the names come from the <code>emoji</code> package
(BSD-3-Clause, Unicode CLDR). <strong>The {{ minutes }} minutes of speech are synthetic</strong> (eSpeak NG,
GPL-3.0-or-later).</p>
{{ graph }}
<h2>Figures</h2>
<table><tr><th>task</th><th>metric</th><th>this model</th><th>baseline</th><th>what the baseline does</th></tr>
{% for row in figures %}<tr><td>{{ row.task }}</td><td>{{ row.metric }}</td><td class="n">{{ row.value }}</td>
<td class="n">{{ row.baseline }}</td><td>{{ row.what }}</td></tr>{% endfor %}</table>
<p>Higher is better, except for cer (character error rate). Saved, loaded again and asked again, the model answers the
same. Data {{ seconds.data }} s, training {{ seconds.training }} s, evaluation {{ seconds.evaluation }} s.</p>
<p>In the answers below, half of those shown are right (green) and half are wrong (red) where there are enough of each;
the reference stands under each answer.</p>
{% for section in sections %}<h2>{{ section.title }}</h2><p>{{ section.note }}</p><div class="cards">
{% for card in section.cards %}<div class="card {{ 'right' if card.right else 'wrong' }}">
{% if card.image %}<img src="{{ card.image }}" alt="input">{% endif %}
{% if card.audio %}<audio controls src="{{ card.audio }}"></audio>{% endif %}
{% if card.text %}<div>{{ card.text }}</div>{% endif %}
<div><strong>{{ card.output }}</strong></div><div class="ref">{{ card.reference }}</div></div>{% endfor %}
</div>{% endfor %}
<h2>The spec</h2><pre>{{ spec }}</pre>
<h1>A second model that draws and speaks</h1>
<p>{{ painter }} parameters; trained and asked in {{ seconds["second model"] }} s. Everything below is made by it: the pictures out of
noise, for a word, and the sounds out of noise, for a picture. The real digits were drawn by people (UCI, CC BY 4.0, from scikit-learn).</p>
{% for section in made %}<h2>{{ section.title }}</h2><p>{{ section.note }}</p><div class="cards">
{% for card in section.cards %}<div class="card {{ 'right' if card.right else 'wrong' }}">
{% for image in card.images %}<img src="{{ image }}" alt="{{ card.output }}">{% endfor %}
{% if card.audio %}<audio controls src="{{ card.audio }}"></audio>{% endif %}
<div><strong>{{ card.output }}</strong></div><div class="ref">{{ card.reference }}</div></div>{% endfor %}
</div>{% endfor %}
<h2>Its spec</h2><pre>{{ digits }}</pre></html>
"""


def data_uri(raw: bytes, kind: str) -> str:
    """Bytes inside the page."""
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def picture(image: Any, size: int = 64) -> str:
    """A small picture, its pixels as squares, inside the page."""
    buffer = io.BytesIO()
    image.convert("L").resize((size, size), 0).save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")


def spectrogram(path: Path) -> str:
    """The log spectrogram of a file."""
    return shown(*soundfile.read(path, dtype="float32"))


def shown(wave: "np.ndarray", rate: int) -> str:
    """A log spectrogram as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    wave = np.pad(wave, (0, max(0, 800 - len(wave))))
    figure, axes = pyplot.subplots(figsize=(2.2, 1.1), dpi=100)
    axes.specgram(
        wave + 1e-6 * np.sin(np.arange(len(wave))), NFFT=400, Fs=rate, noverlap=240, cmap="magma", vmin=-140, vmax=-30
    )
    axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0)
    pyplot.close(figure)
    return data_uri(buffer.getvalue(), "image/png")


def wav(path: Path) -> str:
    """Any sound file as a WAV inside the page."""
    return sound(*soundfile.read(path, dtype="float32"))


def sound(wave: "np.ndarray", rate: int) -> str:
    """Samples as a WAV inside the page."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="WAV", subtype="PCM_16")
    return data_uri(buffer.getvalue(), "audio/wav")


def choose(results: Any, count: int = 12) -> list[int]:
    """Rows to show: half right and half wrong where there are as many, spread over the whole set."""
    right = [i for i, (p, r) in enumerate(zip(results.predictions, results.references, strict=True)) if answer(p) == r]
    wrong = sorted(set(range(len(results.predictions))) - set(right))
    half = count // 2
    take = lambda rows, n: [rows[i * len(rows) // n] for i in range(min(n, len(rows)))] if rows else []  # noqa: E731
    shown_wrong = take(wrong, max(half, count - len(right)))
    return [*take(right, count - len(shown_wrong)), *shown_wrong]


def answer(prediction: Any) -> Any:
    """The label of a classification, else the text itself."""
    return prediction["label"] if isinstance(prediction, dict) else prediction


def cards(task: str, results: Any, rows: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """One card a shown sample."""
    made = []
    for index in choose(results):
        row, output, reference = rows[index], answer(results.predictions[index]), results.references[index]
        card = {"output": output or "(nothing)", "reference": reference, "right": output == reference}
        card |= {"image": "", "audio": "", "text": ""}
        if task in ("caption", "tone"):
            card["image"] = data_uri((root / row["image"]).read_bytes(), "image/png")
        elif task == "transcribe":
            card["image"], card["audio"] = spectrogram(root / row["audio"]), wav(root / row["audio"])
        else:
            card["text"] = row["en"]
        made.append(card)
    return made


def made_cards(made: Any, count: int = 10) -> list[dict[str, Any]]:
    """One card of what was made for each word, with what its judge takes it for."""
    cards = []
    for place in [list(made.wanted).index(word) for word in dict.fromkeys(made.wanted)][:count]:
        value, wanted, judged = made.values[place], made.wanted[place], made.judged[place]
        card = {"output": judged, "reference": f"asked for: {wanted}", "right": judged == wanted, "audio": ""}
        if isinstance(value, dict):
            wave, rate = value["array"], value["sampling_rate"]
            card["images"] = [picture(made.given[place]), shown(wave, rate)]
            card["audio"], card["reference"] = sound(wave, rate), f"the picture is a {wanted}"
        else:
            card["images"] = [picture(value)]
        cards.append(card)
    return cards


def write(path: Path, **values: Any) -> None:
    """Fill the page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    path.write_text(environment.from_string(PAGE).render(**values), "utf-8")
