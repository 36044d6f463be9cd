"""The model card README.md of an exported model, by its checkpoint and what its run folder tells."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_gen.config.run_options import OPTIONS, chosen_option, title_of
from lightning_gen.errors import UserError
from lightning_gen.report.contents import Contents, read_contents
from lightning_gen.report.page import CITATION
from lightning_gen.report.scores import Scoring
from lightning_gen.report.settings import papers_of
from lightning_gen.sharing.rendering import cell, render
from lightning_gen.sharing.shareable import without_paths
from lightning_gen.sharing.snippet import NEEDS
from lightning_gen.utilities.printable import printable

FILE = "README.md"
MOST_DIFFERENCES = 60
_OWN = ("run_dir", "resume", "logger", "hydra", "trust")  # keys of a command line that are its author's alone


@dataclass(frozen=True)
class Card:
    """What a card is made of beside the run: `facts` of the checkpoint that may be shared, files, address, license."""

    facts: Mapping[str, Any]
    address: str  # what others give as `checkpoint`
    parameters: int
    command: str = "sample"
    picture: str | None = None
    caption: str = ""
    license: str | None = None
    programs: Sequence[Mapping[str, str]] = field(default_factory=list)
    format: str = "safetensors"
    difference: float = 0.0


def write_card(card: Card, run: Path, folder: Path) -> None:
    """Write the card to `folder`; `run` is the run's folder, or one with less in it."""
    (folder / FILE).write_text(card_text(card, run))


def card_text(card: Card, run: Path) -> str:
    """The Markdown of a card, with metadata as the Hugging Face Hub reads them."""
    contents = _contents(run)
    scoring = _scoring(contents, card.facts["images_seen"])
    config, options = card.facts["config"], card.facts.get(OPTIONS)
    return render(
        "card.md.jinja",
        front_matter=_yaml(_metadata(card)),
        title=title_of(config, options),
        picture=card.picture,
        caption=card.caption,
        facts=_facts(card),
        program=card.programs,
        needs=NEEDS.get(card.format, ""),
        difference=f"{card.difference:.1g}",
        package="lightning-gen[hub]" if card.address.startswith("hf://") else "lightning-gen",
        command=card.command,
        address=card.address,
        averaged=bool(card.facts.get("averaged")),
        scoring=scoring,
        images_seen=card.facts["images_seen"],
        floors=bool(scoring and any(row.real_against_real for row in scoring.rows)),
        over=next((row.over for row in scoring.rows if row.over), "") if scoring else "",
        trained_by=_command(contents),
        differences=_differences(contents),
        config=_yaml(config),
        license=card.license,
        papers=papers_of(config["model"], chosen_option("model", options)),
        citation=CITATION % (card.facts.get("versions") or {}).get("lightning-gen", "0.1.0"),
    )


def _contents(run: Path) -> Contents | None:
    try:
        return read_contents(run)
    except UserError:  # no run's folder
        return None


def _scoring(contents: Contents | None, images_seen: int) -> Scoring | None:
    """The newest scores of the state after so many images, else the newest."""
    found = contents.scorings if contents else []
    chosen = next((each for each in found if each.images_seen == images_seen), found[0] if found else None)
    return chosen and replace(chosen, protocol=without_paths(chosen.protocol))


def _metadata(card: Card) -> dict[str, Any]:
    model = title_of(card.facts["config"], card.facts.get(OPTIONS)).partition(" ")[0].lower()
    tags = ["lightning-gen", "image-generation", model]
    kind = {"sample": {"pipeline_tag": "unconditional-image-generation"}}.get(card.command, {})
    return {"library_name": "lightning-gen", "tags": tags, **kind} | ({"license": card.license} if card.license else {})


def _facts(card: Card) -> dict[str, str]:
    title = title_of(card.facts["config"], card.facts.get(OPTIONS))
    shape = "x".join(map(str, card.facts["image_shape"]))
    data = card.facts.get("data") or {}
    splits = " / ".join(f"{split[0]:,}" for split in (data.get("splits") or {}).values())
    facts = {
        "Model": f"{title.partition(' ')[0]}, {card.parameters:,} parameters",
        "Data": f"{data.get('name', '?')}, {splits + ' ' if splits else ''}images of {shape}",
        "Trained on": f"{card.facts['images_seen']:,} images seen",
    }
    names = card.facts.get("class_names") or []
    if names and card.facts["config"]["model"].get("conditional"):
        facts["Classes"] = ", ".join(map(str, names[:50]))
    return {name: cell(value) for name, value in facts.items()}


def _command(contents: Contents | None) -> str:
    """The command line that started the run, without what is its author's alone."""
    starts = contents.environment.starts if contents else []
    words = shlex.split(starts[-1].command) if starts else []
    words = [word for word in words[1:] if word.lstrip("+~").partition("=")[0].partition(".")[0] not in _OWN]
    return printable(shlex.join(["lightning-gen", *without_paths(words)])) if words[:1] == ["train"] else ""


def _differences(contents: Contents | None) -> list[Any]:
    rows = contents.settings.differences if contents else []
    return [
        replace(row, value=without_paths(row.value), default=without_paths(row.default))
        for row in rows[:MOST_DIFFERENCES]
        if row.key.partition(".")[0] in ("model", "data", "seed", "trainer")
    ]


def _yaml(content: Any) -> str:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
