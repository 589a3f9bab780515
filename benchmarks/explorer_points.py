"""100,000 examples on the map of the explorer page: frames a second while it is panned and zoomed, by each way to draw.

Rows drawn from a mixture of normals, an untrained model, a page that opens from file:// without a network. Ways that
the page has: discs in plain arrays, and WebGL; beside them, of the same dots, one arc of the canvas each, and one small
picture each. CPU is that of all processes of the browser, from /proc:

    python benchmarks/explorer_points.py [ROWS]
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import browsers

from variform import ModelConfig, build_vae, evaluate, read
from variform.pages.explorer.contents import Law, gather
from variform.pages.explorer.page import render
from variform.pages.explorer.payload import decoder_payload

TICKS = os.sysconf("SC_CLK_TCK")
SECONDS, ROUNDS = 2, 5
READY = "performance.getEntriesByName('variform-ready')[0].startTime"
# A frame is what the page does for a hand: the map, the legend, counts, the nearest example, a design.
FRAMES = """variform.ready.then(async (app) => {
    const { map } = app.view;
    map.dots.wanted = %r === "page" ? "auto" : %r;
    const seconds = %d;
    const before = map.dots.painted;
    let frames = 0;
    const begin = performance.now();
    while (performance.now() - begin < 1000 * seconds) {
        const t = (performance.now() - begin) / 1000;
        const by = 1.2 + 0.8 * (1 - Math.cos(t));
        app.set({ zoom: { by, x: 0.3 * Math.sin(2 * t), y: 0.3 * Math.cos(2 * t) } });
        await new Promise(requestAnimationFrame);
        await new Promise((resolve) => setTimeout(resolve));
        frames++;
    }
    const took = (performance.now() - begin) / 1000;
    return [frames / took, map.dots.painter, (map.dots.painted - before) / took];
})"""
# The same dots by other ways, in place of the page's own.
OTHERS = {
    "arcs": """variform.ready.then(({ view: { map } }) => {
        map._drawDots = function (context) {
            const { xy, colours, table } = this._dotsToDraw();
            const inks = table.map(([r, g, b, a]) => `rgba(${r},${g},${b},${a})`);
            for (let i = 0; i < colours.length; i++) {
                const [x, y] = this.toScreen(xy[2 * i], xy[2 * i + 1]);
                if (x < 0 || y < 0 || x > this.w || y > this.h) continue;
                context.fillStyle = inks[colours[i]];
                context.beginPath();
                context.arc(x, y, this._radius, 0, 2 * Math.PI);
                context.fill();
            }
        };
    })""",
    "pictures": """variform.ready.then(({ view: { map } }) => {
        const stamps = new Map();
        map._drawDots = function (context) {
            const { xy, colours, table } = this._dotsToDraw();
            const stampOf = (colour) => {
                if (stamps.has(colour)) return stamps.get(colour);
                const made = new OffscreenCanvas(8, 8), pen = made.getContext("2d");
                const [r, g, b, a] = table[colour];
                pen.fillStyle = `rgba(${r},${g},${b},${a})`;
                pen.arc(4, 4, this._radius, 0, 2 * Math.PI);
                pen.fill();
                stamps.set(colour, made);
                return made;
            };
            for (let i = 0; i < colours.length; i++) {
                const [x, y] = this.toScreen(xy[2 * i], xy[2 * i + 1]);
                if (x < 0 || y < 0 || x > this.w || y > this.h) continue;
                context.drawImage(stampOf(colours[i]), x - 4, y - 4);
            }
        };
    })""",
}
HOVER = """variform.ready.then((app) => {
    const { map } = app.view, { cloud, nearness } = app.world;
    const random = (() => { let s = 1; return () => (s = (s * 16807) % 2147483647) / 2147483647; })();
    const times = (count, act) => {
        const begin = performance.now();
        for (let k = 0; k < count; k++) act();
        return (performance.now() - begin) / count;
    };
    const under = () => map.exampleAt(random() * map.w, random() * map.h, 9);
    const z = new Float32Array(cloud.dim);
    const about = () => cloud.point(Math.floor(random() * cloud.count)).map((value) => value * (0.9 + 0.2 * random()));
    const near = () => nearness.nearest(about(), app.state.context);
    const every = () => {
        const at = z.map(() => 2 * random() - 1);
        for (let i = 0; i < cloud.count; i++) cloud.squared(i, at);
    };
    for (const act of [under, near]) times(200, act);
    return [times(500, under), times(500, near), times(20, every)];
})"""


def cpu():
    """Seconds of all processes that this one started, from /proc."""
    children = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            facts = (process / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        spent = (int(facts[11]) + int(facts[12])) / TICKS
        children.setdefault(int(facts[1]), []).append((int(process.name), spent))
    total, waiting = 0.0, [os.getpid()]
    while waiting:
        for process, spent in children.get(waiting.pop(), []):
            total += spent
            waiting.append(process)
    return total


def page_of(count, path):
    """A page of so many rows in ten groups."""
    random = np.random.default_rng(0)
    group = random.integers(0, 10, count)
    centres = random.normal(0, 2, (10, 8))
    rows = centres[group] + random.normal(size=(count, 8))
    data = read(rows, labels=group)
    config = ModelConfig(latent_dim=8, hidden=(64,), likelihood="gaussian")
    vae = build_vae(config, data.schema).eval()
    few = data.test.take(torch.arange(200))
    numbers = evaluate(vae, few, samples=2)
    laws = [Law("N(0, I)", None)]
    render(gather(vae, data, numbers, laws=laws, count=count), decoder_payload(vae)).save(path)


def main():
    """Print the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "page.html"
        page_of(count, path)
        print(f"{count:,} rows, {path.stat().st_size / 1e6:.1f} MB")
        for kind in browsers.KINDS:
            (folder / kind).mkdir()
            window = browsers.started(kind, folder / kind)
            if kind == "Chromium":
                window.resize(1440, 900)
            ready = []
            for _ in range(3):
                window.open(path)
                ready.append(window.run(READY))
            under, near, every = window.run(HOVER)
            print(
                f"{kind}: ready after {statistics.median(ready):.0f} ms; under the pointer {under:.3f} ms, nearest in "
                f"latent space {near:.3f} ms, all distances alone {every:.2f} ms"
            )
            print(
                "| browser | way | frames/s | least to most | of these exact | CPU, ms a frame | drawn by |"
            )
            print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
            for way in ("page", "plain", "webgl", *OTHERS):
                window.open(path)
                if way in OTHERS:
                    window.run(OTHERS[way])
                wanted = "plain" if way in OTHERS else way
                window.run(FRAMES % (wanted, wanted, 1))
                rates, exact, spent = [], [], []
                for _ in range(2 if way in OTHERS else ROUNDS):
                    before = cpu()
                    rate, painter, whole = window.run(FRAMES % (wanted, wanted, SECONDS))
                    spent.append(1000 * (cpu() - before) / (rate * SECONDS))
                    rates.append(rate)
                    exact.append(rate if way in OTHERS else whole)
                middle = [statistics.median(values) for values in (rates, exact, spent)]
                print(
                    f"| {kind} | {way} | {middle[0]:.0f} | {min(rates):.0f} to {max(rates):.0f} | {middle[1]:.0f} "
                    f"| {middle[2]:.0f} | {way if way in OTHERS else painter} |",
                    flush=True,
                )
            window.close()


if __name__ == "__main__":
    main()
