"""The decoder in a form that the page takes: a stand-in for plain perceptrons."""

from typing import Any

from torch import nn

from variform.explorer.contents import floats
from variform.networks import MLP
from variform.vae import VAE


def decoder_payload(vae: VAE) -> dict[str, Any]:
    """The weights of a perceptron.

    Raises:
        ValueError: for another network.
    """
    layers = list(vae.decoder.layers) if isinstance(vae.decoder, MLP) else []
    if (
        vae.schema is None
        or not layers
        or any(not isinstance(layer, nn.Flatten | nn.Linear | nn.ReLU) for layer in layers)
    ):
        raise ValueError("the page decodes plain perceptrons so far; got another network. Look at the report.")
    dense = [layer for layer in [*layers, vae.decoder.output] if isinstance(layer, nn.Linear)]
    parts = [
        {
            "w": floats(layer.weight.detach().cpu().numpy()),
            "b": floats(layer.bias.detach().cpu().numpy()),
            "out": layer.out_features,
            "in": layer.in_features,
        }
        for layer in dense
    ]
    schema, size = vae.schema, 1
    for side in vae.event_shape:
        size *= side
    return {"layers": parts, "size": size, "scale": schema.scale, "shift": schema.shift, "dim": vae.latent_dim}
