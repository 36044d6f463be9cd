"""experimental"""
import math
from itertools import pairwise
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from lightning_gen.networks.conv import Patches, SubPixels, Upsample, map_sizes
from lightning_gen.networks.layers import widths, with_condition
from lightning_gen.networks.top_down import of_maps

class G(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        k = 1 if size == (1, 1) else 3
        self.conv = nn.Conv2d(channels, 2 * channels, k, padding=k // 2)
    def forward(self, maps):
        return maps + F.glu(self.conv(maps), dim=1)

def sizes_of(shape, patch):
    return map_sizes(*shape[1:], patch)[1:]

class Encoder(nn.Module):
    def __init__(self, image_shape, condition_dim, width, vector, patch, depth):
        super().__init__()
        self.sizes = sizes_of(image_shape, patch)
        ws = widths(width, len(self.sizes), 512)
        chans = [image_shape[0] + condition_dim, *ws]
        self.down = nn.ModuleList([Patches(chans[0], ws[0], patch)] + [nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(ws)])
        self.blocks = nn.ModuleList(nn.Sequential(nn.SiLU(), *(G(c, s) for _ in range(depth))) for c, s in zip(ws, self.sizes))
        self.top = nn.Sequential(nn.Conv2d(ws[-1], vector, self.sizes[-1]), nn.SiLU())
    def forward(self, x):
        feats = []
        for d, b in zip(self.down, self.blocks):
            x = b(d(x)); feats.append(x)
        return [self.top(x), *feats[::-1]]

def combined(a, b):
    log_precision = torch.logaddexp(-a.log_var, -b.log_var)
    mean = a.mean * (-a.log_var - log_precision).exp() + b.mean * (-b.log_var - log_precision).exp()
    return type(a)(mean, -log_precision)

class Layer(nn.Module):
    def __init__(self, channels, latents, size, seen, depth=1, weighted=False):
        super().__init__()
        self.prior = nn.Conv2d(channels, 2 * latents, 1)
        nn.init.zeros_(self.prior.weight); nn.init.zeros_(self.prior.bias)
        self.weighted = weighted
        self.posterior = nn.Conv2d(seen, 2 * latents, 1) if weighted else nn.Sequential(nn.Conv2d(channels + seen, channels, 1), nn.SiLU(), nn.Conv2d(channels, 2 * latents, 1))
        self.latents = nn.Conv2d(latents, channels, 1)
        self.last = nn.Sequential(*(G(channels, size) for _ in range(depth)))
    def forward(self, maps, features, noise):
        prior = of_maps(self.prior(maps))
        if features is None:
            sampled = prior
        elif self.weighted:
            sampled = combined(of_maps(self.posterior(features)), prior)
        else:
            sampled = of_maps(self.posterior(torch.cat([maps, features], 1)))
        return self.last(maps + self.latents(sampled.reparameterize(noise))), sampled, prior

class Decoder(nn.Module):
    def __init__(self, out_shape, condition_dim, width, vector, patch, depth, layers, latents, weighted):
        super().__init__()
        sizes = sizes_of(out_shape, patch)[::-1]
        ws = widths(width, len(sizes), 512)[::-1]
        self.sizes = [(1, 1), *sizes]
        chans = [vector, *ws]
        self.latent_shapes = [(l, *s) for l, s, n in zip(latents, self.sizes, layers) for _ in range(n)]
        self.counts = layers
        self.start = nn.Parameter(torch.zeros(1, vector, 1, 1))
        self.enter = nn.ModuleList([nn.Conv2d(vector + condition_dim, vector, 1), nn.Sequential(nn.SiLU(), nn.ConvTranspose2d(vector, ws[0], sizes[0]), nn.SiLU()),
            *(nn.Sequential(Upsample(a, b, s), nn.SiLU()) for (a, b), s in zip(pairwise(ws), sizes[1:]))])
        self.blocks = nn.ModuleList(nn.ModuleList(Layer(c, l, s, c, depth, weighted) for _ in range(n)) for c, l, s, n in zip(chans, latents, self.sizes, layers))
        self.out = SubPixels(ws[-1], out_shape[0], patch, out_shape[1:])
    def forward(self, noise, condition, features=None):
        maps, pairs = with_condition(self.start.expand(len(noise), -1, -1, -1), condition), []
        noises = iter(noise.split([math.prod(s) for s in self.latent_shapes], dim=1))
        shapes = iter(self.latent_shapes)
        for level, (enter, blocks) in enumerate(zip(self.enter, self.blocks)):
            maps = enter(maps)
            for layer in blocks:
                maps, *pair = layer(maps, None if features is None else features[level], next(noises).unflatten(1, next(shapes)))
                pairs.append(tuple(pair))
        return self.out(maps).float(), pairs
