"""Networks of one's own: DGG with convolutions on the digits of scikit-learn.

  python examples/convolutional.py

Any pair of Flax modules can stand in for encoder and decoder. They take and return
rows, as everything here does; what a row is, only they know. On one CPU core this takes
about seven minutes and ends at an accuracy of 0.84 (seed 0): it shows how, not what is
best for images of 8 x 8 pixels, where the dense networks do better in one minute.
"""

from flax import linen as nn
from sklearn.datasets import load_digits

from dgg_jax import DGG
from dgg_jax.metrics import clustering_accuracy
from dgg_jax.types import Gaussian

SIDE, LATENT_DIM = 8, 10


class Encoder(nn.Module):
    """q(z | x) of images of 8 x 8 pixels."""

    @nn.compact
    def __call__(self, x):
        """Maps x [B, 64] to Gaussian with fields [B, 10]."""
        x = x.reshape(len(x), SIDE, SIDE, 1)
        x = nn.relu(nn.Conv(32, (3, 3))(x))
        x = nn.relu(nn.Conv(64, (3, 3), strides=(2, 2))(x))
        x = nn.relu(nn.Dense(256)(x.reshape(len(x), -1)))
        mean = nn.Dense(LATENT_DIM, name="mean")(x)
        # Log-variances start at 0: posteriors of unit variance.
        zeros = nn.initializers.zeros
        logvar = nn.Dense(LATENT_DIM, kernel_init=zeros, name="logvar")(x)
        return Gaussian(mean, logvar)


class Decoder(nn.Module):
    """Logits of the pixels, for the Bernoulli likelihood."""

    @nn.compact
    def __call__(self, z):
        """Maps z [B, 10] to logits [B, 64]."""
        z = nn.relu(nn.Dense(256)(z))
        z = nn.relu(nn.Dense(SIDE * SIDE // 4 * 32)(z))
        z = z.reshape(len(z), SIDE // 2, SIDE // 2, 32)
        z = nn.relu(nn.ConvTranspose(32, (3, 3), strides=(2, 2))(z))
        return nn.Conv(1, (3, 3))(z).reshape(len(z), -1)


def main(**settings):
    """Clusters the digits and says how well."""
    images, y = load_digits(return_X_y=True)
    model = DGG(
        10,
        encoder=Encoder(),
        decoder=Decoder(),
        latent_dim=LATENT_DIM,
        random_state=0,
        **settings,
    )
    labels = model.fit_predict(images / 16.0)
    print(f"accuracy {clustering_accuracy(y, labels):.4f}")


if __name__ == "__main__":
    main(verbose=1)
