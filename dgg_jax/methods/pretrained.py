"""The autoencoder that methods start from, and what they ask of one."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.likelihoods import Likelihood
from dgg_jax.log import LOGGER
from dgg_jax.methods.first_layers import centered, in_components
from dgg_jax.methods.parts import (
    autoencoder_modules,
    autoencoder_networks,
    components_of,
    likelihood_of,
    modelled,
)
from dgg_jax.methods.problem import Problem, kmeans_metrics
from dgg_jax.networks import Networks, initial_params, with_precision
from dgg_jax.stages import evaluate
from dgg_jax.stages.pretrain import AutoencoderLoss, VaeLoss, layerwise
from dgg_jax.training import Diverged, Loss, Metrics, Rows, Schedule, State, optimize
from dgg_jax.types import ElboTerms, Gaussian


def pretrain_and_report(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The stage ``pretrain``: encoder and decoder; reports K-means of the latents."""
    del state
    params = pretrained(problem)
    networks = autoencoder(problem)
    metrics = kmeans_metrics(
        problem, latent_means(problem, networks, params), "pretrain"
    )
    return params, metrics | mean_elbo(problem, networks, params)


def autoencoder_params(state: State) -> State:
    """The parameters of encoder and decoder: with more, a program is another one."""
    return {"encoder": state["encoder"], "decoder": state["decoder"]}


def autoencoder(problem: Problem) -> Networks:
    """Encoder and decoder as pure functions."""
    return autoencoder_networks(problem.preset, problem.num_features, problem.parts)


def likelihood(problem: Problem) -> Likelihood:
    """p(x | z), as compiled functions take it; of what is there, if values miss."""
    named = likelihood_of(problem.preset, problem.parts)
    return modelled(named, problem.misses_values, problem.num_batches)


def rows(problem: Problem) -> Rows:
    """The data and p(x | z), with the weights of rows, as losses take them."""
    return Rows(problem.x, likelihood(problem), problem.sample_weight)


def pretrained(problem: Problem) -> State:
    """Encoder and decoder, trained once for all runs that share them."""
    keys = jax.random.split(problem.key("pretrain"), 5)
    share, preset = problem.runner.share, problem.preset
    params = share(
        "autoencoder",
        autoencoder_identity(problem),
        lambda: _autoencoder(problem, keys),
    )
    if not preset.pretrain_vae_epochs:
        return params
    return share(
        "vae", vae_identity(problem), lambda: _trained_vae(problem, params, keys[4])
    )


def train_autoencoder(
    problem: Problem, loop: str, loss: Loss, params: State, key: jax.Array, epochs: int
) -> State:
    """Minimises a loss over Rows by Adam, as pretraining does.

    Args:
      problem: what is clustered.
      loop: name of the loop.
      loss: AutoencoderLoss or VaeLoss.
      params: {"encoder", "decoder"}.
      key: random key.
      epochs: how long.
    """
    return optimize(
        loop,
        loss,
        params,
        rows(problem),
        key,
        _schedule(problem, epochs),
        num_points=len(problem.x),
        monitor=problem.runner,
    ).params


def autoencoder_identity(problem: Problem) -> dict[str, Any]:
    """What the pretrained autoencoder depends on, for runs that share it."""
    settings = problem.preset.autoencoder_settings()
    identity = settings | {"seed": problem.seed, "parts": repr(problem.parts)}
    if problem.sample_weight is not None:
        digest = hashlib.sha256(problem.sample_weight.tobytes())
        identity["sample_weight"] = digest.hexdigest()
    return identity | problem.batch_identity()


def vae_identity(problem: Problem) -> dict[str, Any]:
    """What the state after pretraining depends on, for runs that share it."""
    epochs = {"pretrain_vae_epochs": problem.preset.pretrain_vae_epochs}
    return autoencoder_identity(problem) | epochs


