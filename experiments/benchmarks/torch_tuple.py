"""The tuple form of DGG in plain PyTorch, as one would write it after Algorithm 1."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dgg_jax.presets import DGGPreset


class TupleModel(nn.Module):
    """Encoder, decoder, linear classifier and mixture, from the parameters of ours.

    Args:
      params: of DGG: encoder, decoder, classifier and mixture.
    """

    def __init__(self, params: Mapping[str, Any]):
        super().__init__()
        encoder, decoder = params["encoder"], params["decoder"]
        self.encoder = _hidden(encoder)
        self.mean = _linear(encoder["mean"])
        self.logvar = _linear(encoder["logvar"])
        self.decoder = nn.Sequential(*_hidden(decoder), _linear(decoder["output"]))
        self.classifier = _linear(params["classifier"]["output"])
        self.mixture_mean = nn.Parameter(_tensor(params["mixture"].mean))
        self.mixture_logvar = nn.Parameter(_tensor(params["mixture"].logvar))

    def objective(
        self, x: torch.Tensor, num_neighbors: int, eps: torch.Tensor
    ) -> torch.Tensor:
        """J of a batch of tuples with uniform weights and eta = 1, divided by B.

        Args:
          x: the points and their neighbours' rows, self first, shape [B, 1 + S, D].
          num_neighbors: S.
          eps: standard normal, shape [B, 1 + S, L].
        """
        hidden = self.encoder(x)
        mean, logvar = self.mean(hidden), self.logvar(hidden).clamp(-30.0, 30.0)
        z = mean + torch.exp(0.5 * logvar) * eps
        log_gamma = functional.log_softmax(self.classifier(z), dim=-1)
        gamma = log_gamma.exp()
        row = torch.full(x.shape[1:2], 0.5 / num_neighbors)
        row[0] = 0.5
        with torch.no_grad():
            prior = torch.einsum("s,bsk->bk", row, gamma)
            log_prior = prior.clamp_min(torch.finfo(prior.dtype).tiny).log()
        targets = x[:, :1].expand_as(x)
        reconstruction = -functional.binary_cross_entropy_with_logits(
            self.decoder(z), targets, reduction="none"
        ).sum(-1)
        log_densities = self._expected_log_densities(mean, logvar)
        entropy = 0.5 * (logvar + 1.0 + math.log(2.0 * math.pi)).sum(-1)
        clusters = (gamma * (log_densities + log_prior[:, None] - log_gamma)).sum(-1)
        return ((reconstruction + entropy + clusters) * row).sum(-1).mean()

    def _expected_log_densities(
        self, mean: torch.Tensor, logvar: torch.Tensor
    ) -> torch.Tensor:
        """E_q[ln N(z; mu_k, sigma_k^2)], shape [B, 1 + S, K]."""
        precision = torch.exp(-self.mixture_logvar)
        second = torch.exp(logvar) + mean**2
        squared = (
            second @ precision.T
            - 2.0 * mean @ (precision * self.mixture_mean).T
            + (precision * self.mixture_mean**2).sum(-1)
        )
        constant = (self.mixture_logvar + math.log(2.0 * math.pi)).sum(-1)
        return -0.5 * (constant + squared)


class TupleTraining:
    """Epochs of Adam on tuples: each call is one.

    Attributes:
      model: what is trained.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        x: np.ndarray,
        indices: np.ndarray,
        preset: DGGPreset,
    ):
        """Copies parameters, rows and neighbours into tensors.

        Args:
          params: of DGG, to start from.
          x: data, shape [N, D].
          indices: neighbours, shape [N, S].
          preset: with the size of a batch and Adam's rate.
        """
        self.model = TupleModel(params)
        self._x, self._indices = _tensor(x), torch.tensor(np.asarray(indices)).long()
        self._batch_size = min(preset.batch_size, len(x))
        rate = preset.learning_rate
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=rate)

    def __call__(self) -> None:
        """Trains for an epoch; as ours, it leaves out the last, smaller batch."""
        num_points, num_neighbors = self._indices.shape
        order = torch.randperm(num_points)
        full = order[: num_points // self._batch_size * self._batch_size]
        for batch in full.split(self._batch_size):
            sources = torch.cat([batch[:, None], self._indices[batch]], dim=1)
            eps = torch.randn(*sources.shape, self.model.mean.out_features)
            loss = -self.model.objective(self._x[sources], num_neighbors, eps)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    @torch.no_grad()
    def predict(self) -> np.ndarray:
        """Cluster labels from the posterior means of all rows, [N]."""
        model = self.model
        means = [model.mean(model.encoder(part)) for part in self._x.split(4096)]
        return model.classifier(torch.cat(means)).argmax(-1).numpy()


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(array, np.float32))


def _linear(params: Mapping[str, Any]) -> nn.Linear:
    layer = nn.Linear(*params["kernel"].shape)
    with torch.no_grad():
        layer.weight.copy_(_tensor(params["kernel"]).T)
        layer.bias.copy_(_tensor(params["bias"]))
    return layer


def _hidden(params: Mapping[str, Any]) -> nn.Sequential:
    names = sorted(name for name in params if name.startswith("hidden_"))
    layers = [part for name in names for part in (_linear(params[name]), nn.ReLU())]
    return nn.Sequential(*layers)
