"""The trace for Perfetto or chrome://tracing, with regions also where the backward pass belongs to a component."""

import json
import tempfile
from bisect import bisect_right
from pathlib import Path
from typing import Any

from torch.profiler import profile

from mmkit.profiling.account import ENGINE, Owners
from mmkit.profiling.regions import BACKWARD


def write_trace(profiler: profile, owners: Owners, path: Path) -> None:
    """Write what was recorded as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(whole))
        trace = json.loads(whole.read_text("utf-8"))
    trace["traceEvents"] += backward_regions(trace["traceEvents"], owners)
    path.write_text(json.dumps(trace), "utf-8")


def backward_regions(events: list[dict[str, Any]], owners: Owners) -> list[dict[str, Any]]:
    """One region ``NODE backward`` for each run of operations of a backward pass that belong together."""
    passes = sorted(event["ts"] for event in events if event.get("ph") == "X" and event["name"] == BACKWARD)
    threads: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for event in events:
        if event.get("ph") == "X" and event["name"].startswith(ENGINE):
            threads.setdefault((event["pid"], event["tid"]), []).append(event)
    made: list[dict[str, Any]] = []
    for (process, thread), found in threads.items():
        now, end = (-1, BACKWARD), 0.0
        for event in sorted(found, key=lambda event: event["ts"]):
            if event["ts"] < end:
                continue  # inside of the one before
            end = event["ts"] + event["dur"]
            owner = owners(event.get("args", {}).get("Sequence number", -1), now[1])
            if (bisect_right(passes, event["ts"]), owner) != now:
                now = bisect_right(passes, event["ts"]), owner
                place = {"pid": process, "tid": thread, "ts": event["ts"]}
                made.append({"ph": "X", "cat": "user_annotation", "name": f"{owner} backward", **place})
            made[-1]["dur"] = end - made[-1]["ts"]
    return made
