"""What the hub's words for kinds of tasks make of a plan; None rather than a word that may be wrong."""

import re

from mmkit.wiring.graph import Plan, TaskPlan

_READS_AND_WRITES = {
    (("text",), "text"): "text-generation",
    (("image",), "text"): "image-to-text",
    (("image", "text"), "text"): "image-text-to-text",
    (("audio",), "text"): "automatic-speech-recognition",
    (("audio", "text"), "text"): "audio-text-to-text",
    (("video",), "text"): "video-text-to-text",
    (("text", "video"), "text"): "video-text-to-text",
    (("text",), "image"): "text-to-image",
    (("text",), "audio"): "text-to-audio",
    (("text",), "video"): "text-to-video",
    (("image",), "image"): "image-to-image",
    (("audio",), "audio"): "audio-to-audio",
    (("video",), "video"): "video-to-video",
}
_LABELS = {"text", "image", "audio", "video"}
_NAMED = (
    ("text-generation", r"translat", "translation"),
    ("text-generation", r"summar", "summarization"),
    ("text-to-audio", r"speech|speak|tts|talk|say|read", "text-to-speech"),
    ("automatic-speech-recognition", r"caption|describe|sound", None),
)
"""Kinds alone do not tell these apart; the name that the user gave the task does: tag, part of the name, tag in its place."""


def kinds_of(plan: Plan, task: TaskPlan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds of values that a task reads and writes (text, image, ecg …); a modality without a kind is its own."""
    reads = sorted({plan.modalities[name].kind or name for name in task.modality_of.values()})
    writes = sorted({plan.modalities[name].kind or name for name in task.output_modalities}) if task.by_adapter else []
    return tuple(reads), tuple(writes)


def tag_of(plan: Plan, task: TaskPlan) -> str | None:
    """The hub's word for one task."""
    reads, writes = kinds_of(plan, task)
    head = task.head.component.name
    if head == "classify":
        return f"{reads[0]}-classification" if len(reads) == 1 and reads[0] in _LABELS else None
    if len(writes) > 1:
        return "any-to-any"
    found = _READS_AND_WRITES.get((reads, writes[0])) if writes else None
    for tag, pattern, better in _NAMED:
        if found == tag and re.search(pattern, task.name, re.IGNORECASE):
            return better
    return found


def pipeline_tag(plan: Plan, task: str) -> str | None:
    """The one word for a model: of the task that is meant, unless its tasks together write several kinds."""
    written = {kind for one in plan.tasks.values() for kind in kinds_of(plan, one)[1]}
    return "any-to-any" if len(written) > 1 else tag_of(plan, plan.tasks[task])
