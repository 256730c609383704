"""The losses in a training loop of one's own: VaDE in plain jax and optax.

  python examples/own_training_loop.py

Every loss is a pure function of one data point; vmap, jit and the optimiser are yours.
A VAE learns three blobs in five dimensions; a Gaussian mixture of its latents starts
the mixture, and both are trained on together.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture

from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import GaussianLikelihood
from dgg_jax.losses import autoencoder, vade
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.networks import Decoder, Encoder
from dgg_jax.types import Mixture

NUM_CLUSTERS, LATENT_DIM, BATCH_SIZE = 3, 2, 64
LIKELIHOOD = GaussianLikelihood(variance=1.0)
ENCODER, DECODER = Encoder((64,), LATENT_DIM), Decoder((64,), 5)


def autoencode(params, x, key):
    """q(z | x) and what the decoder makes of a draw z, for a batch [B, D]."""
    posterior = ENCODER.apply(params["encoder"], x)
    z = jax.vmap(sample_gaussian)(
        posterior, jax.random.normal(key, posterior.mean.shape)
    )
    return posterior, z, DECODER.apply(params["decoder"], z)


def vae_elbo(params, x, key):
    """The mean ELBO of a batch with the prior N(0, I)."""
    posterior, _, decoded = autoencode(params, x, key)
    elbo = jax.vmap(autoencoder.vae_elbo, (0, 0, 0, None))
    return elbo(x, decoded, posterior, LIKELIHOOD).total.mean()


def assign(params, z):
    """ln p(c | z) of latents [B, L], eq. (12) of VaDE."""
    log_weights = jax.nn.log_softmax(params["logits"])
    log_assignment = jax.vmap(vade.log_assignment, (0, None, None))
    return log_assignment(z, log_weights, params["mixture"])


def vade_elbo(params, x, key):
    """The mean ELBO of a batch with the mixture as prior, eq. (13) of VaDE."""
    posterior, z, decoded = autoencode(params, x, key)
    elbo = jax.vmap(vade.elbo, (0, 0, 0, 0, None, None, None))
    log_weights = jax.nn.log_softmax(params["logits"])
    return elbo(
        x,
        decoded,
        posterior,
        assign(params, z),
        log_weights,
        params["mixture"],
        LIKELIHOOD,
    ).total.mean()


def train(elbo, params, x, key, num_steps):
    """Maximises by Adam, in one compiled loop; returns parameters and all values."""
    optimizer = optax.adam(3e-3)

    def step(carry, key):
        params, opt_state = carry
        rows_key, eps_key = jax.random.split(key)
        rows = jax.random.choice(rows_key, len(x), (BATCH_SIZE,), replace=False)
        value, gradient = jax.value_and_grad(elbo)(params, x[rows], eps_key)
        # Ascent.
        gradient = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    run = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys))
    keys = jax.random.split(key, num_steps)
    (params, _), values = run((params, optimizer.init(params)), keys)
    return params, values


def main(num_steps: int = 500) -> float:
    """Trains in two stages, prints what each reaches, and returns the accuracy."""
    x, y = make_blobs(1000, 5, centers=NUM_CLUSTERS, random_state=1)
    x = jnp.asarray(x, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "encoder": ENCODER.init(keys[0], x[:1]),
        "decoder": DECODER.init(keys[1], jnp.zeros((1, LATENT_DIM))),
    }
    params, values = train(vae_elbo, params, x, keys[2], num_steps)
    print(f"VAE   ELBO {values[-50:].mean():.2f}")

    latents = np.asarray(ENCODER.apply(params["encoder"], x).mean)
    mixture = GaussianMixture(NUM_CLUSTERS, covariance_type="diag", random_state=0)
    mixture.fit(latents)
    params |= {
        "mixture": Mixture(
            jnp.asarray(mixture.means_, jnp.float32),
            jnp.asarray(np.log(mixture.covariances_), jnp.float32),
        ),
        "logits": jnp.asarray(np.log(mixture.weights_), jnp.float32),
    }
    params, values = train(vade_elbo, params, x, keys[3], num_steps)
    print(f"VaDE  ELBO {values[-50:].mean():.2f}")

    latents = ENCODER.apply(params["encoder"], x).mean
    labels = assign(params, latents).argmax(axis=1)
    accuracy = clustering_accuracy(y, np.asarray(labels))
    print(f"accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    main()
