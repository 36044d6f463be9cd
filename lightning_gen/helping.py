"""`--help`, without composing anything: the texts of conf/hydra and the options there are."""

from lightning_gen.listing import describe_all
from lightning_gen.plugins import conf_dir


def help_text(command: str) -> str:
    """What `lightning-gen <command> --help` prints."""
    examples, footer = _texts(command)["header"], _texts("_base")["footer"]
    options = "\n".join(f"  {line}" for line in describe_all())
    return f"{examples}\nOptions (choose with group=option, change any value with key=value):\n{options}\n\n{footer}"


def _texts(name: str) -> dict[str, str]:
    import yaml

    return yaml.safe_load((conf_dir() / "hydra" / f"{name}.yaml").read_text())["help"]
