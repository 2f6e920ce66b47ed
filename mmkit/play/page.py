"""The page: a tab a task, fields by the form of each column, places for every form of an answer."""

import html
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from mmkit.model.model import Model
from mmkit.play.answer import PLACES, Answer, fault_html
from mmkit.play.columns import LONGEST, Column
from mmkit.play.player import Player

NO = "no"
MODEL = "model"  # the one queue
CSS = (
    ".fault {border-left: 4px solid #c0392b; padding: .6em 1em} .part {margin: .5em 0} footer {display: none !important} "
    ".answer img {width: 100%; height: 100%; object-fit: contain}"
)


def _fields(column: Column) -> list[Any]:
    """The fields of a column: two where a value may be a file or JSON."""
    label = column.name if column.kind in (column.name, "text") else f"{column.name} ({column.kind})"
    made: dict[str, Callable[[], list[Any]]] = {
        "text": lambda: [gr.Textbox(label=label, lines=2, max_length=LONGEST)],
        "image": lambda: [
            gr.Image(
                label=label, type="filepath", image_mode=None, sources=["upload", "webcam", "clipboard"], height=280
            )
        ],
        "audio": lambda: [gr.Audio(label=label, type="filepath", sources=["upload", "microphone"])],
        "video": lambda: [gr.Video(label=label, sources=["upload", "webcam"])],
        "file": lambda: [
            gr.File(label=f"{label}: a file", type="filepath", height=120),
            gr.Textbox(label=f"{label}: or JSON", info=column.hint, lines=2, max_length=LONGEST),
        ],
    }
    return made[column.form]()


def _places() -> dict[str, Any]:
    """One component for each place of an answer, hidden until something is in it."""
    return {
        "text": gr.Textbox(label="answer", lines=3, interactive=False, visible=False, buttons=["copy"]),
        "label": gr.Label(label="answer", num_top_classes=10, visible=False),
        "image": gr.Image(
            label="answer",
            type="filepath",
            interactive=False,
            visible=False,
            height=280,
            elem_classes="answer",
            buttons=["download", "fullscreen"],
        ),
        "audio": gr.Audio(label="answer", type="filepath", interactive=False, visible=False, buttons=["download"]),
        "video": gr.Video(label="answer", interactive=False, visible=False, buttons=["download"]),
        "html": gr.HTML(label="answer", visible=False),
        "json": gr.JSON(label="details", visible=False),
    }


@dataclass(frozen=True)
class Tab:
    """What is in a tab: fields in the order of ``Player.ask``, and what an answer is drawn in, in the order of ``drawn``."""

    player: Player
    fields: list[Any]
    options: list[Any]
    explain: Any
    shown: list[Any]

    def press(self, *given: Any) -> Iterator[list[Any]]:
        """What the button does: a drawing of every state of the answer."""
        fields, options = given[: len(self.fields)], given[len(self.fields) : len(self.fields) + len(self.options)]
        explain = given[-1] if self.explain is not None else NO
        for answer in self.player.ask(fields, options, "" if explain == NO else explain):
            yield drawn(answer)


def drawn(answer: Answer) -> list[Any]:
    """Updates: message, places, line, explanation."""
    places = [
        gr.update(value=answer.places[name], visible=True)
        if name in answer.places
        else gr.update(value=None, visible=False)
        for name in PLACES
    ]
    why = ""
    if answer.why:
        why = f'<iframe sandbox title="explanation" style="width:100%;height:36em;border:0" srcdoc="{html.escape(answer.why)}"></iframe>'
    line = gr.update(value=answer.said, visible=bool(answer.said))
    return [
        gr.update(value=fault_html(answer.fault), visible=bool(answer.fault)),
        *places,
        line,
        gr.update(value=why, visible=bool(why)),
    ]


def _tab(player: Player) -> Tab:
    with gr.Row():
        with gr.Column():
            fields = [field for column in player.columns for field in _fields(column)]
            options = []
            if player.options:
                with gr.Accordion("Decoding", open=False):
                    options = [
                        gr.Number(label=one.name, value=one.value, precision=0 if one.whole else None, info=one.says)
                        for one in player.options
                    ]
            explain = gr.Radio([NO, *player.ways], label="explain", value=NO) if player.ways else None
            button = gr.Button("Run", variant="primary")
        with gr.Column():
            fault = gr.HTML(visible=False)
            places = _places()
            line = gr.Textbox(label="time", interactive=False, visible=False, max_lines=3)
            why = gr.HTML(visible=False)
    shown = [fault, *places.values(), line, why]
    tab = Tab(player, fields, options, explain, shown)
    inputs = [*fields, *options, *([explain] if explain is not None else [])]
    button.click(
        tab.press,
        inputs,
        shown,
        concurrency_id=MODEL,
        concurrency_limit=1,
        api_visibility="private",
        show_progress="minimal",
    )
    return tab


def page(model: Model, folder: Path, title: str) -> tuple[gr.Blocks, dict[str, Tab]]:
    """The page of a model and its tabs by task; uploads and answers are in ``folder``."""
    lock, tabs = threading.Lock(), {}
    with gr.Blocks(title=f"{title} · mmkit", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f"# {title.replace('_', chr(92) + '_')}")
        with gr.Tabs():
            for task in model.plan.tasks:
                with gr.Tab(task):
                    tabs[task] = _tab(Player(model, task, folder, lock))
    blocks.queue(default_concurrency_limit=1, max_size=32, api_open=False)
    return blocks, tabs
