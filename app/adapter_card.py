"""A version as words: the card that goes with its files when it is taken away, and its description for programs.

It knows the record of a version, no model and no page. Neither holds a prompt or an answer of anybody.
"""

import json
from typing import Any

from storage.records import Version

ORIGINS = {
    "refresh": "learnt from choices",
    "online": "learnt from a judge's choices",
    "upload": "brought from elsewhere",
}


def described(version: Version, scopes: list[str]) -> dict[str, Any]:
    """What a program gets to know of a version.

    Args:
        version: the record.
        scopes: where it is in use.

    Returns:
        The record with its lineage; before and after are held-out accuracies with n and interval, null where not measured.
    """
    return {
        "version": version.id,
        "scope": version.scope,
        "origin": version.origin,
        "model": version.model,
        "model_revision": version.model_revision,
        "parent": version.parent,
        "reference": version.reference,
        "objective": version.objective,
        "seed": version.seed,
        "settings": version.settings,
        "pairs_train": version.pairs_train,
        "pairs_heldout": version.pairs_heldout,
        "before": version.metrics.get("before"),
        "after": version.metrics.get("after"),
        "seconds": version.seconds,
        "published": version.published,
        "in_use_for": scopes,
        "reason": version.reason,
        "created": version.created,
    }


def measured(share: dict[str, Any] | None) -> str:
    """A share with its n and its interval, as a sentence's part."""
    if not share:
        return "not measured"
    low, high = share["interval"]
    return f"{share['value']:.0%} (95 % interval {low:.0%} to {high:.0%}, n = {share['n']})"


def parent_name(version: Version) -> str:
    """The parent in words."""
    return "not known" if version.parent is None else version.parent or "the original model"


def card(version: Version) -> str:
    """A model card in Markdown with the hub's front matter."""
    settings = "\n".join(f"- {key}: {_inline(value)}" for key, value in version.settings.items())
    rows = {
        "Version": version.id,
        "How it came about": ORIGINS.get(version.origin, version.origin),
        "Of": f"the persona {version.scope}" if version.scope else "all personas",
        "Base model": version.model,
        "Revision of the base model": version.model_revision,
        "Parent (the version in use before it)": parent_name(version),
        "Objective": version.objective or "not known",
        "Reference policy": version.reference or "not known",
        "Seed": "not known" if version.seed is None else str(version.seed),
        "Pairs learnt, kept aside": f"{version.pairs_train}, {version.pairs_heldout}",
        "Kept-aside choices right, before": measured(version.metrics.get("before")),
        "Kept-aside choices right, after": measured(version.metrics.get("after")),
        "Made (UTC)": version.created,
    }
    table = "\n".join(f"| {key} | {_inline(value)} |" for key, value in rows.items())
    return f"""---
base_model: {json.dumps(version.model)}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
- plumbline
---

# Plumbline adapter {version.id}

A LoRA adapter for one person's or group's taste, made with Plumbline. An untrained adapter gets 50 % of kept-aside choices right.

| | |
|---|---|
{table}

{_inline(version.reason)}

## Settings

{settings or "Not known."}

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({json.dumps(version.model)}), "the folder with these files")
```
"""


def _inline(value: Any) -> str:
    # Names and reasons may hold what people wrote; in a table they stay on one line and stay text.
    text = " ".join(str(value).split())
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text
