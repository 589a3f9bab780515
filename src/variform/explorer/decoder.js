const Decoder = {
  async create(payload) {
    const f = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    const layers = payload.layers.map((l) => ({ w: f(l.w), b: f(l.b), n: l.out, m: l.in }));
    return {
      kernel: "stand-in",
      async decode(z) {
        const n = z.length / payload.dim, out = new Float32Array(n * payload.size);
        for (let k = 0; k < n; k++) {
          let x = z.subarray(k * payload.dim, (k + 1) * payload.dim);
          layers.forEach((l, place) => {
            const y = new Float32Array(l.n);
            for (let i = 0; i < l.n; i++) { let s = l.b[i]; for (let j = 0; j < l.m; j++) s += l.w[i * l.m + j] * x[j]; y[i] = place < layers.length - 1 ? Math.max(0, s) : s; }
            x = y;
          });
          for (let i = 0; i < payload.size; i++) out[k * payload.size + i] = x[i] * payload.scale[i % payload.scale.length] + payload.shift[i % payload.shift.length];
        }
        return out;
      },
    };
  },
};
