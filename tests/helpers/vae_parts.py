"""Parts of a VAE that suit one another: each option of their groups."""

TRIPLES = {"model/objective": 0, "model/posterior": 1, "model/prior": 2}
SUITING = [
    ("elbo", "iaf", "flow"),
    ("beta_tc", "diagonal_normal", "vamp"),
    ("mmd", "householder", "mixture"),
    ("iwae", "low_rank_normal", "autoregressive"),
    ("factor", "von_mises_fisher", "uniform_sphere"),
    ("perceptual", "planar", "standard_normal"),
]
FEW = {"iwae": ["model.objective.samples=2"], "vamp": ["model.prior.components=3"]}


def triple(names: tuple[str, ...] | None) -> list[str]:
    if names is None:
        return []
    chosen = [f"{group}={names[place]}" for group, place in TRIPLES.items()]
    return [*chosen, *(setting for name in names for setting in FEW.get(name, []))]