def _autoencoder(problem: Problem, keys: jax.Array) -> State:
    """Layer by layer, then all layers, as denoising autoencoders."""
    preset, x = problem.preset, problem.x
    encoder, decoder = autoencoder_modules(preset, problem.num_features, problem.parts)
    params = {
        "encoder": initial_params(encoder, keys[0], x[:1]),
        "decoder": initial_params(decoder, keys[1], jnp.zeros((1, preset.latent_dim))),
    }
    if components_of(preset, problem.num_features):
        params = in_components(problem, params)
    elif preset.pretrain_centered and not problem.parts.encoder:
        params["encoder"] = centered(problem, encoder, params["encoder"])
    if preset.pretrain_layer_epochs:
        depth = len(preset.hidden_sizes)
        hidden = [f"hidden_{index}" for index in range(depth)]
        layers = zip([*hidden, "mean"], ["output", *hidden[::-1]], strict=True)
        with with_precision(preset.precision):  # as in a Network, which they are not
            params["encoder"], params["decoder"] = layerwise(
                rows(problem),
                params["encoder"],
                params["decoder"],
                list(layers),
                seen=encoder.seen,
                corruption=preset.pretrain_corruption,
                schedule=_schedule(problem, preset.pretrain_layer_epochs),
                key=keys[2],
                monitor=problem.runner,
            )
    loss = AutoencoderLoss(
        autoencoder(problem), preset.pretrain_corruption, problem.num_batches
    )
    epochs = preset.pretrain_autoencoder_epochs
    return train_autoencoder(problem, "autoencoder", loss, params, keys[3], epochs)


def _schedule(problem: Problem, epochs: int) -> Schedule:
    preset = problem.preset
    return Schedule(
        epochs,
        preset.pretrain_batch_size,
        preset.pretrain_learning_rate,
        shuffle=preset.shuffle,
    )


def _trained_vae(problem: Problem, params: State, key: jax.Array) -> State:
    """A VAE from an autoencoder; again from narrow posteriors, where it collapses.

    At a posterior variance of 1, which the head of an autoencoder starts with, little
    of what latents say comes through, and none of them may be used in the end, while
    the decoder learns the mean of all rows.
    """
    epochs, loss = problem.preset.pretrain_vae_epochs, VaeLoss(autoencoder(problem))
    trained = train_autoencoder(problem, "vae", loss, params, key, epochs)
    if not _has_head(params["encoder"]) or _is_active(problem, trained):
        return trained
    LOGGER.info("no latent tells the rows apart; the VAE starts from narrow posteriors")
    narrow = with_narrow_posteriors(problem, params["encoder"])
    params = {**params, "encoder": narrow}
    trained = train_autoencoder(problem, "vae_2", loss, params, key, epochs)
    if not _is_active(problem, trained):
        LOGGER.warning(
            "The VAE has collapsed: no latent tells the rows apart, from narrow "
            "posteriors neither. Train longer (pretrain_autoencoder_epochs, "
            "pretrain_vae_epochs), or give values on another scale."
        )
    return trained


def _is_active(problem: Problem, params: State) -> bool:
    """Whether the posterior means of any latent have a variance above 0.01.

    Such latents are the active units of Burda, Grosse and Salakhutdinov, "Importance
    weighted autoencoders", 2016.
    """
    return bool((_latent_variance(problem, params) > 0.01).any())


def _latent_variance(problem: Problem, params: State) -> np.ndarray:
    """Of the posterior means of all points, as their weights count them, [L]."""
    latents = latent_means(problem, autoencoder(problem), params)
    weights = problem.sample_weight
    mean = np.average(latents, axis=0, weights=weights)
    return np.average((latents - mean) ** 2, axis=0, weights=weights)


def _has_head(encoder: State) -> bool:
    """Whether log-variances have a bias of that name, as those of our encoders."""
    head = encoder.get("logvar")
    return isinstance(head, Mapping) and "bias" in head


def latent_means(problem: Problem, networks: Networks, params: State) -> np.ndarray:
    """Posterior means of all points, [N, L]."""
    posterior = evaluate.encode_all(networks.encode, params["encoder"], problem.x)
    return np.asarray(posterior.mean)


def with_narrow_posteriors(problem: Problem, encoder: State) -> State:
    """The encoder of an autoencoder, whose log-variances nothing has trained yet.

    A posterior starts with a tenth of the latents' spread: at the variance of 1 that
    the head has, the clusters of an autoencoder's latents would run together. An
    encoder of the user's own starts as it comes, unless its head is named so.
    """
    if not _has_head(encoder):
        return encoder
    variance = _latent_variance(problem, {"encoder": encoder})
    variance = np.maximum(variance, problem.preset.variance_floor)
    narrow = np.log(0.01 * variance)  # the kernel of the head is 0
    logvar = {**encoder["logvar"], "bias": narrow}
    return {**encoder, "logvar": logvar}


