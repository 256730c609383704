"""Names of methods, as the papers write them."""

METHOD_NAMES = {
    "dgg": "DGG",
    "vade": "VaDE",
    "gmvae": "GMVAE",
    "kmeans": "K-means",
    "gmm": "GMM",
    "spectral": "spectral clustering",
    "ldmgi": "LDMGI",
    "ae_gmm": "AE+GMM",
    "dae_gmm": "DAE+GMM",
    "vae_gmm": "VAE+GMM",
    "ae_kmeans": "AE+K-means",
    "siamese_kmeans": "K-means of the Siamese embedding",
    "siamese_spectral": "spectral clustering of the Siamese embedding",
    "dec": "DEC",
    "spectralnet": "SpectralNet",
    "imsat": "IMSAT",
    "catgan": "CatGAN",
    "aae": "AAE",
    "ltvae": "LTVAE",
}
