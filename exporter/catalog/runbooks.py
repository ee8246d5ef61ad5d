"""Runbooks: the text of people in runbooks.md, joined with what the catalogue knows of each alert."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from importlib.resources import files

from exporter.catalog.alerts import all_alerts
from exporter.catalog.escalations import ESCALATED, ESCALATIONS

PARTS = ("Diagnosis", "Mitigation", "False alarms")


@lru_cache(maxsize=1)
def written() -> dict[str, str]:
    """The text of people by alert."""
    text = files("exporter.catalog").joinpath("runbooks.md").read_text("utf-8")
    sections = re.split(r"^## (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(sections[::2], (body.strip() for body in sections[1::2]), strict=True))


def sections() -> dict[str, str]:
    """The whole runbook of each alert as Markdown, by name. Raises KeyError for one that nobody has written."""
    known = written()
    found = {}
    for alert in all_alerts():
        limits = alert.signal.limits
        assert limits is not None
        when = f"{alert.signal.title}: {limits.worse} {limits.bad:g}, for {alert.wait}"
        facts = f"**Meaning.** {alert.summary}. {alert.signal.help} Fires when: {when}.\n\n**Impact.** {alert.impact}\n\n**First step.** {alert.action}"
        found[alert.name] = f"{facts}\n\n{known[alert.name]}\n\n```promql\n{alert.expr()}\n```"
    steps = "; ".join(f"{step.severity} for {step.after}: {step.to}" for step in ESCALATIONS)
    found[ESCALATED] = f"**Meaning.** An alert has fired for long and nobody has silenced it ({steps}).\n\n**Impact.** What the alert says goes on.\n\n{known[ESCALATED]}"
    return found


def markdown() -> str:
    """All runbooks as one page."""
    parts = [f"## {name}\n\n{body}\n" for name, body in sections().items()]
    return "\n".join(["# Runbooks\n\nOne section per alert; every alert links to its own.\n", *parts])


def page() -> str:
    """All runbooks as a page of HTML with an anchor for each alert."""
    parts = []
    for name, body in sections().items():
        text = html.escape(re.sub(r"```\w*\n?", "", body), quote=False)
        text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"`([^`]+)`", r"<code>\1</code>", text))
        paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n") if paragraph.strip())
        parts.append(f'<section id="{name.lower()}"><h2>{name}</h2>{paragraphs}</section>')
    style = "body{font:16px/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}section:target{outline:3px solid orange;padding:0 1rem}code{overflow-wrap:anywhere}"
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Runbooks</title><style>{style}</style><h1>Runbooks</h1>{''.join(parts)}</html>"