def mean_elbo(
    problem: Problem,
    networks: Networks,
    params: State,
    log_weights: np.ndarray | None = None,
    draws: int = 1,
    log_assignments: np.ndarray | None = None,
) -> Metrics:
    """The mean own-ELBO and its terms; see ``evaluate.elbo_terms``.

    Raises:
      Diverged: if a term is not finite.
    """
    terms = own_elbo(problem, networks, params, log_weights, draws, log_assignments)
    return finite_means(problem, terms)


def own_elbo(
    problem: Problem,
    networks: Networks,
    params: State,
    log_weights: np.ndarray | None = None,
    draws: int = 1,
    log_assignments: np.ndarray | None = None,
) -> ElboTerms:
    """The own-ELBO of every row, fields [N]; see ``evaluate.elbo_terms``."""
    return evaluate.elbo_terms(
        networks,
        likelihood(problem),
        params,
        log_weights,
        problem.x,
        jax.random.key(0),  # the same draws for every model: they are compared
        draws,
        log_assignments,
    )


def finite_means(problem: Problem, terms: Any) -> Metrics:
    """The means of terms [N] of a bound, by weights of rows, and their total as "elbo".

    Raises:
      Diverged: if one is not finite: the last update of a loop is seen here first.
    """
    mean = functools.partial(jnp.average, weights=problem.sample_weight)
    metrics = evaluate.elbo_metrics(jax.tree.map(mean, terms))
    for name in terms._fields:
        if not np.isfinite(metrics[name]):
            raise Diverged(f"{name} is not finite in the evaluation")
    return metrics


def check_parts(problem: Problem) -> None:
    """Whether parts of one's own fit the data, the preset and each other.

    Raises:
      InvalidInput: if they do not; before any work.
    """
    preset, parts, x = problem.preset, problem.parts, problem.x[:1]
    if problem.num_batches:
        _check_batches(problem)
    if not parts.own:
        return
    if (parts.encoder or parts.decoder) and preset.pretrain_layer_epochs:
        raise checks.InvalidInput(
            f"pretrain_layer_epochs={preset.pretrain_layer_epochs} needs the dense "
            "networks, whose layers it knows; use 0 with an encoder or decoder of your "
            "own."
        )
    encoder, decoder = autoencoder_modules(preset, problem.num_features, parts)
    latent_shape = (1, preset.latent_dim)
    posterior = _output_of("encoder", encoder, x)
    shapes = [np.shape(field) for field in jax.tree.leaves(posterior)]
    if not isinstance(posterior, Gaussian) or shapes != [latent_shape] * 2:
        raise checks.InvalidInput(
            "encoder must map x [B, D] to dgg_jax.types.Gaussian with mean and "
            f"logvar of shape [B, {preset.latent_dim}] (latent_dim), got "
            f"{type(posterior).__name__} with shapes {shapes} for B = 1."
        )
    decoded = _output_of("decoder", decoder, np.zeros(latent_shape, np.float32))
    try:
        value = jax.eval_shape(jax.vmap(likelihood(problem).log_prob), x, decoded)
    except (TypeError, ValueError, AttributeError) as error:
        raise checks.InvalidInput(
            f"the likelihood {likelihood_of(preset, parts)} cannot take what the "
            f"decoder returns for one row, {jax.tree.map(np.shape, decoded)}: {error}"
        ) from error
    if value.shape != (1,):
        raise checks.InvalidInput(
            "likelihood.log_prob must return a scalar for one row, got shape "
            f"{value.shape[1:]}; does the decoder return {problem.num_features} "
            "values a row?"
        )


def _check_batches(problem: Problem) -> None:
    """Whether what a run asks for knows of batches.

    Raises:
      InvalidInput: if layers are trained alone, or a network is one's own.
    """
    epochs = problem.preset.pretrain_layer_epochs
    if epochs:
        raise checks.InvalidInput(
            f"pretrain_layer_epochs={epochs} trains layers that know of no batch; use "
            "0 with batch."
        )
    networks = [name for name in problem.parts.own if name != "likelihood"]
    if networks:
        raise checks.InvalidInput(
            f"batch is for the dense networks, which take it beside x and z; leave it "
            f"out, or the {networks[0]} of your own."
        )


def _output_of(name: str, module: nn.Module, x: np.ndarray) -> Any:
    """Shapes of what a module returns, without running it."""
    output, variables = jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x), x
    )
    others = sorted(set(variables) - {"params"})
    if others:
        raise checks.InvalidInput(
            f"{name} must have parameters only, got the collections {others}; leave "
            "out batch statistics and other state."
        )
    return output
