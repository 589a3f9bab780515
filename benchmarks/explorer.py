"""How fast the explorer page is: time until it can be used, designs a second under the pointer, size, error to torch.

Without arguments for untrained decoders of about 0.3 million weights on the digits; with folders of runs for their own
explorer.html. In each browser that is installed, offline, from file://:

    python benchmarks/explorer.py [RUN ...]
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import browsers

from variform import ModelConfig, build_vae, evaluate, read
from variform.evaluation import exploration
from variform.pages.explorer.contents import Law, gather
from variform.pages.explorer.page import render
from variform.pages.explorer.payload import decoder_payload
from variform.runs.folder import open_run

MODELS = {
    "mlp 10-480-480": ModelConfig(latent_dim=10, hidden=(480, 480), likelihood="gaussian"),
    "conv 32, 64": ModelConfig(
        latent_dim=10, network="conv", filters=(32, 64), hidden=(256,), likelihood="gaussian"
    ),
}
# The pointer goes round over the map for two seconds, one event a frame; designs that were decoded and drawn count.
ROUND = """variform.ready.then(async (app) => {
    const map = document.getElementById("map"), frame = map.getBoundingClientRect(), drawn = [];
    const show = app.panel.show.bind(app.panel);
    app.panel.show = (...some) => { show(...some); drawn.push(performance.now()); };
    const begin = performance.now();
    while (performance.now() - begin < 2000) {
        const angle = (performance.now() - begin) / 200;
        const clientX = frame.x + frame.width * (0.5 + 0.3 * Math.cos(angle));
        const clientY = frame.y + frame.height * (0.5 + 0.3 * Math.sin(angle));
        map.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, pointerType: "mouse", bubbles: true }));
        await new Promise(requestAnimationFrame);
    }
    return drawn.length / ((performance.now() - begin) / 1000);
})"""
DECODE = "variform.ready.then(async (app) => Array.from(await app.decode(new Float32Array({}))))"
# What a frame costs without its wait for the screen, and its decoding alone: the least mean of ten series.
FRAME = """variform.ready.then(async (app) => {
    const dim = app.contents.latents.dim, least = [Infinity, Infinity];
    for (let series = 0; series < 10; series++) {
        const points = Array.from({ length: 20 }, (_, i) => new Float32Array(dim).fill(Math.sin(20 * series + i)));
        let at = performance.now();
        for (const z of points) await app.decode(z);
        least[0] = Math.min(least[0], (performance.now() - at) / points.length);
        at = performance.now();
        for (const z of points) {
            Object.assign(app, { live: z, near: app.nearest(z) });
            app.view.move();
            app.panel.show(z, await app.decode(z));
        }
        least[1] = Math.min(least[1], (performance.now() - at) / points.length);
    }
    return least;
})"""


def pages(arguments, folder):
    """Name, path, model and context of each page."""
    for path in arguments:
        run = open_run(path)
        yield path, Path(path) / "explorer.html", run.vae, run.data().train.typical_context()
    if arguments:
        return
    digits = read("digits")
    for name, config in MODELS.items():
        vae = build_vae(config, digits.schema).eval()
        page = render(
            gather(vae, digits, evaluate(vae, digits.test, samples=2), laws=[Law("N(0, I)", None)]),
            decoder_payload(vae),
        )
        page.save(folder / f"{name.split()[0]}.html")
        yield name, folder / f"{name.split()[0]}.html", vae, None


def main():
    """Print a table."""
    engines = {
        "Chromium": (browsers.CHROMIUM, browsers.Chromium),
        "Firefox": (browsers.FIREFOX, browsers.Firefox),
    }
    print(
        "| page | weights | MB | browser | kernel | ready, ms | decoding, ms | frame, ms | designs/s | error / range |"
    )
    print("| --- | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = list(pages(sys.argv[1:], folder))
        for browser, (there, make) in engines.items():
            if not there:
                continue
            (folder / browser).mkdir()
            window = make(folder / browser)
            for title, path, vae, told in every:
                ready = []
                for _ in range(5):
                    window.open(path)
                    ready.append(
                        window.run("performance.getEntriesByName('variform-ready')[0].startTime")
                    )
                z = np.random.default_rng(0).normal(size=(100, vae.latent_dim)).astype(np.float32)
                expected = exploration.decode(vae, z, context=told).reshape(100, -1)
                decoded = window.run(DECODE.format(json.dumps(z.ravel().tolist())))
                span = np.array(vae.schema.high) - np.array(vae.schema.low)
                error = (np.abs(np.reshape(decoded, expected.shape) - expected) / span).max()
                kernel = window.run("variform.ready.then((app) => app.decoder.kernel)")
                weights = sum(value.numel() for value in vae.decoder.parameters())
                decoding, frame = window.run(FRAME)
                rates = [window.run(ROUND) for _ in range(3)]
                print(
                    f"| {title} | {weights:,} | {path.stat().st_size / 1e6:.2f} | {browser} | {kernel} "
                    f"| {statistics.median(ready):.0f} | {decoding:.2f} | {frame:.2f} | {statistics.median(rates):.0f} "
                    f"| {error:.1e} |",
                    flush=True,
                )
            window.close()


if __name__ == "__main__":
    main()
